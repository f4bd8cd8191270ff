"""`mainflow doctor --fix`: mends what is safe to mend, and says each thing.

Journal, raw readings, registry and settings stay as they are.
"""

import shutil
import stat
import time
from collections.abc import Iterator

from ingest_daemon import operations
from ingest_daemon.contract import locks
from ingest_daemon.contract.files import glance, make_folder, set_aside
from ingest_daemon.contract.settings import Settings
from ingest_daemon.contract.site import Site

LEFT_S = 3600.0
"""Seconds after which a file that was being written was left by a kill."""

FOLDERS = ("state", "logs", "reports")
SECRET = ("state/postgres.json", "state/postgres-roles.json", "state/desk-key", "grafana/admin_password", "grafana/grafana.ini")
ADDRESSES = {"daemon.json": "daemon.lock", "up.json": "up.lock"}
"""Files that a process keeps while it runs, and the lock that it holds then."""


def mend(settings: Settings) -> Iterator[str]:
    """Mend one thing after the other; a sentence for each. Raises `OSError`."""
    site = settings.folder
    yield from _folders(site)
    yield from _state_files(site)
    yield from _addresses(site)
    yield from _cursors(site)
    yield from _embedded_server(site)
    yield from _left_files(site)
    yield from _modes(site)


def _folders(site: Site) -> Iterator[str]:
    for folder in (site.root / name for name in FOLDERS):
        if not folder.is_dir():
            make_folder(folder)
            yield f"made the folder {folder}"


def _state_files(site: Site) -> Iterator[str]:
    """What is no JSON object, or a folder, is set aside: everything there is made again."""
    cursors = {operations.cursor_path(site, reader) for reader in operations.backlog(site)}
    history = site.registry_history / "last-read.json"
    for path in sorted((*site.state.glob("*.json"), *history.parent.glob(history.name))):
        if path not in cursors and glance(path, lambda value: dict(value) or True) is None:
            yield f"{path} is damaged; kept as {set_aside(path).name}, and made again by who needs it"
    for path in sorted(site.state.glob("*.lock")):
        if not path.is_file():
            yield f"{path} is no file; kept as {set_aside(path).name}"


def _addresses(site: Site) -> Iterator[str]:
    for name, lock in ADDRESSES.items():
        path = site.state / name
        if path.is_file() and not locks.is_held(site.state / lock):
            path.unlink()
            yield f"removed {path}: the process that kept it has ended"


def _cursors(site: Site) -> Iterator[str]:
    if not locks.is_held(site.state / "daemon.lock"):  # a running one writes them itself
        for name in operations.restore_cursors(site):
            yield f"the cursor of reader {name} was damaged: it begins again at the oldest record; what is stored stays as it is"


def _embedded_server(site: Site) -> Iterator[str]:
    import psycopg

    from ingest_daemon.contract import ownership
    from pipelines.processes import postgres

    path = postgres.address_file(site)
    had = glance(path, dict)
    if address := postgres.address(site):
        try:
            with psycopg.connect(address["dsn"], connect_timeout=3) as connection:
                if ownership.restore_site_id(site, connection):
                    yield f"{site.state / 'site-id'} was damaged: written again from the site's own database"
        except psycopg.Error:
            if had and not locks.is_held(site.state / "up.lock"):
                path.unlink()
                yield f"removed {path}: no server answers there"
            return
        if not had and postgres.running_dsn(site):
            yield f"wrote {path} again: the server runs"


def _left_files(site: Site) -> Iterator[str]:
    """Files and folders that a kill left half written."""
    places = (site.state, site.registry_history, site.units, site.reports, site.quarantine)
    left = [path for place in places for path in (*place.glob("*.new"), *place.glob("*/*.new"))]
    left += site.outputs.rglob("*.new")
    if not locks.is_held(site.state / "run.lock"):
        left += site.root.glob("marts.duckdb.tmp")
    for path in sorted({*left}):
        if time.time() - path.lstat().st_mtime > LEFT_S:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            yield f"removed {path}: a process that was killed left it"


def _modes(site: Site) -> Iterator[str]:
    """Others may read nothing of `state/`, and of secrets not even the group."""
    secret = [site.root / name for name in SECRET]
    for path in (*secret, *site.state.rglob("*")):
        if path.is_symlink() or not path.exists():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        right = mode & (0o700 if path in secret else 0o770)
        if mode != right:
            path.chmod(right)
            yield f"{path}: mode {mode:04o} → {right:04o}"
