"""Packed BCD in columns: many values of one width at once. No protocol's layout, unit or time format belongs here.

A block is a `uint8` array of shape (values, bytes), high byte first.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.uint8]
Whole = NDArray[np.int64]
Mask = NDArray[np.bool_]

LIMIT = 10**18
"""Numbers of this size and more may not fit into 64 bits: `read` marks them bad, `write` refuses them."""

_BYTES = 9

_PAIRS = np.array([high * 10 + low if high < 10 and low < 10 else -1 for high in range(16) for low in range(16)], np.int64)
"""A byte's two digits, 0 to 99; -1 where a nibble is no digit."""
_PAIRS_OR_NAN = np.where(_PAIRS < 0, np.nan, _PAIRS.astype(np.float64))
_EXACT_BYTES = 7
"""Most bytes of a number that is exact as a float."""
_WEIGHTS = 100.0 ** np.arange(_EXACT_BYTES - 1, -1, -1)


class Numbers(NamedTuple):
    """Whole numbers of a block, (values,): 0 where `missing` (all bytes FF) or `bad` (not BCD, or at least `LIMIT`)."""

    value: Whole
    missing: Mask
    bad: Mask


def pairs(block: Block) -> tuple[Whole, Mask]:
    """Every byte as its two digits, 0 to 99, shape as the block; and per value whether a nibble is no digit."""
    digits = _PAIRS[block]
    bad = np.zeros(len(block), bool)
    for column in range(block.shape[1]):
        bad |= digits[:, column] < 0
    return digits, bad


def read(block: Block) -> Numbers:
    """Numbers of a block; a first byte FF means negative, FF throughout means no value (SL 651-2014 6.6.2)."""
    count, size = block.shape
    if size == 0:
        return Numbers(np.zeros(count, np.int64), np.zeros(count, bool), np.ones(count, bool))
    led = block[:, 0] == 0xFF
    if size <= _EXACT_BYTES and not led.any():  # nearly always: neither negative nor missing
        number = _PAIRS_OR_NAN[block] @ _WEIGHTS[-size:]
        bad = np.isnan(number)
        return Numbers(np.where(bad, 0, number).astype(np.int64), led, bad)
    missing = (block == 0xFF).all(axis=1)
    negative = (block[:, 0] == 0xFF) & ~missing
    unsigned = block.copy()
    unsigned[negative, 0] = 0
    digits, bad = pairs(unsigned)
    value = np.zeros(count, np.int64)
    for column in range(max(0, size - _BYTES), size):
        value = value * 100 + digits[:, column]
    bad = (bad | digits[:, : max(0, size - _BYTES)].any(axis=1)) & ~missing
    value = np.where(missing | bad, 0, np.where(negative, -value, value))
    return Numbers(value, missing, bad)


def width(values: Whole) -> int:
    """Fewest bytes that hold every number, with the byte FF before negative ones. Raises `ValueError` from `LIMIT` on."""
    most = int(np.abs(values).max(initial=0))
    if most >= LIMIT:
        raise ValueError(f"{most} has more digits than the {2 * _BYTES} that a BCD value may have here")
    positive = _bytes(int(values.max(initial=0)))
    negative = int(values.min(initial=0))
    return max(positive, 1 + _bytes(-negative)) if negative < 0 else positive


def write(values: Whole, missing: Mask, size: int) -> Block:
    """The block of `size` bytes from which `read` gives the values; `size` is at least `width(values)`."""
    block = np.empty((len(values), size), np.uint8)
    rest = np.abs(values)
    for column in range(size - 1, -1, -1):
        rest, pair = rest // 100, rest % 100
        block[:, column] = pair // 10 * 16 + pair % 10
    block[values < 0, 0] = 0xFF
    block[missing] = 0xFF
    return block


def _bytes(value: int) -> int:
    return (len(str(value)) + 1) // 2
