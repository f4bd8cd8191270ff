"""Requests of the master, and whether an answer is one to them."""

from collections.abc import Sequence
from typing import Any

from ingest_daemon.codec_kit.api import Arrival, Command, CommandType, UnsupportedCommand
from ingest_daemon.codecs.mbus.framing import (
    ACK,
    FCB,
    FROM_MASTER,
    FUNCTION,
    LONG,
    REQ_UD2,
    RSP_UD,
    SELECT,
    SELECTED,
    SHORT,
    SND_NKE,
    SND_UD,
    VARIABLE,
    long_frame,
    short_frame,
)
from ingest_daemon.codecs.mbus.records import MORE_FOLLOWS, TornRecordError, iter_records


def requests(ask: Command, profile: Any) -> list[bytes]:
    """The requests that read a meter: at its primary address ("1" to "250"), or chosen by the 8 digits of its number."""
    if ask.kind != CommandType.NOW:
        raise UnsupportedCommand(
            f"{ask.kind}: an M-Bus meter is asked its present values (now); what it stored and its clock come with them"
        )
    digits = ask.address
    if len(digits) == 8 and digits.isascii() and digits.isdecimal():
        select = bytes((SND_UD, SELECTED, SELECT)) + bytes.fromhex(digits)[::-1] + b"\xff" * 4
        return [short_frame(SND_NKE, SELECTED), long_frame(select), short_frame(REQ_UD2 | FCB, SELECTED)]
    if digits.isascii() and digits.isdecimal() and 1 <= int(digits) <= 250:
        return [short_frame(SND_NKE, int(digits)), short_frame(REQ_UD2 | FCB, int(digits))]
    raise UnsupportedCommand(
        f"address is {digits!r}, expected a primary address from 1 to 250, or the 8 digits of the meter's number"
    )


def answers(request: bytes, frame: bytes) -> bool:
    """Whether E5 answers a command, or RSP_UD of the asked address a question."""
    if request[0] == SHORT and request[1] & ~FCB == REQ_UD2:
        from_meter = frame[0] == LONG and not frame[4] & FROM_MASTER and frame[4] & FUNCTION == RSP_UD
        return from_meter and (request[2] == SELECTED or frame[5] == request[2])
    return frame[0] == ACK


def identity(request: bytes) -> bytes:
    """The address of a request for data, whatever its FCB: RSP_UD names no more; a late E5 does no harm."""
    is_data = request[0] == SHORT and request[1] & ~FCB == REQ_UD2
    return request[2:3] if is_data else request


def follow_up(request: bytes, frame: bytes) -> bytes | None:
    """The same request with its bit FCB toggled, where the meter announces more frames."""
    return short_frame(request[1] ^ FCB, request[2]) if request[0] == SHORT and _more_follow(frame) else None


def rounds(frames: Sequence[bytes], profile: Any) -> list[Arrival]:
    """The frames, a round each; those that a meter announced belong to the round of the frame before."""
    joined: list[bytes] = []
    more = False
    for frame in frames:
        if more:
            joined[-1] += frame
        else:
            joined.append(frame)
        more = _more_follow(frame)
    return [Arrival(raw) for raw in joined]


def _more_follow(frame: bytes) -> bool:
    """Whether the meter announces another frame behind this one."""
    if frame[0] != LONG or frame[6] != VARIABLE:
        return False
    try:
        last = list(iter_records(frame))[-1:]
    except TornRecordError:
        return False
    return bool(last) and last[0].dif[:1] == bytes((MORE_FOLLOWS,))
