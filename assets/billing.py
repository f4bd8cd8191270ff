"""The billing system's tables, read through ODBC and kept in schema `billing` of the warehouse.

A site whose billing system has other tables changes `sql/billing/<table>.sql`; columns, types and keys are fixed here.
Nothing is written to the billing system, and nothing is computed: joins and reconciliation are marts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl
import pyodbc

from assets.marts import SQL, read_header
from ingest_daemon.contract.secrets import without_secrets

LOGIN_TIMEOUT_S = 15
QUERY_TIMEOUT_S = 300
ROWS = 50_000
"""Rows fetched at a time: bounds the Python objects that ODBC makes of them."""

BEGINNING = "1900-01-01 00:00:00"
"""Watermark of the first sync; the oldest that every database's timestamp can hold."""

TEXT, NUMBER, WHOLE, DATE, TIME = "VARCHAR", "DOUBLE", "BIGINT", "DATE", "TIMESTAMP"

TABLES: dict[str, dict[str, str]] = {
    "customer": {"customer_no": TEXT, "name": TEXT, "industry": TEXT, "region": TEXT, "address": TEXT, "updated_at": TIME},
    "meter_card": {
        "meter_no": TEXT,
        "customer_no": TEXT,
        "dn_mm": WHOLE,
        "book_no": TEXT,
        "installed_on": DATE,
        "removed_on": DATE,
        "updated_at": TIME,
    },
    "meter_read": {"read_id": TEXT, "meter_no": TEXT, "read_at": TIME, "register_m3": NUMBER, "kind": TEXT, "updated_at": TIME},
    "bill": {
        "bill_no": TEXT,
        "customer_no": TEXT,
        "meter_no": TEXT,
        "period_start": DATE,
        "period_end": DATE,
        "billed_m3": NUMBER,
        "water_charge": NUMBER,
        "drainage_charge": NUMBER,
        "amount": NUMBER,
        "status": TEXT,
        "updated_at": TIME,
    },
    "payment": {
        "payment_id": TEXT,
        "bill_no": TEXT,
        "customer_no": TEXT,
        "paid_on": DATE,
        "amount": NUMBER,
        "updated_at": TIME,
    },
}
"""Columns and types of each table in the warehouse; the first column is its key."""

SESSIONS: dict[str, tuple[str, ...]] = {
    "SQLite": ("pragma query_only = on",),
    "PostgreSQL": (
        "set session characteristics as transaction read only",
        f"set statement_timeout = '{QUERY_TIMEOUT_S}s'",
    ),
}
"""By name of the database: what makes a session read-only and bounded where its driver takes no attribute for it."""

ABSENT = re.compile(
    r"no such (?:table|column)|does not exist|invalid (?:object|column) name|ORA-00942|ORA-00904|unknown (?:table|column)", re.I
)
LOGIN = re.compile(r"password|authentication|login failed|access denied|ORA-01017", re.I)


class BillingError(RuntimeError):
    """The billing system could not be read; the text says what to mend and never has the password."""


class Fetched(NamedTuple):
    """One table as read: the good rows with the warehouse's types, and those kept aside (columns of `billing.rejected`)."""

    rows: pl.DataFrame
    rejected: pl.DataFrame


def ensure_tables(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Make schema `billing` and its tables where they are absent; a site without a billing system has them empty."""
    warehouse.execute("create schema if not exists billing").fetchall()
    for table, columns in TABLES.items():
        listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        warehouse.execute(f"create table if not exists billing.{table} ({listed}, primary key ({_key(table)}))").fetchall()
    rejected = "table_name varchar, row_key varchar, reason varchar, source_row varchar"
    warehouse.execute(f"create table if not exists billing.rejected ({rejected})").fetchall()


def sync(
    connection: str, warehouse: duckdb.DuckDBPyConnection, *, overlap_days: int = 7, queries: Path = SQL / "billing"
) -> dict[str, int]:
    """Bring what changed in the billing system since the last sync, less `overlap_days`, into the warehouse.

    `connection` is an ODBC connection string. Gives the rows taken by table, and `rejected` where some were kept aside in
    `billing.rejected`. All tables change in one transaction or none. A row deleted in billing stays. Raises `BillingError`.
    """
    ensure_tables(warehouse)
    since = {table: _watermark(warehouse, table, overlap_days) for table in TABLES}
    fetched = _fetch_all(connection, queries, since)
    warehouse.execute("begin").fetchall()
    try:
        for table, part in fetched.items():
            _upsert(warehouse, table, part)
        warehouse.execute("commit").fetchall()
    except BaseException:
        warehouse.execute("rollback").fetchall()
        raise
    rejected = sum(part.rejected.height for part in fetched.values())
    return {table: part.rows.height for table, part in fetched.items()} | ({"rejected": rejected} if rejected else {})


def _key(table: str) -> str:
    return next(iter(TABLES[table]))


def _watermark(warehouse: duckdb.DuckDBPyConnection, table: str, overlap_days: int) -> str:
    """The last change known, less the overlap. A change dated in the future does not count: it would hide the others."""
    past = f"select max(updated_at) - to_days(?) from billing.{table} where updated_at <= now() at time zone 'UTC'"
    last = warehouse.execute(past, [overlap_days]).fetchall()[0][0]
    return last.strftime("%Y-%m-%d %H:%M:%S") if last else BEGINNING


def _fetch_all(connection: str, queries: Path, since: Mapping[str, str]) -> dict[str, Fetched]:
    """Read every table in one session. A driver's error is told without its own text's secrets, and is not chained."""
    doing = "connect"
    try:
        with closing(pyodbc.connect(connection, timeout=LOGIN_TIMEOUT_S, readonly=True)) as session:
            _bound(session)
            fetched = {}
            for table, watermark in since.items():
                file = queries / f"{table}.sql"
                doing = str(file)
                fetched[table] = _fetch(session, table, file, watermark)
            return fetched
    except pyodbc.Error as error:
        problem = _explained(error, doing)
    raise BillingError(without_secrets(problem, connection))


def check(connection: str) -> str:
    """Connect and say what answered, for `mainflow doctor`. Raises `BillingError`."""
    try:
        with closing(pyodbc.connect(connection, timeout=LOGIN_TIMEOUT_S, readonly=True)) as session:
            return f"{session.getinfo(pyodbc.SQL_DBMS_NAME)} {session.getinfo(pyodbc.SQL_DBMS_VER)}"
    except pyodbc.Error as error:
        problem = _explained(error, "connect")
    raise BillingError(without_secrets(problem, connection))


def _bound(session: pyodbc.Connection) -> None:
    with suppress(pyodbc.Error):  # psqlODBC knows no such attribute; its session is bounded by a statement instead
        session.timeout = QUERY_TIMEOUT_S
    for statement in SESSIONS.get(session.getinfo(pyodbc.SQL_DBMS_NAME), ()):
        session.execute(statement)
    session.commit()


def _fetch(session: pyodbc.Connection, table: str, file: Path, watermark: str) -> Fetched:
    try:
        _, query = read_header(file)
    except (OSError, ValueError) as error:
        raise BillingError(f"query of billing table {table!r}: {error}") from None
    with closing(session.execute(query, watermark)) as cursor:
        names = [column[0].lower() for column in cursor.description or ()]
        wanted = TABLES[table]
        if lacking := [name for name in wanted if name not in names]:
            raise BillingError(
                f"{file}: the query gives no column {', '.join(lacking)}; expected {', '.join(wanted)}; got {', '.join(names)}"
            )
        places = [names.index(name) for name in wanted]
        frames = [_texts(file, wanted, places, rows) for rows in _batches(cursor)]
    return _typed(table, pl.concat([pl.DataFrame(schema=dict.fromkeys(wanted, pl.String())), *frames]))


def _batches(cursor: pyodbc.Cursor) -> Iterator[list[Any]]:
    while rows := cursor.fetchmany(ROWS):
        yield rows


def _texts(file: Path, wanted: Iterable[str], places: list[int], rows: list[Any]) -> pl.DataFrame:
    """Every value as text, whatever the driver made of it: SQLite's delivers a whole column as text when its first value is null,
    others deliver decimals, truth values and times in forms of their own."""
    columns = list(zip(*rows, strict=True))
    for name, place in zip(wanted, places, strict=True):
        if any(isinstance(value, (bytes, bytearray)) for value in columns[place]):
            raise BillingError(f"{file}: column {name} came as bytes; cast it in the query to text")
    return pl.DataFrame(
        [
            pl.Series(name, [None if value is None else str(value) for value in columns[place]], dtype=pl.String)
            for name, place in zip(wanted, places, strict=True)
        ]
    )


def _typed(table: str, rows: pl.DataFrame) -> Fetched:
    """Texts become the table's types; a row in which one cannot, or that has no key or time, is kept aside with the reason."""
    columns = TABLES[table]
    required = (_key(table), "updated_at")
    typed = rows.select(
        *(PARSERS[kind].parse(pl.col(name)).alias(name) for name, kind in columns.items()),
        pl.coalesce(
            pl.when(PARSERS[kind].parse(pl.col(name)).is_null() & (pl.lit(name in required) | pl.col(name).is_not_null())).then(
                pl.format(f"{name} is {{}}; expected {PARSERS[kind].expected}", pl.col(name).fill_null("empty"))
            )
            for name, kind in columns.items()
        ).alias("reason"),
        pl.struct(pl.all()).struct.json_encode().alias("source_row"),
    )
    good = typed.filter(pl.col("reason").is_null()).select(*columns)
    rejected = typed.filter(pl.col("reason").is_not_null()).select(
        table_name=pl.lit(table), row_key=pl.col(_key(table)), reason="reason", source_row="source_row"
    )
    newest = good.sort("updated_at", maintain_order=True).unique(_key(table), keep="last", maintain_order=True)
    return Fetched(newest, rejected)


def _number(text: pl.Expr) -> pl.Expr:
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _day(text: pl.Expr) -> pl.Expr:
    return text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)


def _time(text: pl.Expr) -> pl.Expr:
    whole = (
        text.str.slice(0, 19)
        .str.replace("T", " ", literal=True)
        .str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    )
    return pl.coalesce(whole, text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")))


class Parser(NamedTuple):
    """How a type is made of text, and what is expected for the reason of a row kept aside."""

    parse: Callable[[pl.Expr], pl.Expr]
    expected: str


PARSERS: dict[str, Parser] = {
    TEXT: Parser(lambda text: text, "a value"),
    NUMBER: Parser(_number, "a number"),
    WHOLE: Parser(lambda text: _number(text).cast(pl.Int64, strict=False), "a whole number"),
    DATE: Parser(_day, "YYYY-MM-DD"),
    TIME: Parser(_time, "YYYY-MM-DD HH:MM:SS"),
}


def _upsert(warehouse: duckdb.DuckDBPyConnection, table: str, part: Fetched) -> None:
    warehouse.register("incoming", part.rows)
    warehouse.register("incoming_rejected", part.rejected)
    try:
        warehouse.execute(f"insert or replace into billing.{table} by name select * from incoming").fetchall()
        # A row is aside once, and no longer when it has been mended.
        warehouse.execute(
            f"delete from billing.rejected where table_name = '{table}' and (row_key in (select {_key(table)} from incoming) "
            "or source_row in (select source_row from incoming_rejected) or row_key in (select row_key from incoming_rejected))"
        ).fetchall()
        warehouse.execute("insert into billing.rejected by name select * from incoming_rejected").fetchall()
    finally:
        warehouse.unregister("incoming")
        warehouse.unregister("incoming_rejected")


def _explained(error: pyodbc.Error, doing: str) -> str:
    state, words = (str(error.args[0]), " ".join(str(error.args[-1]).split())) if error.args else ("", str(error))
    if state in ("IM002", "IM003", "IM004") or "Can't open lib" in words:
        installed = ", ".join(pyodbc.drivers()) or "none"
        return f"the ODBC driver or data source of the billing connection is not there; installed drivers: {installed}: {words}"
    if doing != "connect":
        what = "names a table or column that is not there" if ABSENT.search(words) else "failed"
        return f"{doing} {what}: {words}"
    if state.startswith("28") or LOGIN.search(words):
        return f"the billing database refuses the log-in; check UID and PWD of the connection: {words}"
    return f"the billing database cannot be reached; check server, port and database of the connection: {words}"
