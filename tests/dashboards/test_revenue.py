"""What the boards of revenue make of the figures: arrows, their colour, and who belonged to a class."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import psycopg
import pytest

from dashboards import Links, all_boards, runnable, style
from dashboards.boards.revenue import revenue_kpi
from dashboards.variables import of_class_then

LINES: list[tuple[str, tuple[object, ...], tuple[str | None, ...]]] = [
    ("more is better and it rose", (60, 59, 53, 1.694915, 13.207547, "", True), ("↑ 60+", "↑ 1.69 %+", "↑ 13.21 %+")),
    ("more is better and it fell", (50, 60, 50, -16.666667, 0, "", True), ("↓ 50-", "↓ -16.67 %-", "→ 0.00 %")),
    ("arrears that fall are good", (90, 100, 80, -10, 12.5, "¥", False), ("↓ ¥90.00+", "↓ -10.00 %+", "↑ 12.50 %-")),
    ("neither way is good", (2130, 2030, None, 4.926108, None, "m³", None), ("↑ 2,130 m³", "↑ 4.93 %", None)),
    ("a rate changes in points", (98.4456, 80, 99, 18.4456, -0.5544, "%", True), ("↑ 98.45 %+", "↑ 18.45 pp+", "↓ -0.55 pp-")),
    ("a base of 0 gives no change", (5, 0, 5, None, 0, "", True), ("↑ 5+", None, "→ 0.00 %")),
    ("a heading has no number", (None, None, None, None, None, "", None), (None, None, None)),
    ("a month before is not known", (7, None, None, None, None, "", True), ("7", None, None)),
]
"""A line of the mart (value, previous, last year, changes, unit, sense) and its cells; + and - stand for the colours."""


@pytest.fixture(scope="module")
def marts(postgres: str) -> Iterator[psycopg.Connection]:
    """A database with the tables that are asked, empty."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("create schema if not exists mart")
        connection.execute(
            """create table mart.revenue_kpi (month date, line int, value numeric, previous numeric, last_year numeric,
            change_pct double precision, yoy_pct double precision, value_unit text, more_is_better boolean,
            item text default '', name_en text default '', note_en text default '')"""
        )
        connection.execute(
            "create table mart.relation (meter text, kind text, code text, valid_from timestamptz, valid_to timestamptz)"
        )
        yield connection


def test_an_arrow_and_its_colour_follow_the_sense_of_the_line(marts: psycopg.Connection) -> None:
    for place, (_, line, _) in enumerate(LINES):
        marts.execute("insert into mart.revenue_kpi values ('2026-10-01', %s, %s, %s, %s, %s, %s, %s, %s)", [place, *line])
    board = all_boards("en")["revenue-kpi"]
    (table,) = [panel for panel in board["panels"] if panel["title"].startswith("Main indicators")]
    now = datetime(2026, 11, 1, tzinfo=UTC)
    found = marts.execute(runnable(table["targets"][0]["rawSql"], {"month": "2026-10"}, now, now)).fetchall()
    cells = [
        tuple(cell and cell.replace(style.BETTER, "+").replace(style.WORSE, "-") for cell in (row[1], row[4], row[5]))
        for row in found
    ]
    assert dict(zip([name for name, *_ in LINES], cells, strict=True)) == {name: shown for name, _, shown in LINES}


def test_a_line_leads_to_a_board_that_there_is(marts: psycopg.Connection) -> None:
    rows = marts.execute(f"select {revenue_kpi.LEADS_TO} from generate_series(1, 18) as line").fetchall()
    assert {board for (board,) in rows} <= all_boards().keys()


def test_a_meter_counts_for_the_class_that_it_had_at_the_end_of_the_month(marts: psycopg.Connection) -> None:
    moved = datetime(2026, 10, 15, tzinfo=UTC)
    rows = [("M1", "region", "east", None, moved), ("M1", "region", "west", moved, None), ("M2", "region", "east", None, None)]
    marts.cursor().executemany("insert into mart.relation values (%s, %s, %s, %s, %s)", rows)

    def members(month: date, code: str) -> list[str]:
        held = of_class_then("m", f"date '{month}'")
        asked = f"select m from (values ('M1'), ('M2'), ('M3')) as known (m) where {held}"
        return [meter for (meter,) in marts.execute(runnable(asked, {"kind": "region", "code": code}, moved, moved)).fetchall()]

    september, october = date(2026, 9, 1), date(2026, 10, 1)
    assert (members(september, "east"), members(october, "east")) == (["M1", "M2"], ["M2"])
    assert (members(september, "west"), members(october, "west")) == ([], ["M1"])
    assert (members(october, "none"), members(october, "all")) == (["M3"], ["M1", "M2", "M3"])


def test_the_help_board_names_whom_to_ask() -> None:
    board = all_boards("en", Links(utility="Acque", contact="Ann, 96116", runbook="https://docs.example/runbook"))["help"]
    values = {variable["name"]: variable["query"] for variable in board["templating"]["list"]}
    assert (values["utility"], values["contact"], values["runbook"]) == ("Acque", "Ann, 96116", "https://docs.example/runbook")
    (shown,) = [panel for panel in board["panels"] if panel["title"] == "Whom to ask, where to go"]
    assert all(f"${{{name}" in shown["options"]["content"] for name in ("utility", "contact", "runbook", "desk"))
