"""Messages of several packets."""

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_daemon.codec_kit import reassembly as packets
from ingest_daemon.codec_kit.api import Packet
from ingest_daemon.codec_kit.reassembly import Reassembly, Whole


def take(held: Reassembly, number: int, total: int | None, key: bytes = b"k", now_s: float = 0.0) -> Whole:
    return held.take("any", Packet(key, number, total), b"<%d>" % number, now_s)


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_packets_in_any_order_give_the_message_in_order_once(order: tuple[int, ...]) -> None:
    held = Reassembly()
    results = [take(held, number, 3).raw for number in order]
    assert results == [b"", b"", b"<1><2><3>"]


def test_numbers_that_count_down_are_whole_with_the_one() -> None:
    held = Reassembly()
    assert [take(held, number, None).raw for number in (3, 2, 1)] == [b"", b"", b"<3><2><1>"]


def test_a_repeated_packet_changes_nothing() -> None:
    held = Reassembly()
    assert [take(held, number, 2).raw for number in (1, 1, 2)] == [b"", b"", b"<1><2>"]


def test_the_last_packet_names_the_first_one_that_is_missing() -> None:
    held = Reassembly()
    assert [take(held, number, 4).missing for number in (1, 3, 4)] == [0, 0, 2]
    assert take(held, 2, 4).raw == b"<1><2><3><4>"


def test_a_packet_costs_the_same_however_many_its_message_has() -> None:
    held, began = Reassembly(), time.process_time()
    for number in range(1, 4096):
        whole = take(held, number, 4095)
    assert whole.raw.endswith(b"<4095>")
    assert time.process_time() - began < 0.5  # as the square of the packets it took more than a second


def test_packets_of_several_messages_do_not_mix() -> None:
    held = Reassembly()
    take(held, 1, 2, b"a")
    assert take(held, 2, 2, b"b").raw == b""
    assert take(held, 2, 2, b"a").raw == b"<1><2>"


def test_what_is_not_completed_in_time_is_forgotten_and_counted() -> None:
    held = Reassembly()
    take(held, 1, 2, now_s=0)
    held.expire(packets.WAIT_S + 1)
    assert held.given_up == 1
    assert take(held, 2, 2, now_s=packets.WAIT_S + 1).raw == b""


@given(st.lists(st.tuples(st.binary(max_size=2), st.integers(1, 5), st.integers(1, 5)), max_size=60))
@settings(deadline=None)
def test_never_more_bytes_are_held_than_allowed(found: list[tuple[bytes, int, int]]) -> None:
    held = Reassembly()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packets, "MAX_BYTES", 500)
        patch.setattr(packets, "MAX_MESSAGE", 250)
        for key, number, total in found:
            held.take("any", Packet(key, number, max(number, total)), b"x" * 100, 0.0)
            assert held.held_bytes <= 500
