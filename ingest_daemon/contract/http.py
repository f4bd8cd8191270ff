"""The HTTP server of health, metrics, webhook and desk: an ASGI application on uvicorn, bounded against strangers.

It runs in the caller's event loop, beside other work, and leaves signals and logging alone. Bounds: size of head and body,
time for a whole request and for taking its answer, connections in all and of one address. A new connection takes the place of
the one that waits longest without a whole request, so that idle ones keep nobody out.
"""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import Generator
from typing import Any

import h11
import uvicorn
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

HEAD_BYTES = 8192
BODY_BYTES = 1 << 18
REQUEST_S = 10.0
"""Seconds within which a request must be whole, and its answer be taken."""
CONNECTIONS, PER_ADDRESS = 64, 32
"""Most connections at a time: in all, and of one address."""
KEEP_ALIVE_S = 5
STOP_S = 3
"""Seconds that requests in work get when the server stops."""


def json_response(status: int, body: dict[str, Any]) -> Response:
    """An answer with a JSON body."""
    text = json.dumps(body, ensure_ascii=False) + "\n"
    return Response(text.encode("utf-8", "replace"), status, media_type="application/json")


def refusal(status: int, zh: str, en: str, **more: Any) -> Response:
    """An answer with the reason of a refusal in both languages; `more`: further keys."""
    return json_response(status, {**more, "reason": {"zh": zh, "en": en}})


class HttpServer:
    """Serves an ASGI application on one address."""

    def __init__(self, app: ASGIApp, host: str, port: int, *, body_bytes: int = BODY_BYTES) -> None:
        """`body_bytes`: the longest body of a request that the application gets."""
        self._host, self._port = host, port
        self._server = _Server(
            uvicorn.Config(
                _SizeLimits(app, body_bytes),
                http=_BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=HEAD_BYTES,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
            )
        )
        self._serving: asyncio.Task[None]

    async def start(self) -> int:
        """Listen; gives the port. Raises `OSError` naming an address that is taken."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family)
        listener.setblocking(False)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0)
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Listen no more, and let requests in work end."""
        self._server.should_exit = True
        await self._serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the process that the server is a part of."""
        yield


class _BoundedProtocol(H11Protocol):
    """One connection; ended where it is one too many or too slow."""

    _deadline: asyncio.TimerHandle | None = None
    _useful_s = 0.0
    """When its last whole request had come, else when it was made."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._useful_s = self.loop.time()
        self._start_timer()
        if (surplus := _surplus(self)) is not None:
            surplus._refuse(503, "连接过多，请稍后重试", "too many connections: try again later")

    @property
    def address(self) -> str:
        """The client's address; "" of one that is gone already."""
        return self.client[0] if self.client else ""

    @property
    def is_waiting(self) -> bool:
        """Whether no whole request is in work, or its answer is not taken."""
        return self._deadline is not None or self.cycle is None or self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        if self._deadline is None and (before is None or before.response_complete):
            self._start_timer()
        super().data_received(data)
        request = self.cycle
        is_same = request is before
        if request is not None and not request.more_body and not (is_same and request.response_complete):
            self._stop_timer()
            self._useful_s = self.loop.time()

    def pause_writing(self) -> None:
        self._start_timer()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stop_timer()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; called while h11's error is handled."""
        error = sys.exc_info()[1]
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            self._refuse(413, "请求头过大", f"the request's head is longer than {HEAD_BYTES} bytes")
        else:
            self._refuse(400, "不是 HTTP/1.1 请求", f"expected a request of HTTP/1.1: {error}")

    def _refuse(self, status: int, zh: str, en: str) -> None:
        """Answer with a refusal, where no answer has begun, and close."""
        self._stop_timer()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = refusal(status, zh, en)
            head = h11.Response(
                status_code=status, headers=[*response.raw_headers, (b"connection", b"close")], reason=STATUS_PHRASES[status]
            )
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._deadline = self.loop.call_later(REQUEST_S, self._time_out)

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _time_out(self) -> None:
        if self.transport.get_write_buffer_size():  # the peer does not take its answer
            self.transport.abort()
        else:
            self._refuse(408, "请求未在时限内收齐", f"the request was not whole within {REQUEST_S:.0f} s")


def _surplus(new: _BoundedProtocol) -> _BoundedProtocol | None:
    """The connection to close for a new one: of its address, or of the address with most, the one that waits longest.

    Where all of them have a request in work it is the new one; None where there is room.
    """
    by_address: dict[str, list[_BoundedProtocol]] = {}
    connections = [each for each in new.connections if isinstance(each, _BoundedProtocol) and not each.transport.is_closing()]
    for connection in connections:
        by_address.setdefault(connection.address, []).append(connection)
    crowd = by_address[new.address]
    if len(crowd) <= PER_ADDRESS:
        if len(connections) <= CONNECTIONS:
            return None
        crowd = max(by_address.values(), key=len)
    waiting = (connection for connection in crowd if connection is not new and connection.is_waiting)
    return min(waiting, key=lambda connection: connection._useful_s, default=new)


class _SizeLimits:
    """Refuses requests without a length, or with too long a head or body, before the application sees them.

    A client that goes before its request is whole is nothing to report.
    """

    def __init__(self, app: ASGIApp, body_bytes: int) -> None:
        self._app, self._body_bytes = app, body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refused(scope)
        with contextlib.suppress(ClientDisconnect):
            await (refused or self._app)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) + 4 for name, value in headers.raw) + len(scope["raw_path"]) > HEAD_BYTES:
            return refusal(413, "请求头过大", f"the request's head is longer than {HEAD_BYTES} bytes")
        length = headers.get("content-length", "0" if scope["method"] in ("GET", "HEAD") else "")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdecimal()):
            return refusal(411, "须有 Content-Length", "expected a Content-Length, without Transfer-Encoding")
        if int(length) > self._body_bytes:
            return refusal(413, f"正文超过 {self._body_bytes} 字节", f"the body is longer than {self._body_bytes} bytes")
        return None
