"""Golden workbooks, read back: a list with totals, a block for each point with its chart, several sheets in one file."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import openpyxl  # type: ignore[import-untyped]
import pytest
from openpyxl.utils.escape import unescape  # type: ignore[import-untyped]

from assets import columns, reports
from assets.reports import definition, export
from assets.reports.definition import usual_days
from assets.reports.writing import TooLong
from ingest_daemon.contract import alarm_ledger
from tests.figures import typed

ZONE = ZoneInfo("Asia/Shanghai")
OCTOBER = (date(2026, 10, 1), date(2026, 10, 31))

TABLES = """
set timezone = 'Asia/Shanghai';
create table meter as from (values
    ('M1', 'C1', '南城纺织', 150, date '2020-01-01', null::date, 'smart'), ('M2', 'C2', '=1+1', 80, null, null, 'smart')
) as t(meter, customer_no, customer_name, dn_mm, installed_on, removed_on, source);
create table meter_history as from (values
    ('M1', 'C0', '旧客户', 100, date '2020-01-01', date '2026-09-30', 'smart'),
    ('M1', 'C1', '南城纺织', 150, date '2026-10-01', null, 'smart')
) as t(meter, customer_no, customer_name, dn_mm, first_day, last_day, source);
create table monthly_usage as from (values
    ('M1', date '2026-09-01', 300.5, 300.5, 30, 10.0, 0.0, 1.0, true),
    ('M1', date '2026-10-01', 310.25, 300.25, 30, 10.0, 0.5, 0.97, false),
    ('M2', date '2026-10-01', null, 5.0, 1, 5.0, 0.0, 0.05, false)
) as t(meter, month, volume_m3, measured_m3, days_complete, mean_day_m3, reverse_m3, coverage, complete);
create table peak_valley as from (values
    ('M1', 'day', date '2026-10-01', 0.41, timestamptz '2026-10-01 03:00+08', 0.30, timestamptz '2026-10-01 19:15+08', 0.36, 96),
    ('M1', 'day', date '2026-10-02', 0.40, timestamptz '2026-10-02 04:00+08', 0.20, timestamptz '2026-10-02 08:00+08', 0.30, 32),
    ('M1', 'month', date '2026-10-01', 0.41, null, 0.20, null, 0.345, 128),
    ('M2', 'day', date '2026-10-01', 0.52, timestamptz '2026-10-01 03:00+08', 0.50, timestamptz '2026-10-01 19:00+08', 0.51, 24)
) as t(meter, grain, period, pressure_max_mpa, pressure_max_at, pressure_min_mpa, pressure_min_at, pressure_mean_mpa, pressures);
create table pressure_compliance as from (values
    ('M1', 'day', date '2026-10-01', 96, 96, 1.0, true), ('M1', 'day', date '2026-10-02', 32, 16, 0.5, false)
) as t(meter, grain, period, readings, readings_met, share_met, met);
create table usage_rank as from (values
    ('month', date '2026-10-01', 1, 'C1', 75e0, 0.75e0, 2, 0.75, true),
    ('month', date '2026-10-01', 2, 'C2', 25e0, 0.25e0, null, 1.0, false)
) as t(grain, period, rank, customer_no, volume_m3, share, previous_rank, cumulative_share, complete);
create table customer as from (values ('C1', '南城纺织'), ('C2', 'B & <b>')) as t(customer_no, name);
create table reverse_event as from (values
    ('M1', timestamptz '2026-10-03 02:00+08', timestamptz '2026-10-03 02:45+08', 1.5, 2.4, 0.30, 0.28, 0.25,
     date '2026-10-03', 3, true, 'pumping'),
    ('M2', timestamptz '2026-10-05 12:00+08', timestamptz '2026-10-05 12:15+08', 0.5, 2.0, null, null, null,
     date '2026-10-05', 0, false, 'unclear')
) as t(meter, started_at, ended_at, volume_m3, flow_max_m3h, pressure_before_mpa, pressure_after_mpa, pressure_min_mpa, day,
       neighbours_reversed, night, likely_cause);
create table reverse_course as from (values
    ('M1', timestamptz '2026-10-03 02:00+08', timestamptz '2026-10-03 02:15+08', date '2026-10-03', 0.9, 3.6, 0.25),
    ('M1', timestamptz '2026-10-03 02:15+08', timestamptz '2026-10-03 02:45+08', date '2026-10-03', 0.6, 1.2, 0.28),
    ('M2', timestamptz '2026-10-05 12:00+08', timestamptz '2026-10-05 12:15+08', date '2026-10-05', 0.5, 2.0, null)
) as t(meter, interval_start, interval_end, day, reverse_m3, flow_m3h, pressure_mpa);
create table daily_usage as from (values
    ('M1', date '2026-10-03', 1.5), ('M1', date '2026-10-04', 0.0), ('M2', date '2026-10-05', 0.5)
) as t(meter, day, reverse_m3);
create schema registry
"""

LATEST = ", ".join(
    f"{name} {'timestamptz' if column.format.startswith('yyyy') else 'double' if column.format else 'text'}"
    for name, column in columns.tables()["latest_figures"].columns.items()
)
"""The table of which views are made, without a row."""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("attach ':memory:' as marts; use marts")
        for statement in TABLES.split(";\n"):
            opened.execute(statement).fetchall()
        opened.execute(f"create table latest_figures ({LATEST})").fetchall()
        for name in ("terminals", "replacements"):
            opened.register("incoming", typed(name, []))
            opened.execute(f"create table registry.{name} as select * from incoming").fetchall()
        yield opened


def book_of(connection: duckdb.DuckDBPyConnection, folder: Path, name: str, language: str = "zh", alarms: Any = ()) -> Any:
    written = export(
        name,
        *OCTOBER,
        warehouse=connection,
        folder=folder,
        utility="南城自来水",
        language=language,
        run_id="run-7",
        zone=ZONE,
        alarms=alarms,
    )
    return openpyxl.load_workbook(written[0].file)


def cells_of(sheet: Any, first: int = 3) -> list[list[Any]]:
    return [[cell.value for cell in row] for row in sheet.iter_rows(min_row=first)]


def test_a_list_has_totals_blanks_where_nothing_is_known_and_the_customer_of_the_time(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    sheet = book_of(connection, tmp_path, "monthly_volume").active
    assert cells_of(sheet)[1:] == [
        ["C1", "南城纺织", "M1", 150, datetime(2026, 10, 1), 310.25, 300.25, 10, 0.5, 30, 0.97],
        ["C2", "=1+1", "M2", 80, datetime(2026, 10, 1), None, 5, 5, 0, 1, 0.05],
        ["合计", None, None, None, None, 310.25, 305.25, None, 0.5, 31, pytest.approx(0.51)],
    ]
    assert (sheet["E4"].number_format, sheet["F4"].number_format, sheet["K4"].number_format) == ("yyyy-mm", "#,##0.0", "0.0%")
    assert (sheet["B5"].data_type, sheet["F4"].data_type, sheet["E4"].data_type) == ("s", "n", "d")
    assert (sheet["F4"].font.i, sheet["B4"].font.i) == (True, False)
    assert (sheet.print_title_rows, sheet.freeze_panes, sheet.page_setup.orientation) == ("$3:$3", "D4", "landscape")
    assert sheet.dimensions == "A1:K6"


def test_a_point_has_a_block_of_its_own_with_totals_and_a_chart(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    sheet = book_of(connection, tmp_path, "pressure_month", "en").active
    found = cells_of(sheet)
    assert found[1][0] == "M1  南城纺织"
    first, second, totals = found[2:5]
    assert first == [
        *(datetime(2026, 10, 1), 0.41, datetime(2026, 10, 1, 3), 0.3, datetime(2026, 10, 1, 19, 15), 0.36, 96, 1, "yes"),
    ]
    assert second[-2:] == [0.5, "no"]
    # Highest of the highest, lowest of the lowest, means by readings.
    assert totals == ["Total", 0.41, None, 0.2, None, pytest.approx((0.36 * 96 + 0.30 * 32) / 128), 128, 0.875, None]
    assert [chart.anchor._from.row for chart in sheet._charts] == [8, 28]
    assert [row[0] for row in found if str(row[0]).startswith("M2")] == ["M2  =1+1"]
    assert len(sheet.row_breaks.brk) == 1
    series = sheet._charts[0].series[0]
    assert series.val.numRef.f == "'Monthly pressure report'!$B$5:$B$6"


def test_the_rank_has_a_chart_shares_that_add_up_and_any_name(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    sheet = book_of(connection, tmp_path, "usage_ranking").active
    rows = cells_of(sheet)
    assert [row[1:7] for row in rows[1:3]] == [[1, 2, "C1", "南城纺织", 75, 0.75], [2, None, "C2", "B & <b>", 25, 0.25]]
    assert rows[3][5:7] == [100, 1]
    assert len(sheet._charts) == 1


def alarm(meter: str, **values: Any) -> tuple[Any, ...]:
    row = {"meter": meter, "code": "Q_REV", "severity": "warning", "origin": "server", **values}
    return tuple(row.get(name) for name in alarm_ledger.COLUMNS)


def test_reverse_flow_has_its_course_its_days_and_the_cause_that_was_acknowledged(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    given = alarm(
        "M1",
        alarm_id=1,
        raised_at=datetime(2026, 10, 3, 2, 15, tzinfo=ZONE),
        cleared_at=datetime(2026, 10, 3, 2, 45, tzinfo=ZONE),
        acknowledged_at=datetime(2026, 10, 3, 9, tzinfo=ZONE),
        acknowledged_by="李",
        cause="pumping",
        note="现场抽水",
    )
    book = book_of(connection, tmp_path, "reverse_flow", alarms=[given])
    assert book.sheetnames == ["倒流事件", "倒流过程", "日反向水量"]
    events = cells_of(book["倒流事件"])[1:]
    assert [row[11:] for row in events[:2]] == [["违规抽水", "pumping", "李", "现场抽水"], ["不明", None, None, None]]
    assert (events[0][2], events[2][4], events[2][9]) == (datetime(2026, 10, 3, 2), 2, None)
    days = [row for row in cells_of(book["日反向水量"])[1:] if isinstance(row[1], datetime)]
    # Each event is the reverse volume of its day.
    assert [(row[0], row[2]) for row in days] == [(row[1], row[4]) for row in events[:2]]
    course = cells_of(book["倒流过程"])[1:]
    assert [(row[0], row[3]) for row in course] == [
        ("M1", 0.9),
        ("M1", 0.6),
        ("合计 M1", 1.5),
        ("M2", 0.5),
        ("合计 M2", 0.5),
        ("合计", 2.0),
    ]
    assert connection.execute("select count(*) from ops.alarm").fetchall() == [(0,)]


@pytest.mark.parametrize("text", ["a\x01b", "_x0041_", "\r\nx", "  y ", "<&>\"'", "\ufffe", "水" * 300])
def test_any_text_leaves_a_workbook_that_opens(connection: duckdb.DuckDBPyConnection, tmp_path: Path, text: str) -> None:
    connection.execute("update customer set name = ? where customer_no = 'C1'", [text]).fetchall()
    shown = book_of(connection, tmp_path, "usage_ranking").active["E4"].value
    assert unescape(shown) == text.replace("\x01", "\ufffd").replace("\ufffe", "\ufffd")


def test_numbers_that_are_none_stay_blank(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    connection.execute("update usage_rank set volume_m3 = 'nan', share = 'inf' where customer_no = 'C1'").fetchall()
    assert cells_of(book_of(connection, tmp_path, "usage_ranking").active)[1][5:7] == [None, None]


@pytest.mark.parametrize("name", reports.names())
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_report_is_described_in_both_languages(name: str, language: str) -> None:
    report = definition(name)
    for sheet in report.sheets:
        assert sheet.titles[language].isascii() == (language == "en")
        assert len(sheet.titles[language]) <= 31
        for column in sheet.columns.values():
            assert column.column.heading(language)


@pytest.mark.parametrize(
    ("period", "first_known", "newest", "days"),
    [
        ("days", date(2026, 1, 5), date(2026, 11, 9), (date(2026, 11, 1), date(2026, 11, 9))),
        ("month", date(2026, 1, 5), date(2026, 11, 9), OCTOBER),
        ("month", date(2026, 1, 5), date(2026, 10, 31), OCTOBER),
        ("month", date(2026, 11, 2), date(2026, 11, 9), (date(2026, 11, 1), date(2026, 11, 9))),
        ("year", date(2025, 1, 5), date(2026, 11, 9), (date(2026, 1, 1), date(2026, 10, 31))),
        ("year", date(2025, 1, 5), date(2026, 1, 9), (date(2025, 1, 1), date(2025, 12, 31))),
    ],
)
def test_a_report_covers_what_is_over_unless_other_days_are_given(
    period: Any, first_known: date, newest: date, days: tuple[date, date]
) -> None:
    assert usual_days(period, first_known, newest) == days


def test_rows_that_a_worksheet_cannot_take_are_refused(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.reports.writing.MOST_ROWS", 4)
    with pytest.raises(TooLong, match="a worksheet takes 4; the CSV"):
        book_of(connection, tmp_path, "monthly_volume")
