"""The intermediate tables: their columns, and their rows as clean text. Nothing is converted here."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import polars as pl
import pyodbc

from ingest_daemon.amr.errors import AmrError
from ingest_daemon.contract import odbc
from ingest_daemon.contract.secrets import without_secrets

READING = (
    "row_id",
    "tag",
    "read_at",
    "forward_volume",
    "reverse_volume",
    "flow",
    "pressure",
    "battery_v",
    "signal_level",
    "status_word",
    "written_at",
)
ALARM = ("row_id", "tag", "alarm_code", "raised_at", "cleared_at", "alarm_value", "limit_value", "alarm_text", "written_at")
"""The columns, as `deploy/amr/*.sql` makes them."""

IN_ONE_DELETE = 500
"""Databases allow some thousand parameters in a statement."""


class Mark(NamedTuple):
    """How far a table is imported: the highest row, and the newest time of writing."""

    row_id: int = 0
    written_at: str = ""


class SourceTable:
    """A table of a source within a session."""

    def __init__(self, session: pyodbc.Connection, name: str, columns: Sequence[str], batch: int) -> None:
        self._session, self.name, self._columns, self._batch = session, name, columns, batch
        listed = (f"cast({column} as text)" for column in columns) if odbc.is_untyped(session) else columns
        self._select = f"select {', '.join(listed)} from {name} where "

    def new(self, row_id: int) -> Iterator[pl.DataFrame]:
        """The rows beyond a row, in order, some at a time."""
        yield from self._windows(row_id, "")

    def late(self, row_id: int, written_at: str) -> Iterator[pl.DataFrame]:
        """Rows up to a row that were written, or written again, since a time, in the order of writing."""
        yield from self._pages("row_id <= ? and written_at >= ? order by written_at, row_id", row_id, written_at)

    def of_tag(self, tag: str, row_id: int) -> Iterator[pl.DataFrame]:
        """The rows of a tag up to a row, in the order of writing."""
        yield from self._pages("tag = ? and row_id <= ? order by written_at, row_id", tag, row_id)

    def old(self, row_id: int, written_before: str) -> Iterator[pl.DataFrame]:
        """Rows up to a row that were written before a time, in order; those of one page may be deleted before the next."""
        yield from self._windows(0, " and row_id <= ? and written_at < ?", row_id, written_before)

    def delete(self, row_ids: Sequence[int], written_before: str) -> int:
        """Delete rows, but none that was written since; gives how many went."""
        gone = 0
        for start in range(0, len(row_ids), IN_ONE_DELETE):
            part = row_ids[start : start + IN_ONE_DELETE]
            marks = ", ".join("?" * len(part))
            statement = f"delete from {self.name} where row_id in ({marks}) and written_at < ?"
            with closing(self._session.execute(statement, *part, written_before)) as cursor:
                gone += cursor.rowcount
            self._session.commit()
        return gone

    def _windows(self, after: int, more: str, *values: Any) -> Iterator[pl.DataFrame]:
        """The rows beyond a row, some at a time, each time by a query of its own: no cursor stays open, none grows."""
        first_of = f"select min(row_id) from {self.name} where row_id > ?{more}"
        while (first := self._one(first_of, after, *values)) is not None:
            page = self._rows(f"row_id between ? and ?{more}", first, first + self._batch - 1, *values)
            if page.is_empty():  # deleted meanwhile
                return
            yield page
            after = int(page["row_id"].cast(pl.Int64).max())  # type: ignore[arg-type]

    def _one(self, query: str, *values: Any) -> int | None:
        with closing(self._session.execute(query, *values)) as cursor:
            row = cursor.fetchone()
        return None if row is None or row[0] is None else int(row[0])

    def _rows(self, condition: str, *values: Any) -> pl.DataFrame:
        return pl.concat([self._empty(), *self._pages(f"{condition} order by row_id", *values)])

    def _pages(self, condition: str, *values: Any) -> Iterator[pl.DataFrame]:
        with closing(self._session.execute(self._select + condition, *values)) as cursor:
            while rows := cursor.fetchmany(self._batch):
                yield odbc.texts(self._columns, range(len(self._columns)), rows).with_columns(
                    odbc.plain(pl.col(self._columns)).name.keep()
                )

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema=dict.fromkeys(self._columns, pl.String()))


@contextmanager
def opened(connection: str, source: str, *, writes: bool = False) -> Iterator[pyodbc.Connection]:
    """A session with a source; whatever fails with it within the block is an `AmrError` without the password."""
    doing = "connect"
    try:
        with odbc.session(connection, writes=writes) as session:
            doing = f"reading of source {source}"
            yield session
        return
    except pyodbc.Error as error:
        problem = odbc.explained(error, doing, source)
    except ValueError as error:
        problem = f"source {source}: {error}"
    raise AmrError(without_secrets(problem, connection))
