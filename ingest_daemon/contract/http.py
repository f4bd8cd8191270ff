"""Just enough of HTTP/1.1 to be asked and posted to: one request a connection, bounded in size, time and number.

In the daemon's own event loop. No paths, no secrets: those belong to who answers.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

HEAD_BYTES = 8192
BODY_BYTES = 1 << 18
REQUEST_S = 10.0
CONNECTIONS = 64
"""A request must be whole within these sizes and this time; so many are served at a time."""

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Request(NamedTuple):
    """A whole request. `headers`: by name in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """Status and body: text, or what is sent as JSON."""

    status: int
    body: str | Mapping[str, Any]


def refusal(status: int, zh: str, en: str, **more: Any) -> Answer:
    """An answer that says why not, in both languages; `more`: what else it tells."""
    return Answer(status, {**more, "reason": {"zh": zh, "en": en}})


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class Listener:
    """Serves `handle(request)`; an answer is sent when it returns."""

    def __init__(self, handle: Callable[[Request], Awaitable[Answer]], bind: str, port: int) -> None:
        self._handle, self._bind, self._port = handle, bind, port
        self._open = 0
        self._server: asyncio.Server

    async def start(self) -> int:
        """Listen; gives the port. Raises `OSError` naming the address that is taken."""
        self._server = await asyncio.start_server(self._serve, self._bind, self._port, limit=HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            # Cancelled it is only when the process ends; asyncio would log that as an error.
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
                writer.write(_packed(await self._answer(reader, writer)))
                await asyncio.wait_for(writer.drain(), REQUEST_S)
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        if self._open > CONNECTIONS:
            return refusal(503, "连接过多，请稍后重试", f"more than {CONNECTIONS} connections: try again later")
        try:
            request = await asyncio.wait_for(_read(reader, writer), REQUEST_S)
        except _Refused as refused:
            return refused.answer
        except TimeoutError:
            return refusal(408, "请求未在时限内收齐", f"the request was not whole within {REQUEST_S:.0f} s")
        return await self._handle(request)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    """One request. Raises `_Refused`, or `IncompleteReadError` where the peer went."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise _Refused(refusal(413, "请求头过大", f"the request's head is longer than {HEAD_BYTES} bytes")) from None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _Refused(refusal(400, "不是 HTTP/1.1 请求", "expected a request of HTTP/1.1"))
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0" if words[0] == "GET" else "")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdecimal()):
        raise _Refused(refusal(411, "须有 Content-Length", "expected a Content-Length, without Transfer-Encoding"))
    if len(length.lstrip("0")) > len(str(BODY_BYTES)) or int(length) > BODY_BYTES:
        raise _Refused(refusal(413, f"正文超过 {BODY_BYTES} 字节", f"the body is longer than {BODY_BYTES} bytes"))
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return Request(words[0], words[1].partition("?")[0], headers, await reader.readexactly(int(length)))


def _packed(answer: Answer) -> bytes:
    if isinstance(answer.body, str):
        kind, text = "text/plain; version=0.0.4", answer.body  # the version is that of Prometheus' format
    else:
        kind, text = "application/json", json.dumps(answer.body, ensure_ascii=False) + "\n"
    content = text.encode("utf-8", "replace")
    head = (
        f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}\r\nContent-Type: {kind}; charset=utf-8\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + content
