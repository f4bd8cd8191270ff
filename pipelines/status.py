"""What `mainflow status` shows: counters of the daemon, days that wait, the last run, what was kept aside."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from ingest_daemon.journal import backlog
from ingest_daemon.kept import strangers
from ingest_daemon.schema import Reason
from pipelines.servers import running_daemon
from pipelines.settings import Settings


def report(settings: Settings) -> Table:
    """A table of the site's state, readable while everything or nothing runs."""
    site = settings.folder
    counters = _json(site.state / "counters.json")
    waiting = _json(site.state / "touched.json")
    ports = running_daemon(site)
    table = Table("", "", title=f"{settings.site.utility} · {site.root}", show_header=False)
    table.add_row("接收进程 / daemon", f"端口 ports {ports.data}, {ports.alarm}" if ports else "未运行 / not running")
    for name, size in backlog(site).items():
        if name != "bad":
            table.add_row(f"待转发 / backlog {name}", f"{size:,} B")
    table.add_row("读数入库 / readings stored", f"{counters.get('readings', 0):,}")
    table.add_row("重复 / duplicates", f"{counters.get('duplicates', 0):,}")
    for reason, count in kept_counts(site.kept).items():
        table.add_row(f"另存 / kept {reason}", f"{count:,}")
    for reason, count in counters.get("bad", {}).items():
        table.add_row(f"坏帧 / bad {reason}", f"{count:,}")
    for part, state in counters.get("health", {}).items():
        if state != "ok":
            table.add_row(f"[red]{part}[/red]", state)
    contacts = counters.get("last_contact_us", {})
    if contacts:
        latest = datetime.fromtimestamp(max(contacts.values()) / 1e6, UTC).astimezone(settings.zone)
        table.add_row("终端 / terminals seen", f"{len(contacts)}, 最近 latest {latest:%Y-%m-%d %H:%M:%S}")
    table.add_row("待算天数 / days to compute", str(len(waiting.get("days", {}))))
    return table


def kept_counts(folder: Path) -> dict[str, int]:
    """Lines in the ledger of what was kept aside, a reason; a line written twice after a kill counts once, an adopted one not."""
    counts = {}
    for reason in Reason:
        path = folder / f"{reason}.jsonl"
        if path.exists() and reason is Reason.UNKNOWN_TERMINAL:
            counts[str(reason)] = sum(1 for _ in strangers(folder))
        elif path.exists():
            counts[str(reason)] = len(set(path.read_text(encoding="utf-8").splitlines()))
    return counts


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}
