"""Terminals in one cheap process: short calls that report and hang up. Frames are made before, so that sending costs little."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from benchmarks.workload import FIRST_TERMINAL
from ingest_daemon.codecs import sl651

ANSWER_S = 600.0


def day_report(number: int, times: Sequence[datetime], steps: Sequence[int], sequence: int) -> list[bytes]:
    """The frames of a meter's readings (total and pressure) at these times; `steps`: quarters of an hour since its first one."""
    flow = 5 + number % 40
    readings = pl.DataFrame(
        {
            "ts": times,
            "forward_m3": [round(1000 + number + flow * step / 4, 3) for step in steps],
            "pressure_mpa": [round(0.3 + number % 10 / 100, 2)] * len(steps),
        }
    )
    return sl651.reports(f"{FIRST_TERMINAL + number:010d}", readings, sent_at=times[-1], sequence=sequence)


async def call(host: str, port: int, frames: Sequence[bytes], at_a_time: int) -> int:
    """Each frame over a connection of its own, repeated until it is acknowledged; gives the number of calls that failed."""
    turns = asyncio.Semaphore(at_a_time)
    failed = 0

    async def report(frame: bytes) -> None:
        nonlocal failed
        async with turns:
            while True:
                try:
                    reader, writer = await asyncio.open_connection(host, port)
                    writer.write(frame)
                    answer = await asyncio.wait_for(reader.read(4096), ANSWER_S)
                    writer.close()
                    if answer:
                        return
                except OSError:
                    await asyncio.sleep(1)
                failed += 1

    await asyncio.gather(*map(report, frames))
    return failed
