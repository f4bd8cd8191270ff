"""Register maps of meters: a map as data, validated, and the blocks of registers to ask for.

A map (a TOML table; see `ingest_daemon/terminals/profiles/`) gives each register's number, type, word order and unit:

    base = 1            # the manual's number of the register with the address 0 on the wire (default 0)
    function = 3        # 3 holding registers, 4 input registers; a register may have its own
    order = "CDAB"      # order of the bytes of a number, A the highest (default ABCD); a register may have its own
    gap = 4             # unwanted registers between two wanted ones that one request may read along (default 0)
    most = 125          # registers in one request at most

    [[registers]]       # several of one field are added up, and are always read in one block: integer part and fraction
    field = "forward_m3"
    address = 9
    type = "s32"        # value = (number * scale + offset) in the unit
    unit = "m3"         # or unit_code, or scale_code: the name of a code register
    scale = 0.1
    offset = 0
    missing = ["FFFFFFFF"]  # codes of "no value": the bytes of the number, the highest first

    [codes.volume_unit] # a register that holds the code of another one's unit (or factor)
    address = 1438
    type = "u16"
    means = { 0 = "m3", 1 = "L" }

    [[alarms]]          # raised while the register is not 0, or one alarm a bit
    address = 72
    bits = { 0 = "SENSOR", 4 = "EMPTY" }

A number that is a code of `missing` leaves its field empty, without a complaint. Without the key the usual codes count: FFFF… of
unsigned numbers, 8000… and 7FFF… of signed ones, but not for numbers of one register that are added up to a field, as the low
word of a total may have them; such a number leaves its field empty with a complaint. `missing = []` makes every number count. A
float that is NaN and BCD with other digits are never a number. Where all registers of an answer are FFFF, none of them counts.

The bytes of registers become columns in `register_values.py`; frames and checksums are the codecs'.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import groupby
from typing import Any, NamedTuple

from ingest_daemon.codec_kit.units import UNITS
from ingest_daemon.contract.alarm_codes import OF_TERMINALS
from ingest_daemon.contract.schema import FIELDS

MOST = 125
"""Registers in one request at most (MODBUS Application Protocol V1.1b3, 6.3 and 6.4)."""

FUNCTIONS = (3, 4)
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
TYPES: dict[str, tuple[int, str]] = {
    "u16": (1, ">u2"),
    "s16": (1, ">i2"),
    "u32": (2, ">u4"),
    "s32": (2, ">i4"),
    "u64": (4, ">u8"),
    "f32": (2, ">f4"),
    "f64": (4, ">f8"),
    "bcd16": (1, ""),
    "bcd32": (2, ""),
    "bcd64": (4, ""),
    "bits": (1, ">u2"),
}
"""Type → registers that it takes, and the number as NumPy reads it (empty: packed BCD)."""

NO_VALUE = {
    "u16": (b"\xff" * 2,),
    "u32": (b"\xff" * 4,),
    "u64": (b"\xff" * 8,),
    "s16": (b"\x80\0", b"\x7f\xff"),
    "s32": (b"\x80\0\0\0", b"\x7f\xff\xff\xff"),
}
"""Codes of "no value" that count where the map names none (SunSpec and what others use)."""

_REGISTER_KEYS = (
    *("field", "address", "type", "function", "order", "bits"),
    *("scale", "offset", "unit", "unit_code", "scale_code", "missing"),
)
WHOLE = ("u16", "u32", "bits")
_COUNTED = ("u16", "s16", "u32", "s32", "bcd16", "bcd32", "bits")
"""Types of a field without a unit: such fields are whole numbers."""
UNIT_OF = {field.name: field.unit for field in FIELDS}
_PLAIN = {"m³": "m3", "m³/h": "m3/h", "MPa": "MPa", "V": "V", "": ""}


class Spot(NamedTuple):
    """The place and form of a number. `address`: on the wire; `bits`: lowest and highest (type `bits` only)."""

    function: int
    address: int
    type: str
    order: str
    bits: tuple[int, int] = (0, 15)

    @property
    def words(self) -> int:
        """Registers that the number takes."""
        return TYPES[self.type][0]


class Code(NamedTuple):
    """A register that holds the unit of another one: code → text of the unit, or a factor."""

    name: str
    spot: Spot
    means: tuple[tuple[int, str | Fraction], ...]


class Register(NamedTuple):
    """A part of a field: value = number x `factor` (x the factors of `codes`) + `offset`, in the field's own unit.

    `missing`: codes of "no value"; `is_expected`: the map itself names them, so they are no complaint.
    """

    field: str
    spot: Spot
    factor: Fraction
    offset: Fraction
    codes: tuple[Code, ...]
    missing: tuple[bytes, ...] = ()
    is_expected: bool = False


class Alarm(NamedTuple):
    """An alarm register: bit → code; bit None: while the number is not 0."""

    spot: Spot
    codes: dict[int | None, str]


class Block(NamedTuple):
    """Registers that are read with one request."""

    function: int
    start: int
    size: int


class RegisterMap(NamedTuple):
    """The map of one kind of meter."""

    base: int
    registers: tuple[Register, ...]
    alarms: tuple[Alarm, ...]
    blocks: tuple[Block, ...]


# --- the map ----------------------------------------------------------------------------------------------------------------


def register_map(table: Mapping[str, Any]) -> RegisterMap:
    """The map of a TOML table. Raises `ValueError` naming the wrong key and what is allowed."""
    _check_keys("the map", table, ("base", "function", "order", "gap", "most", "registers", "codes", "alarms"))
    base = _whole(table, "base", 0, range(1 << 20))
    default = {"function": _one_of(table, "function", FUNCTIONS, 3), "order": _one_of(table, "order", ORDERS, "ABCD")}
    gap, most = _whole(table, "gap", 0, range(MOST)), _whole(table, "most", MOST, range(1, MOST + 1))
    codes = {name: _code(name, default | dict(entry), base) for name, entry in _tables(table, "codes")}
    parts = [_register(name, default | dict(entry), base, codes) for name, entry in _tables(table, "registers")]
    count = Counter(part.field for part in parts)
    registers = tuple(part if count[part.field] == 1 else _added_up(part) for part in parts)
    alarms = tuple(_alarm(name, default | dict(entry), base) for name, entry in _tables(table, "alarms"))
    if not registers and not alarms:
        raise ValueError("registers: expected at least one [[registers]] with field, address and type; there is none")
    return RegisterMap(base, registers, alarms, _blocks(registers, alarms, gap, most))


def _register(name: str, entry: Mapping[str, Any], base: int, codes: Mapping[str, Code]) -> Register:
    _check_keys(name, entry, _REGISTER_KEYS)
    with _error_prefix(name):
        field = _one_of(entry, "field", tuple(UNIT_OF))
        units = UNITS[UNIT_OF[field]]
        named = [_one_of(entry, key, tuple(codes)) for key in ("unit_code", "scale_code") if key in entry]
        if "unit" in entry and "unit_code" in entry:
            raise ValueError("unit and unit_code: expected one of them, there are both")
        unit = Fraction(1) if "unit_code" in entry else units[_one_of(entry, "unit", tuple(units), _PLAIN[UNIT_OF[field]])]
        for code in named:
            names = units if entry.get("unit_code") == code else {}
            for _, meaning in codes[code].means:
                if isinstance(meaning, str) and meaning not in names:
                    raise ValueError(f"codes.{code}: means {meaning!r}; allowed for {field}: {', '.join(names) or 'numbers'}")
        scale, offset = _number(entry, "scale", 1), _number(entry, "offset", 0)
        if scale == 0:
            raise ValueError("scale: expected a number other than 0")
        spot = _spot(entry, base, tuple(TYPES) if UNIT_OF[field] else _COUNTED)
        missing = _missing(entry["missing"], spot) if "missing" in entry else NO_VALUE.get(spot.type, ())
        parts = tuple(codes[code] for code in named)
        return Register(field, spot, scale * unit, offset * unit, parts, missing, "missing" in entry)


def _missing(entry: Any, spot: Spot) -> tuple[bytes, ...]:
    if spot.type == "bits":
        raise ValueError("missing: the type bits has no codes of no value")
    digits = 4 * spot.words
    if not isinstance(entry, list) or not all(_is_hex(code, digits) for code in entry):
        raise ValueError(f'missing: expected a list of {digits} hex digits each, like ["{"F" * digits}"]; there is {entry!r}')
    return tuple(bytes.fromhex(code) for code in entry)


def _is_hex(code: Any, digits: int) -> bool:
    return isinstance(code, str) and len(code) == digits and set(code) <= set("0123456789abcdefABCDEF")


def _added_up(part: Register) -> Register:
    """A part of several: a single register may be the low word of a number, where FFFF is one of its values."""
    return part if part.is_expected or part.spot.words > 1 else part._replace(missing=())


def _code(name: str, entry: Mapping[str, Any], base: int) -> Code:
    where = f"codes.{name}"
    _check_keys(where, entry, ("address", "type", "function", "order", "bits", "means"))
    with _error_prefix(where):
        means = tuple(
            (_key(key), value if isinstance(value, str) else _fraction(key, value)) for key, value in _means(entry, "means")
        )
        return Code(name, _spot({"type": "u16", **entry}, base, WHOLE), means)


def _alarm(name: str, entry: Mapping[str, Any], base: int) -> Alarm:
    _check_keys(name, entry, ("address", "type", "function", "order", "code", "bits"))
    with _error_prefix(name):
        if ("code" in entry) == ("bits" in entry):
            raise ValueError('code, bits: expected one of them: code = "EMPTY" (while not 0) or bits = { 4 = "EMPTY" }')
        spot = _spot({"type": "u16", **{key: value for key, value in entry.items() if key != "bits"}}, base, ("u16", "u32"))
        if "code" in entry:
            return Alarm(spot, {None: _one_of(entry, "code", OF_TERMINALS)})
        named = dict(_means(entry, "bits"))
        codes: dict[int | None, str] = {_key(key): _one_of(named, key, OF_TERMINALS) for key in named}
        if beyond := [bit for bit in codes if bit not in range(16 * spot.words)]:
            raise ValueError(f"bits: {beyond[0]} is none of a {spot.type}; allowed: 0 to {16 * spot.words - 1}")
        return Alarm(spot, codes)


def _spot(entry: Mapping[str, Any], base: int, types: Sequence[str] = tuple(TYPES)) -> Spot:
    kind = _one_of(entry, "type", tuple(types))
    size = TYPES[kind][0]
    number = _whole(entry, "address", None, range(base, base + (1 << 16) - size + 1))
    if ("bits" in entry) != (kind == "bits"):
        raise ValueError("bits: expected for the type bits and for no other, like bits = [0, 7]")
    bits = entry.get("bits", [0, 15])
    if not (isinstance(bits, list) and len(bits) == 2 and all(type(bit) is int for bit in bits) and 0 <= bits[0] <= bits[1] < 16):
        raise ValueError(f"bits: expected the lowest and the highest bit of 0 to 15, like [0, 7]; there is {bits!r}")
    function, order = _one_of(entry, "function", FUNCTIONS), _one_of(entry, "order", ORDERS)
    return Spot(function, number - base, kind, order, (bits[0], bits[1]))


# --- requests -----------------------------------------------------------------------------------------------------------------


def _blocks(registers: Sequence[Register], alarms: Sequence[Alarm], gap: int, most: int) -> tuple[Block, ...]:
    """As few requests as the limits allow; one of them reads all parts of a field, so that they are of one moment."""
    spans = [_span(field, [part.spot for part in parts], most) for field, parts in by_field(registers)]
    singles = {code.spot for part in registers for code in part.codes} | {alarm.spot for alarm in alarms}
    spans += [Block(spot.function, spot.address, spot.words) for spot in singles]
    merged: list[Block] = []
    for function, start, size in sorted(spans):
        last = merged[-1] if merged else None
        if last and last.function == function and start - (last.start + last.size) <= gap:
            whole = max(last.start + last.size, start + size) - last.start
            if whole <= most:
                merged[-1] = last._replace(size=whole)
                continue
        merged.append(Block(function, start, size))
    return tuple(merged)


def by_field(registers: Sequence[Register]) -> Iterable[tuple[str, list[Register]]]:
    """The parts of every field."""
    ordered = sorted(registers, key=lambda part: part.field)
    return ((field, list(parts)) for field, parts in groupby(ordered, key=lambda part: part.field))


def _span(field: str, spots: Sequence[Spot], most: int) -> Block:
    start, end = min(spot.address for spot in spots), max(spot.address + spot.words for spot in spots)
    if len({spot.function for spot in spots}) > 1 or end - start > most:
        addresses = ", ".join(f"{spot.address} (function {spot.function})" for spot in spots)
        raise ValueError(
            f"registers of {field}: expected parts of one function within {most} registers, so that one request reads them at "
            f"one moment; there are, by their address on the wire, {addresses}"
        )
    return Block(spots[0].function, start, end - start)


# --- keys and values of a table -----------------------------------------------------------------------------------------------


@contextmanager
def _error_prefix(where: str) -> Iterator[None]:
    """Put the name of the entry before the text of a `ValueError`."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _check_keys(where: str, entry: Mapping[str, Any], keys: Sequence[str]) -> None:
    if unknown := [key for key in entry if key not in keys]:
        raise ValueError(f"{where}: key {unknown[0]!r} is unknown; allowed: {', '.join(keys)}")


def _tables(table: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The tables under a key with their names for messages: of `[codes.name]` its name, of `[[registers]]` its number."""
    entry = table.get(key, {} if key == "codes" else [])
    if not isinstance(entry, dict if key == "codes" else list):
        raise ValueError(f"{key}: expected {'[codes.<name>]' if key == 'codes' else f'[[{key}]]'}, there is {entry!r}")
    named = entry.items() if isinstance(entry, dict) else [(f"{key} {number}", item) for number, item in enumerate(entry, 1)]
    return [(name, _table(item, name)) for name, item in named]


def _table(entry: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{name}: expected a table, there is {entry!r}")
    return entry


def _one_of(entry: Mapping[str, Any], key: str, allowed: Sequence[Any], default: Any = None) -> Any:
    value = entry.get(key, default)
    if not any(type(value) is type(item) and value == item for item in allowed):
        raise ValueError(f"{key}: expected one of {', '.join(map(str, allowed)) or 'none'}; there is {value!r}")
    return value


def _whole(entry: Mapping[str, Any], key: str, default: int | None, allowed: range) -> int:
    value = entry.get(key, default)
    if type(value) is not int or value not in allowed:
        raise ValueError(f"{key}: expected a whole number of {allowed[0]} to {allowed[-1]}; there is {value!r}")
    return value


def _number(entry: Mapping[str, Any], key: str, default: int) -> Fraction:
    return _fraction(key, entry.get(key, default))


def _fraction(key: str, value: Any) -> Fraction:
    """The number as it is written: 0.1 is a tenth. Raises `ValueError` where it is not finite."""
    if type(value) not in (int, float) or value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{key}: expected a number, there is {value!r}")
    return Fraction(str(value))


def _means(entry: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    value = entry.get(key)
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{key}: expected a table of numbers, like {{ 0 = … }}; there is {value!r}")
    return list(value.items())


def _key(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r}: expected a whole number on the left side") from None
