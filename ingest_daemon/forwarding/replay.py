"""Requests to the running daemon to bring old frames to the raw store again, the frames they select, and the answers.

Adoption: what terminals sent before they were registered. Replay: part of the journal, decoded with today's codecs and profiles.
Two small files in `state/` each: the request stays until it is answered, so a daemon that is killed carries it out after its
next start. `reprocessing.py` does the work.
"""

import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ingest_daemon.contract.files import glance, rebuilt_json, write_json
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.decoding import senders
from ingest_daemon.forwarding.quarantine import unadopted_entries
from ingest_daemon.journal.envelope import encode_header
from ingest_daemon.journal.reader import walk
from ingest_daemon.journal.records import ALARM, DATA, FRAME_KIND, STRANGER, JournalPosition, Record

_FILES = {"adopt": ("adopt.json", "adopted.json"), "replay": ("replay.json", "replayed.json")}

ReplaySource = tuple[str, Record]
"""A frame that was forwarded before: its stream and its record."""


@dataclass(frozen=True)
class ReplayRange:
    """Part of the journal: receive times (µs since 1970 UTC) and positions, ends excluded; `terminal` empty for all."""

    streams: tuple[str, ...] = (ALARM, DATA, STRANGER)
    from_us: int = 0
    to_us: int = sys.maxsize
    begin: int = 0
    end: int = sys.maxsize
    terminal: str = ""


class ReplayRequest(NamedTuple):
    """A waiting request; `span` None: adoption."""

    name: str
    span: ReplayRange | None


@dataclass
class ReplayResult:
    """The result by terminal: `frames` decoded, new `readings` stored, `corrected` and `withdrawn` ones.

    `left`: frames of terminals that are still unknown.
    """

    frames: dict[str, int] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)
    corrected: dict[str, int] = field(default_factory=dict)
    withdrawn: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    error: str = ""
    """Why it was given up; what was done before stays done."""


def ask(site: Site, span: ReplayRange | None = None) -> str:
    """Leave a request and return its name; the same waiting request is joined. Raises `ValueError` where another span waits."""
    path = site.state / _files(span)[0]
    if waiting := _read(path):
        if waiting.span != span:
            raise ValueError(f"another replay waits for the daemon ({waiting.span}); let it end first, or remove {path}")
        return waiting.name
    name = uuid.uuid4().hex
    write_json(path, {"request": name, "span": span and asdict(span)}, durable=True)
    return name


def asked(site: Site) -> ReplayRequest | None:
    """The waiting request, if any."""
    return next((found for file, _ in _FILES.values() if (found := _read(site.state / file))), None)


def reply(site: Site, request: ReplayRequest, done: ReplayResult) -> None:
    """Answer the request and end it. Raises `OSError`."""
    question, answered = _files(request.span)
    write_json(site.state / answered, {"request": request.name, **asdict(done)}, durable=False)
    (site.state / question).unlink(missing_ok=True)


def answer(site: Site, name: str) -> ReplayResult | None:
    """The answer to a request; None while there is none."""
    for _, file in _FILES.values():
        found = glance(site.state / file, _answer)
        if found and found[0] == name:
            return found[1]
    return None


def select(
    site: Site, request: ReplayRequest, unadopted: Mapping[JournalPosition, str], ends: Mapping[str, int]
) -> Iterator[ReplaySource]:
    """The frames that the request selects. `unadopted`: those that wait for adoption; `ends`: see `replayed`."""
    if request.span is not None:
        return replayed(site, request.span, ends)
    waiting = (entry for entry in unadopted_entries(site.quarantine) if (entry.stream, entry.position) in unadopted)
    return (
        (entry.stream, Record(entry.position, entry.received_us, FRAME_KIND, encode_header(entry.way) + entry.raw))
        for entry in waiting
    )


def replayed(site: Site, span: ReplayRange, ends: Mapping[str, int]) -> Iterator[ReplaySource]:
    """The frames of the span that the journal still has, before the positions `ends` (later ones are not forwarded yet)."""
    for stream in span.streams:
        end = min(span.end, ends[stream])
        for chunk in walk(site.journal / stream, span.begin):
            inside = [
                record for record in chunk.records if record.position < end and span.from_us <= record.received_us < span.to_us
            ]
            if span.terminal:
                said = senders(inside, range(len(inside)))
                inside = [record for record, (terminal, *_) in zip(inside, said, strict=True) if terminal == span.terminal]
            yield from ((stream, record) for record in inside)
            if chunk.next_position >= end:
                break


def _answer(found: Mapping[str, Any]) -> tuple[str, ReplayResult]:
    return found["request"], ReplayResult(**{key: value for key, value in found.items() if key != "request"})


def _files(span: ReplayRange | None) -> tuple[str, str]:
    return _FILES["adopt" if span is None else "replay"]


def _read(path: Path) -> ReplayRequest | None:
    return rebuilt_json(path, _request, "what was asked for is not done: ask again")


def _request(found: Mapping[str, Any]) -> ReplayRequest:
    span = found["span"]
    return ReplayRequest(str(found["request"]), ReplayRange(**{**span, "streams": tuple(span["streams"])}) if span else None)
