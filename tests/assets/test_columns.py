"""The headers describe every column of every table: words, units, and errors that name file and column."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest

from assets import columns, quality, reports
from ingest_daemon.contract.ops_tables import migrations
from pipelines.runs import run
from tests.figures import empty_warehouse

DAY = date(2025, 6, 2)

UNITS = {
    "m3": "m³",
    "m3h": "m³/h",
    "mpa": "MPa",
    "pct": "%",
    "v": "V",
    "mm": "mm",
    "min": "min",
    "h": "h",
    "s": "s",
    "ms": "ms",
    "pa": "Pa",
    "nl": "nL",
    "ul": "µL",
}
"""The unit by the last part of a column's name."""

ALL = [(table, name, column) for table in columns.tables().values() for name, column in table.columns.items()]


def header(**entries: Any) -> dict[str, Any]:
    """A header with the columns `entries`."""
    return {"zh": "表", "group": "usage", "description": "A table.", "grain": [], "partitions": "day", "columns": entries}


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"columns": None}, "expected `columns:`"),
        ({"columns": {"volume": {"zh": "水量"}}}, "column volume has no en, unit, description"),
        ({"columns": {"volume": None}}, r"column volume has no zh, .*columns\.yaml"),
        ({"columns": {"meter": {"zh": ""}}}, "column meter has no zh"),
        ({"columns": {"meter": {"units": "m"}}}, "column meter: unknown units; allowed: zh, en, unit, description, format"),
        ({"columns": {"meter": {"unit": "furlong"}}}, "column meter: unknown unit 'furlong'; .*m³"),
        ({"columns": {"meter": {"format": 0}}}, "column meter: expected a format in quotes, .*; there is 0"),
        ({"columns": {"meter": "水表"}}, "column meter: expected nothing, or .*; there is '水表'"),
        ({"columns": {"meter": None}, "grain": ["meter", "day"]}, "grain day: expected columns that are listed: meter"),
        ({"columns": {"meter": None}, "colums": {}}, "unknown colums; allowed: .*columns"),
    ],
)
def test_a_wrong_header_is_an_error_that_names_file_and_column(described: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=rf"some_mart\.sql: .*{words}"):
        columns.read_table(Path("some_mart.sql"), header() | described)


@pytest.mark.parametrize("key", ["zh", "group", "description", "grain", "partitions", "columns"])
def test_a_header_that_lacks_something_is_an_error_that_names_file_and_key(key: str) -> None:
    described = {name: value for name, value in header(meter=None).items() if name != key}
    with pytest.raises(ValueError, match=rf"some_mart\.sql: the header has no {key}"):
        columns.read_table(Path("some_mart.sql"), described)


def test_an_entry_without_a_value_is_the_shared_word_and_a_value_changes_only_what_it_gives() -> None:
    entries = header(meter=None, volume_m3={"description": "Volume of the day."}, idle={**columns.shared("meter")._asdict()})
    table = columns.read_table(Path("some_mart.sql"), entries)
    assert list(table.columns) == ["meter", "volume_m3", "idle"]
    assert table.columns["meter"] == columns.shared("meter")
    assert table.columns["volume_m3"] == columns.shared("volume_m3")._replace(description="Volume of the day.")
    assert table.columns["volume_m3"].format == "#,##0.0", "that of the unit"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda names: [*names, "extra"], "the header lacks extra"),
        (lambda names: names[1:], "the table has no meter"),
        (lambda names: names[::-1], "expected the order coefficient, month, day, meter"),
    ],
)
def test_a_table_with_other_columns_than_its_header_is_an_error_that_names_file_and_column(change: Any, words: str) -> None:
    names = list(columns.tables()["daily_coefficient"].columns)
    columns.check("daily_coefficient", names)
    with pytest.raises(ValueError, match=rf"daily_coefficient\.sql: columns: {words}"):
        columns.check("daily_coefficient", change(names))


def test_tables_that_are_no_sql_marts_have_the_columns_of_their_headers(tmp_path: Path) -> None:
    verdict = pl.DataFrame(schema=quality.VERDICT)
    with empty_warehouse(tmp_path / "marts.duckdb", [DAY], ZoneInfo("Asia/Shanghai")) as connection:
        run.record(connection, "run-1", "test", datetime.now(UTC), [DAY], 0, 0)
        reports.record(connection, [])
        quality.keep(connection, "run-1", "daily_readings", DAY, verdict)
        for name in ("interval_reading", "unit_interval", "run_ledger", "report_ledger", "expectation_result"):
            columns.check(name, names_of(connection, name))


def names_of(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [name for name, *_ in connection.execute(f"describe {table}").fetchall()]


@pytest.mark.parametrize("name", ["alarm_event", "latest_reading"])
def test_tables_of_the_daemon_have_the_columns_of_their_headers(name: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema ops")
        for file in migrations():
            if file.name == name:
                connection.execute(file.statements)
        columns.check(name, names_of(connection, f"ops.{name}"))
    assert columns.tables()[name].schema == "ops"


def test_units_are_those_of_the_names() -> None:
    wrong = []
    for table, name, column in ALL:
        _, _, suffix = name.rpartition("_")
        if "_" in name and suffix in UNITS and column.unit != UNITS[suffix]:
            wrong.append(f"{table.name}.{name}: {column.unit}")
    assert wrong == []


def test_words_are_one_language_each_and_descriptions_are_sentences() -> None:
    for table, name, column in ALL:
        where = f"{table.name}.{name}"
        assert re.search(r"[\u4e00-\u9fff]", column.zh), where
        assert not re.search(r"[\u4e00-\u9fff]", column.en + column.description), where
        assert column.description.endswith("."), where


def test_headings_of_one_table_differ_in_each_language() -> None:
    for table in columns.tables().values():
        for language in ("zh", "en"):
            headings = [column.heading(language) for column in table.columns.values() if not column.format.startswith("yyyy")]
            assert len(headings) == len(set(headings)), (table.name, language)


def test_comments_are_one_line_with_both_languages_the_unit_and_the_description() -> None:
    comments = columns.comments()
    assert comments["daily_usage"]["flow_max_m3h"] == (
        "最大流量 / Max flow (m³/h): Highest flow of an interval that the register can resolve."
    )
    assert comments["daily_usage"]["complete"] == "完整 / Complete: The curve is known throughout the period."
    assert {table: list(of_table) for table, of_table in comments.items()} == {
        table.name: list(table.columns) for table in columns.tables().values()
    }
    assert not any("\n" in comment for of_table in comments.values() for comment in of_table.values())
