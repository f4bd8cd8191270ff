"""Decoding of a group of journal records of any protocols. No journal, store or database is touched here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import NOTHING, Arrival, Codec, Decoded, rejections, renumbered, together
from ingest_daemon.contract.schema import DOUBTS, Channel, Reason
from ingest_daemon.journal.envelope import RecordHeader, parse_record
from ingest_daemon.journal.records import Record


def decode(records: Sequence[Record], profiles: Mapping[str, Mapping[str, Any]]) -> Decoded:
    """Decode the frames, each by the codec of its protocol; `frame` is a record's place in the group.

    `profiles`: by protocol and terminal number.

    A frame with a quarantine reason, a record that is no frame, and a frame on which its codec fails against its contract are
    `rejected` alone; the others are decoded.
    """
    places: dict[str, list[int]] = {}
    arrivals: dict[str, list[Arrival]] = {}
    refused = []
    for place, record in enumerate(records):
        try:
            way, raw = parse_record(record.payload)
        except ValueError as error:
            refused.append(_refused(place, Reason.BAD_BODY, f"not a frame of this journal: {error}"))
            continue
        if way.quarantine_reason:
            refused.append(_refused(place, way.quarantine_reason, DOUBTS[way.quarantine_reason]))
            continue
        places.setdefault(way.protocol, []).append(place)
        arrivals.setdefault(way.protocol, []).append(Arrival(raw, record.received_us, way.terminal, way.requests))
    parts = [*refused]
    for protocol, group in arrivals.items():
        try:
            part = _decode(codecs.load(protocol), group, profiles.get(protocol, {}))
        except ValueError as error:
            part = together([_refused(place, Reason.BAD_BODY, str(error)) for place in range(len(group))])
        parts.append(part if len(group) == len(records) else renumbered(part, np.array(places[protocol])))
    return parts[0] if len(parts) == 1 else together(parts)


def senders(records: Sequence[Record], places: Sequence[int]) -> list[tuple[str, RecordHeader, bytes]]:
    """Terminal number, header and bytes of some records of a group; an empty number where a record has none."""
    found = []
    for place in places:
        try:
            way, raw = parse_record(records[place].payload)
            is_known = way.terminal or not way.protocol  # bytes of an unknown caller have no protocol
            found.append((way.terminal if is_known else codecs.load(way.protocol).terminal(raw), way, raw))
        except ValueError:
            found.append(("", RecordHeader(""), records[place].payload))
    return found


def channels_of(records: Sequence[Record]) -> list[str]:
    """The channel by which each record came in; TCP for a record without a header."""
    found = []
    for record in records:
        try:
            found.append(parse_record(record.payload)[0].channel)
        except ValueError:
            found.append(Channel.TCP.value)
    return found


def _decode(codec: Codec, arrivals: Sequence[Arrival], profiles: Mapping[str, Any]) -> Decoded:
    try:
        return codec.decode(arrivals, profiles)
    except Exception as error:
        if len(arrivals) == 1:
            return _refused(0, Reason.BAD_BODY, f"the codec failed with {type(error).__name__}: {error}")
    half = len(arrivals) // 2
    first, second = _decode(codec, arrivals[:half], profiles), _decode(codec, arrivals[half:], profiles)
    return together([first, renumbered(second, np.arange(half, len(arrivals)))])


def _refused(place: int, reason: str, detail: str) -> Decoded:
    """The decoding of a record that gives nothing but a reason."""
    return NOTHING._replace(rejected=rejections([(place, reason, detail)]))
