"""A copy of a site from which it can be restored on an empty machine, made while everything runs.

    TARGET/<time>/site/…        the site's files
                  readings/…    raw readings, where the store is a server (`backup_readings.py`)
                  ops.dump      schema `ops` of PostgreSQL: alarms, acknowledgements (pg_dump)
                  manifest.json the site's number, the raw store's cursor, every file with size and SHA-256; written last, so one
                                without it is torn

The order makes the cut whole. Cursors come first, then the journal, then the raw readings: what a cursor does not count as stored
lies in the journal, or was stored before the readings were copied; after a restore it is stored again, which changes nothing.
A lake is not copied: it is larger than a backup's disk, others write there, and an object store keeps versions of its own.
The warehouse is copied while no run works. A file that the backup before has as it is now is linked, not copied.
"""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from assets import outbox, tables, warehouse
from assets.publication import limit_regions
from assets.workbench import Workbench
from ingest_daemon.contract import ownership
from ingest_daemon.contract.files import glance, parquet_bytes, read_json, replace_file, sync_folder, write_json
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.ops_tables import migrate
from ingest_daemon.contract.settings import SiteSettings, check_place
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import RawStore, StoreAway
from ingest_daemon.stores.lake import LakeStore
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.runs import backup_readings
from pipelines.runs.run import run_lock
from pipelines.settings import load

MANIFEST = "manifest.json"
DUMP = "ops.dump"
LAST = "backup.json"
BEFORE = "ops_before_restore"
"""Schema `ops` until the restored one is whole."""

RIGHTS = f"""
with places as (
    select 'schema ops' as place, null::text as own, nspacl as rights from pg_namespace where nspname = '{BEFORE}'
    union all
    select format('ops.%I', relname), null, relacl from pg_class where relnamespace = to_regnamespace('{BEFORE}')
    union all
    select format('ops.%I', relname), attname, attacl
    from pg_attribute join pg_class on pg_class.oid = attrelid where relnamespace = to_regnamespace('{BEFORE}')
)

select format(
    'grant %s %s on %s to %s',
    privilege_type, '(' || quote_ident(own) || ')', place, coalesce(quote_ident(rolname), 'public')
)
from places cross join aclexplode(rights)
left join pg_roles on pg_roles.oid = grantee
where grantor <> grantee and (place = 'schema ops' or to_regclass(place) is not null)
"""
"""Statements that give the restored schema the rights that this server's roles had; the backup's roles may have other names."""

CHUNK = 1 << 20
DUMP_S = 3600

OF_PROCESSES = {"postgres.json", "postgres-roles.json", "daemon.json", "desk.json", "up.json", "site-place.json", LAST}
"""Of `state/`: addresses and passwords of what runs here, and where that is: a restored site takes the place of the first."""

WHILE_NO_RUN = ("marts.duckdb", "units", "reports", "outputs", "quarantine", "registry")
ORDER = ("state", "journal", "raw")
SERVICES = ("dagster", "grafana")


class BackupError(RuntimeError):
    """The copy cannot be made, is damaged, or cannot be restored there; the text says why."""


class Copied(NamedTuple):
    """A backup: its folder, its files, their bytes, and how many bytes were copied and not linked."""

    folder: Path
    files: int
    size: int
    copied: int


Progress = Callable[[str, int], None]
"""Called with each part and the files so far."""


def make(bench: Workbench, target: Path, *, keep: int = 0, progress: Progress = lambda *_: None) -> Copied:
    """Copy the site to a new folder below `target`; of all backups there the newest `keep` stay (0: all).

    Raises `BackupError`, `OSError`.
    """
    site = bench.site
    target = target.resolve()
    if target == site.root or site.root in target.parents:
        raise BackupError(f"{target} lies in the site itself: expected a folder elsewhere, best on another disk")
    if _waiting_readings(site).exists():
        raise BackupError(f"{_waiting_readings(site)} still holds restored readings: have them stored first, with mainflow run")
    before = newest(target)
    folder = target / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder.mkdir(parents=True, mode=0o700)
    try:
        done = _copy(bench, folder, before, progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # or a full disk would stay full
        raise
    sync_folder(target)
    _forget(target, keep)
    write_json(site.state / LAST, {"at": _now(), "folder": str(folder), "files": done.files, "bytes": done.size}, durable=True)
    return done


def _copy(bench: Workbench, folder: Path, before: Path | None, progress: Progress) -> Copied:
    site = bench.site
    work = _Work(site.root, folder / "site", before, progress)
    for name in ORDER:
        work.take(name)
    cursor = None if isinstance(bench.store, (ParquetStore, LakeStore)) else work.take_readings(bench.store)
    with run_lock(bench):
        for name in WHILE_NO_RUN:
            work.take(name)
        work.take("site.toml")
    for name in SERVICES:
        work.take(name)
    _dump(bench, folder / DUMP)
    if (folder / DUMP).exists():
        work.add(folder / DUMP)
    manifest = {"site_id": ownership.site_id(site), "made_at": _now(), "raw_cursor": cursor, "files": work.files}
    write_json(folder / MANIFEST, manifest, durable=True)
    return Copied(folder, len(work.files), sum(file["size"] for file in work.files.values()), work.copied)


def newest(target: Path) -> Path | None:
    """The newest whole backup below a folder."""
    return next(reversed(_whole(target)), None)


def damaged(folder: Path) -> list[str]:
    """The files of a backup that are missing or not as they were copied. Raises `BackupError` where it is none."""
    manifest = _manifest(folder)
    return [name for name, file in manifest["files"].items() if not _is_whole(folder / name, file)]


def restore(source: Path, root: Path) -> Path:
    """Make the site of a backup (or of the newest below `source`) in an empty folder; gives the backup.

    Schema `ops` is put into PostgreSQL by `restore_ops`, and raw readings into a server by `restore_readings`, once there is one.
    Raises `BackupError`, `OSError`.
    """
    folder = source if (source / MANIFEST).exists() else newest(source)
    if folder is None:
        raise BackupError(f"{source} holds no backup: expected a folder with {MANIFEST}, or one above such folders")
    check_place(root)
    if root.exists() and any(root.iterdir()):
        raise BackupError(f"{root} is not empty: expected a new folder for the site")
    if bad := damaged(folder):
        raise BackupError(f"the backup {folder} is damaged, nothing was restored: {', '.join(bad[:20])}")
    root.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "site", root, dirs_exist_ok=True)
    site = Site(root)
    if (folder / DUMP).exists():
        shutil.copy2(folder / DUMP, site.state / DUMP)
    if (folder / backup_readings.FOLDER).exists():
        shutil.copytree(folder / backup_readings.FOLDER, _waiting_readings(site))
    if site.marts.exists():  # what boards show is made from it: all of it waits for the first publication
        names = {step.name for step in tables.figures()}
        with warehouse.opened(site.marts, load(root)[SiteSettings].zone) as connection:
            outbox.note(connection, names, names, ())
    return folder


def restore_ops(site: Site, dsn: str) -> bool:
    """Put the alarms of a restored site into its PostgreSQL, once; whether there were any. Raises `BackupError`."""
    dump = site.state / DUMP
    if not dump.exists():
        return False
    with psycopg.connect(dsn, autocommit=True) as connection:
        # All of it: the backup may be of a version that had other tables. What shows them is made again by publication.
        if _has_schema(connection, "ops") and not _has_schema(connection, BEFORE):
            connection.execute(f"alter schema ops rename to {BEFORE}")
        connection.execute("drop schema if exists ops cascade")  # of a restore that a kill ended
        try:
            _call("pg_restore", dsn, "--no-owner", "--no-privileges", "--single-transaction", str(dump))
        except BackupError:
            if _has_schema(connection, BEFORE):
                connection.execute(f"alter schema {BEFORE} rename to ops")
            raise
        for (grant,) in connection.execute(RIGHTS).fetchall():
            connection.execute(grant)
        connection.execute(f"drop schema if exists {BEFORE} cascade")
        migrate(connection)
        limit_regions(connection)
    dump.rename(dump.with_name(f"{DUMP}.restored"))
    return True


def _has_schema(connection: psycopg.Connection, name: str) -> bool:
    return connection.execute("select to_regnamespace(%s)", [name]).fetchone() != (None,)


def restore_readings(site: Site, store: RawStore) -> int:
    """Put the raw readings of a restored site into its store, once; gives their number. While the store is away they wait."""
    if not _waiting_readings(site).exists():
        return 0
    try:
        return backup_readings.write_back(_waiting_readings(site), store)
    except StoreAway as error:
        LOG.warning("the readings of the backup wait in %s until the next up or run: %s", _waiting_readings(site), error)
        return 0


def _waiting_readings(site: Site) -> Path:
    return site.state / backup_readings.FOLDER


# --- files --------------------------------------------------------------------------------------------------------------------


class _Work:
    """The copying of one backup."""

    def __init__(self, source: Path, into: Path, before: Path | None, progress: Progress) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.copied = 0
        self._source, self._into, self._before, self._progress = source, into, before, progress
        manifest = _manifest(before) if before else {}
        self._known, self._cursor = manifest.get("files", {}), manifest.get("raw_cursor")

    def take(self, name: str) -> None:
        """Copy a file or folder of the site, where it is there. What vanishes meanwhile was joined into a file that is copied."""
        seen: set[Path] = set()
        while new := [path for path in _files(self._source / name) if path not in seen]:
            for path in new:
                seen.add(path)
                try:
                    self._copy(path)
                except FileNotFoundError:
                    continue
        self._progress(name, len(self.files))

    def take_readings(self, store: RawStore) -> str:
        """Copy the readings of a server that arrived since the backup before, link the others; gives the store's new cursor.

        Raises `StoreAway`.
        """
        folder = self._into.parent / backup_readings.FOLDER
        folder.mkdir(mode=0o700)
        known = {name: file for name, file in self._known.items() if name.startswith(f"{backup_readings.FOLDER}/")}
        starts, cursor = backup_readings.touched(store, self._cursor)
        for start in starts:
            known.pop(f"{backup_readings.FOLDER}/{backup_readings.name_of(start)}", None)
        for name, file in known.items():
            os.link(self._before / name, self._into.parent / name)
            self.files[name] = file
        for name, readings in backup_readings.pieces(store, starts):
            replace_file(folder / name, [parquet_bytes(readings)])
            self.add(folder / name)
            self.copied += (folder / name).stat().st_size
            self._progress(backup_readings.FOLDER, len(self.files))
        return cursor

    def add(self, path: Path) -> None:
        """Note a file that lies in the backup already."""
        self.files[str(path.relative_to(self._into.parent))] = {"size": path.stat().st_size, "sha256": _digest(path)}

    def _copy(self, path: Path) -> None:
        target = self._into / path.relative_to(self._source)
        name = str(target.relative_to(self._into.parent))
        stat = path.stat()
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = self._known.get(name)
        if self._before and known and known.get("mtime_ns") == stat.st_mtime_ns and known["size"] == stat.st_size:
            os.link(self._before / name, target)
            self.files[name] = known
            return
        if _is_sqlite(path):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source, closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
            self.files[name] = {"size": target.stat().st_size, "sha256": _digest(target)}
        else:
            digest = hashlib.sha256()
            size = 0
            # Not beyond its size now: what a process appends meanwhile belongs to the next backup.
            with path.open("rb") as source, target.open("xb") as copy:
                while size < stat.st_size and (piece := source.read(min(CHUNK, stat.st_size - size))):
                    copy.write(piece)
                    digest.update(piece)
                    size += len(piece)
                copy.flush()
                os.fsync(copy.fileno())
            os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            self.files[name] = {"size": size, "sha256": digest.hexdigest(), "mtime_ns": stat.st_mtime_ns}
        self.copied += target.stat().st_size


def _files(path: Path) -> Iterator[Path]:
    """The files below a path that belong into a backup, those that list others first; links are not followed."""
    if path.is_file() and not path.is_symlink():
        yield path
    elif path.is_dir():
        found = [Path(above) / name for above, _, names in os.walk(path) for name in names]
        yield from sorted((file for file in found if _belongs(file)), key=lambda file: (file.suffix != ".csv", file))


def _belongs(file: Path) -> bool:
    is_of_process = file.parent.name == "state" and file.name in OF_PROCESSES
    is_passing = file.suffix in (".lock", ".new", ".pid", ".tmp") or file.name.endswith(("-wal", "-shm", "-journal", ".sock"))
    return file.is_file() and not file.is_symlink() and not (is_of_process or is_passing or "plugins" in file.parts)


def _is_sqlite(path: Path) -> bool:
    if path.suffix not in (".db", ".sqlite"):
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(path: Path, file: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == file["size"] and _digest(path) == file["sha256"]


def _manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST)
    if not manifest:
        raise BackupError(f"{folder} is no backup, or one that was not finished: {MANIFEST} is not there")
    return dict(manifest)


def _whole(target: Path) -> list[Path]:
    """The finished backups below a folder, oldest first."""
    return sorted(path.parent for path in target.glob(f"*/{MANIFEST}"))


def _forget(target: Path, keep: int) -> None:
    for folder in _whole(target)[:-keep] if keep else []:
        (folder / MANIFEST).unlink()  # first: a torn rest is no backup
        shutil.rmtree(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# --- PostgreSQL ---------------------------------------------------------------------------------------------------------------


def _dump(bench: Workbench, path: Path) -> None:
    """Schema `ops`, where a server runs. The alarms of a site whose server is away are in its journal still."""
    dsn = bench.serving_dsn()
    if dsn:
        _call("pg_dump", dsn, "--format=custom", "--schema=ops", "--no-owner", "--no-policies", f"--file={path}")


def _call(program: str, dsn: str, *arguments: str) -> None:
    """A program of PostgreSQL's, of the wheel; the password goes through the environment, where no list of processes shows it."""
    from psycopg.conninfo import conninfo_to_dict

    from pipelines.processes.postgres import program_of_wheel

    parts = conninfo_to_dict(dsn)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    environment = {names[name]: str(value) for name, value in parts.items() if name in names and value is not None}
    command = [str(program_of_wheel(program)), *arguments]
    if program == "pg_restore":
        command.insert(1, f"--dbname={environment.get('PGDATABASE', 'postgres')}")
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=DUMP_S)
    if done.returncode:
        raise BackupError(f"{program}: {done.stderr.strip()[-1000:]}")


def told(site: Site) -> dict[str, Any]:
    """When the last backup was made, where, its files and bytes; empty where there was none."""
    return glance(site.state / LAST, lambda last: {"at": last["at"], "folder": last["folder"]}) or {}
