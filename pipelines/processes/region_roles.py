"""The PostgreSQL roles of regions: one a region of `registry/access.csv`, which Grafana's organisation of the region reads as.

The embedded server's superuser makes them; of a server of one's own the owner does, or an administrator runs the file that
`make` writes. Which rows they see is decided in `assets/rights.py`. Passwords, made once, lie in `state/region-roles.json`.
"""

import secrets
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ingest_daemon.contract.files import rebuilt_json, replace_file, write_json
from ingest_daemon.contract.regions import LIMITED_DESK, LIMITED_ROLE, board_role
from ingest_daemon.contract.site import Site

BOARD_TIMEOUT_S = 30
"""A board's query is ended after so many seconds."""

SHARED = f"""
do $$ begin
    if to_regrole('{LIMITED_ROLE}') is null then create role {LIMITED_ROLE} nologin; end if;
    if to_regrole('{LIMITED_DESK}') is null then create role {LIMITED_DESK} nologin; end if;
end $$;
-- The desk takes the role of the limited for them, and is not limited itself.
alter role mainflow_desk noinherit;
grant {LIMITED_ROLE} to {LIMITED_DESK};
grant {LIMITED_DESK} to mainflow_desk;
"""
"""The roles that all regions share."""


class RolesMissing(RuntimeError):
    """Roles have to be made by an administrator; the text says how."""


def of_board(role: str) -> Iterator[sql.Composed]:
    """What a role that boards read as is held to."""
    name = sql.Identifier(role)
    yield sql.SQL("alter role {} set statement_timeout = {}").format(name, sql.Literal(f"{BOARD_TIMEOUT_S}s"))
    yield sql.SQL("alter role {} set default_transaction_read_only = on").format(name)


def dsns(site: Site, regions: Collection[str], board_dsn: str) -> dict[str, str]:
    """The connection string of each region's role, by region; its password is made here where it has none. Raises `OSError`."""
    known = _passwords(site)
    words = known | {region: secrets.token_urlsafe(24) for region in regions if region not in known}
    if words != known:
        site.state.mkdir(parents=True, exist_ok=True)
        write_json(_passwords_file(site), words, durable=True, private=True)
    return {region: make_conninfo(board_dsn, user=board_role(region), password=words[region]) for region in regions}


def known_regions(site: Site) -> list[str]:
    """The regions whose roles have a password."""
    return sorted(_passwords(site))


def _passwords_file(site: Site) -> Path:
    return site.state / "region-roles.json"


def _passwords(site: Site) -> dict[str, str]:
    words = rebuilt_json(_passwords_file(site), _texts, "mainflow users apply gives the roles of regions new passwords")
    return words or {}


def _texts(value: Mapping[str, Any]) -> dict[str, str]:
    return {str(region): str(word) for region, word in value.items()}


def missing(region_dsns: dict[str, str]) -> list[str]:
    """The regions whose role cannot log in."""
    return [region for region, dsn in region_dsns.items() if not _answers(dsn)]


def _answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def make(region_dsns: dict[str, str], regions: Collection[str], dsn: str, script: Path) -> None:
    """Make the roles of regions as the user of `dsn`.

    Raises `RolesMissing` where he may not: `script` has the statements then; `psycopg.Error`.
    """
    with psycopg.connect(dsn) as connection:
        own = [part for region in regions for part in _of_region(connection, region, region_dsns[region])]
        statements = [sql.SQL(SHARED).format(), *own]
        try:
            for statement in statements:
                connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            connection.rollback()
            lines = [statement.as_string(connection) + ";\n" for statement in statements]
            replace_file(script, ["".join(lines).encode()], private=True)
            raise RolesMissing(
                f"{connection.info.user} may not make the roles of {', '.join(regions)} ({error.diag.message_primary}): let an "
                f"administrator of the database run {script} (psql -f), then run this again; the file holds passwords"
            ) from error
    script.unlink(missing_ok=True)


def _of_region(connection: psycopg.Connection, region: str, dsn: str) -> Iterator[sql.Composed]:
    role, known = board_role(region), conninfo_to_dict(dsn)
    name = sql.Identifier(role)
    if connection.execute("select to_regrole(quote_ident(%s)) is null", [role]).fetchone() == (True,):
        yield sql.SQL("create role {}").format(name)
    rights = "alter role {} login nosuperuser nocreatedb nocreaterole inherit password {}"
    yield sql.SQL(rights).format(name, sql.Literal(str(known["password"])))
    yield from of_board(role)
    yield sql.SQL("grant {} to {}").format(sql.Identifier(LIMITED_ROLE), name)
    yield sql.SQL("grant connect on database {} to {}").format(sql.Identifier(connection.info.dbname), name)
