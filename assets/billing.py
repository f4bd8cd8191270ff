"""The billing system's tables, read through ODBC and kept in schema `billing` of the warehouse.

A site whose billing system has other tables changes `sql/billing/<table>.sql`; columns, types and keys are fixed here.
Nothing is written to the billing system, and nothing is computed: joins and reconciliation are marts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl
import pyodbc

from assets.warehouse import ensure, transaction
from ingest_daemon.contract import odbc
from ingest_daemon.contract.headers import SQL, read_header
from ingest_daemon.contract.identifiers import half_width
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.secrets import without_secrets

BEGINNING = "1900-01-01 00:00:00"
"""Watermark of the first sync; the oldest that every database's timestamp can hold."""

SEPARATOR = "\t"
"""Between the parts of a key of several columns."""

SHOWN = 5


class Kind(NamedTuple):
    """A kind of column: its type in the warehouse, how a text becomes it (null where it cannot), and what is expected."""

    sql: str
    parse: Callable[[pl.Expr], pl.Expr]
    expected: str


def _whole(text: pl.Expr) -> pl.Expr:
    number = odbc.number(text)
    return pl.when(number == number.round()).then(number).cast(pl.Int64, strict=False)


def _money(text: pl.Expr) -> pl.Expr:
    return odbc.numeral(text).cast(pl.Decimal(18, 4), strict=False)


def _day(text: pl.Expr) -> pl.Expr:
    return half_width(text).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)


def _month(text: pl.Expr) -> pl.Expr:
    """The first day of a month written 2026-01, 202601, 2026/1, 2026年1月, or as a day in it."""
    found = half_width(text).str.extract_groups(r"^(\d{4})[-/.年]?(\d{1,2})(?:[-/.月]|$)")
    written = pl.format("{}-{}-01", found.struct.field("1"), found.struct.field("2").str.zfill(2))
    return written.str.to_date("%Y-%m-%d", strict=False)


def _flag(text: pl.Expr) -> pl.Expr:
    plain = half_width(text).str.to_lowercase()
    return (
        pl.when(plain.is_in(["1", "yes", "y", "true", "t", "是"]))
        .then(True)
        .when(plain.is_in(["0", "no", "n", "false", "f", "否"]))
        .then(False)
    )


def _time(text: pl.Expr) -> pl.Expr:
    plain = half_width(text)
    whole = (
        plain.str.slice(0, 19)
        .str.replace("T", " ", literal=True)
        .str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    )
    return pl.coalesce(whole, plain.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")))


IDENTIFIER = Kind("VARCHAR", half_width, "a value")
"""A number or name that other tables and the registry refer to: compared without blanks at its ends, in half-width letters."""

TEXT = Kind("VARCHAR", lambda text: text, "a value")
NUMBER = Kind("DOUBLE", odbc.number, "a number")
WHOLE = Kind("BIGINT", _whole, "a whole number")
MONEY = Kind("DECIMAL(18,4)", _money, "an amount")
DATE = Kind("DATE", _day, "YYYY-MM-DD")
MONTH = Kind("DATE", _month, "YYYY-MM")
TIME = Kind("TIMESTAMP", _time, "YYYY-MM-DD HH:MM:SS")
FLAG = Kind("BOOLEAN", _flag, "yes or no")

TABLES: dict[str, dict[str, Kind]] = {
    "customer": {
        "customer_no": IDENTIFIER,
        "name": TEXT,
        "industry": TEXT,
        "region": TEXT,
        "address": TEXT,
        "group_no": IDENTIFIER,
        "major": FLAG,
        "updated_at": TIME,
    },
    "meter_card": {
        "meter_no": IDENTIFIER,
        "customer_no": IDENTIFIER,
        "dn_mm": WHOLE,
        "book_no": IDENTIFIER,
        "installed_on": DATE,
        "removed_on": DATE,
        "vendor": TEXT,
        "cycle_months": WHOLE,
        "updated_at": TIME,
    },
    "meter_read": {
        "read_id": IDENTIFIER,
        "meter_no": IDENTIFIER,
        "read_at": TIME,
        "register_m3": NUMBER,
        "kind": TEXT,
        "updated_at": TIME,
    },
    "bill": {
        "bill_no": IDENTIFIER,
        "customer_no": IDENTIFIER,
        "meter_no": IDENTIFIER,
        "period_start": DATE,
        "period_end": DATE,
        "billed_m3": NUMBER,
        "water_charge": MONEY,
        "drainage_charge": MONEY,
        "amount": MONEY,
        "status": TEXT,
        "issued_on": DATE,
        "account_month": MONTH,
        "due_on": DATE,
        "updated_at": TIME,
    },
    "charge": {
        "bill_no": IDENTIFIER,
        "meter_no": IDENTIFIER,
        "charge_kind": IDENTIFIER,
        "amount": MONEY,
        "updated_at": TIME,
    },
    "payment": {
        "payment_id": IDENTIFIER,
        "bill_no": IDENTIFIER,
        "customer_no": IDENTIFIER,
        "paid_on": DATE,
        "amount": MONEY,
        "charge_kind": IDENTIFIER,
        "updated_at": TIME,
    },
}
"""Columns and kinds of each table in the warehouse; the first column is its key."""

OPTIONAL: dict[str, frozenset[str]] = {
    "customer": frozenset({"group_no", "major"}),
    "meter_card": frozenset({"vendor", "cycle_months"}),
    "bill": frozenset({"issued_on", "account_month", "due_on"}),
    "charge": frozenset(TABLES["charge"]),
    "payment": frozenset({"charge_kind"}),
}
"""Columns that a billing system may lack: they are null then. A table of which every column is optional is empty."""

OPTIONAL_LINE = "-- optional"
"""Ends a line of a query that is left out where the billing system lacks its column."""

KEYS = {"bill": ("bill_no", "meter_no"), "charge": ("bill_no", "meter_no", "charge_kind")}
"""Keys of several columns: a bill has a line for each of its meters. The first column must be filled, the others need not."""

ASIDE = {
    "rejected": "table_name varchar, row_key varchar, reason varchar, source_row varchar, key varchar",
    "withdrawn": "table_name varchar, row_key varchar, withdrawn_at timestamp, source_row varchar, key varchar",
    "seen": "table_name varchar, key varchar, rows bigint",
    "changed_bill": "bill_no varchar",
    "changed_month": "month date",
    "delivered": "table_name varchar, columns varchar",
}
"""Beside the tables of billing: rows that cannot be used, rows gone in billing, how many rows billing has of each key, the bills
and the months of account that changed since figures were made of them, and the columns that billing delivered last."""

KEPT_IN_TIME: dict[str, tuple[str, ...]] = {
    "customer": ("customer_no", "name", "industry", "region", "address", "group_no", "major"),
    "meter_card": ("meter_no", "customer_no", "dn_mm", "book_no", "installed_on", "removed_on", "vendor", "cycle_months"),
}
"""Tables of which `billing.<table>_history` keeps each state, and the columns that make a state; the first is the key."""

TIMES = "valid_from timestamp with time zone, first_day date, known_at timestamp with time zone"
"""Columns of a history beside those of a state."""

STATUSES = (
    """
    create or replace temp macro is_cancelled(status) as lower(coalesce(status, '')) in (
        'cancelled', 'canceled', 'cancellation', 'void', 'voided', 'deleted', 'reversed', 'withdrawn', 'invalid',
        '作废', '已作废', '取消', '已取消', '撤销', '已撤销', '冲销', '已冲销', '删除', '已删除', '无效'
    )""",
    """
    create or replace temp macro is_credit(status, volume, amount) as
        coalesce(volume < 0 or amount < 0, false)
        or lower(coalesce(status, '')) in ('credit', 'credited', 'credit note', '红冲', '冲红', '红字', '贷记')""",
    """
    create or replace temp macro is_estimate(kind) as lower(coalesce(kind, '')) in (
        'estimated', 'estimate', 'e', '估抄', '估计', '估读', '估算', '暂估'
    )""",
    """
    create or replace temp macro account_month_of(account_month, issued_on, period_end) as
        cast(date_trunc('month', coalesce(account_month, issued_on, period_end - 1)) as date)""",
    """
    create or replace temp macro charge_code(kind) as case
        when lower(kind) in ('water', '水费', '用水费') then 'water'
        when lower(kind) in ('drainage', 'sewerage', '排水费', '污水费', '污水处理费') then 'drainage'
        else lower(kind)
    end""",
    """
    create or replace temp macro paid_part(paid, share_from, share_to) as cast(
        round(coalesce(cast(paid as double), 0) * share_to, 4) - round(coalesce(cast(paid as double), 0) * share_from, 4)
        as decimal(18, 4)
    )""",
)
"""How billing's words and dates are read: a cancelled bill, a credit note, an estimate, the month to whose account a bill goes
(as billing has it, else that of its issue, else of the last day of its period), a kind of charge, and what of a payment falls to
one charge: the parts of all charges add up to the payment exactly."""


class BillingError(RuntimeError):
    """The billing system could not be read; the text says what to mend and never has the password."""


class Fetched(NamedTuple):
    """What a sync takes of one table: the good rows with the warehouse's types, those kept aside (columns of `billing.rejected`),
    every key that billing has with its number of rows (`key` null: rows without one), and the columns that billing delivers."""

    rows: pl.DataFrame
    rejected: pl.DataFrame
    keys: pl.DataFrame
    columns: tuple[str, ...]


class Known(NamedTuple):
    """What the warehouse has of a table: the watermark, `key` and `rows` at the last sync, and the columns delivered then."""

    watermark: str
    seen: pl.DataFrame
    columns: tuple[str, ...]


def ensure_tables(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Make schema `billing` and its tables where they are absent; a site without a billing system has them empty.

    A table of an earlier version with other columns keeps its rows.
    """
    warehouse.execute("create schema if not exists billing").fetchall()
    wanted = {table: ", ".join(f"{name} {kind.sql}" for name, kind in columns.items()) for table, columns in TABLES.items()}
    for table, columns in (wanted | ASIDE).items():
        ensure(warehouse, f"billing.{table}", columns)
    for table, kept in KEPT_IN_TIME.items():
        listed = ", ".join(f"{name} {TABLES[table][name].sql}" for name in kept)
        ensure(warehouse, f"billing.{table}_history", f"{listed}, {TIMES}")
    for statement in STATUSES:
        warehouse.execute(statement).fetchall()


def sync(
    connection: str, warehouse: duckdb.DuckDBPyConnection, *, overlap_days: int = 7, queries: Path = SQL / "billing"
) -> dict[str, int]:
    """Bring what changed in the billing system since the last sync, less `overlap_days`, into the warehouse.

    `connection` is an ODBC connection string. Gives the rows taken by table; also `rejected` where rows are kept aside in
    `billing.rejected`, and `withdrawn` where rows are gone in billing and moved to `billing.withdrawn`. All tables change in one
    transaction or none. Raises `BillingError`.
    """
    ensure_tables(warehouse)
    known = {table: _known(warehouse, table, overlap_days) for table in TABLES}
    fetched = _fetch_all(connection, queries, known)
    with transaction(warehouse):
        withdrawn = sum(_store(warehouse, table, part) for table, part in fetched.items())
        for table, part in fetched.items():
            _complete_history(warehouse, table, set(part.columns) - set(known[table].columns))
        keep_history(warehouse)
    counts = {table: part.rows.height for table, part in fetched.items() if part.columns}
    aside = {"rejected": sum(part.rejected.height for part in fetched.values()), "withdrawn": withdrawn}
    return counts | {name: count for name, count in aside.items() if count}


def keep_history(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Add the customers and cards that are others than last known to their histories.

    The first state holds since ever, a later one from after the last reading that the figures have of the meter (of a customer:
    of any meter), or from now on where there is none, so that what was reported does not move.
    """
    has_figures = warehouse.execute("select count(*) from duckdb_tables() where table_name = 'latest_reading'").fetchall() == [
        (1,)
    ]
    for table, columns in KEPT_IN_TIME.items():
        key, listed = columns[0], ", ".join(columns)
        own = f"where meter = fresh.{key}" if table == "meter_card" else ""
        last = f"(select max(reading_at) from latest_reading {own})" if has_figures else "null::timestamptz"
        # A day begins just after its midnight: a state from then on holds that day.
        warehouse.execute(
            f"""
            insert into billing.{table}_history by name
            with last as (
                select * exclude (valid_from, first_day, known_at) from billing.{table}_history
                qualify row_number() over (partition by {key} order by known_at desc) = 1
            ),
            fresh as (select {listed} from billing.{table} except select {listed} from last),
            dated as (
                select
                    *,
                    case
                        when {key} in (select {key} from last) then coalesce({last} + interval 1 microsecond, now())
                    end as valid_from
                from fresh
            )
            select *, date_trunc('day', valid_from - interval 2 microseconds)::date + 1 as first_day, now() as known_at from dated
            """
        ).fetchall()


def _complete_history(warehouse: duckdb.DuckDBPyConnection, table: str, columns: set[str]) -> None:
    """What a column that is delivered for the first time holds, holds since ever."""
    for name in columns.intersection(KEPT_IN_TIME.get(table, ())[1:]):
        key = KEPT_IN_TIME[table][0]
        warehouse.execute(
            f"update billing.{table}_history as held set {name} = fresh.{name} from billing.{table} as fresh "
            f"where held.{key} = fresh.{key} and held.{name} is null"
        ).fetchall()


def key_columns(table: str) -> tuple[str, ...]:
    """The columns that make a row of the table the same row."""
    return KEYS.get(table, (next(iter(TABLES[table])),))


def _watermark(warehouse: duckdb.DuckDBPyConnection, table: str, overlap_days: int) -> str:
    """The last change known, less the overlap. A change dated in the future does not count: it would hide the others."""
    past = f"select max(updated_at) - to_days(?) from billing.{table} where updated_at <= now() at time zone 'UTC'"
    last = warehouse.execute(past, [overlap_days]).fetchall()[0][0]
    return max(last.strftime("%Y-%m-%d %H:%M:%S"), BEGINNING) if last else BEGINNING


def _known(warehouse: duckdb.DuckDBPyConnection, table: str, overlap_days: int) -> Known:
    seen: pl.DataFrame = warehouse.sql("select key, rows from billing.seen where table_name = $name", params={"name": table}).pl()
    columns = warehouse.execute("select columns from billing.delivered where table_name = ?", [table]).fetchall()
    return Known(
        _watermark(warehouse, table, overlap_days),
        seen.cast({"key": pl.String, "rows": pl.UInt32}),
        tuple(columns[0][0].split()) if columns else (),
    )


def _fetch_all(connection: str, queries: Path, known: Mapping[str, Known]) -> dict[str, Fetched]:
    """Read every table in one session. A driver's error is told without its own text's secrets, and is not chained."""
    doing = "connect"
    try:
        with odbc.session(connection) as session:
            fetched = {}
            for table in TABLES:
                file = queries / f"{table}.sql"
                doing = str(file)
                fetched[table] = _fetch(session, table, file, known[table])
            return fetched
    except pyodbc.Error as error:
        problem = odbc.explained(error, doing, "billing")
    raise BillingError(without_secrets(problem, connection))


def check(connection: str) -> str:
    """Connect and say what answered, for `mainflow doctor`. Raises `BillingError`."""
    try:
        with odbc.session(connection) as session:
            return odbc.answered(session)
    except pyodbc.Error as error:
        problem = odbc.explained(error, "connect", "billing")
    raise BillingError(without_secrets(problem, connection))


def _fetch(session: pyodbc.Connection, table: str, file: Path, known: Known) -> Fetched:
    """Rows changed since the watermark, and those of keys that billing has more or fewer rows of than at the last sync.

    A row with an old or no time of change is found by its key, as is one that is gone. Where billing delivers other columns than
    at the last sync, every row is read. Empty where billing has no such table and need not.
    """
    key, seen = key_columns(table), known.seen
    if not file.exists() and _may_be_absent(table):
        return _typed(table, pl.DataFrame(schema={"key": pl.String}), seen.clear(), ())
    try:
        _, query = read_header(file)
    except (OSError, ValueError) as error:
        raise BillingError(f"query of billing table {table!r}: {error}") from None
    query, wanted = _shape(session, table, file, query, known)
    if not wanted:
        return _typed(table, pl.DataFrame(schema={"key": pl.String}), seen.clear(), ())
    watermark = known.watermark if wanted == known.columns else BEGINNING
    rows = _read(session, file, query, watermark, wanted).with_columns(key=_key_of(key))
    if watermark == BEGINNING:
        return _typed(table, rows, _counted(rows), wanted)
    keys = _counted(_read_some(session, file, query, BEGINNING, key).with_columns(key=_key_of(key)))
    fetched = rows.select("key").unique()
    changed = keys.join(seen.rename({"rows": "before"}), on="key", how="left", nulls_equal=True).filter(
        (pl.col("rows") != pl.col("before").fill_null(0))
        | ((pl.col("rows") > 1) & pl.col("key").is_in(fetched["key"].implode(), nulls_equal=True))
    )
    # What the watermark gave already needs no second reading, but for a key of several rows: some of them may be older.
    needed = changed.join(fetched, on="key", how="anti", nulls_equal=True).vstack(
        changed.filter(pl.col("rows") > 1).join(fetched, on="key", how="semi", nulls_equal=True)
    )
    if needed.height:
        every = _read(session, file, query, BEGINNING, wanted).with_columns(key=_key_of(key))
        keys = _counted(every)
        rows = pl.concat(
            [
                rows.join(needed, on="key", how="anti", nulls_equal=True),
                every.join(needed, on="key", how="semi", nulls_equal=True),
            ]
        )
    return _typed(table, rows, keys, wanted)


def _may_be_absent(table: str) -> bool:
    return OPTIONAL.get(table) == frozenset(TABLES[table])


def _shape(session: pyodbc.Connection, table: str, file: Path, query: str, known: Known) -> tuple[str, tuple[str, ...]]:
    """The query without the optional lines whose column billing lacks, and the columns of the table that it gives; none where
    billing has no such table, need not have it and never had."""
    lines = query.splitlines()
    optional = [place for place, line in enumerate(lines) if line.rstrip().endswith(OPTIONAL_LINE)]

    def without(places: Sequence[int]) -> str:
        return "\n".join(line for place, line in enumerate(lines) if place not in places)

    names = _names(session, query, known.watermark, may_lack=bool(optional) or (_may_be_absent(table) and not known.columns))
    if names is None and _may_be_absent(table):
        return query, ()
    if names is None:
        _names(session, without(optional), known.watermark)  # what must be there is: else the driver's own words tell
        lacking = [
            place
            for place in optional
            if _names(session, without([other for other in optional if other != place]), known.watermark, may_lack=True) is None
        ]
        query = without(lacking)
        names = _names(session, query, known.watermark) or []
    wanted, may_lack = TABLES[table], OPTIONAL.get(table, frozenset())
    must = [name for name in wanted if name not in may_lack or _may_be_absent(table)]
    if lacking_names := [name for name in must if name not in names]:
        raise BillingError(
            f"{file}: the query gives no column {', '.join(lacking_names)}; expected {', '.join(must)}; got {', '.join(names)}"
        )
    return query, tuple(name for name in wanted if name in names)


def _names(session: pyodbc.Connection, query: str, watermark: str, *, may_lack: bool = False) -> list[str] | None:
    """The columns that a query gives; None where it names one that is not there and `may_lack`."""
    try:
        with closing(session.execute(query, watermark)) as cursor:
            return [column[0].lower() for column in cursor.description or ()]
    except pyodbc.Error as error:
        if not may_lack or not odbc.ABSENT.search(str(error.args[-1])):
            raise
        session.rollback()
        return None


def _key_of(columns: Sequence[str]) -> pl.Expr:
    first, *others = (IDENTIFIER.parse(pl.col(name)) for name in columns)
    return pl.concat_str([first, *(other.fill_null("") for other in others)], separator=SEPARATOR)


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("key", maintain_order=True).agg(rows=pl.len())


def _read(session: pyodbc.Connection, file: Path, query: str, watermark: str, wanted: Sequence[str]) -> pl.DataFrame:
    """The query's rows as cleaned text."""
    if odbc.is_untyped(session):
        return _read_some(session, file, query, watermark, wanted)
    with closing(session.execute(query, watermark)) as cursor:
        names = [column[0].lower() for column in cursor.description or ()]
        return _cleaned(file, wanted, [names.index(name) for name in wanted], cursor)


def _read_some(session: pyodbc.Connection, file: Path, query: str, watermark: str, columns: Sequence[str]) -> pl.DataFrame:
    """Some columns of the query's rows as cleaned text."""
    listed = ", ".join(f"cast({name} as text)" if odbc.is_untyped(session) else name for name in columns)
    with closing(session.execute(f"select {listed} from ({query}) billing_rows", watermark)) as cursor:
        return _cleaned(file, columns, range(len(columns)), cursor)


def _cleaned(file: Path, columns: Sequence[str], places: Sequence[int], cursor: pyodbc.Cursor) -> pl.DataFrame:
    """Rows as text without blanks at the ends and without NUL characters, null where nothing is left."""
    try:
        frames = [odbc.texts(columns, places, rows) for rows in odbc.batches(cursor)]
    except ValueError as error:
        raise BillingError(f"{file}: {error}") from None
    found = pl.concat([pl.DataFrame(schema=dict.fromkeys(columns, pl.String())), *frames])
    _warn_of_nul(file, found)
    return found.select(odbc.plain(pl.col(name)).alias(name) for name in columns)


def _warn_of_nul(file: Path, rows: pl.DataFrame) -> None:
    """Name the cells in which a NUL character is dropped: no text of PostgreSQL may hold one."""
    key = rows.columns[0]
    for name in rows.columns:
        bad = rows.filter(pl.col(name).str.contains("\0", literal=True))
        if bad.height:
            shown = ", ".join(repr(value) for value in bad[key].head(SHOWN))
            LOG.warning("%s: NUL characters dropped in column %s of %d rows (%s: %s)", file.name, name, bad.height, key, shown)


def _typed(table: str, rows: pl.DataFrame, keys: pl.DataFrame, delivered: tuple[str, ...]) -> Fetched:
    """Texts become the table's types, null in a column that is not delivered. Kept aside with the reason: a row in which one
    cannot, that has no key, or whose key a newer row has as well."""
    columns = TABLES[table]
    first = key_columns(table)[0]
    rows = rows.with_columns(pl.lit(None, pl.String).alias(name) for name in columns if name not in delivered)
    typed = rows.select(
        *(kind.parse(pl.col(name)).alias(name) for name, kind in columns.items()),
        pl.coalesce(
            pl.when(kind.parse(pl.col(name)).is_null() & (pl.lit(name == first) | pl.col(name).is_not_null())).then(
                pl.format(f"{name} is {{}}; expected {kind.expected}", pl.col(name).fill_null("empty"))
            )
            for name, kind in columns.items()
        ).alias("reason"),
        pl.struct(pl.col(list(columns))).struct.json_encode().alias("source_row"),
        "key",
    )
    usable = typed.filter(pl.col("reason").is_null()).sort("updated_at", nulls_last=False, maintain_order=True)
    newest = usable.unique("key", keep="last", maintain_order=True)
    older = usable.filter(~pl.col("key").is_last_distinct()).with_columns(
        reason=pl.format(f"{' and '.join(key_columns(table))} is there {{}} times; the newest is used", pl.len().over("key") + 1)
    )
    rejected = pl.concat([typed.filter(pl.col("reason").is_not_null()), older]).select(
        table_name=pl.lit(table), row_key=pl.col(first), reason="reason", source_row="source_row", key="key"
    )
    return Fetched(newest.select(*columns, "key"), rejected, keys, delivered)


def _store(warehouse: duckdb.DuckDBPyConnection, table: str, part: Fetched) -> int:
    """Put the rows in place of those with the same key; move away what is gone in billing. Gives the rows moved away."""
    own = _key_sql(table)
    is_gone = f"{own} not in (select key from incoming_keys where key is not null)"
    frames = {"incoming": part.rows, "incoming_rejected": part.rejected, "incoming_keys": part.keys}
    for name, frame in frames.items():
        warehouse.register(name, frame)
    try:
        ((gone,),) = warehouse.execute(
            f"insert into billing.withdrawn by name select '{table}' as table_name, {key_columns(table)[0]} as row_key, "
            f"cast(now() at time zone 'UTC' as timestamp) as withdrawn_at, to_json(billed) as source_row, {own} as key "
            f"from billing.{table} as billed where {is_gone}"
        ).fetchall()
        for statement in (
            *_notes_of_change(table, is_gone),
            f"delete from billing.{table} where {is_gone} or {own} in (select key from incoming)",
            f"insert into billing.{table} by name select * exclude (key) from incoming",
            f"delete from billing.withdrawn where table_name = '{table}' and key in (select key from incoming)",
            # A row is aside once, and no longer when it has been mended or is gone.
            f"delete from billing.rejected where table_name = '{table}' and ("
            "key in (select key from incoming) or key in (select key from incoming_rejected) "
            "or source_row in (select source_row from incoming_rejected) "
            "or not exists (select 1 from incoming_keys where incoming_keys.key is not distinct from rejected.key))",
            "insert into billing.rejected by name select * from incoming_rejected",
            f"delete from billing.seen where table_name = '{table}'",
            f"insert into billing.seen by name select '{table}' as table_name, key, rows from incoming_keys",
            f"delete from billing.delivered where table_name = '{table}'",
            f"insert into billing.delivered values ('{table}', '{' '.join(part.columns)}')",
        ):
            warehouse.execute(statement).fetchall()
    finally:
        for name in frames:
            warehouse.unregister(name)
    return int(gone)


MONTH_OF = {
    "bill": "account_month_of(account_month, issued_on, period_end)",
    "payment": "cast(date_trunc('month', paid_on) as date)",
    "meter_read": "cast(date_trunc('month', read_at - interval 1 microsecond) as date)",
    "meter_card": "cast(date_trunc('month', coalesce(removed_on, installed_on)) as date)",
}
"""By table: the month of account whose figures a row changes first; those of later months follow."""


def _notes_of_change(table: str, is_gone: str) -> Iterator[str]:
    """Bills and months of account of which a row is gone or other than it was; the overlap of two syncs brings many that are
    not."""
    own, fresh = f"select * from billing.{table}", "select * exclude (key) from incoming"
    is_replaced = f"{_key_sql(table)} in (select key from incoming)"
    changed = f"({own} where {is_gone}) union all ({fresh} except {own}) union all ({own} where {is_replaced} except {fresh})"
    if table in ("bill", "charge", "payment"):
        yield f"insert into billing.changed_bill select distinct bill_no from ({changed}) where bill_no is not null"
    if table in MONTH_OF:
        yield f"insert into billing.changed_month select distinct {MONTH_OF[table]} from ({changed})"
    if table == "charge":
        yield (
            f"insert into billing.changed_month select distinct {MONTH_OF['bill']} from billing.bill "
            f"where bill_no in (select bill_no from ({changed}))"
        )


def forget_changes(warehouse: duckdb.DuckDBPyConnection) -> None:
    """Figures of every changed bill and month are made and published."""
    for table in ("changed_bill", "changed_month"):
        warehouse.execute(f"delete from billing.{table}").fetchall()


def _key_sql(table: str) -> str:
    """A row's key as one text, as `_key_of` gives it."""
    first, *others = key_columns(table)
    return "".join((first, *(f" || chr(9) || coalesce({name}, '')" for name in others)))
