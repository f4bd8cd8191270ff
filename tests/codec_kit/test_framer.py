"""The cutter by a made-up protocol: `S`, how many bytes follow before the sum, those bytes, their sum."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_daemon.codec_kit.api import Frame, Rejected
from ingest_daemon.codec_kit.framer import Fault, FrameFormat, Framer
from ingest_daemon.contract.schema import Reason


def size(head: bytes | bytearray) -> int | None:
    return 3 + head[1] if len(head) > 1 else None


def is_good(frame: bytes | bytearray) -> bool:
    return sum(frame[2:-1]) & 0xFF == frame[-1]


def fault(frame: bytes) -> Fault:
    return Reason.BAD_CRC, "sum"


RULES = FrameFormat(re.compile(b"(?=S)"), 2, 3, size, is_good, fault, "the start S")


def sealed(content: bytes) -> bytes:
    return b"S" + bytes((len(content),)) + content + bytes((sum(content) & 0xFF,))


GOOD = sealed(b"abc")


def said(*pieces: bytes) -> list[tuple[bytes, str]]:
    """What comes out, each with its reason; "" for a frame."""
    cutter = Framer(RULES)
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
    cutter = Framer(RULES)
    assert cutter.feed(b"x" + GOOD[:-1]) == [Rejected(b"x", Reason.NOISE, "not part of a frame, expected the start S")]
    assert cutter.pending == len(GOOD) - 1
    assert cutter.feed(GOOD[-1:]) == [Frame(GOOD)]
    assert cutter.pending == 0
