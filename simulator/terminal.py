"""The terminal's side of TCP: a frame, its acknowledgement, the next; repeats and new connections as SL 651 mode M2 has them.

What is sent comes in as a plan; who used how much water or what goes wrong is not known here.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import polars as pl

from ingest_daemon.codec_kit.api import Decoder, Frame
from ingest_daemon.codecs import sl651

ROWS = 60
"""Readings a frame: with every field of a reading this stays one frame."""

REPEATS = 2
"""How often the same bytes are sent again on one connection before it is given up (SL 651, mode M2)."""

LAST_SEQUENCE = 65535
READ_BYTES = 65536
RECONNECT_S = 0.2

Clock = Callable[[], datetime]


class Upload(NamedTuple):
    """One frame to send.

    `readings`: how many readings this frame completes at the centre; 0 for an earlier frame of a batch, an alarm and a repeat.
    `acknowledged`: whether the centre must acknowledge it.
    """

    terminal: str
    frame: bytes
    sequence: int
    readings: int
    acknowledged: bool = True


class Stream(NamedTuple):
    """The frames of one terminal over one connection, in order: its data, or (`alarm`) its event reports to the alarm port."""

    terminal: str
    uploads: Iterable[Upload]
    alarm: bool = False


Plan = Sequence[Sequence[Stream]]
"""Phases, one after the other; the streams of a phase run at the same time."""


@dataclass(slots=True)
class Delivery:
    """The outcome of a plan. `refused`: frames that were to stay unacknowledged and did. Readings are counted by terminal.

    `unexpected`: frames that were to be refused but were acknowledged. `given_up`: terminals whose centre did not answer in
    time; the rest of their uploads was not sent.
    """

    sent: int = 0
    acknowledged: int = 0
    repeated: int = 0
    refused: int = 0
    unexpected: int = 0
    readings_sent: dict[str, int] = field(default_factory=dict)
    readings_acknowledged: dict[str, int] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)


Progress = Callable[[Delivery], None]


class Patience(NamedTuple):
    """Waiting times in seconds: for an acknowledgement, for the silence after a bad frame, for a centre that is away."""

    answer_s: float = 10.0
    silence_s: float = 0.5
    away_s: float = 60.0


def now() -> datetime:
    """The clock of a terminal that keeps good time."""
    return datetime.now(UTC)


def uploads(terminal: str, readings: pl.DataFrame, clock: Clock, sequence: int = 1, rows: int = ROWS) -> Iterator[Upload]:
    """Readings (`ts`, `schema.FIELDS`) in their order as timed reports of at most `rows`; encoded only when they are asked for.

    `clock` gives a frame's send time; `sequence` is the first frame's number.
    """
    for part in readings.iter_slices(rows):
        frames = sl651.reports(terminal, part, sent_at=clock(), sequence=sequence)
        for left, frame in zip(range(len(frames) - 1, -1, -1), frames, strict=True):
            yield Upload(terminal, frame, sequence, 0 if left else part.height)
            sequence = sequence % LAST_SEQUENCE + 1


def alarm(terminal: str, reading: pl.DataFrame, active: Sequence[str], clock: Clock, sequence: int) -> Upload:
    """An event report (33H): the one reading it belongs to and the alarms that are on (none: all clear)."""
    (frame,) = sl651.reports(terminal, reading, sent_at=clock(), sequence=sequence, function=0x33, active=list(active))
    return Upload(terminal, frame, sequence, 0)


async def deliver(
    host: str,
    data_port: int,
    alarm_port: int,
    plan: Plan,
    on_progress: Progress | None = None,
    patience: Patience = Patience(),  # noqa: B008 (immutable)
) -> Delivery:
    """Send a plan as its terminals would. A centre that is away or silent is waited for and ends in `given_up`, not in an error.

    `on_progress` is called with the counts so far after every frame that is done.
    """
    delivery = Delivery()
    for phase in plan:
        async with asyncio.TaskGroup() as group:
            for stream in phase:
                line = _Line(host, alarm_port if stream.alarm else data_port, delivery, patience)
                group.create_task(_send(stream, line, delivery, on_progress))
    return delivery


async def _send(stream: Stream, line: "_Line", delivery: Delivery, on_progress: Progress | None) -> None:
    try:
        for upload in stream.uploads:
            _add(delivery.readings_sent, upload)
            answered = await line.send(upload)
            if upload.acknowledged and not answered:
                delivery.given_up.append(stream.terminal)
                return
            if answered:
                delivery.acknowledged += 1
                delivery.unexpected += not upload.acknowledged
                _add(delivery.readings_acknowledged, upload)
            else:
                delivery.refused += 1
            if on_progress is not None:
                on_progress(delivery)
    finally:
        line.close()


def _add(counts: dict[str, int], upload: Upload) -> None:
    counts[upload.terminal] = counts.get(upload.terminal, 0) + upload.readings


class _Line:
    """One connection of a terminal, made anew whenever it is lost."""

    def __init__(self, host: str, port: int, delivery: Delivery, patience: Patience) -> None:
        self._host, self._port, self._delivery, self._patience = host, port, delivery, patience
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter, Decoder] | None = None

    async def send(self, upload: Upload) -> bool:
        """Send until it is acknowledged or the patience ends; a frame that must be refused is sent once."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._patience.away_s
        sent = False
        while True:
            try:
                for _ in range(1 + REPEATS if upload.acknowledged else 1):
                    await self._write(upload.frame)
                    self._delivery.sent += not sent
                    self._delivery.repeated += sent
                    sent = True
                    if await self._answered(upload):
                        return True
                if not upload.acknowledged:
                    return False
            except OSError:
                pass  # away or gone: the next round connects again
            self.close()
            if loop.time() >= end:
                return False
            await asyncio.sleep(RECONNECT_S)

    async def _write(self, frame: bytes) -> None:
        if self._open is None:
            async with asyncio.timeout(self._patience.answer_s):
                reader, writer = await asyncio.open_connection(self._host, self._port)
            self._open = reader, writer, sl651.decoder()
        _, writer, _ = self._open
        writer.write(frame)
        await writer.drain()

    async def _answered(self, upload: Upload) -> bool:
        """Whether the acknowledgement of this very frame comes in time; late ones of earlier repeats are passed over."""
        assert self._open is not None
        reader, _, decoder = self._open
        try:
            async with asyncio.timeout(self._patience.answer_s if upload.acknowledged else self._patience.silence_s):
                while True:
                    data = await reader.read(READ_BYTES)
                    if not data:
                        raise ConnectionResetError("the centre closed the connection")
                    for item in decoder.feed(data):
                        if isinstance(item, Frame) and sl651.acknowledged_sequence(item.raw) == upload.sequence:
                            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None
