"""People of `registry/access.csv` in a real Grafana: whatever somebody of a region sends, he gets the rows of his region.

Runs where GRAFANA_HOME names an installed Grafana 12 or `grafana` is on the PATH.
"""

import csv
import stat
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
import requests
from click.testing import CliRunner, Result

import dashboards
from dashboards import provisioning
from dashboards.panels.core import DATASOURCE
from ingest_daemon.contract.settings import Settings
from pipelines import site_folder
from pipelines.cli.main import main
from pipelines.processes import servers
from pipelines.settings import ServerSettings, load
from tests.desk.desk_helpers import Browser, Case, desk_database, raise_alarms
from tests.grafana_helpers import HOME, free_port

pytestmark = [
    pytest.mark.skipif(HOME is None, reason="needs a Grafana 12: set GRAFANA_HOME or put `grafana` on the PATH"),
    pytest.mark.timeout(300),
]

HEAD = "login,name,email,role,team,region,home,language,theme"
DORA = "dora,Dora 东,dora@water.example,operator,dispatch,east,alarms,en,dark"
WIM = "wim,Wim,,viewer,management,west,,,"
MIA = "mia,Mia,,viewer,management,,,,"
CASE = Case("M1", "P_LO", timedelta(hours=1), None)
HOMES = ("home-dispatch", "home-management")


class Site(NamedTuple):
    """A site with its Grafana and desk."""

    settings: Settings
    desk: str
    owner: str

    @property
    def grafana(self) -> str:
        return self.settings[ServerSettings].grafana_local

    def run(self, command: str, *rows: str) -> Result:
        """A command of `mainflow users`, after the file has these rows."""
        (self.settings.folder.registry / "access.csv").write_text("\n".join((HEAD, *rows, "")))
        return CliRunner().invoke(main, ["users", command, "--site", str(self.settings.folder.root)])

    def ask(self, login: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """What somebody gets of Grafana; the administrator by his own name."""
        admin = provisioning.admin_password(self.settings.folder.grafana)
        word = admin if login == "admin" else self.passwords()[login]
        method = "POST" if body is not None else "GET"
        return requests.request(method, self.grafana + path, json=body, auth=(login, word), headers=headers, timeout=30)

    def passwords(self) -> dict[str, str]:
        """The first passwords by login."""
        with (self.settings.folder.state / "first-passwords.csv").open(encoding="utf-8-sig") as file:
            return {row["login"]: row["first_password"] for row in csv.DictReader(file)}

    def query(self, login: str, statement: str, **headers: str) -> str:
        """What a panel with this SQL shows to somebody."""
        source = DATASOURCE
        asked = {"refId": "A", "datasource": source, "rawSql": statement, "format": "table"}
        return self.ask(login, "/api/ds/query", {"queries": [asked], "from": "now-1h", "to": "now"}, **headers).text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert HOME is not None
    with desk_database() as owner, pytest.MonkeyPatch.context() as patch:
        with psycopg.connect(owner) as connection:
            connection.execute("update mart.customer set region = case customer_no when 'C1' then 'east' else 'west' end")
        boards = dashboards.all_boards
        patch.setattr(dashboards, "all_boards", lambda *given: with_homes(boards(*given)))
        patch.setattr(provisioning, "all_boards", dashboards.all_boards)
        roles = {f"{name}_dsn": owner.replace("user=postgres", f"user=mainflow_{name}") for name in ("board", "desk")}
        given = {"postgres": {"dsn": owner, **roles}, "servers": {"grafana_port": int(free_port())}, "desk": {"port": 0}}
        settings = load(site_folder.create(tmp_path_factory.mktemp("people") / "site", "embedded", given, examples=False).root)
        with servers.grafana(settings, HOME), servers.desk(settings, with_grafana=True) as desk:
            yield Site(settings, desk, owner)


def with_homes(boards: dict[str, dashboards.Json]) -> dict[str, dashboards.Json]:
    """The boards, and a home board for the teams of this test that have none."""
    return {uid: boards["alarms"] | {"uid": uid, "title": uid} for uid in HOMES} | boards


def test_people_of_two_regions(site: Site) -> None:
    would = site.run("check", DORA, WIM, MIA)
    assert would.exit_code == 0 and "dora" in would.output
    assert len(site.ask("admin", "/api/users").json()) == len(site.ask("admin", "/api/orgs").json()) == 1

    first = site.run("apply", DORA, WIM, MIA)
    assert first.exit_code == 0, first.output
    assert site.passwords().keys() == {"dora", "wim", "mia"} and not any(
        word in first.output for word in site.passwords().values()
    )
    private = [site.settings.folder.state / name for name in ("first-passwords.csv", "region-roles.json", "grafana-users.json")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    again = site.run("apply", DORA, WIM, MIA)
    assert again.exit_code == 0 and "nothing to do" in again.output and "✓" not in again.output


def test_a_start_leads_the_regions_to_where_the_database_is_now(site: Site) -> None:
    source = f"/api/datasources/uid/{DATASOURCE['uid']}"
    number = {each["name"]: str(each["id"]) for each in site.ask("admin", "/api/orgs").json()}["Mainflow west"]
    place = {"X-Grafana-Org-Id": number}
    before = site.ask("admin", source, **place).json()
    admin = ("admin", provisioning.admin_password(site.settings.folder.grafana))
    requests.put(site.grafana + source, json=before | {"url": "127.0.0.1:1"}, auth=admin, headers=place, timeout=30)
    assert site.ask("admin", source, **place).json()["url"] == "127.0.0.1:1"
    servers.keep_organisations(site.settings, servers.board_dsn(site.settings))
    assert site.ask("admin", source, **place).json()["url"] == before["url"]


def test_each_sees_the_home_and_the_boards_of_his_own(site: Site) -> None:
    own = site.ask("dora", "/api/user/preferences").json()
    assert (own["homeDashboardUID"], own["language"], own["theme"]) == ("alarms", "en-US", "dark")
    assert "homeDashboardUID" not in site.ask("wim", "/api/user/preferences").json()
    homes = {login: site.ask(login, "/api/dashboards/home").json().get("redirectUri", "") for login in ("dora", "wim", "mia")}
    assert [uri.split("/")[2] for uri in homes.values()] == ["alarms", "home-management", "home-management"], homes
    boards = [{each["uid"] for each in site.ask(login, "/api/search?type=dash-db").json()} for login in homes]
    assert boards == [set(dashboards.all_boards())] * 3
    assert [each["name"] for each in site.ask("wim", "/api/playlists").json()] == ["大屏 Wall"]


ATTEMPTS = (
    "select * from mart.customer",
    "set role mainflow_board; select * from mart.customer",
    "reset role; select * from mart.customer",
    "set session authorization default; select * from mart.customer",
    "select pg_read_file('/etc/hostname')",
    "select * from mart.customer_search union all select customer_no, name, name, name, name from mart.customer",
    "set mainflow.region = 'west'; select * from ops.alarm, mart.latest_status",
    "select * from ops.alarm_open, ops.alarm_ticker, mart.relation",
)


@pytest.mark.parametrize("statement", ATTEMPTS)
def test_no_query_of_a_panel_shows_another_region(site: Site, statement: str) -> None:
    raise_alarms(site.owner, CASE)
    answers = {login: site.query(login, statement) for login in ("dora", "wim")}
    assert "市人民医院" not in answers["dora"] and "第一纺织厂" not in answers["wim"]
    if statement == ATTEMPTS[0]:
        assert "第一纺织厂" in answers["dora"] and "市人民医院" in answers["wim"]
        assert "第一纺织厂" in site.query("mia", statement) and "市人民医院" in site.query("mia", statement)


def test_the_number_of_another_organisation_leads_nowhere(site: Site) -> None:
    numbers = {each["name"]: str(each["id"]) for each in site.ask("admin", "/api/orgs").json()}
    assert numbers.keys() == {"Main Org.", "Mainflow east", "Mainflow west"}
    for name in ("Main Org.", "Mainflow west"):
        answer = site.query("dora", "select * from mart.customer", **{"X-Grafana-Org-Id": numbers[name]})
        assert "纺织" not in answer and "市人民" not in answer
        assert site.ask("dora", "/api/org", **{"X-Grafana-Org-Id": numbers[name]}).status_code in (401, 403)


def test_the_desk_has_the_rows_of_the_region_and_a_manager_acknowledges_nothing(site: Site) -> None:
    east, west = raise_alarms(site.owner, CASE, CASE._replace(meter="M2"))
    pages = {}
    for login, number, status in (("dora", east, 200), ("wim", west, 403), ("mia", west, 403)):
        browser = Browser(site.desk)
        assert browser.log_in(login, site.passwords()[login]).status_code == 200
        pages[login] = browser.get("/alarms?state=all").text
        assert browser.post("/alarms/acknowledge", {"alarm": number, "cause": "network"}).status_code == status
    seen = {login: ("第一纺织厂" in page, "市人民医院" in page) for login, page in pages.items()}
    assert seen == {"dora": (True, False), "wim": (False, True), "mia": (True, True)}
    with psycopg.connect(site.owner) as connection:
        query = "select alarm_id from ops.alarm where alarm_id = any(%s) and acknowledged_by = 'dora'"
        assert connection.execute(query, [[east, west]]).fetchall() == [(east,)]


def test_a_row_that_goes_or_moves_is_followed_and_what_others_made_is_left_alone(site: Site) -> None:
    site.ask("admin", "/api/admin/users", {"login": "olaf", "name": "Olaf", "password": "abcd1234"}).raise_for_status()
    wrong = "bad,Bad,,boss,,,,,"
    moved = site.run("apply", DORA.replace("east,alarms", "west,alarms"), MIA, "olaf,O,,admin,,,,,", wrong)
    assert moved.exit_code == 1 and "wim: 停用" in moved.output
    assert "olaf: " in moved.output and "access.csv row 5, role: 'boss'" in moved.output
    users = {user["login"]: user for user in site.ask("admin", "/api/users").json()}
    assert {login: user["isDisabled"] for login, user in users.items()} == {
        "admin": False, "dora": False, "mia": False, "olaf": False, "wim": True,
    }  # fmt: skip
    assert users["olaf"]["name"] == "Olaf"
    assert [place["name"] for place in site.ask("dora", "/api/user/orgs").json()] == ["Mainflow west"]
    assert "市人民医院" in site.query("dora", "select * from mart.customer")
    assert site.ask("wim", "/api/user").status_code == 401
    back = site.run("apply", DORA.replace("east,alarms", "west,alarms"), MIA, WIM)
    assert back.exit_code == 0 and "wim: 启用" in back.output and site.ask("wim", "/api/user").status_code == 200


def test_a_board_that_is_not_there_is_named_with_those_that_are(site: Site) -> None:
    told = site.run("check", MIA.replace("management,,,", "management,,nowhere,"))
    assert told.exit_code == 1 and "board nowhere is not there; known boards: alarm-query, " in told.output
