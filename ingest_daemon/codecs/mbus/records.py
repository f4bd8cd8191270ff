"""Records of a frame with CI 72, taken apart strictly; pyMeterBus reads their values and units."""

from collections.abc import Iterator
from typing import NamedTuple

import meterbus

from ingest_daemon.codecs.mbus.framing import HEADER

FILLER, MAKERS, MORE_FOLLOWS = 0x2F, 0x0F, 0x1F
FORWARD_ONLY, BACKWARD_ONLY = 0x3B, 0x3C
MOST_EXTENSIONS = 10


class TornRecordError(Exception):
    """A frame with a good checksum whose records do not add up."""


class Record(NamedTuple):
    """A record: where in the frame it ends, its DIF and DIFEs, VIF and VIFEs, a unit in plain text, the bytes of its value."""

    end: int
    dif: bytes
    vif: bytes = b""
    text: bytes = b""
    data: bytes = b""

    @property
    def is_present(self) -> bool:
        """An instantaneous value of storage 0, no tariff and no subunit."""
        return not self.dif[0] & 0x70 and not any(extension & 0x7F for extension in self.dif[1:])

    @property
    def kind(self) -> int:
        """The VIF without its bit of extension; of FB and FD: the code behind it too, as 0x1FDnn."""
        if self.vif[0] in (0xFB, 0xFD):
            return 0x10000 | self.vif[0] << 8 | self.vif[1] & 0x7F
        return self.vif[0] & 0x7F

    @property
    def extensions(self) -> tuple[int, ...]:
        """VIFEs, without their bits of extension."""
        return tuple(code & 0x7F for code in self.vif[2 if self.vif[0] in (0xFB, 0xFD) else 1 :])


_SIZES = (0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, -1, 6, 0)
"""Bytes of a value by the low digit of its DIF; -1: the first one says."""


def iter_records(frame: bytes) -> Iterator[Record]:
    """The records of a frame with CI 72, fillers included. Raises `TornRecordError` where they do not end with it."""
    end, at = len(frame) - 2, HEADER
    if at > end:
        raise TornRecordError(f"header has {end - 7} bytes, expected 12")
    while at < end:
        begin, dif = at, frame[at]
        if dif in (FILLER, MAKERS, MORE_FOLLOWS):
            at = at + 1 if dif == FILLER else end
            yield Record(at, frame[begin : begin + 1], data=frame[begin + 1 : at])
            continue
        at = vif_at = _after_extensions(frame, at, end, "DIF")
        if at >= end:
            raise TornRecordError(f"record at byte {begin} ends after its DIF {frame[begin:at].hex().upper()}")
        text = b""
        if frame[at] & 0x7F == 0x7C:
            text = _taken(frame, at + 2, frame[at + 1] if at + 1 < end else 0, end)
            vif = frame[at : at + 1]
            at += 2 + len(text)
            if vif[0] & 0x80:
                behind = _after_extensions(frame, at, end, "VIF")
                vif, at = vif + frame[at:behind], behind
        else:
            at = _after_extensions(frame, at, end, "VIF")
            vif = frame[vif_at:at]
        size = _SIZES[dif & 0x0F]
        if size < 0:
            size, at = _variable(frame[at] if at < end else 0), at + 1
        data = _taken(frame, at, size, end)
        at += size
        yield Record(at, frame[begin:vif_at], vif, text, data)


def _after_extensions(frame: bytes, at: int, end: int, what: str) -> int:
    first = at
    while at < end and frame[at] & 0x80:
        at += 1
        if at >= end or at - first > MOST_EXTENSIONS:
            raise TornRecordError(f"{what} at byte {first} has no end, expected at most {MOST_EXTENSIONS} extensions")
    return at + 1


def _variable(length: int) -> int:
    """Bytes of a value of variable length (EN 13757-3, LVAR)."""
    if length <= 0xBF:
        return length
    if length <= 0xDF:
        return (length & 0x0F) * 2
    return length & 0x0F


def _taken(frame: bytes, at: int, size: int, end: int) -> bytes:
    if at + size > end:
        raise TornRecordError(f"value at byte {at} has {max(0, end - at)} bytes, expected {size}")
    return frame[at : at + size]


class Value(NamedTuple):
    """A record's value as pyMeterBus reads it, numbers as floats (None: it cannot), and its unit ("" for none)."""

    value: float | str | None
    unit: str


def read_value(record: Record) -> Value:
    """Never raises: pyMeterBus fails on some codes, and digits of BCD it does not check."""
    field = record.dif[0] & 0x0F
    digits = record.data[::-1].hex()
    if field in (0x9, 0xA, 0xB, 0xC, 0xE) and not (digits[1:].isdecimal() and digits[0] in "0123456789f"):
        return Value(None, "")
    library = meterbus.TelegramVariableDataRecord()
    library.dib.parts, library.vib.parts = list(record.dif), list(record.vif)
    library.vib.customVIF.parts, library.dataField.parts = list(record.text), list(record.data)
    try:
        value, unit = library.parsed_value, library.unit
        text = "" if unit in (None, "none") else str(unit)
        return Value(value if isinstance(value, str) or value is None else round(float(value), 9), text)
    except Exception:
        return Value(None, "")
