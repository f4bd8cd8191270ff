"""Who a connection is, from its first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.contract.settings import AUTO
from ingest_daemon.reception.protocol_detection import LONGEST, LinkIndex, Peer, introduce, is_heartbeat

LINKS = LinkIndex(
    {"864123456789012": "modbus_rtu", "DTU-07": "cjt188", "hex:A1B2C3D4": "mbus", "2017070000000921": "cjt188", "abc": "mbus"}
)
METER = bytes.fromhex("FE FE 68 10 44 33 22 11 00 33 78 81")


@pytest.mark.parametrize(
    ("first", "speaker"),
    [
        (b"864123456789012", Peer("modbus_rtu", "864123456789012", 15)),
        (b"864123456789012\r\n", Peer("modbus_rtu", "864123456789012", 17)),
        (b"+IMEI: 864123456789012\r\n", Peer("modbus_rtu", "864123456789012", 24)),
        (b"CTRL:&2017070000000921" + METER, Peer("cjt188", "2017070000000921", 22)),
        (b"\x02DTU-07\x03", Peer("cjt188", "DTU-07", 7)),
        (b"DTU-07" + bytes.fromhex("6810"), Peer("cjt188", "DTU-07", 6)),
        (bytes.fromhex("A1B2C3D4") + METER, Peer("mbus", "hex:A1B2C3D4", 4)),
        (b"86412345678", None),
        (b"9864123456789012", None),
        (b"GET / HTTP/1.1\r\n", None),
        (b"abc", None),
        (b"", None),
    ],
    ids=[
        "the bare number of the modem",
        "a line end belongs to the registration",
        "words around the number do not matter",
        "a frame glued to the registration is left for the decoder",
        "control characters around the number",
        "a frame that begins with a letter, right behind the number",
        "a number that is no text",
        "half a number asks for more",
        "a longer number that ends like a registered one is another",
        "a browser is nobody",
        "a number of three letters is too short to be told from chance",
        "nothing yet",
    ],
)
def test_a_dtu_is_known_by_the_registered_number_in_its_first_bytes(first: bytes, speaker: Peer | None) -> None:
    assert introduce(first, AUTO, LINKS) == speaker


def test_a_port_of_one_protocol_that_is_not_polled_needs_no_introduction() -> None:
    assert introduce(b"", "sl651", LINKS) == Peer("sl651")


@given(st.binary(max_size=2 * LONGEST))
def test_whatever_comes_first_a_link_is_only_found_where_its_bytes_are(first: bytes) -> None:
    found = LINKS.find(first)
    assert found is None or found.link.encode() in first or bytes.fromhex(found.link.removeprefix("hex:")) in first


@pytest.mark.parametrize(
    ("chunk", "is_one"),
    [
        (b"\xfe", True),
        (b"\x00\x00\x00", True),
        (b"ping\r\n", True),
        (b"864123456789012", True),
        (b"HB:864123456789012\r\n", True),
        (b"pingpingping", True),
        (METER, False),
        (bytes.fromhex("010304000100022A32"), False),
        (b"864123456789012" + METER * 3, False),
        (b"", False),
    ],
    ids=[
        "one byte",
        "a few equal bytes",
        "a word and a line end",
        "the number again",
        "the number with words",
        "several at once",
        "a frame of a meter",
        "an answer of Modbus",
        "frames with the number before them",
        "nothing",
    ],
)
def test_a_sign_of_life_is_told_from_a_frame(chunk: bytes, is_one: bool) -> None:
    assert is_heartbeat(chunk, "864123456789012") == is_one
