"""Default implementations of the functions of `api.Codec` that a codec may leave out."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ingest_daemon.codec_kit.api import Arrival, Command, NumberShape, Packet, UnsupportedCommand

POLLED = False

TERMINAL_NUMBER = LINK_ADDRESS = NumberShape(".*", "any text", "任意文字")


def sniff(prefix: bytes) -> bool | None:
    """Never recognized by its first bytes: the listener or the terminal's row in the registry names such a protocol."""
    return False


def other_stations(frame: bytes) -> tuple[str, ...]:
    """No others: a frame holds readings of its sender only."""
    return ()


def password(frame: bytes) -> str:
    """No password."""
    return ""


def is_alarm(arrival: Arrival, profile: Any) -> bool:
    """No alarms."""
    return False


def reply(frame: bytes, now: datetime, profile: Any) -> bytes | None:
    """No acknowledgements."""
    return None


def packet(frame: bytes) -> Packet | None:
    """Every frame is a message of its own."""
    return None


def ask_again(frame: bytes, number: int, now: datetime) -> bytes | None:
    """Nothing is asked for again."""
    return None


def profile(table: Mapping[str, Any]) -> Any:
    """No settings. Raises `ValueError` where there is one."""
    if table:
        raise ValueError(f"{', '.join(table)}: this protocol has no settings of a station")


def requests(ask: Command, profile: Any) -> list[bytes]:
    """No command is supported. Raises `UnsupportedCommand`."""
    raise UnsupportedCommand(f"{ask.kind}: terminals of this protocol cannot be asked anything")


def answers(request: bytes, frame: bytes) -> bool:
    """Nothing was asked, so nothing is an answer."""
    return False


def identity(request: bytes) -> bytes:
    """Answers identify their request in full."""
    return request


def follow_up(request: bytes, frame: bytes) -> bytes | None:
    """Every answer is complete."""
    return None


def rounds(frames: Sequence[bytes], profile: Any) -> list[Arrival]:
    """Every frame is an arrival of its own."""
    return [Arrival(frame) for frame in frames]


def unused(arrival: Arrival) -> list[str]:
    """Everything a frame carries is used or refused."""
    return []
