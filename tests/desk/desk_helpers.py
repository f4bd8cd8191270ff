"""What the desk's tests share: a real desk and PostgreSQL, a stand-in for Grafana's log-in, a browser without eyes."""

import json
import re
import signal
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import requests

from desk.security import COOKIE
from desk.settings import address_file
from ingest_daemon.contract.alarm_codes import DEVICE
from ingest_daemon.contract.alarm_ledger import Span, Window, replace_spans
from ingest_daemon.contract.files import glance
from ingest_daemon.contract.ops_tables import migrate
from ingest_daemon.contract.site import Site
from tests.daemon_helpers import eventually
from tests.mart_fixture import mart_server

PASSWORD = "correct horse"
UTILITY = "水 Water <&>"
KEY = "abcdefghijklmnop"
VIEWER, OPERATOR, ADMIN, NOBODY, ELSEWHERE = "vera", "olga", "anna", "nina", "elsa"

DESK_ROLE = """
grant usage on schema mart to mainflow_desk;
grant select on all tables in schema mart to mainflow_desk;
alter default privileges in schema mart grant select on tables to mainflow_desk;
"""


class StandInGrafana:
    """A stand-in: answers `/api/user` and `/api/user/orgs` as Grafana 12 does, for users that it is given, and nothing else."""

    def __init__(self) -> None:
        self.roles = {VIEWER: "Viewer", OPERATOR: "Editor", ADMIN: "Admin", NOBODY: "None", ELSEWHERE: None}
        self.roles |= {f"olga{number}": "Editor" for number in range(10)}
        self.regions: dict[str, tuple[str, str]] = {}
        """Of further users the one organisation, and the role in it."""
        self.trouble: int | None = None
        """A status that it answers everybody with; 0: it hangs up."""
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                user, _, password = b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
                if stand_in.trouble == 0:
                    self.connection.close()
                elif stand_in.trouble:
                    self._answer(stand_in.trouble, "<html>")
                elif password != PASSWORD or user not in stand_in.roles | stand_in.regions:
                    self._answer(401, {"message": "Invalid username or password"})
                elif self.path == "/api/user":
                    self._answer(200, {"login": user, "orgId": 1, "isGrafanaAdmin": False})
                elif user in stand_in.regions:
                    name, role = stand_in.regions[user]
                    self._answer(200, [{"orgId": 3, "name": name, "role": role}])
                else:
                    own = stand_in.roles[user]
                    main, other = {"orgId": 1, "name": "Main Org.", "role": own}, {"orgId": 2, "name": "East", "role": "Admin"}
                    self._answer(200, [main] if own else [other])

            def _answer(self, status: int, body: Any) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Served:
    """A running desk."""

    url: str
    site: Site
    dsn: str
    """Of the owner."""
    grafana: StandInGrafana
    sessions: dict[str, str] = field(default_factory=dict)
    """The cookies of who has logged in."""

    def browser(self, user: str | None = None) -> "Browser":
        """A browser, in which the user has logged in where one is given; all browsers of a user share his session."""
        browser = Browser(self.url)
        if user and user not in self.sessions:
            assert browser.log_in(user).status_code == 200
            self.sessions[user] = browser.session.cookies[COOKIE]
        if user:
            browser.session.cookies.set(COOKIE, self.sessions[user])
        return browser

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query of the owner's gives."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[call-overload]

    def execute(self, statement: str, *values: object) -> None:
        """Let the owner change something."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement, values)  # type: ignore[call-overload]

    @property
    def log(self) -> str:
        """What the desk has logged."""
        return (self.site.root / "desk.log").read_text()


@dataclass
class Browser:
    """Keeps cookies, and sends forms with the hidden fields of the page that it looked at last."""

    url: str
    session: requests.Session = field(default_factory=requests.Session)
    token: str = ""

    def get(self, path: str, **more: Any) -> requests.Response:
        answer = self.session.get(self.url + path, timeout=30, **more)
        found = re.search(r'name="csrf" value="([^"]*)"', answer.text)
        self.token = unescape(found[1]) if found else self.token
        return answer

    def post(self, path: str, fields: Mapping[str, Any], **more: Any) -> requests.Response:
        return self.session.post(self.url + path, data={"csrf": self.token, **fields}, timeout=30, **more)

    def log_in(self, user: str, password: str = PASSWORD, **headers: str) -> requests.Response:
        self.get("/login")
        return self.post("/login", {"user": user, "password": password, "next": "/alarms"}, headers=headers)


@contextmanager
def desk_on(site: Site, *, dsn: str, grafana: StandInGrafana, language: str = "zh", more: str = "") -> Iterator[Served]:
    """A desk of its own process on a site's folder. `more`: further lines of its section."""
    site.registry.mkdir(parents=True, exist_ok=True)
    desk_dsn = dsn.replace("user=postgres", "user=mainflow_desk")
    site.settings.write_text(
        f"[site]\nutility = '{UTILITY}'\nlanguage = '{language}'\n[postgres]\ndsn = '{dsn}'\ndesk_dsn = '{desk_dsn}'\n"
        f"[desk]\nport = 0\nwall_key = '{KEY}'\ngrafana = '{grafana.url}'\n{more}\n"
    )
    log = site.root / "desk.log"
    log.write_text("")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "desk", "--site", str(site.root)], stdout=output, stderr=output, cwd=Path(__file__).parents[2]
        )

    def address() -> str | None:
        assert process.poll() is None, log.read_text()
        return glance(address_file(site), lambda known: f"http://127.0.0.1:{known['port']}")

    try:
        yield Served(str(eventually(address, "the desk serves", 60)), site, dsn, grafana)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@contextmanager
def desk_database() -> Iterator[str]:
    """A PostgreSQL with invented marts, schema `ops` of this version, and the desk's role; gives the owner's DSN."""
    with mart_server() as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute(DESK_ROLE)
            connection.execute(MORE_TABLES)
        with psycopg.connect(dsn, autocommit=True) as connection:
            migrate(connection)
        yield dsn


MORE_TABLES = """
create table mart.relation (meter text, kind text, code text, name_zh text, name_en text, valid_from date, valid_to date);
create table mart.customer_search (customer_no text, key_kind text, key text, customer_name text, address text);
create table mart.reverse_event (meter text, started_at timestamptz, ended_at timestamptz, volume_m3 double precision);
insert into mart.relation values
    ('M1', 'network', 'N1', '一号管网', 'Network 1', '2024-01-01', null),
    ('M2', 'network', 'N1', '一号管网', 'Network 1', null, null),
    ('M3', 'network', 'N2', '二号管网', 'Network 2', null, null),
    ('M3', 'network', 'N1', '一号管网', 'Network 1', null, '2024-01-01'),
    ('M1', 'region', 'east', '城东', 'East', null, null),
    ('M2', 'region', 'west', '城西', 'West', null, null),
    ('M3', 'region', 'west', '城西', 'West', null, null),
    ('M1', 'industry', 'textile', '纺织', 'Textiles', null, null),
    ('M2', 'industry', 'hospital', '医疗', 'Hospitals', null, null),
    ('M3', 'industry', 'hospital', '医疗', 'Hospitals', null, null);
insert into mart.customer_search values
    ('C1', 'address', '东路 1 号', '第一纺织厂', '东路 1 号'), ('C2', 'number', 'C2', '市人民医院', null);
insert into mart.reverse_event values ('M2', now() - interval '70 min', now() - interval '55 min', 1.25);
"""


class Case(NamedTuple):
    """An invented alarm: how long ago it was raised and cleared."""

    meter: str
    code: str
    raised: timedelta
    cleared: timedelta | None
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    origin: str = DEVICE


def raise_alarms(dsn: str, *cases: Case) -> list[int]:
    """Let the ledger have alarms, as the daemon and the figures write them; gives their numbers."""
    now = datetime.now(UTC)
    numbers = []
    with psycopg.connect(dsn) as connection:
        for case in cases:
            begin, end = now - case.raised, None if case.cleared is None else now - case.cleared
            span = Span(case.meter, case.code, case.origin, begin, end, case.value, case.limit, case.unit)
            replace_spans(connection, case.code, case.origin, [Window(case.meter, begin, end or now)], [span], by="invented")
            query = "select alarm_id from ops.alarm where meter = %s and code = %s order by alarm_id desc limit 1"
            numbers.append(connection.execute(query, [case.meter, case.code]).fetchone()[0])
    return numbers
