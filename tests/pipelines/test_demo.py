"""The demo from end to end: truth equals the marts, every fault is where it belongs, a second run changes nothing."""

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import openpyxl
import polars as pl
import psycopg
import pytest

import dashboards
from assets import alarm_rules, calendar, marts
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import open_store
from ingest_daemon.stores.settings import StoreSettings
from pipelines import settings
from pipelines.processes import servers
from pipelines.runs import alarms
from pipelines.runs.bench import workbench
from tests.chain import assert_same_tables, mainflow, published, table, tables
from tests.demo_site import MARK, Demo
from tests.site_helpers import files_with, passwords_of_roles

NEAR_M3 = 1e-6


@pytest.fixture(scope="module")
def dsn(demo: Demo) -> Iterator[str]:
    with servers.postgres(settings.load(demo.site)) as address:
        yield address


@pytest.fixture(scope="module")
def faults(demo: Demo) -> pl.DataFrame:
    return pl.read_csv(demo.site / "truth" / "faults.csv", try_parse_dates=True)


def one(faults: pl.DataFrame, kind: str) -> dict[str, object]:
    return faults.filter(pl.col("kind") == kind).row(0, named=True)


def kept(demo: Demo, reason: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (demo.site / "quarantine" / f"{reason}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "mart", "keys"),
    [
        ("hourly", "hourly_usage", ["meter", "hour_start"]),
        ("daily", "daily_usage", ["meter", "day"]),
        ("monthly", "monthly_usage", ["meter", "month"]),
    ],
)
def test_the_marts_equal_the_truth_of_the_simulator(demo: Demo, name: str, mart: str, keys: list[str], record_property) -> None:
    truth = pl.read_parquet(demo.site / "truth" / f"{name}.parquet")
    joined = truth.select(*keys, wanted="volume_m3").join(
        table(demo.marts, mart).select(*keys, found="volume_m3"), on=keys, how="left"
    )
    near = (pl.col("wanted") - pl.col("found")).abs() <= NEAR_M3
    both_missing = pl.col("wanted").is_null() & pl.col("found").is_null()
    wrong = joined.filter(~(near.fill_null(False) | both_missing))
    record_property("summary", f"demo truth: {joined.height} {name} volumes compared")
    assert wrong.is_empty(), f"{wrong.height} of {joined.height} differ:\n{wrong}"


def test_every_reading_is_stored_or_kept_aside_once(demo: Demo) -> None:
    loaded = settings.load(demo.site)
    stored = open_store(loaded.folder, loaded[StoreSettings]).read(
        datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    )
    assert stored.height == stored.unique(["terminal", "ts"]).height
    counters = json.loads((demo.site / "state" / "counters.json").read_text())
    assert counters["readings"] == stored.height
    assert counters["acknowledged"] == sum(counters["frames"][stream] for stream in ("data", "alarm", "stranger"))


def test_a_future_time_is_kept_aside_with_its_reason(demo: Demo, faults: pl.DataFrame) -> None:
    (line,) = kept(demo, "FUTURE_TIME")
    assert str(line["terminal"]).lstrip("0") == str(one(faults, "future_time")["terminal"]).lstrip("0")


def test_an_unknown_terminal_is_quarantined_and_in_no_mart(demo: Demo, faults: pl.DataFrame) -> None:
    lines = kept(demo, "UNKNOWN_TERMINAL")
    assert {str(line["terminal"]).lstrip("0") for line in lines} == {str(one(faults, "unknown_terminal")["terminal"]).lstrip("0")}
    with_terminal = table(demo.marts, "meter").filter(pl.col("terminal").is_not_null())
    assert set(table(demo.marts, "daily_usage")["meter"]) == set(with_terminal["meter"])


def test_a_bad_crc_is_refused_kept_and_its_repetition_counts(demo: Demo) -> None:
    counters = json.loads((demo.site / "state" / "counters.json").read_text())
    assert counters["bad"] == {"BAD_CRC": 1}
    assert (demo.site / "journal" / "bad").exists()


def test_a_duplicate_upload_is_counted_once(demo: Demo, faults: pl.DataFrame) -> None:
    fault = one(faults, "duplicate")
    counters = json.loads((demo.site / "state" / "counters.json").read_text())
    assert counters["duplicates"] > 0
    quality = table(demo.marts, "data_quality").filter(pl.col("meter") == fault["meter"])
    assert quality.filter(pl.col("readings") > pl.col("expected_readings")).is_empty()


def test_a_long_gap_is_flagged_and_keeps_the_volume_of_its_day(demo: Demo, faults: pl.DataFrame) -> None:
    fault = one(faults, "gap_long")
    quality = table(demo.marts, "data_quality").filter((pl.col("meter") == fault["meter"]) & (pl.col("holes") > 0))
    (day,) = quality["day"].to_list()
    row = table(demo.marts, "daily_usage").filter((pl.col("meter") == fault["meter"]) & (pl.col("day") == day)).row(0, named=True)
    assert not row["complete"]
    assert row["volume_m3"] is not None


def test_a_gap_over_midnight_loses_both_days_and_says_so(demo: Demo, faults: pl.DataFrame) -> None:
    fault = one(faults, "gap_midnight")
    days = table(demo.marts, "daily_usage").filter((pl.col("meter") == fault["meter"]) & (pl.col("coverage") > 0))
    lost = days.filter(pl.col("volume_m3").is_null())
    assert lost.height == 2
    assert not lost["complete"].any()


def test_a_short_gap_and_a_late_day_leave_whole_days(demo: Demo, faults: pl.DataFrame) -> None:
    for kind in ("gap_short", "late_day"):
        days = table(demo.marts, "daily_usage").filter((pl.col("meter") == one(faults, kind)["meter"]) & (pl.col("coverage") > 0))
        assert days["complete"].all(), kind


@pytest.mark.parametrize(
    ("kind", "column"), [("replacement", "replacements"), ("rollover", "rollovers"), ("reverse", "reversals")]
)
def test_what_happens_to_a_register_is_recognised(demo: Demo, faults: pl.DataFrame, kind: str, column: str) -> None:
    quality = table(demo.marts, "data_quality").filter(pl.col("meter") == one(faults, kind)["meter"])
    assert quality[column].sum() > 0
    assert quality["clean"].all()


def test_a_slow_clock_is_flagged_off_the_grid_and_raises_an_alarm(demo: Demo, faults: pl.DataFrame, dsn: str) -> None:
    fault = one(faults, "clock_slow")
    assert table(demo.marts, "data_quality").filter((pl.col("meter") == fault["meter"]) & (pl.col("off_grid") > 0)).height >= 2
    with psycopg.connect(dsn) as connection:
        states = connection.execute(
            "select state from ops.alarm_event where code = 'CLOCK' and meter = %s", [fault["meter"]]
        ).fetchall()
    assert ("raised",) in states


@pytest.mark.parametrize(("kind", "code"), [("low_pressure", "P_LO"), ("reverse", "Q_REV"), ("low_battery", "BATT")])
def test_an_alarm_of_a_terminal_becomes_an_event_with_value_and_unit(
    demo: Demo, faults: pl.DataFrame, dsn: str, kind: str, code: str
) -> None:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select state, value, unit, event_at, received_at from ops.alarm_event "
            "where meter = %s and code = %s order by event_at",
            [one(faults, kind)["meter"], code],
        ).fetchall()
    assert rows
    state, value, unit, event_at, received_at = rows[0]
    assert state == "raised"
    assert value is not None
    assert unit
    assert event_at <= received_at


@pytest.mark.parametrize(("kind", "code"), [("low_pressure", "P_LO"), ("reverse", "Q_REV"), ("low_battery", "BATT")])
def test_a_terminal_and_the_figures_have_found_one_alarm(
    demo: Demo, faults: pl.DataFrame, dsn: str, kind: str, code: str
) -> None:
    with psycopg.connect(dsn) as connection:
        origins = connection.execute(
            "select origin from ops.alarm where meter = %s and code = %s and origin <> 'server'",
            [one(faults, kind)["meter"], code],
        ).fetchall()
    assert origins == [("both",)]


def test_a_leak_is_an_alarm_until_now(demo: Demo, faults: pl.DataFrame, dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select meter from ops.alarm where code = 'LEAK_NIGHT' and cleared_at is null").fetchall()
    assert found == [(one(faults, "leak")["meter"],)]


@pytest.mark.parametrize("code", alarm_rules.rules())
def test_a_rule_that_has_not_changed_says_of_the_past_what_is_known(demo: Demo, dsn: str, code: str) -> None:
    # BAND is judged while the forecasts of a day are kept.
    last = table(demo.marts, "daily_usage")["day"].max()
    days = calendar.days_between(last - timedelta(days=5 if code == "BAND" else 30), last)
    found = alarms.replay(workbench(settings.load(demo.site)), code, days)
    assert (found.new, found.gone) == ([], [])


def test_every_alarm_has_what_a_person_needs(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select code, meter from ops.alarm where code not in ('MAG', 'EMPTY', 'SENSOR', 'DOOR', 'MAINS') "
            "and (peak_value is null or limit_value is null or first_seen_at is null)"
        ).fetchall()
        statistics = dict(
            connection.execute(
                "select alarm_code, cast(sum(alarms) as bigint) from mart.alarm_statistics where kind = 'all' group by alarm_code"
            ).fetchall()
        )
        counted = dict(
            connection.execute("select code, count(*) from ops.alarm where retracted_at is null group by code").fetchall()
        )
    assert rows == []
    assert statistics == counted


def test_bills_are_compared_with_what_was_measured(demo: Demo, faults: pl.DataFrame) -> None:
    bills = table(demo.marts, "reconciliation").filter("comparable")
    short = one(faults, "bill_short")["meter"]
    differences = bills.filter(pl.col("meter") == short)["difference_pct"]
    assert differences.min() == pytest.approx(-25, abs=1)
    honest = bills.filter(~pl.col("meter").is_in(faults.filter(pl.col("kind").str.starts_with("bill_"))["meter"].to_list()))
    assert honest.height > 5
    assert (honest["difference_pct"].abs() < 1).all()


def test_customers_come_from_billing(demo: Demo) -> None:
    assert set(table(demo.marts, "customer")["source"]) == {"billing"}
    assert table(demo.marts, "meter").filter(pl.col("inlet_of").is_null())["in_billing"].all()


def test_published_tables_equal_the_marts(demo: Demo, dsn: str) -> None:
    served = [mart.name for mart in marts.all_marts()]
    assert len(served) >= 14
    for name in served:
        there, here = published(dsn, name), table(demo.marts, name)
        assert there.height == here.height, name
        assert there.columns == here.columns, name
        for column, kind in here.schema.items():
            if kind.is_float():
                assert there[column].cast(pl.Float64).sum() == pytest.approx(here[column].sum(), rel=1e-12), f"{name}.{column}"


def test_every_rule_runs_on_the_published_tables(demo: Demo, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for rule in dashboards.all_rules().values():
            for step in rule["data"]:
                if "rawSql" in step["model"]:
                    connection.execute(step["model"]["rawSql"]).fetchall()


def test_the_report_has_every_meter_with_numbers_as_numbers(demo: Demo) -> None:
    (workbook,) = (demo.site / "reports").glob("*.xlsx")
    sheet = openpyxl.load_workbook(workbook).worksheets[0]
    numbers = [cell.value for row in sheet.iter_rows() for cell in row if isinstance(cell.value, (int, float))]
    assert len(numbers) > 100
    (csv,) = (demo.site / "reports").glob("*.csv")
    assert csv.read_bytes().startswith(b"\xef\xbb\xbf")
    ledger = table(demo.marts, "report_ledger")
    assert ledger.height == 2
    assert ledger["sha256"].str.len_chars().unique().to_list() == [64]


def test_the_report_is_listed_and_its_cells_lead_to_frames(demo: Demo) -> None:
    (workbook,) = (demo.site / "reports").glob("*.xlsx")
    listed = mainflow("reports", "list", "--site", demo.site).stdout
    assert workbook.name in listed and "✓" in listed and "monthly_volume" in listed
    sheet = openpyxl.load_workbook(workbook).worksheets[0]
    cell = next(cell for row in sheet.iter_rows(min_row=4, min_col=5) for cell in row if cell.value)
    told = mainflow("explain", "--site", demo.site, workbook, cell.coordinate).stdout
    assert "相符 equal" in told
    assert "mart daily_usage" in told


def test_no_password_is_printed_or_lies_where_others_read(demo: Demo) -> None:
    site = Site(demo.site)
    secrets = [MARK.encode(), *passwords_of_roles(site)]
    assert {path.name for path in files_with(site, secrets)} <= {"postgres-roles.json", "postgres.json"}
    assert [path for path in files_with(site, secrets) if path.stat().st_mode & stat.S_IRWXO] == []
    assert not any(secret.decode() in demo.output for secret in secrets)


def test_a_second_demo_sends_the_same_again_and_changes_no_figure(demo: Demo) -> None:
    before = tables(demo.marts, without=("received_at", "frame"))
    reports = {path.name: path.read_bytes() for path in (demo.site / "reports").iterdir()}
    again = mainflow("demo", demo.site, "--days", "40")
    assert "演示完成" in again.stdout
    assert_same_tables(before, tables(demo.marts, without=("received_at", "frame")))
    assert reports == {path.name: path.read_bytes() for path in (demo.site / "reports").iterdir()}
