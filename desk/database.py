"""The desk's connections to PostgreSQL, as the role mainflow_desk, which reads marts and writes schema `ops`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from ingest_daemon.contract.files import glance
from ingest_daemon.contract.regions import LIMITED_DESK, REGION_SETTING
from ingest_daemon.contract.settings import PostgresSettings, Settings

CONNECT_S, STATEMENT_S = 5, 20


class NoDatabase(psycopg.OperationalError):
    """No connection string is known yet."""


@contextmanager
def connected(settings: Settings, region: str = "") -> Iterator[psycopg.Connection]:
    """A connection whose rows have names; a transaction that is committed at the end of the block, or rolled back by an error.

    `region`: the only one whose rows there are; empty: all. Raises `psycopg.Error`.
    """
    with psycopg.connect(
        desk_dsn(settings),
        row_factory=namedtuple_row,
        connect_timeout=CONNECT_S,
        application_name="mainflow-desk",
        options=f"-c statement_timeout={STATEMENT_S}s -c timezone={settings.zone.key}",
    ) as connection:
        if region:
            query = "select set_config(%s, %s, false) as region, set_config('role', %s, false) as role"
            connection.execute(query, [REGION_SETTING, region, LIMITED_DESK])
            connection.commit()  # a later rollback must not take it back
        yield connection


def desk_dsn(settings: Settings) -> str:
    """The connection string of the settings, else of the embedded server. Raises `NoDatabase`."""
    own = settings[PostgresSettings]
    if own.dsn and not own.desk_dsn:
        raise NoDatabase(
            "[postgres] desk_dsn is empty: expected the connection string of the role that writes schema ops, for the desk; for "
            "example host=127.0.0.1 dbname=mainflow user=mainflow_desk password=…"
        )
    path: Path = settings.folder.state / "postgres.json"
    dsn = own.desk_dsn or glance(path, lambda known: str(known["desk_dsn"]))
    if not dsn:
        raise NoDatabase(f"{path} is not there: the embedded PostgreSQL does not run; start it with mainflow up")
    return dsn


def has_table(connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether the table was published. Raises `psycopg.Error`."""
    row = connection.execute("select to_regclass(%s) is not null as is_there", [name]).fetchone()
    return bool(row and row.is_there)
