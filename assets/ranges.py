"""Native partitions of the great published tables: rows of a local month lie together, and are dropped together.

A site of hundreds of thousands of meters asks for them (`[serving] partitioned`). A new day then puts its entries into indexes
of a month in place of those of years, and intervals that are not kept go at once. Partitions of a day would be smaller still, but
PostgreSQL plans every partition that a query may need, and for hundreds of them that takes longer than a panel may.

The partitions lie in schema `mart_range`, where nobody but their owner has any right: they are read through their table, whose
grants and policies hold. A table that had no partitions becomes the first one of a new table of its name, rows and indexes
untouched; grants, policies, comments and the views of others are carried over.
"""

import re
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

import psycopg
from psycopg import errors, sql

from assets import calendar
from ingest_daemon.contract.log import LOG

SCHEMA = "mart_range"

COLUMNS = ("day", "period", "made_on")
"""Of the keys of a partitioning, the local day by which a table may be cut."""

PATIENCE = "2s"
"""Dropping partitions waits so long for readers; the next publication tries again."""


class _Range(NamedTuple):
    """A partition that is there; `first` is None where it begins with all days before `until`."""

    name: str
    first: date | None
    until: date

    def has(self, day: date) -> bool:
        return (self.first is None or self.first <= day) and day < self.until


def column_of(keys: Iterable[str], grain: Iterable[str]) -> str | None:
    """The local day by which a table with these columns of its partitions and of its grain is cut; None: its rows are few."""
    if not {"meter", "customer_no"} & set(grain):
        return None
    return next((key for key in keys if key in COLUMNS), None)


def clause(column: str) -> sql.Composed:
    """What follows the columns of a new table that is cut."""
    return sql.SQL(" partition by range ({})").format(sql.Identifier(column))


def is_cut(target: psycopg.Connection, table: str) -> bool:
    """Whether a table of schema `mart` has native partitions."""
    found = target.execute("select relkind = 'p' from pg_class where oid = to_regclass(%s)", [f"mart.{table}"]).fetchone()
    return found == (True,)


def cover(target: psycopg.Connection, table: str, days: Iterable[date], arrays: Iterable[str]) -> bool:
    """Make the partitions that rows of these days need; True where one was made. `arrays`: columns that need no statistics."""
    there = _ranges(target, table)
    missing = sorted({calendar.month_of(day) for day in days if not any(found.has(day) for found in there)})
    for month in missing:
        name = sql.Identifier(SCHEMA, f"{table}_{month:%Y%m}")
        parent = sql.Identifier("mart", table)
        target.execute(sql.SQL("create table {} (like {} including indexes)").format(name, parent))
        for column in arrays:
            target.execute(sql.SQL("alter table {} alter column {} set statistics 0").format(name, sql.Identifier(column)))
        # To attach an empty table keeps no reader waiting, as making it a partition at once would.
        target.execute(
            sql.SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
                parent, name, sql.Literal(month.isoformat()), sql.Literal(calendar.next_month(month).isoformat())
            )
        )
    return bool(missing)


def drop_before(target: psycopg.Connection, table: str, first: date) -> None:
    """Drop the partitions of which no day is kept, in an autocommit connection, unless somebody reads for too long."""
    gone = [found for found in _ranges(target, table) if found.until <= first]
    target.execute(f"set lock_timeout = '{PATIENCE}'")
    for found in gone:
        try:
            target.execute(sql.SQL("drop table {}").format(sql.Identifier(SCHEMA, found.name)))
        except errors.LockNotAvailable:
            LOG.info("mart.%s: the partitions before %s go at a later publication: somebody reads", table, first)
            return


def _ranges(target: psycopg.Connection, table: str) -> list[_Range]:
    query = (
        "select relname, pg_get_expr(relpartbound, pg_class.oid) from pg_inherits join pg_class on pg_class.oid = inhrelid "
        "where inhparent = to_regclass(%s)"
    )
    found = []
    for name, bounds in target.execute(query, [f"mart.{table}"]).fetchall():
        dates = re.fullmatch(r"FOR VALUES FROM \((?:MINVALUE|'(.+)')\) TO \('(.+)'\)", bounds)
        if dates:  # others are somebody else's
            found.append(_Range(name, date.fromisoformat(dates[1]) if dates[1] else None, date.fromisoformat(dates[2])))
    return found


# --- a table that had none ----------------------------------------------------------------------------------------------------

DEPENDENT_VIEWS = """
select distinct view.oid, view.relkind = 'm', nspname, view.relname, pg_get_viewdef(view.oid), coalesce(view.reloptions, '{}')
from pg_depend
join pg_rewrite on pg_rewrite.oid = pg_depend.objid and pg_depend.classid = 'pg_rewrite'::regclass
join pg_class as view on view.oid = pg_rewrite.ev_class
join pg_namespace on pg_namespace.oid = view.relnamespace
where refclassid = 'pg_class'::regclass and refobjid = %(table)s and view.oid <> %(table)s
order by 1"""

OTHERS = """
select 'trigger ' || tgname from pg_trigger where tgrelid = %(table)s and not tgisinternal
union all
select pg_describe_object(classid, objid, objsubid)
from pg_depend
left join pg_policy on pg_policy.oid = objid and classid = 'pg_policy'::regclass
where refclassid = 'pg_class'::regclass and refobjid = %(table)s and deptype = 'n'
    and (classid = 'pg_proc'::regclass or polrelid <> %(table)s)"""
"""What else hangs on a table and cannot be carried over to another."""

GRANTS = """
select null, pg_get_userbyid(grantee), grantee = 0, privilege_type, is_grantable
from pg_class, aclexplode(relacl) where pg_class.oid = %(table)s and grantee <> relowner
union all
select attname, pg_get_userbyid(grantee), grantee = 0, privilege_type, is_grantable
from pg_attribute, aclexplode(attacl) where attrelid = %(table)s and attnum > 0"""

POLICIES = """
select
    polname,
    polpermissive,
    polcmd::text,
    array(select case role when 0 then 'public' else quote_ident(pg_get_userbyid(role)) end from unnest(polroles) as role),
    pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
from pg_policy where polrelid = %(table)s"""
COMMANDS = {"*": "all", "r": "select", "a": "insert", "w": "update", "d": "delete"}


def convert(target: psycopg.Connection, table: str, column: str) -> None:
    """Make a table one with native partitions, of which its rows are the first.

    Raises `psycopg.Error` where something hangs on it that cannot be carried over; in a transaction it is as it was.
    """
    name, before = sql.Identifier("mart", table), sql.Identifier(SCHEMA, f"{table}_before")
    row = target.execute("select to_regclass(%s)::oid", [f"mart.{table}"]).fetchone()
    assert row is not None
    own = {"table": row[0]}
    target.execute("set local search_path to pg_catalog")  # so that what is read back names every schema
    views = target.execute(DEPENDENT_VIEWS, own).fetchall()
    hindering = [f"materialized view {schema}.{view}" for _, is_stored, schema, view, _, _ in views if is_stored]
    hindering += [what for (what,) in target.execute(OTHERS, own).fetchall()]
    if hindering:
        _refuse(target, table, hindering)
    grants = target.execute(GRANTS, own).fetchall()
    policies = target.execute(POLICIES, own).fetchall()
    (is_guarded, is_forced, comment) = target.execute(
        "select relrowsecurity, relforcerowsecurity, obj_description(oid, 'pg_class') from pg_class where oid = %(table)s", own
    ).fetchall()[0]
    until = _until(target, name, column)
    target.execute(sql.SQL("alter table {} set schema {}").format(name, sql.Identifier(SCHEMA)))
    target.execute(
        sql.SQL("alter table {} rename to {}").format(sql.Identifier(SCHEMA, table), sql.Identifier(f"{table}_before"))
    )
    target.execute(sql.SQL("create table {} (like {} including comments)").format(name, before) + clause(column))
    target.execute(
        sql.SQL("alter table {} attach partition {} for values from (minvalue) to ({})").format(
            name, before, sql.Literal(until.isoformat())
        )
    )
    for of, grantee, is_everybody, right, may_grant in grants:
        listed = sql.SQL(" ({})").format(sql.Identifier(of)) if of else sql.SQL("")
        who = sql.SQL("public") if is_everybody else sql.Identifier(grantee)
        option = sql.SQL(" with grant option" if may_grant else "")
        target.execute(sql.SQL(f"grant {right}").format() + listed + sql.SQL(" on {} to {}").format(name, who) + option)
    for policy, is_permissive, command, roles, using, check in policies:
        target.execute(
            sql.SQL("create policy {} on {}").format(sql.Identifier(policy), name)
            + sql.SQL(f" as {'permissive' if is_permissive else 'restrictive'} for {COMMANDS[command]} to {', '.join(roles)}")
            + sql.SQL(f" using ({using})" if using else "")
            + sql.SQL(f" with check ({check})" if check else "")
        )
    for wanted, words in ((is_guarded, "enable"), (is_forced, "force")):
        if wanted:
            target.execute(sql.SQL("alter table {} " + words + " row level security").format(name))
    if comment:
        target.execute(sql.SQL("comment on table {} is {}").format(name, sql.Literal(comment)))
    for _, _, schema, view, definition, options in views:
        listed = sql.SQL(f" with ({', '.join(options)})" if options else "")
        target.execute(
            sql.SQL("create or replace view {}").format(sql.Identifier(schema, view)) + listed + sql.SQL(f" as {definition}")
        )
    target.execute("set local search_path to default")


def _until(target: psycopg.Connection, name: sql.Identifier, column: str) -> date:
    """The end of the month of a table's last day; of an empty one a day before all."""
    (last,) = target.execute(sql.SQL("select max({}) from {}").format(sql.Identifier(column), name)).fetchall()[0]
    return calendar.next_month(calendar.month_of(last or date(2000, 1, 1)))


def _refuse(target: psycopg.Connection, table: str, hindering: list[str]) -> None:
    """Raises what PostgreSQL raises where something depends on a table."""
    text = f"mart.{table} cannot get partitions while these hang on it: {', '.join(hindering)}"
    statement = "do $$ begin raise exception using errcode = 'dependent_objects_still_exist', message = {}; end $$"
    target.execute(sql.SQL(statement).format(sql.Literal(text)))
