"""The payload of a journal record: a header line (protocol, channel, sender, requests), then the frame's bytes.

The header is text with tabs between its fields, so that people can read a journal.
"""

from functools import lru_cache
from typing import NamedTuple

from ingest_daemon.contract.schema import Channel

MOST_STATIONS = 256
"""Limit of other stations of one body in a header; readings of further ones are not stored."""


class RecordHeader(NamedTuple):
    """The origin of a frame, and the decisions on it.

    `link`: registered text of the DTU, telephone number of the SMS or dialled address; empty where there is none.
    `terminal`, `requests`: see `codec_kit.api.Arrival`. `quarantine_reason`: the reason for which nothing of the frame is
    stored, "" for none. `stations`: the stations that the body names beside the sender: number, and the reason for which their
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
    """The line before the frame's bytes. Control characters of a stranger's link become `?`."""
    link = "".join(letter if letter.isprintable() else "?" for letter in header.link)
    asked = ",".join(request.hex() for request in header.requests)
    stations = ",".join(f"{number}={reason}" for number, reason in header.stations)
    fields = (header.protocol, header.channel, link, header.terminal, asked, header.quarantine_reason, stations)
    return "\t".join(fields).encode() + b"\n"


def parse_record(payload: bytes) -> tuple[RecordHeader, bytes]:
    """Header and frame of a payload. Raises `ValueError` where it has no header."""
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
