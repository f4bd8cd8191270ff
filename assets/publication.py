"""Publication: the touched partitions of every mart copied to PostgreSQL schema `mart`, all tables in one transaction.

Readers therefore see a partition whole, before or after. Tables live on: a new version alters them, so that grants, row-level
security policies and other people's views stay. Names and columns are those of marts.duckdb; a later column stands last.

`unit_interval` is published in its compact form and for a limited number of days; `interval_reading` is a view over it.

PostgreSQL refuses some values that DuckDB holds: text with a NUL character, dates outside the years 1 to 9999, and key texts
too long for an index. NaN and infinity it would take, but no figure may be one, and they poison every sum. Such a cell is
published as null, its row is left out where the column belongs to the key; the log names table, column and keys. Arrays are
copied as they are.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, timedelta
from functools import partial
from typing import NamedTuple

import duckdb
import psycopg
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import errors, sql

from assets import month_end, outputs, ranges, rights, serving
from assets.columns import Table
from assets.marts import all_marts
from assets.partitions import PARTITIONINGS, Partitioning, Partitions
from assets.warehouse import columns_of, has_table
from ingest_daemon.contract import ownership
from ingest_daemon.contract.log import LOG, RateLimitedLog
from ingest_daemon.contract.ops_tables import migrate

TYPES = {
    "VARCHAR": "text",
    "DOUBLE": "double precision",
    "HUGEINT": "numeric",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "DOUBLE[]": "double precision[]",
    "BIGINT[]": "bigint[]",
    "INTEGER[]": "integer[]",
}
"""DuckDB's types as PostgreSQL's; beside them a mart may use `DECIMAL(p,s)`."""

_LIMITED = RateLimitedLog(every_s=86_400)
"""Publication comes every minute."""

Published = tuple[str, str, tuple[str, ...]]
"""A published table: name, way of partitioning, key."""

INTERVALS = "unit_interval"
INTERVAL_DAYS = 400
"""Days of intervals in PostgreSQL where the site sets none."""

BOARD_ROLE, DESK_ROLE = "mainflow_board", "mainflow_desk"
"""The role of boards reads the tables, and nothing else; that of the desk reads them as well."""

SHOWN_OF_OPS = (
    "alarm_event",
    "alarm",
    "alarm_history",
    "alarm_open",
    "alarm_look",
    "alarm_ticker",
    "latest_reading",
    "meter_change",
    "ticker_setting",
)
"""What the role of boards reads of schema `ops`."""

KEY_BYTES = 800
"""Longest text of a key: an index entry of three of them stays below PostgreSQL's limit of 2,704 bytes."""

LISTED_KEYS = 10
"""Keys that a warning names; of further rows it gives the number."""

STATE = "create table if not exists mart.published (table_name text primary key, content text not null)"
"""What was published last, to tell whether it changed: of a whole table a hash, of intervals the first day kept."""

LOOKED_UP = (((), ("customer_no",)), (("meter",), ("kind", "code")))
"""Columns by which boards find the rows of a customer and the members of a group, in tables that also have the first ones."""

HELD_BACK = "held back"
"""In place of a hash: the table missed publications and has to be copied whole."""

INTERVAL_READING = """
create or replace view mart.interval_reading with (security_invoker = true) as
select
    u.meter,
    u.starts_at + (i.end_ms - i.length_ms) * interval '1 millisecond' as interval_start,
    u.starts_at + i.end_ms * interval '1 millisecond' as interval_end,
    u.day,
    i.volume_nl / 1e12::double precision as volume_m3,
    i.reverse_nl / 1e12::double precision as reverse_m3,
    case
        when i.flags & 1 = 0 and i.length_ms > 0
            then i.volume_nl / 1e12::double precision / (i.length_ms / 3.6e6::double precision)
    end as flow_m3h,
    i.pressure_pa / 1e6::double precision as pressure_mpa,
    i.register_ul / 1e9::double precision as register_m3,
    i.device_flow_m3h,
    i.length_ms / 1e3::double precision as seconds,
    i.flags
from
    mart.unit_interval as u,
    unnest(u.end_ms, u.length_ms, u.volume_nl, u.reverse_nl, u.pressure_pa, u.register_ul, u.device_flow_m3h, u.flags)
        as i (end_ms, length_ms, volume_nl, reverse_nl, pressure_pa, register_ul, device_flow_m3h, flags)"""
"""`interval_reading` of marts.duckdb in PostgreSQL; a row-level security policy on `unit_interval` holds for it, too."""


class Hindered(psycopg.Error):
    """Some tables kept their old columns and rows; the text names them and what to do. All others are published.

    `rows`: the rows that were copied.
    """

    def __init__(self, reasons: Collection[str], rows: int) -> None:
        super().__init__("\n".join(reasons))
        self.rows = rows


class _Column(NamedTuple):
    """A column of a table in marts.duckdb. `type`: its PostgreSQL type; `in_key`: whether it belongs to the key."""

    name: str
    kind: str
    type: str
    in_key: bool

    @property
    def quoted(self) -> str:
        """The name as DuckDB's SQL has it."""
        return f'"{self.name}"'

    @property
    def refused(self) -> str:
        """The condition under which a value must not be published; empty where every value may."""
        conditions = {
            "VARCHAR": f"contains({self.quoted}, chr(0))" + (f" or strlen({self.quoted}) > {KEY_BYTES}" if self.in_key else ""),
            "DOUBLE": f"not isfinite({self.quoted})",
            "DATE": f"{self.quoted} not between '0001-01-01' and '9999-12-31'",
            "TIMESTAMP WITH TIME ZONE": f"{self.quoted} not between '0001-01-02 00:00:00+00' and '9999-12-30 00:00:00+00'",
        }
        return conditions.get(self.kind, "")


class _Table(NamedTuple):
    """A table to publish."""

    name: str
    partitioned: str
    key: tuple[str, ...]
    columns: tuple[_Column, ...]

    @property
    def cut_by(self) -> str | None:
        """The column by which it is cut into native partitions where the site wants them; None: it is not."""
        return ranges.column_of(PARTITIONINGS[self.partitioned].keys, self.key)

    @property
    def arrays(self) -> list[str]:
        """The columns whose statistics are costly to make and of no use to any query."""
        return [column.name for column in self.columns if column.kind.endswith("[]")]

    @property
    def target(self) -> sql.Identifier:
        """Its name in PostgreSQL."""
        return sql.Identifier("mart", self.name)


LEDGERS = {
    "run_ledger": ("run_id",),
    "report_ledger": ("file", "run_id"),
    "expectation_result": ("source", "day", "expectation"),
    "month_end": month_end.KEY,
}
"""The tables that say what was done and found, with their keys; they are published whole."""

MADE_AS = {INTERVALS: "interval_reading"}
"""The step that makes a table of another name."""


def published_tables() -> list[Published]:
    """Every table that is served: the marts, the compact intervals and the ledgers."""
    found = [(mart.name, mart.partitions, mart.grain) for mart in all_marts()]
    return [
        (INTERVALS, "day", ("meter", "day")),
        *found,
        *((name, "whole", key) for name, key in LEDGERS.items()),
    ]


def limit_regions(target: psycopg.Connection) -> None:
    """Let people of a region see its rows of all that is served. Raises `psycopg.Error`."""
    tables = (name for name, _, _ in published_tables())
    rights.limit(target, {"interval_reading", *tables, *(view.name for view in serving.views())})


def publish(
    connection: duckdb.DuckDBPyConnection,
    dsn: str,
    partitions: Partitions,
    progress: Callable[[str], None] = lambda _: None,
    *,
    made: Collection[str] | None = None,
    renewed: Collection[str] = (),
    interval_days: int = INTERVAL_DAYS,
    partitioned: bool = False,
    comments: Mapping[str, Mapping[str, str]] | None = None,
    site_id: str = "",
) -> int:
    """Replace the prepared partitions in PostgreSQL; gives the rows copied. Raises `psycopg.Error`.

    A table that is absent, gained a column or changed a type is copied whole, as are those in `renewed`; one without partitions
    is copied where its content changed. `made`: steps whose tables are published, None: all; the ledgers always are.
    `interval_days`: days of intervals before the newest that are kept. `partitioned`: great tables get native partitions, which
    stay. `comments`: words of columns by table and column.
    `site_id`: of the site, which claims the database or finds it its own (`ownership.py`); empty: nobody asks.
    Raises `Hindered` at the end where a table could not take its new columns, `ForeignDatabase` where another site does.
    """
    rows = 0
    hindered: list[str] = []
    with psycopg.connect(dsn) as target:
        if site_id:
            ownership.claim(target, site_id)
        else:
            migrate(target)
        target.execute("set time zone 'UTC'")
        target.execute("create schema if not exists mart")
        target.execute(f"create schema if not exists {ranges.SCHEMA}")
        target.execute("set client_min_messages = warning")
        target.execute(STATE)
        for name, partitioning, key in published_tables():
            is_wanted = made is None or name in LEDGERS or MADE_AS.get(name, name) in made
            if is_wanted and has_table(connection, name):
                progress(name)
                table = _Table(name, partitioning, key, _columns(connection, name, key))
                try:
                    with target.transaction():
                        is_new = _ensure(target, table, partitioned)
                except HINDRANCES as error:
                    hindered.append(_reason(name, error))
                    _note(target, name, HELD_BACK)
                    continue
                is_fresh = is_new or MADE_AS.get(name, name) in renewed or _content(target, name) == HELD_BACK
                copied = _replace(connection, target, table, is_fresh, interval_days)
                rows += copied.rows
                _index(target, table)
                if is_fresh or copied.has_new_range:  # nobody else makes statistics of a table with partitions
                    _analyze(target, table)
        zone = str(partitions.zone)
        views = {"interval_reading": _serve_intervals}
        views |= {view.name: partial(serving.create_served, view, zone) for view in serving.views()}
        views |= {function.name: partial(_serve_function, function) for function in serving.functions()}
        for name, serve in views.items():
            try:
                with target.transaction():
                    serve(target)
            except HINDRANCES as error:
                hindered.append(_reason(name, error))
        _comment(target, comments or {})
        _let_boards_read(target)
        outputs.serve_all(zone, target)
        try:
            with target.transaction():
                limit_regions(target)
        except errors.InsufficientPrivilege as error:
            _LIMITED.warn("rights of regions", f"{target.info.user} may not set them: new tables are closed to regions: {error}")
        may_drop = ranges.is_cut(target, INTERVALS)
    if may_drop:
        _drop_intervals(dsn)
    if hindered:
        raise Hindered(hindered, rows)
    return rows


def postgres_type(table: str, column: str, kind: str) -> str:
    """The PostgreSQL type of a column whose DuckDB type is `kind`. Raises `ValueError` naming the column of one that has none."""
    decimal = re.fullmatch(r"DECIMAL(\(\d+,\d+\))", kind)
    if decimal:
        return "numeric" + decimal[1]
    if kind not in TYPES:
        allowed = ", ".join(["DECIMAL(p,s)", *TYPES])
        raise ValueError(f"{table}.{column} has type {kind}, which is not published; allowed: {allowed}; cast it in the select")
    return TYPES[kind]


def _columns(connection: duckdb.DuckDBPyConnection, name: str, key: tuple[str, ...]) -> tuple[_Column, ...]:
    return tuple(
        _Column(column, kind, postgres_type(name, column, kind), column in key) for column, kind in columns_of(connection, name)
    )


# --- tables that live on ------------------------------------------------------------------------------------------------------

HINDRANCES = (errors.DependentObjectsStillExist, errors.FeatureNotSupported, errors.InsufficientPrivilege)
"""What PostgreSQL answers where another object depends on a column, or a table belongs to somebody else."""


def _reason(name: str, error: psycopg.Error) -> str:
    text = ": ".join(part for part in (error.diag.message_primary, error.diag.message_detail) if part)
    return (
        f"mart.{name} keeps its old columns and rows, the other tables are published: {text.replace(chr(10), '; ')}. "
        "Drop or change what depends on it; the next publication brings the table up to date."
    )


def _ensure(target: psycopg.Connection, table: _Table, partitioned: bool) -> bool:
    """Make the table, or give it its columns; True where it is empty now. `partitioned`: with native partitions if great."""
    wanted = {column.name: column.type for column in table.columns}
    there = _columns_there(target, table.name)
    cut_by = table.cut_by if partitioned else None
    if not there:
        body = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in wanted.items())
        target.execute(
            sql.SQL("create table {} ({})").format(table.target, body) + (ranges.clause(cut_by) if cut_by else sql.SQL(""))
        )
        for column in table.arrays:
            target.execute(_alter(table, "alter column {} set statistics 0", column))
        return True
    if cut_by and not ranges.is_cut(target, table.name):
        ranges.convert(target, table.name, cut_by)
    if there == wanted:
        return False
    if table.name == INTERVALS:
        _hollow_view(target)
    outputs.release(target)
    rights.release(target, table.name)
    for name in there.keys() - wanted.keys():
        target.execute(_alter(table, "drop column {}", name))
    changed = {name: kind for name, kind in wanted.items() if there.get(name) != kind}
    if changed:
        target.execute(sql.SQL("truncate {}").format(table.target))
    for name, kind in changed.items():
        change = f"alter column {{0}} type {kind} using null::{kind}" if name in there else f"add column {{0}} {kind}"
        target.execute(_alter(table, change, name))
    return bool(changed)


def _alter(table: _Table, change: str, column: str) -> sql.Composed:
    return sql.SQL("alter table {} " + change.replace("{0}", "{}")).format(table.target, sql.Identifier(column))


def _columns_there(target: psycopg.Connection, name: str) -> dict[str, str]:
    """Columns and types of a table or view in schema `mart`; none where it is absent."""
    query = (
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum"
    )
    return dict(target.execute(query, [f"mart.{name}"]).fetchall())


def _index(target: psycopg.Connection, table: _Table) -> None:
    """Indexes, where absent: of the key, of the partition, of which no other day is read, and of what is looked up."""
    names = {column.name for column in table.columns}
    wanted = [table.key, PARTITIONINGS[table.partitioned].keys]
    wanted += [columns for of, columns in LOOKED_UP if {*of, *columns} <= names]
    made: list[tuple[str, ...]] = []
    for columns in wanted:
        if any(other[: len(columns)] == columns for other in made):
            continue
        made.append(columns)
        name = "_".join((table.name, *columns, "idx"))
        if not target.execute("select to_regclass(%s)", [f"mart.{name}"]).fetchone()[0]:  # type: ignore[index]
            listed = sql.SQL(", ").join(map(sql.Identifier, columns))
            target.execute(sql.SQL("create index {} on {} ({})").format(sql.Identifier(name), table.target, listed))


def _analyze(target: psycopg.Connection, table: _Table) -> None:
    plain = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns if column.name not in table.arrays)
    target.execute(sql.SQL("analyze {} ({})").format(table.target, plain))


# --- intervals ----------------------------------------------------------------------------------------------------------------


def _serve_intervals(target: psycopg.Connection) -> None:
    """The view `interval_reading`, where it is absent or of another version."""
    if not _columns_there(target, INTERVALS):
        return
    version = hashlib.sha256(INTERVAL_READING.encode()).hexdigest()
    is_view = _is_view(target)
    if is_view and _content(target, "interval_reading") == version:
        return
    if not is_view:  # the rows of an older version
        target.execute("drop table if exists mart.interval_reading")
    try:
        with target.transaction():
            target.execute(INTERVAL_READING)
    except errors.InvalidTableDefinition:  # columns that cannot be had by adding to the old ones
        target.execute("drop function if exists mart.intervals; drop view mart.interval_reading")
        target.execute(INTERVAL_READING)
    _note(target, "interval_reading", version)


def _hollow_view(target: psycopg.Connection) -> None:
    """Let the view have its columns from nowhere while its table is altered: it stays, with grants and what depends on it."""
    if _is_view(target):
        columns = _columns_there(target, "interval_reading")
        nothing = sql.SQL(", ").join(
            sql.SQL("null::{} as {}").format(sql.SQL(kind), sql.Identifier(name)) for name, kind in columns.items()
        )
        target.execute(sql.SQL("create or replace view mart.interval_reading as select {}").format(nothing))
        _forget(target, "interval_reading")


def _serve_function(function: Table, target: psycopg.Connection) -> None:
    """The function, where it is absent or of another version."""
    there = target.execute("select to_regproc(%s)", [f"mart.{function.name}"]).fetchone()
    if (there == (None,) or _content(target, function.name) != function.version) and serving.create_function(function, target):
        _note(target, function.name, function.version)


def _is_view(target: psycopg.Connection) -> bool:
    query = "select relkind = 'v' from pg_class where oid = to_regclass('mart.interval_reading')"
    return target.execute(query).fetchone() == (True,)


# --- rows ---------------------------------------------------------------------------------------------------------------------


class _Copied(NamedTuple):
    """Rows that were copied, and whether a native partition was made for them."""

    rows: int
    has_new_range: bool = False

    def __add__(self, other: "_Copied") -> "_Copied":  # type: ignore[override]
        return _Copied(self.rows + other.rows, self.has_new_range or other.has_new_range)


def _replace(
    connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, table: _Table, is_fresh: bool, interval_days: int
) -> _Copied:
    """Delete and copy what has to be replaced."""
    if table.partitioned == "whole":
        hashed = _hash(connection, table)
        if not is_fresh and _content(target, table.name) == hashed:
            return _Copied(0)
        _note(target, table.name, hashed)
        return _rewrite(connection, target, table, "true")
    if table.name == INTERVALS:
        return _replace_intervals(connection, target, table, is_fresh, interval_days)
    if is_fresh:
        _forget(target, table.name)
        return _rewrite(connection, target, table, "true")
    return _replace_touched(connection, target, table)


def _rewrite(connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, table: _Table, where: str) -> _Copied:
    target.execute(sql.SQL("delete from {}").format(table.target))
    return _copy(connection, target, table, where)


def _replace_touched(
    connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, table: _Table, further: str = "true"
) -> _Copied:
    partitioning = PARTITIONINGS[table.partitioned]
    _delete_keys(connection, target, table.target, partitioning)
    return _copy(connection, target, table, f"{partitioning.condition} and {further}")


def _replace_intervals(
    connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, table: _Table, is_fresh: bool, interval_days: int
) -> _Copied:
    """The touched days from the first one kept; further back where more days are kept than at the last publication."""
    newest = connection.execute(f"select max(day) from {INTERVALS}").fetchall()[0][0]
    if newest is None:
        return _replace_touched(connection, target, table)
    first = newest - timedelta(days=interval_days) if interval_days < (newest - date.min).days else date.min
    kept, recent = _content(target, INTERVALS), f"day >= '{first}'"
    _note(target, INTERVALS, first.isoformat())
    if is_fresh:
        return _rewrite(connection, target, table, recent)
    copied = _replace_touched(connection, target, table, recent)
    if not ranges.is_cut(target, INTERVALS):  # else their month goes once none of its days is kept
        target.execute("delete from mart.unit_interval where day < %s", [first])
    if kept and date.fromisoformat(kept) > first:
        earlier = f"day >= '{first}' and day < '{kept}' and day not in (select day from touched_day)"
        touched = [day for (day,) in connection.execute("select day from touched_day").fetchall()]
        target.execute("delete from mart.unit_interval where day >= %s and day < %s and day <> all(%s)", [first, kept, touched])
        copied += _copy(connection, target, table, earlier)
    return copied


def _drop_intervals(dsn: str) -> None:
    """Drop the partitions of intervals that are not kept, now that nobody waits for this publication."""
    with psycopg.connect(dsn, autocommit=True) as target:
        first = _content(target, INTERVALS)
        if first and first != HELD_BACK:
            ranges.drop_before(target, INTERVALS, date.fromisoformat(first))


def _hash(connection: duckdb.DuckDBPyConnection, table: _Table) -> str:
    """A hash of all rows, whatever their order: the sum of the rows' hashes."""
    columns = ", ".join(column.quoted for column in table.columns)
    count, total = connection.execute(f"select count(*), sum(cast(hash({columns}) as hugeint)) from {table.name}").fetchall()[0]
    return f"{count} {columns} {total}"


def _content(target: psycopg.Connection, name: str) -> str | None:
    row = target.execute("select content from mart.published where table_name = %s", [name]).fetchone()
    return row[0] if row else None


def _note(target: psycopg.Connection, name: str, content: str) -> None:
    target.execute(
        "insert into mart.published values (%s, %s) on conflict (table_name) do update set content = excluded.content "
        "where published.content <> excluded.content",
        [name, content],
    )


def _forget(target: psycopg.Connection, name: str) -> None:
    target.execute("delete from mart.published where table_name = %s", [name])


def _copy(connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, table: _Table, where: str) -> _Copied:
    refused = _refused(connection, table, where)
    left_out = [f"not coalesce({column.refused}, false)" for column in table.columns if column.in_key and column in refused]
    selected = ", ".join(
        f"case when {column.refused} then null else {column.quoted} end as {column.quoted}"
        if column in refused
        else column.quoted
        for column in table.columns
    )
    chosen = f"from {table.name} where {' and '.join([f'({where})', *left_out])}"
    query = f"select {selected} {chosen}"
    has_new_range = False
    if table.cut_by and ranges.is_cut(target, table.name):
        days = connection.execute(f"select distinct {table.cut_by} {chosen}").fetchall()
        has_new_range = ranges.cover(target, table.name, [day for (day,) in days], table.arrays)
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    rows = connection.sql(query).to_arrow_reader(2_000 if table.arrays else 100_000)
    encoder = ArrowToPostgresBinaryEncoder(rows.schema)
    with target.cursor().copy(sql.SQL("copy {} ({}) from stdin (format binary)").format(table.target, names)) as stream:
        stream.write(encoder.write_header())
        written = 0
        for batch in rows:
            stream.write(encoder.write_batch(batch))
            written += batch.num_rows
        stream.write(encoder.finish())
    return _Copied(written, has_new_range)


def _refused(connection: duckdb.DuckDBPyConnection, table: _Table, where: str) -> list[_Column]:
    """The columns with values that must not be published; the log names their rows."""
    doubtful = [column for column in table.columns if column.refused]
    counts = ", ".join(f"count_if({column.refused})" for column in doubtful)
    found = connection.execute(f"select {counts} from {table.name} where {where}").fetchall()[0] if doubtful else ()
    refused = []
    for column, count in zip(doubtful, found, strict=True):
        if count:
            key = ", ".join(table.key)
            rows = connection.execute(
                f"select {key} from {table.name} where ({where}) and ({column.refused}) limit {LISTED_KEYS}"
            ).fetchall()
            keys = "; ".join(", ".join(map(str, row)).replace("\0", "\\0") for row in rows)
            what = "the row is left out" if column.in_key else "published as null"
            LOG.warning(
                "mart.%s: %d values of column %s cannot be served (NUL character, too long a key, not finite, or no date of the "
                "years 1 to 9999), %s; rows (%s): %s%s",
                table.name,
                count,
                column.name,
                what,
                key,
                keys,
                "; …" if count > LISTED_KEYS else "",
            )
            refused.append(column)
    return refused


def _delete_keys(
    connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, table: sql.Identifier, partitioning: Partitioning
) -> None:
    values = connection.execute(f"select distinct {', '.join(partitioning.keys)} from {partitioning.touched}").fetchall()
    if len(partitioning.keys) == 1:
        key = sql.Identifier(*partitioning.keys)
        target.execute(sql.SQL("delete from {} where {} = any(%s)").format(table, key), [[row[0] for row in values]])
        return
    for grain in {row[0] for row in values}:
        periods = [row[1] for row in values if row[0] == grain]
        target.execute(sql.SQL("delete from {} where grain = %s and period = any(%s)").format(table), [grain, periods])


# --- words and rights ---------------------------------------------------------------------------------------------------------


def _comment(target: psycopg.Connection, comments: Mapping[str, Mapping[str, str]]) -> None:
    """Put the words of columns beside them, where they differ from those that are there."""
    query = (
        "select attname, col_description(attrelid, attnum) from pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
    )
    for name, words in comments.items():
        there: dict[str, str | None] = dict(target.execute(query, [f"mart.{name}"]).fetchall())
        for column, text in words.items():
            if column in there and there[column] != text:
                statement = sql.SQL("comment on column {} is {}").format(sql.Identifier("mart", name, column), sql.Literal(text))
                target.execute(statement)


def _let_boards_read(target: psycopg.Connection) -> None:
    """The role `mainflow_board`, its right to read every table and to call every function; else the log says what to run.

    The desk's role reads as much, where there is one.
    """
    try:
        with target.transaction():
            if not _is_role(target, BOARD_ROLE):
                target.execute(sql.SQL("create role {} nologin").format(sql.Identifier(BOARD_ROLE)))
            for name in filter(partial(_is_role, target), (BOARD_ROLE, DESK_ROLE)):
                _grant(target, name)
    except errors.InsufficientPrivilege:
        _tell_administrator(target.info.user, target.info.host)


def _is_role(target: psycopg.Connection, name: str) -> bool:
    return target.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone() is not None


def _grant(target: psycopg.Connection, name: str) -> None:
    role = sql.Identifier(name)
    if target.execute("select has_schema_privilege(%s, 'mart', 'usage')", [name]).fetchone() != (True,):
        target.execute(sql.SQL("grant usage on schema mart to {}").format(role))
        target.execute(sql.SQL("alter default privileges in schema mart grant select on tables to {}").format(role))
    if target.execute("select has_schema_privilege(%s, 'ops', 'usage')", [name]).fetchone() != (True,):
        target.execute(sql.SQL("grant usage on schema ops to {}").format(role))
    unread = target.execute(
        "select relnamespace::regnamespace::text, relname from pg_class where relkind in ('r', 'v', 'm', 'p') and ("
        "relnamespace = 'mart'::regnamespace and pg_has_role(relowner, 'usage') "
        "or relnamespace = 'ops'::regnamespace and relname = any(%s)) and not has_table_privilege(%s, oid, 'select')",
        [list(SHOWN_OF_OPS), name],
    ).fetchall()
    for schema, table in unread:
        target.execute(sql.SQL("grant select on {} to {}").format(sql.Identifier(schema, table), role))
    uncalled = target.execute(
        "select cast(oid as regprocedure) from pg_proc where pronamespace = 'mart'::regnamespace "
        "and pg_has_role(proowner, 'usage') and not has_function_privilege(%s, oid, 'execute')",
        [name],
    ).fetchall()
    for (function,) in uncalled:
        target.execute(sql.SQL("grant execute on function {} to {}").format(sql.SQL(function), role))


_told: set[tuple[str, str]] = set()


def _tell_administrator(user: str, host: str) -> None:
    """Once a process, for publication comes every minute."""
    if (user, host) not in _told:
        _told.add((user, host))
        LOG.warning(
            "boards cannot read with the role %s: %s may not create it or grant it schema mart; as an administrator of %s run: "
            "create role %s nologin; grant usage on schema mart to %s",
            BOARD_ROLE,
            user,
            host,
            BOARD_ROLE,
            BOARD_ROLE,
        )
