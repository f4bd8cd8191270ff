"""Checksums in the byte order in which a protocol sends them, and the same for many pieces of one block at a time.

A single checksum comes from `fastcrc` or `sum`. For many pieces (hostile bytes may begin a frame at every place) a running
value over the whole block is made once; a piece is good where the values before and behind it agree.
"""

from functools import cache

import numpy as np
from fastcrc import crc16
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Words = NDArray[np.uint16]
Mask = NDArray[np.bool_]

_PERIOD = 32767
"""Powers of x modulo the polynomial 8005 of CRC-16 repeat after so many: it is (x + 1)(x^15 + x + 1)."""


def crc16_high_first(data: bytes) -> bytes:
    """CRC-16 of Modbus (polynomial 8005 reflected, start FFFF), high byte first as SL 651-2014 sends it: 2 bytes."""
    return crc16.modbus(data).to_bytes(2, "big")


def sums(block: Bytes) -> Bytes:
    """The sums modulo 256 of the bytes before each place of the block, and of all: the sum of a piece is a difference of two."""
    total = np.zeros(len(block) + 1, np.uint8)
    np.cumsum(block, dtype=np.uint8, out=total[1:])
    return total


def crc16_is_good(block: Bytes, starts: Offsets, ends: Offsets) -> Mask:
    """Which pieces of the block end in the CRC-16 of Modbus over their other bytes, low byte first.

    The register after a piece that ends in its CRC is 0. Each byte multiplies it by x^8, so with every byte divided by the power
    of x at its place the running XOR needs no steps, and a piece is good where it changes by its start value FFFF, divided too.
    """
    nibbles, start_value = _crc16_divided()
    low, high = (rows[: len(block)] if len(block) <= _PERIOD else np.resize(rows, len(block)) for rows in _crc16_rows())
    running = np.zeros(len(block) + 1, np.uint16)
    running[1:] = nibbles.take(low + (block & 0x0F)) ^ nibbles.take(high + (block >> 4))
    np.bitwise_xor.accumulate(running, out=running)
    good: Mask = (running[ends] ^ running[starts]) == start_value[starts * 8 % _PERIOD]
    return good


@cache
def _crc16_divided() -> tuple[Words, Words]:
    """Every nibble divided by every power of x, 16 a power, and the start value FFFF divided by every power."""
    powers, value = np.empty(_PERIOD, np.uint16), 1  # the register is reflected: dividing by x shifts to the left
    for exponent in range(_PERIOD):
        powers[exponent] = value
        value = value << 1 ^ (0x14003 if value & 0x8000 else 0)
    bits = np.stack([np.roll(powers, -bit) for bit in range(16)], axis=1)
    nibbles = np.zeros((_PERIOD, 16), np.uint16)
    for bit in range(4):
        nibbles ^= np.where(np.arange(16) >> bit & 1, bits[:, bit, None], np.uint16(0))
    return nibbles.ravel(), np.bitwise_xor.reduce(bits, axis=1)


@cache
def _crc16_rows() -> tuple[Offsets, Offsets]:
    """Where the low and the high nibbles of the byte at each place stand in `_crc16_divided`, for one period."""
    exponent = np.arange(_PERIOD) * 8
    return exponent % _PERIOD * 16, (exponent + 4) % _PERIOD * 16
