"""A real Grafana with our boards and rules: every panel answers, and nobody sees more than he may.

Runs where GRAFANA_HOME names an installed Grafana 12 or `grafana` is on the PATH.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest
import requests
from psycopg.conninfo import conninfo_to_dict

import dashboards
from dashboards import organisations, provisioning
from ingest_daemon.contract.settings import PostgresSettings, Settings
from ingest_daemon.contract.site import Site
from ingest_daemon.operations import SmsSettings
from pipelines import site_folder
from pipelines.processes import servers
from pipelines.settings import ServerSettings, load
from tests.grafana_helpers import HOME, Grafana, eventually, free_port, running_grafana
from tests.mart_fixture import mart_server

pytestmark = pytest.mark.skipif(HOME is None, reason="needs a Grafana 12: set GRAFANA_HOME or put `grafana` on the PATH")


class Running(NamedTuple):
    """A Grafana and its database."""

    grafana: Grafana
    dsn: str

    @property
    def url(self) -> str:
        return self.grafana.url

    @property
    def password(self) -> str:
        return self.grafana.password

    def call(self, path: str, body: dict | None = None) -> dict:
        return self.grafana.call(path, body)


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with mart_server() as dsn, running_grafana(tmp_path_factory.mktemp("grafana"), dsn, []) as running:
        yield Running(running, dsn)


@pytest.mark.timeout(300)
def test_doctor_finds_the_data_source_the_boards_and_the_rules(grafana):
    def all_well() -> bool:
        return all(check.ok for check in provisioning.verify(grafana.url, grafana.password))

    eventually(all_well)
    names = [check.name for check in provisioning.verify(grafana.url, grafana.password)]
    boards = [f"board {name}" for name in dashboards.all_boards()]
    assert names == ["login", "datasource", *boards, "rule alarm", "rule source"]


def test_doctor_says_what_is_wrong_when_nobody_answers_or_the_password_is_wrong(grafana):
    nobody = provisioning.verify(f"http://127.0.0.1:{free_port()}", "x")
    stranger = provisioning.verify(grafana.url, "wrong")
    assert nobody
    assert not any(check.ok for check in nobody)
    assert all(check.detail for check in nobody)
    assert (stranger[0].name, stranger[0].ok) == ("login", False)


@pytest.mark.parametrize("path", ["/api/dashboards/uid/meter", "/api/datasources", "/api/v1/provisioning/contact-points"])
def test_nobody_looks_without_a_log_in(grafana, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{grafana.url}{path}", timeout=30)
    assert refused.value.code == 401


@pytest.mark.parametrize(
    "sql",
    [
        "select pg_read_file('/etc/passwd')",
        "copy (select 1) to program 'id'",
        "set default_transaction_read_only = off; drop schema mart cascade",
        "set default_transaction_read_only = off; insert into ops.alarm_event select * from ops.alarm_event",
        "select rolpassword from pg_authid",
    ],
)
def test_sql_that_somebody_writes_by_hand_is_refused_by_the_database(grafana, sql):
    query = {"refId": "A", "datasource": {"uid": "mainflow-mart"}, "rawSql": sql, "format": "table"}
    answer = grafana.call("/api/ds/query", {"queries": [query], "from": "0", "to": "1000"})
    assert "error" in answer["results"]["A"], answer
    with psycopg.connect(grafana.dsn) as marts:
        assert marts.execute("select count(*) > 0 from mart.latest_status").fetchone() == (True,)


# Who may see what


SECRET = "a-secret$of the test"
WEBHOOK = "http://127.0.0.1:9/hook"
TOKEN = "a-token-that-nobody-reads"


class Wall(NamedTuple):
    """A Grafana as `mainflow up` starts it, with the wall switched on and a Viewer of the main organisation."""

    site: Site
    settings: Settings
    url: str
    viewer: tuple[str, str]

    def get(self, path: str, user: tuple[str, str] | None = None) -> requests.Response:
        """What a user, or nobody, gets; the main organisation is asked for."""
        return requests.get(self.url + path, auth=user, headers={"X-Grafana-Org-Id": "1"}, timeout=30)

    @property
    def admin(self) -> tuple[str, str]:
        return "admin", provisioning.admin_password(self.site.grafana)


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wall]:
    with mart_server() as dsn:
        secrets = {"alert_webhook": WEBHOOK, "alert_webhook_token": TOKEN}
        shown = {"grafana_port": free_port(), "grafana_url": "https://boards.example/water", "wall": True}
        given = {
            "postgres": {"dsn": dsn, "board_dsn": dsn.replace("user=postgres", "user=mainflow_board")},
            "servers": {**shown, **secrets},
            "sms": {"on": True, "secret": SECRET, "gateway_url": WEBHOOK, "recipients": "13900139000"},
        }
        site = site_folder.create(tmp_path_factory.mktemp("wall") / "site", "embedded", given, examples=False)
        settings = load(site.root)
        with servers.grafana(settings, HOME) as link:
            assert link == "https://boards.example/water"
            started = Wall(site, settings, settings[ServerSettings].grafana_local, ("viewer", "a-password-of-hers"))
            name, password = started.viewer
            user = {"login": name, "password": password, "OrgId": 1}
            requests.post(f"{started.url}/api/admin/users", json=user, auth=started.admin, timeout=30).raise_for_status()
            yield started


@pytest.mark.timeout(300)
def test_nobody_sees_more_than_the_organisation_of_the_wall(wall):
    assert wall.get("/api/org").json()["name"] == provisioning.WALL
    assert {board["uid"] for board in wall.get("/api/search?type=dash-db").json()} == set(dashboards.all_boards())
    for uid in dashboards.all_boards():
        board = wall.get(f"/api/dashboards/uid/{uid}").json()
        assert not board["meta"]["canSave"]
    query = {"refId": "A", "datasource": {"uid": "mainflow-mart"}, "rawSql": "select current_user", "format": "table"}
    asked = {"queries": [query], "from": "0", "to": "1000"}
    answer = requests.post(f"{wall.url}/api/ds/query", json=asked, headers={"X-Grafana-Org-Id": "1"}, timeout=30).json()
    assert answer["results"]["A"]["frames"][0]["data"]["values"] == [["mainflow_board"]]
    assert [source["orgId"] for source in wall.get("/api/datasources").json()] != [1]
    assert requests.post(f"{wall.url}/api/snapshots", json={"dashboard": {}}, timeout=30).status_code >= 400
    assert all(check.ok for check in provisioning.verify(wall.url, wall.admin[1], wall=True) if check.name == "wall")


@pytest.mark.timeout(300)
def test_the_address_of_the_settings_and_the_sms_channel_are_told_of_alarms(wall):
    points = wall.get("/api/v1/provisioning/contact-points", wall.admin).json()
    ours = {point["name"]: (point["uid"], point["settings"]["url"]) for point in points if point["type"] == "webhook"}
    port = wall.settings[SmsSettings].port
    assert ours == {
        "alert-webhook": ("mainflow-alert-webhook", WEBHOOK),
        "sms-channel": ("mainflow-sms-channel", f"http://127.0.0.1:{port}/alarms"),
    }
    routes = wall.get("/api/v1/provisioning/policies", wall.admin).json()["routes"]
    at_night = [route for route in routes if "mainflow sms-channel" in route.get("mute_time_intervals", [])]
    assert [route["object_matchers"] for route in at_night] == [[["severity", "=~", "info|maintenance|warning"]]]


READ_BY_VIEWERS = [
    "/api/v1/provisioning/contact-points",
    "/api/v1/provisioning/contact-points/export",
    "/api/v1/provisioning/contact-points/export?decrypt=true",
    "/api/v1/provisioning/policies/export",
    "/api/alertmanager/grafana/config/api/v1/alerts",
    "/api/alertmanager/grafana/config/api/v1/receivers",
    "/api/alertmanager/grafana/config/history",
    "/api/alertmanager/grafana/api/v2/status",
    "/apis/notifications.alerting.grafana.app/v0alpha1/namespaces/default/receivers",
    "/api/datasources/uid/mainflow-mart",
    "/api/admin/settings",
    "/api/frontend/settings",
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", READ_BY_VIEWERS)
def test_no_secret_is_readable(wall, path):
    secrets = [SECRET, TOKEN, wall.admin[1], conninfo_to_dict(wall.settings[PostgresSettings].board_dsn).get("password") or TOKEN]
    for user in (None, wall.viewer):
        assert not any(secret in wall.get(path, user).text for secret in secrets), user
    assert WEBHOOK not in wall.get(path).text


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", ["/api/v1/provisioning/contact-points", "/api/v1/provisioning/alert-rules", "/api/datasources"])
def test_a_viewer_changes_nothing(wall, path):
    for user in (None, wall.viewer):
        answer = requests.post(wall.url + path, json={"name": "x", "type": "email"}, auth=user, timeout=30)
        assert answer.status_code in (401, 403), answer.text


@pytest.mark.timeout(300)
def test_the_wall_is_made_anew_at_each_start_and_links_lead_to_the_public_address(wall):
    organisations.make_wall(wall.url, wall.admin[1], conninfo_to_dict(wall.settings[PostgresSettings].board_dsn), "zh")
    assert len(wall.get("/api/search?type=dash-db").json()) == len(dashboards.all_boards())
    assert wall.get("/api/frontend/settings").json()["appUrl"] == "https://boards.example/water/"
    private = [wall.site.grafana / name for name in ("admin_password", "grafana.ini", "provisioning/alerting/notifications.yaml")]
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}
    log = (wall.site.logs / "grafana.log").read_text()
    assert not any(secret in log for secret in (SECRET, TOKEN, wall.admin[1]))
