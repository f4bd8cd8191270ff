"""Terminals' uploads over TCP to the site's daemon, and the wait until what it journaled is in the raw store.

Serves `mainflow simulate`, `mainflow send` and `mainflow demo`; the simulator makes the content.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ingest_daemon.contract.settings import Settings
from ingest_daemon.contract.site import Site
from ingest_daemon.operations import DaemonSettings, backlog
from pipelines.processes.servers import Ports, running_daemon
from simulator.terminal import Delivery, Plan, deliver

DRAIN_S = 120.0
RAW = ("data", "alarm", "stranger")
"""The cursors of the raw store."""

EVERYTHING = (*RAW, "alarm-events", "events")
"""The cursors of the raw store and of the alarm events in PostgreSQL."""


class NotDrained(RuntimeError):
    """The daemon did not bring its backlog to the raw store in time."""


def send(ports: Ports, plan: Plan, progress: Callable[[Delivery], None]) -> Delivery:
    """Send the plan to the daemon on this machine, as its terminals would."""
    return asyncio.run(deliver("127.0.0.1", ports.data, ports.alarm, plan, progress))


def past_days_of(oldest: datetime, settings: Settings) -> dict[str, str]:
    """The environment of a daemon that may take recorded readings, however old: a person imports them on purpose.

    Raises `ValueError` where a daemon runs already that would keep them aside.
    """
    age_days = (datetime.now(UTC) - oldest) / timedelta(days=1)
    allowed = settings[DaemonSettings].past_days
    if age_days <= allowed:
        return {}
    if running_daemon(settings.folder):
        raise ValueError(
            f"the oldest reading is of {oldest:%Y-%m-%d}, {age_days:,.0f} days ago; the running daemon keeps aside what is older "
            f"than [daemon] past_days = {allowed:g}: raise it and start the daemon again, or stop the daemon for this import"
        )
    return {"MAINFLOW_DAEMON_PAST_DAYS": f"{age_days + 1:.0f}"}


def drain(site: Site, progress: Callable[[int], None] = lambda _: None, cursors: tuple[str, ...] = RAW) -> None:
    """Wait until these cursors have passed every journaled frame; `progress` gets the bytes left. Raises `NotDrained`."""
    deadline = time.monotonic() + DRAIN_S
    while left := sum(backlog(site)[name] for name in cursors):
        progress(left)
        if time.monotonic() > deadline:
            raise NotDrained(
                f"{left} bytes of the journal are not forwarded after {DRAIN_S:.0f} s; see {site.logs / 'daemon.log'}"
            )
        time.sleep(0.1)
    progress(0)
