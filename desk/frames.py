"""The frames behind a reading: what came, when and by which way, byte by byte. Nothing is stored.

Passwords that frames carry are hidden: in the field that explains them and in the bytes.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from desk.arrivals import stored
from ingest_daemon import operations
from ingest_daemon.contract.settings import Settings

if TYPE_CHECKING:
    import polars as pl

AROUND = timedelta(hours=1)
"""Readings so long before and after the time are listed."""
ASIDE = timedelta(hours=2)
"""What was kept aside so long before and after is listed."""
LATER = timedelta(days=1)
"""Arrivals are searched until so long after the one that is stored."""

HIDDEN = "••"
PAIR = re.compile(r"([\u3400-\u9fff]+) / ([A-Za-z](?:[A-Za-z '()-]*[A-Za-z)])?)(?=$|[,;:，；])")
"""A word in Chinese and in English, as explained values have them."""


class Reading(NamedTuple):
    """A stored reading near the time; `frame`: its journal position."""

    terminal: str
    ts: datetime
    forward_m3: float | None
    flow_m3h: float | None
    pressure_mpa: float | None
    received_at: datetime
    channel: str
    stream: str
    frame: int


class Field(NamedTuple):
    """An explained part of a frame in one language."""

    offset: int
    raw: str
    name: str
    value: str
    unit: str


class Frame(NamedTuple):
    """A frame of the journal. `fields` empty: its protocol cannot explain it."""

    stream: str
    position: int
    received_us: int
    protocol: str
    channel: str
    link: str
    reason: str
    detail: str
    length: int
    raw: str
    fields: Sequence[Field]


def readings(settings: Settings, terminals: Sequence[str], at: datetime) -> list[Reading]:
    """The stored readings near a time. Raises `StoreAway`."""
    return [Reading(*row) for row in stored(settings, terminals, at - AROUND, at + AROUND, Reading._fields)]


def nearest(rows: Sequence[Reading], at: datetime) -> Reading | None:
    """The reading nearest to a time, of two equally near the earlier."""
    return min(rows, key=lambda row: (abs(row.ts - at), row.ts), default=None)


def frame_at(settings: Settings, stream: str, position: int, language: str) -> Frame | None:
    """The frame at a position of the journal; None where the journal has it no more, or another daemon's has it."""
    own = operations.own_stream(settings.folder, stream)
    entry = next(operations.journal_entries(settings.folder, own, position), None) if own else None
    if entry is None or entry.position != position or entry.gap_bytes or entry.event:
        return None
    reason = entry.reason or entry.header.quarantine_reason
    return _frame(stream, position, entry.received_us, entry.header, reason, entry.detail, entry.raw, language)


def kept_aside(settings: Settings, terminals: Sequence[str], at: datetime, language: str) -> list[Frame]:
    """What was kept aside of the terminals near a time, with its reason."""
    found = []
    for terminal in terminals:
        for entry in operations.kept_aside(settings.folder, terminal, at - ASIDE, at + ASIDE):
            part = entry.stream, entry.position, entry.received_us, entry.way, entry.reason, entry.detail, entry.raw
            found.append(_frame(*part, language))
    return found


def arrivals(settings: Settings, terminal: str, at: datetime, until: datetime) -> "pl.DataFrame":
    """Every arrival of the reading of a terminal at a time that came before `until`; see `operations.arrivals`."""
    return operations.arrivals(settings.folder, terminal, at, at + timedelta(milliseconds=1), until).arrivals


def _frame(
    stream: str, position: int, received_us: int, header: Any, reason: str, detail: str, raw: bytes, language: str
) -> Frame:
    try:
        parts = operations.explain(raw, header.protocol) if header.protocol else []
    except Exception:  # bytes that were kept aside may be anything, and are shown all the same
        parts = []
    pairs = [f"{byte:02X}" for byte in raw]
    fields = []
    for part in parts:
        if is_secret := "password" in part.en and "change" not in part.en:
            pairs[part.offset : part.offset + len(part.raw)] = [HIDDEN] * len(part.raw)
        shown = " ".join(pairs[part.offset : part.offset + len(part.raw)])
        value = HIDDEN if is_secret else in_language(part.value, language)
        fields.append(Field(part.offset, shown, part.zh if language == "zh" else part.en, value, part.unit))
    return Frame(
        stream,
        position,
        received_us,
        header.protocol,
        header.channel,
        header.link,
        reason,
        detail,
        len(raw),
        " ".join(pairs),
        fields,
    )


def in_language(value: str, language: str) -> str:
    """A value with the words of one language where it has both, `F239 正确 / good`; what is more than words stays as it is."""
    return PAIR.sub(r"\1" if language == "zh" else r"\2", value)
