"""The benchmarks run through: what is asked for is measured, and told in a table and a JSON file. No figure is judged here."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import workload
from benchmarks.__main__ import PROBES
from benchmarks.figures import Figure, at_least, at_most, ratios, table
from benchmarks.machine import compile_tools
from ingest_daemon.codec_kit.api import Frame, Rejected
from ingest_daemon.codecs import sl651

REPOSITORY = Path(__file__).parents[1]

needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler: apt-get install gcc libc6-dev")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a person starts it."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_names_every_probe() -> None:
    told = run("--help")
    assert told.returncode == 0
    assert all(f"  {name} " in told.stdout for name in PROBES)


def test_an_unknown_probe_is_named_with_those_there_are(tmp_path: Path) -> None:
    told = run("--only", "p1,p99", "--out", tmp_path)
    assert told.returncode == 2
    assert "p99" in told.stderr and "p1, p2, p3" in told.stderr


def test_without_a_compiler_the_error_says_what_to_install(tmp_path: Path) -> None:
    told = run("--only", "p1", "--out", tmp_path, PATH=str(tmp_path))
    assert told.returncode == 2
    assert "apt-get install gcc" in told.stderr


@needs_compiler
def test_reception_and_bad_frames_are_measured_and_told(tmp_path: Path) -> None:
    told = run("--only", "p1,p5", "--seconds", 0.2, "--rounds", 1, "--out", tmp_path)
    assert told.returncode == 0, told.stderr
    result: dict[str, Any] = json.loads((tmp_path / "latest.json").read_text())
    assert not result["failed"] and not result["unable"]
    figures = {(each["probe"], each["what"]): each for each in result["figures"]}
    assert {probe for probe, _ in figures} == {"P1", "P5"}
    for each in figures.values():
        assert each["low"] <= each["median"] <= each["high"] and len(each["values"]) == 1
        assert each["what"] in told.stdout
    assert figures["P1", "one frame: daemon, store away: of the echo's frames/s"]["goal"] == "≥ 0.5"
    assert figures["P1", "one frame: daemon with Parquet"]["median"] > 0
    assert figures["P5", "share of bad frames"]["median"] == pytest.approx(0.1, abs=0.03)
    assert [path.name for path in tmp_path.iterdir()] == ["latest.json"]


@needs_compiler
def test_the_load_makes_frames_that_the_codec_takes_and_refuses_a_wrong_answer(tmp_path: Path) -> None:
    tools = compile_tools(tmp_path)
    days = tmp_path / "days"
    workload.write_days(days, workload.FULL)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [tools.load, "-p", str(port), "-t", str(days), "-c", "1", "-s", "5", "-g", "1", "-b"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as load:
            terminal, _ = server.accept()
            decoder, pieces = sl651.decoder(), []
            while len(pieces) < 2:
                pieces += decoder.feed(terminal.recv(65536))
            bad, good = pieces
            terminal.sendall(good.raw[:25])
            assert load.wait(10) == 3
            assert load.stderr
            assert "not an answer to this station" in load.stderr.read()
    assert isinstance(bad, Rejected) and isinstance(good, Frame)
    assert sl651.terminal(good.raw) == f"{workload.FIRST_TERMINAL:010d}"
    assert sl651.sequence_of(good.raw) == 2


def test_a_table_row_tells_median_spread_and_whether_the_goal_is_met() -> None:
    figures = [
        Figure("P9", "much", ratios([3, 1, 2], [2, 2, 2]), "", at_least(0.9)),
        Figure("P9", "little", [1500.4, 20], "µs", at_most(20), "a note"),
    ]
    much, little = table(figures).splitlines()[2:]
    assert much == "| P9 | much | 1 [0.5–1.5] | 3 | ≥ 0.9 | ✓ |"
    assert little == "| P9 | little (a note) | 760 [20–1,500] µs | 2 | ≤ 20 | ✗ |"


def test_a_prepared_day_has_all_readings_whichever_way_it_is_sent(tmp_path: Path) -> None:
    for day in (workload.FULL, workload.SINGLE):
        size = workload.write_days(tmp_path / "days", day)
        assert workload.RECORDS * 27 < size < (tmp_path / "days").stat().st_size
