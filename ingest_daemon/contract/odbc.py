"""ODBC sessions with the databases of other systems: bounded in time, values as clean text, errors in a person's words."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import polars as pl
import pyodbc

from ingest_daemon.contract.identifiers import half_width

LOGIN_TIMEOUT_S = 15
QUERY_TIMEOUT_S = 300
ROWS = 50_000
"""Rows fetched at a time: bounds the Python objects that ODBC makes of them."""

READ_ONLY: dict[str, tuple[str, ...]] = {
    "SQLite": ("pragma query_only = on",),
    "PostgreSQL": ("set session characteristics as transaction read only",),
}
BOUNDED: dict[str, tuple[str, ...]] = {"PostgreSQL": (f"set statement_timeout = '{QUERY_TIMEOUT_S}s'",)}
"""By name of the database: what makes a session read-only, and bounded, where its driver takes no attribute for it."""

ABSENT = re.compile(
    r"no such (?:table|column)|does not exist|invalid (?:object|column) name|ORA-00942|ORA-00904|unknown (?:table|column)", re.I
)
LOGIN = re.compile(r"password|authentication|login failed|access denied|ORA-01017", re.I)

NUMERAL = r"^[+-]?(\d+|\d{1,3}(,\d{3})+)?(\.\d*)?([eE][+-]?\d+)?$"
"""A number, its thousands parted by commas or not; a decimal comma does not fit and is refused."""


@contextmanager
def session(connection: str, *, writes: bool = False) -> Iterator[pyodbc.Connection]:
    """A session with a database; only reads unless it `writes`. Raises `pyodbc.Error`."""
    with closing(pyodbc.connect(connection, timeout=LOGIN_TIMEOUT_S, readonly=not writes)) as opened:
        with suppress(pyodbc.Error):  # psqlODBC knows no such attribute; its session is bounded by a statement instead
            opened.timeout = QUERY_TIMEOUT_S
        database = database_name(opened)
        for statement in (*BOUNDED.get(database, ()), *(() if writes else READ_ONLY.get(database, ()))):
            opened.execute(statement)
        opened.commit()
        yield opened


def database_name(opened: pyodbc.Connection) -> str:
    """The name of the database system."""
    return str(opened.getinfo(pyodbc.SQL_DBMS_NAME))


def answered(opened: pyodbc.Connection) -> str:
    """Name and version of the database system."""
    return f"{database_name(opened)} {opened.getinfo(pyodbc.SQL_DBMS_VER)}"


def is_untyped(opened: pyodbc.Connection) -> bool:
    """Whether a column may hold any type: SQLite's driver then converts by the declared one, '4,320' to 4 and 'abc' to null."""
    return database_name(opened) == "SQLite"


def batches(cursor: pyodbc.Cursor) -> Iterator[list[Any]]:
    """The rows of a cursor, `ROWS` at a time."""
    while rows := cursor.fetchmany(ROWS):
        yield rows


def texts(columns: Sequence[str], places: Iterable[int], rows: list[Any]) -> pl.DataFrame:
    """Every value as text, whatever the driver made of it: SQLite's delivers a whole column as text when its first value is null,
    others deliver decimals, truth values and times in forms of their own. Raises `ValueError` for a column of bytes."""
    cells = list(zip(*rows, strict=True))
    frame = {}
    for name, place in zip(columns, places, strict=True):
        if any(isinstance(value, (bytes, bytearray)) for value in cells[place]):
            raise ValueError(f"column {name} came as bytes; cast it in the query to text")
        frame[name] = pl.Series(name, [None if value is None else str(value) for value in cells[place]], dtype=pl.String)
    return pl.DataFrame(frame)


def plain(text: pl.Expr) -> pl.Expr:
    """Text without blanks at its ends and without NUL characters, null where nothing is left."""
    stripped = text.str.replace_all("\0", "", literal=True).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def numeral(text: pl.Expr) -> pl.Expr:
    """The text of a number without commas, null where it is none."""
    half = half_width(text)
    return pl.when(half.str.contains(NUMERAL)).then(half.str.replace_all(",", "", literal=True))


def number(text: pl.Expr) -> pl.Expr:
    """Text as a number, null where it is none."""
    value = numeral(text).cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def explained(error: pyodbc.Error, doing: str, what: str) -> str:
    """What is wrong and what to mend. `doing`: "connect", or what was asked for; `what`: the other system, like "billing"."""
    state, words = (str(error.args[0]), " ".join(str(error.args[-1]).split())) if error.args else ("", str(error))
    if state in ("IM002", "IM003", "IM004") or "Can't open lib" in words:
        installed = ", ".join(pyodbc.drivers()) or "none"
        return f"the ODBC driver or data source of the {what} connection is not there; installed drivers: {installed}: {words}"
    if doing != "connect":
        return f"{doing} {'names a table or column that is not there' if ABSENT.search(words) else 'failed'}: {words}"
    if state.startswith("28") or LOGIN.search(words):
        return f"the {what} database refuses the log-in; check UID and PWD of the connection: {words}"
    return f"the {what} database cannot be reached; check server, port and database of the connection: {words}"
