"""How soon an alarm is there: from a frame's acknowledgement to its row in `ops.alarm`, in `mainflow up` with 2,000 meters."""

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg

from benchmarks.figures import Figure, at_most
from benchmarks.figures_cost import SIZES
from benchmarks.parties import START_S
from benchmarks.run import Run
from benchmarks.stack import seconds_until, up
from ingest_daemon.codecs import sl651
from ingest_daemon.contract.files import read_json

TRIES = 50
BACKLOG = 50_000
DEVICE_S, SERVER_S = 5.0, 60.0
LONGEST_S = 120.0
ANSWER = b"\x7e\x7e"
"""How every answer begins."""


def soon(run: Run) -> list[Figure]:
    """A terminal's alarm with 50,000 data frames before it, and an alarm of the figures."""
    meters = run.sized(SIZES[0])
    tries = max(1, round(TRIES * min(1.0, run.seconds / 3)))
    frames = run.sized(BACKLOG)
    behind, alone, server = [], [], []
    with (
        run.site(meters, daemon={"health_port": 0}) as site,
        up(site) as stack,
        psycopg.connect(stack.dsn, autocommit=True) as board,
    ):
        alarm_port = (read_json(site.state / "daemon.json") or {})["alarm_port"]
        names = [f"{1_000_000 + number:010d}" for number in range(meters)]
        run.tell("alarms: a device's with a backlog before it")
        _fill(stack.port, names, frames)
        behind.append(_device_s(board, alarm_port, names[0], "MAG"))
        for number in range(tries):
            run.tell(f"alarms: {number + 1}")
            alone.append(_device_s(board, alarm_port, names[(number + 1) % meters], "DOOR"))
            server.append(_server_s(board, stack.port, names[(number + 1) % meters]))
    size = f"{meters:,} meters, {tries} tries, one after the other"
    return [
        Figure(
            "alarm",
            f"terminal's alarm with {frames:,} data frames just before it",
            behind,
            "s",
            at_most(DEVICE_S),
            f"{meters:,} meters",
        ),
        Figure("alarm", "terminal's alarm acknowledged → ops.alarm", alone, "s", at_most(DEVICE_S), size),
        Figure("alarm", "the slowest of them", [max(alone)], "s", at_most(DEVICE_S), size),
        Figure("alarm", "last frame of a low pressure acknowledged → ops.alarm", server, "s", at_most(SERVER_S), size),
        Figure("alarm", "the slowest of them", [max(server)], "s", at_most(SERVER_S), size),
    ]


def _fill(port: int, names: Sequence[str], count: int) -> None:
    """Have data frames of one reading acknowledged: so many in all, each terminal over its own connection."""
    start = datetime.now(UTC).replace(microsecond=0, second=0) - timedelta(days=1)
    each = max(1, count // len(names))
    for name in names:
        frames = []
        for number in range(each):
            at = start + timedelta(minutes=number)
            reading = pl.DataFrame({"ts": [at], "forward_m3": [100.0 + number], "pressure_mpa": [0.3]})
            frames += sl651.reports(name, reading, sent_at=at, sequence=number + 1)
        _acknowledged(port, frames)


def _acknowledged(port: int, frames: Sequence[bytes]) -> None:
    """Send frames over a connection and read an answer to each."""
    with socket.create_connection(("127.0.0.1", port), timeout=START_S) as line:
        line.sendall(b"".join(frames))
        seen = 0
        while seen < len(frames):
            answer = line.recv(1 << 16)
            if not answer:
                raise RuntimeError(f"the daemon ended the connection after {seen} of {len(frames)} answers")
            seen += answer.count(ANSWER)


def _device_s(board: Any, port: int, terminal: str, code: str) -> float:
    now = datetime.now(UTC).replace(microsecond=0)
    reading = pl.DataFrame({"ts": [now], "forward_m3": [100.0], "pressure_mpa": [0.3]})
    frames = sl651.reports(terminal, reading, sent_at=now, sequence=7, function=sl651.EVENT, active=[code])
    return _seen_after_s(board, port, frames, terminal, code)


def _server_s(board: Any, port: int, terminal: str) -> float:
    """Seconds to a low pressure of the last three readings."""
    now = datetime.now(UTC).replace(microsecond=0)
    times = [now - timedelta(minutes=minutes) for minutes in (12, 8, 4, 0)]
    registers = [200.0 + number for number in range(len(times))]
    readings = pl.DataFrame({"ts": times, "forward_m3": registers, "pressure_mpa": [0.3, 0.1, 0.1, 0.1]})
    frames = [frame for row in readings.iter_slices(1) for frame in sl651.reports(terminal, row, sent_at=now, sequence=8)]
    return _seen_after_s(board, port, frames, terminal, "P_LO")


def _seen_after_s(board: Any, port: int, frames: Sequence[bytes], terminal: str, code: str) -> float:
    query = "select 1 from ops.alarm where meter = %s and code = %s and first_seen_at > %s"
    began_at = datetime.now(UTC)
    _acknowledged(port, frames)
    return seconds_until(lambda: board.execute(query, [f"M{terminal}", code, began_at]).fetchone(), LONGEST_S)
