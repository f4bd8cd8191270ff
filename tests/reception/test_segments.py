"""Answers that come in several TCP segments: wherever they are cut, the journal holds the same answer."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import Frame
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.records import ALARM, DATA, STRANGER
from ingest_daemon.reception.connection import Connection
from ingest_daemon.reception.listener import Server
from tests.codecs.test_codecs import CASES
from tests.daemon_helpers import REPOSITORY, known_frames, make_site
from tests.reception.in_process import SegmentedMeter, answering_request, cuts, identified, journaled, serving

LINK = "861234567890001"
POLLED = [name for name in codecs.names() if codecs.load(name).POLLED]
KNOWN_FRAMES = {"modbus_rtu": "modbus", "cjt188": "cjt188", "mbus": "mbus"}


def known_answers(protocol: str) -> dict[bytes, bytes]:
    """Requests by the answers of the vectors and of the known frames."""
    streams = [case.raw for case in CASES if case.protocol == protocol]
    if protocol in KNOWN_FRAMES and (REPOSITORY.parent / "shared" / "data" / "frames").exists():
        streams += [bytes.fromhex(line["hex"]) for line in known_frames(KNOWN_FRAMES[protocol]) if is_hex(line.get("hex"))]
    codec = codecs.load(protocol)
    frames = [piece.raw for raw in streams for piece in codec.decoder().feed(raw) if isinstance(piece, Frame)]
    requests = {raw: answering_request(protocol, codec, raw) for raw in frames}
    return {raw: request for raw, request in requests.items() if request}


def is_hex(text: Any) -> bool:
    return isinstance(text, str) and len(text) % 2 == 0 and all(digit in "0123456789abcdefABCDEF" for digit in text)


def make_polled_site(root: Path, protocol: str, link: str) -> Site:
    site = make_site(root)
    address = "12345678901234" if protocol == "cjt188" else "1"
    line = f"0000000001,M1,{protocol},,{link},{address},1440\n"
    (site.registry / "terminals.csv").write_text("terminal,meter,protocol,profile,link,address,step_min\n" + line)
    return site


@asynccontextmanager
async def line_to_a_meter(server: Server, port: int, protocol: str) -> Any:
    """A line as the protocol is spoken: dialled for Modbus TCP, else a DTU that called in."""
    if protocol == "modbus_tcp":
        accepted: asyncio.Queue[SegmentedMeter] = asyncio.Queue()
        listener = await asyncio.start_server(lambda *ends: accepted.put_nowait(SegmentedMeter(*ends)), "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(server, protocol, f"127.0.0.1:{port}"), "127.0.0.1", port)
        yield connection, await accepted.get()
        listener.close()
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LINK.encode() + b"\r\n")
        yield await identified(server, LINK), SegmentedMeter(reader, writer)
        writer.close()


async def until_done(connection: Connection) -> None:
    """Wait until no request of the connection is in flight."""
    async with asyncio.timeout(20):
        while connection.requests and connection.requests.is_busy:
            await asyncio.sleep(0)


@pytest.mark.parametrize("protocol", POLLED)
def test_every_known_answer_is_the_same_wherever_it_is_cut(protocol: str, tmp_path: Path) -> None:
    site = make_polled_site(tmp_path, protocol, "" if protocol == "modbus_tcp" else LINK)
    answers = known_answers(protocol)
    assert len(answers) > 3
    asked = [(request, raw, segments) for raw, request in answers.items() for segments in cuts(raw)]

    async def run() -> None:
        async with serving(site) as (server, port), line_to_a_meter(server, port, protocol) as (connection, meter):
            for number, (request, raw, segments) in enumerate(asked):
                connection.ask(f"T{number}", [request], 1, 20.0, lambda answer: None)
                await meter.answers(request, segments)
                if more := codecs.load(protocol).follow_up(request, raw):  # what follows is asked for, and not answered here
                    await meter.hears(more)
                    connection.requests.close()
                await until_done(connection)
            assert server.counters.heartbeats == 0
            assert not server.counters.bad

    asyncio.run(run())
    came = {header.terminal: raw for stream in (DATA, ALARM, STRANGER) for header, raw in journaled(site, stream)}
    assert [came.get(f"T{number}") for number in range(len(asked))] == [raw for _, raw, _ in asked]


def test_heartbeats_between_answers_are_counted_and_cost_no_answer(tmp_path: Path) -> None:
    site = make_polled_site(tmp_path, "modbus_rtu", LINK)
    (raw, request), *_ = known_answers("modbus_rtu").items()
    heartbeats = [b"\xfe", b"\x00", b"ping\r\n", LINK.encode(), b"HB:" + LINK.encode(), b"www.usr.cn", b"$"]

    async def run() -> None:
        async with serving(site) as (server, port), line_to_a_meter(server, port, "modbus_rtu") as (connection, meter):
            for number, heartbeat in enumerate(heartbeats):
                await meter.says(heartbeat)
                connection.ask(f"T{number}", [request], 1, 20.0, lambda answer: None)
                await meter.answers(request, [raw[:4], raw[4:]])
                await until_done(connection)
            assert server.counters.heartbeats == len(heartbeats)
            assert not server.counters.bad

    asyncio.run(run())
    assert sum(len(journaled(site, stream)) for stream in (DATA, ALARM, STRANGER)) == len(heartbeats)


GLUED = {"before": (LINK.encode(), b""), "behind": (b"", b"ping"), "around": (b"www.usr.cn", LINK.encode() + b"\r\n")}


@pytest.mark.parametrize("glued", GLUED)
def test_heartbeats_glued_to_an_answer_are_counted_and_the_answer_counts(glued: str, tmp_path: Path) -> None:
    before, behind = GLUED[glued]
    site = make_polled_site(tmp_path, "modbus_rtu", LINK)
    (raw, request), *_ = known_answers("modbus_rtu").items()

    async def run() -> None:
        async with serving(site) as (server, port), line_to_a_meter(server, port, "modbus_rtu") as (connection, meter):
            connection.ask("T", [request], 1, 20.0, lambda answer: None)
            await meter.answers(request, [before + raw + behind])
            await until_done(connection)
            assert server.counters.heartbeats == bool(before) + bool(behind)
            assert not server.counters.bad

    asyncio.run(run())
    assert [answer for _, answer in journaled(site, DATA) + journaled(site, ALARM) + journaled(site, STRANGER)] == [raw]
