"""Requests to the site's daemon to store old frames again (`mainflow adopt`, `mainflow journal replay`), and its answer."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ingest_daemon import operations
from ingest_daemon.contract.files import glance
from ingest_daemon.contract.site import Site
from pipelines.processes import servers

if TYPE_CHECKING:
    from ingest_daemon.operations import ReplayResult


def answered(site: Site, request: Callable[[Site], str], progress: Callable[[str], None]) -> "ReplayResult":
    """Leave the request with the running daemon, or one started for this time, and wait for the answer.

    `request`: leaves it and gives its name; `progress` gets the store's state meanwhile. Raises `RuntimeError` where the daemon
    ends before (the request stays for its next start), or gives up.
    """
    with servers.daemon(site):
        name = request(site)
        while (result := operations.replay_result(site, name)) is None:
            if servers.running_daemon(site) is None:
                raise RuntimeError(f"the daemon ended; it goes on with this after its next start; see {site.logs / 'daemon.log'}")
            progress(glance(site.state / "counters.json", lambda counters: str(counters["health"]["store"])) or "")
            time.sleep(0.1)
    if result.error:
        raise RuntimeError(f"the daemon gave up: {result.error}; see its log")
    return result
