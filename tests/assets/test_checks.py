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
from assets.columns import tables as tables_with_headers
from assets.marts import all_marts
from assets.warehouse import opened
from ingest_daemon.contract.headers import SQL
from pipelines.runs.bench import workbench
from pipelines.runs.run import Run
from tests.site_helpers import local_days, make_site, series

ZONE = ZoneInfo("Asia/Shanghai")
DAYS = local_days(date(2024, 4, 1), 33)
HOUR = timedelta(hours=1)
TABLES = sorted({step.name for step in tables.steps()})

BILLING = (
    """
    insert into billing.customer by name select 'C1' as customer_no, '一厂' as name, 'textile' as industry, '东路' as address
    """,
    """
    insert into billing.meter_card by name
    select 'M' || m as meter_no, 'C1' as customer_no, 'B' || m as book_no from (values (1), (2), (3)) as meters (m)
    """,
    "insert into billing.meter_card_history by name select meter_no, customer_no, book_no from billing.meter_card",
    """
    insert into billing.meter_read by name
    select 'R1' as read_id, 'M1' as meter_no, timestamp '2024-05-01' as read_at, 'actual' as kind
    """,
    """
    insert into billing.bill by name
    select 'B' || m as bill_no, 'C1' as customer_no, 'M' || m as meter_no, 7000 as billed_m3, 'issued' as status,
        date '2024-04-01' as period_start, date '2024-05-01' as period_end,
        15515.1 as water_charge, 7038.1 as drainage_charge, 22553.2 as amount
    from (values (1), (2)) as meters (m)
    """,
    """
    insert into billing.payment by name
    select 'P' || m as payment_id, 'B' || m as bill_no, 'C1' as customer_no, date '2024-05-02' as paid_on, 9000 as amount
    from (values (1), (2)) as meters (m)
    """,
)

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
    ("group_usage", "adds_up"): "update group_usage set volume_m3 = volume_m3 + 1 where period = '2024-04-02'",
    ("segment_usage", "adds_up_to_day"): "delete from segment_usage where day = '2024-04-02' and segment = 'peak'",
    ("cycle_usage", "equals_month"): "update cycle_usage set volume_m3 = volume_m3 + 1",
    ("usage_profile", "in_order"): "update usage_profile set p10_m3h = p90_m3h + 1",
    ("daily_pattern", "within_day"): "update daily_pattern set hours_active = 30 where day = '2024-04-02'",
    ("shift_type", "has_evidence"): "update shift_type set shift_type = 'night'",
    ("peak_valley", "within_longer"): "update peak_valley set flow_max_m3h = 1 where grain = 'month'",
    ("usage_comparison", "rate"): "update usage_comparison set change_pct = 12 where period = '2024-04-02'",
    ("usage_comparison", "comparable"): "update usage_comparison set last_year_comparable = true where period = '2024-04-02'",
    ("reconciliation", "difference"): "update reconciliation set difference_m3 = difference_m3 + 1",
    ("reconciliation", "meter_known"): "update reconciliation set meter = 'nobody'",
    ("bill_charge", "no_rest"): "update bill_charge set charge_kind = 'rest' where charge_kind = 'water'",
    ("bill", "dated"): "update bill set account_month = '1024-04-01'",
    ("bill", "outstanding"): "update bill set received = received + 1000 where bill_no = 'B1'",
    ("payment", "has_bill"): "update payment set timing = 'unassigned' where payment_id = 'P1'",
    ("payment", "complete"): "delete from payment where payment_id = 'P1'",
    ("meter_month", "state_fits"): "update meter_month set state = 'read' where state = 'unread'",
    ("unread_meter", "all_listed"): "delete from unread_meter where month = '2024-04-01'",
    ("revenue_kpi", "lines"): "delete from revenue_kpi where month = '2024-04-01' and line = 4",
    # The paper prints arrears of 21553.2 beside parts of 15515.1 and 7038.1.
    ("revenue_kpi", "parts"): "update revenue_kpi set value = value - 1000 where month = '2024-05-01' and line = 11",
    ("revenue_kpi", "classes"): "update revenue_kpi set value = value + 1000 where month = '2024-05-01' and line = 14",
    ("reading_status", "classes_add_up"): "update reading_status set meters_read = 2 where month = '2024-04-01' and code = 'B1'",
    ("collection_status", "arrears_roll_on"): "update collection_status set received = received + 1 where month = '2024-05-01'",
    ("usage_by_class", "sources_add_up"): "update usage_by_class set customers = 9 where month = '2024-04-01' and source = 'all'",
    ("usage_by_class_year", "adds_up"): "update usage_by_class_year set volume_m3 = 1 where year = '2024-01-01'",
    ("usage_month_matrix", "total"): "update usage_month_matrix set volume_m3 = 1 where year = '2024-01-01' and month_no = 13",
    ("customer_search", "by_number"): "delete from customer_search where key_kind = 'number'",
    ("reconciliation_reason", "adds_up"): "update reconciliation_reason set difference_m3 = difference_m3 + 0.002",
    ("latest_figures", "not_in_future"): "update latest_figures set reading_at = now() + interval 1 day",
    ("meter", "has_customer"): "update meter set customer_no = null",
    ("meter", "sizes_fit_dn"): "update meter set dn_mm = 50",
    ("flow_distribution", "classes_add_up"): "update flow_distribution set zone_h = [1, 2, 3, 4, 5, 6]",
    ("meter_fit", "shares"): "update meter_fit set time_zero = time_zero + 0.5",
    ("meter_catalogue", "in_order"): "update meter_catalogue set q1_m3h = q2_m3h",
    ("meter_resize", "covers_peak"): "insert into meter_resize (meter, passes, head_room) values ('M1', true, 0.4)",
    ("replacement_effect", "both_sides"): (
        "insert into replacement_effect (meter, replaced_on, side, realised_m3_year) values ('M1', '2024-04-02', 'after', 1)"
    ),
    ("value_summary", "points"): "update value_summary set volume_m3_year = 1 where line = 'oversized'",
    ("metering_point", "one_source"): (
        "insert into metering_point select * replace ('manual' as source, date '2024-04-02' as first_day) from metering_point"
    ),
    ("customer_usage", "adds_up"): "update customer_usage set volume_m3 = volume_m3 + 1 where period = '2024-04-02'",
    ("revenue_rank", "shares"): "update revenue_rank set share = share / 2",
    ("calendar", "every_day"): "delete from calendar where day = '2024-04-02'",
    ("criterion", "has_value"): "update criterion set value = null where name = 'fit.months'",
    ("customer", "meters"): "update customer set meters_manual = meters + 1",
    ("meter_history", "no_overlap"): "insert into meter_history select * from meter_history",
    ("relation", "ends_after_begin"): "update relation set valid_from = '2024-04-02', valid_to = '2024-04-02'",
    ("time_segment", "within_day"): "update time_segment set to_h = 30",
    ("yearly_usage", "adds_up"): "update yearly_usage set complete = true, clean = true, volume_m3 = 1, measured_m3 = 2",
    ("usage_rank", "shares"): "update usage_rank set share = share / 2 where grain = 'month'",
    ("major_customer", "reaches_limit"): "update major_customer set value = 1",
    ("billing_match", "share"): "update billing_match set matched = counted + 1",
    ("registry_gap", "known"): "insert into registry_gap (gap, meter) values ('no_card', 'nobody')",
    ("verification_due", "after_installation"): "update verification_due set due_on = in_use_since",
    ("cycle", "no_overlap"): "insert into cycle select * replace (date '2024-04-15' as period_start) from cycle",
    ("pressure_compliance", "adds_up"): "update pressure_compliance set readings = 9 where grain = 'month'",
    ("hourly_pressure", "in_order"): "update hourly_pressure set pressure_min_mpa = 9 where day = '2024-04-02'",
    ("pressure_by_hour", "in_order"): "update pressure_by_hour set p5_mpa = 9 where day = '2024-04-02'",
    ("flow_pressure_fit", "r_squared"): "update flow_pressure_fit set r_squared = 2 where day = '2024-04-02'",
    ("pressure_drop", "within_day"): "insert into pressure_drop (meter, day, steps) values ('M1', '2024-04-02', 24)",
    ("zone_balance", "adds_up"): (
        "insert into zone_balance (kind, code, day, inlet_m3, customers_m3, balance_m3) "
        "values ('network', 'N1', '2024-04-02', 3, 1, 1)"
    ),
    ("zone_balance", "night_of_customers"): (
        "insert into zone_balance (kind, code, day, customers_night_m3h) values ('network', 'N1', '2024-04-02', 0.5)"
    ),
    ("night_flow", "loss"): "update night_flow set loss_m3_day = 1 where day = '2024-04-02'",
    ("reverse_course", "adds_up_to_day"): "update daily_usage set reverse_m3 = 1 where day = '2024-04-02'",
    ("reverse_event", "adds_up"): (
        "insert into reverse_event (meter, started_at, day, volume_m3) values ('M1', '2024-04-02 08:00+08', '2024-04-02', 1)"
    ),
    ("forecast", "in_order"): "insert into forecast values ('M1', '2024-04-02', '2024-04-02 08:00+08', 2, 1, 3)",
    ("forecast_group", "sums_up"): "update forecast_group set p50_m3h = p50_m3h + 1 where kind = 'all'",
    ("forecast_score", "share"): "insert into forecast_score values ('M1', '2024-04-01', 1.1, 0, 0, 24)",
    ("change_point", "direction"): (
        "insert into change_point (meter, week, direction, change_m3_day, since) "
        "values ('M1', '2024-04-01', 'up', -5, '2024-04-02')"
    ),
    ("quality_score", "parts_add_up"): "update quality_score set vee_points = 1 where day = '2024-04-02'",
    ("reading_success", "share"): "update reading_success set meters_read = 1 where day = '2024-04-02'",
    ("gap", "in_order"): "update gap set closed_at = now() where state <> 'closed'",
    ("vee_finding", "has_value"): "insert into vee_finding (meter, day, rule) values ('M1', '2024-04-02', 'V10')",
    ("vee_rule", "words"): "update vee_rule set name_en = '' where rule = 'V12'",
    ("quarantine", "has_words"): "insert into quarantine (reason, terminal, entries) values ('NEW', '001', 1)",
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
        for statement in BILLING:
            empty.execute(statement).fetchall()
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


def insert_anything(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """A row whose key lies in the prepared partitions, in a table that has none."""
    values = {"DATE": "date '2024-04-01'", "VARCHAR": "'day'", "TIMESTAMP WITH TIME ZONE": "timestamptz '2024-04-02 08:00+08'"}
    types = {name: kind for name, kind, *_ in connection.execute(f"describe {table}").fetchall()}
    header = tables_with_headers()[table]
    keys = dict.fromkeys((*header.grain, *header.partitioning.keys))
    cells = ", ".join(f"{values.get(types[name], '1')} as {name}" for name in keys)
    connection.execute(f"insert into {table} by name select {cells}").fetchall()


@pytest.mark.parametrize("table", [mart.name for mart in all_marts()])
def test_a_row_that_is_there_twice_breaks_the_grain(planted: duckdb.DuckDBPyConnection, table: str) -> None:
    if planted.execute(f"from {table} limit 1").fetchall() == []:
        insert_anything(planted, table)
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
