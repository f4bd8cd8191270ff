"""Rules that a person may change: the site's rows before the shipped ones, and what is made by them made anew."""

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from assets import columns, rules, tables, warehouse
from ingest_daemon.contract.registry_files import FILES, schema
from tests.figures import empty_warehouse

DAY = date(2026, 5, 4)


def own(name: str, *rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema(FILES[name]), orient="row")


def test_a_row_of_the_site_comes_before_the_shipped_one_of_its_key() -> None:
    found = rules.completed("criteria", own("criteria", ("night.nights", 5.0, None), ("night.start_h", 1.0, date(2026, 1, 1))))
    held = found.filter(pl.col("name").is_in(["night.nights", "night.start_h"])).select("name", "value", "valid_from", "unit")
    assert held.rows() == [
        ("night.nights", 5.0, None, None),
        ("night.start_h", 1.0, date(2026, 1, 1), "h"),
        ("night.start_h", 2.0, None, "h"),
    ]
    assert found.height == rules.shipped("criteria").height + 1


def test_a_kind_of_segments_that_the_site_has_replaces_the_shipped_kind_whole() -> None:
    found = rules.completed("segments", own("segments", ("shift", "day", "白班", "Day", 7, 19, None, None, None)))
    assert found.filter(pl.col("kind") == "shift")["code"].to_list() == ["day"]
    assert set(found["kind"]) == {"shift", "tariff", "peak_hours"}


def test_every_shipped_cell_is_of_its_type() -> None:
    for name in rules.REPLACED_BY:
        frame = rules.shipped(name)
        for column, kind in FILES[name].items():
            if kind.required:
                assert frame[column].null_count() == 0, (name, column)


@pytest.mark.parametrize(
    ("name", "row", "other"),
    [
        ("criteria", ("night.nights", 5.0, None), ("night.start_h", 5.0, None)),
        ("holidays", (DAY, "holiday", "节", "Feast", None), None),
        ("segments", ("shift", "day", "白班", "Day", 7, 19, None, None, None), None),
        ("catalogue", ("GB/T 778.1-2018", "ultrasonic", "R400", 100, 0.25, 0.4, 100.0, 125.0, 4000.0, "no"), None),
    ],
)
def test_a_rule_changes_the_version_of_what_is_made_by_it_alone(
    tmp_path: Path, name: str, row: tuple[object, ...], other: tuple[object, ...] | None
) -> None:
    with empty_warehouse(tmp_path / "marts.duckdb", [DAY], ZoneInfo("Asia/Shanghai")) as connection:
        empty = {file: own(file) for file in rules.REPLACED_BY}
        users = ((("night.nights",), ()), ((), ("calendar",)), ((), ("time_segment",)), ((), ("meter_catalogue",)))
        user = users[list(rules.REPLACED_BY).index(name)]

        def version(rows: dict[str, pl.DataFrame]) -> list[str]:
            rules.lay(connection, rows)
            return [rules.Versions(connection).of(*each) for each in (user, ((), ("daily_usage",)))]

        before = version(empty)
        if other:
            assert version(empty | {name: own(name, other)}) == before
        after = version(empty | {name: own(name, row)})
        assert (after[0] != before[0], after[1], before[1]) == (True, "", "")


def test_a_criterion_is_asked_for_by_the_day(tmp_path: Path) -> None:
    with empty_warehouse(tmp_path / "marts.duckdb", [DAY], ZoneInfo("Asia/Shanghai")) as connection:
        price = own("criteria", ("price.water_cny_m3", 3.0, None), ("price.water_cny_m3", 4.0, date(2026, 5, 1)))
        rules.lay(connection, {file: own(file) for file in rules.REPLACED_BY} | {"criteria": price})
        days = "(values (date '2026-04-30'), (date '2026-05-01')) as days (day)"
        query = f"select criterion('price.water_cny_m3', day) as price from {days}"
        assert warehouse.frame(connection, query)["price"].to_list() == [3.0, 4.0]


def test_a_mart_that_asks_for_an_unknown_criterion_is_named(tmp_path: Path) -> None:
    header = {"zh": "表", "group": "usage", "description": "d", "grain": ["day"], "partitions": "day", "columns": {"day": None}}
    with pytest.raises(ValueError, match=r"odd\.sql: criterion night\.moon: expected one of"):
        columns.read_table(tmp_path / "odd.sql", header, "select criterion('night.moon', day) as day from touched_day")
    assert all(set(step.criteria) <= set(rules.shipped("criteria")["name"]) for step in tables.steps())
