"""Bills, the month so far and a report's total are differences of the register: a hole inside loses nothing of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import openpyxl  # type: ignore[import-untyped]
import polars as pl
import pytest

from assets import reports, tables
from assets.partitions import Partitions
from assets.tables import Making
from assets.warehouse import opened
from assets.workbench import Workbench
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.runs.run import run_touched
from tests.figures import readings, terminals

pytestmark = pytest.mark.usefixtures("few_tables")

ZONE = ZoneInfo("Asia/Shanghai")
START = datetime(2025, 6, 1, tzinfo=ZONE)
RATE = 6.0


@contextmanager
def computed(
    root: Path, silent: list[tuple[int, int]], start: datetime = START, days: int = 4
) -> Iterator[tuple[Workbench, duckdb.DuckDBPyConnection]]:
    """The warehouse after some days of an hourly meter at a steady rate; `silent`: hours (from, to) of which nothing came."""
    site = Site(root)
    site.registry.mkdir(parents=True)
    terminals({"step_min": 60}).write_csv(site.registry / "terminals.csv")
    bench = Workbench(site, "", ZONE, timedelta(hours=2), ParquetStore(site.raw), lambda: None, "", 0)
    hours = [hour for hour in range(days * 24 + 1) if not any(begin < hour < end for begin, end in silent)]
    times = [start + timedelta(hours=hour) for hour in hours]
    bench.store.write(readings(times, forward_m3=[1000.0 + RATE * hour for hour in hours]))
    run_touched(bench, "test")
    with opened(site.marts, str(ZONE)) as connection:
        tables.prepare(connection)
        yield bench, connection


def reconcile(bench: Workbench, connection: duckdb.DuckDBPyConnection) -> None:
    """Make every step that a sync with billing makes."""
    nothing = Partitions((), ZONE)
    connection.execute("insert into billing.changed_bill select bill_no from billing.bill").fetchall()
    nothing.prepare(connection)
    for step in tables.synced():
        step.build(Making(bench, connection, nothing))


@pytest.mark.parametrize(
    ("silent", "volume_m3"),
    [
        ([(1410, 1420), (5088, 6000)], 8760 * RATE),
        ([(8750, 8761)], None),
    ],
    ids=["over two months' ends", "over the year's end"],
)
def test_a_hole_over_the_end_of_a_month_loses_nothing_of_the_year(
    tmp_path: Path, silent: list[tuple[int, int]], volume_m3: float | None
) -> None:
    with computed(tmp_path, silent, datetime(2025, 1, 1, tzinfo=ZONE), 365) as (_, connection):
        assert connection.execute("select volume_m3 from yearly_usage where year = '2025-01-01'").fetchall() == [(volume_m3,)]


HOLES = [
    pytest.param([], id="no hole"),
    pytest.param([(20, 26)], id="over midnight"),
    pytest.param([(20, 26), (30, 80)], id="two nights and the days between"),
]


@pytest.mark.parametrize("silent", HOLES)
def test_a_hole_loses_nothing_of_a_bill_the_month_so_far_and_the_reports_total(
    tmp_path: Path, silent: list[tuple[int, int]]
) -> None:
    with computed(tmp_path, silent) as (bench, connection):
        connection.execute(
            "insert into billing.bill (bill_no, meter_no, period_start, period_end, billed_m3) values "
            "('B1', 'M1', '2025-06-01', '2025-06-05', 576), ('B1', 'M2', '2025-06-01', '2025-06-05', 1)"
        )
        reconcile(bench, connection)
        compared = "select meter, measured_m3, difference_pct, comparable, reason from reconciliation order by meter"
        assert connection.execute(compared).fetchall() == [
            ("M1", 576.0, 0.0, True, None),
            ("M2", None, None, False, "no_meter"),
        ]
        assert connection.execute("select month_m3 from latest_figures").fetchall() == [(576.0,)]
        workbook, _ = reports.export(
            "daily_volume",
            date(2025, 6, 1),
            date(2025, 6, 4),
            warehouse=connection,
            folder=tmp_path / "reports",
            utility="",
            language="zh",
            run_id="run-1",
            zone=ZONE,
        )
        lines = [[cell.value for cell in row] for row in openpyxl.load_workbook(workbook.file).active.iter_rows(min_row=4)]
        assert [line[8] for line in lines] == [576, 576]


def test_a_bill_whose_period_begins_or_ends_in_a_hole_is_not_measured(tmp_path: Path) -> None:
    with computed(tmp_path, [(20, 26)]) as (bench, connection):
        connection.execute(
            "insert into billing.bill (bill_no, meter_no, period_start, period_end, billed_m3) values "
            "('B1', 'M1', '2025-06-02', '2025-06-05', 1), ('B2', 'M1', '2025-06-01', '2025-06-02', 1), "
            "('B3', 'M1', '2025-05-01', '2025-05-31', 1)"
        )
        reconcile(bench, connection)
        compared = "select bill_no, measured_m3, comparable, reason from reconciliation order by bill_no"
        assert connection.execute(compared).fetchall() == [
            ("B1", None, False, "incomplete"),
            ("B2", None, False, "incomplete"),
            ("B3", None, False, "not_measured"),
        ]


def test_bills_with_absurd_periods_stop_no_other(tmp_path: Path) -> None:
    with computed(tmp_path, []) as (bench, connection):
        connection.execute(
            "insert into billing.bill (bill_no, meter_no, period_start, period_end, billed_m3) values "
            "('B1', 'M1', '2025-06-01', '2025-06-05', 576), ('B2', 'M1', '0001-01-01', '9999-12-31', 1), "
            "('B3', 'M1', '2025-06-01', '9999-12-31', 1), ('B4', 'M1', '2025-06-05', '2025-06-01', 1), "
            "('B5', 'M1', null, null, 1), ('B6', null, '2025-06-01', '2025-06-05', 1), "
            "('B7', 'M1', '2024-06-01', '2026-06-01', 1)"
        )
        reconcile(bench, connection)
        found = connection.execute("select bill_no, reason, comparable from reconciliation order by bill_no").fetchall()
        assert found == [
            ("B1", None, True),
            ("B2", "incomplete", False),
            ("B3", "incomplete", False),
            ("B4", "no_period", False),
            ("B5", "no_period", False),
            ("B6", "no_meter", False),
            ("B7", "incomplete", False),
        ]
        assert connection.sql("from reconciliation").pl()["comparable"].dtype == pl.Boolean


def test_a_late_reading_measures_the_bill_anew(tmp_path: Path) -> None:
    with computed(tmp_path, [(92, 100)]) as (bench, connection):
        connection.execute(
            "insert into billing.bill (bill_no, meter_no, period_start, period_end, billed_m3) "
            "values ('B1', 'M1', '2025-06-01', '2025-06-05', 576)"
        )
        reconcile(bench, connection)
        assert connection.execute("select measured_m3 from reconciliation").fetchall() == [(None,)]
    late = [START + timedelta(hours=hour) for hour in range(93, 97)]
    bench.store.write(readings(late, forward_m3=[1000.0 + RATE * hour for hour in range(93, 97)]))
    run_touched(bench, "test")
    with opened(bench.site.marts, str(ZONE)) as connection:
        assert connection.execute("select measured_m3, comparable from reconciliation").fetchall() == [(576.0, True)]
