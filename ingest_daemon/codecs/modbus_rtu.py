"""Modbus RTU as it comes through a DTU: we ask, the meter answers. What registers mean is the profile's: a register map.

    offset  bytes  what
    0       1      address of the meter on its line, 1 to 247
    1       1      function: 03 holding registers, 04 input registers; 83, 84: the same, refused
    2       1      bytes of registers that follow (of a refusal: why, and then the CRC)
    3       n      registers, the high byte first
    3 + n   2      CRC-16, low byte first

(MODBUS over Serial Line V1.02, 2.5.1.) In a TCP stream silence means nothing, so an answer is cut by its length and its CRC.
The map is in `ingest_daemon/codec_kit/modbus/register_map.py`, what RTU and TCP share in `ingest_daemon/codec_kit/modbus/pdu.py`.
"""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from fastcrc import crc16

from ingest_daemon.codec_kit.api import Arrival, Command, Decoded, Decoder, ExplainedField, Frame, NumberShape, Rejected
from ingest_daemon.codec_kit.modbus import pdu as modbus
from ingest_daemon.codec_kit.modbus.register_map import RegisterMap, register_map
from ingest_daemon.contract.schema import Reason

FRAMING = modbus.Framing(before=1, after=2)
MAX_FRAME = 5 + 2 * 125
POLLED = True

LINK_ADDRESS = NumberShape(r"0*([1-9]\d?|1\d\d|2[0-3]\d|24[0-7])", "an address from 1 to 247")
_SHORTEST = 5
_ADDRESSES = range(1, 248)


def _crc(data: bytes) -> bytes:
    return crc16.modbus(data).to_bytes(2, "little")


def _size(piece: bytes) -> int | None:
    """Bytes of an answer, by its first three: 0 if none begins so, None if more are needed to tell."""
    if piece and piece[0] not in _ADDRESSES:
        return 0
    size = modbus.size_of(piece[1:3])
    return FRAMING.before + size + FRAMING.after if size else size


class _Decoder:
    """Every byte that could be an address is a candidate; of all candidates the one that ends first with a good CRC is the frame.

    So a damaged byte count does not swallow the good answer that follows, and it does not matter how the stream was cut. Places
    are counted from the beginning of the connection: `_from` is the first byte held, `_at` the first that was not looked at.
    """

    def __init__(self) -> None:
        self._held = b""
        self._from = self._at = 0
        self._due: list[tuple[int, int]] = []
        self._failed: dict[int, int] = {}

    @property
    def pending(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        held, base, out = self._held + data, self._from, list[Frame | Rejected]()
        told = upto = base + len(held)  # what begins at `told` or later cannot be told yet
        while True:
            end, start = self._due[0] if self._due else (upto + 1, upto)
            if self._at < min(told, end):
                size = _size(held[self._at - base : self._at - base + 3])
                if size is None:
                    told = self._at
                    continue
                if size:
                    heappush(self._due, (self._at + size, self._at))
                self._at += 1
                continue
            if end > upto:
                break
            heappop(self._due)
            raw = held[start - base : end - base]
            if _crc(raw[:-2]) != raw[-2:]:
                self._failed[start] = end
                continue
            self._refuse(held[self._from - base : start - base], out)
            out.append(Frame(raw))
            self._from = self._at = end
            told = upto
            self._due.clear()
            self._failed.clear()
        first = min((start for _, start in self._due), default=self._at)
        self._refuse(held[self._from - base : first - base], out)
        self._held, self._from = held[first - base :], first
        return out

    def _refuse(self, raw: bytes, out: list[Frame | Rejected]) -> None:
        """Give the bytes from `_from` on as rejected: in one piece each what began like an answer, the rest as noise."""
        if not raw:
            return
        upto, done = len(raw), 0
        for start, end in sorted([*self._failed.items(), *((start, end) for end, start in self._due)]):
            begin, size = start - self._from, end - start
            if not done <= begin < upto:
                continue
            _noise(raw[done:begin], out)
            piece = raw[begin : begin + size]
            done = begin + len(piece)
            if len(piece) == size:
                received, expected = piece[-2:].hex().upper(), _crc(piece[:-2]).hex().upper()
                out.append(Rejected(piece, Reason.BAD_CRC, f"CRC is {received}, expected {expected}"))
            else:
                declared = f"declares {size} bytes, but another whole answer begins before they end"
                out.append(Rejected(piece, Reason.BAD_LENGTH, declared))
        _noise(raw[done:], out)
        self._failed = {start: end for start, end in self._failed.items() if start >= self._from + upto}


def _noise(raw: bytes, out: list[Frame | Rejected]) -> None:
    if raw:
        out.append(Rejected(raw, Reason.NOISE, "expected an address 1 to 247 and the function 03, 04, 83 or 84"))


def decoder() -> Decoder:
    """A decoder for a new connection."""
    return _Decoder()


def terminal(frame: bytes) -> str:
    """The address on the line that the frame came from."""
    return str(frame[0])


def profile(table: Mapping[str, Any]) -> RegisterMap:
    """The register map of a TOML table. Raises `ValueError` naming the wrong key and what is allowed."""
    return register_map(table)


def requests(ask: Command, profile: RegisterMap | None) -> list[bytes]:
    """The requests of one round, in order. Raises `UnsupportedCommand`: registers can be read as they are now, nothing else."""
    bodies = modbus.requests(ask, profile)
    address = bytes((modbus.address_of(ask, _ADDRESSES[0], _ADDRESSES[-1]),))
    return [address + body + _crc(address + body) for body in bodies]


def answers(request: bytes, frame: bytes) -> bool:
    """Whether the frame answers the request: the same address and function and as many registers, or a refusal."""
    return request[0] == frame[0] and modbus.answers(request[1:-2], frame[1:])


def rounds(frames: Sequence[bytes], profile: RegisterMap | None) -> list[Arrival]:
    """Answers as if the blocks of the map had been asked in order (see `modbus.rounds`)."""

    def request(body: bytes, frame: bytes) -> bytes:
        return frame[:1] + body + _crc(frame[:1] + body)

    return modbus.rounds(frames, profile, FRAMING, request)


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Rounds of answers in columns (see `modbus.decode`)."""
    return modbus.decode(arrivals, profiles, FRAMING, answers)


def is_alarm(arrival: Arrival, profile: RegisterMap | None) -> bool:
    """Whether an alarm register is set. Never raises."""
    return modbus.is_alarm(arrival, profile, FRAMING, answers)


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
            expected = _crc(piece[:-2])
            verdict = "正确 / good" if crc == expected else f"应为 / expected {expected.hex().upper()}"
            parts.append(ExplainedField(at + len(piece) - 2, crc, "校验", "CRC", f"{crc.hex().upper()} {verdict}", ""))
        at += len(piece)
    return parts
