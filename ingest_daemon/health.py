"""`GET /healthz` and `GET /metrics` on this machine: the daemon's state for who watches it. Nothing can be changed here.

Just enough of HTTP/1.0 for a probe and for Prometheus, in the daemon's own event loop: an answer says that the loop turns.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ingest_daemon.journal import backlog, waiting_since
from ingest_daemon.site import Site
from ingest_daemon.state import Counters

HOST = "127.0.0.1"
REQUEST_BYTES = 8192
REQUEST_S = 5.0
"""A request must be whole within this size and time."""

VITAL = ("journal", "store")
"""Parts without which nothing comes in or through; PostgreSQL's absence holds up no reading."""

Samples = Iterator[tuple[str, str, str, Mapping[str, float]]]


class Health:
    """The listener."""

    def __init__(self, site: Site, port: int, counters: Counters) -> None:
        self._site, self._port, self._counters = site, port, counters
        self._listener: asyncio.Server

    async def start(self) -> int:
        """Listen; gives the port. Raises `OSError` naming the address that is taken."""
        self._listener = await asyncio.start_server(self._serve, HOST, self._port, limit=REQUEST_BYTES)
        return int(self._listener.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled it is only when the process ends; asyncio would log that as an error.
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_S)
            except asyncio.LimitOverrunError:
                head = b""
            writer.write(await self._respond(head))
            await asyncio.wait_for(writer.drain(), REQUEST_S)
        writer.close()

    async def _respond(self, head: bytes) -> bytes:
        match head.partition(b"\r\n")[0].split(b" "):
            case [b"GET", b"/healthz", _]:
                wrong = ailments(self._counters.health)
                return response("503 Service Unavailable" if wrong else "200 OK", wrong or "ok\n")
            case [b"GET", b"/metrics", _]:
                return response("200 OK", await asyncio.to_thread(self._metrics))  # looks at the disk
            case [b"GET", _, _]:
                return response("404 Not Found", "there are /healthz and /metrics\n")
            case [_, _, _]:
                return response("405 Method Not Allowed", "only GET\n")
            case _:
                return response("400 Bad Request", f"expected a request of HTTP of at most {REQUEST_BYTES} bytes\n")

    def _metrics(self) -> str:
        return exposition(self._counters.snapshot(), backlog(self._site), waiting_since(self._site), time.time_ns() // 1000)


def ailments(health: Mapping[str, str]) -> str:
    """A line for each vital part that is not well; empty when all are."""
    return "".join(f"{part}: {health[part]}\n" for part in VITAL if health[part] != "ok")


def response(status: str, body: str) -> bytes:
    """A whole answer."""
    content = body.encode()
    head = (
        f"HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def exposition(counters: Mapping[str, Any], left: Mapping[str, int], since_us: Mapping[str, int | None], now_us: int) -> str:
    """The figures in Prometheus' text format.

    `counters`: of `Counters.snapshot`; `left`, `since_us`: bytes and oldest receive time that each reader has before it.
    """
    lines = []
    for name, kind, label, values in _samples(counters, left, since_us, now_us):
        lines.append(f"# TYPE mainflow_{name} {kind}")
        for key, value in values.items():
            labels = f'{{{label}="{key}"}}' if label else ""
            lines.append(f"mainflow_{name}{labels} {value}")
    return "\n".join(lines) + "\n"


def _samples(counters: Mapping[str, Any], left: Mapping[str, int], since_us: Mapping[str, int | None], now_us: int) -> Samples:
    """Name, kind, label ("": none) and values by label."""
    yield "frames_total", "counter", "stream", counters["frames"]
    yield "frames_acknowledged_total", "counter", "", {"": counters["acknowledged"]}
    yield "frames_refused_total", "counter", "", {"": counters["refused"]}
    yield "rejected_total", "counter", "reason", counters["bad"]
    yield "doubted_total", "counter", "reason", counters["doubted"]
    yield "messages_total", "counter", "protocol", counters["protocols"]
    yield "polls_total", "counter", "result", counters["polls"]
    yield "sms_total", "counter", "what", counters["sms"]
    yield "heartbeats_total", "counter", "", {"": counters["heartbeats"]}
    yield "connections_incomplete_total", "counter", "", {"": counters["incomplete"]}
    yield "connections_turned_away_total", "counter", "", {"": counters["turned_away"]}
    yield "readings_stored_total", "counter", "", {"": counters["readings"]}
    yield "readings_duplicate_total", "counter", "", {"": counters["duplicates"]}
    yield "kept_total", "counter", "reason", counters["kept"]
    yield "alarm_events_total", "counter", "", {"": counters["alarm_events"]}
    yield "connections", "gauge", "", {"": counters["connections"]}
    yield "healthy", "gauge", "part", {part: int(state == "ok") for part, state in counters["health"].items()}
    yield "backlog_bytes", "gauge", "reader", left
    yield "lag_seconds", "gauge", "reader", {name: (now_us - at) / 1e6 if at else 0.0 for name, at in since_us.items()}
    contacts = counters["last_contact_us"]
    yield "terminals_seen", "gauge", "", {"": len(contacts)}
    if contacts:  # before the first frame there is no age
        yield "last_contact_age_seconds", "gauge", "", {"": (now_us - max(contacts.values())) / 1e6}
