"""Schema `ops` of PostgreSQL: numbered SQL files, applied in order by whoever opens the schema first.

    contract/ops/0001_alarm_event.sql, 0002_…  ──`migrate`──▶ schema `ops`, and a row a file in `ops.schema_version`

A file that was released is never changed: what it made is altered by a further file. The first four make what was made before
there were numbers, so they leave alone what is there.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import psycopg

from ingest_daemon.contract.log import LOG, RateLimitedLog

FOLDER = Path(__file__).parent / "ops"
LOCK = int.from_bytes(b"mainflow")
"""Key of the advisory lock that one starter holds while it applies a file."""

VERSION_TABLE = """
create schema if not exists ops;
create table if not exists ops.schema_version (
    number integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
);
grant select on ops.schema_version to public"""
"""Who only writes the tables looks at it as well."""


_LIMITED = RateLimitedLog(every_s=86_400)
"""Publication comes every minute."""


class NewerSchema(psycopg.OperationalError):
    """Schema `ops` was made by a later version; the text says what to do."""


class Migration(NamedTuple):
    """A numbered file."""

    number: int
    name: str
    statements: str

    @property
    def checksum(self) -> str:
        return sha256(self.statements.encode()).hexdigest()


@cache
def migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Every numbered file, in order."""
    paths = sorted(folder.glob("[0-9]*_*.sql"))
    return tuple(Migration(int(path.stem[:4]), path.stem[5:], path.read_text(encoding="utf-8")) for path in paths)


def migrate(connection: psycopg.Connection, files: Sequence[Migration] | None = None) -> None:
    """Bring schema `ops` to this version, a transaction a file; nothing is written where it is there already.

    In a transaction of the caller's all of it is part of that. Raises `NewerSchema`, `psycopg.Error`.
    """
    files = migrations() if files is None else files
    with connection.transaction():
        pending = list(_pending(connection, files))
    for file in pending:
        try:
            with connection.transaction():
                connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])
                connection.execute(VERSION_TABLE)
                if file not in _pending(connection, files):  # another starter was faster
                    continue
                connection.execute(file.statements)
                connection.execute(
                    "insert into ops.schema_version (number, name, checksum) values (%s, %s, %s)",
                    [file.number, file.name, file.checksum],
                )
        except psycopg.errors.InsufficientPrivilege as error:
            raise psycopg.OperationalError(
                f"schema ops of database {connection.info.dbname} needs {file.number:04}_{file.name}, and user "
                f"{connection.info.user} may not change it ({error}): start mainflow once with the owner's [postgres] dsn"
            ) from error
        LOG.info("schema ops: %04d_%s applied", file.number, file.name)


def _pending(connection: psycopg.Connection, files: Sequence[Migration]) -> Iterator[Migration]:
    """The files that were not applied yet. Raises `NewerSchema`."""
    if connection.execute("select to_regclass('ops.schema_version')").fetchone() == (None,):
        yield from files
        return
    applied = {row[0]: row[1:] for row in connection.execute("select number, name, checksum from ops.schema_version")}
    newest = max((file.number for file in files), default=0)
    if later := sorted(number for number in applied if number > newest):
        raise NewerSchema(
            f"schema ops of database {connection.info.dbname} has version {later[-1]} ({applied[later[-1]][0]}), this Mainflow "
            f"knows {newest}: install the version that made it, or a newer one; nothing was changed"
        )
    for file in files:
        if file.number not in applied:
            yield file
        elif applied[file.number][1] != file.checksum:
            _LIMITED.warn(
                f"schema ops: {file.number:04}_{file.name}",
                f"was applied with other content (SHA-256 {applied[file.number][1][:12]}…, now {file.checksum[:12]}…); it is not "
                "applied again: undo the change of the file, and put it into a new one",
            )
