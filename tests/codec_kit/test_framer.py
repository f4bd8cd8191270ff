"""The cutter by a made-up protocol: `S`, how many bytes follow before the sum, those bytes, their sum."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_daemon.codec_kit.api import Frame, Rejected
from ingest_daemon.codec_kit.framer import PIECES, Fault, FrameFormat, Framer
from ingest_daemon.codecs import modbus_rtu
from ingest_daemon.codecs.cjt188 import framing as cjt188
from ingest_daemon.codecs.mbus import framing as mbus
from ingest_daemon.codecs.szy206 import framing as szy206
from ingest_daemon.contract.schema import Reason
from tests.fuzz import vectors


def size(head: bytes | bytearray) -> int | None:
    return 3 + head[1] if len(head) > 1 else None


def is_good(frame: bytes | bytearray) -> bool:
    return sum(frame[2:-1]) & 0xFF == frame[-1]


def fault(frame: bytes) -> Fault:
    return Reason.BAD_CRC, "sum"


FRAME_FORMAT = FrameFormat(re.compile(b"(?=S)"), 2, 3, size, is_good, fault, "the start S")


def sealed(content: bytes) -> bytes:
    return b"S" + bytes((len(content),)) + content + bytes((sum(content) & 0xFF,))


GOOD = sealed(b"abc")


def said(*pieces: bytes) -> list[tuple[bytes, str]]:
    """What comes out, each with its reason; "" for a frame."""
    cutter = Framer(FRAME_FORMAT)
    found = [item for piece in pieces for item in cutter.feed(piece)]
    return [(item.raw, "" if isinstance(item, Frame) else str(item.reason)) for item in found]


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        pytest.param(GOOD * 2, ["", ""], id="glued"),
        pytest.param(b"xy" + GOOD, ["NOISE", ""], id="noise before"),
        pytest.param(GOOD[:-1] + b"?" + GOOD, ["BAD_CRC", ""], id="a wrong sum"),
        pytest.param(b"S\x09ab" + GOOD, ["BAD_LENGTH", ""], id="torn, and a whole one begins before its end"),
        pytest.param(sealed(b"aSb")[:-1] + b"?" + GOOD, ["BAD_CRC", ""], id="a wrong sum with a start inside"),
        pytest.param(sealed(b"abS")[:-1] + b"\x40", ["BAD_CRC"], id="a wrong sum and what may still become a frame"),
        pytest.param(sealed(b"a" + GOOD + b"b"), ["BAD_LENGTH", "", "NOISE"], id="of two the one that ends first"),
    ],
)
def test_the_frame_that_ends_first_is_taken_and_what_is_refused_has_its_own_fault(data: bytes, reasons: list[str]) -> None:
    assert [reason for _, reason in said(data)] == reasons


@given(st.lists(st.one_of(st.just(GOOD), st.binary(max_size=6).map(sealed), st.binary(max_size=8))), st.data())
@settings(deadline=None)
def test_the_frames_do_not_depend_on_how_the_stream_was_cut_and_no_byte_vanishes(parts: list[bytes], draw: st.DataObject) -> None:
    stream = b"".join(parts)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, cut = said(stream), said(*pieces)
    assert [raw for raw, reason in cut if not reason] == [raw for raw, reason in whole if not reason]
    assert stream.startswith(b"".join(raw for raw, _ in cut))


def test_what_may_still_become_a_frame_is_waited_for() -> None:
    cutter = Framer(FRAME_FORMAT)
    assert cutter.feed(b"x" + GOOD[:-1]) == [Rejected(b"x", Reason.NOISE, "not part of a frame, expected the start S")]
    assert cutter.pending == len(GOOD) - 1
    assert cutter.feed(GOOD[-1:]) == [Frame(GOOD)]
    assert cutter.pending == 0


def test_noise_between_two_frames_comes_in_few_pieces() -> None:
    wrong = sealed(b"abc")[:-1] + b"?"
    found = said(GOOD + wrong * 1000 + GOOD)
    assert [raw for raw, reason in found if not reason] == [GOOD, GOOD]
    assert len(found) == PIECES + 2
    assert b"".join(raw for raw, _ in found) == GOOD + wrong * 1000 + GOOD


FORMATS = {
    "szy206": szy206.FRAME_FORMAT,
    "cjt188": cjt188.FRAME_FORMAT,
    "mbus": mbus.FRAME_FORMAT,
    "modbus_rtu": modbus_rtu.FRAME_FORMAT,
}
VALUES = {
    "szy206": b"\x68\x16\x07\x08",
    "cjt188": b"\x68\x16\x10\x02\xaa",
    "mbus": b"\x68\x16\x03\x10\x40",
    "modbus_rtu": b"\x03\x04\x02\x83",
}


def obvious(frame_format: FrameFormat, stream: bytes) -> list[bytes]:
    """The good frames that end first, found one candidate after the other."""
    good = []
    for start in range(len(stream)):
        size = frame_format.size(stream[start : start + frame_format.header]) if frame_format.begins.match(stream, start) else 0
        if size and start + size <= len(stream) and frame_format.good(stream[start : start + size]):
            good.append((start + size, start))
    found, done = list[bytes](), 0
    for end, start in sorted(good):
        if start >= done:
            found.append(stream[start:end])
            done = end
    return found


@pytest.mark.parametrize("protocol", FORMATS)
@given(seed=st.integers(0, 1 << 32), size=st.integers(1, 700))
@settings(deadline=None, max_examples=60)
def test_many_candidates_at_once_few_and_one_give_the_frames_of_an_obvious_search(protocol: str, seed: int, size: int) -> None:
    chance, frame_format = random.Random(seed), FORMATS[protocol]
    frames = vectors(protocol).frames
    filling = [bytes(chance.choices(VALUES[protocol], k=chance.randrange(size))) for _ in range(3)]
    stream = b"".join(part for filled in filling for part in (filled, chance.choice(frames)[chance.choice((0, 0, 5)) :]))
    for step in (len(stream), 40, 1):
        framer = Framer(frame_format)
        items = [item for start in range(0, len(stream), step) for item in framer.feed(stream[start : start + step])]
        found = [item.raw for item in items if isinstance(item, Frame)]
        assert [raw.lstrip(frame_format.lead) for raw in found if raw != frame_format.single] == obvious(frame_format, stream)
