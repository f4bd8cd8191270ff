"""Dagster's sensors: runs for just the local days that wait, one sensor for the live figures and one for the analysis."""

from collections.abc import Callable
from datetime import date

import dagster as dg

from assets import calendar, registry_history
from assets.warehouse import WarehouseBroken, WarehouseBusy
from ingest_daemon.contract.registry_files import RegistryError
from ingest_daemon.contract.secrets import without_secrets
from ingest_daemon.stores import StoreAway
from pipelines.orchestration import retention
from pipelines.orchestration.jobs import ANALYSIS, LIVE
from pipelines.orchestration.resources import RANGE_END, RANGE_START, site_settings
from pipelines.runs import touched
from pipelines.runs.bench import workbench
from pipelines.runs.run import run_lock, take_over_registry
from pipelines.runs.touched import Waiting

LIVE_EVERY_S, ANALYSIS_EVERY_S = 15, 180
"""Seconds between two looks of a sensor."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def sensors(days: dg.DailyPartitionsDefinition) -> list[dg.SensorDefinition]:
    """The sensors of a code location whose assets are cut by `days`.

    The days of a run that fails wait on and are requested again as soon as new readings touch any day; until then a person runs
    the failed run again, in the pages or with `mainflow run`.
    """

    live = "到数触发 · Days that got readings, as one run of the job live for each contiguous range."
    analysis = "分析触发 · Days whose live figures are made, as one run of the job analysis for each contiguous range."
    return [
        _sensor("live_days", LIVE.name, LIVE_EVERY_S, live, days, lambda waiting: waiting.live),
        _sensor("analysis_days", ANALYSIS.name, ANALYSIS_EVERY_S, analysis, days, lambda waiting: waiting.analysis),
    ]


def _sensor(
    name: str,
    job: str,
    every_s: int,
    description: str,
    cut: dg.DailyPartitionsDefinition,
    wanted: Callable[[Waiting], list[date]],
) -> dg.SensorDefinition:
    @dg.sensor(
        name=name,
        job_name=job,
        minimum_interval_seconds=every_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=description,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if job == ANALYSIS.name:
            retention.prune(context.instance)
        waiting = _waiting(context, job)
        return waiting if isinstance(waiting, dg.SkipReason) else _requests(context, cut, wanted(waiting), waiting.generation)

    return sensor


def _waiting(context: dg.SensorEvaluationContext, job: str) -> Waiting | dg.SkipReason:
    """The waiting days, unless a run of the job is queued or works already."""
    if context.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=UNFINISHED)):
        return dg.SkipReason(f"运行中 · a run of the job {job} is queued or works; days touched meanwhile follow it")
    bench = workbench(site_settings())
    try:
        if registry_history.is_edited(bench.site.registry, bench.site.registry_history):
            with run_lock(bench):
                take_over_registry(bench)
        return touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole)
    except StoreAway as error:
        return dg.SkipReason(f"原始库不可用 · the raw store is away: {without_secrets(str(error))}")
    except (RegistryError, WarehouseBusy, WarehouseBroken) as error:
        return dg.SkipReason(f"档案不可用 · the registry cannot be taken over: {error}")


def _requests(
    context: dg.SensorEvaluationContext, cut: dg.DailyPartitionsDefinition, days: list[date], generation: int
) -> dg.SensorResult | dg.SkipReason:
    """One request for each contiguous range of days that are partitions. A day that has not begun waits for its beginning.

    The run key is the range and the generation (how often days were touched): the same state is requested once.
    """
    first, last = cut.get_first_partition_key(), cut.get_last_partition_key()
    inside = [day for day in days if str(first) <= day.isoformat() <= str(last)]
    if before := [day for day in days if day.isoformat() < str(first)]:
        context.log.warning(f"{len(before)} waiting days lie before {first}: start Dagster again, or compute with: mainflow run")
    if not inside:
        return dg.SkipReason("无新数据 · no day waits")
    return dg.SensorResult(run_requests=[_request(start, end, generation) for start, end in calendar.runs(inside)])


def _request(first: date, last: date, generation: int) -> dg.RunRequest:
    tags = {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}
    return dg.RunRequest(run_key=f"{first}..{last}:{generation}", tags=tags)
