"""Counters and states of the daemon since its start."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Counters:
    """Counters since the daemon started; each field is written by one thread, so there is no lock."""

    frames: Counter[str] = field(default_factory=Counter)
    """Good frames committed, a stream."""
    acknowledged: int = 0
    refused: int = 0
    """Frames not acknowledged because the journal could not take them."""
    bad: Counter[str] = field(default_factory=Counter)
    """Rejected pieces, a reason."""
    doubted: Counter[str] = field(default_factory=Counter)
    """Frames of senders that are doubted or unknown, a reason, whatever was done with them."""
    protocols: Counter[str] = field(default_factory=Counter)
    """Messages, a protocol."""
    polls: Counter[str] = field(default_factory=Counter)
    """Questions to polled terminals: `answered`, `unanswered`."""
    sms: Counter[str] = field(default_factory=Counter)
    """What was done with SMS, in and out."""
    heartbeats: int = 0
    """Signs of life of DTUs."""
    incomplete: int = 0
    """Connections that ended inside a frame."""
    messages_given_up: int = 0
    """Messages of several packets whose rest did not come."""
    rival_callers: int = 0
    """Callers with the number of a link that is on line and alive."""
    turned_away: int = 0
    """Connections beyond the limit."""
    readings: int = 0
    """Readings stored."""
    duplicates: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    quarantine_dropped: Counter[str] = field(default_factory=Counter)
    """Entries dropped for the quarantine's budget, a reason."""
    dropped_bytes: Counter[str] = field(default_factory=Counter)
    """Bytes that were dropped unread for a stream's budget."""
    damaged_bytes: Counter[str] = field(default_factory=Counter)
    """Bytes of the journal that hold no valid record and were passed over, a stream."""
    alarm_events: int = 0
    connections: int = 0
    last_contact_us: dict[str, int] = field(default_factory=dict)
    """Receive time of the last frame a terminal, µs since 1970 UTC."""
    health: dict[str, str] = field(default_factory=lambda: {"journal": "ok", "store": "ok", "postgres": "ok"})
    """`ok`, or the sentence that says what is wrong."""

    def snapshot(self) -> dict[str, Any]:
        """A copy to be written as JSON."""
        return {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in ((name, getattr(self, name)) for name in self.__dataclass_fields__)
        }
