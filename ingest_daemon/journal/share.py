"""Whose journal it is, where several daemons share one raw store: the daemon's name makes its positions differ from the others'.

The name is the setting `[store] share`. It is noted in `journal/share`, because it belongs to the positions of this journal: who
reads the journal of a lost daemon elsewhere finds it there, and a daemon whose setting was changed does not start.
"""

from contextlib import suppress
from pathlib import Path

from ingest_daemon.contract.files import replace_file
from ingest_daemon.contract.site import Site

BETWEEN = "/"
"""Between the daemon's name and the stream in a reading's column `stream`."""


def note_share(site: Site, share: str) -> None:
    """Note the name of the daemon that writes this journal ("": the only one). Raises `ValueError` where another one is noted."""
    noted = share_of(site)
    if noted == share:
        return
    if noted:
        raise ValueError(
            f"[store] share = {share!r}, but the journal in {site.journal} is that of {noted!r} (noted in {_path(site).name}): "
            f"set share = {noted!r} again, or make a new site for the new name and drain this one "
            "(mainflow journal drain), so that no position means two frames"
        )
    site.journal.mkdir(parents=True, exist_ok=True)
    replace_file(_path(site), [share.encode()])


def share_of(site: Site) -> str:
    """The name of the daemon whose journal the site has; "" where it is the only one."""
    with suppress(FileNotFoundError):
        return _path(site).read_text(encoding="utf-8").strip()
    return ""


def shared_stream(share: str, stream: str) -> str:
    """What the column `stream` of a reading has: the stream, with the daemon's name before it where it has one."""
    return f"{share}{BETWEEN}{stream}" if share else stream


def own_stream(site: Site, shared: str) -> str | None:
    """The stream of the site's own journal that `shared_stream` named; None where it is in another daemon's journal.

    A stream without a name is the site's own: ledgers beside the journal need none.
    """
    share, _, stream = shared.rpartition(BETWEEN)
    return stream if share in ("", share_of(site)) else None


def _path(site: Site) -> Path:
    return site.journal / "share"
