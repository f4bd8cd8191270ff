"""Terminals in one cheap process: short calls that report and hang up, and lines that stay. Frames are made before, so that
sending costs little.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from benchmarks.workload import FIRST_TERMINAL
from ingest_daemon.codecs import sl651

ANSWER_S = 600.0
AT_ONCE = 200
"""Lines that are opened at the same time."""
OPENING_S = 5.0
"""Seconds until the first frame, so that no line is still being opened then."""


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


async def delays_ms(port: int, lines: Sequence[Sequence[bytes]], every_s: float) -> list[float]:
    """Milliseconds from each frame to its acknowledgement; each line sends one of its frames every so many seconds.

    Raises `RuntimeError` where an honest line is closed or not answered.
    """
    delays: list[float] = []
    loop = asyncio.get_running_loop()
    opening = asyncio.Semaphore(AT_ONCE)

    async def stay(frames: Sequence[bytes], first_s: float) -> None:
        async with opening:
            line = _Line()
            await loop.create_connection(lambda: line, "127.0.0.1", port)
        for number, frame in enumerate(frames):
            await asyncio.sleep(max(0.0, first_s + number * every_s - loop.time()))
            delays.append(await asyncio.wait_for(line.acknowledged(frame), ANSWER_S))
        line.transport.close()

    begin_s = loop.time() + OPENING_S
    await asyncio.gather(*(stay(frames, begin_s + random.uniform(0, every_s)) for frames in lines))
    return delays


class _Line(asyncio.Protocol):
    """A line of a terminal."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._answer: asyncio.Future[float] | None = None

    async def acknowledged(self, frame: bytes) -> float:
        """Send a frame; gives the milliseconds to its acknowledgement."""
        self._answer = asyncio.get_running_loop().create_future()
        began_s = time.perf_counter()
        self.transport.write(frame)
        return (await self._answer - began_s) * 1000

    def data_received(self, data: bytes) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(time.perf_counter())

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(RuntimeError(f"an honest line was closed: {error}"))
