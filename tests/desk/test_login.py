"""Who gets into the desk, as whom, and for how long; and that nobody acts in another's name."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from desk.app import PAGES
from desk.security import COOKIE, LOGIN_COOKIE, Session, Sessions
from desk.throttle import FORGET_S, FREE_OF_ADDRESS, FREE_OF_USER, LONGEST_S, MOST, Throttle
from ingest_daemon.contract.site import Site
from tests.desk.desk_helpers import ADMIN, ELSEWHERE, NOBODY, OPERATOR, PASSWORD, VIEWER, Served, StandInGrafana, desk_on

ACTIONS = sorted(
    {re.sub(r"\{[^}]*\}", "1", route.path) for module in PAGES for route in module.routes if "POST" in route.methods}
)


@pytest.mark.parametrize(
    ("user", "role", "may_acknowledge", "may_maintain"),
    [(VIEWER, "查看者", False, False), (OPERATOR, "操作员", True, False), (ADMIN, "管理员", True, True)],
)
def test_a_role_is_what_grafanas_main_organisation_gives(
    desk: Served, user: str, role: str, may_acknowledge: bool, may_maintain: bool
) -> None:
    page = desk.browser(user).get("/alarms").text
    assert f"{user} · {role}" in page
    assert ("/alarms/acknowledge" in page and "确认所选" in page) is may_acknowledge
    assert ('href="/ticker"' in page) is may_maintain


@pytest.mark.parametrize("user", [NOBODY, ELSEWHERE])
def test_who_has_no_role_in_the_main_organisation_stays_outside(desk: Served, user: str) -> None:
    browser = desk.browser()
    answer = browser.log_in(user)
    assert (answer.status_code, "没有角色" in answer.text) == (403, True)
    assert "登录" in browser.get("/alarms").text


def test_who_has_not_logged_in_is_sent_to_the_log_in_and_back(desk: Served) -> None:
    browser = desk.browser()
    asked = browser.get("/alarms?state=open", allow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=%2Falarms%3Fstate%3Dopen")
    assert browser.log_in(VIEWER).url == f"{desk.url}/alarms"
    assert browser.get("/login?next=/alarms/rows").url == f"{desk.url}/alarms/rows"


@pytest.mark.parametrize("elsewhere", ["https://bad.example", "//bad.example", "/\\bad.example", "javascript:alert(1)", "/a\nb"])
def test_a_log_in_leads_nowhere_else(desk: Served, elsewhere: str) -> None:
    browser = desk.browser()
    browser.get("/login")
    fields = {"user": VIEWER, "password": PASSWORD, "next": elsewhere}
    assert browser.post("/login", fields, allow_redirects=False).headers["location"] == "/"


@pytest.fixture
def trouble(stand_in: StandInGrafana) -> Iterator[StandInGrafana]:
    yield stand_in
    stand_in.trouble = None


@pytest.mark.parametrize("status", [0, 500, 302, 200])
def test_nobody_gets_in_where_grafana_is_away(desk: Served, trouble: StandInGrafana, status: int) -> None:
    trouble.trouble = status
    browser = desk.browser()
    answer = browser.log_in(VIEWER)
    assert (answer.status_code, "Grafana 没有应答" in answer.text, COOKIE in browser.session.cookies) == (503, True, False)


def test_after_some_failures_a_name_waits_and_others_do_not(desk: Served) -> None:
    browser = desk.browser()
    for number in range(FREE_OF_USER):
        assert browser.log_in("mallory", f"guess {number}").status_code == 401
    for password in ("guess", PASSWORD):
        waits = browser.log_in("Mallory", password)
        assert waits.status_code == 429
        assert re.search(r"请 \d+ 秒后再试", waits.text)
    assert browser.log_in(VIEWER).status_code == 200
    assert "mallory" in desk.log


def test_waits_grow_are_forgotten_and_are_bounded() -> None:
    now = [0.0]
    throttle = Throttle(clock=lambda: now[0])
    waits = []
    for _ in range(FREE_OF_USER + 12):
        throttle.fail("eve", "10.0.0.1")
        waits.append(throttle.wait_s("eve", "10.0.0.2"))
    assert waits[: FREE_OF_USER - 1] == [0.0] * (FREE_OF_USER - 1)
    assert waits[FREE_OF_USER - 1 : FREE_OF_USER + 2] == [15.0, 30.0, 60.0]
    assert waits[-1] == LONGEST_S
    assert throttle.wait_s("bob", "10.0.0.2") == 0
    for number in range(10):
        throttle.fail(f"user{number}", "10.0.0.1")
    assert throttle.wait_s("bob", "10.0.0.1") > 0, "an address that tries many names waits, too"
    throttle.succeed("eve", "10.0.0.1")
    assert throttle.wait_s("eve", "10.0.0.2") == 0
    now[0] += FORGET_S + LONGEST_S
    throttle.fail("user1", "10.0.0.1")
    assert throttle.wait_s("user1", "10.0.0.1") == 0
    for number in range(MOST + 5):
        throttle.fail(f"name {number}", f"address {number}")
    assert len(throttle.failed) == MOST


def test_the_cookie_is_closed_to_scripts_and_other_sites_and_the_key_to_other_users(desk: Served) -> None:
    browser = desk.browser()
    browser.get("/login")
    answer = browser.post("/login", {"user": VIEWER, "password": PASSWORD}, allow_redirects=False)
    (cookie,) = [text for text in answer.headers["set-cookie"].split(", ") if text.startswith(f"{COOKIE}=")]
    assert "httponly" in cookie.lower() and "samesite=lax" in cookie.lower() and "max-age=43200" in cookie.lower()
    assert oct((desk.site.state / "desk-key").stat().st_mode & 0o777) == "0o600"
    assert PASSWORD not in desk.log


def test_behind_a_proxy_cookies_go_over_tls_alone_and_each_persons_failures_are_his_own(
    tmp_path: Path, desk_dsn: str, stand_in: StandInGrafana
) -> None:
    more = "url = 'https://desk.example'\nproxy = '127.0.0.1'"
    with desk_on(Site(tmp_path), dsn=desk_dsn, grafana=stand_in, more=more) as desk:
        fields = {"user": VIEWER, "password": PASSWORD}
        for number in range(FREE_OF_ADDRESS + 1):
            trial = _log_in_over_tls(desk, {"user": f"user{number}", "password": "guess"}, "10.0.0.7")
        assert trial.status_code == 429
        assert _log_in_over_tls(desk, fields, "10.0.0.7").status_code == 429
        answer = _log_in_over_tls(desk, fields, "10.0.0.7, 10.0.0.8")
        assert answer.status_code == 303
        assert "; secure" in answer.headers["set-cookie"].lower()
        assert "from 10.0.0.8" in desk.log


def _log_in_over_tls(desk: Served, fields: dict[str, str], address: str) -> requests.Response:
    """As a proxy passes it on: the cookie of the page comes back, though this line is none of TLS."""
    page = requests.get(f"{desk.url}/login", timeout=30)
    (token,) = re.findall(r'name="csrf" value="([^"]*)"', page.text)
    return requests.post(
        f"{desk.url}/login",
        data={"csrf": token, **fields},
        headers={"Cookie": f"{LOGIN_COOKIE}={page.cookies[LOGIN_COOKIE]}", "X-Forwarded-For": address},
        allow_redirects=False,
        timeout=30,
    )


def test_a_cookie_that_is_forged_or_over_or_logged_out_opens_nothing(desk: Served, tmp_path: Path) -> None:
    browser = desk.browser()
    browser.log_in(OPERATOR)
    good = browser.session.cookies[COOKIE]
    body, _, signature = good.rpartition(".")
    own = Sessions(desk.site)
    until = int(time.time())
    other = Sessions(Site(tmp_path))
    forged = {
        "no signature": body,
        "another signature": f"{body}.{'0' * len(signature)}",
        "another body": f"{body[:-4]}AAA=.{signature}",
        "another key": other.sealed(Session(OPERATOR, "admin", "1", until + 1000)),
        "a CSRF token's": f"{body}.{own.csrf(body)}",
        "over": own.sealed(Session(OPERATOR, "operator", "1", until - 1)),
        "garbage": "\x01.\x02",
        "empty": "",
    }
    assert desk.url in requests.get(f"{desk.url}/alarms", cookies={COOKIE: good}, timeout=30).url
    for name, cookie in forged.items():
        answer = requests.get(f"{desk.url}/alarms", cookies={COOKIE: cookie}, timeout=30)
        assert answer.url.startswith(f"{desk.url}/login"), name
    browser.get("/alarms")
    assert browser.post("/logout", {}).url == f"{desk.url}/login"
    assert Sessions(desk.site).opened(good) is None, "nor after another start"
    copied = requests.get(f"{desk.url}/alarms", cookies={COOKIE: good}, timeout=30)
    assert copied.url.startswith(f"{desk.url}/login")


def test_there_are_forms_to_attack() -> None:
    assert {"/login", "/logout", "/alarms/acknowledge", "/alarms/1/note", "/ticker"} <= set(ACTIONS)


@pytest.mark.parametrize("path", ACTIONS)
def test_a_form_without_the_sessions_own_token_changes_nothing(desk: Served, path: str) -> None:
    browser, another = desk.browser(ADMIN), desk.browser()
    another.log_in(ADMIN)
    browser.get("/alarms")
    another.get("/alarms")
    assert browser.token != another.token
    for token in ("", "0" * 64, "é", another.token):
        answer = browser.session.post(desk.url + path, data={"csrf": token, "user": ADMIN, "password": PASSWORD}, timeout=30)
        assert (answer.status_code, "表单已过期或来自别处" in answer.text) == (403, True), token
    own = {"csrf": browser.token}
    foreign = browser.session.post(desk.url + path, data=own, headers={"Sec-Fetch-Site": "cross-site"}, timeout=30)
    assert foreign.status_code == 403
    assert browser.get("/alarms").status_code == 200


@pytest.mark.parametrize("path", ["/alarms", "/login", "/nothing", "/static/desk.css"])
def test_every_answer_carries_the_headers_that_browsers_guard_it_by(desk: Served, path: str) -> None:
    headers = desk.browser(VIEWER).get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/alarms", 405), ("GET", "/alarms/acknowledge", 405), ("GET", "/static/../app.py", 404)],
)
def test_what_is_not_there_is_answered_with_words(desk: Served, method: str, path: str, status: int) -> None:
    browser = desk.browser(VIEWER)
    answer = browser.session.request(method, desk.url + path, timeout=30)
    assert answer.status_code == status
