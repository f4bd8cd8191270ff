"""Another system for tests: its intermediate tables, written by plain SQL and read through a real ODBC driver."""

import csv
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pyodbc
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import conninfo_to_dict

from ingest_daemon.contract.registry_files import FILES
from ingest_daemon.contract.site import Site
from pipelines.cli.main import main
from tests.daemon_helpers import REPOSITORY, make_site
from tests.site_helpers import TERMINAL

DDL = REPOSITORY / "deploy" / "amr"
SHANGHAI = ZoneInfo("Asia/Shanghai")
PASSWORD = "geheim-4711"
NAME = "v02"


def local(moment: datetime) -> str:
    """A time as the other system writes it."""
    return f"{moment.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"


class Vendor:
    """The other system: a SQLite file, or a schema of PostgreSQL, with the tables of `deploy/amr/`."""

    def __init__(self, file: Path | None = None, dsn: str = "") -> None:
        self._file, self._dsn = file, dsn
        if dsn:
            parts = conninfo_to_dict(dsn)
            place = f"Server={parts['host']};Port={parts.get('port', 5432)};Database={parts['dbname']};UID={parts['user']}"
            self.connection = f"DRIVER=PostgreSQL Unicode;{place};PWD={PASSWORD}"
            self.execute("drop table if exists amr_reading, amr_alarm")
            script = (DDL / "postgresql.sql").read_text(encoding="utf-8")
            with psycopg.connect(dsn, autocommit=True) as database:
                database.execute(script)  # type: ignore[arg-type]
        else:
            self.connection = f"DRIVER=SQLite3;Database={file};PWD={PASSWORD}"
            with closing(sqlite3.connect(str(file))) as database:
                database.execute("pragma journal_mode = wal")
                database.executescript((DDL / "sqlite.sql").read_text(encoding="utf-8"))

    def _open(self) -> Any:
        return psycopg.connect(self._dsn) if self._dsn else sqlite3.connect(str(self._file), timeout=30)

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run SQL with marks `?` as the other system; gives its rows."""
        with closing(self._open()) as database, database:
            cursor = database.execute(statement.replace("?", "%s") if self._dsn else statement, values)
            return cursor.fetchall() if cursor.description else []

    def write(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows; those of one call have the same columns."""
        listed = list(rows)
        names = list(listed[0])
        marks = ", ".join(["%s" if self._dsn else "?"] * len(names))
        statement = f"insert into {table} ({', '.join(names)}) values ({marks})"
        with closing(self._open()) as database, database:
            database.cursor().executemany(statement, [tuple(row.values()) for row in listed])

    def read(self, tag: str, read_at: datetime, forward: float | str | None, **columns: Any) -> None:
        """Deliver one reading."""
        self.write("amr_reading", [{"tag": tag, "read_at": local(read_at), "forward_volume": forward, **columns}])

    def count(self, table: str = "amr_reading") -> int:
        """Rows that are there."""
        ((rows,),) = self.execute(f"select count(*) from {table}")
        return int(rows)


def need_driver(name: str = "SQLite3", package: str = "libsqliteodbc") -> None:
    """Skip where the driver is not installed."""
    if name not in pyodbc.drivers():
        pytest.skip(f"no ODBC driver {name!r} (Debian: apt-get install {package})")


def source_of(vendor: Vendor, name: str = NAME, **more: Any) -> dict[str, Any]:
    """A row of `[amr] sources`."""
    return {"name": name, "connection": vendor.connection, "purge_connection": vendor.connection, **more}


def amr_site(root: Path, sources: list[dict[str, Any]], terminals: int = 3, tags: Iterable[tuple[Any, ...]] = ()) -> Site:
    """A site with terminals AMR0000001 … of source amr, and their tags."""
    rows = ", ".join("{" + ", ".join(f"{key} = {_toml(value)}" for key, value in source.items()) + "}" for source in sources)
    site = make_site(root, f"\n[amr]\nsources = [{rows}]\n")
    numbers = [f"AMR{number:07}" for number in range(1, terminals + 1)]
    listed = [{**TERMINAL, "terminal": number, "meter": f"M-{number}", "protocol": "amr", "source": "amr"} for number in numbers]
    write_registry(site, "terminals", listed)
    map_tags(site, tags)
    return site


def map_tags(site: Site, tags: Iterable[tuple[Any, ...]], source: str = NAME) -> None:
    """Write `registry/tags.csv`: tag, terminal, valid_from, valid_to of each row."""
    names = ("tag", "terminal", "valid_from", "valid_to")
    write_registry(site, "tags", [{"source": source, **dict(zip(names, row, strict=False))} for row in tags])


def write_registry(site: Site, file: str, rows: list[dict[str, Any]]) -> None:
    """Write a file of the registry."""
    with (site.registry / f"{file}.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(FILES[file]))
        writer.writeheader()
        writer.writerows(rows)


def _toml(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def mainflow(site: Site, *words: str) -> Result:
    """The command `mainflow amr …` in this process."""
    first, *rest = words
    return CliRunner().invoke(main, ["amr", first, "--site", str(site.root), *rest], catch_exceptions=False)


def synced(site: Site, source: str = NAME) -> str:
    """What `mainflow amr sync` prints; it must succeed."""
    result = mainflow(site, "sync", source)
    assert result.exit_code == 0, result.output
    return result.output


def hours_ago(hours: float) -> datetime:
    """A whole minute in the past."""
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=hours)
