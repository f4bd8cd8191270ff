"""Small files in `state/` and what the daemon says about itself: atomic JSON, the site's lock, counters, limited log lines.

No journal and no protocol here.
"""

import fcntl
import json
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest_daemon.site import Site

LOG = logging.getLogger("mainflow")


class SiteBusy(RuntimeError):
    """Another daemon runs on the site."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any, *, durable: bool) -> None:
    """Replace a JSON file atomically; `durable`: it survives a power cut once this returns. Raises `OSError`."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)
    if durable:
        sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """The value in a JSON file; None where the file is absent. Raises `ValueError` naming the file where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); mend or remove it") from None


def lock_site(site: Site) -> int:
    """Hold the site for this process until it ends; gives the lock's file handle. Raises `SiteBusy`."""
    site.state.mkdir(parents=True, exist_ok=True)
    path = site.state / "daemon.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise SiteBusy(f"此站点已有采集进程在运行 / a daemon already runs on {site.root} (lock {path}); stop it first") from None
    return handle


class Limited:
    """A log that says one line a key and minute: the first at once, then how many more there were.

    Keys come from a fixed set (reasons), so nothing grows with what strangers send.
    """

    def __init__(self, every_s: float = 60.0) -> None:
        self._every = every_s
        self._said: dict[str, float] = {}
        self._held: Counter[str] = Counter()

    def warn(self, key: str, message: str) -> None:
        """Say the message now, or count it when the key was said less than a minute ago."""
        now = time.monotonic()
        if now - self._said.get(key, float("-inf")) < self._every:
            self._held[key] += 1
            return
        more = self._held.pop(key, 0)
        self._said[key] = now
        LOG.warning("%s: %s%s", key, message, f" (and {more} more since the last such line)" if more else "")

    def flush(self) -> None:
        """Say the counts whose minute is over, so that the last ones are not left unsaid."""
        now = time.monotonic()
        for key in [key for key in self._held if now - self._said[key] >= self._every]:
            self._said[key] = now
            LOG.warning("%s: %d more since the last such line", key, self._held.pop(key))


@dataclass
class Counters:
    """What the daemon did since it started; each field is written by one thread, so there is no lock."""

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
    turned_away: int = 0
    """Connections beyond the limit."""
    readings: int = 0
    """Readings stored."""
    duplicates: int = 0
    kept: Counter[str] = field(default_factory=Counter)
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
