"""The tables of `mainflow status`: the daemon's counters, waiting days, quarantine, and the state of each terminal."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import polars as pl
from rich.table import Table
from rich.text import Text

from ingest_daemon import operations
from ingest_daemon.contract.files import glance
from ingest_daemon.contract.settings import Settings, SiteSettings
from ingest_daemon.contract.silence import silent_after_min
from ingest_daemon.contract.site import Site
from ingest_daemon.operations import AmrSettings, DaemonSettings, SourceSettings
from ingest_daemon.stores import StoreAway, open_store
from ingest_daemon.stores.settings import StoreSettings
from pipelines.cli.console import coloured
from pipelines.processes import supervisor
from pipelines.processes.servers import running_daemon
from pipelines.runs import backup

LATEST = timedelta(days=1)
"""Limit of the age of readings for signal and battery."""


class Contact(NamedTuple):
    """The daemon's record of a registered terminal; times in µs since 1970 UTC, None: never heard.

    `heard_us`: last frame, or newest reading where the daemon was started since. `drift_s`: server minus device clock, None where
    it was never wrong.
    """

    meter: str
    heard_us: int | None
    silent: bool
    drift_s: float | None


def report(settings: Settings) -> Table:
    """A table of the site's state, readable while everything or nothing runs."""
    site = settings.folder
    counters = _json(site.state / "counters.json")
    ports = running_daemon(site)
    table = Table("", "", title=f"{settings[SiteSettings].utility} · {site.root}", show_header=False)
    table.add_row("接收进程 / daemon", f"端口 ports {ports.data}, {ports.alarm}" if ports else "未运行 / not running")
    for child in supervisor.kept(site) or []:
        again = f"，重启 started again {child.restarts} ×，{child.ended}" if child.ended else ""
        state = coloured("", "运行 runs", again) if child.is_running else coloured("red", "停了 ended", again)
        table.add_row(f"进程 / process {child.name}", state)
    oldest = operations.waiting_since(site)
    for name, size in operations.backlog(site).items():
        if name != "bad":
            late = f", 滞后 lag {_span((time.time_ns() // 1000 - since) / 1e6)}" if (since := oldest[name]) else ""
            table.add_row(f"待转发 / backlog {name}", f"{size:,} B{late}")
    table.add_row("读数入库 / readings stored", f"{counters.get('readings', 0):,}")
    table.add_row("重复 / duplicates", f"{counters.get('duplicates', 0):,}")
    for reason, count in operations.quarantine_counts(site).items():
        table.add_row(f"另存 / kept {reason}", f"{count:,}")
    for reason, count in counters.get("bad", {}).items():
        table.add_row(f"坏帧 / bad {reason}", f"{count:,}")
    for stream, size in counters.get("damaged_bytes", {}).items():
        table.add_row(f"日志损坏 / journal {stream} damaged", f"{size:,} B passed over: mainflow journal verify")
    for part, state in counters.get("health", {}).items():
        if state != "ok":
            table.add_row(coloured("red", part), state)
    contacts = counters.get("last_contact_us", {})
    if contacts:
        latest = datetime.fromtimestamp(max(contacts.values()) / 1e6, UTC).astimezone(settings.zone)
        table.add_row("终端 / terminals seen", f"{len(contacts)}, 最近 latest {latest:%Y-%m-%d %H:%M:%S}")
    terminals = contacts_of(site)
    silent = [terminal for terminal, contact in terminals.items() if contact.silent]
    drifted = [terminal for terminal, contact in terminals.items() if _is_off(contact, settings[DaemonSettings].drift_s)]
    table.add_row("静默终端 / silent terminals", f"{len(silent):,} / {len(terminals):,}{_some(silent)}")
    table.add_row("时钟偏差 / clocks off", f"{len(drifted):,}{_some(drifted)}")
    unknown = operations.unknown_terminals(site)
    table.add_row("未登记终端 / unknown terminals", f"{len(unknown):,}{_some(list(unknown))}")
    for source in settings[AmrSettings].sources:
        table.add_row(f"其他采集 / AMR {source.name}", _imported(settings, source))
    table.add_row("待算天数 / days to compute", _waiting(settings))
    last = backup.told(site)
    table.add_row("上次备份 / last backup", f"{last['at']} {last['folder']}" if last else "没有 / none")
    return table


def _imported(settings: Settings, source: SourceSettings) -> Text:
    """How far a source is imported, and what of it waits; red where nothing new came in time."""
    state = operations.amr_state(settings.folder, source.name)
    if not state.last_new_at:
        return Text("未导入 / never imported")
    waiting = f"，{len(state.tags):,} 标签待对应 tags without a terminal，{state.refused:,} 行拒 rows refused"
    newest = f"{datetime.fromisoformat(state.last_new_at).astimezone(settings.zone):%Y-%m-%d %H:%M}"
    late = state.late_by(source, datetime.now(UTC))
    return coloured("red" if late else "", f"{newest}{' 无新数据 nothing new since' if late else ''}", waiting)


def _waiting(settings: Settings) -> Text:
    """The days that wait now, as the raw store says: not as it said when something asked last."""
    from pipelines.runs import touched
    from pipelines.settings import FigureSettings

    try:
        store = open_store(settings.folder, settings[StoreSettings])
        days = touched.waiting(settings.folder.state, store, settings.zone, settings[FigureSettings].max_hole)
    except (StoreAway, OSError) as error:
        return coloured("red", "?", f" {error}")
    return Text(f"{len(days.live)}，待分析 for the analysis {len(days.analysis)}")


def contacts_of(site: Site, now_us: int | None = None) -> dict[str, Contact]:
    """Every registered terminal by its number; none where the registry cannot be read."""
    now_us = now_us or time.time_ns() // 1000
    heard, memory = _json(site.state / "counters.json").get("last_contact_us", {}), _json(site.state / "terminals.json")
    newest, offsets = memory.get("newest_us", {}), memory.get("offsets", {})
    try:
        terminals = operations.terminals(site)
    except (OSError, ValueError):
        return {}
    contacts = {}
    for number, terminal in terminals.items():
        last_us = max(heard.get(number, 0), newest.get(number, 0)) or None
        limit_min = silent_after_min(terminal.step_min, terminal.upload_min, is_polled=bool(terminal.link))
        silent = last_us is None or now_us - last_us > limit_min * 60e6
        contacts[number] = Contact(terminal.meter, last_us, silent, median(offsets[number]) if offsets.get(number) else None)
    return contacts


def terminals_table(settings: Settings) -> Table:
    """The state of each registered terminal, silent ones first. Raises `StoreAway`."""
    now = datetime.now(UTC)
    latest = latest_figures(open_store(settings.folder, settings[StoreSettings]).read(now - LATEST, now + LATEST))
    headings = ("最近联系 last contact", "最近读数 newest reading", "时钟偏差 drift", "信号 signal", "电池 battery V")
    table = Table("终端 terminal", "水表 meter", *headings)
    contacts = contacts_of(settings.folder)
    for terminal, contact in sorted(contacts.items(), key=lambda item: (not item[1].silent, item[0])):
        newest, signal, battery_v = latest.get(terminal, (None, None, None))
        heard = _local(contact.heard_us, settings)
        drift = "" if contact.drift_s is None else f"{contact.drift_s:+.0f} s"
        table.add_row(
            terminal,
            contact.meter,
            coloured("red", "静默 silent", f" {heard}") if contact.silent else heard,
            f"{newest.astimezone(settings.zone):%Y-%m-%d %H:%M}" if newest else "",
            coloured("red" if _is_off(contact, settings[DaemonSettings].drift_s) else "", drift),
            "" if signal is None else str(signal),
            "" if battery_v is None else f"{battery_v:.2f}",
        )
    return table


def strangers_table(settings: Settings) -> Table:
    """Unregistered terminals, the most frequent first."""
    table = Table("未登记 unknown", "首次 first seen", "最近 last seen", "帧 frames")
    for terminal, stranger in sorted(operations.unknown_terminals(settings.folder).items(), key=lambda item: -item[1].frames):
        times = _local(stranger.first_us, settings), _local(stranger.last_us, settings)
        table.add_row(terminal, *times, f"{stranger.frames:,}")
    return table


def latest_figures(readings: pl.DataFrame) -> Mapping[str, tuple[datetime, int | None, float | None]]:
    """The newest reading time of each terminal, and its last reported signal and battery voltage."""
    figures = [pl.col(name).drop_nulls().last() for name in ("signal", "battery_v")]
    rows = readings.sort("ts").group_by("terminal").agg(pl.col("ts").last(), *figures)
    return {terminal: (newest, signal, battery_v) for terminal, newest, signal, battery_v in rows.iter_rows()}


def _is_off(contact: Contact, drift_s: float) -> bool:
    return contact.drift_s is not None and abs(contact.drift_s) > drift_s


def _some(terminals: list[str], most: int = 5) -> str:
    """The first few by name."""
    if not terminals:
        return ""
    return f": {', '.join(sorted(terminals)[:most])}{' …' if len(terminals) > most else ''}"


def _local(at_us: int | None, settings: Settings) -> str:
    return "–" if at_us is None else f"{datetime.fromtimestamp(at_us / 1e6, UTC).astimezone(settings.zone):%Y-%m-%d %H:%M:%S}"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:.1f} h"


def _json(path: Path) -> dict[str, Any]:
    return glance(path, dict) or {}
