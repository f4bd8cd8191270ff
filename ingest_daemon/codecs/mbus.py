"""M-Bus (EN 13757-2 and -3) behind a gateway or a DTU that passes its bytes on: the master's side, wired telegrams.

    E5                                          acknowledgement
    10 C A CS 16                                short: SND_NKE (C 40), REQ_UD2 (C 5B, 7B: the bit FCB toggles)
    68 L L 68 C A CI data CS 16                 long: L bytes from C on; CS is their sum; RSP_UD has C 08, 18, 28 or 38
    CI 72: id 4 (BCD), manufacturer 2, version 1, medium 1, access number 1, status 1, signature 2, then records (low byte first)
    record: DIF [DIFE ...] VIF [VIFE ...] [length] value; DIF 2F fills, 0F: the rest is the maker's, 1F: also, more frames follow

Bytes are taken apart here, and strictly: a record that ends too early spoils its frame. What a record's value and unit are says
pyMeterBus, which does not check that. Used are present values of no tariff and no subunit (storage number 0): volume (with VIFE
3B: forward only), with VIFE 3C the backward volume, flow, pressure, voltage. A round of polling is one reading, of the moment at
which it came in.

Not here: other media than water, the fixed structure (CI 73), encryption, wireless telegrams, writing to a meter.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import meterbus
import polars as pl

from ingest_daemon.codec_kit.api import (
    Arrival,
    Command,
    CommandType,
    Decoded,
    Decoder,
    ExplainedField,
    Frame,
    UnsupportedCommand,
    rejections,
)
from ingest_daemon.codec_kit.explained import UnplacedField, layout
from ingest_daemon.codec_kit.framer import Fault, FrameFormat, Framer
from ingest_daemon.contract.schema import ALARMS, BEIJING, FIELDS, TIMESTAMP, Reason

POLLED = True

ACK, SHORT, LONG, END = 0xE5, 0x10, 0x68, 0x16
SHORT_SIZE, OVERHEAD = 5, 6
MAX_FRAME = OVERHEAD + 255
SND_NKE, SND_UD, REQ_UD2, RSP_UD = 0x40, 0x53, 0x5B, 0x08
FCB, FROM_MASTER, FUNCTION = 0x20, 0x40, 0x0F
SELECTED = 0xFD
"""Address of the meter that was chosen by its number."""
VARIABLE, FIXED, APPLICATION_ERROR, SELECT = 0x72, 0x73, 0x70, 0x52
HEADER = 19
"""Bytes before the records of a frame with CI 72."""

FILLER, MAKERS, MORE_FOLLOWS = 0x2F, 0x0F, 0x1F
FORWARD_ONLY, BACKWARD_ONLY = 0x3B, 0x3C
MOST_EXTENSIONS = 10
WATER = {
    0x06: "热水 / warm water",
    0x07: "水 / water",
    0x15: "热水 / hot water",
    0x16: "冷水 / cold water",
    0x17: "冷热水 / dual water",
}
OTHER = 0x00
"""Medium of counters of pulses, which may count a water meter's."""
STATUS_ALARMS = ((2, "BATT"), (3, "SENSOR"), (4, "SENSOR"))
ERRORS = (
    "unspecified error",
    "CI is not implemented",
    "buffer too long",
    "too many records",
    "premature end of record",
    "more than 10 DIFE",
    "more than 10 VIFE",
    "reserved",
    "too busy",
    "too many read-outs",
)


# --- The frame -----------------------------------------------------------------------------------------------------------------


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return Framer(_RULES)


def _size(head: bytes) -> int | None:
    if head[0] == SHORT:
        return None if len(head) < 2 else SHORT_SIZE if head[1] & 0xC0 == FROM_MASTER else 0
    if len(head) < 4:
        like = len(head) < 3 or head[1] == head[2]
        return None if like and (len(head) < 2 or head[1] >= 3) else 0
    return OVERHEAD + head[1] if head[1] == head[2] and head[1] >= 3 and head[3] == LONG else 0


def _fault(frame: bytes) -> Fault | None:
    if frame[-1] != END:
        return Reason.BAD_LENGTH, f"{frame[-1]:02X} stands where the end 16 is expected"
    expected = _sum(frame[1 if frame[0] == SHORT else 4 : -2])
    return None if frame[-2] == expected else (Reason.BAD_CRC, f"checksum is {frame[-2]:02X}, expected {expected:02X}")


_RULES = FrameFormat(
    bytes((SHORT, LONG)), 4, _size, _fault, "E5, 10 and a control byte of the master, or 68 L L 68", singles=bytes((ACK,))
)


def _sum(data: bytes) -> int:
    return sum(data) & 0xFF


def _long(content: bytes) -> bytes:
    return bytes((LONG, len(content), len(content), LONG)) + content + bytes((_sum(content), END))


def _short(control: int, address: int) -> bytes:
    return bytes((SHORT, control, address, _sum(bytes((control, address))), END))


def terminal(frame: bytes) -> str:
    """The primary address, "1" to "250", of a frame or the first long one of a round; else the 8 digits of the meter's number."""
    first = next((piece for piece in _frames(frame) if piece[0] == LONG), b"")
    if len(first) < OVERHEAD + 3:
        return ""
    if 1 <= first[5] <= 250:
        return str(first[5])
    return _number(first) if first[6] == VARIABLE and len(first) >= HEADER + 2 else ""


def _number(frame: bytes) -> str:
    return frame[10:6:-1].hex().upper()


# --- Asking --------------------------------------------------------------------------------------------------------------------


def requests(ask: Command, profile: Any) -> list[bytes]:
    """What reads a meter: at its primary address ("1" to "250"), or chosen by the 8 digits of its number."""
    if ask.kind != CommandType.NOW:
        raise UnsupportedCommand(
            f"{ask.kind}: an M-Bus meter is asked its present values (now); what it stored and its clock come with them"
        )
    digits = ask.address
    if len(digits) == 8 and digits.isascii() and digits.isdecimal():
        select = bytes((SND_UD, SELECTED, SELECT)) + bytes.fromhex(digits)[::-1] + b"\xff" * 4
        return [_short(SND_NKE, SELECTED), _long(select), _short(REQ_UD2 | FCB, SELECTED)]
    if digits.isascii() and digits.isdecimal() and 1 <= int(digits) <= 250:
        return [_short(SND_NKE, int(digits)), _short(REQ_UD2 | FCB, int(digits))]
    raise UnsupportedCommand(
        f"address is {digits!r}, expected a primary address from 1 to 250, or the 8 digits of the meter's number"
    )


def answers(request: bytes, frame: bytes) -> bool:
    """Whether E5 answers a command, or RSP_UD of the asked address a question."""
    if request[0] == SHORT and request[1] & ~FCB == REQ_UD2:
        from_meter = frame[0] == LONG and not frame[4] & FROM_MASTER and frame[4] & FUNCTION == RSP_UD
        return from_meter and (request[2] == SELECTED or frame[5] == request[2])
    return frame[0] == ACK


def follow_up(request: bytes, frame: bytes) -> bytes | None:
    """The same question with its bit FCB toggled, where the meter says that more frames follow."""
    if request[0] != SHORT or frame[0] != LONG or frame[6] != VARIABLE:
        return None
    try:
        last = list(_records(frame))[-1:]
    except _TornError:
        return None
    return _short(request[1] ^ FCB, request[2]) if last and last[0].dif[:1] == bytes((MORE_FOLLOWS,)) else None


# --- Records -------------------------------------------------------------------------------------------------------------------


class _TornError(Exception):
    """A frame with a good checksum whose records do not add up."""


class _Record(NamedTuple):
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


def _records(frame: bytes) -> Iterator[_Record]:
    """The records of a frame with CI 72, fillers included. Raises `_TornError` where they do not end with it."""
    end, at = len(frame) - 2, HEADER
    if at > end:
        raise _TornError(f"header has {end - 7} bytes, expected 12")
    while at < end:
        begin, dif = at, frame[at]
        if dif in (FILLER, MAKERS, MORE_FOLLOWS):
            at = at + 1 if dif == FILLER else end
            yield _Record(at, frame[begin : begin + 1], data=frame[begin + 1 : at])
            continue
        at = vif_at = _after_extensions(frame, at, end, "DIF")
        if at >= end:
            raise _TornError(f"record at byte {begin} ends after its DIF {frame[begin:at].hex().upper()}")
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
        yield _Record(at, frame[begin:vif_at], vif, text, data)


def _after_extensions(frame: bytes, at: int, end: int, what: str) -> int:
    first = at
    while at < end and frame[at] & 0x80:
        at += 1
        if at >= end or at - first > MOST_EXTENSIONS:
            raise _TornError(f"{what} at byte {first} has no end, expected at most {MOST_EXTENSIONS} extensions")
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
        raise _TornError(f"value at byte {at} has {max(0, end - at)} bytes, expected {size}")
    return frame[at : at + size]


class Value(NamedTuple):
    """A record's value as pyMeterBus reads it, numbers as floats (None: it cannot), and its unit ("" for none)."""

    value: float | str | None
    unit: str


def _value(record: _Record) -> Value:
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


# --- Decoding ------------------------------------------------------------------------------------------------------------------

_FLOWS = {"m^3/h": 1.0, "m^3/min": 60.0, "m^3/s": 3600.0}
_NAMES = [field.name for field in FIELDS]


class _Said(NamedTuple):
    """What one frame says: fields of a reading, and its clock as `YYYY-MM-DDThh:mm`."""

    fields: dict[str, float | int]
    clock: str


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Decode a group (see `Decoded`): a reading a round, of the frames of its answers together; of two values the first counts.

    A frame that cannot be used is `rejected` alone. Acknowledgements say nothing.
    """
    rows: list[dict[str, Any]] = []
    refused: list[tuple[int, str, str]] = []
    for number, arrival in enumerate(arrivals):
        said: list[_Said] = []
        for frame in _frames(arrival.raw):
            if frame[0] == ACK:
                continue
            told = _told(frame)
            if isinstance(told, _Said):
                said.append(told)
            else:
                refused.append((number, str(told[0]), told[1]))
        if said:
            fields = {name: value for one in reversed(said) for name, value in one.fields.items()}
            received = datetime.fromtimestamp(arrival.received_us // 1000 / 1000, UTC)
            name = arrival.terminal or terminal(arrival.raw)
            active = _active(int(fields["status"]))
            clock = next((one.clock for one in said if one.clock), None)
            rows.append({"frame": number, "terminal": name, "ts": received, "active": active, "clock": clock, **fields})
    schema = {"frame": pl.Int64, "terminal": pl.String, "ts": TIMESTAMP, "active": pl.List(pl.String), "clock": pl.String}
    table = pl.DataFrame(rows, schema={**schema, **{field.name: field.dtype for field in FIELDS}})  # type: ignore[dict-item]
    return Decoded(
        table.select("frame", "terminal", "ts", *_NAMES),
        table.select("frame", "terminal", pl.col("ts").alias("event_at"), "active", *_NAMES),
        table.select("frame", "terminal", sent_at=_moment(pl.col("clock"))).drop_nulls("sent_at"),
        rejections(refused),
    )


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """Whether a status bit is set that is an alarm. Never raises."""
    return any(_is_answer(frame) and _active(frame[16]) for frame in _frames(arrival.raw))


def _is_answer(frame: bytes) -> bool:
    """Whether it is a meter's frame with records, and so with a status."""
    return len(frame) >= HEADER + 2 and frame[0] == LONG and not frame[4] & FROM_MASTER and frame[6] == VARIABLE


def _active(status: int) -> list[str]:
    return sorted({code for bit, code in STATUS_ALARMS if status & 1 << bit})


def _frames(raw: bytes) -> list[bytes]:
    return [piece.raw for piece in Framer(_RULES).feed(raw) if isinstance(piece, Frame)]


def _told(frame: bytes) -> _Said | Fault:
    """What a frame says, or why it cannot be used."""
    if frame[0] == SHORT or frame[4] & FROM_MASTER:
        return Reason.BAD_BODY, "a request, perhaps our own come back, expected an answer"
    if frame[6] == APPLICATION_ERROR:
        code = frame[7] if len(frame) > OVERHEAD + 3 else 0
        said = ERRORS[code] if code < len(ERRORS) else "unknown error"
        return Reason.BAD_BODY, f"the meter reports an error: {code:02X}, {said}"
    if frame[6] != VARIABLE:
        kind = "fixed structure, which is not read" if frame[6] == FIXED else "not known"
        return Reason.BAD_BODY, f"CI is {frame[6]:02X} ({kind}), expected 72"
    try:
        records = list(_records(frame))
    except _TornError as torn:
        return Reason.BAD_BODY, str(torn)
    if frame[14] != OTHER and frame[14] not in WATER:
        known = ", ".join(f"{medium:02X}" for medium in (OTHER, *WATER))
        return Reason.BAD_BODY, f"medium is {frame[14]:02X}, expected one of water ({known})"
    fields: dict[str, float | int] = {"status": frame[16]}
    clock = ""
    for record in sorted((one for one in records if one.vif and one.is_present), key=_rank):
        value, unit = _value(record)
        if isinstance(value, float) and (name := _field(record)):
            if name == "flow_m3h":
                value = round(value * _FLOWS[unit], 9)
            fields.setdefault(name, round(value / 10, 9) if name == "pressure_mpa" else value)
        elif record.kind == 0x6D and not record.extensions and isinstance(value, str) and not record.data[0] & 0x80:
            clock = clock or value
    return _Said(fields, clock)


def _rank(record: _Record) -> int:
    """A volume that counts forward only goes before one that may be net."""
    return 0 if FORWARD_ONLY in record.extensions else 1


def _field(record: _Record) -> str:
    """The field of a reading that a record gives; empty for none."""
    kind, extensions = record.kind, record.extensions
    if 0x10 <= kind <= 0x17:
        return {(): "forward_m3", (FORWARD_ONLY,): "forward_m3", (BACKWARD_ONLY,): "reverse_m3"}.get(extensions, "")
    if extensions:
        return ""
    if 0x38 <= kind <= 0x4F:
        return "flow_m3h"
    if 0x68 <= kind <= 0x6B:
        return "pressure_mpa"
    return "battery_v" if 0x1FD40 <= kind <= 0x1FD4F else ""


def _moment(text: pl.Expr) -> pl.Expr:
    """Beijing time as pyMeterBus writes it, in UTC; null where it is no time, or that of a clock that was never set."""
    local = text.str.to_datetime("%Y-%m-%dT%H:%M", time_unit="us", strict=False)
    sound = local.is_between(datetime(2000, 1, 2), datetime(2100, 1, 1), closed="left")
    utc = (local - (BEIJING.utcoffset(None) or timedelta())).dt.replace_time_zone("UTC")
    return pl.when(sound).then(utc).otherwise(None).cast(TIMESTAMP)


# --- Explaining ----------------------------------------------------------------------------------------------------------------

_CONTROLS = {
    SND_NKE: ("复位链路 SND_NKE", "reset the link, SND_NKE"),
    REQ_UD2: ("请求数据 REQ_UD2", "ask for data, REQ_UD2"),
    SND_UD: ("发送数据 SND_UD", "send data, SND_UD"),
}
_CIS = {
    VARIABLE: ("可变数据结构", "variable structure"),
    FIXED: ("固定数据结构", "fixed structure"),
    APPLICATION_ERROR: ("应用层错误", "application error"),
    SELECT: ("选择从站", "select a meter"),
}
_HEADER = (
    (4, "表号", "number of the meter"),
    (2, "厂商", "manufacturer"),
    (1, "版本", "version"),
    (1, "介质", "medium"),
    (1, "访问序号", "access number"),
    (1, "状态", "status"),
    (2, "签名", "signature"),
)
_KINDS = (
    (0x00, 0x0F, "能量", "energy"),
    (0x10, 0x17, "体积", "volume"),
    (0x18, 0x1F, "质量", "mass"),
    (0x20, 0x23, "通电时间", "on time"),
    (0x24, 0x27, "工作时间", "operating time"),
    (0x28, 0x37, "功率", "power"),
    (0x38, 0x4F, "流量", "flow"),
    (0x50, 0x57, "质量流量", "mass flow"),
    (0x58, 0x5B, "供水温度", "flow temperature"),
    (0x5C, 0x5F, "回水温度", "return temperature"),
    (0x60, 0x63, "温差", "temperature difference"),
    (0x64, 0x67, "外部温度", "external temperature"),
    (0x68, 0x6B, "压力", "pressure"),
    (0x6C, 0x6C, "日期", "date"),
    (0x6D, 0x6D, "日期时间", "date and time"),
    (0x6E, 0x6E, "热分配单位", "units of heat cost"),
    (0x70, 0x73, "平均周期", "averaging time"),
    (0x74, 0x77, "数据时效", "age of the value"),
    (0x78, 0x78, "出厂编号", "fabrication number"),
    (0x79, 0x79, "标识", "identification"),
    (0x7A, 0x7A, "总线地址", "bus address"),
    (0x1FD17, 0x1FD17, "错误标志", "error flags"),
    (0x1FD40, 0x1FD4F, "电压", "voltage"),
    (0x1FD74, 0x1FD77, "电池剩余时间", "battery time left"),
)
_FUNCTIONS = (("", ""), ("最大", "maximum "), ("最小", "minimum "), ("故障期间", "in error "))


def explain(frame: bytes) -> list[ExplainedField]:
    """Every byte of one frame or several, in order; also of torn ones and of such with a wrong checksum. Never raises."""
    return layout(_explained(frame))


def _explained(frame: bytes) -> Iterator[UnplacedField]:
    while frame:
        size = 1 if frame[0] == ACK else _size(frame[:4]) if frame[0] in (SHORT, LONG) else 0
        if frame[0] == ACK:
            yield frame[:1], "确认", "acknowledgement", "", ""
        elif size and len(frame) >= size:
            yield from _explained_frame(frame[:size])
        else:
            size = next((at for at in range(1, len(frame)) if frame[at] in (ACK, SHORT, LONG)), len(frame))
            yield frame[:size], "不属于报文", "not part of a frame", "", ""
        frame = frame[size:]


def _explained_frame(frame: bytes) -> Iterator[UnplacedField]:
    at = 1 if frame[0] == SHORT else 4
    yield frame[:1], "起始符", "start", "", ""
    yield frame[1 : at - 1], "长度 L", "length L", str(frame[1]), "byte"
    yield frame[at - 1 : at] if at > 1 else b"", "起始符", "start", "", ""
    control = frame[at]
    zh, en = _CONTROLS.get(control & ~FCB, ("主站命令", "command of the master"))
    if not control & FROM_MASTER:
        zh, en = ("应答 RSP_UD", "answer, RSP_UD") if control & FUNCTION == RSP_UD else ("从站", "of a meter")
    yield frame[at : at + 1], "控制 C", "control C", f"{control:02X} {zh} / {en}", ""
    yield frame[at + 1 : at + 2], "地址 A", "address A", str(frame[at + 1]), ""
    if frame[0] == LONG:
        zh, en = _CIS.get(frame[6], ("未知", "unknown"))
        yield frame[6:7], "控制信息 CI", "control information CI", f"{frame[6]:02X} {zh} / {en}", ""
        if frame[6] == VARIABLE and len(frame) >= HEADER + 2:
            yield from _explained_content(frame)
        elif frame[6] == APPLICATION_ERROR and len(frame) == OVERHEAD + 4:
            known = ERRORS[frame[7]] if frame[7] < len(ERRORS) else "unknown error"
            yield frame[7:8], "错误码", "error code", f"{frame[7]:02X} {known}", ""
        else:
            yield frame[7:-2], "数据内容", "data", "", ""
    fault = _fault(frame[:-1] + bytes((END,)))
    verdict = "正确 / good" if fault is None else f"错误 / wrong: {fault[1]}"
    yield frame[-2:-1], "校验码 CS", "checksum CS", f"{frame[-2]:02X} {verdict}", ""
    yield frame[-1:], "结束符", "end", "" if frame[-1] == END else f"{frame[-1]:02X} 应为 16 / expected 16", ""


def _explained_content(frame: bytes) -> Iterator[UnplacedField]:
    at = 7
    shown = {"number of the meter": _number(frame), "manufacturer": _maker(frame[11:13]), "medium": _medium(frame[14])}
    shown["status"] = _status(frame[16])
    for size, zh, en in _HEADER:
        yield frame[at : at + size], zh, en, shown.get(en, ""), ""
        at += size
    try:
        for record in _records(frame):
            zh, en = _name(record)
            value, unit = _value(record) if record.vif else Value(None, "")
            said = "" if value is None else f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
            yield frame[at : record.end], zh, en, said, unit.replace("^3", "³")
            at = record.end
    except _TornError as torn:
        yield frame[at:-2], "残缺", "torn", str(torn), ""


def _name(record: _Record) -> tuple[str, str]:
    if not record.vif:
        special = {FILLER: ("填充", "filler"), MAKERS: ("厂商数据", "data of the maker")}
        return special.get(record.dif[0], ("厂商数据，后续有报文", "data of the maker, more frames follow"))
    zh, en = next(((zh, en) for low, high, zh, en in _KINDS if low <= record.kind <= high), ("其他", "other value"))
    word = {BACKWARD_ONLY: ("反向", "backward "), FORWARD_ONLY: ("正向", "forward ")}
    direction = next((word[code] for code in record.extensions if code in word), ("", ""))
    function = _FUNCTIONS[record.dif[0] >> 4 & 3]
    stored = "" if record.is_present or record.dif[0] & 0x30 else " *"
    return function[0] + direction[0] + zh + stored, function[1] + direction[1] + en + stored


def _maker(raw: bytes) -> str:
    word = int.from_bytes(raw, "little")
    return "".join(chr((word >> shift & 0x1F) + 64) for shift in (10, 5, 0))


def _medium(code: int) -> str:
    return f"{code:02X} {WATER.get(code, '其他 / other')}"


def _status(code: int) -> str:
    names = sorted({f"{name} {ALARMS[name].zh} / {ALARMS[name].en}" for bit, name in STATUS_ALARMS if code & 1 << bit})
    return f"{code:02X}: {'; '.join(names) or '—'}"
