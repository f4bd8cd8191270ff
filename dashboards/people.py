"""Who may use a Grafana: the accounts that a site wants, made through the API and kept as it wants them.

An account is in one organisation. One that was made here and is wanted no more is disabled; others are never touched. Grafana
lets nobody set another's preferences: those of an account are set at its making, as the first to log in, and are its own then.
"""

import secrets
import string
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import requests
from requests.auth import HTTPBasicAuth

from dashboards import Json
from dashboards.organisations import Organisation, Writer, give_home, make
from dashboards.provisioning import FAILURES, LANGUAGES

MAIN = 1
"""The number of the main organisation."""

TEAMS = {
    "dispatch": "调度 Dispatch",
    "metrology": "计量 Metrology",
    "billing": "营业 Billing",
    "management": "管理 Management",
}
"""The teams of an organisation by code; the home board of each is `home-<code>`."""


MAIN_WORDS = "主组织 main"
FOREIGN = (
    "Grafana 中已有此用户，且非由本命令建立，请换登录名 / is in Grafana already and was not made here; expected another login"
)
OWN = "首页、语言、主题由本人在个人资料中更改 / home, language and theme are its own since it was made: its profile changes them"


class Account(NamedTuple):
    """An account that a site wants. `role`: as Grafana has it; `organisation`: its name, empty for the main one.

    `home`: uid of a board; what is empty of the last four is the default.
    """

    login: str
    name: str
    email: str
    role: str
    organisation: str
    team: str = ""
    home: str = ""
    language: str = ""
    theme: str = ""

    @property
    def preferences(self) -> dict[str, str]:
        """What the account is given at its making."""
        wanted = {"homeDashboardUID": self.home, "language": LANGUAGES.get(self.language, ""), "theme": self.theme}
        return {name: value for name, value in wanted.items() if value}


class Wanted(NamedTuple):
    """What a site wants of its Grafana. `organisations`: libpq keywords of the role that each reads as, by name.

    `undecided`: logins that stay as they are; `zone`: IANA zone of the utility.
    """

    accounts: Sequence[Account]
    organisations: Mapping[str, Mapping[str, Any]]
    boards: Mapping[str, Json]
    language: str
    zone: str
    undecided: Collection[str] = ()


class Done(NamedTuple):
    """What was changed, or would be; what could not be; what only the account itself can change."""

    changes: list[str]
    problems: list[str]
    notes: list[str]


def apply(writer: Writer, wanted: Wanted, made: Mapping[str, Mapping[str, str]], note: Callable[[Account, str], None]) -> Done:
    """Bring a Grafana to what is wanted.

    `made`: logins that were made here before, with the preferences that they were given. `note` is called with each new account
    and its first password before it is made. Raises one of `FAILURES` where Grafana does not answer.
    """
    problems: list[str] = []
    places: dict[str, Organisation | None] = {"": Organisation(MAIN, str(writer.api.GET(f"/orgs/{MAIN}")["name"]))}
    for name, postgres in wanted.organisations.items():
        with _told(problems, name):
            places[name] = make(writer, name, postgres, wanted.boards, wanted.language)
    for place in filter(None, places.values()):
        with _told(problems, place.name):
            give_home(writer, place, wanted.boards)
    known = {user["login"].lower(): user for user in writer.api.GET("/users?perpage=100000")}
    ours = {login.lower() for login in made}
    for account in (account for account in wanted.accounts if account.organisation in places):
        user = known.get(account.login.lower())
        with _told(problems, account.login):
            if user and account.login.lower() not in ours:
                raise ValueError(FOREIGN)
            _keep(writer, wanted, account, user, places[account.organisation], note)
        if problem := _unknown_board(account.home, account.login, wanted.boards):
            problems.append(problem)
    kept = {login.lower() for login in (*(account.login for account in wanted.accounts), *wanted.undecided)}
    for login in sorted(ours - kept):
        with _told(problems, login):
            _disable(writer, known.get(login))
    for name, there in places.items():
        if there:
            with _told(problems, there.name):
                _keep_teams(writer, wanted, name, there, ours, problems)
    return Done(writer.changes, problems, list(_notes(wanted.accounts, made)))


@contextmanager
def _told(problems: list[str], what: str) -> Iterator[None]:
    """What Grafana refuses in the block is a problem, and does not stop the rest."""
    try:
        yield
    except FAILURES as error:
        problems.append(f"{what}: {error}")


def _unknown_board(uid: str, who: str, boards: Collection[str]) -> str:
    if not uid or uid in boards:
        return ""
    return f"{who}: 无此看板 / board {uid} is not there; known boards: {', '.join(sorted(boards))}"


# --- one account --------------------------------------------------------------------------------------------------------------


def _keep(
    writer: Writer,
    wanted: Wanted,
    account: Account,
    user: Mapping[str, Any] | None,
    place: Organisation | None,
    note: Callable[[Account, str], None],
) -> None:
    """Make the account, or bring it to what is wanted. `place`: None where a dry run would make its organisation."""
    if user is None:
        writer.changes.append(f"用户 / user {account.login} ({account.role}, {account.organisation or MAIN_WORDS})")
        if place and not writer.is_dry:
            _make_account(writer, wanted, account, place, note)
        return
    number, email = user["id"], account.email or account.login
    if (user["name"], user["email"]) != (account.name, email):
        body = {"login": account.login, "name": account.name, "email": email}
        writer.send(f"{account.login}: {account.name} {email}", "PUT", f"/users/{number}", body)
    if user["isDisabled"]:
        writer.send(f"{account.login}: 启用 / enabled", "POST", f"/admin/users/{number}/enable")
    _settle(writer, account, number, place)


def _make_account(
    writer: Writer, wanted: Wanted, account: Account, place: Organisation, note: Callable[[Account, str], None]
) -> None:
    password = "-".join("".join(secrets.choice(string.ascii_lowercase) for _ in range(4)) for _ in range(4))
    note(account, password)
    body = {"login": account.login, "name": account.name, "email": account.email, "password": password, "OrgId": place.number}
    number = writer.send("", "POST", "/admin/users", body)["id"]
    writer.send("", "PATCH", f"/orgs/{place.number}/users/{number}", {"role": account.role})
    own = {name: value for name, value in account.preferences.items() if name != "homeDashboardUID" or value in wanted.boards}
    answer = requests.patch(
        f"{writer.url}/api/user/preferences",
        json=own | {"timezone": wanted.zone},
        auth=HTTPBasicAuth(account.login.encode(), password.encode()),
        timeout=30,
    )
    answer.raise_for_status()


def _settle(writer: Writer, account: Account, number: int, place: Organisation | None) -> None:
    """Let the account be in its organisation, with its role, and in no other."""
    api = writer.api
    roles = {there["orgId"]: there["role"] for there in api.GET(f"/users/{number}/orgs")}
    if place is None:
        writer.changes.append(f"{account.login}: → {account.organisation} ({account.role})")
        return
    text = f"{account.login}: {place.name} ({account.role})"
    if place.number not in roles:
        body = {"loginOrEmail": account.login, "role": account.role}
        writer.send(text, "POST", f"/orgs/{place.number}/users", body)
    elif roles[place.number] != account.role:
        writer.send(text, "PATCH", f"/orgs/{place.number}/users/{number}", {"role": account.role})
    if place.number not in roles or api.GET(f"/users/{number}")["orgId"] != place.number:
        writer.send(f"{account.login}: → {place.name}", "POST", f"/users/{number}/using/{place.number}")
    for other in roles.keys() - {place.number}:
        writer.send(f"{account.login}: 移出组织 / removed from organisation {other}", "DELETE", f"/orgs/{other}/users/{number}")


def _disable(writer: Writer, user: Mapping[str, Any] | None) -> None:
    if user and not user["isDisabled"]:
        text = f"{user['login']}: 停用，已不在 access.csv / disabled, is in access.csv no more"
        writer.send(text, "POST", f"/admin/users/{user['id']}/disable")


def _notes(accounts: Sequence[Account], made: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Preferences that changed after their account was made."""
    for account in accounts:
        if account.login in made and dict(made[account.login]) != account.preferences:
            yield f"{account.login}: {OWN}"


# --- teams --------------------------------------------------------------------------------------------------------------------


def _keep_teams(
    writer: Writer, wanted: Wanted, name: str, place: Organisation, ours: Collection[str], problems: list[str]
) -> None:
    """The teams of an organisation with its accounts, and each with its home board."""
    api, headers = writer.api, place.headers
    there = {team["name"]: team for team in api.GET("/teams/search?perpage=10000", headers=headers)["teams"]}
    ids = {user["login"].lower(): user["userId"] for user in api.GET(f"/orgs/{place.number}/users")}
    for code, title in TEAMS.items():
        members = {each.login.lower() for each in wanted.accounts if (each.organisation, each.team) == (name, code)}
        if title in there:
            number = there[title]["id"]
        elif members:
            made = writer.send(f"{place.name}: 团队 / team {title}", "POST", "/teams", {"name": title}, headers)
            if made is None:
                continue
            number = made["teamId"]
        else:
            continue
        path = f"/teams/{number}"
        present = {member["login"].lower(): member["userId"] for member in api.GET(f"{path}/members", headers=headers)}
        for login in sorted((members & ids.keys()) - present.keys()):
            body = {"userId": ids[login]}
            writer.send(f"{login}: 团队 / team {title}", "POST", f"{path}/members", body, headers)
        for login in sorted((present.keys() & ours) - members - {login.lower() for login in wanted.undecided}):
            writer.send(
                f"{login}: 移出团队 / removed from team {title}", "DELETE", f"{path}/members/{present[login]}", headers=headers
            )
        home = f"home-{code}"
        if problem := _unknown_board(home, f"{place.name}, {title}", wanted.boards):
            problems.append(problem)
            continue
        preferences = api.GET(f"{path}/preferences", headers=headers)
        if preferences.get("homeDashboardUID") != home:
            body = {**preferences, "homeDashboardUID": home}
            writer.send(f"{place.name}, {title}: 首页 / home board {home}", "PUT", f"{path}/preferences", body, headers)
