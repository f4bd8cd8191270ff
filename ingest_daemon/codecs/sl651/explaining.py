"""Explaining a frame to people, every byte in order, in Chinese and English. Slow and forgiving; nothing is decoded with it."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from ingest_daemon.checksums import crc16_high_first
from ingest_daemon.codecs.sl651.elements import (
    ALARM,
    FIXED_SIZE,
    PICTURE,
    STATION,
    STATUS_BITS,
    STEP,
    TEXT,
    TIME,
    WORDS,
    codes_of,
    named,
)
from ingest_daemon.codecs.sl651.header import (
    ACK,
    ELEMENT_FUNCTIONS,
    ENQ,
    EOT,
    ESC,
    ETB,
    ETX,
    HEADER,
    NAK,
    OVERHEAD,
    SERIES_FUNCTIONS,
    START,
    STX,
    SYN,
    is_reply,
    length_of,
    packet_of,
)
from ingest_daemon.codecs.sl651.moments import read_times
from ingest_daemon.codecs.sl651.walking import Element, Torn, element_at, walk
from ingest_daemon.frames import Part
from ingest_daemon.schema import ALARMS, BEIJING

_FUNCTIONS = {
    0x2F: ("链路维持报", "keep-alive"),
    0x30: ("测试报", "test report"),
    0x31: ("均匀时段报", "uniform series"),
    0x32: ("定时报", "timed report"),
    0x33: ("加报", "event report"),
    0x34: ("小时报", "hourly report"),
    0x35: ("人工置数报", "manual text"),
    0x36: ("图片报", "picture"),
    0x37: ("查询实时数据", "query of present values"),
    0x38: ("查询时段数据", "query of stored values"),
    0x39: ("查询人工置数", "query of manual text"),
    0x3A: ("查询指定要素", "query of chosen elements"),
    0x40: ("修改基本配置", "write basic configuration"),
    0x41: ("读取基本配置", "read basic configuration"),
    0x42: ("修改运行参数", "write running parameters"),
    0x43: ("读取运行参数", "read running parameters"),
    0x45: ("查询软件版本", "software version"),
    0x46: ("查询状态和报警", "status and alarms"),
    0x47: ("初始化固态存储", "erase storage"),
    0x48: ("恢复出厂设置", "factory reset"),
    0x49: ("修改密码", "change password"),
    0x4A: ("设置时钟", "set clock"),
    0x50: ("查询事件记录", "event records"),
    0x51: ("查询时钟", "read clock"),
}


_SYMBOLS = {
    STX: ("正文起始", "start of text (STX)"),
    SYN: ("多包正文起始", "start of a packet (SYN)"),
    ETX: ("正文结束", "end of text (ETX)"),
    ETB: ("正文结束，后续有报文", "end of block, more follows (ETB)"),
    ENQ: ("询问", "query (ENQ)"),
    EOT: ("传输结束，可退出", "end of transmission (EOT)"),
    ACK: ("肯定确认，继续发送", "acknowledged, go on (ACK)"),
    NAK: ("否定应答，重发", "not acknowledged, repeat (NAK)"),
    ESC: ("传输结束，保持在线", "acknowledged, stay on line (ESC)"),
}


def explain(frame: bytes) -> list[Part]:
    """Every byte of the frame explained, in order; also of a frame that is torn or whose checksum is wrong. Never raises."""
    book = _Explainer(frame)
    if len(frame) < HEADER or not frame.startswith(START) or frame[13] not in (STX, SYN):
        detail = "应为 7E7E 起始的完整报头 / expected a whole header that begins with 7E7E"
        book.take(len(frame), "不是 SL 651 报文", "no frame of SL 651", detail)
        return book.parts
    down = is_reply(frame)
    book.take(2, "帧起始符", "start symbol")
    if down:
        book.take(7, "遥测站地址", "station address")
        book.take(8, "中心站地址", "centre address", str(frame[7]))
    else:
        book.take(3, "中心站地址", "centre address", str(frame[2]))
        book.take(8, "遥测站地址", "station address")
    book.take(10, "密码", "password")
    zh, en = _FUNCTIONS.get(frame[10], ("厂家自定义", "private or unknown"))
    book.take(11, "功能码", "function", f"{frame[10]:02X}H {zh} / {en}")
    there = len(frame) - OVERHEAD
    short = "" if there >= length_of(frame) else f"，实有 {max(there, 0)} / but only {max(there, 0)} are there"
    book.take(
        13,
        "方向与长度",
        "direction and length",
        f"{'下行 / down' if down else '上行 / up'}, {length_of(frame)}{short}",
        "byte",
    )
    book.take(14, *_SYMBOLS[frame[13]])
    end = min(HEADER + length_of(frame), len(frame))
    _explain_body(book, end)
    book.take(end, "正文", "content")
    if book.at < len(frame):
        book.take(end + 1, *_SYMBOLS.get(frame[end], ("不是结束符", "no end symbol")))
    expected = crc16_high_first(frame[: book.at]).hex().upper()
    received = frame[book.at : book.at + 2].hex().upper()
    verdict = "正确 / good" if received == expected else f"错误，应为 {expected} / wrong, expected {expected}"
    book.take(book.at + 2, "校验码", "CRC", f"{received} {verdict}")
    book.take(len(frame), "报文之后的字节", "bytes after the frame")
    return book.parts


class _Explainer:
    """Takes a frame's bytes from the left into parts."""

    def __init__(self, frame: bytes) -> None:
        self.frame, self.at = frame, 0
        self.parts: list[Part] = []

    def take(self, upto: int, zh: str, en: str, value: str = "", unit: str = "") -> bytes:
        """The bytes up to that offset as one part, as far as there are any; without a value their hex is shown."""
        raw = self.frame[self.at : upto]
        if raw:
            self.parts.append(Part(self.at, raw, zh, en, value or raw.hex().upper(), unit))
            self.at += len(raw)
        return raw


def _explain_body(book: _Explainer, end: int) -> None:
    """Parts of the body as far as its layout is known; the rest is left to the caller."""
    frame = book.frame
    if frame[13] == SYN:
        total, number = packet_of(frame)
        book.take(min(17, end), "包总数与序号", "packets and number", f"{number} / {total}")
        if number != 1:
            return
    if end - book.at < 8:
        return
    start = book.at
    book.take(start + 2, "流水号", "sequence number", str(int.from_bytes(frame[start : start + 2], "big")))
    book.take(start + 8, "发报时间", "send time", _clock_text(frame[start + 2 : start + 8]))
    if is_reply(frame):
        return
    if frame[10] not in ELEMENT_FUNCTIONS and frame[book.at : book.at + 2] == b"\xf1\xf1":
        book.take(min(book.at + 7, end), "遥测站地址", "station address", frame[book.at + 2 : book.at + 7].hex().upper())
        return
    try:
        for element in walk(frame, book.at, end):
            _explain_element(book, element)
            if element.id == STEP and frame[10] in SERIES_FUNCTIONS:
                _explain_series(book, end)
                return
    except Torn as torn:
        book.take(end, "残缺", "torn", str(torn))


def _explain_element(book: _Explainer, element: Element) -> None:
    value = book.frame[element.value : element.end]
    if element.id == TIME:
        book.take(element.end, "观测时间", "observation time", _clock_text(value))
    elif element.id == STATION:
        text = f"{value[:5].hex().upper()}, {value[5]:02X}H"
        book.take(element.end, "测站编码与类别", "station number and type", text)
    elif element.id == TEXT:
        book.take(element.end, "人工置数", "manual text", value.decode("gb18030", "replace"))
    elif element.id == PICTURE:
        book.take(element.end, "图片数据", "picture data", str(len(value)), "byte")
    else:
        zh, en, unit = named(element.id)
        name = f"{element.id:02X}"
        book.take(element.end, f"{name} {zh}", f"{name} {en}", _value_text(element.id, element.definition, value), unit)


def _explain_series(book: _Explainer, end: int) -> None:
    element = element_at(book.frame, book.at, end)
    zh, en, unit = named(element.id)
    name, size = f"{element.id:02X}", element.end - element.value
    book.take(element.value, f"{name} {zh}：要素标识", f"{name} {en}: element of the series", f"{size} × n")
    number = 0
    while size and book.at + size <= end:
        number += 1
        text = _value_text(element.id, element.definition, book.frame[book.at : book.at + size])
        book.take(book.at + size, f"{name} {zh} 第 {number} 个", f"{name} {en}, value {number}", text, unit)


def _clock_text(digits: bytes) -> str:
    """Beijing time of YYMMDDhhmm[ss] in ISO 8601, or the digits and what was expected."""
    moment, sound = read_times(np.frombuffer(digits, np.uint8).reshape(1, -1))
    if not sound[0]:
        return f"{digits.hex().upper()} 无效 / no time"
    return datetime.fromtimestamp(int(moment[0]) // 1_000_000, UTC).astimezone(BEIJING).isoformat()


def _value_text(identifier: int, definition: int, raw: bytes) -> str:
    """An element's value as people read it: exactly the digits that were sent."""
    if raw and not raw.strip(b"\xff"):
        return "无数据 / no data"
    if identifier in WORDS:
        return _word_text(identifier, raw)
    if identifier == STEP:
        return raw.hex()
    if identifier == 0xF4:
        return " ".join(_tenths(byte, 0xFF, 1) for byte in raw)
    if identifier in FIXED_SIZE:
        return " ".join(_tenths(int.from_bytes(raw[i : i + 2], "big"), 0xFFFF, 2) for i in range(0, len(raw), 2))
    negative = raw[:1] == b"\xff"
    digits = raw[1 if negative else 0 :].hex()
    if not digits.isdecimal():
        return f"{raw.hex().upper()} 不是 BCD / not BCD"
    number = Decimal(digits).scaleb(-(definition & 7))
    return f"{-number if negative else number:f}"


def _tenths(value: int, missing: int, decimals: int) -> str:
    return "—" if value == missing else f"{Decimal(value).scaleb(-decimals):f}"


def _word_text(identifier: int, raw: bytes) -> str:
    word, names = int.from_bytes(raw, "big"), []
    if identifier == ALARM:
        names = [f"{code} {ALARMS[code].zh} / {ALARMS[code].en}" for code in codes_of(word)]
    else:
        names = [f"{zh} / {en}" for bit, (zh, en) in enumerate(STATUS_BITS) if word >> bit & 1]
    return f"{raw.hex().upper()}: " + ("; ".join(names) or "—")
