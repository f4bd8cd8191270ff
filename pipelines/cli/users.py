"""`mainflow users`: Grafana and PostgreSQL brought to what `registry/access.csv` says of people."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.console import coloured, console
from pipelines.cli.options import SITE, examples, report_failures

if TYPE_CHECKING:
    from dashboards.people import Account, Wanted
    from ingest_daemon.contract.registry_files import Person
    from ingest_daemon.contract.settings import Settings

PASSWORD_VARIABLE = "GRAFANA_ADMIN_PASSWORD"
"""The password of the administrator of a Grafana that others started."""


@click.group(epilog=examples("mainflow users check --site site", "mainflow users apply --site site"))
def users() -> None:
    """用户 / who may see the boards of which region: registry/access.csv in Grafana, its organisations, and PostgreSQL."""


@users.command(epilog=examples("mainflow users check --site site"))
@SITE
@report_failures
def check(root: Path) -> None:
    """检查 / print what `apply` would change; exit code 1 where something cannot be."""
    _bring(root, is_dry=True)


@users.command(epilog=examples("mainflow users apply --site site"))
@SITE
@report_failures
def apply(root: Path) -> None:
    """执行 / make accounts, teams, home boards, and an organisation a region; a second time there is nothing to do.

    First passwords go into state/first-passwords.csv (0600): hand them out, then delete the file.
    """
    _bring(root, is_dry=False)


def _bring(root: Path, *, is_dry: bool) -> None:
    from dashboards import people
    from dashboards.organisations import Writer
    from dashboards.provisioning import FAILURES
    from ingest_daemon.contract.registry_files import read_people
    from pipelines.settings import load

    settings = load(root)
    site = settings.folder
    access = read_people(site.registry)
    regions = sorted({person.region for person in access.people if person.region})
    made = _made(settings)
    done = people.Done([], [], [])
    try:
        if access.people or access.problems or made:
            wanted, changes = _wanted(settings, access.people, access.refused, regions, is_dry=is_dry)
            writer = Writer(*_grafana(settings), is_dry=is_dry)
            writer.changes += changes
            done = people.apply(writer, wanted, made, lambda account, password: _hand_over(settings, account, password))
    except FAILURES as error:
        raise RuntimeError(f"Grafana: {error}") from error
    for text in done.changes:
        console.print(("将 / would: " if is_dry else "✓ ") + text, soft_wrap=True)
    for text in done.notes:
        console.print(text, soft_wrap=True)
    for text in (*map(str, access.problems), *done.problems):
        console.print(coloured("red", "✗ ", text), soft_wrap=True)
    if not done.changes:
        console.print("没有要做的 / nothing to do")
    passwords = _first_passwords(settings)
    if passwords.exists():
        console.print(f"初始密码 / first passwords: {passwords}；分发后删除 / hand them out, then delete it", soft_wrap=True)
    raise SystemExit(1 if access.problems or done.problems else 0)


def _wanted(
    settings: "Settings",
    persons: "tuple[Person, ...]",
    refused: frozenset[str],
    regions: list[str],
    *,
    is_dry: bool,
) -> "tuple[Wanted, list[str]]":
    """What Grafana is to be like, and the roles that were made for it in PostgreSQL, or would be."""
    from psycopg.conninfo import conninfo_to_dict

    from dashboards import all_boards
    from dashboards.people import Account, Wanted
    from desk.grafana import ROLES
    from ingest_daemon.contract.regions import organisation
    from ingest_daemon.contract.settings import SiteSettings
    from pipelines.processes import servers

    own = settings[SiteSettings]
    dsns, changes = _roles(settings, regions, is_dry=is_dry)
    of_grafana = {role: name for name, role in ROLES.items()}
    accounts = [
        Account(
            person.login,
            person.name,
            person.email,
            of_grafana[person.role],
            organisation(person.region) if person.region else "",
            person.team,
            person.home,
            person.language,
            person.theme,
        )
        for person in persons
    ]
    organisations = {organisation(region): conninfo_to_dict(dsn) for region, dsn in dsns.items()}
    boards = all_boards(own.language, servers.links(settings))
    return Wanted(accounts, organisations, boards, own.language, own.zone, refused), changes


def _roles(settings: "Settings", regions: list[str], *, is_dry: bool) -> tuple[dict[str, str], list[str]]:
    """The connection string of each region's role; roles that are missing are made, with their rights."""
    import psycopg

    from assets.publication import limit_regions
    from ingest_daemon.contract.regions import board_role
    from ingest_daemon.contract.settings import PostgresSettings
    from pipelines.processes import postgres, region_roles, servers

    if not regions:
        return {}, []
    site, own = settings.folder, settings[PostgresSettings]
    dsns = region_roles.dsns(site, regions, servers.board_dsn(settings))
    missing = region_roles.missing(dsns)
    owner = own.dsn or postgres.running_dsn(site)
    if missing and not is_dry:
        administrator = own.dsn or postgres.administrator_dsn(site)
        if administrator is None or owner is None:
            raise postgres.PostgresError("the embedded PostgreSQL does not run: start it with mainflow up")
        region_roles.make(dsns, missing, administrator, site.state / "region-roles.sql")
    if owner and not is_dry:
        with psycopg.connect(owner, autocommit=True) as connection:
            limit_regions(connection)
    return dsns, [f"PostgreSQL: 角色 / role {board_role(region)}" for region in missing]


def _grafana(settings: "Settings") -> tuple[str, str]:
    """Address and administrator's password of Grafana: that of `mainflow up`, or the one whose password the environment has."""
    from dashboards.provisioning import admin_password
    from desk.settings import DeskSettings
    from pipelines.settings import ServerSettings

    if word := os.environ.get(PASSWORD_VARIABLE):
        return settings[DeskSettings].grafana.rstrip("/"), word
    try:
        return settings[ServerSettings].grafana_local, admin_password(settings.folder.grafana)
    except FileNotFoundError as error:
        raise RuntimeError(
            f"{error.filename} is not there: expected a Grafana that mainflow up has started, or the administrator's password of "
            f"that of [desk] grafana in {PASSWORD_VARIABLE}"
        ) from None


def _first_passwords(settings: "Settings") -> Path:
    return settings.folder.state / "first-passwords.csv"


def _made_file(settings: "Settings") -> Path:
    return settings.folder.state / "grafana-users.json"


def _made(settings: "Settings") -> dict[str, dict[str, str]]:
    """The logins that this command has made, with the preferences that it gave them."""
    from ingest_daemon.contract.files import rebuilt_json

    return rebuilt_json(_made_file(settings), _known, "accounts that were made before count as others' now") or {}


def _known(content: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {str(login): {str(name): str(value) for name, value in given.items()} for login, given in content.items()}


def _hand_over(settings: "Settings", account: "Account", password: str) -> None:
    """Keep an account and its first password before it is made: nobody could tell them afterwards."""
    import csv
    import io

    from ingest_daemon.contract.files import replace_file, write_json

    path, line = _first_passwords(settings), io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow([account.login, password])
    before = path.read_bytes() if path.exists() else "\ufefflogin,first_password\n".encode()
    replace_file(path, [before, line.getvalue().encode()], private=True)
    write_json(_made_file(settings), _made(settings) | {account.login: account.preferences}, durable=True, private=True)
