"""Modbus RTU as it comes through a DTU: we ask, the meter answers. What registers mean is the profile's: a register map.

    offset  bytes  what
    0       1      address of the meter on its line, 1 to 247
    1       1      function: 03 holding registers, 04 input registers; 83, 84: the same, refused
    2       1      bytes of registers that follow (of a refusal: why, and then the CRC)
    3       n      registers, the high byte first
    3 + n   2      CRC-16, low byte first

(MODBUS over Serial Line V1.02, 2.5.1.) In a TCP stream silence means nothing, so an answer is cut by its length and its CRC.
The map is in `ingest_daemon/registers.py`, what RTU and TCP share in `ingest_daemon/modbus.py`.
"""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from fastcrc import crc16

from ingest_daemon import modbus
from ingest_daemon.frames import Arrival, Ask, Decoded, Decoder, Frame, Part, Rejected
from ingest_daemon.registers import RegisterMap, register_map
from ingest_daemon.schema import Reason

FRAMING = modbus.Framing(before=1, after=2)
MAX_FRAME = 5 + 2 * 125
POLLED = True
_SHORTEST = 5
_ADDRESSES = range(1, 248)


def _crc(data: bytes) -> bytes:
    return crc16.modbus(data).to_bytes(2, "little")


def _end(held: bytes, at: int) -> int:
    """Where an answer that begins at `at` would end (beyond what is held if that is not known yet); 0 if none begins there."""
    if held[at] not in _ADDRESSES:
        return 0
    size = modbus.size_of(held[at + 1 : at + 3])
    if size == 0:
        return 0
    return at + (_SHORTEST if size is None else FRAMING.before + size + FRAMING.after)


class _Decoder:
    """Every byte that could be an address is a candidate; of all candidates the one that ends first with a good CRC is the frame.

    So a damaged byte count does not swallow the good answer that follows, and it does not matter how the stream was cut.
    """

    def __init__(self) -> None:
        self._held = b""

    @property
    def pending(self) -> int:
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame | Rejected]:
        held, out = self._held + data, list[Frame | Rejected]()
        due: list[tuple[int, int]] = []
        failed: dict[int, int] = {}
        done = at = 0
        while True:
            if at < min(len(held), due[0][0] if due else len(held)):
                if end := _end(held, at):
                    heappush(due, (end, at))
                at += 1
                continue
            if not due or due[0][0] > len(held):
                break
            end, start = heappop(due)
            if _crc(held[start : end - 2]) != held[end - 2 : end]:
                failed[start] = end
                continue
            _refuse(held, done, start, failed | {begun: over for over, begun in due}, out)
            out.append(Frame(held[start:end]))
            done = at = end
            due.clear()
            failed.clear()
        first = min((start for _, start in due), default=len(held))
        _refuse(held, done, first, failed, out)
        self._held = held[first:]
        return out


def _refuse(held: bytes, done: int, upto: int, candidates: Mapping[int, int], out: list[Frame | Rejected]) -> None:
    """Give held[done:upto] as rejected: in one piece each what began like an answer, the rest as noise."""
    for start, end in sorted(candidates.items()):
        if not done <= start < upto:
            continue
        _noise(held[done:start], out)
        if end <= upto:
            received, expected = held[end - 2 : end].hex().upper(), _crc(held[start : end - 2]).hex().upper()
            out.append(Rejected(held[start:end], Reason.BAD_CRC, f"CRC is {received}, expected {expected}"))
        else:
            declared = f"declares {end - start} bytes, but another whole answer begins before they end"
            out.append(Rejected(held[start:upto], Reason.BAD_LENGTH, declared))
        done = min(end, upto)
    _noise(held[done:upto], out)


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


def requests(ask: Ask, profile: RegisterMap | None) -> list[bytes]:
    """The requests of one round, in order. Raises `CannotAsk`: registers can be read as they are now, nothing else."""
    bodies = modbus.requests(ask, profile)
    address = bytes((modbus.address_of(ask, _ADDRESSES[0], _ADDRESSES[-1]),))
    return [address + body + _crc(address + body) for body in bodies]


def answers(request: bytes, frame: bytes) -> bool:
    """Whether the frame answers the request: the same address and function and as many registers, or a refusal."""
    return request[0] == frame[0] and modbus.answers(request[1:-2], frame[1:])


def decode(arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    """Rounds of answers in columns (see `modbus.decode`)."""
    return modbus.decode(arrivals, profiles, FRAMING, answers)


def explain(frame: bytes) -> list[Part]:
    """Every byte of one answer or of several in a row; of any bytes whatever."""
    parts, at = list[Part](), 0
    while at < len(frame):
        end = _end(frame, at) or len(frame)
        piece = frame[at:end]
        parts.append(Part(at, piece[:1], "地址", "address", str(piece[0]), ""))
        crc = piece[-2:] if len(piece) >= _SHORTEST else b""
        parts += modbus.explain(piece[1 : len(piece) - len(crc)], at + 1)
        if crc:
            expected = _crc(piece[:-2])
            verdict = "正确 / good" if crc == expected else f"应为 / expected {expected.hex().upper()}"
            parts.append(Part(at + len(piece) - 2, crc, "校验", "CRC", f"{crc.hex().upper()} {verdict}", ""))
        at += len(piece)
    return parts
