"""Checksums in the byte order in which a protocol sends them. The sums themselves come from `fastcrc`."""

from fastcrc import crc16


def crc16_high_first(data: bytes) -> bytes:
    """CRC-16 of Modbus (polynomial 8005 reflected, start FFFF), high byte first as SL 651-2014 sends it: 2 bytes."""
    return crc16.modbus(data).to_bytes(2, "big")
