"""Faults on purpose: a real daemon, a real InfluxDB 1.x and terminals that resend until acknowledged, while everything breaks.

    python -m tests.faults --minutes 3 --seed 1 [--every 0.5] [--kills 1000] [--report FILE]

The site lies on a small disk of its own (a tmpfs; without the right to mount, a full disk is only pretended), and the daemon
runs with `fault_shim.c` before its C library, which makes writes and syncs fail and its clock jump. At the end every reading
that was acknowledged must be in the store exactly once with its value, and nothing that was never sent.
"""

import argparse
import contextlib
import errno
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ingest_daemon.codec_kit.api import Decoder
from ingest_daemon.codecs import sl651
from ingest_daemon.journal.reader import backlog
from ingest_daemon.stores.influxdb import InfluxStore
from ingest_daemon.stores.settings import StoreSettings
from tests.daemon_helpers import REPOSITORY, TERMINALS, make_site
from tests.influx_server import InfluxServer, free_ports
from tests.trials import conclude, heading, small_disk

BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
"""Device time of the first reading: so far back that no jump of the daemon's clock makes a reading one of the future."""
STEP = timedelta(minutes=1)
DISK_MB, JOURNAL_MB = 48, 20
PAST_DAYS = 36_500
"""Days behind the server's clock that a device time may be: the terminals of this trial begin in 2020."""
ANSWER_S = 3.0
"""A terminal that gets no acknowledgement for so long calls in again."""
DRAIN_S = 300.0
CONTROL = struct.Struct("<iiiiqqqq")
"""`struct control` of `fault_shim.c`."""

Point = tuple[str, datetime]


class Terminal(threading.Thread):
    """A terminal that repeats each burst until it is acknowledged: over bad lines, out of order, some of it twice."""

    def __init__(self, number: str, port: int, alarms: bool, seed: int) -> None:
        super().__init__(daemon=True, name=number)
        self.number, self.done = number, False
        self.sent: dict[Point, float] = {}
        self.acknowledged: set[Point] = set()
        self.faults: Counter[str] = Counter()
        self._port, self._alarms = port, alarms
        self._chance = random.Random(seed)
        self._next, self._sequence = 0, 0
        self._half_open: list[socket.socket] = []

    def run(self) -> None:
        waiting: list[list[Point]] = []
        while not self.done:
            with contextlib.suppress(OSError):
                self._call(waiting)
            time.sleep(self._chance.uniform(0.02, 0.2))
        for line in self._half_open:
            line.close()

    def _call(self, waiting: list[list[Point]]) -> None:
        """One connection: bursts until something goes wrong. `waiting`: readings of frames without acknowledgement."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_S) as line:
            answers = sl651.decoder()
            while not self.done:
                if not waiting:
                    waiting += [self._readings() for _ in range(self._chance.randint(1, 6))]
                self._burst(line, answers, waiting)
                time.sleep(self._chance.uniform(0.0, 0.4))

    def _readings(self) -> list[Point]:
        count = self._chance.randint(1, 8)
        points = [(self.number, BEGAN + STEP * (self._next + step)) for step in range(count)]
        for step, point in enumerate(points):
            self.sent[point] = round(int(self.number) + (self._next + step) * 0.125, 3)
        self._next += count
        return points

    def _burst(self, line: socket.socket, answers: Decoder, waiting: list[list[Point]]) -> None:
        sending = list(waiting)
        if self._chance.random() < 0.3:
            self._chance.shuffle(sending)
            self.faults["bursts out of order"] += len(sending) > 1
        if self._chance.random() < 0.2:
            sending.append(self._chance.choice(sending))
            self.faults["frames sent twice"] += 1
        known: dict[int, list[Point]] = {}
        raw = b""
        for points in sending:
            self._sequence = self._sequence % 65535 + 1
            known[self._sequence] = points
            raw += self._frame(points)
        what = self._chance.random()
        if what < 0.05:
            line.sendall(raw[: self._chance.randrange(1, len(raw))])
            self.faults["half-open connections"] += 1
            self._half_open.append(line.dup())
            for old in self._half_open[:-20]:
                old.close()
            self._half_open = self._half_open[-20:]
            raise ConnectionError("left half open")
        line.sendall(raw)
        if what < 0.10:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()
            self.faults["resets before the acknowledgement"] += 1
            raise ConnectionError("reset")
        while known:
            data = line.recv(65536)
            if not data:
                raise ConnectionError("closed")
            for piece in answers.feed(data):
                sequence = sl651.acknowledged_sequence(piece.raw)
                points = known.pop(sequence if sequence is not None else -1, [])
                self.acknowledged.update(points)
                if points in waiting:
                    waiting.remove(points)

    def _frame(self, points: list[Point]) -> bytes:
        rows = pl.DataFrame({"ts": [ts for _, ts in points], "forward_m3": [self.sent[point] for point in points]})
        sent_at = datetime.now(UTC)
        if self._chance.random() < 0.02:
            self.faults["jumps of a terminal's clock"] += 1
            sent_at += timedelta(hours=self._chance.uniform(-5000, 5000))
        function, active = (sl651.EVENT, ["MAG"]) if self._alarms else (sl651.TIMED, None)
        (raw,) = sl651.reports(self.number, rows, sent_at=sent_at, sequence=self._sequence, function=function, active=active)
        return raw


class Shim:
    """The faults that only the daemon's C library can make; None of them where there is no C compiler."""

    def __init__(self, folder: Path, prefix: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        self.environment: dict[str, str] = {}
        if compiler is None:
            return
        library, control = folder / "fault_shim.so", folder / "control"
        source = Path(__file__).with_name("fault_shim.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
        control.write_bytes(bytes(CONTROL.size))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), CONTROL.size)
        self.environment = {"LD_PRELOAD": str(library), "FAULT_CONTROL": str(control), "FAULT_PREFIX": str(prefix)}

    def arm(self, *, write: tuple[int, int] = (0, 0), sync: tuple[int, int] = (0, 0)) -> None:
        """Let writes and syncs fail: errno and permille each."""
        self._map[: 4 * 4] = struct.pack("<iiii", *write, *sync)

    def set_clock(self, offset_s: float) -> None:
        """Let the daemon's wall clock go wrong by so much."""
        self._map[16:24] = struct.pack("<q", round(offset_s * 1e6))

    def counts(self) -> dict[str, int]:
        """What the daemon's writes and syncs met."""
        if not self.environment:
            return {}
        *_, failed, short, syncs = CONTROL.unpack(self._map[:])
        return {"writes that failed": failed, "writes that were cut short": short, "syncs that failed": syncs}


class Outcome(NamedTuple):
    """Counts of a run; `wrong` holds the sentence of everything that must not be."""

    seconds: float
    kills: Counter[str]
    faults: Counter[str]
    starts: int
    sent: int
    acknowledged: int
    stored: int
    missing: int
    doubled: int
    altered: int
    invented: int
    remarks: list[str]

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled, altered or invented."""
        return not (self.missing or self.doubled or self.altered or self.invented)

    def text(self, seed: int) -> str:
        """The report."""
        lines = [
            *heading(seed, self.seconds),
            *(f"{name:<25} {count:,}" for name, count in sorted(self.kills.items())),
            f"{'daemon starts':<25} {self.starts:,}",
            *(f"{name:<40} {count:,}" for name, count in sorted(self.faults.items())),
            f"readings sent             {self.sent:,}",
            f"readings acknowledged     {self.acknowledged:,}",
            f"readings in the store     {self.stored:,}",
            f"acknowledged but missing  {self.missing:,}",
            f"doubled                   {self.doubled:,}",
            f"with a wrong value        {self.altered:,}",
            f"never sent                {self.invented:,}",
            *self.remarks,
            f"verdict                   {'nothing lost, nothing doubled' if self.clean else 'FAILED'}",
        ]
        return "\n".join(lines) + "\n"


class Ground:
    """The site on its small disk, the daemon and the store, and the ways in which they are maltreated."""

    def __init__(self, folder: Path, disk: Path | None, seed: int) -> None:
        self.chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.starts = 0
        self.disk = disk
        self.ports = free_ports(3)
        names = dict(zip(("data_port", "alarm_port", "health_port"), self.ports, strict=True))
        self.site = make_site((disk or folder) / "site", segment_mb=1, journal_mb=JOURNAL_MB, past_days=PAST_DAYS, **names)
        self.influx = InfluxServer(folder / "influxdb")
        self.store_settings = StoreSettings(kind="influxdb", influx_url=self.influx.url)
        with self.site.settings.open("a") as file:
            file.write(f"[store]\nkind = 'influxdb'\ninflux_url = '{self.influx.url}'\n")
        self.shim = Shim(folder, self.site.root)
        self.log = folder / "daemon.log"
        self.daemon: subprocess.Popen[bytes] | None = None
        self._influx_back_at = 0.0

    def tend(self) -> None:
        """Start what is not running: the daemon at once, InfluxDB when its time has come."""
        if self.daemon is None or self.daemon.poll() is not None:
            if self.daemon is not None and self.daemon.returncode != -signal.SIGKILL:
                self.faults["daemon ended by itself"] += 1
            with self.log.open("ab") as log:
                command = [sys.executable, "-m", "ingest_daemon", "--site", str(self.site.root)]
                environment = {**os.environ, **self.shim.environment}
                self.daemon = subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY, env=environment)
            self.starts += 1
        if self.influx.process is None and time.monotonic() >= self._influx_back_at:
            self.influx.spawn()

    def kill_daemon(self) -> None:
        """SIGKILL at this instant."""
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
            self.kills["SIGKILL of the daemon"] += 1

    def kill_influx(self) -> None:
        """SIGKILL; it comes back after up to two seconds."""
        if self.influx.process:
            self.influx.kill()
            self.kills["SIGKILL of InfluxDB"] += 1
            self._influx_back_at = time.monotonic() + self.chance.uniform(0, 2)

    def hang_influx(self) -> None:
        """It accepts connections and says nothing for a while."""
        if self.influx.process:
            self.influx.process.send_signal(signal.SIGSTOP)
            time.sleep(self.chance.uniform(0.2, 1.5))
            self.influx.process.send_signal(signal.SIGCONT)
            self.faults["InfluxDB hung"] += 1

    def fill_disk(self) -> None:
        """No byte is left on the site's disk for a while."""
        assert self.disk
        filler = self.disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        time.sleep(self.chance.uniform(0.2, 1.5))
        filler.unlink()
        self.faults["disk full"] += 1

    def fail_writes(self) -> None:
        """Some writes fail, or are cut short, for a while."""
        what = self.chance.choice((errno.ENOSPC, errno.EIO))
        self.shim.arm(write=(what, self.chance.choice((50, 300, 1000))))
        time.sleep(self.chance.uniform(0.2, 1.0))
        self.shim.arm()
        self.faults[f"{errno.errorcode[what]} on write, a while"] += 1

    def fail_syncs(self) -> None:
        """Some syncs fail for a while; the daemon must end and begin anew."""
        self.shim.arm(sync=(errno.EIO, self.chance.choice((50, 500))))
        time.sleep(self.chance.uniform(0.1, 0.5))
        self.shim.arm()
        self.faults["EIO on sync, a while"] += 1

    def jump_clock(self) -> None:
        """The daemon's clock jumps by up to ten days, or comes right."""
        self.shim.set_clock(self.chance.choice((0.0, self.chance.uniform(-60, 60), self.chance.uniform(-864e3, 864e3))))
        self.faults["jumps of the daemon's clock"] += 1

    def calm(self) -> None:
        """No fault is armed any more and everything runs."""
        if self.shim.environment:
            self.shim.arm()
            self.shim.set_clock(0)
        self._influx_back_at = 0.0
        self.tend()

    def menu(self) -> tuple[list[Callable[[], None]], list[int]]:
        """What can happen here, and how often."""
        dishes: list[tuple[Callable[[], None], int]] = [(self.kill_daemon, 60), (self.kill_influx, 12), (self.hang_influx, 2)]
        if self.disk:
            dishes.append((self.fill_disk, 4))
        if self.shim.environment:
            dishes += [(self.fail_writes, 8), (self.fail_syncs, 4), (self.jump_clock, 6)]
        return [dish for dish, _ in dishes], [weight for _, weight in dishes]


def run(folder: Path, seconds: float, seed: int, every_s: float, kills: int = 0) -> Outcome:
    """Break things for so long, or until there were so many kills (0: the time alone); then hold the store against the truth."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        disk = None
        with contextlib.suppress(PermissionError):
            disk = stack.enter_context(small_disk(folder / "disk", DISK_MB))
        ground = Ground(folder, disk, seed)
        ground.influx.start()
        terminals = [
            Terminal(number, ground.ports[place % 2], bool(place % 2), seed * 1000 + place)
            for place, number in enumerate(TERMINALS)
        ]
        try:
            ground.tend()
            for terminal in terminals:
                terminal.start()
            dishes, weights = ground.menu()
            while time.monotonic() - began < seconds and not (kills and ground.kills.total() >= kills):
                time.sleep(ground.chance.expovariate(1 / every_s))
                (dish,) = ground.chance.choices(dishes, weights)
                dish()
                ground.tend()
            for terminal in terminals:
                terminal.done = True
            ground.calm()
            for terminal in terminals:
                terminal.join(30)
            remarks = _drain(ground)
            if disk is None:
                remarks.append("remark                    no right to mount: the site's disk was not filled")
            if not ground.shim.environment:
                remarks.append("remark                    no C compiler: faults of write, sync and clock were not made")
            return _judge(ground, terminals, time.monotonic() - began, remarks)
        finally:
            ground.kill_daemon()
            ground.influx.kill()


def _drain(ground: Ground) -> list[str]:
    deadline = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline:
        ground.tend()
        left = backlog(ground.site)
        if not left["data"] and not left["alarm"]:
            assert ground.daemon
            ground.daemon.terminate()
            code = ground.daemon.wait(60)
            return [] if code == 0 else [f"remark                    the daemon's last exit code is {code}"]
        time.sleep(0.2)
    return [f"remark                    after {DRAIN_S:.0f} s there was still a backlog: {backlog(ground.site)}"]


def _judge(ground: Ground, terminals: list[Terminal], seconds: float, remarks: list[str]) -> Outcome:
    sent = {point: value for terminal in terminals for point, value in terminal.sent.items()}
    acknowledged = {point for terminal in terminals for point in terminal.acknowledged}
    store = InfluxStore(ground.store_settings)
    rows = store.read(BEGAN - timedelta(days=36500), BEGAN + timedelta(days=36500)).select("terminal", "ts", "forward_m3")
    found = {(terminal, ts): value for terminal, ts, value in rows.iter_rows()}
    faults = ground.faults + Counter(ground.shim.counts())
    for terminal in terminals:
        faults += terminal.faults
    return Outcome(
        seconds,
        ground.kills,
        faults,
        ground.starts,
        len(sent),
        len(acknowledged),
        len(rows),
        len(acknowledged - found.keys()),
        len(rows) - len(found),
        sum(sent.get(point, value) != value for point, value in found.items()),
        len(found.keys() - sent.keys()),
        remarks,
    )


def main() -> int:
    """Break things, print the report; exit code 1 where something was lost, doubled, altered or invented."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="faults on purpose; nothing may be lost")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long things break")
    parser.add_argument("--seed", type=int, default=1, help="of everything random but the machine itself")
    parser.add_argument("--every", type=float, default=1.5, help="mean seconds between two faults")
    parser.add_argument("--kills", type=int, default=0, help="end after so many kills, if that comes before the time")
    parser.add_argument("--report", type=Path, help="write the report into this file, too")
    options = parser.parse_args()
    if shutil.which("influxd") is None:
        parser.error("no influxd on PATH (Debian: apt-get install influxdb)")
    folder = Path(tempfile.mkdtemp(prefix="mainflow-faults-"))
    outcome = run(folder, options.minutes * 60, options.seed, options.every, options.kills)
    return conclude(folder, outcome.text(options.seed), options.report, is_good=outcome.clean)


if __name__ == "__main__":
    sys.exit(main())
