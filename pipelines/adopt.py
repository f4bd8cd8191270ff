"""`mainflow adopt` and `mainflow journal replay`: ask the site's daemon to bring old frames again, and wait for its answer."""

import time
from collections.abc import Callable

from ingest_daemon.contract.files import read_json
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding import replay
from ingest_daemon.forwarding.replay import ReplayRange, ReplayResult
from pipelines import servers


def adopt(site: Site, told: Callable[[str], None], span: ReplayRange | None = None) -> ReplayResult:
    """Through the running daemon, or one for just this time; `told` gets the store's state while the answer is waited for.

    `span`: what is decoded again; None: what terminals sent before they were registered. Raises `RuntimeError` where the daemon
    ends before (the request stays for its next start), or says that it gave up.
    """
    with servers.daemon(site):
        request = replay.ask(site, span)
        while (done := replay.answer(site, request)) is None:
            if servers.running_daemon(site) is None:
                raise RuntimeError(f"the daemon ended; it goes on with this after its next start; see {site.logs / 'daemon.log'}")
            told((read_json(site.state / "counters.json") or {}).get("health", {}).get("store", ""))
            time.sleep(0.1)
    if done.error:
        raise RuntimeError(f"the daemon gave up: {done.error}; see its log")
    return done
