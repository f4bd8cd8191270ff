"""Modbus TCP: the server dials a meter or its gateway and asks. The profile, a register map, gives the registers a meaning.

    offset  bytes  what
    0       2      transaction: as in the request
    2       2      0000
    4       2      bytes that follow
    6       1      unit: the address behind a gateway; 255 (or 0) for the device itself
    7       1      function: 03 holding registers, 04 input registers; 83, 84: the same, refused
    8       1      bytes of registers that follow (of a refusal: the reason)
    9       n      registers, the high byte first

(MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3.) There is no checksum: an answer is refused where it does
not agree with itself (zeros, both lengths, function) or with the request (transaction, unit, function, count).
The map is in `ingest_daemon/codec_kit/modbus/register_map.py`, the common part of RTU and TCP in `…/modbus/pdu.py`.
"""

import re
from functools import partial

from ingest_daemon.codec_kit.api import Command, Decoder, ExplainedField, Frame, NumberShape, Rejected
from ingest_daemon.codec_kit.modbus import pdu as modbus
from ingest_daemon.codec_kit.modbus.register_map import RegisterMap, register_map
from ingest_daemon.contract.schema import Reason

MAX_FRAME = 9 + 2 * 125
POLLED = True

LINK_ADDRESS = NumberShape(
    r"(0*(\d\d?|1\d\d|2[0-4]\d|25[0-5]))?",
    "a unit from 0 to 255, or none for the device itself",
    "单元号 0 至 255，空为设备本身",
)
_ITSELF = "255"
_HEADER = 7


def _size(held: bytes) -> int | None:
    """Bytes of the answer that begins here: 0 if none can, None if more bytes are needed to tell."""
    if any(held[2:5]):
        return 0
    size = modbus.size_of(held[7:9])
    if size == 0 or (size and held[5] != 1 + size):
        return 0
    return _HEADER + size if size else None


_BEGINS = re.compile(
    rb"(?=.{1,2}\Z|.{2}\0{1,2}\Z|.{2}\0{3}(?:.{0,2}\Z|.{2}(?:[\x03\x04](?:[%b]|\Z)|[\x83\x84](?:[%b]|\Z))))"
    % (re.escape(bytes(range(2, 251, 2))), re.escape(bytes(modbus.EXCEPTIONS))),
    re.DOTALL,
)
"""The places where an answer may begin, a part of its header at the end of the bytes included."""


class _Decoder:
    """Cut by the header: one that agrees with itself is believed, bytes that cannot be one are passed over."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def pending(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        held, out, done, place = self._held + data, list[Frame | Rejected](), 0, 0

        def refuse() -> None:
            if place > done:
                text = "expected a transaction, 0000, two lengths that agree, and the function 03, 04, 83 or 84"
                out.append(Rejected(held[done:place], Reason.NOISE, text))

        while match := _BEGINS.search(held, place):
            place = match.start()
            size = _size(held[place : place + 9])
            if size is None or place + size > len(held):
                break
            if size == 0:
                place += 1
                continue
            refuse()
            out.append(Frame(held[place : place + size]))
            done = place = place + size
        refuse()
        self._held = held[place:]
        return out


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return _Decoder()


def terminal(frame: bytes) -> str:
    """The unit that the frame came from."""
    return str(frame[6])


profile = register_map


def requests(ask: Command, profile: RegisterMap | None) -> list[bytes]:
    """The requests of one round, in order. Raises `UnsupportedCommand`: registers can be read as they are now, nothing else."""
    bodies = modbus.requests(ask, profile)
    unit = bytes((modbus.address_of(ask if ask.address else ask._replace(address=_ITSELF), 0, 255),))
    # By the second, so that an answer to an earlier round that comes late is not taken for one to this.
    first = int(ask.now.timestamp()) * 16
    starts = (((first + number) & 0xFFFF).to_bytes(2, "big") + bytes(2) for number in range(len(bodies)))
    return [_framed(start, unit, body) for start, body in zip(starts, bodies, strict=True)]


def answers(request: bytes, frame: bytes) -> bool:
    """Whether the frame answers the request: the same transaction, unit and function and as many registers, or a refusal."""
    return request[:2] == frame[:2] and request[6] == frame[6] and modbus.answers(request[7:], frame[7:])


def _framed(start: bytes, unit: bytes, body: bytes) -> bytes:
    """A request behind `start`, its transaction and the protocol identifier."""
    return start + (1 + len(body)).to_bytes(2, "big") + unit + body


_FRAMING = modbus.Framing(_HEADER, 0, answers, lambda body, frame: _framed(frame[:4], frame[6:7], body))
rounds = partial(modbus.rounds, framing=_FRAMING)
decode = partial(modbus.decode, framing=_FRAMING)
is_alarm = partial(modbus.is_alarm, framing=_FRAMING)


def explain(frame: bytes) -> list[ExplainedField]:
    """Every byte of one answer or of several in a row; of any bytes whatever."""
    parts, at = list[ExplainedField](), 0
    while at < len(frame):
        piece = frame[at : at + (_size(frame[at : at + 9]) or len(frame))]
        for offset, size, zh, en in (
            (0, 2, "事务号", "transaction"),
            (2, 2, "协议标识", "protocol identifier"),
            (4, 2, "长度", "length"),
            (6, 1, "单元", "unit"),
        ):
            if raw := piece[offset : offset + size]:
                parts.append(ExplainedField(at + offset, raw, zh, en, str(int.from_bytes(raw, "big")), ""))
        parts += modbus.explain(piece[7:], at + 7)
        at += len(piece)
    return parts
