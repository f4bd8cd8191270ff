"""What a codec is: the types between sockets, journal and raw store. No protocol's detail, no I/O.

A protocol is one module or package in `codecs/`, found by its name, that offers the functions of `Codec`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import polars as pl

from ingest_daemon.schema import Reason


class Frame(NamedTuple):
    """One whole frame with a good checksum, exactly as received."""

    raw: bytes


class Rejected(NamedTuple):
    """Bytes that are no frame, with the reason and a sentence that says what was expected."""

    raw: bytes
    reason: Reason
    detail: str


class Decoder(Protocol):
    """Cuts one connection's byte stream into frames. Never raises; never holds more than `MAX_FRAME` bytes.

    The bytes of all frames and rejections plus `pending` are exactly the bytes fed, in order.
    """

    @property
    def pending(self) -> int:
        """Bytes held back because the frame is not complete yet."""
        ...

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        """Take bytes as they come, glued or split anywhere; give what is complete."""
        ...


class Decoded(NamedTuple):
    """What a group of frames says, in columns.

    `readings`: `frame` (index in the group), `terminal`, `ts`, and the fields of `schema.FIELDS`.
    `alarms`: `frame`, `terminal`, `event_at`, `active` (list of alarm codes set in the alarm word; empty: all
    clear) and the fields of `schema.FIELDS` seen in the same frame (for value); a row a frame that carries an alarm word.
    `clocks`: `frame`, `terminal`, `sent_at` (the device's clock when it sent).
    `rejected`: `frame`, `reason`, `detail`: frames with a good checksum whose content cannot be used.
    """

    readings: pl.DataFrame
    alarms: pl.DataFrame
    clocks: pl.DataFrame
    rejected: pl.DataFrame


class Part(NamedTuple):
    """One explained piece of a frame: where, which bytes, what it is in both languages, its value and unit."""

    offset: int
    raw: bytes
    zh: str
    en: str
    value: str
    unit: str


class Codec(Protocol):
    """The functions of a module in `codecs/`. All pure: no socket, clock, logger or database."""

    MAX_FRAME: int
    """Longest frame in bytes; the bound of every buffer."""

    def decoder(self) -> Decoder:
        """A decoder for a new connection."""
        ...

    def terminal(self, frame: bytes) -> str:
        """The terminal (station) number that sent the frame."""
        ...

    def is_alarm(self, frame: bytes) -> bool:
        """Whether the frame is an event report that must overtake the backlog."""
        ...

    def reply(self, frame: bytes, now: datetime) -> bytes | None:
        """The acknowledgement to send once the frame is safe on disk; None where the protocol wants silence."""
        ...

    def decode(self, frames: Sequence[bytes]) -> Decoded:
        """Decode a group of frames at once, in columns. Never raises: unusable content is `rejected`."""
        ...

    def explain(self, frame: bytes) -> list[Part]:
        """Every byte of the frame explained, in order; also of a frame whose checksum is wrong."""
        ...
