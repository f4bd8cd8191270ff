"""A real Grafana with our boards and rules: every panel answers, and the alert arrives at a webhook.

Runs where GRAFANA_HOME names an installed Grafana 12 or `grafana` is on the PATH.
"""

import base64
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest
import requests
from psycopg.conninfo import conninfo_to_dict

import dashboards
from dashboards import provisioning
from ingest_daemon.contract.settings import PostgresSettings, Settings
from ingest_daemon.contract.site import Site
from ingest_daemon.sms.alarms import read_alarms
from pipelines import site_folder
from pipelines.processes import servers
from pipelines.settings import ServerSettings, load
from tests.mart_fixture import ZONE, mart_server

HOME = servers.grafana_home()
pytestmark = pytest.mark.skipif(HOME is None, reason="needs a Grafana 12: set GRAFANA_HOME or put `grafana` on the PATH")


SECRET = "a-secret$of the test"


class Running:
    """A Grafana, its database and what its webhook received."""

    def __init__(self, url: str, password: str, dsn: str, received: list[dict], for_sms: list[tuple[str, bytes]]) -> None:
        self.url, self.password, self.dsn, self.received, self.for_sms = url, password, dsn, received, for_sms

    def call(self, path: str, body: dict | None = None) -> dict:
        token = base64.b64encode(f"admin:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def alerts(self, code: str, meter: str, status: str) -> list[dict]:
        wanted = (code, meter, status)
        alerts = [alert for body in self.received for alert in body["alerts"]]
        return [alert for alert in alerts if (alert["labels"]["code"], alert["labels"].get("meter"), alert["status"]) == wanted]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(look: Callable[[], object], seconds: float = 120) -> object:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"did not happen within {seconds} s"
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    received: list[dict] = []
    for_sms: list[tuple[str, bytes]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/sms":
                for_sms.append((self.headers["Authorization"], body))
            else:
                received.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    folder, port = tmp_path_factory.mktemp("grafana"), free_port()
    with mart_server() as dsn:
        url = f"http://127.0.0.1:{hook.server_port}/alarm?key=a$b"
        ini = provisioning.write(
            folder,
            postgres_dsn=dsn.replace("user=postgres", "user=mainflow_board"),
            zone=ZONE,
            language="zh",
            http_port=port,
            webhooks={
                provisioning.CONTACT: provisioning.Webhook(url),
                provisioning.SMS_CONTACT: provisioning.Webhook(f"http://127.0.0.1:{hook.server_port}/sms", SECRET),
            },
        )
        for path in (folder / "provisioning" / "alerting").iterdir():  # so that the test need not wait for minutes
            text = path.read_text().replace("interval: 1m", "interval: 10s").replace("interval: 5m", "interval: 10s")
            path.write_text(text.replace("group_wait: 5s", "group_wait: 0s").replace("group_interval: 10s", "group_interval: 1s"))
        command, environment = provisioning.launch(HOME, ini, ZONE)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        running = Running(f"http://127.0.0.1:{port}", provisioning.admin_password(folder), dsn, received, for_sms)

        def ready() -> bool:
            assert server.poll() is None, (folder / "log").read_text()[-3000:]
            try:
                return running.call("/api/health").get("database") == "ok"
            except OSError:
                return False

        try:
            eventually(ready)
            yield running
        finally:
            server.terminate()
            server.wait(30)
            hook.shutdown()


@pytest.mark.timeout(300)
def test_every_query_of_every_board_and_rule_is_answered_without_an_error(grafana):
    now = datetime.now(UTC)
    day = now.astimezone(ZoneInfo(ZONE)).date()
    variables = {"search": "", "meter": "M1", "month": f"{day:%Y-%m}", "day": f"{day}", "grain": "day"}
    for board, panel, sql in dashboards.queries():
        # The browser puts variables in, the server macros: so only the variables are replaced here.
        for name, value in variables.items():
            sql = sql.replace(f"${{{name}:sqlstring}}", f"'{value}'")
        query = {
            "refId": "A",
            "datasource": {"uid": "mainflow-mart"},
            "rawSql": sql.replace("$__searchFilter", "%"),
            "format": "table",
        }
        span = {"from": str(int((now - timedelta(days=7)).timestamp() * 1000)), "to": str(int(now.timestamp() * 1000) + 60000)}
        answer = grafana.call("/api/ds/query", {"queries": [query], **span})
        result = answer["results"]["A"]
        assert "error" not in result, (board, panel, result)
        assert len(result["frames"][0]["data"]["values"][0]) > 0, (board, panel)


@pytest.mark.timeout(300)
def test_doctor_finds_the_data_source_the_boards_and_the_rules(grafana):
    def all_well() -> bool:
        return all(check.ok for check in provisioning.verify(grafana.url, grafana.password))

    eventually(all_well)
    names = [check.name for check in provisioning.verify(grafana.url, grafana.password)]
    assert names == ["login", "datasource", "board customer", "board latest-data", "rule no-data", "rule pressure-below-limit"]


def test_doctor_says_what_is_wrong_when_nobody_answers_or_the_password_is_wrong(grafana):
    nobody = provisioning.verify(f"http://127.0.0.1:{free_port()}", "x")
    stranger = provisioning.verify(grafana.url, "wrong")
    assert nobody
    assert not any(check.ok for check in nobody)
    assert all(check.detail for check in nobody)
    assert (stranger[0].name, stranger[0].ok) == ("login", False)


@pytest.mark.parametrize("path", ["/api/dashboards/uid/customer", "/api/datasources", "/api/v1/provisioning/contact-points"])
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


@pytest.mark.timeout(300)
def test_a_low_pressure_reaches_the_webhook_with_all_a_person_needs_and_resolves(grafana):
    (alert,) = eventually(lambda: grafana.alerts("P_LO", "M2", "firing"))[:1]
    with psycopg.connect(grafana.dsn) as marts:
        (event,) = marts.execute("SELECT pressure_at FROM mart.latest_status WHERE meter = 'M2'").fetchone()
    told = alert["annotations"]
    wanted = {
        "customer": "市人民医院 (C2)",
        "meter": "M2",
        "value": "0.121 MPa",
        "limit": "0.140 MPa",
        "event_at": f"{event.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M:%S} +08:00",
        "board": f"{grafana.url}/d/customer?var-meter=M2",
    }
    assert {name: told[name] for name in wanted} == wanted
    assert told["summary"] == f"压力越下限：市人民医院 (C2) 水表 M2，0.121 MPa（限值 0.140 MPa），{wanted['event_at']}"
    assert told["summary_en"].startswith("Pressure below limit: 市人民医院 (C2) meter M2, 0.121 MPa (limit 0.140 MPa), ")
    assert not grafana.alerts("P_LO", "M1", "firing")

    with psycopg.connect(grafana.dsn) as marts:  # lower still, later: the same alert, no second one
        marts.execute("UPDATE mart.latest_status SET pressure_mpa = 0.1, pressure_at = now() WHERE meter = 'M2'")
    time.sleep(12)
    assert {found["fingerprint"] for found in grafana.alerts("P_LO", "M2", "firing")} == {alert["fingerprint"]}
    with psycopg.connect(grafana.dsn) as marts:
        marts.execute("UPDATE mart.latest_status SET pressure_mpa = 0.25, pressure_at = now() WHERE meter = 'M2'")
    (resolved,) = eventually(lambda: grafana.alerts("P_LO", "M2", "resolved"))[:1]
    assert resolved["values"]["A"] == 0.25
    assert resolved["annotations"]["value"] == "0.250 MPa"


@pytest.mark.timeout(300)
def test_what_grafana_posts_for_sms_carries_the_secret_and_is_understood(grafana):
    eventually(lambda: grafana.for_sms)
    assert {authorization for authorization, _ in grafana.for_sms} == {f"Bearer {SECRET}"}
    told = [alarm.text for _, body in grafana.for_sms for alarm in read_alarms(body)]
    assert any(text.startswith("【报警】压力越下限：市人民医院 (C2) 水表 M2") for text in told), told


@pytest.mark.timeout(300)
def test_a_silent_meter_reaches_the_webhook(grafana):
    (alert,) = eventually(lambda: grafana.alerts("NO_DATA", "M3", "firing"))[:1]
    assert (alert["annotations"]["value"], alert["annotations"]["limit"]) == ("120 h", "36 h")


# Who may see what


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
    provisioning.make_wall(wall.url, wall.admin[1], conninfo_to_dict(wall.settings[PostgresSettings].board_dsn))
    assert len(wall.get("/api/search?type=dash-db").json()) == len(dashboards.all_boards())
    assert wall.get("/api/frontend/settings").json()["appUrl"] == "https://boards.example/water/"
    private = [wall.site.grafana / name for name in ("admin_password", "grafana.ini", "provisioning/alerting/notifications.yaml")]
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}
    log = (wall.site.logs / "grafana.log").read_text()
    assert not any(secret in log for secret in (SECRET, TOKEN, wall.admin[1]))
