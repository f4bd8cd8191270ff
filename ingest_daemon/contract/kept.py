"""What `mainflow up` last said of the processes that it keeps running: `state/up.json`, true while `state/up.lock` is held."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ingest_daemon.contract import locks
from ingest_daemon.contract.files import glance
from ingest_daemon.contract.site import Site

BEAT_S = 2.0
"""The supervisor rewrites the file this often; one that no longer does runs nothing."""


class Kept(NamedTuple):
    """What the supervisor last said of one of its processes; `ended`: how it ended last, empty where it never did."""

    name: str
    is_running: bool
    restarts: int
    ended: str


def lock(site: Site) -> Path:
    """The lock that a supervisor holds as long as it lives."""
    return site.state / "up.lock"


def file(site: Site) -> Path:
    """The file that it writes."""
    return site.state / "up.json"


def kept(site: Site) -> list[Kept] | None:
    """The processes of the running supervisor, none while it starts them; None where there is none."""
    if not locks.is_held(lock(site)):
        return None
    return glance(file(site), _told) or []


def _told(content: Mapping[str, Any]) -> list[Kept]:
    is_alive = time.time() - content["at"] < 2 * BEAT_S
    return [
        Kept(name, is_alive and child["pid"] is not None, child["restarts"], child["ended"])
        for name, child in content["children"].items()
    ]


def ended(site: Site) -> str:
    """The processes that do not run now, as a sentence; empty where all run or nobody keeps any."""
    return "; ".join(
        f"{process.name} ended ({process.ended or 'its supervisor hangs'})"
        for process in kept(site) or []
        if not process.is_running
    )
