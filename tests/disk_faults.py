"""A disk that is full to some last bytes, during a run with its publication, a report and a backup; then the space comes back.

    python -m tests.disk_faults [--left 0,30000,100000,400000,1000000,4000000]

The site, the data of its PostgreSQL and the backups lie on a small tmpfs. Each time every day is computed anew, at some levels
into a new warehouse. Nothing that is half written may be taken for good, and afterwards all is as if the disk had been empty.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from pipelines.cli.main import main as mainflow
from pipelines.processes import servers, supervisor
from pipelines.runs import backup
from pipelines.settings import load
from tests.assets.test_lateness import make_site
from tests.chain import assert_same_tables, published, tables
from tests.trials import small_disk

DISK_MB = 200
DAYS = 6
LEVELS = (0, 30_000, 100_000, 400_000, 1_000_000, 4_000_000)
SERVED = ("daily_usage", "hourly_usage", "unit_interval", "usage_comparison")


class Outcome(NamedTuple):
    """What a command did while so many bytes were left: its exit code, and the last line that it printed."""

    left: int
    command: str
    code: int
    said: str


def run(folder: Path, levels: tuple[int, ...] = LEVELS) -> list[Outcome]:
    """Fill the disk to each level and use the site; raises `AssertionError` where something half written counts afterwards.

    Raises `PermissionError` without the right to mount.
    """
    calm, outcomes = folder / "calm", []
    make_site(calm, list(range(DAYS)))
    assert _called(0, "run", "--site", calm).code == 0
    expected = tables(calm / "marts.duckdb")
    with small_disk(folder / "disk", DISK_MB) as disk:
        site, target = disk / "site", disk / "backups"
        settings = make_site(site, list(range(DAYS)))
        children: list[supervisor.Child] = []
        with servers.postgres(settings, children=children) as dsn:
            assert _called(0, "run", "--site", site).code == 0
            for number, left in enumerate(levels):
                (site / "state" / "touched.json").unlink()  # every day waits again
                if number % 2:
                    (site / "marts.duckdb").unlink()
                with _filled(disk, left):
                    outcomes.append(_called(left, "run", "--site", site))
                    outcomes.append(_called(left, "export", "--site", site))
                with _filled(disk, left):
                    outcomes.append(_called(left, "backup", "--site", site, target))
                whole = backup.newest(target)
                assert [*target.glob("*")] == ([whole] if whole else []), "a torn backup is left"
                assert not whole or not backup.damaged(whole)
                shutil.rmtree(target, ignore_errors=True)
                if (
                    children[0].poll() is not None
                ):  # it ends where its own journal cannot be written; `mainflow up` starts it again
                    children[0].start()
                again = _called(left, "run", "--site", site)
                assert again.code == 0, again
                assert_same_tables(tables(load(site).folder.marts), expected)
                for name in SERVED:
                    assert published(dsn, name).height == expected[name].height, name
            for command in (("export", "--site", site), ("backup", "--site", site, target)):
                assert _called(0, *command).code == 0
            assert not list(site.rglob("*.new"))
    return outcomes


def _called(left: int, command: str, *arguments: object) -> Outcome:
    """A command in this process; an exception that leaves it is told by its name."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(mainflow, [command, *map(str, arguments)])
    is_told = result.exception is None or isinstance(result.exception, SystemExit)
    said = " ".join(result.output.split("错误 / error: ")[-1].split()) if is_told else f"TRACEBACK {result.exception!r}"
    return Outcome(left, command, result.exit_code, said[-300:])


@contextlib.contextmanager
def _filled(disk: Path, left: int) -> Iterator[None]:
    """No more than so many bytes are free."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while (free := shutil.disk_usage(disk).free - left) > 0:
            file.write(bytes(min(free, 1 << 20)))
    try:
        yield
    finally:
        filler.unlink()


def main() -> int:
    """Print what each command said at each level; exit code 1 where it ended in a traceback."""
    parser = argparse.ArgumentParser(prog="python -m tests.disk_faults", description="full disks; nothing half written counts")
    parser.add_argument("--left", default=",".join(map(str, LEVELS)), help="bytes that are left, one after another")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mainflow-disk-faults-"))
    outcomes = run(folder, tuple(map(int, options.left.split(","))))
    for outcome in outcomes:
        print(
            f"{outcome.left:>10,} B left  {outcome.command:<7} exit code {outcome.code}  {outcome.said if outcome.code else ''}"
        )
    print("afterwards, with space again: the same tables here and in PostgreSQL, no torn backup, no half-written file")
    shutil.rmtree(folder)
    return int(any("TRACEBACK" in outcome.said for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
