"""Notifications to systemd (`Type=notify`, `WatchdogSec=`): a datagram to the socket that the environment names.

Without such a socket every call does nothing.
"""

import os
import socket
from collections.abc import Mapping

from ingest_daemon.contract.log import LOG


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Notify systemd of a state, for example `READY=1`; a socket that is gone is logged."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            # A name that begins with @ is in Linux' abstract namespace.
            sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        LOG.warning("systemd was not notified of %s: %s", state, error)


def watchdog_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between two `WATCHDOG=1`: half of systemd's time limit; None where there is no watchdog."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    limit_us = environment.get("WATCHDOG_USEC")
    return int(limit_us) / 2e6 if limit_us else None
