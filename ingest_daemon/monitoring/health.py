"""`GET /healthz` and `GET /metrics`: the daemon's state for monitoring. Nothing can be changed here.

The daemon's own event loop answers, so an answer proves that the loop turns.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ingest_daemon.contract.http import HttpServer
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import backlog, waiting_since
from ingest_daemon.monitoring.counters import Counters

EXPOSITION = "text/plain; version=0.0.4"
"""Content type of Prometheus' text format."""

VITAL = ("journal", "store", "processes")
"""Parts without which nothing comes in, through or out; PostgreSQL's absence holds up no reading."""

MINOR = ("registry", "disk", "clock")
"""Parts that `/healthz` names, too, but whose state before goes on to serve."""

Samples = Iterator[tuple[str, str, str, Mapping[str, float]]]


def server(site: Site, host: str, port: int, counters: Counters) -> HttpServer:
    """The server of both pages, to be started and stopped; nobody is asked for a password."""

    def figures() -> str:
        return exposition(counters.snapshot(), backlog(site), waiting_since(site), time.time_ns() // 1000)

    async def healthz(_: Request) -> Response:
        wrong = ailments(counters.health)
        return PlainTextResponse(wrong, 503) if wrong else PlainTextResponse("ok\n" + ailments(counters.health, MINOR))

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(await asyncio.to_thread(figures), media_type=EXPOSITION)  # reads the disk

    async def refused(_: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        return PlainTextResponse("only GET\n" if status == 405 else "there are /healthz and /metrics\n", status)

    routes = [Route("/healthz", healthz, methods=["GET"]), Route("/metrics", metrics, methods=["GET"])]
    return HttpServer(Starlette(routes=routes, exception_handlers={404: refused, 405: refused}), host, port)


def ailments(health: Mapping[str, str], parts: Sequence[str] = VITAL) -> str:
    """A line for each of the parts that is not well; empty when all are."""
    return "".join(f"{part}: {health[part]}\n" for part in parts if health.get(part, "ok") != "ok")


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
    yield "rival_callers_total", "counter", "", {"": counters["rival_callers"]}
    yield "connections_incomplete_total", "counter", "", {"": counters["incomplete"]}
    yield "messages_given_up_total", "counter", "", {"": counters["messages_given_up"]}
    yield "connections_turned_away_total", "counter", "", {"": counters["turned_away"]}
    yield "readings_stored_total", "counter", "", {"": counters["readings"]}
    yield "readings_duplicate_total", "counter", "", {"": counters["duplicates"]}
    yield "quarantined_total", "counter", "reason", counters["quarantined"]
    yield "quarantine_dropped_total", "counter", "reason", counters["quarantine_dropped"]
    yield "journal_dropped_bytes_total", "counter", "stream", counters["dropped_bytes"]
    yield "journal_damaged_bytes_total", "counter", "stream", counters["damaged_bytes"]
    yield "alarm_events_total", "counter", "", {"": counters["alarm_events"]}
    yield "connections", "gauge", "", {"": counters["connections"]}
    yield "healthy", "gauge", "part", {part: int(state == "ok") for part, state in counters["health"].items()}
    yield "backlog_bytes", "gauge", "reader", left
    yield "lag_seconds", "gauge", "reader", {name: (now_us - at) / 1e6 if at else 0.0 for name, at in since_us.items()}
    contacts = counters["last_contact_us"]
    yield "terminals_seen", "gauge", "", {"": len(contacts)}
    if contacts:  # before the first frame there is no age
        yield "last_contact_age_seconds", "gauge", "", {"": (now_us - max(contacts.values())) / 1e6}
