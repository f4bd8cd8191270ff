"""The command as people type it: help, settings that are wrong, frames explained, status and doctor."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from tests.chain import mainflow

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
