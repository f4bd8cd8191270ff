"""`python -m ingest_daemon --site DIR`: wires the rooms together, starts them, and stops them in order."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ingest_daemon.commands.queue import CommandQueue
from ingest_daemon.commands.settings import CommandSettings
from ingest_daemon.contract import disk, kept
from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.settings import (
    PostgresSettings,
    SettingError,
    Settings,
    find_sections,
    read_settings,
)
from ingest_daemon.contract.site import UMASK, Site
from ingest_daemon.forwarding.alarm_sink import AlarmSink
from ingest_daemon.forwarding.forwarder import Forwarder
from ingest_daemon.forwarding.handover import Handover
from ingest_daemon.forwarding.latest_readings import LatestReadings
from ingest_daemon.forwarding.open_alarms import OpenAlarms
from ingest_daemon.journal.reader import backlog, restore_cursors
from ingest_daemon.journal.records import ALARM, BAD, BAD_KIND, DATA, EVENT, FRAME_KIND, PART, STRANGER
from ingest_daemon.journal.share import note_share
from ingest_daemon.journal.writer import Journals
from ingest_daemon.monitoring import health
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.monitoring.disk import LOOK_S, DiskWatch
from ingest_daemon.monitoring.host_limits import allowed_connections
from ingest_daemon.monitoring.lock import SiteBusy, lock_site
from ingest_daemon.monitoring.systemd import notify, watchdog_s
from ingest_daemon.reception.group_commit import Receipt
from ingest_daemon.reception.listener import Server
from ingest_daemon.reception.poller import Poller
from ingest_daemon.reception.settings import ASYNCIO, AccessSettings, DaemonSettings, PollSettings
from ingest_daemon.sms.service import Sms
from ingest_daemon.sms.settings import SmsSettings
from ingest_daemon.stores import open_store
from ingest_daemon.stores.layout import check_layout
from ingest_daemon.stores.settings import StoreSettings
from ingest_daemon.terminals.directory import TerminalDirectory
from ingest_daemon.terminals.registry import Registry

SWITCH_S = 0.0005
"""Thread switch interval in seconds; the default of 5 ms would delay acknowledgements."""

QUICK_S = 5.0
"""Seconds that a clean stop waits for the backlog to be forwarded."""

PROCESSES_S = 1.0
"""Seconds between two looks at the processes beside this one."""

FAILED, MISUSED = 1, 2
"""Exit codes: a failure; a wrong setting or argument."""


class Daemon:
    """The running parts of a site's daemon."""

    def __init__(self, settings: Settings) -> None:
        """Open journal, store and registry. Raises `OSError`, `ValueError` with the reason."""
        self._site = site = settings.folder
        self._settings = settings
        daemon = settings[DaemonSettings]
        daemon = replace(daemon, connections=allowed_connections(daemon.connections))
        self._started_at = datetime.now(UTC)
        self._counters = Counters()
        restore_cursors(site)
        note_share(site, settings[StoreSettings].share)
        self._journals = Journals(
            site,
            daemon.segment_mb << 20,
            daemon.journal_mb << 20,
            {STRANGER: daemon.stranger_mb << 20, BAD: daemon.bad_mb << 20},
        )
        self._counters.dropped_bytes = self._journals.dropped_bytes
        self._sms: Sms | None = None
        self._registry = Registry(site, daemon.data_protocol, self._counters.health)
        known = TerminalDirectory(self._registry)
        self._server = Server(
            daemon,
            settings[AccessSettings],
            known,
            CommandQueue(site, settings[CommandSettings]),
            self._journals,
            self._counters,
            site.import_socket,
        )
        self._poller = Poller(settings[PollSettings], self._server)
        handover, open_alarms, store = Handover(), OpenAlarms(), open_store(site, settings[StoreSettings])
        self._forwarder = Forwarder(site, daemon, store, self._registry, self._journals, self._counters, handover, open_alarms)
        dsn = settings[PostgresSettings].dsn
        self._sink = AlarmSink(site, dsn, self._registry, self._journals, self._counters, open_alarms)
        self._latest = LatestReadings(site, dsn, daemon, self._registry, self._journals, self._counters, handover)
        self._health = health.server(site, daemon.health_bind, daemon.health_port, self._counters)
        self._loop: asyncio.AbstractEventLoop
        self._broken: asyncio.Future[Exception]

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; gives the exit code."""
        self._loop = loop = asyncio.get_running_loop()
        self._broken = loop.create_future()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self._journals.start(self._needed_from, self._server.commit.settled, self._break)
        data_port, alarm_port = await self._server.start()
        self._poller.start()
        self._registry.start()
        sms_port = await self._start_sms()
        health_port = await self._health.start()
        self._forwarder.start()
        self._sink.start()
        self._latest.start()
        address = {
            "pid": os.getpid(),
            "data_port": data_port,
            "alarm_port": alarm_port,
            "health_port": health_port,
            "sms_port": sms_port,
            "started_at": self._started_at.isoformat(),
        }
        write_json(self._site.state / "daemon.json", address, durable=False)
        print(
            f"采集进程就绪 / ready: data {data_port}, alarm {alarm_port}, health {health_port}, site {self._site.root}",
            flush=True,
        )
        notify("READY=1")
        over = asyncio.Event()
        counting = asyncio.create_task(self._update_counters(over))
        watched = asyncio.create_task(self._notify_watchdog())
        disk = asyncio.create_task(self._watch_disk())
        processes = asyncio.create_task(self._watch_processes())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((stopping, self._broken), return_when=asyncio.FIRST_COMPLETED)
            if self._broken.done():
                return self._give_up()
            await self._stop()
        finally:
            stopping.cancel()
            over.set()
            await counting
            watched.cancel()
            disk.cancel()
            processes.cancel()
            await self._health.stop()
            (self._site.state / "daemon.json").unlink(missing_ok=True)
        return self._give_up() if self._broken.done() else 0

    async def _stop(self) -> None:
        LOG.info("stopping")
        notify("STOPPING=1")
        await self._poller.stop()
        if self._sms:
            await self._sms.stop()
        await self._server.stop_listening()
        await asyncio.to_thread(self._journals.finish)
        await asyncio.sleep(0)  # lets this loop send the last acknowledgements
        await self._server.close()
        deadline = time.monotonic() + QUICK_S
        await asyncio.to_thread(self._registry.stop)
        await asyncio.to_thread(self._forwarder.stop, QUICK_S)
        await asyncio.to_thread(self._sink.stop, max(0.0, deadline - time.monotonic()) + 0.5)
        await asyncio.to_thread(self._latest.stop, max(0.0, deadline - time.monotonic()) + 0.5)

    async def _start_sms(self) -> int | None:
        """Start the SMS channel where it is on; gives its port."""
        settings = self._settings[SmsSettings]
        if not settings.on:
            return None
        server, counters = self._server, self._counters

        def deliver(stream: str, payload: bytes, received_us: int, receipt: Receipt | None) -> None:
            server.commit.append(stream, payload, received_us, BAD_KIND if stream == BAD else FRAME_KIND, receipt)

        protocol = server.settings.data_protocol
        self._sms = Sms(
            self._site,
            settings,
            self._settings.zone,
            server.directory,
            protocol,
            server.reassembly,
            deliver,
            counters,
            counters.sms,
        )
        return await self._sms.start()

    def _needed_from(self, stream: str) -> int:
        """Position from which a reader still needs the stream; old packets have none, rejected bytes only a person."""
        if stream in (BAD, PART):
            return 0 if stream == BAD else sys.maxsize
        needed = [self._forwarder.position(stream)] if stream in (DATA, ALARM, STRANGER) else []
        needed += [self._latest.position(stream)] if stream in (DATA, ALARM) else []
        return min(needed + ([self._sink.position(stream)] if stream in (ALARM, EVENT) else []))

    def _break(self, error: Exception) -> None:
        """Stop the daemon with an error; called in a thread of the journal or the forwarder."""
        self._loop.call_soon_threadsafe(self._note_broken, error)

    def _note_broken(self, error: Exception) -> None:
        if not self._broken.done():
            self._broken.set_result(error)

    def _give_up(self) -> int:
        error = self._broken.result()
        print(
            f"日志无法写入磁盘，采集进程退出 / the journal cannot be kept on disk, the daemon ends: "
            f"{disk.trouble(error, self._site.root) or error}",
            file=sys.stderr,
            flush=True,
        )
        return FAILED

    async def _notify_watchdog(self) -> None:
        """Notify systemd's watchdog, where there is one, as long as the event loop turns."""
        if every_s := watchdog_s():
            while True:
                notify("WATCHDOG=1")
                await asyncio.sleep(every_s)

    async def _watch_disk(self) -> None:
        """Keep the health of the disk up to date."""
        watch = DiskWatch(self._site)
        while True:
            try:
                self._counters.health["disk"] = await asyncio.to_thread(watch.look)
            except OSError as error:
                self._counters.health["disk"] = str(error)
            await asyncio.sleep(LOOK_S)

    async def _watch_processes(self) -> None:
        """Keep the health of the processes beside this one up to date, where `mainflow up` keeps them running."""
        while True:
            self._counters.health["processes"] = await asyncio.to_thread(kept.ended, self._site) or "ok"
            await asyncio.sleep(PROCESSES_S)

    async def _update_counters(self, over: asyncio.Event) -> None:
        """Rewrite `state/counters.json` each second, but spend at most 5 % of the time on it."""
        last = False
        while not last:
            last = over.is_set()
            began = time.monotonic()
            try:
                await asyncio.to_thread(self._write_counters)
            except OSError as error:  # a full disk: the journal reports it
                LOG.debug("counters: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), max(1.0, 20 * (time.monotonic() - began)))

    def _write_counters(self) -> None:
        figures = {
            "at": datetime.now(UTC).isoformat(),
            "started_at": self._started_at.isoformat(),
            **self._counters.snapshot(),
            "backlog_bytes": backlog(self._site),
        }
        write_json(self._site.state / "counters.json", figures, durable=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon of a site in the foreground; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ingest_daemon", description="采集进程 / the daemon that terminals report to")
    parser.add_argument("--site", type=Path, required=True, help="站点目录 / site folder (mainflow init DIR)")
    site = Site(parser.parse_args(arguments).site.resolve())
    os.umask(UMASK)
    sys.setswitchinterval(SWITCH_S)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    find_sections("ingest_daemon")
    try:
        settings = read_settings(site, all_sections=False)
    except SettingError as error:
        print(error, file=sys.stderr)
        return MISUSED
    try:
        check_layout(site)
        lock_site(site)
        with asyncio.Runner(loop_factory=_loop_factory(settings[DaemonSettings].event_loop)) as runner:
            return runner.run(Daemon(settings).run())
    except (SiteBusy, OSError, ValueError) as error:
        print(disk.trouble(error, site.root) or error, file=sys.stderr)
        return FAILED


def _loop_factory(event_loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop of the setting. Raises `ValueError` where its package is missing."""
    if event_loop == ASYNCIO:
        return asyncio.new_event_loop
    try:
        import uvloop
    except ImportError as error:
        raise ValueError(
            f"[daemon] event_loop = {event_loop!r}: the package is missing ({error}); "
            "install it (pip install 'mainflow[uvloop]') or set asyncio"
        ) from None
    return uvloop.new_event_loop


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # a store call that hangs in its thread must not hold the process
