"""The elements: ids, letters, names and units, the bits of their words, their size, and the field of a reading that each feeds.

A new element of a meter is a row here. Nothing here reads, decodes or writes a body.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

TIME, STATION, TEXT, PICTURE = 0xF0F0, 0xF1F1, 0xF2F2, 0xF3F3
STEP = 0x04
FORWARD, REVERSE, NET, ALARM, FLOW, SECONDS, SIGNAL = 0xFFA1, 0xFFA2, 0xFFA3, 0xFFA4, 0xFFA5, 0xFFA6, 0xFFA7
FLOW_M3S, VOLTAGE, STATUS, PRESSURE = 0x27, 0x38, 0x45, 0x58

ALARM_BITS = (
    *("P_HI", "P_LO", "P_JUMP", "P_JUMP", "Q_HI", "Q_LO", "Q_REV"),
    *("MAG", "BATT", "EMPTY", "SENSOR", "DOOR", "MAINS", "CLOCK"),
)
"""Codes of the alarm word's bits, bit 0 first; 2 (jump) and 3 (drop) are one code."""

STATUS_BITS = (
    ("市电中断", "mains lost"),
    ("电池电压低", "battery low"),
    ("水位越限", "level limit"),
    ("流量越限", "flow limit"),
    ("水质越限", "quality limit"),
    ("流量仪表故障", "flow meter fault"),
    ("水位仪表故障", "level meter fault"),
    ("箱门关闭", "door closed"),
    ("存储器异常", "storage fault"),
    ("IC 卡有效", "IC card"),
    ("水泵停止", "pump stopped"),
    ("剩余水量低", "remaining water low"),
)
"""Bits of element 45H, bit 0 first; the door's bit alone is set when all is well."""


class Source(NamedTuple):
    """The field of a reading that an element feeds; wire units × factor ÷ 10**shift are its unit."""

    field: str
    factor: int = 1
    shift: int = 0


SOURCES = {
    FLOW_M3S: Source("flow_m3h", factor=3600),
    FORWARD: Source("forward_m3"),
    REVERSE: Source("reverse_m3"),
    FLOW: Source("flow_m3h"),
    PRESSURE: Source("pressure_mpa", shift=3),
    VOLTAGE: Source("battery_v"),
    SIGNAL: Source("signal"),
    STATUS: Source("status"),
}
"""Elements that make readings, lowest rank first: where a group has both flows, the finer FFA5 wins."""
WORDS = frozenset((STATUS, ALARM))
"""Elements whose value is a word of bits, not BCD."""


class Asked(NamedTuple):
    """The element by which a field is queried: id and definition byte."""

    id: int
    definition: int


ASKED = {
    "forward_m3": Asked(FORWARD, 0x2B),
    "reverse_m3": Asked(REVERSE, 0x2B),
    "flow_m3h": Asked(FLOW, 0x23),
    "pressure_mpa": Asked(PRESSURE, 0x1A),
    "battery_v": Asked(VOLTAGE, 0x12),
    "signal": Asked(SIGNAL, 0x08),
    "status": Asked(STATUS, 0x20),
}


NO_ELEMENT = -1


class Meaning(NamedTuple):
    """The meaning of a station's elements: the usual one, or another fleet's.

    `sources` lowest rank first; `alarm`: the alarm word, `bits` its codes ("" for none), bit 0 first; `words`: elements that are
    not BCD but a binary number; `seconds`: the element that moves an observation off the minute, `NO_ELEMENT` for none.
    """

    sources: Mapping[int, Source]
    alarm: int
    bits: tuple[str, ...]
    words: frozenset[int]
    seconds: int
    asked: Mapping[str, Asked]


MEANING = Meaning(SOURCES, ALARM, ALARM_BITS, WORDS, SECONDS, ASKED)
FIXED_SIZE = {0xF4: 12} | dict.fromkeys(range(0xF5, 0xFD), 24)
"""Elements whose length does not follow from the definition byte (seen as 60, C0 and 5C)."""


_FORMS: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((0x02, 0x03, *range(0x10, 0x19), 0x47, 0x4A), (0x11,)),
    0x0E: (0x1A,),
    **dict.fromkeys((*range(0x1A, 0x27),), (0x19,)),
    **dict.fromkeys(range(FLOW_M3S, 0x30), (0x23, 0x2B)),
    **dict.fromkeys((0x36, 0x37), (0x1B,)),
    VOLTAGE: (0x12,),
    **dict.fromkeys(range(0x39, 0x44), (0x1A, 0x1B, 0x23)),
    STATUS: (0x20,),
    **dict.fromkeys(range(PRESSURE, 0x60), (0x1A, 0x22)),
    **dict.fromkeys(range(0x60, 0x68), (0x33,)),
    **dict.fromkeys(range(0x68, 0x70), (0x2A,)),
    **dict.fromkeys((FORWARD, REVERSE, NET), (0x2B,)),
    ALARM: (0x20,),
    FLOW: (0x23,),
    SECONDS: (0x12,),
    SIGNAL: (0x08,),
}
"""Definition bytes of elements, from the standard's table C.1, from real frames, and of our own."""
_DIGITS = frozenset(high << 4 | low for high in range(10) for low in range(10))


def is_in_form(identifier: int, definition: int, value: bytes) -> bool:
    """Whether these bytes are an element in its usual form with a possible value."""
    if definition not in _FORMS.get(identifier, ()):
        return False
    return identifier in WORDS or value.count(0xFF) == len(value) or _DIGITS.issuperset(value[value[0] == 0xFF :])


def size_of(identifier: int, definition: int) -> int:
    """Bytes of the element's value."""
    return FIXED_SIZE.get(identifier, definition >> 3)


def head_of(identifier: int, definition: int) -> bytes:
    """Id and definition byte as sent."""
    return identifier.to_bytes(2 if identifier > 0xFF else 1, "big") + bytes((definition,))


def codes_of(word: int, bits: tuple[str, ...] = ALARM_BITS) -> list[str]:
    """The alarm codes of the bits set in an alarm word, each once, in the order of the bits."""
    return list(dict.fromkeys(code for bit, code in enumerate(bits) if code and word >> bit & 1))


_TABLE = """
AC AI C DR DT ED EJ FL GH GN GS GT GTP H HW M10 M20 M30 M40 M50 M60 M80 M100 MST NS P1 P2 P3 P6 P12 PD PJ PN01 PN05 PN10 PN30 PR
PT Q Q1 Q2 Q3 Q4 Q5 Q6 Q7 Q8 QA QZ SW UC UE US VA VJ VT Z ZB ZU Z1 Z2 Z3 Z4 Z5 Z6 Z7 Z8 SQ ZT PH DO COND TURB CODMN REDOX NH4N TP
TN TOC CU ZN SE AS THG CD PB CHLA WP1 WP2 WP3 WP4 WP5 WP6 WP7 WP8 SYL1 SYL2 SYL3 SYL4 SYL5 SYL6 SYL7 SYL8 SBL1 SBL2 SBL3 SBL4
SBL5 SBL6 SBL7 SBL8 VTA VTB VTC VIA VIB VIC
"""
_HOURLY = "DRP DRZ1 DRZ2 DRZ3 DRZ4 DRZ5 DRZ6 DRZ7 DRZ8"
LETTERS = {
    code: element for first, codes in ((0x01, _TABLE), (0xF4, _HOURLY)) for element, code in enumerate(codes.split(), first)
}
"""Letter codes of the ASCII form (the standard's table C.1), upper case, and their elements."""
_CODES = {element: code for code, element in LETTERS.items()}


def element_of(code: str) -> int | None:
    """The element of a letter code of the ASCII form; of a private one its four hex digits (our convention). None: unknown."""
    code = code.upper()
    if len(code) == 4 and code.startswith("FF") and set(code) <= set("0123456789ABCDEF"):
        return int(code, 16)
    return LETTERS.get(code)


def code_of(element: int) -> str:
    """The code of an element for `element_of`."""
    return _CODES.get(element, f"{element:04X}")


class Name(NamedTuple):
    """An element's name in two languages, and its unit on the wire."""

    zh: str
    en: str
    unit: str


def _numbered(first: int, zh: str, en: str, unit: str, numbers: Iterable[int] = range(1, 9)) -> dict[int, Name]:
    """Numbered elements of one kind from id `first` on: intakes, gauges, depths."""
    return {element: Name(zh.format(number), en.format(number), unit) for element, number in enumerate(numbers, first)}


_NAMES: dict[int, Name] = {
    0x02: Name("瞬时气温", "air temperature", "°C"),
    0x03: Name("瞬时水温", "water temperature", "°C"),
    STEP: Name("时间步长码", "time step", "ddhhmm"),
    0x06: Name("日蒸发量", "evaporation of the day", "mm"),
    0x07: Name("当前蒸发", "present evaporation", "mm"),
    0x08: Name("气压", "air pressure", "hPa"),
    0x0E: Name("地下水埋深", "groundwater depth", "m"),
    **_numbered(0x10, "{} cm 土壤含水量", "soil moisture at {} cm", "%", (10, 20, 30, 40, 50, 60, 80, 100)),
    0x18: Name("湿度", "humidity", "%"),
    0x1A: Name("1 小时降水量", "rain of 1 h", "mm"),
    0x1F: Name("日降水量", "rain of the day", "mm"),
    0x20: Name("当前降水量", "present rain", "mm"),
    0x22: Name("5 分钟降水量", "rain of 5 min", "mm"),
    0x26: Name("降水量累计值", "rain total", "mm"),
    FLOW_M3S: Name("瞬时流量", "flow", "m³/s"),
    **_numbered(0x28, "取水口 {} 流量", "flow of intake {}", "m³/s"),
    0x36: Name("断面平均流速", "mean velocity", "m/s"),
    0x37: Name("当前瞬时流速", "velocity", "m/s"),
    VOLTAGE: Name("电源电压", "supply voltage", "V"),
    0x39: Name("瞬时水位", "water level", "m"),
    0x3A: Name("库下水位", "level below the dam", "m"),
    0x3B: Name("库上水位", "level above the dam", "m"),
    **_numbered(0x3C, "取水口 {} 水位", "level of intake {}", "m"),
    STATUS: Name("遥测站状态及报警", "status and alarms", ""),
    0x46: Name("pH 值", "pH", ""),
    0x47: Name("溶解氧", "dissolved oxygen", "mg/L"),
    0x48: Name("电导率", "conductivity", "µS/cm"),
    0x49: Name("浊度", "turbidity", ""),
    0x4A: Name("高锰酸盐指数", "permanganate index", "mg/L"),
    **_numbered(0x58, "水压 {}", "pressure {}", "kPa"),
    **_numbered(0x60, "水表 {} 剩余水量", "remaining volume of meter {}", "m³"),
    **_numbered(0x68, "水表 {} 每小时水量", "volume of the hour of meter {}", "m³"),
    0xF4: Name("1 小时内每 5 分钟降水量", "rain of every 5 min of an hour", "mm"),
    **_numbered(0xF5, "1 小时内每 5 分钟水位 {}", "level {} of every 5 min of an hour", "m"),
    FORWARD: Name("正向累计流量", "forward total", "m³"),
    REVERSE: Name("反向累计流量", "reverse total", "m³"),
    NET: Name("净累计流量", "net total", "m³"),
    ALARM: Name("水表报警字", "meter alarm word", ""),
    FLOW: Name("瞬时流量", "flow", "m³/h"),
    SECONDS: Name("观测时间的秒", "seconds of the observation", "s"),
    SIGNAL: Name("信号强度", "signal", ""),
}
_PRIVATE = Name("自定义要素", "private element", "")


def named(identifier: int) -> Name:
    """The element's names; one that is not in the standard is named private."""
    return _NAMES.get(identifier, _PRIVATE)
