"""A site that runs, as the outside meets it: what listens, who may speak to Dagster, where passwords show."""

import http.client
import json
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from ingest_daemon.contract.site import Site
from pipelines.processes import supervisor
from pipelines.processes.listening import listeners
from pipelines.settings import sample_file
from tests.chain import mainflow
from tests.daemon_helpers import Client, eventually, frame, minutes_ago
from tests.site_helpers import TERMINAL, files_with, passwords_of_roles
from tests.up_helpers import free_port, standing

pytestmark = pytest.mark.timeout(300)

SPEAKER, LISTED = "0010000001", "MARK-terminal-0001"
SECRETS = {
    "billing": {"connection": "DRIVER=nowhere;SERVER=billing;UID=reader;PWD=MARK-billing-0002"},
    "store": {"influx_password": "MARK-influx-0003"},
    "sms": {
        "on": True,
        "port": 0,
        "secret": "MARK-sms-secret-0004",
        "gateway_url": "http://127.0.0.1:9/send",
        "gateway_authorization": "Bearer MARK-gateway-0005",
        "recipients": "13900139000",
    },
    "servers": {"alert_webhook": "http://127.0.0.1:9/robot?key=MARK-robot-0006", "alert_webhook_token": "MARK-token-0007"},
}
MARK = b"MARK-"
MAY_HOLD = {"site.toml", "registry", "state", "grafana"}
"""Where passwords lie in a site, which others than its user and group do not read."""


class Outside(NamedTuple):
    """A site that runs, with the port of Dagster's pages."""

    site: Site
    dagster_port: int
    supervisor: "subprocess.Popen[str]"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.dagster_port}"

    def asked(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, str]:
        """Status and text of Dagster's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.dagster_port, timeout=60)
        try:
            connection.request(method, path, body, {"Host": self.host, **headers})
            answer = connection.getresponse()
            return answer.status, "" if answer.status == http.client.SWITCHING_PROTOCOLS else answer.read().decode()
        finally:
            connection.close()

    def graphql(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The data that a program gets, which has no origin."""
        body = json.dumps({"query": query, "variables": variables or {}}).encode()
        status, text = self.asked("POST", "/graphql", {"Content-Type": "application/json"}, body)
        assert status == 200, text
        return json.loads(text)["data"]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """A site whose daemon listens to all, whose every password is marked; a terminal has spoken with a wrong one."""
    site = Site(tmp_path_factory.mktemp("outside") / "site")
    mainflow("init", site.root)
    site.settings.write_text(sample_file("embedded", SECRETS), encoding="utf-8")
    row = {**TERMINAL, "terminal": SPEAKER, "meter": "M1", "password": LISTED, "removed_on": ""}
    (site.registry / "terminals.csv").write_text(f"{','.join(row)}\n{','.join(map(str, row.values()))}\n")
    port = free_port()
    with standing(site, MAINFLOW_DAEMON_BIND="0.0.0.0", MAINFLOW_SERVERS_DAGSTER_PORT=port) as process:
        terminal = Client(json.loads((site.state / "daemon.json").read_text())["data_port"])
        terminal.send(frame(SPEAKER, minutes_ago(5), 1.0))
        terminal.acknowledged(1)
        terminal.close()
        yield Outside(site, int(port), process)


def family(pid: int) -> set[int]:
    """The process and all that come from it."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def open_sockets(pid: int) -> set[int]:
    """Inodes of its sockets."""
    links = []
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            links.append(os.readlink(handle))
    return {int(link.removeprefix("socket:[").removesuffix("]")) for link in links if link.startswith("socket:[")}


def test_others_reach_the_ports_of_terminals_and_nothing_else(outside: Outside) -> None:
    sockets = {inode for pid in family(outside.supervisor.pid) for inode in open_sockets(pid)}
    ours = [listener for listener in listeners() if listener.inode in sockets]
    daemon = json.loads((outside.site.state / "daemon.json").read_text())
    assert {listener.port for listener in ours if listener.is_wide} == {daemon["data_port"], daemon["alarm_port"]}
    assert {outside.dagster_port, daemon["health_port"], daemon["sms_port"]} <= {listener.port for listener in ours}


# Dagster


MUTATION = "mutation { setNuxSeen }"
JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"query": MUTATION}).encode()
IN_THE_ADDRESS = "/graphql?query=mutation%7BsetNuxSeen%7D"
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c29tZSByYW5kb20gYnl0ZQ==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}
FOREIGN = {"Origin": "http://evil.example"}
REFUSED = {
    "a mutation by a link": ("GET", IN_THE_ADDRESS, {}, None),
    "a mutation by a picture of a foreign page": ("GET", IN_THE_ADDRESS, {"Referer": "http://evil.example/"}, None),
    "a mutation of a foreign page": ("POST", "/graphql", {**JSON, **FOREIGN}, BODY),
    "a form of a foreign page": ("POST", IN_THE_ADDRESS, {"Content-Type": "text/plain", **FOREIGN}, b""),
    "a form of a page without an origin": ("POST", IN_THE_ADDRESS, {"Content-Type": "text/plain", "Origin": "null"}, b""),
    "a page of another port of this machine": ("POST", "/graphql", {**JSON, "Origin": "http://127.0.0.1:1"}, BODY),
    "an event about a table from a foreign page": ("POST", "/report_asset_materialization/meter", FOREIGN, b""),
    "a name that was made to point here": ("POST", "/graphql", {**JSON, "Host": "evil.example"}, BODY),
    "the pages under such a name": ("GET", "/", {"Host": "evil.example:3010"}, None),
    "a name that is none": ("GET", "/", {"Host": "[::"}, None),
    "a websocket of a foreign page": ("GET", "/graphql", {**WEBSOCKET, **FOREIGN}, None),
    "a websocket under a foreign name": ("GET", "/graphql", {**WEBSOCKET, "Host": "evil.example"}, None),
}


@pytest.mark.parametrize("what", REFUSED)
def test_dagsters_pages_refuse(what: str, outside: Outside) -> None:
    status, text = outside.asked(*REFUSED[what])
    assert status == 403, text


def test_dagsters_pages_serve_their_own_and_programs(outside: Outside) -> None:
    own = {"Origin": f"http://{outside.host}"}
    assert "<title" in outside.asked("GET", "/", {})[1]
    assert outside.asked("GET", "/", {"Host": f"localhost:{outside.dagster_port}"})[0] == 200
    assert json.loads(outside.asked("POST", "/graphql", {**JSON, **own}, BODY)[1]) == {"data": {"setNuxSeen": True}}
    assert outside.graphql(MUTATION) == {"setNuxSeen": True}
    assert outside.asked("GET", "/graphql", {**WEBSOCKET, **own})[0] == http.client.SWITCHING_PROTOCOLS
    assert outside.asked("GET", "/graphql", {"Accept": "text/html"})[0] == 200


# Passwords


def failed_sync(outside: Outside) -> None:
    """Dagster has run the job that reads from billing, in vain."""
    launch = """mutation($selector: JobOrPipelineSelector!) {
        launchRun(executionParams: {selector: $selector}) { __typename ... on LaunchRunSuccess { run { runId } } } }"""
    selector = {"repositoryLocationName": "mainflow", "repositoryName": "__repository__", "jobName": "sync_billing"}
    launched = outside.graphql(launch, {"selector": selector})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
    number = {"id": launched["run"]["runId"]}
    eventually(lambda: outside.graphql(query, number)["runOrError"]["status"] == "FAILURE", "the run fails", 120)


def test_no_password_shows_in_a_log_a_run_or_the_list_of_processes(outside: Outside) -> None:
    failed_sync(outside)
    site, secrets = outside.site, [MARK, *passwords_of_roles(outside.site)]
    holding = files_with(site, secrets)
    assert {path.relative_to(site.root).parts[0] for path in holding} <= MAY_HOLD, holding
    assert [path for path in holding if path.stat().st_mode & stat.S_IRWXO] == []
    assert {site.settings, site.registry / "terminals.csv", site.state / "postgres.json"} <= holding, "this test finds nothing"
    assert any(b"nowhere" in path.read_bytes() for path in site.dagster.rglob("*") if path.is_file()), "the run left no error"
    for pid in family(outside.supervisor.pid):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not any(secret in command for secret in secrets), command


def test_no_password_is_published(outside: Outside) -> None:
    dsn = json.loads((outside.site.state / "postgres.json").read_text())["dsn"]
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema in ('mart', 'ops')"
        )
        for schema, table in tables.fetchall():
            found = connection.execute(f"select count(*) from {schema}.{table} as row where row::text like '%MARK-%'")
            assert found.fetchone() == (0,), f"{schema}.{table}"


FAILING = {
    "doctor of all that is wrong": (
        ["doctor"],
        {
            "MAINFLOW_POSTGRES_DSN": "host=127.0.0.1 port=9 user=u password=MARK-pg dbname=d",
            "MAINFLOW_STORE_KIND": "influxdb",
            "MAINFLOW_STORE_INFLUX_URL": "http://user:MARK-url@127.0.0.1:9",
        },
        "nowhere",
    ),
    "a setting of a wrong kind": (["status"], {"MAINFLOW_SMS_SECRET": "MARK-short"}, "secret"),
}


@pytest.mark.parametrize("what", FAILING)
def test_no_password_is_in_the_words_of_a_failing_command(what: str, outside: Outside) -> None:
    arguments, environment, told = FAILING[what]
    done = mainflow(*arguments, "--site", outside.site.root, environment=environment, check=False)
    assert done.returncode != 0
    assert told in done.stdout, done.stdout
    assert "MARK-" not in done.stdout + done.stderr


def test_the_doctor_tells_what_others_reach(outside: Outside) -> None:
    with socket.create_server(("0.0.0.0", 0)) as wide:
        environment = {
            "MAINFLOW_SERVERS_DAGSTER_PORT": str(wide.getsockname()[1]),
            "MAINFLOW_SERVERS_GRAFANA_URL": "http://boards.example",
            "MAINFLOW_SMS_BIND": "0.0.0.0",
            "MAINFLOW_DESK_URL": "http://desk.example",
        }
        told = mainflow("doctor", "--site", outside.site.root, environment=environment, check=False).stdout
    for name in ("outside Dagster", "outside SMS", "outside Grafana", "outside desk"):
        assert f"{name} " in told, told
    assert "outside health" not in told
    assert "outside PostgreSQL" not in told


def test_a_site_that_is_copied_while_it_runs_is_not_taken_for_running(outside: Outside) -> None:
    copy = Site(outside.site.root.parent / "copy")
    shutil.copytree(outside.site.state, copy.state, ignore=shutil.ignore_patterns("*.new", "*.sock"))
    assert supervisor.kept(copy) is None
    assert not supervisor.down(copy)
    assert outside.supervisor.poll() is None
