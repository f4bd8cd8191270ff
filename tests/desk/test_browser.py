"""The desk in a real browser: an operator works by keyboard, the wall renews itself, sounds, and shows when it is cut off."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.daemon_helpers import eventually
from tests.desk.chromium import PROGRAM, Chromium, chromium
from tests.desk.conftest import Alarms
from tests.desk.desk_helpers import ADMIN, KEY, OPERATOR, PASSWORD, Case, Served, raise_alarms

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="needs a Chromium on the PATH"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


def log_in(browser: Chromium, desk: Served, user: str) -> None:
    """By keyboard alone: the field of the name has the focus."""
    browser.do("Network.clearBrowserCookies")
    browser.open(f"{desk.url}/login")
    browser.press(*user, "Tab", *(key if key != " " else "Space" for key in PASSWORD))
    browser.run("window.isOld = true")
    browser.press("Enter")
    browser.await_new_page()
    assert browser.run("location.pathname") == "/alarms", browser.run("document.body.innerText")


@pytest.mark.timeout(120)
def test_an_operator_acknowledges_by_keyboard_and_the_alarm_leaves_the_ticker(
    browser: Chromium, desk: Served, alarms: Alarms
) -> None:
    log_in(browser, desk, OPERATOR)
    browser.open(f"{desk.url}/wall")
    assert "流量越上限" in browser.run("document.body.innerText")
    browser.open(f"{desk.url}/alarms?code=Q_HI")
    browser.run("document.querySelector('[name=cause]').focus()")
    browser.press("ArrowDown", "Tab", *"checked", "Tab", "Tab", "Tab")
    assert browser.run("document.activeElement.id") == f"alarm-{alarms.high}"
    browser.press("Space")
    before = browser.run("document.querySelector('tbody').firstElementChild.isOld = true")
    eventually(lambda: browser.run("!document.querySelector('tbody').firstElementChild.isOld"), "the list renews itself", 60)
    assert before and browser.run("document.activeElement.checked"), "what was ticked stays ticked"
    browser.run("document.querySelector('[name=note]').focus(); window.isOld = true")
    browser.press("Enter")
    browser.await_new_page()
    assert "已由您于" in browser.run("document.body.innerText")
    query = "select acknowledged_by, cause, note from ops.alarm where alarm_id = %s"
    assert desk.rows(query, alarms.high) == [(OPERATOR, "network", "checked")]
    browser.open(f"{desk.url}/wall")
    assert "流量越上限" not in browser.run("document.body.innerText")


@pytest.mark.timeout(120)
def test_the_wall_rolls_sounds_for_a_new_alarm_and_shows_when_it_is_cut_off(
    browser: Chromium, desk: Served, alarms: Alarms
) -> None:
    browser.do("Network.clearBrowserCookies")
    browser.open(f"{desk.url}/wall?key={KEY}")
    assert browser.run("document.body.dataset.sounded") is None
    assert "箱门打开" in browser.run("document.getElementById('ticker').innerText")
    raise_alarms(desk.dsn, Case("M1", "SENSOR", timedelta(hours=3), None), Case("M1", "MAG", timedelta(minutes=1), None))
    eventually(lambda: browser.run("document.body.dataset.sounded") == "1", "a new alarm sounds", 60)
    assert "强磁干扰" in browser.run("document.getElementById('wall-alarms').innerText")
    eventually(lambda: "强磁干扰" in browser.run("document.getElementById('ticker').innerText"), "it rolls", 60)
    assert browser.run("document.querySelector('.lost').hidden")
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.do("Network.emulateNetworkConditions", offline=True, **offline)
    eventually(lambda: browser.run("document.querySelector('.lost').innerText").startswith("与工作台的连接中断"), "cut off", 60)
    browser.do("Network.emulateNetworkConditions", offline=False, **offline)
    eventually(lambda: browser.run("document.querySelector('.lost').hidden"), "connected again", 60)


CLIPPED = """
[...document.querySelectorAll('th, td, dd, button, select, h1, h2')]
    .filter((cell) => cell.scrollWidth > cell.clientWidth + 1 && cell.clientWidth > 0).map((cell) => cell.innerText)
"""


@pytest.mark.timeout(120)
def test_nothing_is_cut_at_1366_pixels_in_either_language(
    browser: Chromium, desk: Served, english_desk: Served, alarms: Alarms
) -> None:
    raise_alarms(desk.dsn, Case("示例-很长的水表编号-0123456789", "P_LO", timedelta(hours=70), None, 1234567.891, 0.14, "MPa"))
    desk.execute("update ops.alarm set customer_name = repeat('特别长的客户名称', 6) where meter = 'M3'")
    for served in (desk, english_desk):
        log_in(browser, served, ADMIN)
        for path in ("/alarms?state=all", f"/alarms/{alarms.low}?known=2020-01-01", "/ticker", "/wall"):
            browser.open(served.url + path)
            assert browser.run("document.documentElement.scrollWidth") <= 1366, path
            assert browser.run(CLIPPED) == [], path
