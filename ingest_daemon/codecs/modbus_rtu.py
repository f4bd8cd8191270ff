"""Modbus RTU through a DTU: the server asks, the meter answers. The profile, a register map, gives the registers a meaning.

    offset  bytes  what
    0       1      address of the meter on its line, 1 to 247
    1       1      function: 03 holding registers, 04 input registers; 83, 84: the same, refused
    2       1      bytes of registers that follow (of a refusal: the reason, and then the CRC)
    3       n      registers, the high byte first
    3 + n   2      CRC-16, low byte first

(MODBUS over Serial Line V1.02, 2.5.1.) In a TCP stream silence means nothing, so an answer is cut by its length and its CRC.
The map is in `ingest_daemon/codec_kit/modbus/register_map.py`, the common part of RTU and TCP in `…/modbus/pdu.py`.
"""

import re
from functools import partial

import numpy as np
from fastcrc import crc16

from ingest_daemon.codec_kit.api import Command, Decoder, ExplainedField, NumberShape
from ingest_daemon.codec_kit.checksums import crc16_is_good
from ingest_daemon.codec_kit.explained import checksum_text
from ingest_daemon.codec_kit.framer import Bulk, Bytes, Fault, FrameFormat, Framer, Offsets
from ingest_daemon.codec_kit.modbus import pdu as modbus
from ingest_daemon.codec_kit.modbus.register_map import RegisterMap, register_map
from ingest_daemon.contract.schema import Reason

MAX_FRAME = 5 + 2 * 125
POLLED = True

LINK_ADDRESS = NumberShape(r"0*([1-9]\d?|1\d\d|2[0-3]\d|24[0-7])", "an address from 1 to 247", "地址 1 至 247")
_SHORTEST = 5
_ADDRESSES = range(1, 248)


def _crc(data: bytes) -> bytes:
    return crc16.modbus(data).to_bytes(2, "little")


def _size(piece: bytes | bytearray) -> int | None:
    """Bytes of an answer, by its first three: 0 if none begins so, None if more are needed to tell."""
    if piece and piece[0] not in _ADDRESSES:
        return 0
    size = modbus.size_of(piece[1:3])
    return 1 + size + 2 if size else size


def _is_good(frame: bytes | bytearray) -> bool:
    return crc16.modbus(frame) == 0  # over an answer and its CRC


def _fault(frame: bytes) -> Fault:
    return Reason.BAD_CRC, f"CRC is {frame[-2:].hex().upper()}, expected {_crc(frame[:-2]).hex().upper()}"


_COUNTS, _REFUSALS = bytes(range(2, 251, 2)), bytes(modbus.EXCEPTIONS)
_SIZES = np.zeros(1 << 16, np.int64)
"""Bytes of an answer by its function and the byte behind it; 0 where they are no answer."""
for _read in modbus.READS:
    _SIZES[[_read << 8 | count for count in _COUNTS]] = [_SHORTEST + count for count in _COUNTS]
    _SIZES[[(_read | modbus.ERROR) << 8 | reason for reason in _REFUSALS]] = _SHORTEST


def _sizes(block: Bytes) -> Offsets:
    sizes = _SIZES.take(block[1:-1].astype(np.int64) << 8 | block[2:])
    return np.where((block[:-2] >= _ADDRESSES[0]) & (block[:-2] <= _ADDRESSES[-1]), sizes, 0)


FRAME_FORMAT = FrameFormat(
    begins=re.compile(
        rb"(?=[\x01-\xf7](?:[\x03\x04](?:[%b]|\Z)|[\x83\x84](?:[%b]|\Z)|\Z))" % (re.escape(_COUNTS), re.escape(_REFUSALS)),
        re.DOTALL,
    ),
    header=3,
    shortest=_SHORTEST,
    size=_size,
    good=_is_good,
    fault=_fault,
    expected="an address 1 to 247 and the function 03, 04, 83 or 84",
    bulk=Bulk(b"\x03\x04\x83\x84", _sizes, crc16_is_good),
)


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return Framer(FRAME_FORMAT)


def terminal(frame: bytes) -> str:
    """The address on the line that the frame came from."""
    return str(frame[0])


profile = register_map


def requests(ask: Command, profile: RegisterMap | None) -> list[bytes]:
    """The requests of one round, in order. Raises `UnsupportedCommand`: registers can be read as they are now, nothing else."""
    bodies = modbus.requests(ask, profile)
    address = bytes((modbus.address_of(ask, _ADDRESSES[0], _ADDRESSES[-1]),))
    return [_framed(address, body) for body in bodies]


def answers(request: bytes, frame: bytes) -> bool:
    """Whether the frame answers the request: the same address and function and as many registers, or a refusal."""
    return request[0] == frame[0] and modbus.answers(request[1:-2], frame[1:])


def identity(request: bytes) -> bytes:
    """Address and function: an answer does not name its registers, and a refusal not even their number."""
    return request[:2]


def _framed(address: bytes, body: bytes) -> bytes:
    return address + body + _crc(address + body)


_FRAMING = modbus.Framing(1, 2, answers, lambda body, frame: _framed(frame[:1], body))
rounds = partial(modbus.rounds, framing=_FRAMING)
decode = partial(modbus.decode, framing=_FRAMING)
is_alarm = partial(modbus.is_alarm, framing=_FRAMING)


def explain(frame: bytes) -> list[ExplainedField]:
    """Every byte of one answer or of several in a row; of any bytes whatever."""
    parts, at = list[ExplainedField](), 0
    while at < len(frame):
        size = _size(frame[at : at + 3])
        piece = frame[at : at + size] if size else frame[at:]
        parts.append(ExplainedField(at, piece[:1], "地址", "address", str(piece[0]), ""))
        crc = piece[-2:] if len(piece) >= _SHORTEST else b""
        parts += modbus.explain(piece[1 : len(piece) - len(crc)], at + 1)
        if crc:
            text = checksum_text(crc.hex().upper(), _crc(piece[:-2]).hex().upper())
            parts.append(ExplainedField(at + len(piece) - 2, crc, "校验", "CRC", text, ""))
        at += len(piece)
    return parts
