"""The number of connections that this host's limit of open files allows."""

import resource

from ingest_daemon.contract.log import LOG

OWN_FILES = 256
"""Open files that are kept for the journal, the store, health and connections that are just being turned away."""


def allowed_connections(wanted: int) -> int:
    """Raise the soft limit of open files towards what the connections need; gives how many of them fit.

    The usual soft limit is 1,024. Of a very low hard limit half is kept for the daemon's own files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OWN_FILES
    files = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= files:
        files = needed if soft == resource.RLIM_INFINITY else min(needed, soft)
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    if files >= needed:
        return wanted
    fitting = max(1, files - min(OWN_FILES, files // 2))
    LOG.warning(
        "[daemon] connections = %d is cut to %d: this process may open %d files, and %d connections need %d; "
        "raise LimitNOFILE in the systemd unit (ulimit -Hn), or lower [daemon] connections",
        wanted,
        fitting,
        files,
        wanted,
        needed,
    )
    return fitting
