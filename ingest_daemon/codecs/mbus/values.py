"""Measured values of records as exact numbers in the units of the store; all other values as pyMeterBus reads them, for people.

A volume, flow, pressure or voltage that cannot be read exactly raises `UnusableRecord`: it never becomes another number.
"""

import struct
from fractions import Fraction
from typing import NamedTuple

import meterbus

from ingest_daemon.codec_kit.units import FLOWS, PRESSURES, VOLUMES
from ingest_daemon.codecs.mbus.records import BACKWARD_ONLY, FORWARD_ONLY, Record, UnusableRecord, Use

VOLUME, FLOW, PRESSURE, VOLTAGE = "volume", "flow", "pressure", "voltage"
UNIT_OF = {VOLUME: "m³", FLOW: "m³/h", PRESSURE: "MPa", VOLTAGE: "V"}
_NON_METRIC, _TIMES_1000 = 0x3D, 0x7D
_CORRECTIONS = range(0x70, 0x78)
_BCD = (0x9, 0xA, 0xB, 0xC, 0xE)
_INTEGER = (0x1, 0x2, 0x3, 0x4, 0x6, 0x7)
_REAL, _VARIABLE = 0x5, 0xD
_FUNCTIONS = ("", "a maximum", "a minimum", "a value during an error state")
_ERRORS = {
    0x01: "too many DIFEs",
    0x02: "storage number not implemented",
    0x03: "unit number not implemented",
    0x04: "tariff number not implemented",
    0x05: "function not implemented",
    0x06: "data class not implemented",
    0x07: "data size not implemented",
    0x0B: "too many VIFEs",
    0x0C: "illegal VIF group",
    0x0D: "illegal VIF exponent",
    0x0E: "VIF and DIF do not match",
    0x0F: "action not implemented",
    0x15: "no data available",
    0x16: "data overflow",
    0x17: "data underflow",
    0x18: "data error",
    0x1C: "premature end of record",
}
"""Errors of one record, reported by the meter in a VIFE (EN 13757-3, record errors)."""
_OTHERS = {
    **dict.fromkeys(range(0x20, 0x28), "a value per time or per revolution"),
    **dict.fromkeys(range(0x28, 0x2C), "an increment per pulse"),
    **dict.fromkeys(range(0x2C, 0x39), "a value per unit of another quantity"),
    0x39: "a start date",
    0x3A: "an uncorrected value",
    0x3E: "a value at base conditions",
    0x3F: "an OBIS code",
    **dict.fromkeys(range(0x40, 0x70), "a limit, a duration or a date of one, a leakage or an overflow"),
    **dict.fromkeys(range(0x78, 0x7C), "an additive correction"),
    0x7C: "a code of a further table",
    0x7E: "a future value",
    0x7F: "a code of the maker",
}
"""Other VIFEs, which give a value another meaning."""


class _Scale(NamedTuple):
    """The quantity of a VIF, one count in the unit of the store, and one count with VIFE 3D (None: no American unit)."""

    quantity: str
    factor: Fraction
    non_metric: Fraction | None = None


def _power(exponent: int) -> Fraction:
    return Fraction(10) ** exponent


_SCALES = {
    **{0x10 + n: _Scale(VOLUME, _power(n - 6), _power(n - 3) * VOLUMES["gal"]) for n in range(8)},
    **{0x38 + n: _Scale(FLOW, _power(n - 6), _power(n - 3) * FLOWS["gal/min"]) for n in range(8)},
    **{0x40 + n: _Scale(FLOW, _power(n - 7) * FLOWS["m3/min"]) for n in range(8)},
    **{0x48 + n: _Scale(FLOW, _power(n - 9) * FLOWS["m3/s"]) for n in range(8)},
    **{0x68 + n: _Scale(PRESSURE, _power(n - 3) * PRESSURES["bar"]) for n in range(4)},
    **{0x1FD40 + n: _Scale(VOLTAGE, _power(n - 9)) for n in range(16)},
    **{0x1FB10 + n: _Scale(VOLUME, _power(n + 2)) for n in range(2)},
    0x1FB21: _Scale(VOLUME, VOLUMES["ft3"] / 10),
    0x1FB22: _Scale(VOLUME, VOLUMES["gal"] / 10),
    0x1FB23: _Scale(VOLUME, VOLUMES["gal"]),
    0x1FB24: _Scale(FLOW, FLOWS["gal/min"] / 1000),
    0x1FB25: _Scale(FLOW, FLOWS["gal/min"]),
    0x1FB26: _Scale(FLOW, FLOWS["gal/h"]),
}
"""By `Record.kind`."""
_MASSES = {
    **dict.fromkeys((*range(0x18, 0x20), 0x1FB18, 0x1FB19), VOLUME),
    **dict.fromkeys(range(0x50, 0x58), FLOW),
}
"""Masses and mass flows: the quantity that they could give if the density were known."""
_PLAIN_TEXT = 0x7C
_TEXT_SCALES = {
    **{text: _Scale(VOLUME, factor) for text, factor in (VOLUMES | {"l": VOLUMES["L"], "m^3": VOLUMES["m3"]}).items()},
    **{text: _Scale(FLOW, factor) for text, factor in (FLOWS | {"l/h": FLOWS["L/h"], "m^3/h": FLOWS["m3/h"]}).items()},
}
"""By the unit in plain text."""


class Measure(NamedTuple):
    """A measured quantity, its value in the store's unit, and the VIFE of its direction (0: none)."""

    quantity: str
    value: Fraction
    direction: int


def quantity_of(record: Record) -> str:
    """The quantity that a record measures or stands in for; empty for all that a reading has no field for."""
    scale = _scale_of(record)
    return scale.quantity if scale else _MASSES.get(record.kind, "")


def _scale_of(record: Record) -> _Scale | None:
    if record.kind == _PLAIN_TEXT:
        return _TEXT_SCALES.get(record.text[::-1].decode("latin-1").replace("³", "3").strip())
    return _SCALES.get(record.kind)


def measure_of(record: Record) -> Measure:
    """The present value of a record of a known quantity. Raises `UnusableRecord`."""
    if not record.is_present:
        raise UnusableRecord(_absence(record), Use.NOT_CONVERTED if quantity_of(record) == VOLUME else Use.NOT_WANTED)
    scale = _scale_of(record)
    if scale is None:
        raise UnusableRecord("it is a mass, which is not converted", Use.NOT_CONVERTED)
    factor, direction = scale.factor, 0
    for code in record.extensions:
        if code in (FORWARD_ONLY, BACKWARD_ONLY) and scale.quantity == VOLUME and not direction:
            direction = code
        elif code == _NON_METRIC and scale.non_metric is not None:
            factor = factor / scale.factor * scale.non_metric
        elif code in _CORRECTIONS:
            factor *= _power(code - _CORRECTIONS[0] - 6)
        elif code == _TIMES_1000:
            factor *= 1000
        elif code in _ERRORS:
            raise UnusableRecord(f"the meter reports {code:02X}, {_ERRORS[code]}", Use.DAMAGED)
        elif code:
            meaning = _OTHERS.get(code, "not known here")
            raise UnusableRecord(f"its VIFE {code:02X} ({meaning}) makes it another value", Use.NOT_CONVERTED)
    return Measure(scale.quantity, _number(record) * factor, direction)


def _absence(record: Record) -> str:
    """Why a record is not the present value."""
    storage, tariff, subunit = record.dif[0] >> 6 & 1, 0, 0
    for place, extension in enumerate(record.dif[1:]):
        storage |= (extension & 0x0F) << 1 + 4 * place
        tariff |= (extension >> 4 & 3) << 2 * place
        subunit |= (extension >> 6 & 1) << place
    function = _FUNCTIONS[record.dif[0] >> 4 & 3]
    numbers = (("storage", storage), ("tariff", tariff), ("subunit", subunit))
    return "not the present value: " + ", ".join(
        [*([function] if function else []), *(f"{name} {number}" for name, number in numbers if number)]
    )


def _number(record: Record) -> Fraction:
    """The number before scaling, exactly. Raises `UnusableRecord` for what is none: an invalid code, NaN, digits beyond 9."""
    field, data = record.dif[0] & 0x0F, record.data
    if field in _BCD:
        return _bcd(data)
    if field in _INTEGER:
        return _integer(data)
    if field == _REAL:
        (real,) = struct.unpack("<f", data)
        if real != real or real in (float("inf"), float("-inf")):
            raise UnusableRecord(f"{'NaN' if real != real else 'infinite'}, expected a number", Use.DAMAGED)
        return Fraction(real)
    if field == _VARIABLE and 0xC0 <= record.lvar <= 0xDF and data:
        return _bcd(data) * (1 if record.lvar < 0xD0 else -1)
    if field == _VARIABLE and 0xE0 <= record.lvar <= 0xEF and data:
        return _integer(data)
    if field == _VARIABLE:
        raise UnusableRecord("a text or a long binary value, expected a number", Use.DAMAGED)
    raise UnusableRecord("without data, expected a number", Use.DAMAGED)


def _integer(data: bytes) -> Fraction:
    if data == bytes(len(data) - 1) + b"\x80":
        raise UnusableRecord(f"{data.hex().upper()} is the code of an invalid value", Use.DAMAGED)
    return Fraction(int.from_bytes(data, "little", signed=True))


def _bcd(data: bytes) -> Fraction:
    """Packed BCD, low byte first; the digit F in front means negative."""
    digits = data[::-1].hex()
    if not is_bcd(data):
        raise UnusableRecord(f"the digits {digits.upper()} are no BCD", Use.DAMAGED)
    return Fraction(-int(digits[1:]) if digits[0] == "f" else int(digits))


def is_bcd(data: bytes) -> bool:
    """Whether all digits are decimal, the sign F in front aside."""
    digits = data[::-1].hex()
    return digits[1:].isdecimal() and digits[0] in "0123456789f"


# --- for people -----------------------------------------------------------------------------------------------------------------


class Value(NamedTuple):
    """A record's value, numbers as floats (None: there is none), and its unit ("" for none)."""

    value: float | str | None
    unit: str


def read_value(record: Record) -> Value:
    """A record's value for people. Never raises."""
    if (scale := _scale_of(record)) and scale.quantity in (VOLUME, FLOW):
        try:
            quantity, number, _ = measure_of(record._replace(dif=bytes((record.dif[0] & 0x0F,))))
            return Value(float(number), UNIT_OF[quantity])
        except UnusableRecord as unusable:
            if unusable.use is Use.DAMAGED:
                return Value(None, "")
    return _library_value(record)


def _library_value(record: Record) -> Value:
    """A record as pyMeterBus reads it, which fails on some codes and does not check the digits of BCD."""
    if record.dif[0] & 0x0F in _BCD and not is_bcd(record.data):
        return Value(None, "")
    library = meterbus.TelegramVariableDataRecord()
    library.dib.parts, library.vib.parts = list(record.dif), list(record.vif)
    library.vib.customVIF.parts, library.dataField.parts = list(record.text), list(record.data)
    try:
        value, unit = library.parsed_value, library.unit
        text = "" if unit in (None, "none") else str(unit)
        return Value(value if isinstance(value, str) or value is None else round(float(value), 9), text.replace("^3", "³"))
    except Exception:
        return Value(None, "")
