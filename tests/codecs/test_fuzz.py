"""A short run of `python -m tests.fuzz` over every codec."""

import pytest

from ingest_daemon import codecs
from tests.daemon_helpers import environment_number
from tests.fuzz import BOUNDS_MS, Fuzz, repairs_of, slowest, vectors

STREAMS = environment_number("MAINFLOW_TEST_FUZZ_STREAMS", 8)
SLOW_MACHINE = 10
"""Times the bound of a quiet machine; before it was bounded, 64 KB byte by byte took 13,700 ms."""
BYTES = environment_number("MAINFLOW_TEST_FUZZ_BYTES", 300_000)


@pytest.mark.parametrize("protocol", codecs.names())
def test_no_bytes_make_a_codec_raise_hold_too_much_or_lose_a_byte(protocol: str) -> None:
    figures = Fuzz(protocol, seed=BYTES).run(BYTES)
    assert figures.failures == [], "\n".join(figures.failures)
    assert figures.frames > 50, "hardly a frame got through: what lies behind the checksum was not reached"


@pytest.mark.parametrize("protocol", codecs.names())
def test_hostile_bytes_hold_the_loop_for_a_moment_at_most_however_they_are_cut(protocol: str) -> None:
    most = slowest(protocol, seed=1, streams=STREAMS, byte_by_byte=1 << 12)
    slow = {cuts: f"{ms:.0f} ms with {begin.hex()}" for cuts, (ms, begin) in most.items() if ms > SLOW_MACHINE * BOUNDS_MS[cuts]}
    assert not slow


def test_the_checksum_of_a_protocol_is_found_from_its_good_frames() -> None:
    assert repairs_of(vectors("sl651").frames)
