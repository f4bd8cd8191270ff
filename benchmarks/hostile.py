"""Honest terminals beside hostile connections: how long an acknowledgement takes with them and without, in one run.

`python -m benchmarks.hostile PORT` is the hostile crowd itself, a process of its own.
"""

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from benchmarks.figures import Figure, at_most, ratios
from benchmarks.machine import pinned
from benchmarks.parties import REPOSITORY, Parties
from benchmarks.reception import settle
from benchmarks.run import Run
from benchmarks.workload import FIRST_TERMINAL
from ingest_daemon.codecs import sl651

HONEST, EVERY_S = 20, 0.1
"""Honest connections, and seconds between two frames of each."""

HOSTILE = 300
WARM_UP_S = 2.0
STRANGERS = 9_000_000
CHUNK = 8 << 10


def hostile(run: Run) -> list[Figure]:
    """Hostile crowd: p99 of honest acknowledgements with 300 hostile connections, of that without."""
    quiet, crowded = [], []
    seconds = max(2.0, run.seconds)
    for _ in run.each_round("hostile"):
        with run.site(HONEST) as site, run.parties.daemon(site) as server:
            settle(run, site, server, HONEST)
            quiet.append(asyncio.run(_honest_p99_ms(server.port, seconds)))
            with crowd(run.parties, server.port):
                time.sleep(WARM_UP_S)
                crowded.append(asyncio.run(_honest_p99_ms(server.port, seconds)))
    return [
        Figure("hostile", "honest terminals alone: p99 of an acknowledgement", quiet, "ms"),
        Figure("hostile", f"beside {HOSTILE} hostile connections: p99", crowded, "ms"),
        Figure("hostile", "p99 beside them, of that alone", ratios(crowded, quiet), "", at_most(3)),
    ]


@contextmanager
def crowd(parties: Parties, port: int) -> Any:
    """The hostile crowd at a port for the time of the block."""
    # Nice: a crowd on other machines takes no processor from honest terminals and servers.
    command = ["nice", "-n", "19", sys.executable, "-m", "benchmarks.hostile", str(port)]
    process = subprocess.Popen(command, cwd=REPOSITORY, preexec_fn=pinned(parties.cores.load))
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def _honest_p99_ms(port: int, seconds: float) -> float:
    delays_ms: list[float] = []
    until_s = time.monotonic() + seconds

    async def report(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(random.uniform(0, EVERY_S))
        while time.monotonic() < until_s:
            raw = _frame(FIRST_TERMINAL + number)
            began_s = time.monotonic()
            writer.write(raw)
            await reader.read(4096)
            delays_ms.append((time.monotonic() - began_s) * 1000)
            await asyncio.sleep(EVERY_S)
        writer.close()

    await asyncio.gather(*(report(number) for number in range(HONEST)))
    return sorted(delays_ms)[int(len(delays_ms) * 0.99)]


def _frame(number: int) -> bytes:
    now = datetime.now(UTC)
    readings = pl.DataFrame({"ts": [now.replace(microsecond=0) - timedelta(minutes=1)], "forward_m3": [1.0]})
    (raw,) = sl651.reports(f"{number:010d}", readings, sent_at=now, sequence=1)
    return raw


# --- the crowd ----------------------------------------------------------------------------------------------------------------


async def _slow(port: int, frame: bytes) -> None:
    """A byte of a good frame a second."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for place in range(len(frame)):
        writer.write(frame[place : place + 1])
        await asyncio.sleep(1)


async def _garbage(port: int, frame: bytes) -> None:
    """Start bytes, 80 KB a second, until the connection is closed."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    while not writer.is_closing():
        writer.write(b"\x7e\x7e\x01" * (CHUNK // 3))
        await writer.drain()
        await asyncio.sleep(0.1)


async def _churn(port: int, frame: bytes) -> None:
    """Connect, send half a frame, hang up."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(frame[:20])
    await writer.drain()
    writer.close()
    await asyncio.sleep(0.2)


async def _tls(port: int, frame: bytes) -> None:
    """The beginning of a TLS handshake, then records that are none."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    while not writer.is_closing():
        writer.write(b"\x17\x03\x03\x40\x00" + bytes(1024))
        await writer.drain()
        await asyncio.sleep(0.1)


async def _flood(port: int, frame: bytes) -> None:
    """Good frames of an unknown terminal as fast as they are read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(reader.read(-1))
    while not reading.done():
        writer.write(frame * (CHUNK // len(frame)))
        await writer.drain()
        await asyncio.sleep(0)


KINDS: tuple[Callable[[int, bytes], Coroutine[Any, Any, None]], ...] = (_slow, _garbage, _churn, _tls, _flood)


async def _again(kind: Callable[[int, bytes], Coroutine[Any, Any, None]], port: int, frame: bytes) -> None:
    while True:
        with contextlib.suppress(OSError):
            await kind(port, frame)
        await asyncio.sleep(0.05)


async def _hostile(port: int) -> None:
    tasks = [_again(KINDS[number % len(KINDS)], port, _frame(STRANGERS + number)) for number in range(HOSTILE)]
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(_hostile(int(sys.argv[1])))
