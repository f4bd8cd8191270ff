"""Reception against the limit of the machine (P1), with a slower disk (P3), with bad frames (P5): long-lived connections."""

from collections.abc import Mapping
from typing import Any

from benchmarks import workload
from benchmarks.figures import Figure, at_least, at_most, ratios
from benchmarks.parties import Measured, Server, is_forwarded, wait_for
from benchmarks.run import AWAY, Run
from benchmarks.workload import Day
from ingest_daemon.contract.files import read_json
from ingest_daemon.contract.site import Site

CONNECTIONS = 500
SETTLE_S = 60.0
WARM_UP = 0.3
"""Part of the measured time that is run before it."""

SLOWER_US = 5000
GLUE = 9
"""One in nine sendings is of two frames; so one frame in ten is the first of two, which `-b` makes a bad one."""


def _received(run: Run, day: Day, *options: object, environment: Mapping[str, str] | None = None, **values: Any) -> Measured:
    """A daemon on a new site, the load, and what was seen."""
    with run.site(CONNECTIONS, **values) as site, run.parties.daemon(site, environment) as server:
        settle(run, site, server, CONNECTIONS)
        return run.parties.load(server, run.days(day), *_usual(run), *options)


def settle(run: Run, site: Site, server: Server, connections: int, port: int | None = None) -> None:
    """Let a new daemon receive a day and forward it, or find the store away: what a process does only once is over then.

    `port`: of what is before the daemon.
    """
    days = "-c", connections, "-l", 1, "-s", SETTLE_S, "-d", workload.DAYS - 1
    run.parties.load(server, run.days(workload.SINGLE), *days, port=port)
    wait_for(lambda: is_forwarded(site) or _is_away(site), "the first day is forwarded, or the store found away", SETTLE_S)


def _is_away(site: Site) -> bool:
    told = read_json(site.state / "counters.json")
    return bool(told and told["health"]["store"] != "ok")


def _usual(run: Run) -> tuple[object, ...]:
    return "-c", CONNECTIONS, "-s", run.seconds, "-w", run.seconds * WARM_UP


def limit(run: Run) -> list[Figure]:
    """P1: durable acknowledgements of SL 651 frames against a C echo, 500 connections, one core."""
    figures: list[Figure] = []
    for day in (workload.FULL, workload.SINGLE):
        echo, alone, stored = [], [], []
        for _ in run.each_round(f"P1 {day.name}"):
            with run.parties.echo() as server:
                echo.append(run.parties.load(server, run.days(day), *_usual(run), "-e"))
            alone.append(_received(run, day, store=AWAY))
            stored.append(_received(run, day))
        figures += _compared(day, echo, alone, stored)
    return figures


def _compared(day: Day, echo: list[Measured], alone: list[Measured], stored: list[Measured]) -> list[Figure]:
    is_single = day is workload.SINGLE

    def figure(what: str, values: list[float], unit: str, goal: Any = None) -> Figure:
        return Figure("P1", f"{day.name}: {what}", values, unit, goal if is_single else None)

    echo_rate, alone_rate, stored_rate = ([each.frames_s for each in group] for group in (echo, alone, stored))
    return [
        figure("C echo, acknowledged by length only", echo_rate, "frames/s"),
        figure("C echo, CPU a frame", [each.cpu_us for each in echo], "µs"),
        figure("daemon, store away", alone_rate, "frames/s"),
        figure("daemon, store away", [each.records / each.seconds for each in alone], "records/s"),
        figure("daemon, store away: of the echo's frames/s", ratios(alone_rate, echo_rate), "", at_least(0.5)),
        figure("daemon, store away: CPU a frame", [each.cpu_us for each in alone], "µs", at_most(20)),
        figure("daemon, store away: p99 of an acknowledgement", [each.p99_ms for each in alone], "ms"),
        figure("daemon with Parquet", stored_rate, "frames/s"),
        figure("daemon with Parquet: of the echo's frames/s", ratios(stored_rate, echo_rate), ""),
        figure("daemon with Parquet: CPU of the whole process a frame", [each.cpu_us for each in stored], "µs"),
        figure(
            "daemon with Parquet: CPU of the whole process a record",
            [each.used.all_s * 1e6 / max(1, each.records) for each in stored],
            "µs",
        ),
        figure("daemon with Parquet: CPU of reception a frame", [each.reception_us for each in stored], "µs", at_most(20)),
        figure(
            "daemon with Parquet: share of reception in its CPU",
            [each.used.reception_s / max(1e-9, each.used.all_s) for each in stored],
            "",
        ),
        figure("daemon with Parquet: p99 of an acknowledgement", [each.p99_ms for each in stored], "ms"),
    ]


def slow_disk(run: Run) -> list[Figure]:
    """P3: acknowledgements at saturation when every sync takes 5 ms more."""
    slower = {"LD_PRELOAD": str(run.parties.tools.slow_disk), "MAINFLOW_SLOW_US": str(SLOWER_US)}
    as_is, alone, stored = [], [], []
    for _ in run.each_round("P3"):
        as_is.append(_received(run, workload.SINGLE, store=AWAY))
        alone.append(_received(run, workload.SINGLE, environment=slower, store=AWAY))
        stored.append(_received(run, workload.SINGLE, environment=slower))
    return [
        Figure("P3", "disk as it is, store away: p99 of an acknowledgement", [each.p99_ms for each in as_is], "ms"),
        Figure("P3", "disk 5 ms slower, store away: p99", [each.p99_ms for each in alone], "ms", at_most(30)),
        Figure("P3", "disk 5 ms slower, store away: p50", [each.p50_ms for each in alone], "ms"),
        Figure("P3", "disk 5 ms slower, store away", [each.frames_s for each in alone], "frames/s"),
        Figure("P3", "disk 5 ms slower, with Parquet: p99", [each.p99_ms for each in stored], "ms"),
        Figure("P3", "disk 5 ms slower, with Parquet", [each.frames_s for each in stored], "frames/s"),
    ]


def bad_frames(run: Run) -> list[Figure]:
    """P5: one frame in ten with a wrong CRC, against the same sendings with all frames good."""
    tolerant = {"bad_bytes": 1 << 40}  # else the connections would be closed: that is what the setting is for
    good, bad = [], []
    for _ in run.each_round("P5"):
        good.append(_received(run, workload.SINGLE, "-g", GLUE, store=AWAY, daemon=tolerant))
        bad.append(_received(run, workload.SINGLE, "-g", GLUE, "-b", store=AWAY, daemon=tolerant))
    return [
        Figure("P5", "all frames good: CPU a frame", [each.cpu_us for each in good], "µs"),
        Figure("P5", "one in ten bad: CPU a frame", [each.cpu_us for each in bad], "µs"),
        Figure("P5", "share of bad frames", [each.bad / max(1, each.bad + each.frames) for each in bad], ""),
        Figure(
            "P5",
            "CPU with bad frames, of that without",
            ratios([each.cpu_us for each in bad], [each.cpu_us for each in good]),
            "",
            at_most(1.2),
        ),
    ]
