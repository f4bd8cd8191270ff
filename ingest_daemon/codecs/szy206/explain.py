"""Explains a frame to people, every byte in order, in Chinese and English. Slow and forgiving; `decode` does not use it.

A frame does not reveal its station's layout of values and Tp; the first layout of the shipped profiles that fits is shown.
"""

from decimal import Decimal

import numpy as np

from ingest_daemon.codec_kit.api import ExplainedField
from ingest_daemon.codec_kit.explained import Explainer, checksum_text
from ingest_daemon.codecs.szy206.header import (
    ALARM,
    ALARM_STATE,
    FLOW,
    HISTORY,
    IN_PACKETS,
    LINK,
    MANUAL,
    NOW,
    OVERHEAD,
    PRESSURE,
    REPORT,
    START,
    VOLTAGE,
    crc8,
)
from ingest_daemon.codecs.szy206.layout import RECORDS, SPAN, WORD
from ingest_daemon.codecs.szy206.profile import ALARM_BITS, STATE_BITS
from ingest_daemon.codecs.szy206.timestamps import read_tags

_FUNCTIONS = {
    LINK: ("链路检测", "link test"),
    ALARM: ("随机自报报警", "alarm report"),
    MANUAL: ("人工置数", "manual text"),
    0x83: ("图片自报", "picture"),
    VOLTAGE: ("自报电压", "voltage report"),
    NOW: ("查询实时值", "query of present values"),
    HISTORY: ("查询固态存储数据", "query of stored values"),
    0xB2: ("查询自报存储", "query of stored reports"),
    REPORT: ("自报实时数据", "self-report"),
}
_TYPES = (
    *(("确认", "acknowledgement"), ("雨量", "rain"), ("水位", "level"), ("流量(水量)", "flow and volume"), ("流速", "velocity")),
    *(("闸位", "gate"), ("功率", "power"), ("气象", "weather"), ("电量/风速", "energy or wind"), ("水温", "water temperature")),
    *(("水质", "quality"), ("土壤含水率", "soil"), ("蒸发量", "evaporation"), ("报警状态/电压", "alarm and state, voltage")),
    *(("统计雨量/综合", "statistics or combined"), ("水压", "pressure")),
)
_START = bytes((START,))
_LINKS = {0xF0: "登录 / login", 0xF1: "退出 / logout", 0xF2: "在线保持 / keep-alive"}
_FORMS = {
    FLOW: (("瞬时流量", "instant flow", 5, 3, ""), ("累计水量", "volume", 5, 0, "m³")),
    PRESSURE: (("水压", "pressure", 4, 2, "kPa"),),
    ALARM_STATE: (("电压", "voltage", 2, 2, "V"),),
    1: (("雨量", "rain", 3, 1, "mm"),),
    2: (("水位", "level", 4, 3, "m"),),
    4: (("流速", "velocity", 3, 3, "m/s"),),
    5: (("闸位", "gate", 3, 2, "m"),),
    6: (("功率", "power", 3, 0, "kW"),),
    8: (("电量", "energy", 4, 2, "kWh"),),
    9: (("水温", "water temperature", 2, 1, "°C"),),
    12: (("蒸发量", "evaporation", 3, 1, "mm"),),
}
"""Values of one meter by type: names, bytes, decimals, unit (SL/T 427-2021 tables 33 to 47)."""


def explain(frame: bytes) -> list[ExplainedField]:
    """Every byte of the frame explained, in order, even if it is torn or its checksum is wrong. Never raises.

    The frames of a message in several packets or of a round of answers follow each other.
    """
    parts: list[ExplainedField] = []
    start = 0
    while (following := _following(frame, start)) is not None:
        parts += [part._replace(offset=start + part.offset) for part in _explained(frame[start:following])]
        start = following
    return parts + [part._replace(offset=start + part.offset) for part in _explained(frame[start:])]


def _following(raw: bytes, start: int) -> int | None:
    """The offset of a frame right behind the one at `start`; None where there is none."""
    if raw[start : start + 1] != _START or raw[start + 2 : start + 3] != _START:
        return None
    following = start + OVERHEAD + raw[start + 1]
    return following if raw[following : following + 1] == _START == raw[following + 2 : following + 3] else None


def _explained(frame: bytes) -> list[ExplainedField]:
    """The parts of one frame."""
    book = Explainer(frame)
    if len(frame) < 12 or frame[0] != START or frame[2] != START:
        detail = "应为 68 L 68 起始的完整报头 / expected a whole header 68 L 68"
        book.take(len(frame), "不是 68 L 68 报文", "no frame of 68 L 68", detail)
        return book.parts
    length, control = frame[1], frame[3]
    there = len(frame) - 5
    book.take(1, "帧起始符", "start")
    short = "" if there >= length else f"，实有 {there} / but only {there} are there"
    book.take(2, "长度 L", "length L", f"{length}{short}", "byte")
    book.take(3, "帧起始符", "start")
    zh, en = _TYPES[control & 15]
    way = "上行 / up" if control & 0x80 else "下行 / down"
    book.take(4, "控制域 C", "control C", f"{control:02X}: {way}, FCB {control >> 4 & 3}, {control & 15:X} {zh} / {en}")
    end = min(3 + length, len(frame))
    if control & IN_PACKETS:
        book.take(min(5, end), "拆分计数 DIVS", "packet number, counting down to 1", str(frame[4]))
    book.take(min(book.offset + 5, end), "地址域 A", "address A")
    function = frame[book.offset] if book.offset < end else -1
    zh, en = _FUNCTIONS.get(function, ("厂家自定义或其他", "private or other"))
    book.take(
        min(book.offset + (2 if function == 0xFF else 1), end), "功能码 AFN", "function AFN", f"{function:02X}H {zh} / {en}"
    )
    if control & 0x80:
        _explain_data(book, function, control, end)
    elif function == HISTORY:
        _explain_span(book, end)
    elif function == LINK and book.offset < end:
        book.take(book.offset + 1, "链路检测", "link test", _LINKS.get(frame[book.offset], f"{frame[book.offset]:02X}"))
    elif function in (REPORT, ALARM, MANUAL, VOLTAGE):
        book.take(min(book.offset + 1, end), "工作模式", "working mode")
        if end - book.offset == 7:
            book.take(end, "时间标签 Tp", "time tag Tp", _tag_text(frame[book.offset : end]))
    book.take(end, "数据域 D", "data D")
    if book.offset < len(frame):
        expected, received = crc8(frame[3 : book.offset]), frame[book.offset]
        book.take(book.offset + 1, "校验码 CS", "CRC", checksum_text(f"{received:02X}", f"{expected:02X}"))
    book.take(book.offset + 1, "结束符", "end")
    book.take(len(frame), "报文之后的字节", "bytes after the frame")
    return book.parts


_Form = tuple[str, str, int, int, str]


def _explain_data(book: Explainer, function: int, control: int, end: int) -> None:
    """Data of a station's frame."""
    frame = book.frame
    if function == LINK and book.offset < end:
        book.take(book.offset + 1, "链路检测", "link test", _LINKS.get(frame[book.offset], f"{frame[book.offset]:02X}"))
        return
    if function == HISTORY:
        _explain_span(book, end)
        return
    if function not in (REPORT, ALARM, VOLTAGE, NOW) or control & IN_PACKETS:
        return
    kind = ALARM_STATE if function == VOLTAGE else control & 15
    fits = [
        (forms, tag, words)
        for tag in ((0,) if function == NOW else (5, 7, 6, 0))
        for forms in _layouts(kind)
        for words in ((4, 0) if function == VOLTAGE else (4,))
        if _fits(frame[book.offset : end], forms, tag, words)
    ]
    if not fits:
        return
    forms, tag, words = fits[0]
    if function == ALARM:
        book.take(book.offset + WORD, "报警字", "alarm word", _bits(frame[book.offset : book.offset + WORD], ALARM_BITS))
    limit = end - tag - (words if function != ALARM else WORD)
    number = 0
    while forms and book.offset < limit:
        number += 1
        for zh, en, size, decimals, unit in forms:
            raw = frame[book.offset : book.offset + size]
            text, seen = _number(raw, decimals, zh == "瞬时流量")
            book.take(book.offset + size, f"{zh} {number}", f"{en} {number}", text, unit or seen)
    book.take(limit, "数值", "values")
    if words and function != ALARM:
        book.take(limit + WORD, "报警字", "alarm word", _bits(frame[limit : limit + WORD], ALARM_BITS))
    if words:
        book.take(end - tag, "状态字", "state word", _bits(frame[end - tag - WORD : end - tag], STATE_BITS))
    if tag:
        book.take(end, "时间标签 Tp", "time tag Tp", _tag_text(frame[end - tag : end]))


def _layouts(kind: int) -> tuple[tuple[_Form, ...], ...]:
    forms = _FORMS.get(kind, ())
    return (forms, forms[1:]) if kind == FLOW else (forms,)


def _fits(data: bytes, forms: tuple[_Form, ...], tag: int, words: int) -> bool:
    """Whether the values fill the room beside words and Tp, and Tp is a time."""
    room, width = len(data) - tag - words, sum(form[2] for form in forms)
    if room < 0 or (width and room % width):
        return False
    return not tag or bool(_tag(data[len(data) - tag :])[1])


def _tag(raw: bytes) -> tuple[int, bool]:
    far = np.array([4_000_000_000_000_000], np.int64)
    ts, sound = read_tags(np.frombuffer(raw, np.uint8).reshape(1, -1), far)
    return int(ts[0]), bool(sound[0])


def _tag_text(raw: bytes) -> str:
    if not _tag(raw)[1]:
        return f"{raw.hex().upper()} 无效 / no time"
    pairs = [f"{byte:02X}" for byte in raw]
    date = f"20{pairs[5]}-{pairs[4]}-{pairs[3]}" if len(raw) > 5 else f"{pairs[3]} 日 / day {pairs[3]}"
    delay = f", 允许延时 / delay allowed {raw[-1]} min" if len(raw) % 2 else ""
    return f"{date} {pairs[2]}:{pairs[1]}:{pairs[0]}{delay}"


def _explain_span(book: Explainer, end: int) -> None:
    if end - book.offset < SPAN:
        return
    frame, code = book.frame, book.frame[book.offset] >> 4
    book.take(book.offset + 1, "数据类型与通道", "data code and channel", f"{code}, {frame[book.offset] & 15}")
    for zh, en in (("起始时间", "first hour"), ("结束时间", "last hour")):
        hh, dd, mm, yy = (f"{byte:02X}" for byte in frame[book.offset : book.offset + 4])
        book.take(book.offset + 4, zh, en, f"20{yy}-{mm}-{dd} {hh}h")
    record = RECORDS.get(code)
    number = 0
    while record and book.offset + record.size <= end:
        number += 1
        zh, en, size, decimals, unit = _FORMS[FLOW][1] if record.size == 5 else _FORMS[PRESSURE][0]
        text, _ = _number(frame[book.offset : book.offset + size], decimals, False)
        book.take(book.offset + size, f"{zh} 第 {number} 个", f"{en}, value {number}", text, unit)


def _number(raw: bytes, decimals: int, is_flow: bool) -> tuple[str, str]:
    """A value as people read it, and the unit stated in an instant flow."""
    if not raw.strip(b"\xaa") or not raw.strip(b"\xff"):
        return "无数据 / no data", ""
    unit = ("m³/s (SZY 206: m³/h)", "", "", "m³/h")[raw[-1] >> 4 & 3] if is_flow else ""
    negative = raw[-1] >> 4 == 0xF or (is_flow and raw[-1] >> 6 == 3)
    digits = raw[-2::-1].hex()
    top = f"{raw[-1] & 0x0F:X}" if is_flow or negative else f"{raw[-1]:02X}"
    if not (top + digits).isdecimal():
        return f"{raw.hex().upper()} 不是 BCD / not BCD", unit
    number = Decimal(top + digits).scaleb(-decimals)
    return f"{-number if negative else number:f}", unit


def _bits(raw: bytes, names: tuple[tuple[str, str], ...]) -> str:
    word = int.from_bytes(raw, "little")
    return f"{word:04X}: " + ("; ".join(f"{zh} / {en}" for bit, (zh, en) in enumerate(names) if word >> bit & 1) or "—")
