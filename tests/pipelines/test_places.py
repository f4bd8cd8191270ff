"""Where a site lies: a path with quotes, blanks and Chinese; a disk that is full or read-only. Every command copes or says so."""

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from ingest_daemon.contract.settings import Settings
from tests.chain import FREE_PORTS
from tests.site_helpers import deliver, make_site, series

METER = "0000001001"
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": (),
    "export": (),
    "rebuild": (),
    "sync": (),
    "status": ("--terminals",),
    "doctor": ("--deep",),
    "ask": (METER, "now"),
    "ask --gaps": (),
    "ask --list": (),
    "adopt": (),
    "arrivals": (METER,),
    "registry check": (),
    "registry accept": (),
    "journal ls": (),
    "journal verify": (),
    "journal replay": (),
}
"""Commands of a site with their arguments, in an order that each has something to do."""
ONLY_READ = {"sync", "status", "doctor", "arrivals", "registry check", "journal ls", "journal verify", "ask --gaps", "ask --list"}

"""They work on such a disk, too (`sync` without a billing system)."""


def a_site(folder: Path) -> Settings:
    return make_site(folder, [{"terminal": METER, "meter": "M1"}], readings(3))


def readings(days_ago: int) -> pl.DataFrame:
    return series(METER, datetime.now(UTC) - timedelta(days=days_ago), 60, timedelta(hours=1), lambda _: 5.0)


def call(*arguments: object, dsn: str = "") -> Result:
    from pipelines.cli.main import main

    environment = {**FREE_PORTS, "COLUMNS": "200", "MAINFLOW_POSTGRES_DSN": dsn}
    return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def on_site(name: str, site: Path, dsn: str) -> Result:
    return call(*name.split(), *COMMANDS[name], "--site", site, dsn=dsn)


def test_a_site_on_a_path_with_quotes_blanks_brackets_and_chinese_works_with_every_command(tmp_path: Path, dsn: str) -> None:
    site = tmp_path / 'o\'brien "q" 站 点 [1] {x} %41;#'
    a_site(site)
    for name in COMMANDS:
        done = on_site(name, site, dsn)
        assert done.exit_code == 0, f"{name}: {done.output}"
    target = tmp_path / "back'up [2]"
    assert call("backup", "--site", site, target, dsn=dsn).exit_code == 0
    assert call("backup", "--site", site, target, "--verify", dsn=dsn).exit_code == 0
    assert call("restore", target, tmp_path / "re'stored").exit_code == 0
    again = tmp_path / "em'bedded 站"
    a_site(again)
    done = call("run", "--site", again)
    assert done.exit_code == 0 and "rows published" in done.output, done.output


@pytest.mark.parametrize("name", ["a,b", "a?b", "a*b", "a\nb"])
def test_a_path_that_no_database_takes_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    done = call("init", tmp_path / name)
    assert done.exit_code == 2
    assert "rename the folder" in done.output
    assert not (tmp_path / name).exists()


DISK_MB = 24
"""Size of `small_disk`."""


def fill(disk: Path) -> None:
    handle = os.open(disk / "filling", os.O_WRONLY | os.O_CREAT)
    for size in (1 << 20, 1 << 12, 1):
        try:
            while True:
                os.write(handle, bytes(size))
        except OSError:
            continue
    os.close(handle)


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


@pytest.mark.parametrize(
    ("close", "words", "commands"),
    [
        (fill, "磁盘已满 / the disk is full: ", tuple(COMMANDS)),
        (make_read_only, "磁盘只读 / the disk is read-only: ", ("run", "status", "doctor", "ask", "registry accept")),
    ],
    ids=["full", "read-only"],
)
def test_a_disk_that_takes_nothing_is_one_sentence_of_every_command_and_harms_nothing(
    small_disk: Path, tmp_path: Path, dsn: str, close: Callable[[Path], None], words: str, commands: tuple[str, ...]
) -> None:
    site = small_disk / "site"
    settings = a_site(site)
    assert on_site("run", site, dsn).exit_code == 0
    deliver(settings, readings(8))
    close(small_disk)
    done = {name: on_site(name, site, dsn) for name in commands}
    done["backup"] = call("backup", "--site", site, tmp_path / "backup", dsn=dsn)
    done["init"] = call("init", small_disk / "new")
    for name, result in done.items():
        assert "Traceback" not in result.output, name
        if result.exit_code == 0 or name in ONLY_READ:
            assert name in ONLY_READ, f"{name}: {result.output}"
            continue
        assert result.exit_code == 2, f"{name}: {result.output}"
        sentence = result.output.strip().splitlines()[-1]
        assert words in sentence and str(small_disk) in sentence, f"{name}: {result.output}"
    if close is fill:
        (small_disk / "filling").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    shutil.rmtree(small_disk / "new", ignore_errors=True)
    done_later = on_site("run", site, dsn)
    assert done_later.exit_code == 0 and "readings read" in done_later.output, done_later.output
