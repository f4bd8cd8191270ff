"""The lock that keeps a second daemon off a site."""

from ingest_daemon.contract import locks
from ingest_daemon.contract.site import Site


class SiteBusy(RuntimeError):
    """Another daemon runs on the site."""


def lock_site(site: Site) -> int:
    """Hold the site for this process until it ends; gives the lock's file handle. Raises `SiteBusy`."""
    path = site.state / "daemon.lock"
    handle = locks.take(path)
    if handle is None:
        raise SiteBusy(f"此站点已有采集进程在运行 / a daemon already runs on {site.root} (lock {path}); stop it first")
    return handle
