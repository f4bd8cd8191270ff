"""Bytes of registers → columns of fields, many meters of one register map at once (see `register_map.py`)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest_daemon.codec_kit import bcd
from ingest_daemon.codec_kit.modbus.register_map import TYPES, UNIT_OF, WHOLE, Code, Register, RegisterMap, Spot, by_field
from ingest_daemon.codec_kit.units import UNITS

Bytes = NDArray[np.uint8]
Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Numbers(NamedTuple):
    """Bytes of numbers that one answer holds, so that they are of one moment, (rows, 2 x registers) each.

    `blank`: rows in which all registers of that answer are FFFF, although it holds more than one number: the meter has no data.
    """

    blocks: list[Bytes]
    blank: Mask


FindNumbers = Callable[[Sequence[Spot]], Numbers | None]
"""The numbers in the answers; None where one answer does not hold all of them."""


class Columns(NamedTuple):
    """Registers of many meters of one map, a row each.

    `fields`: name → values, NaN where missing. `raised`: alarm code → whether it is on; None where not all alarm registers were
    read; `is_alarm_known`: rows in which they hold data. `faults`: row → what was wrong with it. `is_read`: any field was.
    """

    fields: dict[str, Values]
    raised: dict[str, Mask] | None
    is_alarm_known: Mask
    faults: dict[int, list[str]]
    is_read: bool


def columns(register_map: RegisterMap, find: FindNumbers, rows: int) -> Columns:
    """The fields of many answers of one map at once."""
    fields: dict[str, Values] = {}
    faults: dict[int, list[str]] = {}
    is_read = False
    for field, parts in by_field(register_map.registers):
        numbers = find([part.spot for part in parts])
        codes = {code: found for part in parts for code in part.codes if (found := find([code.spot])) is not None}
        if numbers is None or any(code not in codes for part in parts for code in part.codes):
            fields[field] = np.full(rows, np.nan)
            continue
        is_read = True
        fields[field] = np.zeros(rows)
        blank = numbers.blank.copy()
        for code_numbers in codes.values():
            blank |= code_numbers.blank
        for part, block in zip(parts, numbers.blocks, strict=True):
            coded = [(code, _integers(code.spot, codes[code].blocks[0])) for code in part.codes]
            fields[field] += _part(part, register_map.base, block, coded, blank, faults)
        for row in np.flatnonzero(blank).tolist():
            faults.setdefault(row, []).append(f"{field}: all registers of its answer are FFFF: the meter has no data there")
    return Columns(fields, *raised_alarms(register_map, find, rows), faults, is_read)


def _part(
    part: Register,
    base: int,
    block: Bytes,
    coded: Sequence[tuple[Code, NDArray[np.int64]]],
    blank: Mask,
    faults: dict[int, list[str]],
) -> Values:
    """A register's contribution to its field; NaN where it is no number, or its unit is unknown. `blank`: rows without data."""
    over, under = np.full(len(block), float(part.factor.numerator)), np.full(len(block), float(part.factor.denominator))
    offset = np.full(len(block), float(part.offset))
    for code, numbers in coded:
        for key, meaning in code.means:
            factor = UNITS[UNIT_OF[part.field]][meaning] if isinstance(meaning, str) else meaning
            over[numbers == key] *= float(factor.numerator)
            under[numbers == key] *= float(factor.denominator)
            offset[numbers == key] *= float(factor)
    # Divided, not multiplied by a tenth: so 1234567 L are exactly 1234.567 m³.
    with np.errstate(invalid="ignore", over="ignore"):
        value: Values = _floats(part.spot, block) * over / under + offset
    register = f"{part.field}: register {part.spot.address + base}"
    missing = _missing(part, block)
    if not part.is_expected:
        advice = "(the key missing in the map names it, missing = [] makes it a number)"
        _note(faults, missing & ~blank, f"{register} holds a code of no value {advice}:", block)
    bad = ~np.isfinite(value) & ~missing & ~blank
    _note(faults, bad, f"{register} is no {part.spot.type} that can be used:", block)
    for code, numbers in coded:
        keys = [key for key, _ in code.means]
        unknown = ~np.isin(numbers, keys) & ~blank
        where = f"{part.field}: register {code.spot.address + base} ({code.name})"
        _note(faults, unknown, f"{where}: expected {', '.join(map(str, keys))}; there is", numbers)
        bad |= unknown
    value[bad | missing | blank] = np.nan
    return value


def _missing(part: Register, block: Bytes) -> Mask:
    """Rows in which the number is a code of no value."""
    missing, numbers = np.zeros(len(block), bool), _ordered(part.spot, block)
    for code in part.missing:
        missing |= (numbers == np.frombuffer(code, np.uint8)).all(axis=1)
    return missing


def _note(faults: dict[int, list[str]], rows: Mask, text: str, values: NDArray[Any]) -> None:
    """Add the text and each row's value, a number or bytes, to the faults of these rows."""
    for row in np.flatnonzero(rows).tolist():
        value = values[row].tobytes().hex().upper() if values.ndim == 2 else values[row]
        faults.setdefault(row, []).append(f"{text} {value}")


def raised_alarms(register_map: RegisterMap, find: FindNumbers, rows: int) -> tuple[dict[str, Mask] | None, Mask]:
    """`Columns.raised` and `Columns.is_alarm_known` alone."""
    raised: dict[str, Mask] = {}
    is_known = np.ones(rows, bool)
    for alarm in register_map.alarms:
        numbers = find([alarm.spot])
        if numbers is None:
            return None, is_known
        is_known &= ~numbers.blank
        word = _integers(alarm.spot, numbers.blocks[0])
        for bit, code in alarm.codes.items():
            is_on = word != 0 if bit is None else (word >> bit) & 1 == 1
            raised[code] = raised.get(code, np.zeros(rows, bool)) | is_on
    return raised if register_map.alarms else None, is_known


def _ordered(spot: Spot, block: Bytes) -> Bytes:
    """The bytes of the numbers, the highest first. Of 64 bits, CDAB means the lowest register first."""
    words = block.reshape(len(block), spot.words, 2)
    if spot.order in ("CDAB", "DCBA"):
        words = words[:, ::-1]
    if spot.order in ("BADC", "DCBA"):
        words = words[:, :, ::-1]
    return np.ascontiguousarray(words).reshape(len(block), 2 * spot.words)


def _integers(spot: Spot, block: Bytes) -> NDArray[np.int64]:
    low, high = spot.bits
    number = _ordered(spot, block).view(TYPES[spot.type][1])[:, 0].astype(np.int64)
    return (number >> low) & ((1 << (high - low + 1)) - 1) if spot.type == "bits" else number


def _floats(spot: Spot, block: Bytes) -> Values:
    """The numbers; NaN where packed BCD has a digit beyond 9."""
    form = TYPES[spot.type][1]
    if spot.type in WHOLE:
        return _integers(spot, block).astype(np.float64)
    if form:
        with np.errstate(invalid="ignore"):
            return _ordered(spot, block).view(form)[:, 0].astype(np.float64)
    digits, bad = bcd.pairs(_ordered(spot, block))
    value = digits @ (100 ** np.arange(2 * spot.words - 1, -1, -1, dtype=np.int64))
    return np.where(bad, np.nan, value.astype(np.float64))
