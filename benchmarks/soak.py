"""A day of a utility through the whole stack in a fraction of the time, and the memory of every process meanwhile (R029).

    python -m benchmarks.soak --minutes 30

Device times lie in the 24 h before the start. Hour by hour every meter calls, reports its readings and hangs up; between the
hours Dagster's sensors find the touched days and compute them.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, median

from benchmarks import callers, workload
from benchmarks.parties import is_forwarded, wait_for
from benchmarks.stack import Stack, memory_by_kind, up
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore

METERS, HOURS, STEPS = 2_000, 24, 4
AT_A_TIME = 100
SAMPLE_S = 5.0
LONG_S = 600.0
MOST_MB = 4096.0
GROWN_MB = 64.0
"""Growth over the last 12 h that is no leak: what the caches of ten processes differ by from hour to hour."""

Sample = Mapping[str, float]


def _hour(meters: int, hour: int, began: datetime) -> list[bytes]:
    """The frames of an hour: four readings of each meter."""
    start = began + timedelta(hours=hour)
    times = [start + timedelta(minutes=15 * step) for step in range(STEPS)]
    steps = [hour * STEPS + step for step in range(STEPS)]
    return [frame for number in range(meters) for frame in callers.day_report(number, times, steps, hour + 1)]


def _sampled(stack: Stack, until_s: float) -> list[Sample]:
    samples = [memory_by_kind(stack.pid)]
    while (left_s := until_s - time.monotonic()) > 0:
        time.sleep(min(SAMPLE_S, left_s))
        samples.append(memory_by_kind(stack.pid))
    return samples


def soak(site: Site, meters: int, seconds: float) -> list[list[Sample]]:
    """The samples of each hour. Raises `RuntimeError` where a reading is missing afterwards."""
    began = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)
    hours = []
    with up(site) as stack:
        for hour in range(HOURS):
            until_s = time.monotonic() + seconds / HOURS
            asyncio.run(callers.call("127.0.0.1", stack.port, _hour(meters, hour, began), AT_A_TIME))
            hours.append(_sampled(stack, until_s))
            print(f"{hour + 1:>2} h: {row(hours[-1])}", file=sys.stderr, flush=True)
        wait_for(lambda: is_forwarded(site), "all is forwarded", LONG_S)
        stored = ParquetStore(site.raw).read(began, began + timedelta(hours=HOURS)).height
    if stored != meters * HOURS * STEPS:
        raise RuntimeError(f"{stored:,} readings are stored, expected {meters * HOURS * STEPS:,}")
    return hours


def row(samples: list[Sample]) -> str:
    """The mean of each kind, their sum, and the most there was, in MB."""
    kinds = sorted({kind for sample in samples for kind in sample})
    means = ", ".join(f"{kind} {mean(sample.get(kind, 0.0) for sample in samples):.0f}" for kind in kinds)
    return f"most {max(map(total, samples)):,.0f} MB, median {median(map(total, samples)):,.0f} MB; {means}"


def total(sample: Sample) -> float:
    """MB of all processes."""
    return sum(sample.values())


def grown_mb(hours: list[list[Sample]]) -> float:
    """Growth over the last 12 h: the slope of a line through the medians, runs of Dagster (which end) left out, times 12."""
    lasting = [median(total(sample) - sample.get("run of Dagster", 0.0) for sample in samples) for samples in hours[HOURS // 2 :]]
    middle = (len(lasting) - 1) / 2
    weights = [place - middle for place in range(len(lasting))]
    slope = sum(weight * value for weight, value in zip(weights, lasting, strict=True)) / sum(weight**2 for weight in weights)
    return slope * HOURS / 2


def main() -> int:
    """Exit code 1 where the memory is above its bound or grows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description="整套服务一天的内存 / memory of a day of the stack"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="实际用时 / minutes that the 24 h take")
    parser.add_argument("--meters", type=int, default=METERS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mainflow-soak-", ignore_cleanup_errors=True) as name:
        site = workload.make_site(Path(name) / "site", asked.meters, {})
        hours = soak(site, asked.meters, asked.minutes * 60)
    most, grown = max(total(sample) for samples in hours for sample in samples), grown_mb(hours)
    print(f"{asked.meters:,} meters x {HOURS} h in {asked.minutes:g} min: most {most:,.0f} MB (at most {MOST_MB:,.0f} allowed)")
    print(f"growth over the last {HOURS // 2} h, runs left out: {grown:+,.0f} MB (at most {GROWN_MB:.0f} allowed)")
    return int(most > MOST_MB or grown > GROWN_MB)


if __name__ == "__main__":
    sys.exit(main())
