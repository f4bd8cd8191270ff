"""The lock that keeps a second daemon off a site."""

import fcntl
import os

from ingest_daemon.contract.site import Site


class SiteBusy(RuntimeError):
    """Another daemon runs on the site."""


def lock_site(site: Site) -> int:
    """Hold the site for this process until it ends; gives the lock's file handle. Raises `SiteBusy`."""
    site.state.mkdir(parents=True, exist_ok=True)
    path = site.state / "daemon.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise SiteBusy(f"此站点已有采集进程在运行 / a daemon already runs on {site.root} (lock {path}); stop it first") from None
    return handle
