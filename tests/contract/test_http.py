"""The HTTP server that health, webhook and desk share: over real sockets, against clients that stall, flood or send no HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ingest_daemon.contract import http
from ingest_daemon.contract.http import BODY_BYTES, CONNECTIONS, HEAD_BYTES, PER_ADDRESS, HttpServer

LARGE = 32 << 20


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


class AtWork:
    """Requests that are not answered before `finish`."""

    def __init__(self) -> None:
        self.finish = asyncio.Event()
        self._begun = asyncio.Semaphore(0)

    async def __call__(self, _: Request) -> Response:
        self._begun.release()
        await self.finish.wait()
        return PlainTextResponse("done")

    async def acquire_all(self, count: int) -> None:
        for _ in range(count):
            await self._begun.acquire()


async def large(_: Request) -> Response:
    return Response(bytes(LARGE))


@asynccontextmanager
async def serving(slow: AtWork | None = None) -> AsyncIterator[int]:
    async def work(request: Request) -> Response:
        return await slow(request) if slow else Response()

    routes = [Route("/echo", echo, methods=["GET", "POST"]), Route("/large", large), Route("/slow", work)]
    server = HttpServer(Starlette(routes=routes), "127.0.0.1", 0)
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop()


def on_server(do: Callable[[int], Awaitable[None]], slow: AtWork | None = None) -> None:
    async def run() -> None:
        async with serving(slow) as port:
            await asyncio.wait_for(do(port), 60)

    asyncio.run(run())


async def answer(port: int, *parts: bytes) -> bytes:
    """All that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.1)
    found = await reader.read()
    writer.close()
    return found


def status(said: bytes) -> int:
    return int(said.split(b" ")[1])


GET = b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        pytest.param(GET, 200, id="a request"),
        pytest.param(POST + b"Content-Length: 2\r\n\r\nhi", 200, id="a body"),
        pytest.param(b"hello\r\n\r\n", 400, id="no HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS on the plain port"),
        pytest.param(b"GET /echo HTTP/1.1\r\n\r\n", 400, id="HTTP/1.1 without a Host"),
        pytest.param(POST + b"Content-Length: many\r\n\r\n", 400, id="a length that is no number"),
        pytest.param(POST + b"\r\n", 411, id="a body of unknown length"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, id="chunks"),
        pytest.param(POST + b"Content-Length: %d\r\n\r\n" % (BODY_BYTES + 1), 413, id="too long a body"),
        pytest.param(b"GET /" + b"x" * (HEAD_BYTES + 1), 413, id="a head without end"),
        pytest.param(b"GET /echo HTTP/1.1\r\nHost: x\r\nA: " + b"x" * HEAD_BYTES + b"\r\n\r\n", 413, id="too long a head, whole"),
        pytest.param(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, id="no such page"),
    ],
)
def test_a_request_is_answered_by_its_form(request_bytes: bytes, expected: int) -> None:
    async def do(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        assert status(await reader.readline()) == expected
        writer.close()

    on_server(do)


def test_a_refusal_has_its_reason_in_both_languages() -> None:
    async def do(port: int) -> None:
        said = await answer(port, b"hello\r\n\r\n")
        assert b'"zh"' in said and b'"en"' in said

    on_server(do)


def test_a_body_in_many_segments_arrives_whole_and_a_connection_serves_several_requests() -> None:
    async def do(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in (b"a" * 200_000, b"b"):
            writer.write(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
            for start in range(0, len(body), 50_000):
                writer.write(body[start : start + 50_000])
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            assert status(head) == 200
            assert await reader.readexactly(len(body)) == body
        writer.close()

    on_server(do)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param((), id="nothing"),
        pytest.param((b"GET /echo HT",), id="half a head"),
        pytest.param((POST + b"Content-Length: 9\r\n\r\nhalf",), id="half a body"),
        pytest.param((b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /ec"), id="half a second request"),
    ],
)
def test_a_request_that_is_not_whole_in_time_is_answered_408_and_its_connection_closed(
    begun: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.3)

    async def do(port: int) -> None:
        assert b"HTTP/1.1 408 " in await answer(port, *begun)

    with caplog.at_level(logging.INFO):
        on_server(do)
    assert [record for record in caplog.records if record.exc_info] == []


def test_one_byte_now_and_then_does_not_hold_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.5)

    async def do(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
        assert b" 408 " in reading.result()
        writer.close()

    on_server(do)


def test_a_client_that_does_not_take_its_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.3)

    async def do(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1.5)
        taken = 0
        with pytest.raises(OSError):
            while taken < LARGE:
                piece = await reader.read(1 << 20)
                if not piece:
                    raise ConnectionResetError
                taken += len(piece)
        writer.close()

    on_server(do)


async def connected(port: int, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))


@pytest.mark.parametrize(
    "begun", [b"", GET[:20], GET.replace(b"close", b"keep-alive")], ids=["idle", "half a head", "kept alive"]
)
def test_idle_connections_of_one_address_keep_nobody_out_and_the_longest_idle_goes_first(begun: bytes) -> None:
    async def do(port: int) -> None:
        idle = [await connected(port) for _ in range(PER_ADDRESS + 48)]
        for _, writer in idle:
            writer.write(begun)
        assert status(await answer(port, GET)) == 200
        assert (await idle[0][0].read()).endswith(b'"too many connections: try again later"}}\n')
        later = asyncio.create_task(idle[-1][0].read(1 << 16))
        if begun == GET[:20]:
            idle[-1][1].write(GET[20:])
            assert status(await later) == 200, "the newest of them still has its place"
        for _, writer in idle:
            writer.close()

    on_server(do)


def test_addresses_that_take_all_places_lose_one_to_a_new_address() -> None:
    async def do(port: int) -> None:
        crowds = [[await connected(port, address) for _ in range(PER_ADDRESS)] for address in ("127.0.0.2", "127.0.0.3")]
        assert PER_ADDRESS * 2 == CONNECTIONS
        reader, writer = await connected(port, "127.0.0.4")
        writer.write(GET)
        assert status(await reader.read()) == 200
        for _, writer in (*crowds[0], *crowds[1]):
            writer.close()

    on_server(do)


def test_a_request_in_work_is_never_ended_for_a_new_connection() -> None:
    async def do(port: int) -> None:
        working = [await connected(port) for _ in range(PER_ADDRESS)]
        for _, writer in working:
            writer.write(GET.replace(b"/echo", b"/slow"))
        await at_work.acquire_all(PER_ADDRESS)
        assert status(await answer(port, GET)) == 503
        reader, writer = await connected(port, "127.0.0.2")
        writer.write(GET)
        assert status(await reader.read()) == 200, "another address has its share"
        at_work.finish.set()
        for reader, writer in working:
            assert status(await reader.read()) == 200
            writer.close()
        assert status(await answer(port, GET)) == 200

    at_work = AtWork()
    on_server(do, at_work)


def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    async def run() -> None:
        async with serving() as port:
            with pytest.raises(OSError, match=str(port)):
                await HttpServer(Starlette(), "127.0.0.1", port).start()

    asyncio.run(run())
