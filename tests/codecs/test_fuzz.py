"""A short run of `python -m tests.fuzz` over every codec."""

import pytest

from ingest_daemon import codecs
from tests.daemon_helpers import environment_number
from tests.fuzz import Fuzz, repairs_of, vectors

BYTES = environment_number("MAINFLOW_TEST_FUZZ_BYTES", 300_000)


@pytest.mark.parametrize("protocol", codecs.names())
def test_no_bytes_make_a_codec_raise_hold_too_much_or_lose_a_byte(protocol: str) -> None:
    figures = Fuzz(protocol, seed=BYTES).run(BYTES)
    assert figures.failures == [], "\n".join(figures.failures)
    assert figures.frames > 50, "hardly a frame got through: what lies behind the checksum was not reached"


def test_the_checksum_of_a_protocol_is_found_from_its_good_frames() -> None:
    assert repairs_of(vectors("sl651").frames)
