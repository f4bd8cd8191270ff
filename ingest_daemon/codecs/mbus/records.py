"""Records of a frame with CI 72, taken apart strictly (EN 13757-3), and the date in one. Their numbers are read in `values`."""

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from ingest_daemon.codecs.mbus.framing import HEADER

FILLER, MAKERS, MORE_FOLLOWS = 0x2F, 0x0F, 0x1F
FORWARD_ONLY, BACKWARD_ONLY = 0x3B, 0x3C
DATE_TIME = 0x6D
MOST_EXTENSIONS = 10
_SIZES = (0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, -1, 6, 0)
"""Bytes of a value by the low digit of its DIF; -1: the first one is LVAR and gives the length."""
_PLAIN_TEXT, _EXTENSION_TABLES = 0x7C, (0xFB, 0xFD)


class TornRecordError(Exception):
    """A record does not end within its frame, although the checksum is good."""


class Use(Enum):
    """The treatment of a record without a value: refused always, refused where its field stays empty, or never."""

    DAMAGED = "damaged"
    NOT_CONVERTED = "not converted"
    NOT_WANTED = "not wanted"


class UnusableRecord(Exception):
    """A record gives no value; the text is the reason."""

    def __init__(self, reason: str, use: Use) -> None:
        super().__init__(reason)
        self.use = use


class Record(NamedTuple):
    """One record: where it begins and ends, DIF and DIFEs, VIF and VIFEs, a unit in plain text, LVAR, bytes of the value."""

    begin: int
    end: int
    dif: bytes
    vif: bytes = b""
    text: bytes = b""
    lvar: int = 0
    data: bytes = b""

    @property
    def is_present(self) -> bool:
        """An instantaneous value of storage 0, no tariff and no subunit."""
        return not self.dif[0] & 0x70 and not any(extension & 0x7F for extension in self.dif[1:])

    @property
    def kind(self) -> int:
        """The VIF without its bit of extension; of FB and FD: the code behind it too, as 0x1FDnn."""
        if self.vif[0] in _EXTENSION_TABLES:
            return 0x10000 | self.vif[0] << 8 | self.vif[1] & 0x7F
        return self.vif[0] & 0x7F

    @property
    def extensions(self) -> tuple[int, ...]:
        """VIFEs, without their bits of extension."""
        return tuple(code & 0x7F for code in self.vif[2 if self.vif[0] in _EXTENSION_TABLES else 1 :])

    @property
    def label(self) -> str:
        """Its bytes and where they begin, for messages."""
        data = f"{self.data.hex().upper() or '(no data)'}"
        return f"record {self.dif.hex(' ').upper()} {self.vif.hex(' ').upper()} {data} at byte {self.begin}"


def iter_records(frame: bytes) -> Iterator[Record]:
    """The records of a frame with CI 72, fillers included. Raises `TornRecordError` where they do not end with it."""
    end, offset = len(frame) - 2, HEADER
    if offset > end:
        raise TornRecordError(f"header has {end - 7} bytes, expected 12")
    while offset < end:
        begin, dif = offset, frame[offset]
        if dif in (FILLER, MAKERS, MORE_FOLLOWS):
            offset = offset + 1 if dif == FILLER else end
            yield Record(begin, offset, frame[begin : begin + 1], data=frame[begin + 1 : offset])
            continue
        offset = vif_begin = _after_extensions(frame, offset, end, "DIF")
        if offset >= end:
            raise TornRecordError(f"record at byte {begin} ends after its DIF {frame[begin:offset].hex().upper()}")
        text = b""
        if frame[offset] & 0x7F == _PLAIN_TEXT:
            text = _take(frame, offset + 2, frame[offset + 1] if offset + 1 < end else 0, end)
            vif = frame[offset : offset + 1]
            offset += 2 + len(text)
            if vif[0] & 0x80:
                behind = _after_extensions(frame, offset, end, "VIF")
                vif, offset = vif + frame[offset:behind], behind
        else:
            offset = _after_extensions(frame, offset, end, "VIF")
            vif = frame[vif_begin:offset]
        size, lvar = _SIZES[dif & 0x0F], 0
        if size < 0:
            lvar = frame[offset] if offset < end else 0
            size, offset = _variable_size(lvar, begin), offset + 1
        data = _take(frame, offset, size, end)
        offset += size
        yield Record(begin, offset, frame[begin:vif_begin], vif, text, lvar, data)


def clock_of(record: Record) -> datetime | None:
    """The meter's local time in a record of date and time; None where the meter declares it invalid or never had its clock set.

    Type F has 4 bytes, type I has 6. Raises `UnusableRecord` where the bytes are no date.
    """
    data = record.data
    if record.dif[0] & 0x0F not in (0x04, 0x06):
        raise UnusableRecord("a date and time of no known type, expected 4 or 6 bytes of an integer", Use.DAMAGED)
    minute, hour, day, month = data[:4] if len(data) == 4 else data[1:5]
    if minute & 0x80 or not data.strip(b"\xff"):
        return None
    year, century = day >> 5 | month >> 1 & 0x78, hour >> 5 & 3
    year += 1900 + 100 * century if century else 2000 if year <= 80 else 1900
    try:
        clock = datetime(year, month & 0x0F, day & 0x1F, hour & 0x1F, minute & 0x3F)
    except ValueError:
        if not data.strip(b"\0"):
            return None
        raise UnusableRecord("no date and time", Use.DAMAGED) from None
    return clock if datetime(2000, 1, 2) <= clock < datetime(2100, 1, 1) else None


def _after_extensions(frame: bytes, offset: int, end: int, what: str) -> int:
    first = offset
    while offset < end and frame[offset] & 0x80:
        offset += 1
        if offset >= end or offset - first > MOST_EXTENSIONS:
            raise TornRecordError(f"{what} at byte {first} has no end, expected at most {MOST_EXTENSIONS} extensions")
    return offset + 1


def _variable_size(lvar: int, begin: int) -> int:
    """Bytes of a value of variable length: text, BCD of two digits a byte, binary numbers."""
    if lvar <= 0xBF:
        return lvar
    if lvar <= 0xEF:
        return lvar & 0x0F
    if lvar <= 0xF4:
        return 4 * (lvar - 0xEC)
    if lvar in (0xF5, 0xF6):
        return 48 if lvar == 0xF5 else 64
    raise TornRecordError(f"record at byte {begin} has the length code {lvar:02X}, expected up to F6")


def _take(frame: bytes, offset: int, size: int, end: int) -> bytes:
    if offset + size > end:
        raise TornRecordError(f"value at byte {offset} has {max(0, end - offset)} bytes, expected {size}")
    return frame[offset : offset + size]
