"""Dagster's pages behind a guard: they know no log-in, so no other web page may act through the browser of whoever reads it.

    python -m pipelines.processes.dagster_pages --port 3010

They are for this machine, and for others through a tunnel that ends here. The guard refuses a foreign `Host` (a name that was
made to point at this machine), a foreign `Origin`, websockets too, GraphQL by GET (a link or a picture would do) and frames.
Programs without a browser send no `Origin` and are let in.
"""

import argparse
import os
from urllib.parse import SplitResult, urlsplit

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_MAX_OVERFLOW, DEFAULT_POOL_RECYCLE
from dagster_webserver.version import __version__
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_daemon.contract.site import UMASK
from pipelines.processes.dagster_home import WORKSPACE
from pipelines.processes.listening import LOOPBACK

GRAPHQL = "/graphql"
POLL_MS = 2000
"""How often an open page asks for what is new; Dagster's own default."""


class Guard:
    """An ASGI application that lets through to another what `refusal` has no reason against."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Frame-Options"] = "DENY"
            await send(message)

        reason = refusal(scope)
        if reason is None:
            await self._app(scope, receive, send_unframed)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        else:
            await PlainTextResponse(f"拒绝 / refused: {reason}\n", status_code=403)(scope, receive, send_unframed)


def refusal(scope: Scope) -> str | None:
    """Why a request or websocket is not let in; None where it is."""
    headers = Headers(scope=scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    if len(headers.getlist("host")) != 1 or _split(f"//{host}").hostname not in LOOPBACK:
        return f"Host {host!r}: expected one of {', '.join(LOOPBACK)}; from elsewhere use a tunnel: ssh -L"
    if origin is not None and (len(headers.getlist("origin")) != 1 or _split(origin).netloc != host):
        return f"Origin {origin!r}: expected these pages themselves, at {host}"
    if scope["path"] == GRAPHQL and scope.get("method") == "GET" and "query" in QueryParams(scope["query_string"]):
        return "GraphQL by GET: expected POST"
    return None


def _split(address: str) -> SplitResult:
    """The parts of an address; empty ones of what is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def main() -> None:
    """Serve the pages until SIGTERM; the site is that of MAINFLOW_SITE, Dagster's home that of DAGSTER_HOME."""
    parser = argparse.ArgumentParser(description="Dagster's pages behind a guard")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    os.umask(UMASK)
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget([str(WORKSPACE)])
        with WorkspaceProcessContext(instance, target, version=__version__) as context:
            pages = create_app_from_workspace_process_context(context, live_data_poll_rate=POLL_MS)
            uvicorn.run(Guard(pages), host=given.host, port=given.port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()
