"""Dagster shows and runs the same steps as `mainflow run`: the graph, a run over days, what asks for runs, what failures say."""

import shutil
import sqlite3
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pyodbc
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assets import columns, graph, marts, publication, quality, reports, tables
from assets.warehouse import has_table, opened
from ingest_daemon.contract.secrets import without_secrets
from ingest_daemon.contract.settings import Settings, SiteSettings
from ingest_daemon.contract.site import Site
from pipelines.definitions import definitions
from pipelines.orchestration.jobs import JOBS, LIVE, QUEUE
from pipelines.orchestration.resources import RANGE_END, RANGE_START, SITE, days_of
from pipelines.orchestration.schedules import schedules
from pipelines.processes import dagster_home
from pipelines.runs import touched
from pipelines.runs.bench import workbench
from pipelines.runs.run import Run, run_days
from pipelines.settings import BackupSettings, BillingSettings, OutputSettings, ReportMailSettings, ReportSettings, load
from tests.cases import figure_site
from tests.chain import HISTORY
from tests.site_helpers import deliver, local_days, make_site, series

REPOSITORY = Path(__file__).parents[2]
ZONE = ZoneInfo("Asia/Shanghai")
FIRST = date(2024, 5, 1)
DAYS = local_days(FIRST, 3)
HOUR = timedelta(hours=1)
TERMINALS = [{"terminal": "001", "meter": "M1"}, {"terminal": "002", "meter": "M2", "customer_no": "C2"}]
PASSWORD = "s3cret/Pass+word"


def readings(first: date = FIRST, days: int = 3) -> pl.DataFrame:
    """Hourly readings of two meters from the midnight that opens the first day to the one that closes the last."""
    start = datetime(first.year, first.month, first.day, tzinfo=ZONE)
    whole = series("001", start, 24 * days + 1, HOUR, lambda i: 5.0 + i % 24)
    with_hole = series("002", start, 24 * days + 1, HOUR, lambda i: 2.0 + i % 7)
    hole = pl.int_range(pl.len()).is_between(30, 36)
    return pl.concat([whole, with_hole.filter(~hole)])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A site with three days of readings, which is the one that Dagster works for."""
    settings = make_site(tmp_path / "site", TERMINALS, readings())
    monkeypatch.setenv(SITE, str(settings.folder.root))
    return settings


class Ran(NamedTuple):
    """A site whose days one run of Dagster has computed, the days that had waited for it, and the run."""

    site: Settings
    waited: list[date]
    result: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    settings = make_site(tmp_path_factory.mktemp("ran") / "site", TERMINALS, readings())
    waited = waiting(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SITE, str(settings.folder.root))
            result = run_job("figures", instance, **range_tags(DAYS))
        assert result.success
        yield Ran(settings, waited, result)


@pytest.fixture
def computed(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of that site, which is the one that Dagster works for."""
    shutil.copytree(ran.site.folder.root, tmp_path / "site")
    monkeypatch.setenv(SITE, str(tmp_path / "site"))
    return load(tmp_path / "site")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def run_job(name: str, instance: dg.DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    job = definitions().resolve_job_def(name)
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def waiting(settings: Settings) -> list[date]:
    """The days that wait for the live figures."""
    bench = workbench(settings)
    return touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole).live


def range_tags(days: list[date]) -> dict[str, str]:
    return {RANGE_START: days[0].isoformat(), RANGE_END: days[-1].isoformat()}


def contents(settings: Settings) -> dict[str, pl.DataFrame]:
    """Every published table of the site's warehouse, but the ledgers of runs."""
    with opened(settings.folder.marts, settings[SiteSettings].zone) as connection:
        others = ("run_ledger", "expectation_result", *HISTORY)
        names = [name for name, *_ in publication.published_tables() if name not in others]
        return {name: connection.sql(f"select * from {name}").pl() for name in names if has_table(connection, name)}


def failure_text(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> str:
    """All that Dagster keeps of a run: every event, whole."""
    return "\n".join(str(record) for record in instance.all_logs(result.run_id))


# What is defined


def test_definitions_load_without_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SITE, raising=False)
    dg.Definitions.validate_loadable(definitions())


def test_definitions_load_in_the_zone_of_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_site(tmp_path / "site", TERMINALS, readings(), zone="Europe/Rome")
    monkeypatch.setenv(SITE, str(settings.folder.root))
    defined = definitions()
    dg.Definitions.validate_loadable(defined)
    cut = {spec.partitions_def.timezone for spec in defined.resolve_all_asset_specs() if spec.partitions_def}  # type: ignore[attr-defined]
    assert cut == {"Europe/Rome"}
    assert {schedule.execution_timezone for schedule in defined.schedules or ()} == {"Europe/Rome"}  # type: ignore[union-attr]


def test_workspace_and_tool_dg_name_the_same_code_location() -> None:
    (workspace,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert workspace["python_module"] == {
        "module_name": project["code_location_target_module"],
        "location_name": project["code_location_name"],
    }


def test_the_asset_graph_is_that_of_the_headers() -> None:
    """Each mart has group, partitions and deps of its header, and the deps of its rules."""
    found = {spec.key.to_user_string(): spec for spec in definitions().resolve_all_asset_specs()}
    deps = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in found.items()}
    whole = {name for name, spec in found.items() if spec.partitions_def is None}
    for mart in marts.all_marts():
        listed = {*mart.deps, *(dep for rule in quality.rules(mart.name) for dep in rule.deps)} - {mart.name}
        assert deps[mart.name] == listed, mart.name
        assert found[mart.name].group_name == mart.group
        assert (mart.name in whole) == (mart.partitions == "whole"), mart.name

    steps = {step.name for step in tables.steps()}
    around = {
        "raw_reading": set(),
        "billing": set(),
        "registry": set(),
        "interval_reading": {"raw_reading", "registry"},
        "register_month": {"interval_reading", "registry"},
        "register_year": {"interval_reading", "registry", "register_month"},
        "register_bill": {"interval_reading", "registry", "billing"},
        "month_end": {"billing", "registry", "relation", "meter_month", "bill", "bill_charge"},
        "forecast_hour": {"hourly_usage", "daily_usage", "calendar", "meter_history", "relation"},
        "night_level": {"interval_reading", "calendar"},
        "delivery_day": {"raw_reading", "registry"},
        "gap_ledger": {"interval_reading", "latest_figures", "meter", "meter_history"},
        "kept_aside": set(),
        "published": steps,
        "daily_volume_report": {"daily_usage", "meter", "meter_history"},
    }
    others = {f"{name}_report" for name in reports.names()} - around.keys()
    assert others <= whole
    assert {name: deps[name] for name in found.keys() - {mart.name for mart in marts.all_marts()} - others} == around
    assert whole >= {"raw_reading", "billing", "registry", "daily_volume_report"}


def test_groups_of_assets_form_no_circle() -> None:
    specs = {spec.key: spec for spec in definitions().resolve_all_asset_specs()}
    needed: dict[str, set[str]] = {}
    for spec in specs.values():
        groups = {str(specs[dep.asset_key].group_name) for dep in spec.deps}
        needed.setdefault(str(spec.group_name), set()).update(groups - {str(spec.group_name)})
    assert list(TopologicalSorter(needed).static_order())[-1] in ("serving", "reports")


def test_every_asset_says_what_it_is_in_both_languages() -> None:
    for spec in definitions().resolve_all_asset_specs():
        assert spec.description, spec.key
        chinese, english = spec.description.split(" · ", 1)
        assert not chinese.isascii(), spec.key
        assert len(english.split()) > 3, spec.key
        assert spec.kinds, spec.key


def test_dagsters_home_is_a_loadable_instance(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert dagster_home.prepare(site) == REPOSITORY / "workspace.yaml"
    with dg.DagsterInstance.from_config(str(site.dagster)) as instance:
        assert instance.telemetry_enabled is False
        queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    jobs = {job.name: job.tags[QUEUE] for job in map(definitions().resolve_job_def, (job.name for job in JOBS))}
    assert jobs == dict.fromkeys((job.name for job in JOBS), "figures") | {"backup_site": "backup"}
    assert queue.max_concurrent_runs == len(set(jobs.values()))
    limits = {(limit["key"], limit["value"]): limit["limit"] for limit in queue.tag_concurrency_limits}
    assert limits == {(QUEUE, value): 1 for value in jobs.values()}, "figures one run at a time, a backup beside them"


# A run over a range of days


def test_one_run_over_a_range_gives_the_tables_of_mainflow_run(ran: Ran, tmp_path: Path) -> None:
    other = make_site(tmp_path / "other", TERMINALS, readings())
    run_days(workbench(other), DAYS, "test")
    site, result = ran.site, ran.result

    ours, theirs = contents(site), contents(other)
    assert ours.keys() == theirs.keys()
    assert ours["daily_usage"].height == 6
    for name, frame in theirs.items():
        assert_frame_equal(ours[name], frame)

    made = {(event.asset_key.to_user_string(), event.partition) for event in result.get_asset_materialization_events()}
    daily = {step.name for step in tables.figures() if step.daily} | {"published"}
    assert made >= {(name, day.isoformat()) for name in daily for day in DAYS}
    assert ("meter", None) in made
    checks = {
        (check.asset_key.to_user_string(), check.check_name): check.passed for check in result.get_asset_check_evaluations()
    }
    assert {name for name, passed in checks.items() if not passed} == set()
    assert ("interval_reading", "delivered_contract") in checks

    with opened(site.folder.marts, str(site.zone)) as connection:
        ledger = connection.sql("select run_id, first_day, last_day, days, readings_read from run_ledger").pl().rows()
        judged = connection.sql("select distinct run_id, source, day from expectation_result").pl().rows()
    (*what, readings_read) = ledger[0]
    assert (len(ledger), *what) == (1, result.run_id, DAYS[0], DAYS[-1], 3)
    assert readings().height <= readings_read < 1.1 * readings().height, "every reading once, those at the edges of days again"
    assert judged == [(result.run_id, "daily_readings", DAYS[-1])]


def test_metadata_tell_rows_readings_days_and_the_sql_file(ran: Ran) -> None:
    (daily, *_) = ran.result.asset_materializations_for_node("daily_usage")
    assert daily.metadata["rows_written"].value == 6
    assert daily.metadata["days"].value == "2024-05-01 … 2024-05-03 (3)"
    assert Path(str(daily.metadata["sql"].value)) == REPOSITORY / "sql" / "marts" / "daily_usage.sql"
    assert daily.metadata["dagster/row_count"].value == 6
    shown = [column.name for column in daily.metadata["dagster/column_schema"].value.columns]
    assert shown == list(columns.tables()["daily_usage"].columns)
    assert "readings_read" not in daily.metadata
    (interval, *_) = ran.result.asset_materializations_for_node("interval_reading")
    assert interval.metadata["readings_read"].value >= readings().height


def test_the_result_of_a_check_is_a_number_for_each_rule(ran: Ran) -> None:
    (check,) = [check for check in ran.result.get_asset_check_evaluations() if check.asset_key.to_user_string() == "daily_usage"]
    assert {name: value.value for name, value in check.metadata.items()} == {
        rule.name: 0 for rule in graph.quality.rules("daily_usage")
    }


def test_a_finished_run_takes_its_days_from_the_waiting_ones(ran: Ran) -> None:
    assert set(DAYS) < set(ran.waited)
    assert waiting(ran.site) == [day for day in ran.waited if day not in DAYS]


def test_a_reading_that_comes_during_a_run_leaves_its_day_waiting(site: Settings) -> None:
    bench = workbench(site)
    run = Run(bench, DAYS, "test")
    with run.opened() as connection:
        for step in tables.figures():
            run.make(connection, step)
            if step.name == "interval_reading":
                deliver(site, series("001", datetime(2024, 5, 2, 10, 20, tzinfo=ZONE), 1, HOUR, lambda _: 1.0))
        run.publish(connection)
    assert [day for day in waiting(site) if day in DAYS] == [date(2024, 5, 2)]


def test_a_run_of_some_tables_leaves_its_days_waiting(site: Settings) -> None:
    bench = workbench(site)
    run = Run(bench, DAYS, "test")
    with run.opened() as connection:
        for step in tables.figures()[:5]:
            run.make(connection, step)
        run.publish(connection)
    assert set(DAYS) <= set(waiting(site))


def test_a_broken_figure_stops_what_is_built_on_it(
    site: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = graph.quality.rules
    broken = graph.quality.Rule(
        "never", "绝不", "No day is right.", "fail", "this is a test", (), "select meter from daily_usage"
    )
    monkeypatch.setattr(graph.quality, "rules", lambda table: (*rules(table), *([broken] if table == "daily_usage" else [])))
    result = run_job("figures", instance, **range_tags(DAYS))
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert not result.success
    assert "interval_reading" in made
    assert "published" not in made
    assert set(DAYS) <= set(waiting(site))


@pytest.mark.parametrize(
    ("tags", "days"),
    [
        ({RANGE_START: "2024-02-28", RANGE_END: "2024-03-01"}, local_days(date(2024, 2, 28), 3)),
        ({"dagster/partition": "2024-02-29"}, [date(2024, 2, 29)]),
        ({}, []),
    ],
)
def test_the_days_of_a_run_are_those_of_its_tags(tags: dict[str, str], days: list[date]) -> None:
    assert days_of(tags) == days


def test_reports_and_outputs_are_written_with_their_rows_in_the_ledger(computed: Settings, instance: dg.DagsterInstance) -> None:
    """Reports that show alarms want PostgreSQL, which does not run here: they fail alone."""
    result = run_job("export_report", instance)
    alone = {"alarm_summary", "reverse_flow"}
    assert {event.step_key for event in result.filter_events(lambda event: event.is_step_failure)} == {
        f"{name}_report" for name in alone
    }
    assert "start: mainflow up" in failure_text(result, instance)
    ledger = contents(computed)["report_ledger"]
    assert set(ledger["report"]) == set(reports.names()) - alone
    assert all((computed.folder.reports / name).exists() for name in ledger["file"])
    assert run_job("outputs", instance).success
    assert list(computed.folder.outputs.glob("v1/meters/day=*/edition=1/meters.parquet"))
    assert "out_v1.meters" in set(contents(computed)["report_ledger"]["report"])


def test_a_report_before_the_first_figures_says_what_to_run(site: Settings, instance: dg.DagsterInstance) -> None:
    result = run_job("export_report", instance)
    assert not result.success
    assert "compute with: mainflow run" in failure_text(result, instance)


# What asks for runs


def evaluated(instance: dg.DagsterInstance, name: str, defined: dg.Definitions | None = None) -> dg.SensorResult | dg.SkipReason:
    defined = defined or definitions()
    sensor = defined.resolve_sensor_def(name)
    outcome = sensor(dg.build_sensor_context(instance=instance, definitions=defined))
    assert isinstance(outcome, (dg.SensorResult, dg.SkipReason))
    return outcome


def requests(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What the sensor asks for now; nothing where it skips."""
    outcome = evaluated(instance, "live_days")
    return list(outcome.run_requests or []) if isinstance(outcome, dg.SensorResult) else []


def test_the_sensor_asks_for_exactly_the_touched_ranges(site: Settings, instance: dg.DagsterInstance) -> None:
    deliver(site, readings(date(2024, 7, 10), 1))
    asked = requests(instance)
    assert [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in asked] == [
        ("2024-04-30", "2024-05-04"),
        ("2024-07-09", "2024-07-11"),
    ]


def test_the_same_days_are_asked_for_once_until_something_new_comes(site: Settings, instance: dg.DagsterInstance) -> None:
    first, again = requests(instance), requests(instance)
    assert [request.run_key for request in first] == [request.run_key for request in again]
    deliver(site, readings(days=1))
    assert {request.run_key for request in requests(instance)}.isdisjoint({request.run_key for request in first})


def test_the_sensor_waits_while_a_run_is_queued(site: Settings, instance: dg.DagsterInstance) -> None:
    job = definitions().resolve_job_def(LIVE.name)
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    assert requests(instance) == []


def test_the_sensor_rests_when_its_runs_are_done(site: Settings, instance: dg.DagsterInstance) -> None:
    for request in requests(instance):
        assert run_job("figures", instance, **request.tags).success
    assert requests(instance) == []


def test_a_day_before_the_first_partition_waits_until_dagster_starts_again(site: Settings, instance: dg.DagsterInstance) -> None:
    before = definitions()
    deliver(site, series("001", datetime(2023, 6, 1, 12, tzinfo=ZONE), 2, HOUR, lambda _: 1.0))

    def asked(defined: dg.Definitions) -> list[str]:
        outcome = evaluated(instance, "live_days", defined)
        assert isinstance(outcome, dg.SensorResult)
        return [request.tags[RANGE_START] for request in outcome.run_requests or []]

    assert asked(before) == ["2024-04-30"]
    assert asked(definitions()) == ["2023-06-01", "2024-04-30"]


def test_partitions_run_from_the_first_day_that_has_readings_to_today(site: Settings) -> None:
    (cut,) = {spec.partitions_def for spec in definitions().resolve_all_asset_specs() if spec.partitions_def}
    keys = cut.get_partition_keys()
    assert (keys[0], keys[-1]) == ("2024-04-30", datetime.now(ZONE).date().isoformat())


def test_days_wait_for_the_live_figures_and_then_for_the_analysis(site: Settings, instance: dg.DagsterInstance) -> None:
    def asked(name: str) -> list[tuple[str, str]]:
        outcome = evaluated(instance, name)
        runs = outcome.run_requests or [] if isinstance(outcome, dg.SensorResult) else []
        return [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in runs]

    whole = [("2024-04-30", "2024-05-04")]
    assert (asked("live_days"), asked("analysis_days")) == (whole, [])
    assert run_job("live", instance, **{RANGE_START: whole[0][0], RANGE_END: whole[0][1]}).success
    made = contents(site)
    assert made["daily_usage"].height > 0
    assert "peak_valley" not in made
    assert (asked("live_days"), asked("analysis_days")) == ([], whole)
    assert run_job("analysis", instance, **{RANGE_START: whole[0][0], RANGE_END: whole[0][1]}).success
    assert contents(site)["peak_valley"].height > 0
    assert (asked("live_days"), asked("analysis_days")) == ([], [])


def test_the_sensor_says_that_the_raw_store_is_away(
    site: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINFLOW_STORE_KIND", "influxdb")
    monkeypatch.setenv("MAINFLOW_STORE_INFLUX_URL", "http://127.0.0.1:9")
    outcome = evaluated(instance, "live_days")
    assert isinstance(outcome, dg.SkipReason)
    assert "127.0.0.1:9" in str(outcome.skip_message)


@pytest.mark.parametrize(
    ("connection", "target", "running"), [("", "", False), ("DRIVER=SQLite3;Database=x", "/mnt/backup", True)]
)
def test_schedules_run_in_the_zone_of_the_site(connection: str, target: str, running: bool) -> None:
    billing, reports, outputs = BillingSettings(connection=connection), ReportSettings(), OutputSettings()
    backups = BackupSettings(target=target)
    days = graph.partitions(ZoneInfo("Europe/Rome"), FIRST)
    sync, report, output, backup, alarms = schedules(billing, reports, outputs, backups, "Europe/Rome", days)
    assert {alarms.default_status, output.default_status} == {dg.DefaultScheduleStatus.RUNNING}
    for schedule in (sync, backup):
        assert (schedule.default_status is dg.DefaultScheduleStatus.RUNNING) == running
    assert {each.execution_timezone for each in (sync, report, output, backup)} == {"Europe/Rome"}
    crons = [each.cron_schedule for each in (sync, report, output, backup)]
    assert crons == [billing.sync_cron, reports.cron, outputs.cron, backups.cron]


def test_each_row_of_mail_has_a_schedule_of_its_own() -> None:
    rows = (ReportMailSettings("billing", "a@b.c", "monthly_volume", "0 8 1 * *"), ReportMailSettings("night-shift", "d@b.c"))
    days = graph.partitions(ZoneInfo("Europe/Rome"), FIRST)
    made = schedules(BillingSettings(), ReportSettings(mail=rows), OutputSettings(), BackupSettings(), "Europe/Rome", days)[5:]
    assert [(schedule.name, schedule.cron_schedule) for schedule in made] == [
        ("mail_billing", "0 8 1 * *"),
        ("mail_night_shift", "30 7 * * *"),
    ]


def test_mail_that_is_not_sent_fails_with_its_reason(
    computed: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINFLOW_REPORTS_MAIL", '[{"name": "billing", "addresses": "a@b.c"}]')
    defined = definitions().resolve_job_def("mail_reports")
    config = {"ops": {"send_reports": {"config": {"name": "billing"}}}}
    result = defined.execute_in_process(instance=instance, run_config=config, raise_on_error=False)
    assert not result.success
    assert "[mail] host is empty" in failure_text(result, instance)
    assert set(contents(computed)["report_ledger"]["report"]) == {"daily_volume"}


def test_a_scheduled_sync_names_a_day_that_is_a_partition() -> None:
    defined = definitions()
    schedule = defined.resolve_schedule_def("sync_billing")
    at = datetime.now(ZONE)
    (request,) = (
        schedule.evaluate_tick(
            dg.build_schedule_context(scheduled_execution_time=at, repository_def=defined.get_repository_def())
        ).run_requests
        or []
    )
    (cut,) = {spec.partitions_def for spec in defined.resolve_all_asset_specs() if spec.partitions_def}
    assert request.partition_key in cut.get_partition_keys()


# What a failure says


def test_a_run_without_a_site_says_what_to_set(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SITE, raising=False)
    result = run_job("figures", instance, **range_tags(DAYS))
    assert not result.success
    assert SITE in failure_text(result, instance)


def test_a_wrong_billing_connection_fails_the_run_without_its_password(
    site: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = f"DRIVER={{PostgreSQL Unicode}};SERVER=127.0.0.1;PORT=9;DATABASE=x;UID=reader;PWD={PASSWORD}"
    monkeypatch.setenv("MAINFLOW_BILLING_CONNECTION", wrong)
    result = run_job("sync_billing", instance, **{"dagster/partition": FIRST.isoformat()})
    text = failure_text(result, instance)
    assert not result.success
    assert "BillingError" in text
    assert PASSWORD not in text


def test_a_sync_before_the_first_figures_has_no_bill_to_compare(site: Settings, instance: dg.DagsterInstance) -> None:
    result = run_job("sync_billing", instance, **{"dagster/partition": FIRST.isoformat()})
    assert result.success
    (reconciliation, *_) = result.asset_materializations_for_node("reconciliation")
    assert reconciliation.metadata["waits_for"].value == "daily_usage"
    assert contents(site)["meter"].height == 2


BILLING = f"""{figure_site.BILLING}
insert into customer values ('C1', '一厂', 'factory', 'east', null, '2024-05-01 00:00:00');
insert into meter_card values ('M1', 'C1', 150, 'B7', '2020-01-01', null, '2024-05-01 00:00:00');
insert into bill values ('B1', 'C1', 'M1', '2024-05-01', '2024-05-04', 1200, 1, 1, 2, 'issued', '2024-05-04 00:00:00');
"""


@pytest.mark.skipif("SQLite3" not in pyodbc.drivers(), reason="no ODBC driver SQLite3 (Debian: apt-get install libsqliteodbc)")
def test_a_sync_compares_every_bill_and_judges_the_customers(
    computed: Settings, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "billing.sqlite"
    with sqlite3.connect(database) as billing:
        billing.executescript(BILLING)
    billing.close()
    monkeypatch.setenv("MAINFLOW_BILLING_CONNECTION", f"DRIVER=SQLite3;Database={database}")
    assert run_job("sync_billing", instance, **{"dagster/partition": "2024-06-30"}).success
    made = contents(computed)
    (bill,) = made["reconciliation"].to_dicts()
    volumes = made["daily_usage"].filter(pl.col("meter") == "M1")["volume_m3"]
    assert (bill["bill_no"], bill["days_measured"], bill["comparable"]) == ("B1", 3, True)
    assert bill["measured_m3"] == pytest.approx(volumes.sum())
    assert ("M1", "一厂", 150, "B7") in made["meter"].select("meter", "customer_name", "dn_mm", "book_no").rows()
    with opened(computed.folder.marts, str(computed.zone)) as connection:
        judged = connection.sql("select expectation, success from expectation_result where source = 'billing_customer'").pl()
    assert judged.height == 5
    assert judged["success"].all()


def test_a_wrong_registry_fails_the_run_with_the_row_to_mend(site: Settings, instance: dg.DagsterInstance) -> None:
    path = site.folder.registry / "terminals.csv"
    path.write_text(path.read_text().replace("125.0", "viel"))
    result = run_job("figures", instance, **range_tags(DAYS))
    assert not result.success
    assert "terminals.csv row 2, q4_m3h" in failure_text(result, instance)


passwords = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";{}'\"@,&"), min_size=6)


@given(password=passwords, shape=st.sampled_from(["PWD={}", "password={}", "Pwd={{{}}}", "postgresql://reader:{}@db/x"]))
def test_a_failure_never_tells_a_password(password: str, shape: str) -> None:
    connection = "UID=reader;" + shape.format(password)
    said = f"login failed for {connection} with {password}"
    assert password not in without_secrets(said, connection)
