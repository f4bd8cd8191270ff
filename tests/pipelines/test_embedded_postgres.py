"""The embedded PostgreSQL as an attacker and as an unlucky operator meet it: passwords, roles, files, links."""

import itertools
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest_daemon.contract.site import Site
from pipelines.processes import postgres
from pipelines.processes.postgres import PostgresError, address_file, embedded

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes users and changes owners: run as root to try it")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("a site 站点 'quoted'") / "site")


@pytest.fixture(scope="module")
def address(site: Site) -> Iterator[dict[str, str]]:
    """The connection strings of a server that runs, with a published table and one of the desk."""
    with embedded(site, 0):
        found = json.loads(address_file(site).read_text())
        with psycopg.connect(found["dsn"]) as owner:
            owner.execute(
                "create schema mart; create table mart.daily_usage (meter text); insert into mart.daily_usage values ('M1')"
            )
            owner.execute("create table ops.secret (phone text); insert into ops.secret values ('13800000000')")
            owner.execute("grant usage on schema mart to mainflow_board; grant select on mart.daily_usage to mainflow_board")
        yield found


REFUSED = {
    "a file of the server is read": "select pg_read_file('/etc/passwd')",
    "a folder of the server is listed": "select pg_ls_dir('/')",
    "a program is run": "copy (select 1) to program 'id'",
    "a file is written": "copy (select 1) to '/written-by-a-board'",
    "a large object is written": "select lo_from_bytea(0, 'x')",
    "a row is changed": "set default_transaction_read_only = off; update mart.daily_usage set meter = 'M2'",
    "a table is made": "set default_transaction_read_only = off; create table mart.mine (x int)",
    "a table is made where everybody once could": "set default_transaction_read_only = off; create table public.mine (x int)",
    "a schema is dropped": "set default_transaction_read_only = off; drop schema mart cascade",
    "another schema is read": "select * from ops.secret",
    "passwords are read": "select rolpassword from pg_authid",
    "another role is taken": "set role mainflow_owner",
    "a role is made": "create role mine superuser",
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_role_of_boards_is_refused_when(what: str, address: dict[str, str]) -> None:
    with psycopg.connect(address["board_dsn"], autocommit=True) as board, pytest.raises(psycopg.Error):
        board.execute(REFUSED[what])


def test_the_role_of_boards_reads_what_is_published_and_not_for_ever(address: dict[str, str]) -> None:
    with psycopg.connect(address["board_dsn"]) as board:
        assert board.execute("select meter from mart.daily_usage").fetchall() == [("M1",)]
        assert board.execute("show statement_timeout").fetchone() == ("30s",)


def test_the_owner_is_no_superuser(address: dict[str, str]) -> None:
    with psycopg.connect(address["dsn"]) as owner:
        query = "select rolsuper or rolcreaterole or rolcreatedb from pg_roles where rolname = current_user"
        assert owner.execute(query).fetchone() == (False,)


@pytest.mark.parametrize("user", ["postgres", "mainflow_owner", "mainflow_desk", "mainflow_board"])
def test_nobody_comes_in_without_a_password(user: str, address: dict[str, str]) -> None:
    port = re.search(r"port=(\d+)", address["dsn"])[1]  # type: ignore[index]
    for word in ("", "password=wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"host=127.0.0.1 port={port} user={user} dbname=postgres {word}")


def test_passwords_lie_where_no_other_user_reads_them(site: Site, address: dict[str, str]) -> None:
    for name in ("postgres.json", "postgres-roles.json"):
        assert stat.S_IMODE((site.state / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(site.postgres.stat().st_mode) == 0o700


def test_the_folders_above_stay_closed(tmp_path: Path) -> None:
    above = tmp_path / "closed"
    above.mkdir(mode=0o700)
    with embedded(Site(above / "site"), 0) as dsn:
        psycopg.connect(dsn).close()
    assert stat.S_IMODE(above.stat().st_mode) == 0o700


@pytest.mark.parametrize("case", ["a server that trusted everybody", "lost passwords", "tables that the superuser made"])
def test_a_site_of_before_is_closed_and_keeps_its_rows(case: str, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with embedded(site, 0) as dsn:
        maker = dsn
        if case == "tables that the superuser made":
            word = json.loads((site.state / "postgres-roles.json").read_text())["postgres"]
            maker = re.sub(r"user=\S+ password=\S+", f"user=postgres password={word}", dsn)
        with psycopg.connect(maker) as connection:
            connection.execute("create schema mart; create table mart.daily_usage as select 'M1' as meter")
            connection.execute("create view mart.seen as select * from mart.daily_usage")
    if case == "a server that trusted everybody":
        (site.postgres / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    (site.state / "postgres-roles.json").unlink()
    with embedded(site, 0) as dsn, psycopg.connect(dsn) as connection:
        assert connection.execute("select meter from mart.seen").fetchall() == [("M1",)]
        connection.execute("alter table mart.daily_usage add column day date")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(re.sub(r"password=\S+", "", dsn))


@as_root
def test_root_changes_no_owner_through_a_link(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with embedded(site, 0):
        pass
    target = tmp_path / "not of the server"
    target.write_text("mine")
    (site.postgres / "link").symlink_to(target)
    with embedded(site, 0):
        pass
    assert target.stat().st_uid == 0
    linked = Site(tmp_path / "linked")
    linked.root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    linked.postgres.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PostgresError, match="is a link, which root does not follow"), embedded(linked, 0):
        pass
    assert (tmp_path / "elsewhere").stat().st_uid == 0


def useradd_fails(monkeypatch: pytest.MonkeyPatch, times: int, said: str) -> Iterator[int]:
    """Let the making of the server's user fail so many times; counts them."""
    made, counted = postgres.ensure_user_exists, itertools.count(1)

    def useradd(name: str) -> Any:
        if next(counted) <= times:
            raise subprocess.CalledProcessError(9, "useradd", stderr=said)
        return made(name)

    monkeypatch.setattr(postgres, "ensure_user_exists", useradd)
    return counted


@as_root
def test_of_two_first_starts_at_once_one_makes_the_user_of_the_server_and_both_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = useradd_fails(monkeypatch, 2, "useradd: user 'pgserver' already exists")
    with embedded(Site(tmp_path / "site"), 0) as dsn:
        psycopg.connect(dsn).close()
    assert next(counted) == 4


@as_root
def test_a_user_of_the_server_that_cannot_be_made_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STOP_S", 0.5)
    useradd_fails(monkeypatch, 99, "useradd: cannot lock /etc/passwd")
    told = pytest.raises(PostgresError, match=r"pgserver.*cannot be made \(useradd: cannot lock /etc/passwd\): make it \(useradd")
    with told, embedded(Site(tmp_path / "site"), 0):
        pass


def test_an_address_that_a_killed_server_left_is_not_taken_for_ours(tmp_path: Path, address: dict[str, str]) -> None:
    stranger = Site(tmp_path / "site")
    stranger.state.mkdir(parents=True)
    address_file(stranger).write_text(json.dumps(address))
    assert postgres.running_dsn(stranger) is None
