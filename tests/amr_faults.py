"""Faults of an import on purpose: a vendor corrects, repeats and comes late; syncs, purges and the daemon are killed.

    python -m tests.amr_faults --minutes 3 --seed 1 [--report FILE]
    python -m tests.amr_faults --rows 1000000          how fast a table that is full already is imported

At the end every value that the vendor wrote last must be in the store once, nothing else may be there, and no row may be gone
that was not imported. `--connection` with `--dialect` (mysql, postgresql, sqlserver) takes a database of yours: its tables are
made anew.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyodbc

from ingest_daemon.contract.site import Site
from tests.amr_helpers import DDL, NAME, Vendor, amr_site, local, map_tags, source_of
from tests.chain import COMMAND
from tests.daemon_helpers import Daemon, delivered, forwarded, stored
from tests.trials import conclude, heading

METERS, STEP, PURGE_DAYS = 40, timedelta(minutes=15), 10
BEGAN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=60)
SHORTEST_S = 0.8
"""Seconds that a command needs to begin its work."""

Point = tuple[str, datetime]


class AnyVendor(Vendor):
    """A database that somebody named, by its ODBC driver."""

    def __init__(self, connection: str, dialect: str) -> None:
        self._file, self._dsn, self.connection = None, "", connection
        for table in ("amr_reading", "amr_alarm"):
            with suppress(pyodbc.Error):
                self.execute(f"drop table {table}")
        script = "".join(line for line in (DDL / f"{dialect}.sql").open(encoding="utf-8") if not line.startswith("--"))
        for statement in filter(None, map(str.strip, script.split(";"))):
            self.execute(statement)

    def _open(self) -> pyodbc.Connection:
        return pyodbc.connect(self.connection)


class World:
    """The vendor's clock, what it wrote last of each point, and how often which fault came."""

    def __init__(self, vendor: Vendor, seed: int) -> None:
        self.vendor, self.chance, self.now = vendor, random.Random(seed), BEGAN
        self.truth: dict[Point, float] = {}
        self.told: Counter[str] = Counter()
        self.held: list[dict[str, object]] = []
        self._row_id = 0

    def step(self) -> None:
        """A quarter of an hour of the vendor's time."""
        self.now += STEP
        rows = [self._row(tag, self.now, self.chance.random() * 1000) for tag in range(METERS)]
        for row in self.chance.sample(rows, 3):  # committed later, below rows that are there already
            rows.remove(row)
            self.held.append(row)
        if self.chance.random() < 0.5 and self.held:
            rows += self.held
            self.told["late rows"] += len(self.held)
            self.held = []
        if self.chance.random() < 0.3 and self.truth:
            tag, at = self.chance.choice(list(self.truth)[-METERS * 8 :])
            rows.append(self._row(int(tag[1:]), at, self.chance.random() * 1000))
            self.told["corrections by a new row"] += 1
        self.vendor.write("amr_reading", rows)
        for row in rows:
            self._note(row)
        self.told["rows"] += len(rows)
        if self.chance.random() < 0.3:
            self._correct()

    def _row(self, tag: int, at: datetime, value: float) -> dict[str, object]:
        self._row_id += 1
        written = local(self.now)
        return {"row_id": self._row_id, "tag": f"T{tag}", "read_at": local(at), "forward_volume": value, "written_at": written}

    def _note(self, row: dict[str, object]) -> None:
        at = datetime.fromisoformat(f"{row['read_at']}+08:00").astimezone(UTC)
        self.truth[str(row["tag"]), at] = float(str(row["forward_volume"]))

    def _correct(self) -> None:
        tag, at = self.chance.choice(list(self.truth)[-METERS * 8 :])
        value = self.chance.random() * 1000
        if not self.vendor.execute("select 1 from amr_reading where tag = ? and read_at = ?", tag, local(at)):
            return  # purged
        sql = "update amr_reading set forward_volume = ?, written_at = ? where tag = ? and read_at = ?"
        self.vendor.execute(sql, value, local(self.now), tag, local(at))
        self.truth[tag, at] = value
        self.told["corrections in place"] += 1


def command(site: Site, world: World, *words: str, kill: bool) -> None:
    """Run `mainflow amr …`, and perhaps kill it on its way."""
    with (site.root / "commands.log").open("ab") as log:
        process = subprocess.Popen([*COMMAND, "amr", words[0], "--site", str(site.root), *words[1:]], stdout=log, stderr=log)
    if kill:
        with suppress(subprocess.TimeoutExpired):
            process.wait(SHORTEST_S + world.chance.random() * 1.5)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            world.told[f"kills of {words[0]}"] += 1
    process.wait()
    world.told[f"{words[0]} that ended well"] += process.returncode == 0


def problems_of(site: Site, world: World, terminal_of: dict[str, str]) -> list[str]:
    """What contradicts the promise; none where all is well."""
    rows = stored(site).select("terminal", "ts", "forward_m3")
    there = {(terminal, at): value for terminal, at, value in rows.iter_rows()}
    wanted = {(terminal_of[tag], at): value for (tag, at), value in world.truth.items()}
    found = [f"lost: {point}" for point in wanted.keys() - there.keys()]
    found += [f"never written: {point}" for point in there.keys() - wanted.keys()]
    found += [
        f"{point}: {there[point]}, written {value}"
        for point, value in wanted.items()
        if point in there and abs(there[point] - value) > 1e-9
    ]
    return found + ([f"{rows.height - len(there)} points twice"] if rows.height != len(there) else [])


def trial(folder: Path, vendor: Vendor, minutes: float, seed: int) -> tuple[list[str], bool]:
    """The faults; gives the lines of the report and whether all is well."""
    terminal_of = {f"T{number}": f"AMR{number + 1:07}" for number in range(METERS)}
    late = {f"T{number}" for number in range(METERS - 5, METERS)}  # mapped half-way
    source = source_of(vendor, purge_days=PURGE_DAYS, batch=500)
    early = [(tag, terminal) for tag, terminal in terminal_of.items() if tag not in late]
    site = amr_site(folder / "site", [source], terminals=METERS, tags=early)
    world, daemon, end = World(vendor, seed), Daemon(site), time.monotonic() + minutes * 60
    half = time.monotonic() + minutes * 30
    try:
        while time.monotonic() < end:
            for _ in range(world.chance.randint(1, 40)):
                world.step()
            command(site, world, "sync", NAME, kill=world.chance.random() < 0.6)
            if world.chance.random() < 0.4:
                command(site, world, "purge", NAME, kill=world.chance.random() < 0.5)
            if world.chance.random() < 0.15:
                daemon.kill()
                world.told["kills of the daemon"] += 1
                daemon = Daemon(site)
            if time.monotonic() > half:
                map_tags(site, terminal_of.items())
        map_tags(site, terminal_of.items())
        if world.held:
            vendor.write("amr_reading", world.held)
            for row in world.held:
                world._note(row)
        for _ in range(2):
            time.sleep(2)  # the daemon takes the registry over within a second
            command(site, world, "sync", NAME, kill=False)
        delivered(site)
        problems = problems_of(site, world, terminal_of)
        before = vendor.count()
        command(site, world, "purge", NAME, kill=False)
        limit = local(datetime.now(UTC) - timedelta(days=PURGE_DAYS))
        left = vendor.execute("select tag, forward_volume from amr_reading where read_at < ?", limit)
        values = set(world.truth.values())
        problems += [f"stays although it is imported: {tag} {value}" for tag, value in left if value in values]
        world.told["corrected rows that stay"] = len(left)
        world.told["rows purged at the end"] = before - vendor.count()
    finally:
        daemon.stop()
    lines = heading(seed, minutes * 60) + [f"{name:<26}{count:,}" for name, count in sorted(world.told.items())]
    return [*lines, f"{'points':<26}{len(world.truth):,}", *problems[:20], f"{'problems':<26}{len(problems)}"], not problems


def rate(folder: Path, vendor: Vendor, count: int) -> tuple[list[str], bool]:
    """The time to import a table that has so many rows."""
    meters = 1000
    tags = [(f"T{number}", f"AMR{number + 1:07}") for number in range(meters)]
    site = amr_site(folder / "site", [source_of(vendor)], terminals=meters, tags=tags)
    steps = count // meters
    for step in range(steps):
        at, written = local(BEGAN + step * STEP), local(BEGAN + step * STEP)
        row = {"read_at": at, "flow": 1.5, "pressure": 0.3, "written_at": written}
        vendor.write("amr_reading", [{"tag": tag, "forward_volume": step + 0.5, **row} for tag, _ in tags])
    daemon = Daemon(site)
    try:
        began = time.monotonic()
        subprocess.run([*COMMAND, "amr", "sync", "--site", str(site.root)], check=True, stdout=subprocess.DEVNULL)
        safe_s = time.monotonic() - began
        while not forwarded(site):
            time.sleep(0.2)
        stored_s = time.monotonic() - began
        began = time.monotonic()
        subprocess.run([*COMMAND, "amr", "sync", "--site", str(site.root)], check=True, stdout=subprocess.DEVNULL)
        again_s = time.monotonic() - began
        height = stored(site).height
    finally:
        daemon.stop()
    rows = steps * meters
    return [
        *heading(0, safe_s),
        f"{'rows':<26}{rows:,} of {meters:,} meters",
        f"{'acknowledged after':<26}{safe_s:.1f} s: {rows / safe_s:,.0f} rows/s",
        f"{'in the store after':<26}{stored_s:.1f} s: {rows / stored_s:,.0f} rows/s",
        f"{'a sync of nothing new':<26}{again_s:.1f} s",
    ], height == rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--connection", default="")
    parser.add_argument("--dialect", choices=("mysql", "postgresql", "sqlserver", "sqlite"), default="postgresql")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="amr"))
    vendor = AnyVendor(given.connection, given.dialect) if given.connection else Vendor(folder / "vendor.db")
    lines, is_good = rate(folder, vendor, given.rows) if given.rows else trial(folder, vendor, given.minutes, given.seed)
    return conclude(folder, "\n".join(lines) + "\n", given.report, is_good=is_good)


if __name__ == "__main__":
    sys.exit(main())
