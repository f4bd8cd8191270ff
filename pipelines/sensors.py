"""Dagster's sensor: a run for just the local days with new readings."""

from datetime import date

import dagster as dg

from assets import calendar, graph
from ingest_daemon.contract.secrets import without_secrets
from ingest_daemon.stores import StoreAway
from pipelines import touched
from pipelines.bench import workbench
from pipelines.jobs import FIGURES
from pipelines.resources import RANGE_END, RANGE_START, site_settings

EVERY_S = 30

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    name="touched_days",
    job=FIGURES,
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="到数触发 · Days that got readings, as one run of the job figures for each contiguous range.",
)
def touched_days(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One request for each contiguous range of waiting days, unless a run of the job is queued or works already.

    The run key is the range and the generation (how often the raw store told of new arrivals): the same state is requested once.
    A run that succeeds takes its days from the list. The days of a run that fails stay on it and are requested again as soon as
    new readings touch any day; until then a person runs the failed run again, in the pages or with `mainflow run`.
    """
    unfinished = dg.RunsFilter(job_name=FIGURES.name, statuses=UNFINISHED)
    if context.instance.get_runs_count(unfinished):
        return dg.SkipReason("运行中 · a run of the job figures is queued or works; days touched meanwhile follow it")
    settings = site_settings()
    bench = workbench(settings)
    try:
        waiting = touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole)
    except StoreAway as error:
        return dg.SkipReason(f"原始库不可用 · the raw store is away: {without_secrets(str(error))}")
    first, last = graph.partitions(bench.zone).get_first_partition_key(), graph.partitions(bench.zone).get_last_partition_key()
    inside = [day for day in waiting.days if str(first) <= day.isoformat() <= str(last)]
    if len(inside) < len(waiting.days):
        outside = len(waiting.days) - len(inside)
        context.log.warning(f"{outside} waiting days lie outside {first} … {last}; `mainflow run` computes them too")
    if not inside:
        return dg.SkipReason("无新数据 · no day waits")
    return dg.SensorResult(run_requests=[_request(start, end, waiting.generation) for start, end in calendar.runs(inside)])


def _request(first: date, last: date, generation: int) -> dg.RunRequest:
    tags = {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}
    return dg.RunRequest(run_key=f"{first}..{last}:{generation}", tags=tags)
