"""The command as people type it: help, settings that are wrong, frames explained, status, doctor, and `up`."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import click
import psycopg
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from tests.chain import COMMAND, FREE_PORTS, mainflow

WORKED = (
    "7E7E01003074620000123200 2F 02 4465 260701060036 F1F1 0030746200 48 F0F0 2607010600"
    "26 19 003113 45 20 00600481 38 12 1287 FF09 08 20 FF33 11 0205 03 B042"
)


def said(*arguments: str, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, list(arguments))
    assert result.exit_code == code, f"{result.output}\n{result.exception}"
    return result.output


def names(group: click.Group = main, before: str = "") -> list[str]:
    """Every command and subcommand, as it is typed."""
    found = []
    for name, command in sorted(group.commands.items()):
        found += [before + name, *(names(command, f"{before}{name} ") if isinstance(command, click.Group) else [])]
    return found


@pytest.mark.parametrize("name", names())
def test_every_command_has_help_with_an_example(name: str) -> None:
    text = said(*name.split(), "--help")
    assert "Examples" in text
    assert f"mainflow {name}" in text


def test_a_frame_is_explained_field_by_field() -> None:
    text = said("decode", *WORKED.split())
    for part in ("0030746200", "12.87", "B0 42"):
        assert part in text


def test_a_frame_is_explained_as_json_that_covers_every_byte() -> None:
    parts = json.loads(said("decode", "--json", WORKED))
    assert "".join(part["bytes"] for part in parts) == WORKED.replace(" ", "")
    assert [part["offset"] for part in parts] == sorted(part["offset"] for part in parts)


def test_a_wrong_crc_says_which_was_expected() -> None:
    assert "B042" in said("decode", WORKED.replace("B042", "0000")).replace(" ", "")


def test_something_that_is_not_hexadecimal_is_refused() -> None:
    assert "hexadecimal" in said("decode", "7E7X", code=2)


def test_init_makes_a_site_that_every_command_accepts_and_never_overwrites_one(tmp_path: Path) -> None:
    site = tmp_path / "site"
    said("init", str(site), "--zone", "Europe/Rome")
    assert (site / "registry" / "terminals.csv").exists()
    assert "nothing" in said("run", "--site", str(site))
    assert "exists already" in said("init", str(site), code=2)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("MAINFLOW_STORE_KIND", "oracle", "allowed: parquet, influxdb"),
        ("MAINFLOW_DAEMON_DATA_PORT", "70000", "65535"),
        ("MAINFLOW_SITE_ZONE", "Mars/Base", "IANA time zone"),
        ("MAINFLOW_FIGURES_MAX_HOLE_H", "much", "a number"),
    ],
)
def test_a_wrong_setting_is_named_at_start_with_what_is_allowed(tmp_path: Path, key: str, value: str, told: str) -> None:
    site = tmp_path / "site"
    said("init", str(site))
    result = CliRunner(env={"COLUMNS": "200", key: value}).invoke(main, ["status", "--site", str(site)])
    assert result.exit_code == 2
    assert told in result.output.replace("\n", " ")


def test_a_folder_that_is_no_site_is_refused_with_the_way_to_make_one(tmp_path: Path) -> None:
    assert "mainflow init" in said("status", "--site", str(tmp_path), code=2)


def test_doctor_names_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    site = tmp_path / "site"
    said("init", str(site))
    (site / "registry" / "terminals.csv").write_text("terminal\n1\n")
    done = mainflow("doctor", "--site", site, check=False)
    assert done.returncode == 1
    assert "columns missing" in done.stdout
    assert "mend the files" in done.stdout


def test_up_runs_everything_prints_the_addresses_and_stops_cleanly(tmp_path: Path) -> None:
    site = tmp_path / "site"
    said("init", str(site))
    environment = {**os.environ, **FREE_PORTS, "MAINFLOW_SERVERS_DAGSTER_PORT": str(free_port()), "PATH": "/usr/bin:/bin"}
    environment.pop("GRAFANA_HOME", None)
    running = subprocess.Popen(
        [*COMMAND, "up", "--site", str(site)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = []
        assert running.stdout is not None
        for line in running.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(lines)
        assert "Dagster" in text, text
        assert "http://127.0.0.1:" in text
        assert "PostgreSQL" in text
        assert (site / "state" / "daemon.json").exists()
        dsn = json.loads((site / "state" / "postgres.json").read_text())["dsn"]
        with psycopg.connect(dsn) as connection:
            for name in ("latest_status", "interval_reading", "usage_comparison", "meter"):
                assert connection.execute(f"select count(*) from mart.{name}").fetchone(), f"a new site lacks {name}"
            assert connection.execute("select count(*) from ops.alarm_event").fetchone() == (0,)
    finally:
        running.send_signal(signal.SIGINT)
        code = running.wait(timeout=60)
    assert code == 0
    assert not (site / "state" / "daemon.json").exists()
    deadline = time.monotonic() + 10
    while left_over(site) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_over(site) == []


def left_over(site: Path) -> list[str]:
    """Command lines of processes that still belong to the site."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(site) in line and "pytest" not in line.split(" ")[0]:
                found.append(line)
    return [line for line in found if "-m pytest" not in line]


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
