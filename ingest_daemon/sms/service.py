"""The SMS channel as one part of the daemon: started and stopped with it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import tzinfo
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest_daemon.codec_kit.reassembly import Reassembly
from ingest_daemon.contract.http import HttpServer, json_response, refusal
from ingest_daemon.contract.log import LOG, RateLimitedLog
from ingest_daemon.contract.site import Site
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.sms.alarms import BadAlarms, read_alarms
from ingest_daemon.sms.concatenation import Parts
from ingest_daemon.sms.directory import Directory
from ingest_daemon.sms.gateway import Gateway
from ingest_daemon.sms.inbox import Deliver, Inbox, NotSafe
from ingest_daemon.sms.outbox import Outbox, OutboxFull
from ingest_daemon.sms.replay import Seen
from ingest_daemon.sms.settings import SmsSettings
from ingest_daemon.sms.webhook import Posted, Webhook, authorized
from ingest_daemon.terminals.directory import TerminalDirectory

SWEEP_S = 5.0
STOP_S = 3.0
"""Seconds that an SMS in transmission gets at a stop; cut off, it would go out twice."""


class Sms:
    """The SMS channel in both directions. To be made inside the running event loop, and only where `[sms] on` is true."""

    def __init__(
        self,
        site: Site,
        settings: SmsSettings,
        zone: tzinfo,
        directory: TerminalDirectory,
        protocol: str,
        packets: Reassembly,
        deliver: Deliver,
        counters: Counters,
        tally: Counter[str],
    ) -> None:
        """`directory`, `packets`: the server's; `protocol`: of the data port; `tally`: counts by outcome. Raises `OSError`."""
        self._settings, self._tally = settings, tally
        parts = Parts(site.state / "sms-parts", settings.parts_h * 3600)
        self._inbox = Inbox(directory, protocol, packets, parts, deliver, counters)
        seen = Seen(site.state / "sms-seen.txt", settings.window_h * 3600)
        self._webhook = Webhook(settings, zone, self._inbox, seen, tally)
        self._directory = Directory(Path(settings.directory), self._inbox, tally) if settings.directory else None
        self._outbox = Outbox(site.state, settings, zone, Gateway(settings), tally) if settings.gateway_url else None
        routes = [Route(path, self._answer, methods=["POST"]) for path in ("/sms", "/alarms")]
        app = Starlette(routes=routes, exception_handlers={404: _unknown_path, 405: _unknown_method})
        self._server = HttpServer(app, settings.bind, settings.port)
        self._limited = RateLimitedLog()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> int:
        """Start listening and polling; gives the port. Raises `OSError` naming the address that is taken."""
        port = await self._server.start()
        self._tasks.append(asyncio.create_task(self._every(SWEEP_S, self._sweep)))
        if self._directory:
            self._tasks.append(asyncio.create_task(self._every(self._settings.directory_s, self._directory.look)))
        if self._outbox:
            self._tasks.append(asyncio.create_task(self._outbox.run()))
        return port

    async def stop(self) -> None:
        """Accept nothing more. To be called before the journal is finished, while the event loop still runs."""
        await self._server.stop()
        if self._outbox:
            self._outbox.end()
            await asyncio.wait(self._tasks[-1:], timeout=STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, request: Request) -> Response:
        path, posted = request.url.path, Posted(request.headers, await request.body())
        if not authorized(posted, self._settings.secret):
            self._tally["unauthorized"] += 1
            self._limited.warn("sms secret", f"a request to {path} without the shared secret ([sms] secret): refused")
            return refusal(401, "缺少共享密钥或密钥不符", "the shared secret is missing or wrong")
        try:
            return await (self._webhook.answer(posted) if path == "/sms" else self._alarms(posted))
        except Exception as error:  # one bad request must not end the channel
            LOG.exception("sms: request to %s failed", path)
            return refusal(500, f"内部错误：{type(error).__name__}", f"internal error: {type(error).__name__}")

    async def _alarms(self, posted: Posted) -> Response:
        if self._outbox is None:
            return refusal(503, "未配置发送网关（[sms] gateway_url）", "no gateway is set ([sms] gateway_url)")
        try:
            queued = await self._outbox.accept(read_alarms(posted.body))
        except BadAlarms as error:
            return refusal(422, f"不是 Grafana 的报警：{error}", f"not what Grafana posts: {error}")
        except OutboxFull as error:
            return refusal(503, f"发件箱不可用：{error}", f"the outbox takes no more: {error}")
        return json_response(200, {"queued": queued})

    async def _sweep(self) -> None:
        try:
            await self._inbox.sweep()
        except (NotSafe, OSError) as error:
            self._limited.warn("sms parts", f"long messages wait: {error}")
        self._limited.flush()

    async def _every(self, pause_s: float, do: Callable[[], Awaitable[None]]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                try:
                    await do()
                except Exception:  # the next time may succeed
                    LOG.exception("sms: %s failed", do)
                await asyncio.sleep(pause_s)


async def _unknown_path(_: Request, __: Exception) -> Response:
    return refusal(404, "只有 /sms 和 /alarms", "there are /sms and /alarms")


async def _unknown_method(_: Request, __: Exception) -> Response:
    return refusal(405, "只接受 POST", "only POST")
