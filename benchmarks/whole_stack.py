"""2,000 honest terminals on a whole site (`mainflow up`), alone and beside 300 hostile connections, in turn in one run."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from benchmarks import callers
from benchmarks.figures import Figure, at_most, ratios
from benchmarks.hostile import HOSTILE, WARM_UP_S, crowd
from benchmarks.parties import is_forwarded, wait_for
from benchmarks.run import Run
from benchmarks.stack import memory_by_kind, up

HONEST = 2_000
EVERY_S = 10.0
"""Seconds between two frames of a line: 200 frames a second, of a million meters' day seventeen times as many."""
MEASURED_S = 20.0
LONG_S = 600.0
QUARTER = timedelta(minutes=15)


def loaded_stack(run: Run) -> list[Figure]:
    """Acknowledgements of honest terminals on the whole stack, with a hostile crowd and without; memory by process."""
    honest = run.sized(HONEST)
    measured = {False: list[list[float]](), True: list[list[float]]()}
    memory: Mapping[str, float] = {}
    frames_each = max(1, round(MEASURED_S * min(1.0, run.seconds / 3) / EVERY_S))
    with run.site(honest) as site, up(site) as stack:
        began = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=20)
        for number in run.each_round("stack"):
            for is_crowded in (False, True):
                first = (2 * number + is_crowded) * frames_each
                lines = [
                    [
                        raw
                        for step in range(first, first + frames_each)
                        for raw in callers.day_report(terminal, [began + step * QUARTER], [step], step % 60_000 + 1)
                    ]
                    for terminal in range(honest)
                ]
                if not is_crowded:
                    measured[False].append(asyncio.run(callers.delays_ms(stack.port, lines, EVERY_S)))
                    continue
                with crowd(run.parties, stack.port):
                    time.sleep(WARM_UP_S)
                    measured[True].append(asyncio.run(callers.delays_ms(stack.port, lines, EVERY_S)))
                    memory = memory_by_kind(stack.pid)
            wait_for(lambda: is_forwarded(site), "all is forwarded", LONG_S)
    size = f"{honest:,} lines, a frame every {EVERY_S:.0f} s"
    p50, p99 = ({which: [quantile(delays, part) for delays in measured[which]] for which in measured} for part in (0.5, 0.99))
    return [
        Figure("stack", "honest terminals alone: p50 of an acknowledgement", p50[False], "ms", None, size),
        Figure("stack", "honest terminals alone: p99", p99[False], "ms", None, size),
        Figure("stack", f"beside {HOSTILE} hostile connections: p50", p50[True], "ms", None, size),
        Figure("stack", f"beside {HOSTILE} hostile connections: p99", p99[True], "ms", None, size),
        Figure("stack", "p50 beside them, of that alone", ratios(p50[True], p50[False]), ""),
        Figure("stack", "p99 beside them, of that alone", ratios(p99[True], p99[False]), "", at_most(3)),
        Figure("stack", "memory of all processes beside them", [sum(memory.values())], "MB", at_most(4096)),
        *(Figure("stack", f"memory: {kind}", [megabytes], "MB") for kind, megabytes in sorted(memory.items())),
    ]


def quantile(values: list[float], part: float) -> float:
    """The value that so large a part of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
