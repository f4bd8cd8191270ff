"""Who a connection is, from its first bytes."""

import asyncio
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.codec_kit.api import Frame
from ingest_daemon.contract.settings import AUTO
from ingest_daemon.reception.connection import Connection
from ingest_daemon.reception.heartbeats import is_heartbeat
from ingest_daemon.reception.protocol_detection import LONGEST, LinkIndex, Peer, PeerDetector
from tests.codecs.test_codecs import GOOD
from tests.daemon_helpers import make_site
from tests.reception.in_process import serving

LINKS = LinkIndex(
    {"864123456789012": "modbus_rtu", "DTU-07": "cjt188", "hex:A1B2C3D4": "mbus", "2017070000000921": "cjt188", "abc": "mbus"}
)
METER = bytes.fromhex("FE FE 68 10 44 33 22 11 00 33 78 81")


def introduced(first: bytes, links: LinkIndex) -> Peer | None:
    """Who is on the line when these bytes came and the line is quiet."""
    detected = PeerDetector(AUTO).feed(first, links, is_settled=True)
    return detected and detected.peer


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
    assert introduced(first, LINKS) == speaker


def test_a_port_of_one_protocol_that_is_not_polled_needs_no_introduction(tmp_path: Path) -> None:
    async def connect() -> Connection:
        async with serving(make_site(tmp_path)) as (server, _):
            return Connection(server, "sl651")

    connection = asyncio.run(connect())
    assert (connection.protocol, connection.link) == ("sl651", "")
    assert not connection.is_unidentified


@given(st.binary(max_size=2 * LONGEST))
def test_whatever_comes_first_a_link_is_only_found_where_its_bytes_are(first: bytes) -> None:
    match = LINKS.match(first)
    link = match.peer.link if match else ""
    assert match is None or link.encode() in first or bytes.fromhex(link.removeprefix("hex:")) in first


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


NUMBERS = LinkIndex(
    {"1001": "modbus_rtu", "86123456": "modbus_rtu", "861234567890005": "cjt188", "hex:86123456": "mbus", "hex:7B0100": "mbus"}
)


@pytest.mark.parametrize(
    ("first", "link"),
    [
        (b"IMEI861234567890005", "861234567890005"),
        (b"ZG1001", "1001"),
        (b"DTU1001\r\n", "1001"),
        (b"www.usr.cn861234567890005", "861234567890005"),
        (b"LOGIN:1001", "1001"),
        (b"10012", None),
        (b"21001", None),
        (b"ID:861234567890001\r\n", None),
        (b"ID:86123456\r\n", "86123456"),
        (b"10012,1001", "1001"),
        (bytes.fromhex("86123456"), "hex:86123456"),
        (bytes.fromhex("FE86123456"), "hex:86123456"),
        (bytes.fromhex("86123456 680303680801727B16"), "hex:86123456"),
        (bytes.fromhex("8612345678900015"), None),
        (bytes.fromhex("0086123456"), "hex:86123456"),
        (bytes.fromhex("3486123456"), None),
        (b"hex:86123456", "86123456"),
    ],
)
def test_a_number_ends_where_it_ends_and_letters_around_it_do_not_matter(first: bytes, link: str | None) -> None:
    peer = introduced(first, NUMBERS)
    assert (peer.link if peer else None) == link


@pytest.mark.parametrize(
    "packet", [b"861234567890005", b"ID:861234567890001\r\n", b"10012", b"ZG1001,", bytes.fromhex("861234567890001F")]
)
def test_a_number_that_comes_in_pieces_is_the_number_that_comes_whole(packet: bytes) -> None:
    whole = PeerDetector(AUTO).feed(packet, NUMBERS, is_settled=True)
    for place in range(1, len(packet)):
        detector = PeerDetector(AUTO)
        assert detector.feed(packet[:place], NUMBERS) is None
        rest = detector.feed(packet[place:], NUMBERS, is_settled=True)
        assert (rest and rest.peer.link) == (whole and whole.peer.link)


NOISE = [b"", b"\xff", b"www.usr.cn", b"861234567890001", b"7E7E", b"\x68\x10", bytes(600), b"\x01"]


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("protocol", ["sl651", "szy206"])
def test_the_first_good_frame_behind_noise_tells_the_protocol(protocol: str, noise: bytes) -> None:
    raw = next(case.raw for case in GOOD if case.protocol == protocol)
    for size in (1, 7, len(noise + raw)):
        detector, pieces, decoder = PeerDetector(AUTO), [], None
        for place in range(0, len(noise + raw), size):
            segment = (noise + raw)[place : place + size]
            if decoder is None and (detected := detector.feed(segment, LINKS)):
                decoder, pieces = detected.decoder, [*detected.pieces, *detected.decoder.feed(detected.rest)]
                assert detected.peer.protocol == protocol
            elif decoder is not None:
                pieces += decoder.feed(segment)
        assert [piece.raw for piece in pieces if isinstance(piece, Frame)] == [raw]


def test_what_is_reported_once_is_not_reported_again() -> None:
    detector = PeerDetector(AUTO)
    detector.feed(b"ID:7", LINKS)
    detector.feed(b"77", LINKS)
    assert (detector.take_unreported(), detector.unreported) == (b"ID:777", 0)
    detector.feed(b"\xfe", LINKS)
    assert detector.take_unreported() == b"\xfe"


@pytest.mark.parametrize("number", ["DTU-77", "861234567890001"])
def test_a_link_that_is_registered_later_is_found_in_the_first_bytes(number: str) -> None:
    detector = PeerDetector(AUTO)
    assert detector.feed(number.encode(), LinkIndex({})) is None
    detector.take_unreported()
    for _ in range(2000):
        assert detector.feed(b"\xfe", LinkIndex({})) is None
    detected = detector.feed(b"", LinkIndex({number: "cjt188"}))
    assert detected is not None
    assert detected.peer.link == number


def test_a_strangers_bytes_are_told_from_heartbeats_in_a_short_time() -> None:
    began = process_time()
    for data in (b"\x00" * 511 + b"x", b"ping" * 127 + b"pong", b"8641" * 128, b"0" * 512):
        assert not is_heartbeat(data, "864123456789012") or data == b"0" * 512
    assert process_time() - began < 1
