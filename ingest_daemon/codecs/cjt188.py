"""CJ/T 188-2004 and -2018, the municipal meter link: the master asks, the meter answers; here the master's side.

A frame (BCD and two-byte values low byte first; FE before it wakes the line):

    offset  bytes  what
    0       1      start 68
    1       1      T, meter: 10-19 water, 20-29 heat, 30-39 gas, 40-49 other, AA any
    2       7      A, address, BCD; often with the maker's code in the last two; seven AA: the only meter on the line
    9       1      C, control: bit 7 answer, bit 6 error, bit 5 more follows, bits 4-0 function (01 read, 03 address, 04 write)
    10      1      L, bytes of data
    11      2      DI, data identifier, in the wild in either order: 90 1F or 1F 90
    13      1      SER, request number, echoed
    14      L-3    data
    11 + L  1      CS, sum of all bytes before it
    12 + L  1      end 16

Data of a present reading (901F, 19 bytes): volume 4 with 2 decimals, unit 1, the same of the settlement day (not used here),
clock ss mm hh DD MM YYYY 7, status 2. Of a timed or instant freeze (2018: D3nn, D4nn, the n+1-th last one, 23 bytes): clock 7,
volume 4 and unit 1, flow 4 with 4 decimals and unit 1, temperature 3, pressure 3. Of a clock (907F): clock 7.

What meters differ in is their profile (`profile`). A present reading is of the moment it came in, as the meters' clocks are
often not set; a freeze is of its own time. Sources: the standard as shiyuecamus/ng-gateway (Apache-2.0) has it, and real frames
(`tests/codecs/cjt188.yaml`). Not here: valves, prices, purchases, keys and addresses, which are never written, nor the clock;
heat and gas meters; registers of past months (D12n, D2nn), which come without a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from ingest_daemon.cutting import Cutter, Fault, Rules
from ingest_daemon.frames import Arrival, Ask, AskKind, CannotAsk, Decoded, Decoder, Frame, Part
from ingest_daemon.schema import ALARMS, BEIJING, FIELDS, TIMESTAMP, Reason

POLLED = True

START, END, WAKE = 0x68, 0x16, b"\xfe"
HEADER, OVERHEAD = 11, 13
MOST_WAKE = 16
MAX_FRAME = MOST_WAKE + OVERHEAD + 255

PRESENT, CLOCK = 0x901F, 0x907F
FREEZES = range(0xD300, 0xD500)
TIMED_FREEZE = 0xD300
READ, ANSWER, ERROR, FUNCTION = 0x01, 0x80, 0x40, 0x1F
ODD_ANSWER = 0xAA
"""Control of the answer to a write, as some meters send it instead of 84."""

_TYPES = frozenset((*range(0x10, 0x1A), *range(0x20, 0x2A), *range(0x30, 0x3A), *range(0x40, 0x4A), 0xAA))
_MONTHS = frozenset((*range(0xD120, 0xD12C), *range(0xD200, 0xD300)))
_KNOWN = frozenset((PRESENT, CLOCK, *_MONTHS, *FREEZES, *range(0x8102, 0x810B), *range(0xA010, 0xA01A)))

M3, LITRE = 0x2C, 0x29
LITRES = (LITRE, 0x2A, 0x2B)
VOLUMES = {M3: (1, "m³"), 0x2D: (10, "10 m³"), 0x2E: (100, "100 m³"), LITRE: (1, "L"), 0x2A: (10, "10 L"), 0x2B: (100, "100 L")}
FLOWS = {
    0x35: (1000, "m³/h"),
    0x36: (10_000, "10 m³/h"),
    0x37: (100_000, "100 m³/h"),
    0x32: (1, "L/h"),
    0x33: (10, "10 L/h"),
    0x34: (100, "100 L/h"),
}
"""Unit codes: how many m³ or litres (of flows: litres per hour) one is, and its name."""


# --- What meters differ in ------------------------------------------------------------------------------------------------------


class Profile(NamedTuple):
    """Settings of a meter, as `profile` reads them."""

    meter_type: int = 0x10
    low_first: bool = False
    data_sum: bool = False
    layout: str = "standard"
    high_clock: bool = False
    litre_decimals: int = 0
    pressure_unit: str = ""
    freeze_min: int = 0
    status: tuple[tuple[int, str], ...] = ((2, "BATT"),)


_CHOICES: dict[str, dict[str, tuple[str, Any]]] = {
    "identifier": {"high-first": ("low_first", False), "low-first": ("low_first", True)},
    "checksum": {"frame": ("data_sum", False), "data": ("data_sum", True)},
    "layout": {"standard": ("layout", "standard"), "rd-w10": ("layout", "rd-w10")},
    "clock": {"low-first": ("high_clock", False), "high-first": ("high_clock", True)},
    "pressure_unit": {"": ("pressure_unit", ""), "kPa": ("pressure_unit", "kPa"), "MPa": ("pressure_unit", "MPa")},
}
_NUMBERS = {"litre_decimals": ("litre_decimals", 0, 3), "freeze_min": ("freeze_min", 0, 1440)}


def profile(table: Mapping[str, Any]) -> Profile:
    """Settings of a meter from a TOML table:

    `meter_type` ("10" ...), `identifier` (order of DI in requests), `checksum` (`frame`, or `data` where the meter sums the data
    field only), `layout` of 901F, `clock` (which order is tried first), `litre_decimals` (of volumes in L), `pressure_unit` of
    freezes (empty: pressure is not used), `freeze_min` (minutes from one timed freeze to the next; 0: it has none), `[status]`
    (alarm codes by bit of ST0 + 256 x ST1). Raises `ValueError`.
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key in _CHOICES:
            if value not in list(_CHOICES[key]):  # which compares: a list of a hand-made file has no hash
                raise ValueError(f"{key} is {value!r}; allowed: {', '.join(map(repr, _CHOICES[key]))}")
            name, meant = _CHOICES[key][value]
            found[name] = meant
        elif key in _NUMBERS:
            name, least, most = _NUMBERS[key]
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{key} is {value!r}; allowed: whole numbers from {least} to {most}")
            found[name] = value
        elif key == "meter_type":
            if value not in [f"{kind:02X}" for kind in _TYPES]:
                raise ValueError(f"{key} is {value!r}; allowed: two digits from '10' to '49', or 'AA'")
            found[key] = int(value, 16)
        elif key == "status":
            found[key] = _status(value)
        else:
            raise ValueError(f"{key}: no such setting; allowed: {', '.join((*_CHOICES, *_NUMBERS, 'meter_type', 'status'))}")
    return Profile(**found)


def _status(table: Any) -> tuple[tuple[int, str], ...]:
    known = [code for code in ALARMS if code != "NO_DATA"]
    if not isinstance(table, Mapping):
        raise ValueError(f"status is {table!r}, expected a table of alarm codes by bit")
    for bit, code in table.items():
        if not (bit.isdecimal() and int(bit) < 16) or code not in known:
            raise ValueError(f"status: {bit} = {code!r}; expected bits 0 to 15 (8 and more: ST1) and of {', '.join(known)}")
    return tuple(sorted((int(bit), code) for bit, code in table.items()))


# --- The frame ------------------------------------------------------------------------------------------------------------------


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return Cutter(_RULES)


def _size(head: bytes) -> int | None:
    if len(head) > 1 and head[1] not in _TYPES:
        return 0
    if len(head) < HEADER:
        return None
    return OVERHEAD + head[10] if head[10] >= 2 else 0


def _fault(frame: bytes) -> Fault | None:
    """A sum over the data only counts as good here: `decode`, which knows the meter's profile, judges it."""
    if frame[-1] != END:
        return Reason.BAD_LENGTH, f"declares {frame[10]} bytes of data, but {frame[-1]:02X} follows them where 16 is expected"
    if frame[-2] in (_sum(frame[:-2]), _sum(frame[HEADER:-2])):
        return None
    return Reason.BAD_CRC, f"checksum is {frame[-2]:02X}, expected {_sum(frame[:-2]):02X}"


_RULES = Rules(bytes((START,)), HEADER, _size, _fault, "the start 68 and a whole header", lead=WAKE, most_lead=MOST_WAKE)


def _sum(data: bytes) -> int:
    return sum(data) & 0xFF


def _identifier(raw: bytes) -> int:
    """The data identifier in whichever order it came; high byte first where both could be meant."""
    high_first, low_first = int.from_bytes(raw, "big"), int.from_bytes(raw, "little")
    return low_first if low_first in _KNOWN and high_first not in _KNOWN else high_first


class _Parts(NamedTuple):
    """A frame taken apart, without what wakes the line."""

    meter_type: int
    address: str
    control: int
    identifier: int
    number: int | None
    data: bytes

    @property
    def is_answer(self) -> bool:
        return bool(self.control & ANSWER)


def _apart(frame: bytes) -> _Parts:
    body = frame.lstrip(WAKE)
    data = body[HEADER:-2]
    return _Parts(
        body[1],
        body[8:1:-1].hex().upper(),
        body[9],
        _identifier(data[:2]),
        data[2] if len(data) > 2 else None,
        data[3:],
    )


def terminal(frame: bytes) -> str:
    """The meter's address, 14 digits as they are printed (high byte first)."""
    return frame.lstrip(WAKE)[8:1:-1].hex().upper()


# --- Asking ---------------------------------------------------------------------------------------------------------------------

_KINDS = "the present reading (now), timed freezes (history) and the clock (clock)"
_FREEZE_FIELDS = ("forward_m3", "flow_m3h", "pressure_mpa")
_MOST_FREEZES = 256


def requests(ask: Ask, profile: Any) -> list[bytes]:
    """Reads of 901F (now), 907F (clock), or D3nn (history: as many timed freezes as lie between start and end)."""
    settings: Profile = profile or Profile()
    address = _address(ask.address)
    number = int(ask.now.timestamp()) % 100
    match ask.kind:
        case AskKind.NOW:
            identifiers: Sequence[int] = (PRESENT,)
        case AskKind.CLOCK:
            identifiers = (CLOCK,)
        case AskKind.HISTORY:
            identifiers = _freezes(ask, settings)
        case _:
            raise CannotAsk(f"{ask.kind}: a CJ/T 188 meter is asked {_KINDS}, and nothing is written to it")
    return [_request(settings, address, identifier, (number + place) % 100) for place, identifier in enumerate(identifiers)]


def _request(settings: Profile, address: bytes, identifier: int, number: int) -> bytes:
    data = identifier.to_bytes(2, "little" if settings.low_first else "big") + bytes.fromhex(f"{number:02d}")
    head = bytes((START, settings.meter_type)) + address + bytes((READ, len(data)))
    return WAKE * 3 + head + data + bytes((_sum(data if settings.data_sum else head + data), END))


def _address(digits: str) -> bytes:
    if not digits:
        return b"\xaa" * 7
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    if len(raw) != 7 or len(digits) != 14:
        raise CannotAsk(f"address is {digits!r}, expected 14 digits, or none where the meter is the only one on its line")
    return raw[::-1]


def _freezes(ask: Ask, settings: Profile) -> range:
    """Identifiers of the freezes of that time, the oldest first, as it is the next to be overwritten."""
    if not settings.freeze_min:
        raise CannotAsk("history: the meter's profile says of no timed freezes (freeze_min), and months come without a time")
    if ask.field not in _FREEZE_FIELDS:
        raise CannotAsk(f"history: freezes have {', '.join(_FREEZE_FIELDS)}, not {ask.field}")
    if ask.start is None or ask.end is None:
        raise CannotAsk("history: expected start and end")
    step = timedelta(minutes=settings.freeze_min)
    newest, oldest = max(0, (ask.now - ask.end) // step - 1), min(_MOST_FREEZES - 1, (ask.now - ask.start) // step + 1)
    if newest > oldest:
        raise CannotAsk(
            f"history: a meter keeps {_MOST_FREEZES} freezes, one in {settings.freeze_min} min: none before {ask.end}"
        )
    return range(TIMED_FREEZE + oldest, TIMED_FREEZE + newest - 1, -1)


def answers(request: bytes, frame: bytes) -> bool:
    """Whether address, identifier (in either order) and request number are those asked for; an error needs the address only."""
    asked, told = _apart(request), _apart(frame)
    if asked.address not in (told.address, "AA" * 7):
        return False
    if told.control == ODD_ANSWER or not told.is_answer or told.control & FUNCTION != asked.control & FUNCTION:
        return False
    return bool(told.control & ERROR) or (told.identifier, told.number) == (asked.identifier, asked.number)


# --- Decoding -------------------------------------------------------------------------------------------------------------------

_NAMES = [field.name for field in FIELDS]
_ANSWERS: dict[str, Any] = {
    "frame": pl.Int64,
    "place": pl.Int64,
    "terminal": pl.String,
    "received": TIMESTAMP,
    "layout": pl.String,
    "hex": pl.String,
    "high_clock": pl.Boolean,
    "litre_decimals": pl.Int64,
    "pressure_unit": pl.String,
    "map": pl.Int64,
}
"""An answer a row: `place` in its round, `layout` of its data (`hex`), what the meter's profile says (`map`: its status map)."""


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Decode a group at once, in columns (see `Decoded`): a reading an answer, of its terminal or else of the meter's address.

    Alarms and status are of present readings. Never raises: errors, requests that come back and what has no layout is `rejected`.
    """
    rows: list[tuple[Any, ...]] = []
    refused: list[tuple[int, Reason, str]] = []
    maps: dict[tuple[tuple[int, str], ...], int] = {}
    for number, arrival in enumerate(arrivals):
        for place, frame in enumerate(_frames(arrival.raw)):
            known = profiles.get(arrival.terminal or terminal(frame))
            settings: Profile = known or Profile()
            layout = _layout(frame, settings)
            if not isinstance(layout, str):
                refused.append((number, *layout))
            elif layout:
                told = _apart(frame)
                received = datetime.fromtimestamp(arrival.received_us // 1000 / 1000, UTC)
                status_map = maps.setdefault(settings.status, len(maps))
                differs = settings.high_clock, settings.litre_decimals, settings.pressure_unit, status_map
                rows.append((number, place, arrival.terminal or told.address, received, layout, told.data.hex(), *differs))
    table = pl.DataFrame(rows, schema=_ANSWERS, orient="row")
    said = pl.concat([read(table.filter(layout=layout)) for layout, read in _READERS.items()]).sort("frame", "place")
    faults = _faults(said)
    good = said.filter(~pl.struct("frame", "place").is_in(faults.select(pl.struct("frame", "place")).to_series().implode()))
    rejected = pl.DataFrame(
        [(number, str(reason), detail) for number, reason, detail in refused],
        schema={"frame": pl.Int64, "reason": pl.String, "detail": pl.String},
        orient="row",
    )
    present = good.filter(pl.col("status").is_not_null())
    return Decoded(
        good.filter(pl.col("ts").is_not_null(), pl.any_horizontal(pl.col(_NAMES).is_not_null())).select(
            "frame", "terminal", "ts", *_NAMES
        ),
        present.select("frame", "terminal", pl.col("ts").alias("event_at"), _active(present, list(maps)), *_NAMES),
        good.filter(pl.col("sent_at").is_not_null()).select("frame", "terminal", "sent_at"),
        pl.concat([rejected, faults.drop("place")]).sort("frame", maintain_order=True),
    )


def _frames(raw: bytes) -> list[bytes]:
    """The frames of an arrival: nearly always one, in a round of polling the answers; what is cut from them is no matter here."""
    return [piece.raw for piece in Cutter(_RULES).feed(raw) if isinstance(piece, Frame)]


def _layout(frame: bytes, settings: Profile) -> str | Fault:
    """Which layout the data of an answer have; empty where they hold no measurement; or why they cannot be used."""
    body = frame.lstrip(WAKE)
    told = _apart(frame)
    if not settings.data_sum and body[-2] != _sum(body[:-2]):
        detail = f"checksum is {body[-2]:02X}, which is the sum of the data field only, expected {_sum(body[:-2]):02X}"
        return Reason.BAD_CRC, f'{detail}; for a meter that sums like this its profile says checksum = "data"'
    if not told.is_answer:
        return Reason.BAD_BODY, f"control is {told.control:02X}: a request, perhaps our own come back, expected an answer"
    if told.control != ODD_ANSWER and told.control & ERROR:
        return Reason.BAD_BODY, f"the meter refused: control {told.control:02X}, error code {body[HEADER:-2][-1:].hex().upper()}"
    if told.control == ODD_ANSWER or told.control & FUNCTION != READ:
        return ""
    if 0x20 <= told.meter_type < 0x40:
        return Reason.BAD_BODY, f"meter type is {told.meter_type:02X}: heat and gas are not read, expected water (10 to 19)"
    size = len(told.data)
    known = {(PRESENT, 19): settings.layout, (PRESENT, 6): "short", (CLOCK, 7): "clock"}
    if told.identifier in FREEZES and size == 23:
        return "freeze"
    if layout := known.get((told.identifier, size)):
        return layout
    if body[10] == 9 and told.identifier == CLOCK:
        return Reason.BAD_BODY, "the clock came without a request number"
    if told.identifier not in (PRESENT, CLOCK, *FREEZES):
        detail = f"data {told.identifier:04X} are not read"
        months = ": a register of a past month comes without a time" if told.identifier in _MONTHS else ""
        return Reason.BAD_BODY, detail + months
    return Reason.BAD_BODY, f"data {told.identifier:04X} have {size} bytes, expected 19 or 6 of 901F, 7 of 907F, 23 of a freeze"


def _digits(offset: int, size: int) -> pl.Expr:
    """The digits of a value, high byte first."""
    return pl.concat_str([pl.col("hex").str.slice(2 * (offset + size - 1 - place), 2) for place in range(size)])


def _whole(offset: int, size: int) -> pl.Expr:
    """A BCD number; null where it is none."""
    return _digits(offset, size).cast(pl.Int64, strict=False)


def _byte(offset: int) -> pl.Expr:
    return pl.col("hex").str.slice(2 * offset, 2)


def _moment(digits: pl.Expr) -> pl.Expr:
    """YYYYMMDDhhmmss of Beijing in UTC; null where it is no time, or that of a clock that was never set."""
    local = digits.str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False)
    sound = local.is_between(datetime(2000, 1, 2), datetime(2100, 1, 1), closed="left")
    utc = (local - (BEIJING.utcoffset(None) or timedelta())).dt.replace_time_zone("UTC")
    return pl.when(sound).then(utc).otherwise(None).cast(TIMESTAMP)


def _clock(offset: int) -> pl.Expr:
    """A clock of 7 bytes, low byte first or, as some makers have it, high byte first; the profile says which is tried first."""
    low, high = _moment(_digits(offset, 7)), _moment(pl.col("hex").str.slice(2 * offset, 14))
    return pl.when(pl.col("high_clock")).then(pl.coalesce(high, low)).otherwise(pl.coalesce(low, high))


def _code(code: int) -> pl.Expr:
    return pl.lit(f"{code:02x}")


def _factor(unit: pl.Expr, units: Mapping[int, tuple[int, str]]) -> pl.Expr:
    """What a unit code stands for; null for an unknown one."""
    return unit.replace_strict(
        {f"{code:02x}": factor for code, (factor, _) in units.items()}, default=None, return_dtype=pl.Int64
    )


def _volume(offset: int, unit: pl.Expr) -> pl.Expr:
    """A volume of 4 bytes in m³: 2 decimals, in litres as many as the profile says."""
    in_litres = unit.is_in([f"{code:02x}" for code in LITRES])
    divisor = pl.when(in_litres).then(1000 * pl.lit(10).pow(pl.col("litre_decimals"))).otherwise(100)
    return _whole(offset, 4) * _factor(unit, VOLUMES) / divisor


def _flow(offset: int, unit: pl.Expr) -> pl.Expr:
    """A flow of 4 bytes with 4 decimals in m³/h."""
    return _whole(offset, 4) * _factor(unit, FLOWS) / 10_000_000


def _said(
    table: pl.DataFrame, raw: pl.Expr, ts: pl.Expr, status: int | None, sent_at: pl.Expr, **fields: pl.Expr
) -> pl.DataFrame:
    """What answers say. `raw`: volume and unit as they came; `status`: where its two bytes are."""
    nothing = pl.lit(None, pl.Int64)
    word = nothing if status is None else _byte(status).str.to_integer(base=16) + _byte(status + 1).str.to_integer(base=16) * 256
    given = {**fields, "status": word}
    return table.select(
        "frame",
        "place",
        "terminal",
        "map",
        "layout",
        raw.alias("raw"),
        ts.cast(TIMESTAMP).alias("ts"),
        sent_at.cast(TIMESTAMP).alias("sent_at"),
        *(given.get(field.name, pl.lit(None)).cast(field.dtype).alias(field.name) for field in FIELDS),
    )


def _full(table: pl.DataFrame) -> pl.DataFrame:
    raw = pl.col("hex").str.slice(0, 10)
    return _said(table, raw, pl.col("received"), 17, _clock(10), forward_m3=_volume(0, _byte(4)))


def _short(table: pl.DataFrame) -> pl.DataFrame:
    raw = pl.col("hex").str.slice(0, 8) + _code(M3)
    return _said(table, raw, pl.col("received"), 4, pl.lit(None), forward_m3=_volume(0, _code(M3)))


def _rd_w10(table: pl.DataFrame) -> pl.DataFrame:
    """Volume 4 (m³), its fraction 3, flow 3 (unused: its decimals are not known), temperature 1, ss mm hh DD MM YY, status 2."""
    raw = pl.col("hex").str.slice(0, 14)
    forward = (_whole(0, 4) * 1_000_000 + _whole(4, 3)) / 1_000_000
    return _said(table, raw, pl.col("received"), 17, _moment(pl.lit("20") + _digits(11, 6)), forward_m3=forward)


def _freeze(table: pl.DataFrame) -> pl.DataFrame:
    kilopascals = pl.when(pl.col("pressure_unit") == "kPa").then(1000).when(pl.col("pressure_unit") == "MPa").then(1)
    return _said(
        table,
        pl.col("hex").str.slice(14, 10),
        _clock(0),
        None,
        pl.lit(None),
        forward_m3=_volume(7, _byte(11)),
        flow_m3h=_flow(12, _byte(16)),
        pressure_mpa=_whole(20, 3) / (100 * kilopascals),
    )


def _time_only(table: pl.DataFrame) -> pl.DataFrame:
    return _said(table, pl.lit("ff"), pl.lit(None), None, _clock(0))


_READERS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "standard": _full,
    "short": _short,
    "rd-w10": _rd_w10,
    "freeze": _freeze,
    "clock": _time_only,
}


def _faults(said: pl.DataFrame) -> pl.DataFrame:
    """`frame`, `place`, `reason`, `detail` of answers that cannot be used. A volume of FF throughout is none, and no fault."""
    absent = pl.col("raw").str.starts_with("ffffffff") | (pl.col("layout") == "clock")
    shown = pl.col("raw").str.to_uppercase()
    volume = pl.format("volume and unit are {}, expected BCD digits and a unit of volume (29-2E)", shown)
    return pl.concat(
        [
            said.filter(pl.col("forward_m3").is_null() & ~absent).select(
                "frame", "place", reason=pl.lit(Reason.BAD_BODY.value), detail=volume
            ),
            said.filter(
                (pl.col("layout") == "freeze") & pl.col("ts").is_null() & (pl.col("forward_m3").is_not_null() | absent)
            ).select("frame", "place", reason=pl.lit(Reason.BAD_TIME.value), detail=pl.lit("the time of the freeze is none")),
        ]
    )


def _active(present: pl.DataFrame, maps: list[tuple[tuple[int, str], ...]]) -> pl.Series:
    """The alarm codes of each status, as its meter's profile maps them."""
    codes = [_codes(word, maps[place]) for word, place in present.select("status", "map").iter_rows()]
    return pl.Series("active", codes, pl.List(pl.String))


def _codes(word: int, status_map: tuple[tuple[int, str], ...]) -> list[str]:
    """A byte FF is one that the meter does not fill."""
    filled = sum(0xFF << shift for shift in (0, 8) if word >> shift & 0xFF != 0xFF)
    return sorted({code for bit, code in status_map if word & filled & 1 << bit})


# --- Explaining -----------------------------------------------------------------------------------------------------------------

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


def explain(frame: bytes) -> list[Part]:
    """Every byte of one frame or several, in order; also of torn ones and of such with a wrong checksum. Never raises.

    Data are shown in the layout of the standard: which one a meter has says its profile.
    """
    parts, at = list[Part](), 0
    for raw, zh, en, value, unit in _explained(frame):
        if raw:
            parts.append(Part(at, raw, zh, en, value or raw.hex().upper(), unit))
            at += len(raw)
    return parts


_Piece = tuple[bytes, str, str, str, str]


def _explained(frame: bytes) -> Iterator[_Piece]:
    while frame:
        wake = frame[: len(frame) - len(frame.lstrip(WAKE))]
        yield wake, "唤醒", "wakes the line", f"{len(wake)} × FE", ""
        frame = frame[len(wake) :]
        if len(frame) >= HEADER and frame[0] == START and _size(frame[:HEADER]):
            size = OVERHEAD + frame[10]
            yield from _explained_frame(frame[:size])
            frame = frame[size:]
        elif frame:
            following = frame.find(START, 1)
            size = following if following > 0 else len(frame)
            yield frame[:size], "不属于报文", "not part of a frame", "", ""
            frame = frame[size:]


def _explained_frame(frame: bytes) -> Iterator[_Piece]:
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
    received, expected = frame[-2], _sum(frame[:-2])
    if received == expected:
        return f"{received:02X} 正确 / good"
    if received == _sum(data):
        return f"{received:02X} 仅为数据域之和，应为 {expected:02X} / sum of the data only, expected {expected:02X}"
    return f"{received:02X} 错误，应为 {expected:02X} / wrong, expected {expected:02X}"


def _explained_data(data: bytes, answer: bool, error: bool) -> Iterator[_Piece]:
    identifier = _identifier(data[:2])
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
    """Value and unit of a field as people read them: exactly the digits that were sent."""
    hexadecimal = raw.hex().upper()
    match kind:
        case "clock":
            said = pl.DataFrame({"hex": [raw.hex()], "high_clock": [False]}).select(_clock(0)).item()
            return (f"{hexadecimal} 无时间 / no time", "") if said is None else (said.astimezone(BEIJING).isoformat(), "")
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
