"""Dagster's jobs for other systems: each source synced once a period, old rows purged once a day."""

import dagster as dg

from ingest_daemon import operations
from ingest_daemon.contract.settings import Settings
from ingest_daemon.operations import AmrSettings, SourceSettings
from pipelines.orchestration.jobs import QUEUE
from pipelines.orchestration.resources import site_settings
from pipelines.orchestration.sensors import UNFINISHED

PURGE_CRON = "40 3 * * *"


def jobs_of(settings: Settings) -> list[dg.JobDefinition]:
    """A job for each source, and one that purges."""
    sources = settings[AmrSettings].sources
    return [*map(_sync_job, sources), *([purge_amr] if sources else [])]


def sensors_of(settings: Settings) -> list[dg.SensorDefinition]:
    """A sensor for each source: a run once a period, none while one works."""
    return [_sensor(source) for source in settings[AmrSettings].sources]


def schedules_of(settings: Settings) -> list[dg.ScheduleDefinition]:
    """The daily purge, which runs where a source names a role that may delete."""
    sources = settings[AmrSettings].sources
    purges = any(source.purge_connection for source in sources)
    if not sources:
        return []
    return [
        dg.ScheduleDefinition(
            name="purge_amr",
            job=purge_amr,
            cron_schedule=PURGE_CRON,
            execution_timezone=str(settings.zone),
            default_status=dg.DefaultScheduleStatus.RUNNING if purges else dg.DefaultScheduleStatus.STOPPED,
            description="中间表清理 · Old rows of the intermediate tables.",
        )
    ]


def _name(source: SourceSettings) -> str:
    return f"amr_{source.name.replace('-', '_')}"


def _sync_job(source: SourceSettings) -> dg.JobDefinition:
    @dg.op(name=f"{_name(source)}_sync", description=f"导入 · What is new in the tables of {source.name}.")
    def import_source(context: dg.OpExecutionContext) -> None:
        """Raises `AmrError`; `Failure` where nothing new came for two periods."""
        done = operations.amr_sync(site_settings(), source.name)
        context.log.info(
            f"{done.readings} readings, {done.alarms} alarm changes, {done.refused} rows refused, {done.unmapped} rows unmapped"
        )
        if done.late_by:
            raise dg.Failure(f"nothing new in the tables of {source.name} for {done.late_by}: longer than two periods")

    @dg.job(
        name=_name(source),
        tags={QUEUE: _name(source)},
        description=f"其他采集 · Readings and alarms of {source.name}.",
    )
    def job() -> None:
        import_source()

    return job


def _sensor(source: SourceSettings) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{_name(source)}_period",
        job_name=_name(source),
        minimum_interval_seconds=source.period_min * 60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"其他采集 · Every {source.period_min} minutes.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if context.instance.get_runs_count(dg.RunsFilter(job_name=_name(source), statuses=UNFINISHED)):
            return dg.SkipReason("运行中 · a run of the source is queued or works")
        return dg.RunRequest()

    return sensor


@dg.op(description="清理 · Old rows whose readings are in the raw store.")
def purge_sources(context: dg.OpExecutionContext) -> None:
    """Raises `AmrError` of the first source that fails, after all were tried."""
    settings, failed = site_settings(), None
    for source in settings[AmrSettings].sources:
        if not source.purge_connection:
            continue
        try:
            done = operations.amr_purge(settings, source.name, dry_run=False)
            context.log.info(f"{source.name}: {done.readings} readings, {done.alarms} alarms deleted, {done.kept} old rows stay")
        except (operations.AmrError, OSError, ValueError) as error:
            context.log.error(str(error))
            failed = failed or error
    if failed:
        raise failed


@dg.job(tags={QUEUE: "purge_amr"}, description="中间表清理 · Old rows of the intermediate tables.")
def purge_amr() -> None:
    """The job of the schedule."""
    purge_sources()
