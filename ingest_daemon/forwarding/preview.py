"""What the daemon would store of some bytes: the way from the decoder to the raw store, without a registry, journal or store."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Arrival, Codec, Frame
from ingest_daemon.codec_kit.reassembly import Reassembly
from ingest_daemon.contract.schema import FIELDS, READING, Reason
from ingest_daemon.forwarding.alarm_sink import AlarmWord, moment
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.forwarding.triage import Group, TimeLimits, triage
from ingest_daemon.journal.envelope import MOST_STATIONS, RecordHeader, encode_header
from ingest_daemon.journal.records import DATA, FRAME_KIND, Record
from ingest_daemon.stores.points import sift
from ingest_daemon.terminals.profiles import SHIPPED, read_profile
from ingest_daemon.terminals.table import Terminal

_NAMES = [field.name for field in FIELDS]


class Refusal(NamedTuple):
    """Bytes, a frame or a reading that would not be stored, with the reason; `frame`: the bytes in hex."""

    reason: str
    detail: str
    frame: str


class Preview(NamedTuple):
    """What would be stored, a mapping a reading: `terminal`, `ts`, the fields of the schema, `alarms` (codes that are set).

    `refused`: what would be kept aside. `unused`: what frames carry and a reading has no field for.
    """

    readings: list[dict[str, Any]]
    refused: list[Refusal]
    unused: list[str]


class _Given(NamedTuple):
    """What one frame gives: readings as of `Preview`, alarm words, reasons with details of what is kept aside."""

    rows: list[dict[str, Any]]
    words: list[AlarmWord]
    reasons: list[tuple[str, str]]


class _Anyone(dict[str, Terminal]):
    """A registry in which every terminal is registered."""

    def __contains__(self, terminal: object) -> bool:
        return True

    def __missing__(self, terminal: str) -> Terminal:
        return Terminal(terminal)


def preview(data: bytes, protocol: str, profile: str, now: datetime) -> Preview:
    """Decode bytes that came in just now. Answers of a polled meter count as asked in the order of the profile's requests.

    `protocol`: empty for the one whose frames make up most of the bytes. `profile`: a shipped name or the path of a TOML file;
    empty for the protocol's defaults. Raises `ValueError`, `OSError`.
    """
    protocol = protocol or _likely_protocol(data)
    codec = codecs.load(protocol)
    settings = read_profile(_profile_path(profile), protocol) if profile else None
    frames, refused = _frames(codec, protocol, data, now)
    limits = TimeLimits.of(TimeSettings())._replace(past=timedelta(days=36525))  # a frame that a person tries may be of any age
    arrivals = list(codec.rounds(frames, settings))
    records = [_record(number, protocol, codec, arrival, now) for number, arrival in enumerate(arrivals)]
    senders = {arrival.terminal or codec.terminal(arrival.raw) for arrival in arrivals} if profile else set()
    group = triage(DATA, records, _Anyone(), {protocol: dict.fromkeys(senders, settings)}, limits)  # all at once: 25 ms a call
    result = Preview([], refused, [])
    for arrival, part in zip(arrivals, _by_frame(group, len(arrivals)), strict=True):
        _add(result, part, arrival)
        result.unused.extend(codec.unused(arrival))
    return result


def _record(number: int, protocol: str, codec: Codec, arrival: Arrival, now: datetime) -> Record:
    """The journal's record of an arrival, at the position `number`."""
    # Answers of one meter have no time of their own: a millisecond apart they are different points.
    received_us = int(now.timestamp() * 1e6) // 1000 * 1000 + 1000 * number
    stations = tuple((station, "") for station in codec.other_stations(arrival.raw)[:MOST_STATIONS])
    header = RecordHeader(protocol, terminal=arrival.terminal, requests=arrival.requests, stations=stations)
    return Record(number, received_us, FRAME_KIND, encode_header(header) + arrival.raw)


def _by_frame(group: Group, frames: int) -> list[_Given]:
    """What each frame gave, in their order."""
    given = [_Given([], [], []) for _ in range(frames)]
    sifted = sift(group.readings.select(*READING))
    for row in sifted.good.select("frame", "terminal", "ts", *_NAMES).iter_rows(named=True):
        given[row.pop("frame")].rows.append({**row, "alarms": list[str]()})
    for word in group.alarm_words:
        given[word.frame].words.append(word)
    for entry in group.kept:
        given[entry.position].reasons.append((str(entry.reason), entry.detail))
    for number, detail in sifted.refused.select("frame", "detail").iter_rows():
        given[number].reasons.append((str(Reason.STORE_REFUSED), detail))
    return given


def _likely_protocol(data: bytes) -> str:
    """The protocol with most bytes in frames; of none the default of a listener."""
    pieces = {name: codecs.load(name).decoder().feed(data) for name in codecs.names()}
    sizes = {name: sum(len(piece.raw) for piece in pieces[name] if isinstance(piece, Frame)) for name in pieces}
    return max(sizes, key=lambda name: (sizes[name], name == "sl651"))


def _profile_path(profile: str) -> Path:
    if (path := Path(profile)).is_file():
        return path
    if (shipped := SHIPPED / f"{profile}.toml").is_file():
        return shipped
    names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
    raise ValueError(f"profile {profile!r} is neither a file nor a shipped profile; shipped: {names}")


def _frames(codec: Codec, protocol: str, data: bytes, now: datetime) -> tuple[list[bytes], list[Refusal]]:
    """The frames and whole messages in the bytes, and all else with its reason."""
    frames, refused, messages = list[bytes](), list[Refusal](), Reassembly()
    decoder = codec.decoder()
    for piece in decoder.feed(data):
        if not isinstance(piece, Frame):
            refused.append(Refusal(piece.reason, piece.detail, piece.raw.hex().upper()))
        elif packet := codec.packet(piece.raw):
            if whole := messages.take(protocol, packet, piece.raw, now.timestamp()).raw:
                frames.append(whole)
        else:
            frames.append(piece.raw)
    if messages.held_bytes:
        refused.append(Refusal(Reason.BAD_BODY, "a message of several packets is not complete", ""))
    if decoder.pending:
        rest = data[len(data) - decoder.pending :]
        detail = f"the last {len(rest)} bytes are the beginning of a frame whose end is missing"
        refused.append(Refusal(Reason.BAD_LENGTH, detail, rest.hex().upper()))
    return frames, refused


def _add(result: Preview, given: _Given, arrival: Arrival) -> None:
    """Add what one frame gives."""
    _place_alarms(given.rows, given.words)
    result.readings.extend(given.rows)
    frame = arrival.raw.hex().upper()
    result.refused.extend(Refusal(reason, detail, frame) for reason, detail in given.reasons)
    if not given.rows and not given.reasons:
        result.unused.append(f"a frame without a reading: {frame}")


def _place_alarms(rows: list[dict[str, Any]], words: Sequence[AlarmWord]) -> None:
    """Add alarms to their readings; those of a moment without one go to the terminal's last reading, or to a row of their own."""
    for word in words:
        event_at = moment(word.event_us // 1000 * 1000)
        own = [row for row in rows if row["terminal"] == word.terminal]
        same = [row for row in own if row["ts"] == event_at] or own[-1:]
        if not same and word.active:
            same = [{"terminal": word.terminal, "ts": event_at, **dict.fromkeys(_NAMES), "alarms": []}]
            rows += same
        for row in same:
            row["alarms"] = sorted({*row["alarms"], *word.active})
