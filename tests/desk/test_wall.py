"""The wall and its ticker: what rolls there for whom, set by whom."""

import re
from typing import Any

import psycopg
import pytest
import requests

from desk.settings import DeskSettings
from ingest_daemon.contract.settings import SettingError
from tests.desk.conftest import Alarms
from tests.desk.desk_helpers import ADMIN, KEY, OPERATOR, VIEWER, Served

TICKER = "select alarm_id from ops.alarm_ticker where role = %s order by 1"
SHIPPED = "update ops.ticker_setting set codes = '{}', seconds = 6, severities = '{warning,critical}' where role = 'viewer'"


def rolled(desk: Served, role: str) -> list[int]:
    return [number for (number,) in desk.rows(TICKER, role)]


def test_the_ticker_shows_what_is_open_or_told_and_not_acknowledged_by_severity(desk: Served, alarms: Alarms) -> None:
    assert rolled(desk, "viewer") == [alarms.low, alarms.high, alarms.earlier, alarms.door]
    assert rolled(desk, "operator") == [alarms.low, alarms.high, alarms.battery, alarms.earlier, alarms.door]
    page = desk.browser(VIEWER).get("/wall/alarms").text
    assert page.count("data-tick") == 4
    row = next(text for text in page.split("<tr") if "M1" in text)
    assert [word for word in ("警告", "压力越下限", "第一纺织厂", "未恢复", "0.121 / 0.14 MPa") if word not in row] == []
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row)


def test_an_alarm_leaves_the_ticker_once_it_is_over_and_acknowledged(desk: Served, alarms: Alarms) -> None:
    browser = desk.browser(OPERATOR)
    browser.get("/alarms")
    browser.post("/alarms/acknowledge", {"alarm": [alarms.low, alarms.high], "cause": "works"})
    assert rolled(desk, "viewer") == [alarms.low, alarms.earlier, alarms.door], "an open one stays"
    row = next(text for text in browser.get("/wall/alarms").text.split("<tr") if "M1" in text)
    assert "已确认" in row
    desk.execute("update ops.alarm set retracted_at = now() where alarm_id = %s", alarms.low)
    assert rolled(desk, "viewer") == [alarms.earlier, alarms.door]


def test_an_administrator_sets_a_roles_ticker_and_who_did_so_is_kept(desk: Served, alarms: Alarms) -> None:
    browser, wall = desk.browser(ADMIN), desk.browser(VIEWER)
    browser.get("/ticker")
    new = {"role": "viewer", "severity": ["maintenance", "warning"], "code": ["BATT", "P_LO"], "seconds": "20"}
    try:
        page = browser.post("/ticker", new).text
        assert rolled(desk, "viewer") == [alarms.low, alarms.battery, alarms.earlier]
        shown = wall.get("/wall/alarms").text
        assert shown.count("data-tick") == 3 and 'data-seconds="20"' in shown
        (change,) = desk.rows("select changed_by, setting, before, after from ops.setting_history")
        assert change == (
            ADMIN,
            "ticker.viewer",
            {"codes": [], "severities": ["warning", "critical"], "seconds": 6},
            {"codes": ["BATT", "P_LO"], "severities": ["maintenance", "warning"], "seconds": 20},
        )
        assert page.split("修改记录")[1].count(ADMIN) == 1
        browser.post("/ticker", new)
        assert desk.rows("select count(*) from ops.setting_history") == [(1,)], "the same again is no change"
        assert rolled(desk, "operator") == [alarms.low, alarms.high, alarms.battery, alarms.earlier, alarms.door]
    finally:
        desk.execute(SHIPPED)
    with pytest.raises(psycopg.errors.RaiseException, match="only added"):
        desk.execute("delete from ops.setting_history")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"role": "root"}, "的值不可用：root"),
    ({"severity": []}, "请至少选择一个级别"),
    ({"severity": ["<b>"]}, "的值不可用：&lt;b&gt;"),
    ({"code": ["P_LO", "'; drop"]}, "的值不可用"),
    *(({"seconds": text}, "秒数须为 1 至 600 的整数") for text in ("0", "601", "-1", "1.5", "", "nan", "９", "9" * 40)),
]


@pytest.mark.parametrize(("fields", "words"), WRONG)
def test_a_setting_that_cannot_be_meant_so_is_refused(desk: Served, alarms: Alarms, fields: dict[str, Any], words: str) -> None:
    browser = desk.browser(ADMIN)
    browser.get("/ticker")
    answer = browser.post("/ticker", {"role": "viewer", "severity": ["warning"], "seconds": "5", **fields})
    assert (answer.status_code, words in answer.text) == (400, True), answer.text
    assert desk.rows("select count(*) from ops.setting_history") == [(0,)]


@pytest.mark.parametrize("user", [VIEWER, OPERATOR])
def test_only_an_administrator_sets_the_ticker(desk: Served, alarms: Alarms, user: str) -> None:
    browser = desk.browser(user)
    assert browser.get("/ticker").status_code == 403
    browser.get("/alarms")
    answer = browser.post("/ticker", {"role": "viewer", "severity": ["info"], "seconds": "5"})
    assert (answer.status_code, "需要“管理员”权限" in answer.text) == (403, True)


def test_the_key_opens_the_wall_and_nothing_else(desk: Served, alarms: Alarms) -> None:
    for path in ("/wall", "/wall/alarms"):
        assert requests.get(f"{desk.url}{path}?key={KEY}", timeout=30).text.count("data-tick") == 4
        for key in ("", KEY[:-1], KEY + "x", "é"):
            assert "/login" in requests.get(f"{desk.url}{path}", params={"key": key}, timeout=30).url
    assert f"/wall/alarms?key={KEY}" in requests.get(f"{desk.url}/wall?key={KEY}", timeout=30).text
    for path in ("/alarms", "/ticker", f"/alarms/{alarms.low}"):
        assert "/login" in requests.get(f"{desk.url}{path}?key={KEY}", timeout=30).url


@pytest.mark.parametrize("key", ["short", "with blanks and more", "中文中文中文中文中文中文中文中文中文"])
def test_a_key_that_could_be_guessed_or_does_not_fit_an_address_is_refused(key: str) -> None:
    with pytest.raises(SettingError, match="wall_key") as refused:
        DeskSettings(wall_key=key).check_key()
    assert key not in str(refused.value)
    DeskSettings().check_key()


def test_boards_read_the_ticker_and_write_nothing(desk: Served, alarms: Alarms) -> None:
    with psycopg.connect(desk.dsn.replace("user=postgres", "user=mainflow_board")) as board:
        assert board.execute("select count(*) from ops.alarm_ticker where role = 'viewer'").fetchone() == (4,)
        with pytest.raises(psycopg.Error):
            board.execute("update ops.ticker_setting set seconds = 1")


@pytest.mark.parametrize(
    "statement",
    [
        "delete from ops.alarm",
        "update ops.alarm set peak_value = 0",
        "update ops.alarm_history set note = ''",
        "delete from ops.setting_history",
        "update mart.meter set meter = 'x'",
        "delete from ops.alarm_span",
        "create table ops.mine (a integer)",
    ],
)
def test_the_desks_role_changes_only_what_people_may(desk: Served, statement: str) -> None:
    dsn = desk.dsn.replace("user=postgres", "user=mainflow_desk")
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)
