"""Explains a frame to people, every byte in order, in Chinese and English. Slow and forgiving; `decode` does not use it."""

import contextlib
import re
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from ingest_daemon.codec_kit.api import ExplainedField
from ingest_daemon.codec_kit.checksums import crc16_high_first
from ingest_daemon.codec_kit.explained import Explainer, checksum_text
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
    element_of,
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
    EVENTS,
    HEADER,
    HISTORY,
    LETTERS_HEAD,
    LETTERS_HEADER,
    NAK,
    OVERHEAD,
    SERIES_FUNCTIONS,
    SOH,
    START,
    STATE,
    STX,
    SYN,
    VERSION,
    is_reply,
    length_of,
    packet_of,
)
from ingest_daemon.codecs.sl651.iter_elements import (
    UNREADABLE,
    Element,
    TruncatedBody,
    element_at,
    is_private_series,
    iter_elements,
)
from ingest_daemon.codecs.sl651.packets import joined, messages, pieces
from ingest_daemon.codecs.sl651.timestamps import read_times
from ingest_daemon.contract.alarm_codes import ALARMS
from ingest_daemon.contract.schema import BEIJING

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


def explain(frame: bytes) -> list[ExplainedField]:
    """Every byte of the frame or message explained, in order, even if it is torn or its checksum is wrong. Never raises.

    An element that crosses from one packet of a message to the next is explained in the first; its rest is marked as continued.
    """
    parts: list[ExplainedField] = []
    for message in messages(frame):
        start = sum(len(part.raw) for part in parts)
        parts += [part._replace(offset=start + part.offset) for part in _explain_message(message, alone=start == 0)]
    return parts


def _explain_message(message: bytes, *, alone: bool) -> list[ExplainedField]:
    """One frame, or the packets of one message; `alone`: nothing stands before it."""
    book = Explainer(message)
    frames = pieces(message)
    for frame in frames:
        if frame[:1] == SOH and LETTERS_HEAD.match(frame):
            _explain_letters(book, frame)
        elif len(frame) >= HEADER and frame.startswith(START) and frame[HEADER - 1] in (STX, SYN):
            _explain_hex(book, frame, alone=len(frames) == 1)
        elif alone:
            detail = "应为 7E7E 或 01 起始的完整报头 / expected a whole header that begins with 7E7E, or 01 of the ASCII form"
            book.take(len(message), "不是 SL 651 报文", "no frame of SL 651", detail)
        else:
            book.take(len(message), "报文之后的字节", "bytes after the frame")
    if len(frames) > 1 and not _is_torn(message):
        _spread(book.parts, _explain_joined(message))
    return book.parts


_PIECE = ("数据包正文", "content of a packet")


def _is_torn(message: bytes) -> bool:
    try:
        joined(message)
    except ValueError:
        return True
    return False


def _explain_joined(message: bytes) -> list[ExplainedField]:
    """The parts of a whole message's body, as of one packet."""
    frame = joined(message)
    book = Explainer(frame)
    book.offset = HEADER
    if message[:1] == SOH:
        _explain_text(book, len(frame) - 3)
    else:
        _explain_body(book, len(frame) - 3)
        book.take(len(frame) - 3, "正文", "content")
    return book.parts


def _spread(parts: list[ExplainedField], body: list[ExplainedField]) -> None:
    """Replace the packets' unexplained contents by the parts of the whole body."""
    rest = list(reversed(body))
    spread: list[ExplainedField] = []
    for part in parts:
        offset = part.offset
        while (part.zh, part.en) == _PIECE and offset < part.offset + len(part.raw):
            whole = rest.pop()
            room = part.offset + len(part.raw) - offset
            spread.append(whole._replace(offset=offset, raw=whole.raw[:room]))
            if whole.raw[room:]:
                left = whole.raw[room:]
                rest.append(ExplainedField(0, left, f"{whole.zh}（续）", f"{whole.en}, continued", left.hex().upper(), ""))
            offset += min(room, len(whole.raw))
        if (part.zh, part.en) != _PIECE:
            spread.append(part)
    parts[:] = spread


def _explain_hex(book: Explainer, piece: bytes, *, alone: bool) -> None:
    """Explain a frame of the HEX form; the body of one of several packets stays one part."""
    first = book.offset
    down = is_reply(piece)
    book.take(first + 2, "帧起始符", "start symbol")
    if down:
        book.take(first + 7, "遥测站地址", "station address")
        book.take(first + 8, "中心站地址", "centre address", str(piece[7]))
    else:
        book.take(first + 3, "中心站地址", "centre address", str(piece[2]))
        book.take(first + 8, "遥测站地址", "station address")
    book.take(first + 10, "密码", "password")
    book.take(first + 11, "功能码", "function", _function_text(piece[10]))
    there = len(piece) - OVERHEAD
    short = "" if there >= length_of(piece) else f"，实有 {max(there, 0)} / but only {max(there, 0)} are there"
    book.take(
        first + 13,
        "方向与长度",
        "direction and length",
        f"{'下行 / down' if down else '上行 / up'}, {length_of(piece)}{short}",
        "byte",
    )
    book.take(first + 14, *_SYMBOLS[piece[13]])
    end = first + min(HEADER + length_of(piece), len(piece))
    if alone:
        _explain_body(book, end)
        book.take(end, "正文", "content")
    else:
        _explain_numbers(book, end)
        book.take(end, *_PIECE)
    if book.offset < first + len(piece):
        book.take(end + 1, *_SYMBOLS.get(book.frame[end], ("不是结束符", "no end symbol")))
    expected = crc16_high_first(book.frame[first : book.offset]).hex().upper()
    received = book.frame[book.offset : book.offset + 2].hex().upper()
    book.take(book.offset + 2, "校验码", "CRC", checksum_text(received, expected))


def _explain_letters(book: Explainer, piece: bytes) -> None:
    """Explain a frame of the ASCII form, its header in hex digits and its body in words."""
    first, down = book.offset, is_reply(piece)
    book.take(first + 1, "帧起始符（ASCII）", "start symbol of the ASCII form")
    for size, zh, en in _LETTERS_DOWN if down else _LETTERS_UP:
        raw = piece[book.offset - first : book.offset - first + size].decode()
        book.take(book.offset + size, zh, en, str(int(raw, 16)) if en == "centre address" else raw)
    code = piece[17:19].decode()
    book.take(first + 19, "功能码", "function", _function_text(int(code, 16)))
    length = int(piece[20:23], 16)
    book.take(first + 23, "方向与长度", "direction and length", f"{'下行 / down' if down else '上行 / up'}, {length}", "byte")
    book.take(first + 24, *_SYMBOLS[piece[23]])
    end = first + min(LETTERS_HEADER + length, len(piece))
    if piece[23] == SYN:
        raw_numbers = piece[24:30].decode("latin-1")
        book.take(min(first + 30, end), "包总数与序号", "packets and number", f"{raw_numbers[3:]} / {raw_numbers[:3]}")
        book.take(end, *_PIECE)
    else:
        _explain_text(book, end)
    book.take(
        min(end + 1, first + len(piece)),
        *_SYMBOLS.get(book.frame[end] if end < len(book.frame) else 0, ("不是结束符", "no end symbol")),
    )
    expected = crc16_high_first(book.frame[first : book.offset]).hex().upper()
    received = book.frame[book.offset : first + len(piece)]
    text = received.decode("ascii", "replace").upper()
    book.take(min(book.offset + 4, first + len(piece)), "校验码", "CRC", checksum_text(text, expected))


_STATION = (10, "遥测站地址", "station address")
_CENTRE = (2, "中心站地址", "centre address")
_WORD = (4, "密码", "password")
_LETTERS_UP = (_CENTRE, _STATION, _WORD)
_LETTERS_DOWN = (_STATION, _CENTRE, _WORD)


def _explain_text(book: Explainer, end: int) -> None:
    """Explain the body of the ASCII form: sequence, send time, then one part a word."""
    text = book.frame[book.offset : min(book.offset + 16, end)]
    if re.fullmatch(rb"[0-9A-Fa-f]{4}\d{12}", text):
        book.take(book.offset + 4, "流水号", "sequence number", str(int(text[:4], 16)))
        book.take(book.offset + 12, "发报时间", "send time", _clock_text(bytes.fromhex(text[4:].decode())))
    after = ""
    while book.offset < end:
        space = book.frame.find(b" ", book.offset, end)
        upto = end if space < 0 else space + 1
        word = book.frame[book.offset : upto].decode("ascii", "replace").strip()
        element = element_of(word)
        if after or element is None:
            names = _WORDS.get(word, ("数据", "value")) if not after else ("数据", "value")
            value = _clock_text(bytes.fromhex(word)) if after == "TT" and re.fullmatch(r"\d{10}", word) else word or "␣"
            book.take(upto, *names, value)
            after = word if not after and word in ("TT", "ST") else ""
        else:
            zh, en, unit = named(element)
            book.take(upto, f"{word} {zh}", f"{word} {en}", word, unit)


_WORDS = {
    "TT": ("TT 观测时间引导符", "TT observation time follows"),
    "ST": ("ST 测站编码引导符", "ST station follows"),
    "M": ("缺测", "missing"),
}


def _function_text(function: int) -> str:
    zh, en = _FUNCTIONS.get(function, ("厂家自定义", "private or unknown"))
    return f"{function:02X}H {zh} / {en}"


def _explain_numbers(book: Explainer, end: int) -> int:
    """Explain the packet numbers of M3, if any. Returns the number of the packet."""
    frame, first = book.frame, book.offset - HEADER
    if frame[book.offset - 1] != SYN:
        return 1
    total, number = packet_of(frame[first : first + HEADER + 3])
    book.take(min(book.offset + 3, end), "包总数与序号", "packets and number", f"{number} / {total}")
    return number


def _explain_body(book: Explainer, end: int) -> None:
    """Explain the body as far as its layout is known; the rest is left to the caller."""
    frame, function = book.frame, book.frame[10]
    if _explain_numbers(book, end) != 1 or end - book.offset < 8:
        return
    start = book.offset
    book.take(start + 2, "流水号", "sequence number", str(int.from_bytes(frame[start : start + 2], "big")))
    book.take(start + 8, "发报时间", "send time", _clock_text(frame[start + 2 : start + 8]))
    if is_reply(frame):
        if function == HISTORY:
            for zh, en in (("起始时间", "start"), ("结束时间", "end")):
                book.take(min(book.offset + 4, end), zh, en, frame[book.offset : min(book.offset + 4, end)].hex())
        return
    if function not in ELEMENT_FUNCTIONS and frame[book.offset : book.offset + 2] == b"\xf1\xf1":
        book.take(
            min(book.offset + 7, end), "遥测站地址", "station address", frame[book.offset + 2 : book.offset + 7].hex().upper()
        )
        _explain_answer(book, function, end)
        return
    try:
        for element in iter_elements(frame, book.offset, end):
            _explain_element(book, element)
            if element.id == STEP and function in SERIES_FUNCTIONS:
                _explain_series(book, end)
                return
    except TruncatedBody as torn:
        book.take(end, "残缺", "torn", str(torn))


_ERC = (
    ("历史数据初始化", "storage erased"),
    ("参数变更", "parameters changed"),
    ("状态量变位", "status changed"),
    ("传感器及仪表故障", "sensor or meter fault"),
    ("密码修改", "password changed"),
    ("终端故障", "terminal fault"),
    ("交流失电", "mains lost"),
    ("蓄电池电压低", "battery low"),
    ("终端箱非法打开", "box opened"),
    ("水泵故障", "pump fault"),
    ("剩余水量超限", "remaining water low"),
    ("水位超限", "level limit"),
    ("水压超限", "pressure limit"),
    ("水质参数超限", "quality limit"),
    ("数据出错", "data errors"),
    ("发报文", "messages sent"),
    ("收报文", "messages received"),
    ("发报文出错", "messages that failed"),
)
"""The event records from ERC1 on (the standard's table 82): a count of 2 bytes each."""


def _explain_answer(book: Explainer, function: int, end: int) -> None:
    """Explain the bytes behind the station's address in an answer to 45H, 46H and 50H."""
    frame = book.frame
    if function == EVENTS:
        for number, (zh, en) in enumerate(_ERC, 1):
            if book.offset + 2 <= end:
                count = int.from_bytes(frame[book.offset : book.offset + 2], "big")
                book.take(book.offset + 2, f"ERC{number} {zh}次数", f"ERC{number} {en}: times", str(count))
        book.take(end, "备用事件", "spare events")
    elif function == VERSION and book.offset < end:
        book.take(book.offset + 1, "版本信息字节数", "bytes of the version", str(frame[book.offset]))
        book.take(end, "软件版本", "software version", frame[book.offset : end].decode("gb18030", "replace"))
    elif function == STATE:
        with contextlib.suppress(TruncatedBody):
            for element in iter_elements(frame, book.offset, end):
                _explain_element(book, element)


def _explain_element(book: Explainer, element: Element) -> None:
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
    elif element.id == UNREADABLE:
        book.take(element.end, "不可识别", "no element", f"{len(value)}", "byte")
    elif is_private_series(element.id):
        name = f"{element.id:04X}"
        book.take(element.end, f"{name} 自定义序列", f"{name} private series", f"{len(value)}", "byte")
    else:
        zh, en, unit = named(element.id)
        name = f"{element.id:02X}"
        book.take(element.end, f"{name} {zh}", f"{name} {en}", _value_text(element.id, element.definition, value), unit)


def _explain_series(book: Explainer, end: int) -> None:
    element = element_at(book.frame, book.offset, end)
    zh, en, unit = named(element.id)
    name, size = f"{element.id:02X}", element.end - element.value
    book.take(element.value, f"{name} {zh}：要素标识", f"{name} {en}: element of the series", f"{size} × n")
    number = 0
    while size and book.offset + size <= end:
        number += 1
        text = _value_text(element.id, element.definition, book.frame[book.offset : book.offset + size])
        book.take(book.offset + size, f"{name} {zh} 第 {number} 个", f"{name} {en}, value {number}", text, unit)


def _clock_text(digits: bytes) -> str:
    """Beijing time of YYMMDDhhmm[ss] in ISO 8601, or the digits marked as no time."""
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
