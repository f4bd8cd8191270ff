"""Whose database it is: `ops.site` holds the number of the one site that writes, so that no site's rows go into another's tables.

The number is made with the site (`state/site-id`). It moves with the site; a copy gets one of its own as soon as it is used while
the site that it was copied from is still where its number was used last (`state/site-place.json`).
"""

import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

import psycopg

from ingest_daemon.contract.files import rebuilt_json, replace_file, set_aside, write_json
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.ops_tables import migrate
from ingest_daemon.contract.site import Site

SITE_ID = re.compile("[0-9a-f]{32}")


class ForeignDatabase(psycopg.OperationalError):
    """The database belongs to another site; the text says what to do."""


def site_id(site: Site) -> str:
    """The site's number, made at the first call. Raises `OSError`, or `ValueError` where its file is damaged."""
    path = _path(site)
    with suppress(OSError):  # who only reads the site may not write there
        _settle(site)
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
    if not (path.is_file() and SITE_ID.fullmatch(text := path.read_text(errors="replace").strip())):
        raise ValueError(
            f"{path} is damaged: expected the site's number, 32 hexadecimal digits; restore it from a backup, or write there the "
            "number that the site's database has (select site_id from ops.site); mainflow doctor --fix does so where it can"
        )
    return text


def restore_site_id(site: Site, connection: psycopg.Connection) -> bool:
    """Take a damaged number from a database that is the site's for certain; whether that was necessary and done."""
    try:
        site_id(site)
    except ValueError:
        if connection.execute("select to_regclass('ops.site')").fetchone() == (None,):
            return False
        row = connection.execute("select site_id from ops.site").fetchone()
        if row:
            set_aside(_path(site))
            replace_file(_path(site), [row[0].encode()])
        return row is not None
    return False


def _path(site: Site) -> Path:
    return site.state / "site-id"


def _settle(site: Site) -> None:
    """Note where the site is, and forget the number where it is a copy's. Raises `OSError`."""
    noted = site.state / "site-place.json"
    here = os.fsencode(site.root.resolve()).decode(errors="replace")
    there = rebuilt_json(noted, lambda content: str(content["root"]), "it is noted anew")
    if there == here:
        return
    if there and _is_copy(site, Path(there)):
        _path(site).unlink()
        LOG.warning("此站点是副本，另编号 / %s is a copy of %s: it gets a number of its own", here, there)
    site.state.mkdir(parents=True, exist_ok=True)
    write_json(noted, {"root": here}, durable=False)


def _is_copy(site: Site, place: Path) -> bool:
    """Whether the site was copied from one that is still in this place with this number; one that was moved was not."""
    own, other = _path(site), _path(Site(place))
    with suppress(OSError):  # the other is not there, or closed to us
        return not other.samefile(own) and other.read_bytes() == own.read_bytes()
    return False


def hand_over(connection: psycopg.Connection, own: str) -> None:
    """Make a database that lies in the site's own folder this site's, whatever number was copied with it."""
    if connection.execute("select to_regclass('ops.site')").fetchone() != (None,):
        connection.execute("update ops.site set site_id = %s where site_id <> %s", [own, own])


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
            "site takes the other's place, run there: delete from ops.site; where it is one of several "
            "daemons of that site, give it a [store] share"
        )
