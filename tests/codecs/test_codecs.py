"""What every codec must keep: one suite over all of them and their vectors. What one protocol needs beyond has its own file."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Arrival, Frame, Rejected
from ingest_daemon.contract.schema import FIELDS, TIMESTAMP

VECTORS = Path(__file__).parents[1] / "codecs"


class Case(NamedTuple):
    """One vector of `tests/codecs/<protocol>.yaml`; the file's head says what the keys mean."""

    protocol: str
    raw: bytes
    said: dict[str, Any]


def unhex(text: str) -> bytes:
    return bytes.fromhex(" ".join(line.split("#")[0] for line in text.splitlines()))


def cases() -> list[Case]:
    found = []
    for path in sorted(VECTORS.glob("*.yaml")):
        for said in yaml.safe_load(path.read_text(encoding="utf-8")):
            found.append(Case(path.stem, unhex(said["hex"]), said))
    return found


CASES = cases()
GOOD = [case for case in CASES if case.said.get("stream", ["frame"]) == ["frame"]]
every_case = pytest.mark.parametrize("case", CASES, ids=[case.said["case"] for case in CASES])
every_good_case = pytest.mark.parametrize("case", GOOD, ids=[case.said["case"] for case in GOOD])
NO_CHECKSUM = {"modbus_tcp"}
"""Protocols that leave finding damage to TCP: which of their bits are held against anything, their own tests say."""

CHECKED = [case for case in GOOD if case.protocol not in NO_CHECKSUM]
every_checked_case = pytest.mark.parametrize("case", CHECKED, ids=[case.said["case"] for case in CHECKED])
every_protocol = pytest.mark.parametrize("protocol", sorted({case.protocol for case in CASES}))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def arrivals(case: Case, frames: Sequence[bytes]) -> list[Arrival]:
    """The frames with what the vector says of their way: when they came and, of answers, what was asked of whom."""
    said = case.said
    received_us = round(moment(said.get("received", "2026-07-01T08:00:00+08:00")).timestamp() * 1e6)
    requests = tuple(unhex(request) for request in said.get("asked", []))
    return [Arrival(frame, received_us, said["terminal"] if requests else "", requests) for frame in frames]


def profiles(case: Case) -> dict[str, Any]:
    """The profile that the vector gives its terminal, by terminal number."""
    table = case.said.get("profile")
    return {} if table is None else {case.said["terminal"]: codecs.load(case.protocol).profile(table)}


def fed(protocol: str, pieces: Iterable[bytes]) -> tuple[list[Frame | Rejected], int]:
    decoder = codecs.load(protocol).decoder()
    items = [item for piece in pieces for item in decoder.feed(piece)]
    return items, decoder.pending


def frames_of(items: Sequence[Frame | Rejected]) -> list[bytes]:
    return [item.raw for item in items if isinstance(item, Frame)]


def joined(items: Sequence[Frame | Rejected]) -> bytes:
    return b"".join(item.raw for item in items)


def test_every_protocol_has_vectors_and_all_vectors_a_protocol() -> None:
    assert tuple(sorted({case.protocol for case in CASES})) == codecs.names()


# --- every codec, every vector ----------------------------------------------------------------------------------------------


@every_case
def test_the_decoder_cuts_the_bytes_as_the_vector_says(case: Case) -> None:
    items, pending = fed(case.protocol, [case.raw])
    assert [item.reason if isinstance(item, Rejected) else "frame" for item in items] == case.said.get("stream", ["frame"])
    assert joined(items) == case.raw
    assert pending == 0
    assert case.said.get("says", "") in " ".join(item.detail for item in items if isinstance(item, Rejected))


@every_case
def test_the_frames_decode_to_what_the_vector_says_and_to_nothing_else(case: Case) -> None:
    codec, said = codecs.load(case.protocol), case.said
    frames = frames_of(fed(case.protocol, [case.raw])[0])
    decoded = codec.decode(arrivals(case, frames), profiles(case))

    readings = [
        {name: value for name, value in row.items() if value is not None and name != "frame"}
        for row in decoded.readings.iter_rows(named=True)
    ]
    assert readings == [
        {"terminal": said["terminal"], **reading, "ts": moment(reading["ts"])} for reading in said.get("readings", [])
    ]
    assert list(decoded.alarms.select("event_at", "active").iter_rows()) == [
        (moment(alarm["event_at"]), alarm["active"]) for alarm in said.get("alarms", [])
    ]
    assert decoded.clocks["sent_at"].to_list() == [moment(text) for text in said.get("clocks", [])]
    refused, expected = list(decoded.rejected.iter_rows(named=True)), said.get("rejected", [])
    assert [row["reason"] for row in refused] == [entry["reason"] for entry in expected]
    assert all(entry["says"] in row["detail"] for row, entry in zip(refused, expected, strict=True))


@every_good_case
def test_the_acknowledgement_is_the_vectors_bytes_or_silence(case: Case) -> None:
    codec, reply = codecs.load(case.protocol), case.said.get("reply")
    now = moment(reply["at"]) if reply else datetime(2026, 7, 1, tzinfo=UTC)
    assert codec.reply(case.raw, now, profiles(case).get(case.said["terminal"])) == (unhex(reply["hex"]) if reply else None)
    assert codec.terminal(case.raw) == case.said.get("address", case.said["terminal"])


@every_good_case
def test_what_tells_of_an_alarm_that_is_set_overtakes(case: Case) -> None:
    codec, profile = codecs.load(case.protocol), profiles(case).get(case.said["terminal"])
    (arrival,) = arrivals(case, [case.raw])
    overtakes = codec.is_alarm(arrival, profile)
    assert overtakes == case.said.get("alarm", False)
    assert overtakes or not any(alarm["active"] for alarm in case.said.get("alarms", []))


@every_good_case
def test_every_prefix_of_a_frame_asks_for_more(case: Case) -> None:
    for size in range(len(case.raw)):
        assert fed(case.protocol, [case.raw[:size]]) == ([], size)


@every_checked_case
def test_no_frame_comes_out_of_a_frame_with_one_flipped_bit(case: Case) -> None:
    for bit in range(8 * len(case.raw)):
        damaged = bytearray(case.raw)
        damaged[bit // 8] ^= 1 << bit % 8
        items, pending = fed(case.protocol, [bytes(damaged)])
        assert frames_of(items) == []
        assert len(joined(items)) + pending == len(case.raw)


@every_checked_case
def test_the_repetition_right_behind_a_damaged_frame_is_found_whatever_bit_was_hit(case: Case) -> None:
    for bit in range(8 * len(case.raw)):
        damaged = bytearray(case.raw)
        damaged[bit // 8] ^= 1 << bit % 8
        items, pending = fed(case.protocol, [bytes(damaged), case.raw])
        assert frames_of(items) == [case.raw]
        assert pending == 0


@every_case
def test_every_byte_is_explained_in_order_in_both_languages(case: Case) -> None:
    parts = codecs.load(case.protocol).explain(case.raw)
    assert b"".join(part.raw for part in parts) == case.raw
    assert [part.offset for part in parts] == [sum(len(before.raw) for before in parts[:number]) for number in range(len(parts))]
    assert all(part.zh and part.en and part.value for part in parts)


@every_good_case
def test_no_checksum_of_a_good_frame_is_explained_as_wrong(case: Case) -> None:
    values = [part.value for part in codecs.load(case.protocol).explain(case.raw)]
    assert not [value for value in values if "错误，" in value or "应为" in value]


@every_protocol
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_stream_cut_anywhere_gives_the_same_frames_and_accounts_for_every_byte(protocol: str, data: st.DataObject) -> None:
    raws = st.sampled_from([case.raw for case in CASES if case.protocol == protocol])
    stream = b"".join(data.draw(st.lists(st.one_of(raws, raws.map(lambda raw: raw[:-1]), st.binary(max_size=9)), max_size=8)))
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=12))})
    whole, held = fed(protocol, [stream])
    pieces, pending = fed(protocol, [stream[a:b] for a, b in itertools.pairwise(cuts)])
    single, _ = fed(protocol, [stream[i : i + 1] for i in range(len(stream))])
    assert frames_of(pieces) == frames_of(whole) == frames_of(single)
    assert joined(pieces) == joined(whole) == stream[: len(stream) - held]
    assert pending == held


@every_protocol
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_hostile_bytes_never_raise_and_are_never_held_beyond_a_frame(protocol: str, data: st.DataObject) -> None:
    codec = codecs.load(protocol)
    heads = st.sampled_from([case.raw[:size] for case in CASES if case.protocol == protocol for size in (1, 2, 3, 14, 20)])
    decoder = codec.decoder()
    fed_bytes, items = b"", []
    for piece in data.draw(st.lists(st.one_of(heads, st.binary(max_size=200), st.just(b"\x7e" * 40)), max_size=20)):
        fed_bytes += piece
        items += decoder.feed(piece)
        assert decoder.pending <= codec.MAX_FRAME
    assert joined(items) == fed_bytes[: len(fed_bytes) - decoder.pending]
    assert b"".join(part.raw for part in codec.explain(fed_bytes)) == fed_bytes


@every_protocol
def test_a_group_of_frames_decodes_like_each_of_them_alone(protocol: str) -> None:
    codec = codecs.load(protocol)
    mine = [case for case in CASES if case.protocol == protocol]
    group = [arrival for case in mine for arrival in arrivals(case, frames_of(fed(protocol, [case.raw])[0]))]
    known = {terminal: profile for case in mine for terminal, profile in profiles(case).items()}
    together = codec.decode(group, known)
    for number, arrival in enumerate(group):
        for whole, alone in zip(together, codec.decode([arrival], known), strict=True):
            assert_frame_equal(whole.filter(frame=number).drop("frame"), alone.drop("frame"))


@every_protocol
def test_no_frames_decode_to_empty_tables_with_the_same_columns(protocol: str) -> None:
    codec = codecs.load(protocol)
    full = codec.decode([arrival for case in GOOD if case.protocol == protocol for arrival in arrivals(case, [case.raw])], {})
    assert [table.schema for table in codec.decode([], {})] == [table.schema for table in full]
    fields = {field.name: field.dtype for field in FIELDS}
    assert dict(full.readings.schema) == {"frame": pl.Int64, "terminal": pl.String, "ts": TIMESTAMP, **fields}
    head = {"frame": pl.Int64, "terminal": pl.String, "event_at": TIMESTAMP, "active": pl.List(pl.String)}
    assert dict(full.alarms.schema) == {**head, **fields}
