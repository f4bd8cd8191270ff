"""The server of the daemon in the test's own event loop, with real sockets and a real journal, for tests of many cuts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest_daemon.codec_kit.api import Codec
from ingest_daemon.commands.queue import CommandQueue, CommandSettings
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.envelope import RecordHeader, parse_record
from ingest_daemon.journal.reader import walk
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.reception.access import AccessSettings
from ingest_daemon.reception.connection import Connection
from ingest_daemon.reception.listener import Server
from ingest_daemon.reception.settings import DaemonSettings
from ingest_daemon.terminals.directory import TerminalDirectory
from ingest_daemon.terminals.registry import Registry


@asynccontextmanager
async def serving(site: Site, **daemon: object) -> AsyncIterator[tuple[Server, int]]:
    """A server on the site, and its data port; afterwards everything it took is in the journal."""
    settings = DaemonSettings(**{"data_port": 0, "alarm_port": 0, "data_protocol": "auto", **daemon})  # type: ignore[arg-type]
    counters = Counters()
    journals = Journals(site, 64 << 20, 1 << 30)
    directory = TerminalDirectory(Registry(site, settings.data_protocol))
    server = Server(
        settings, AccessSettings(), directory, CommandQueue(site, CommandSettings()), journals, counters, site.import_socket
    )
    journals.start(lambda stream: 0, server.commit.settled, lambda error: None)
    port, _ = await server.start()
    try:
        yield server, port
    finally:
        await server.stop_listening()
        await asyncio.to_thread(journals.finish)
        await asyncio.sleep(0)
        await server.close()
        journals.close()


def journaled(site: Site, stream: str) -> list[tuple[RecordHeader, bytes]]:
    """Header and bytes of every record of a stream."""
    chunks = walk(site.journal / stream, 0)
    return [parse_record(record.payload) for chunk in chunks for record in chunk.records]


async def turns(count: int = 3) -> None:
    """Let the event loop read what the sockets hold."""
    for _ in range(count):
        await asyncio.sleep(0)


async def identified(server: Server, link: str) -> Connection:
    """The connection of a link, once it is on line."""
    async with asyncio.timeout(20):
        while link not in server.link_table.online:
            await asyncio.sleep(0.01)
    return server.link_table.online[link]


class SegmentedMeter:
    """The meter's end of a line: answers each request with prepared segments, one turn of the loop after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def says(self, data: bytes) -> None:
        """Send something that nobody asked for."""
        self._writer.write(data)
        await turns()

    async def hears(self, request: bytes) -> None:
        """Wait for a request."""
        assert await asyncio.wait_for(self._reader.readexactly(len(request)), 20) == request

    async def answers(self, request: bytes, segments: list[bytes]) -> None:
        """Wait for the request, then send the answer."""
        await self.hears(request)
        for segment in segments:
            self._writer.write(segment)
            await turns()


def cuts(raw: bytes) -> list[list[bytes]]:
    """The bytes whole, cut in two at every place, and byte by byte."""
    halves = [[raw[:place], raw[place:]] for place in range(1, len(raw))]
    return [[raw], *halves, [raw[place : place + 1] for place in range(len(raw))]]


def answering_request(protocol: str, codec: Codec, raw: bytes) -> bytes | None:
    """A request that the frame answers; None where it is no answer."""
    if protocol == "mbus":
        candidates = [bytes((0x10, 0x7B, raw[5], (0x7B + raw[5]) & 0xFF, 0x16))] if len(raw) > 5 else []
    elif protocol == "cjt188":
        candidates = [_cjt188_request(raw.lstrip(b"\xfe"))]
    else:
        start = 1 if protocol == "modbus_rtu" else 7
        count = raw[start + 1] // 2 if len(raw) > start + 1 else 0
        body = bytes((raw[start] & 0x7F, 0, 0, 0, count))
        candidates = [raw[:1] + body + b"\0\0"] if protocol == "modbus_rtu" else [raw[:4] + b"\0\6" + raw[6:7] + body]
    return next((request for request in candidates if codec.answers(request, raw)), None)


def _cjt188_request(body: bytes) -> bytes:
    head = b"\x68" + body[1:9] + bytes((body[9] & 0x1F, 3)) + (body[11:14] if body[9] & 0x40 == 0 else b"\x90\x1f\0")
    return head + bytes((sum(head) & 0xFF, 0x16))
