"""Explains a frame to people, every byte in order, in Chinese and English. Slow and forgiving; `decode` does not use it."""

from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from ingest_daemon.codec_kit.api import ExplainedField
from ingest_daemon.codec_kit.explained import UnplacedField, checksum_text, layout
from ingest_daemon.codecs.cjt188.decode import clock
from ingest_daemon.codecs.cjt188.framing import (
    ANSWER,
    CLOCK,
    END,
    ERROR,
    FLOWS,
    FREEZES,
    FUNCTION,
    HEADER,
    LITRES,
    ODD_ANSWER,
    OVERHEAD,
    PRESENT,
    START,
    TIMED_FREEZE,
    VOLUMES,
    WAKE,
    identifier_of,
    size_of,
    sum_of,
)
from ingest_daemon.contract.schema import BEIJING

_FUNCTIONS = {
    0x01: ("读数据", "read data"),
    0x03: ("读地址", "read address"),
    0x04: ("写数据", "write data"),
    0x09: ("读密钥版本", "read key version"),
    0x15: ("写地址", "write address"),
    0x16: ("写机电同步数据", "write pulse base"),
}
_METERS = {1: ("水表", "water"), 2: ("热量表", "heat"), 3: ("燃气表", "gas"), 4: ("其他", "other"), 10: ("任意", "any")}
_DATA = {
    PRESENT: ("计量数据", "present reading"),
    CLOCK: ("时钟", "clock"),
    0x8102: ("价格表", "prices"),
    0x8103: ("结算日", "settlement day"),
    0x8104: ("抄表日", "reading day"),
    0x8105: ("购入金额", "purchase"),
    0x8106: ("密钥版本号", "key version"),
    0x810A: ("地址", "address"),
    0xA017: ("阀门控制", "valve"),
    0xA018: ("写地址", "write address"),
}
_Field = tuple[int, str, str, str]
_FIELDS_OF: dict[tuple[int, int], tuple[_Field, ...]] = {
    (PRESENT, 19): (
        (5, "volume", "当前累积流量", "volume"),
        (5, "volume", "结算日累积流量", "volume on the settlement day"),
        (7, "clock", "实时时间", "clock"),
        (2, "status", "状态 ST", "status ST"),
    ),
    (PRESENT, 6): ((4, "short", "当前累积流量", "volume"), (2, "status", "状态 ST", "status ST")),
    (CLOCK, 7): ((7, "clock", "实时时间", "clock"),),
    (TIMED_FREEZE, 23): (
        (7, "clock", "冻结时间", "time of the freeze"),
        (5, "volume", "累积流量", "volume"),
        (5, "flow", "瞬时流量", "flow"),
        (3, "hundredths", "温度", "temperature"),
        (3, "hundredths", "压力", "pressure"),
    ),
}


def explain(frame: bytes) -> list[ExplainedField]:
    """Every byte of one frame or several, in order, even if torn or with a wrong checksum. Never raises.

    Data are shown in the layout of the standard, which a meter's profile may change.
    """
    return layout(_explained(frame))


def _explained(frame: bytes) -> Iterator[UnplacedField]:
    while frame:
        wake = frame[: len(frame) - len(frame.lstrip(WAKE))]
        yield wake, "唤醒", "wakes the line", f"{len(wake)} × FE", ""
        frame = frame[len(wake) :]
        if len(frame) >= HEADER and frame[0] == START and size_of(frame[:HEADER]):
            size = OVERHEAD + frame[10]
            yield from _explained_frame(frame[:size])
            frame = frame[size:]
        elif frame:
            following = frame.find(START, 1)
            size = following if following > 0 else len(frame)
            yield frame[:size], "不属于报文", "not part of a frame", "", ""
            frame = frame[size:]


def _explained_frame(frame: bytes) -> Iterator[UnplacedField]:
    control, length = frame[9], frame[10]
    yield frame[:1], "起始符", "start", "", ""
    meter, function = _METERS[frame[1] >> 4], _FUNCTIONS.get(control & FUNCTION, ("未知", "unknown"))
    yield frame[1:2], "表类型 T", "meter type T", f"{frame[1]:02X} {meter[0]} / {meter[1]}", ""
    yield frame[2:9], "地址 A", "address A", frame[8:1:-1].hex().upper(), ""
    way = ("应答", "answer") if control & ANSWER else ("请求", "request")
    if control & ANSWER and control & ERROR:
        way = ("异常应答", "error answer")
    if control == ODD_ANSWER:
        function = ("非标准", "not of the standard")
    yield frame[9:10], "控制码 C", "control C", f"{control:02X} {way[0]}，{function[0]} / {way[1]}, {function[1]}", ""
    there = max(0, len(frame) - OVERHEAD)
    short = "" if there >= length else f"，实有 {there} / but only {there} are there"
    yield frame[10:11], "数据长度 L", "length L", f"{length}{short}", "byte"
    data = frame[HEADER : HEADER + length]
    if control & ANSWER and control & ERROR and control != ODD_ANSWER and length < 4:
        yield data, "异常应答数据", "data of the error", "", ""
    else:
        yield from _explained_data(data, bool(control & ANSWER), bool(control & ERROR) and control != ODD_ANSWER)
    end = frame[HEADER + length :]
    if len(end) == 2:
        yield end[:1], "校验码 CS", "checksum CS", _verdict(frame, data), ""
        yield end[1:], "结束符", "end", "" if end[1] == END else f"{end[1]:02X} 应为 16 / expected 16", ""
    else:
        yield end, "残缺", "torn", "", ""


def _verdict(frame: bytes, data: bytes) -> str:
    received, expected = frame[-2], sum_of(frame[:-2])
    if received != expected and received == sum_of(data):
        return f"{received:02X} 仅为数据域之和，应为 {expected:02X} / sum of the data only, expected {expected:02X}"
    return checksum_text(f"{received:02X}", f"{expected:02X}")


def _explained_data(data: bytes, answer: bool, error: bool) -> Iterator[UnplacedField]:
    identifier = identifier_of(data[:2])
    zh, en = _DATA.get(identifier, ("数据", "data"))
    if identifier in FREEZES:
        last = (identifier & 0xFF) + 1
        kind = ("定时", "timed") if identifier < 0xD400 else ("瞬时", "instant")
        zh, en = f"上 {last} 次{kind[0]}冻结", f"{kind[1]} freeze, the {last}. last"
    order = "" if identifier == int.from_bytes(data[:2], "big") else "，低字节在前 / low byte first"
    yield data[:2], "数据标识 DI", "data identifier DI", f"{identifier:04X} {zh} / {en}{order}", ""
    yield data[2:3], "序号 SER", "request number SER", "", ""
    rest = data[3:]
    if error:
        yield rest, "错误码", "error code", "", ""
        return
    key = TIMED_FREEZE if identifier in FREEZES else identifier
    for size, kind_of, field_zh, field_en in _FIELDS_OF.get((key, len(rest)), ()) if answer else ():
        yield rest[:size], field_zh, field_en, *_shown(rest[:size], kind_of)
        rest = rest[size:]
    yield rest, "数据内容", "data", "", ""


def _shown(raw: bytes, kind: str) -> tuple[str, str]:
    """Value and unit of a field as people read them: exactly the digits as sent."""
    hexadecimal = raw.hex().upper()
    match kind:
        case "clock":
            moment = pl.DataFrame({"hex": [raw.hex()], "high_clock": [False]}).select(clock(0)).item()
            return (f"{hexadecimal} 无时间 / no time", "") if moment is None else (moment.astimezone(BEIJING).isoformat(), "")
        case "status":
            low = f"电池{'欠压' if raw[0] & 4 else '正常'} / battery {'low' if raw[0] & 4 else 'good'}"
            valve = ("开 / open", "关 / closed", "？ / ?", "异常 / faulty")[raw[0] & 3]
            return f"ST0 {raw[0]:02X} 阀门{valve}, {low}; ST1 {raw[1]:02X}", ""
        case "hundredths":
            return _decimal(raw, 2), ""
        case "short":
            return _decimal(raw, 2), "m³"
    names = VOLUMES | FLOWS
    unit = names[raw[4]][1] if raw[4] in names else f"{raw[4]:02X}?"
    return _decimal(raw[:4], 4 if kind == "flow" else 0 if raw[4] in LITRES else 2), unit


def _decimal(raw: bytes, decimals: int) -> str:
    if not raw.strip(b"\xff"):
        return "无数据 / no data"
    digits = raw[::-1].hex()
    return f"{Decimal(digits).scaleb(-decimals):f}" if digits.isdecimal() else f"{raw.hex().upper()} 不是 BCD / not BCD"
