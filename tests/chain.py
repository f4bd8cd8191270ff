"""The product as a user runs it, for tests: the installed command, a site folder, and tables read back to compare."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import psycopg
import pytest

from assets.object_files import register
from assets.publication import LEDGERS
from ingest_daemon.stores import open_lake
from ingest_daemon.stores.settings import StoreSettings
from ingest_daemon.stores.storage import LocalStorage
from pipelines.settings import load

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
HISTORY = ("gap", "gap_ledger", "gap_changed")
"""Tables that remember when something was seen, beside the ledgers of runs."""

ARRIVED = ("delivery_day", "quality_score", "reading_success", "kept_aside", "quarantine")
"""Tables that depend on when readings came."""

COMMAND = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]
FREE_PORTS = {
    "MAINFLOW_DAEMON_DATA_PORT": "0",
    "MAINFLOW_DAEMON_ALARM_PORT": "0",
    "MAINFLOW_DAEMON_HEALTH_PORT": "0",
    "MAINFLOW_DESK_PORT": "0",
}


def shared(name: str) -> Path:
    """A folder of the shared data, or a skip that says what is missing."""
    folder = SHARED / name
    if not folder.exists():
        pytest.skip(f"the shared test data are not beside the repository: {folder}")
    return folder


def mainflow(
    *arguments: object, environment: Mapping[str, str] | None = None, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Run the command with free ports; fails with its output unless it ended with 0."""
    import os

    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, **FREE_PORTS, "COLUMNS": "200", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=280,
    )
    if check:
        assert done.returncode == 0, (
            f"mainflow {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done


@contextmanager
def opened(marts: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse of a site, to read, with the files beside it or in its lake; times in UTC."""
    with duckdb.connect(str(marts), read_only=True) as connection:
        lake = open_lake(load(marts.parent)[StoreSettings]) if (marts.parent / "site.toml").exists() else None
        if lake is not None and not isinstance(lake, LocalStorage):
            register(connection, lake.at("units"))
        folder = str(marts.parent).replace("'", "''")
        connection.execute(f"set file_search_path = '{folder}'").fetchall()
        connection.execute("set timezone = 'UTC'").fetchall()
        yield connection


def table_names(marts: Path) -> list[str]:
    """The tables, in the warehouse or files beside it, that must be the same after the same readings."""
    with opened(marts) as connection:
        rows = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'main' order by 1"
        ).fetchall()
    return [name for (name,) in rows if name not in (*LEDGERS, *HISTORY)]


def table(marts: Path, name: str, without: tuple[str, ...] = ()) -> pl.DataFrame:
    """All rows of a table in a fixed order."""
    with opened(marts) as connection:
        frame = connection.sql(f"select * from {name} order by all").pl()
    return frame.drop(*without, strict=False)


def tables(marts: Path, without: tuple[str, ...] = ()) -> dict[str, pl.DataFrame]:
    """Every table of `table_names`, whole; without the time of arrival, none that depends on it."""
    names = [name for name in table_names(marts) if "received_at" not in without or name not in ARRIVED]
    return {name: table(marts, name, without) for name in names}


def assert_same_tables(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> None:
    """Equal to the last bit, table by table; the message names the first that differs."""
    assert left.keys() == right.keys()
    for name, frame in left.items():
        assert frame.height == right[name].height, f"{name}: {frame.height} rows against {right[name].height}"
        assert frame.equals(right[name]), (
            f"{name} differs:\n{frame.join(right[name], on=frame.columns, how='anti', nulls_equal=True)}"
        )


def published(dsn: str, name: str) -> pl.DataFrame:
    """All rows of a published table."""
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(f"select * from mart.{name}")  # type: ignore[call-overload]
        columns = [column.name for column in cursor.description]
        return pl.DataFrame(cursor.fetchall(), schema=columns, orient="row", infer_schema_length=None)
