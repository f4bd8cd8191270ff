"""Whose database it is: `ops.site` holds the number of the one site that writes, so that no site's rows go into another's tables.

The number is made with the site (`state/site-id`) and goes with a copy of it.
"""

import os
import uuid

import psycopg

from ingest_daemon.contract.ops_tables import migrate
from ingest_daemon.contract.site import Site


class ForeignDatabase(psycopg.OperationalError):
    """The database belongs to another site; the text says what to do."""


def site_id(site: Site) -> str:
    """The site's number, made at the first call. Raises `OSError`."""
    path = site.state / "site-id"
    if not path.exists():
        site.state.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f"site-id.{os.getpid()}")
        own.write_text(uuid.uuid4().hex)
        try:
            os.link(own, path)  # of two processes that make it at once the first wins
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_text().strip()


def claim(connection: psycopg.Connection, own: str) -> None:
    """Make the database this site's where it is nobody's, and schema `ops` this version's. Raises `ForeignDatabase`."""
    open_ops(connection, own)
    with connection.transaction():
        connection.execute("insert into ops.site (site_id) values (%s) on conflict do nothing", [own])
        check(connection, own)


def open_ops(connection: psycopg.Connection, own: str) -> None:
    """Bring schema `ops` to this version in a database that is no other site's. Raises `ForeignDatabase`, `NewerSchema`."""
    with connection.transaction():
        check(connection, own)
    migrate(connection)


def check(connection: psycopg.Connection, own: str) -> None:
    """Raises `ForeignDatabase` where another site has claimed the database."""
    if connection.execute("select to_regclass('ops.site')").fetchone() == (None,):
        return
    row = connection.execute("select site_id from ops.site").fetchone()
    if row and row[0] != own:
        raise ForeignDatabase(
            f"database {connection.info.dbname} on {connection.info.host}:{connection.info.port} belongs to another site "
            f"(ops.site has {row[0]}, this site is {own}): give each site a database of its own in [postgres] dsn; where this "
            "site takes the other's place, run there: delete from ops.site"
        )
