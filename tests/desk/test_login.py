"""Who gets into the desk, as whom, and for how long."""

from tests.desk.desk_helpers import VIEWER, Served


def test_who_has_not_logged_in_is_sent_to_the_log_in_and_back(desk: Served) -> None:
    browser = desk.browser()
    asked = browser.get("/alarms?state=open", allow_redirects=False)
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=%2Falarms%3Fstate%3Dopen")
    assert "登录" in browser.get("/alarms").text
    entered = browser.log_in(VIEWER)
    assert entered.url == f"{desk.url}/alarms"
    assert VIEWER in entered.text
