"""How a person asks the running daemon to store what terminals sent before they were registered, and how it answers.

Two small files in `state/`: the request stays until it is answered, so a daemon that is killed does it after its next start.
What is done then belongs to the forwarder; which frames are meant, to the ledger (`kept.py`).
"""

import uuid
from dataclasses import asdict, dataclass, field

from ingest_daemon.site import Site
from ingest_daemon.state import read_json, write_json

_REQUEST, _ANSWER = "adopt.json", "adopted.json"


@dataclass
class Adopted:
    """What was done, by terminal: `frames` adopted, new `readings` stored, frames `left` of terminals still unknown."""

    frames: dict[str, int] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    error: str = ""
    """Why it was given up; what was done before stays done."""


def ask(site: Site) -> str:
    """Leave a request; gives its name. One that waits already is joined."""
    name = asked(site) or uuid.uuid4().hex
    write_json(site.state / _REQUEST, {"request": name}, durable=True)
    return name


def asked(site: Site) -> str | None:
    """The request that waits, if any."""
    found = read_json(site.state / _REQUEST)
    return str(found["request"]) if found else None


def reply(site: Site, name: str, done: Adopted) -> None:
    """Answer the request, which is over then. Raises `OSError`."""
    write_json(site.state / _ANSWER, {"request": name, **asdict(done)}, durable=False)
    (site.state / _REQUEST).unlink(missing_ok=True)


def answer(site: Site, name: str) -> Adopted | None:
    """The answer to a request; None while there is none."""
    found = read_json(site.state / _ANSWER)
    if not found or found.pop("request") != name:
        return None
    return Adopted(**found)
