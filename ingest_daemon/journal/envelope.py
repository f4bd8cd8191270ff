"""A frame with its way, as one payload of the journal: which protocol, which channel, from whom, in answer to what.

`way` line, then the frame's bytes. The line is text, its fields parted by tabs, so that a journal can be read by eye.
"""

from functools import lru_cache
from typing import NamedTuple

from ingest_daemon.contract.schema import Channel

MOST_STATIONS = 256
"""Other stations of one body that a header lists; of those beyond them nothing is stored."""


class RecordHeader(NamedTuple):
    """How a frame came in.

    `link`: registered text of the DTU, telephone number of the SMS or address that was dialled; empty where nothing is known.
    `terminal`, `requests`: see `codec_kit.api.Arrival`. `quarantine_reason`: why nothing of the frame is stored, if so.
    `stations`: what was decided of the stations that the body names beside the sender: number, and the reason for which its
    readings go to quarantine ("" for none). The readings of a station that is not listed are never stored.
    """

    protocol: str
    channel: str = Channel.TCP.value
    link: str = ""
    terminal: str = ""
    requests: tuple[bytes, ...] = ()
    quarantine_reason: str = ""
    stations: tuple[tuple[str, str], ...] = ()


def encode_header(header: RecordHeader) -> bytes:
    """The line that goes before the frame's bytes. Control characters of a stranger's link become `?`."""
    link = "".join(letter if letter.isprintable() else "?" for letter in header.link)
    asked = ",".join(request.hex() for request in header.requests)
    stations = ",".join(f"{number}={reason}" for number, reason in header.stations)
    fields = (header.protocol, header.channel, link, header.terminal, asked, header.quarantine_reason, stations)
    return "\t".join(fields).encode() + b"\n"


def parse_record(payload: bytes) -> tuple[RecordHeader, bytes]:
    """Way and bytes of a payload. Raises `ValueError` where it is none."""
    line, newline, raw = payload.partition(b"\n")
    if not newline:
        raise ValueError("expected a line that says protocol and channel before the frame's bytes; there is no line end")
    return _parse_header(line), raw


@lru_cache(4096)
def _parse_header(line: bytes) -> RecordHeader:
    fields = line.decode().split("\t")
    if len(fields) != len(RecordHeader._fields):
        raise ValueError(
            f"expected {len(RecordHeader._fields)} fields parted by tabs before the frame's bytes, there are {len(fields)}"
        )
    protocol, channel, link, terminal, asked, quarantine_reason, judged = fields
    requests = tuple(bytes.fromhex(request) for request in asked.split(",") if request)
    stations = tuple((number, reason) for number, _, reason in (one.partition("=") for one in judged.split(",") if one))
    return RecordHeader(protocol, Channel(channel).value, link, terminal, requests, quarantine_reason, stations)
