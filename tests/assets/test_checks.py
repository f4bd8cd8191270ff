"""Every rule passes on good figures and finds the row that breaks it; so does every expectation of a contract."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest

from assets import graph, quality, tables
from assets.billing import ensure_tables
from assets.headers import SQL
from assets.marts import all_marts
from assets.warehouse import opened
from pipelines.runs.bench import workbench
from pipelines.runs.run import Run
from tests.site_helpers import local_days, make_site, series

pytestmark = pytest.mark.xdist_group("checks")

ZONE = ZoneInfo("Asia/Shanghai")
DAYS = local_days(date(2024, 4, 1), 33)
HOUR = timedelta(hours=1)
TABLES = sorted({step.name for step in tables.steps()})

BILLS = """
insert into billing.bill by name
select 'B' || m as bill_no, 'C1' as customer_no, 'M' || m as meter_no, 7000 as billed_m3, 'issued' as status,
    date '2024-04-01' as period_start, date '2024-05-01' as period_end
from (values (1), (2)) as meters (m)
"""

PLANTED = {
    ("hourly_usage", "adds_up_to_day"): "update hourly_usage set volume_m3 = volume_m3 + 0.001 where day = '2024-04-02'",
    ("hourly_usage", "coverage"): "update hourly_usage set coverage = -0.5 where hour_start = '2024-04-02 08:00+08'",
    ("daily_usage", "coverage"): "update daily_usage set coverage = -0.01 where day = '2024-04-02'",
    ("daily_usage", "complete_has_volume"): "update daily_usage set volume_m3 = null where day = '2024-04-02'",
    ("daily_usage", "within_meter"): "update daily_usage set volume_m3 = 9999 where day = '2024-04-02'",
    ("monthly_usage", "adds_up"): "update monthly_usage set measured_m3 = measured_m3 + 1 where month = '2024-04-01'",
    ("monthly_usage", "days"): "update monthly_usage set days_complete = 31 where month = '2024-04-01'",
    ("hourly_coefficient", "sums_to_hours"): "delete from hourly_coefficient where hour_start = '2024-04-02 08:00+08'",
    ("daily_coefficient", "sums_to_days"): "delete from daily_coefficient where day = '2024-04-02'",
    ("peak_valley", "in_order"): "update peak_valley set flow_mean_m3h = flow_max_m3h + 1 where period = '2024-04-02'",
    ("usage_comparison", "rate"): "update usage_comparison set change_pct = 12 where period = '2024-04-02'",
    ("usage_comparison", "comparable"): "update usage_comparison set last_year_comparable = true where period = '2024-04-02'",
    ("reconciliation", "difference"): "update reconciliation set difference_m3 = difference_m3 + 1",
    ("reconciliation", "meter_known"): "update reconciliation set meter = 'nobody'",
    ("latest_figures", "not_in_future"): "update latest_figures set reading_at = now() + interval 1 day",
    ("meter", "has_customer"): "update meter set customer_no = null",
    ("meter", "sizes_fit_dn"): "update meter set dn_mm = 50",
    ("data_quality", "readings_known"): "update data_quality set readings = 100 where day = '2024-04-02'",
}
"""For each rule a change that breaks it."""


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse of a month of good readings of two meters, prepared for all its days."""
    start = datetime(2024, 4, 1, tzinfo=ZONE)
    readings = [series(name, start, 24 * len(DAYS) + 1, HOUR, lambda i: 10.0 + i % 24) for name in ("001", "002")]
    terminals = [{"terminal": "001", "meter": "M1"}, {"terminal": "002", "meter": "M2"}]
    settings = make_site(tmp_path_factory.mktemp("checks") / "site", terminals, pl.concat(readings))
    (settings.folder.registry / "relations.csv").write_text("meter,kind,code,valid_from,valid_to\nM1,network,N1,2024-01-01,\n")
    with opened(settings.folder.marts, "Asia/Shanghai") as empty:
        ensure_tables(empty)
        empty.execute(BILLS).fetchall()
    run = Run(workbench(settings), DAYS, "test")
    with run.opened() as warehouse:
        for step in tables.figures():
            run.make(warehouse, step)
        yield warehouse


@pytest.fixture
def planted(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    connection.execute("begin").fetchall()
    yield connection
    connection.execute("rollback").fetchall()


@pytest.mark.parametrize("table", TABLES)
def test_good_figures_break_no_rule(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    findings = quality.examine(connection, table)
    assert [finding for finding in findings if finding.offending] == []
    assert graph.check_result(findings).passed


@pytest.mark.parametrize("table", [mart.name for mart in all_marts()])
def test_a_row_that_is_there_twice_breaks_the_grain(planted: duckdb.DuckDBPyConnection, table: str) -> None:
    planted.execute(f"insert into {table} select * from {table} limit 1").fetchall()
    (grain,) = [finding for finding in quality.examine(planted, table) if finding.rule.name == "grain"]
    assert (grain.offending, grain.rows[0]["times"]) == (1, 2)


@pytest.mark.parametrize(("table", "rule"), sorted(PLANTED))
def test_a_rule_finds_the_row_that_breaks_it(planted: duckdb.DuckDBPyConnection, table: str, rule: str) -> None:
    planted.execute(PLANTED[table, rule]).fetchall()
    (finding,) = [finding for finding in quality.examine(planted, table) if finding.rule.name == rule]
    assert finding.offending > 0
    assert 0 < len(finding.rows) <= quality.SHOWN
    told = graph.check_result([finding])
    assert not told.passed
    assert told.description is not None
    assert rule in told.description
    assert (told.severity.value == "ERROR") == (finding.rule.severity == "fail")


def test_every_rule_file_belongs_to_a_table_and_has_a_planted_row() -> None:
    files = {tuple(path.stem.split("__", 1)) for path in (SQL / "checks").glob("*.sql")}
    assert files == set(PLANTED)
    assert {table for table, _ in files} <= set(TABLES)


def test_rules_look_at_the_prepared_days_only(planted: duckdb.DuckDBPyConnection) -> None:
    planted.execute("update daily_usage set coverage = -1 where day = '2024-04-02'").fetchall()
    planted.execute("delete from touched_day where day = '2024-04-02'").fetchall()
    assert [finding.rule.name for finding in quality.examine(planted, "daily_usage") if finding.offending] == []


NOON = datetime(2024, 4, 2, 4, tzinfo=UTC)
GOOD = {"meter": "M1", "ts": NOON, "forward_m3": 5.0, "pressure_mpa": 0.3}
CUSTOMER = {"customer_no": "C1", "name": "一厂", "updated_at": datetime(2024, 4, 1)}
READING_SCHEMA = {"meter": pl.String, "ts": pl.Datetime("us", "UTC"), "forward_m3": pl.Float64, "pressure_mpa": pl.Float64}
CUSTOMER_SCHEMA = {"customer_no": pl.String, "name": pl.String, "updated_at": pl.Datetime("us")}

BROKEN = [
    ("daily_readings", [GOOD], set()),
    ("daily_readings", [GOOD | {"forward_m3": None, "pressure_mpa": None}], set()),
    ("daily_readings", [], {"enough_readings"}),
    ("daily_readings", [GOOD | {"ts": None}], {"time_present"}),
    ("daily_readings", [GOOD | {"ts": NOON + timedelta(days=2)}], {"time_within_day"}),
    ("daily_readings", [GOOD | {"meter": None}], {"terminal_known"}),
    ("daily_readings", [GOOD | {"forward_m3": -1.0}], {"forward_not_negative"}),
    ("daily_readings", [GOOD | {"pressure_mpa": 3.0}], {"pressure_believable"}),
    ("billing_customer", [CUSTOMER], set()),
    ("billing_customer", [], {"not_empty"}),
    ("billing_customer", [CUSTOMER | {"customer_no": None}], {"number_present"}),
    ("billing_customer", [CUSTOMER, CUSTOMER], {"number_unique"}),
    ("billing_customer", [CUSTOMER | {"name": None}], {"name_present"}),
    ("billing_customer", [CUSTOMER | {"updated_at": datetime(2999, 1, 1)}], {"change_not_in_future"}),
]


@pytest.mark.parametrize(("source", "rows", "broken"), BROKEN)
def test_a_contract_names_what_was_not_delivered(source: str, rows: list[dict[str, object]], broken: set[str]) -> None:
    schema = READING_SCHEMA if source == "daily_readings" else CUSTOMER_SCHEMA
    limits = {"earliest": NOON - timedelta(hours=14), "latest": NOON + timedelta(hours=14), "least_rows": 1}
    parameters = limits if source == "daily_readings" else {"latest": datetime(2026, 1, 1)}
    verdict = quality.judge(source, pl.DataFrame(rows, schema=schema), parameters)
    assert set(verdict.filter(~pl.col("success"))["expectation"]) == broken
    assert verdict.schema == quality.VERDICT


def test_a_columns_absence_is_a_broken_expectation() -> None:
    frame = pl.DataFrame([GOOD], schema=READING_SCHEMA).drop("pressure_mpa")
    verdict = quality.judge("daily_readings", frame, {"earliest": NOON, "latest": NOON, "least_rows": 1})
    assert set(verdict.filter(~pl.col("success"))["expectation"]) == {"columns", "pressure_believable"}


def test_a_day_that_was_delivered_whole_keeps_its_contract_and_half_a_day_breaks_it(tmp_path: Path) -> None:
    start = datetime(2024, 4, 1, tzinfo=ZONE)
    settings = make_site(tmp_path / "site", [{"terminal": "001", "meter": "M1"}], series("001", start, 37, HOUR, lambda _: 1.0))
    bench = workbench(settings)
    with opened(settings.folder.marts, "Asia/Shanghai") as warehouse:
        tables.prepare(warehouse)
        run = Run(bench, [], "test")
        run.make(warehouse, next(step for step in tables.steps() if step.name == "registry"))
        whole, half = (quality.judge_readings(warehouse, bench, day) for day in (date(2024, 4, 1), date(2024, 4, 2)))
        assert whole["success"].all()
        assert half.filter(~pl.col("success"))["expectation"].to_list() == ["enough_readings"]
        for run_id, verdict in (("a", half), ("b", whole)):
            quality.keep(warehouse, run_id, quality.READINGS, date(2024, 4, 2), verdict)
        kept = warehouse.sql("select run_id, success from expectation_result").pl()
    assert kept.height == whole.height
    assert set(kept["run_id"]) == {"b"}
