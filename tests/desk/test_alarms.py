"""The alarms at the desk: found by filters, seen with what was around, acknowledged once and by whom."""

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import psycopg
import pytest

from ingest_daemon.stores.parquet import ParquetStore
from tests.desk.conftest import Alarms
from tests.desk.desk_helpers import ADMIN, OPERATOR, VIEWER, Browser, Case, Served, raise_alarms
from tests.mart_fixture import ZONE
from tests.site_helpers import reading_frame

FORM = {"cause": "network", "note": "阀门 checked"}


def shown(page: str) -> list[int]:
    """The numbers of the alarms in a list."""
    return [int(number) for number in dict.fromkeys(re.findall(r'<td><a href="/alarms/(\d+)"', page))]


def local(ago: timedelta) -> str:
    """A time on the utility's clock, as a browser sends it."""
    return f"{(datetime.now(UTC) - ago).astimezone(ZoneInfo(ZONE)):%Y-%m-%dT%H:%M}"


YESTERDAY, RECENTLY = timedelta(hours=28), timedelta(hours=2)

FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"low", "high", "battery", "earlier", "door"}),
    ({"state": "open"}, {"low", "battery", "door"}),
    ({"state": "cleared"}, {"high", "earlier", "old"}),
    ({"state": "all"}, {"low", "high", "battery", "earlier", "door", "old"}),
    ({"state": "retracted"}, set()),
    ({"state": "acknowledged"}, set()),
    ({"state": "unacknowledged", "code": "MAG"}, {"old"}),
    ({"code": "P_LO"}, {"low", "earlier"}),
    ({"severity": "maintenance"}, {"battery"}),
    ({"begin": RECENTLY}, {"low", "earlier", "door"}),
    ({"end": YESTERDAY}, {"high"}),
    ({"begin": YESTERDAY, "end": RECENTLY}, {"battery"}),
    ({"customer": "纺织"}, {"low"}),
    ({"customer": "c2"}, {"high", "battery", "earlier", "door"}),
    ({"customer": "m3"}, {"door"}),
    ({"customer": "东路"}, {"low"}),
    ({"customer": "%"}, set()),
    ({"customer": "_"}, set()),
    ({"region": "west"}, {"high", "battery", "earlier", "door"}),
    ({"industry": "textile"}, {"low"}),
    ({"industry": "nothing"}, set()),
    ({"region": "west", "code": "P_LO"}, {"earlier"}),
    ({"region": "west", "industry": "hospital", "state": "open", "severity": "warning", "customer": "M3"}, {"door"}),
    ({"region": "east", "code": "BATT"}, set()),
    ({"page": "2"}, set()),
]


@pytest.mark.parametrize(("filters", "wanted"), FILTERS)
def test_filters_together_show_the_alarms_that_all_of_them_let_through(
    desk: Served, alarms: Alarms, filters: dict[str, Any], wanted: set[str]
) -> None:
    browser = desk.browser(VIEWER)
    query = {name: local(value) if isinstance(value, timedelta) else value for name, value in filters.items()}
    for path in ("/alarms", "/alarms/rows"):
        answer = browser.get(path, params=query)
        assert answer.status_code == 200
        numbers = shown(answer.text)
        assert {alarms._fields[number - 1] for number in numbers} == wanted
        raised = {row[0]: row[1] for row in desk.rows("select alarm_id, raised_at from ops.alarm")}
        assert numbers == sorted(numbers, key=lambda number: raised[number], reverse=True)


HOSTILE = [
    "' or 1=1 --",
    "'; drop table ops.alarm; --",
    "<script>alert(1)</script>",
    '"><img src=x>',
    "{{ 7777 * 7777 }}",
    "%s%(x)s",
    "\x00",
]


@pytest.mark.parametrize("name", ["begin", "end", "code", "severity", "state", "customer", "region", "industry", "page", "done"])
def test_what_somebody_writes_into_an_address_is_refused_or_shown_as_text(desk: Served, alarms: Alarms, name: str) -> None:
    browser = desk.browser(VIEWER)
    for text in HOSTILE:
        answer = browser.get("/alarms", params={name: text})
        assert answer.status_code in (200, 400), (text, answer.text)
        assert "<script>alert" not in answer.text and "<img" not in answer.text and "60481729" not in answer.text
        assert answer.status_code == 400 or not shown(answer.text) or name == "done"
    assert len(shown(browser.get("/alarms?state=all").text)) == 6


@pytest.mark.parametrize(
    ("path", "status"), [("0", 404), ("999999", 404), ("99999999999999999999", 404), ("1;drop", 404), ("-1", 404)]
)
def test_an_alarm_that_is_not_there_is_not_found(desk: Served, alarms: Alarms, path: str, status: int) -> None:
    assert desk.browser(VIEWER).get(f"/alarms/{path}").status_code == status


def test_a_viewer_is_refused_with_words_and_nothing_changes(desk: Served, alarms: Alarms) -> None:
    browser = desk.browser(VIEWER)
    browser.get(f"/alarms/{alarms.low}")
    for path, fields in (("/alarms/acknowledge", {"alarm": alarms.low, **FORM}), (f"/alarms/{alarms.low}/note", FORM)):
        answer = browser.post(path, fields)
        assert (answer.status_code, "此操作需要“操作员”权限" in answer.text) == (403, True)
    assert browser.post("/ticker", {"role": "viewer"}).status_code == 403
    assert desk.rows("select count(*) from ops.alarm where acknowledged_at is not null") == [(0,)]
    assert desk.rows("select count(*) from ops.alarm_history where event = 'acknowledged'") == [(0,)]


def test_an_operator_acknowledges_many_with_cause_and_note(desk: Served, alarms: Alarms) -> None:
    browser = desk.browser(OPERATOR)
    browser.get("/alarms")
    ticked = [alarms.low, alarms.battery]
    answer = browser.post("/alarms/acknowledge", {"alarm": ticked, "back": "/alarms?state=open", **FORM})
    assert answer.url.startswith(f"{desk.url}/alarms?state=open&done=")
    assert answer.text.count("已由您于") == 2
    query = "select alarm_id, acknowledged_by, cause, note from ops.{} order by alarm_id"
    wanted = [(number, OPERATOR, "network", FORM["note"]) for number in ticked]
    assert desk.rows(query.format("alarm where acknowledged_at is not null")) == wanted
    assert desk.rows(query.format("alarm_history where event = 'acknowledged'")) == wanted
    assert set(shown(browser.get("/alarms?state=acknowledged").text)) == set(ticked)


def test_what_an_operator_writes_is_kept_as_written_and_shown_as_text(desk: Served, alarms: Alarms) -> None:
    browser = desk.browser(OPERATOR)
    browser.get("/alarms")
    browser.post("/alarms/acknowledge", {"alarm": alarms.low, "cause": "usage", "note": ""})
    for text in HOSTILE:
        browser.get(f"/alarms/{alarms.low}")
        page = browser.post(f"/alarms/{alarms.low}/note", {"cause": "theft", "note": text}).text
        assert "<script>alert" not in page and "<img" not in page and "60481729" not in page
        assert desk.rows("select note from ops.alarm where alarm_id = %s", alarms.low) == [(text.strip("\x00") or None,)]
    (row,) = desk.rows("select acknowledged_by, cause from ops.alarm where alarm_id = %s", alarms.low)
    assert row == (OPERATOR, "theft")
    events = desk.rows("select event, changed_by from ops.alarm_history where alarm_id = %s order by history_id", alarms.low)
    assert events[1:] == [("acknowledged", OPERATOR), *[("noted", OPERATOR)] * len(HOSTILE)]


WRONG = [
    ({"alarm": "1", "cause": "'; drop table ops.alarm"}, 400, "请选择原因"),
    ({"alarm": "1"}, 400, "请选择原因"),
    ({"cause": "network"}, 400, "请至少选择一条报警"),
    ({"alarm": "x", "cause": "network"}, 400, "的值不可用"),
    ({"alarm": "1" * 30, "cause": "network"}, 400, "的值不可用"),
    ({"alarm": ["1"] * 501, "cause": "network"}, 400, "一次最多 500 条"),
    ({"alarm": "1", "cause": "network", "note": "长" * 1001}, 400, "“备注”超过 1000 个字符"),
    ({"alarm": "1", "cause": "network", "note": "x" * 300_000}, 413, "超过"),
]


@pytest.mark.parametrize(("fields", "status", "words"), WRONG)
def test_a_form_that_cannot_be_meant_so_is_refused_with_words(
    desk: Served, alarms: Alarms, fields: dict[str, Any], status: int, words: str
) -> None:
    browser = desk.browser(OPERATOR)
    browser.get("/alarms")
    answer = browser.post("/alarms/acknowledge", fields)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert desk.rows("select count(*) from ops.alarm where acknowledged_at is not null") == [(0,)]


def test_a_cause_is_given_after_the_alarm_is_acknowledged(desk: Served, alarms: Alarms) -> None:
    browser = desk.browser(OPERATOR)
    browser.get("/alarms")
    answer = browser.post(f"/alarms/{alarms.low}/note", FORM)
    assert (answer.status_code, "请先确认此报警" in answer.text) == (409, True)


def test_ten_people_at_once_acknowledge_and_the_second_is_told_by_whom_and_when(desk: Served, alarms: Alarms) -> None:
    numbers = raise_alarms(desk.dsn, *(Case(f"X{number}", "DOOR", timedelta(hours=1), None) for number in range(9)))
    targets = [alarms.low, alarms.low, *numbers[1:]]
    browsers = [desk.browser(f"olga{number}") for number in range(10)]

    def acknowledge(browser: Browser, number: int) -> str:
        browser.get(f"/alarms/{number}")
        return browser.post("/alarms/acknowledge", {"alarm": number, "back": f"/alarms/{number}", **FORM}).text

    with ThreadPoolExecutor(10) as pool:
        pages = list(pool.map(acknowledge, browsers, targets))
    history = "select alarm_id, changed_by, acknowledged_at from ops.alarm_history where event = 'acknowledged' order by alarm_id"
    rows = desk.rows(history)
    assert [number for number, _, _ in rows] == sorted({*targets})
    (winner, at) = next((by, at) for number, by, at in rows if number == alarms.low)
    first, second = (pages[0], pages[1]) if winner == "olga0" else (pages[1], pages[0])
    assert "已由您于" in first
    assert f"未由您确认：{winner} 已于 {at.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M:%S} 确认" in second
    assert all("已由您于" in page for page in pages[2:])


def test_one_alarm_is_seen_with_its_curves_limit_neighbours_and_links(desk: Served, alarms: Alarms) -> None:
    page = desk.browser(VIEWER).get(f"/alarms/{alarms.low}").text
    flow, pressure = page.split("<figure>")[1:]
    (raised,) = desk.rows("select raised_at from ops.alarm where alarm_id = %s", alarms.low)[0]
    window = [raised - timedelta(hours=2), raised + timedelta(hours=2)]
    (count,) = desk.rows("select count(*) from mart.intervals('M1', %s, %s)", *window)[0]
    assert flow.count("<circle") == pressure.count("<circle") == count > 8
    assert 'class="limit"' in pressure and "限值 0.14" in pressure and 'class="limit"' not in flow
    assert 'class="band"' in flow
    start, end = (int(at.timestamp() * 1000) for at in window)
    assert f"/d/recall?var-meter=M1&amp;from={start}&amp;to={end}" in page
    assert f"/frames?meter=M1&amp;at={raised.astimezone(UTC):%Y-%m-%dT%H%%3A%M%%3A%S}%2B00%3A00" in page
    assert f'<a href="/alarms/{alarms.earlier}" class="warning">压力越下限</a>' in page
    assert "倒流" in page and "一号管网" in page
    assert "M3" not in page.split("相邻水表")[1], "M3 left the network before"


def test_names_with_signs_of_addresses_lead_to_the_right_board(desk: Served, alarms: Alarms) -> None:
    (number,) = raise_alarms(desk.dsn, Case("A&B=1 \"'<b>水", "DOOR", timedelta(hours=1), None))
    page = desk.browser(VIEWER).get(f"/alarms/{number}").text
    assert "var-meter=A%26B%3D1+%22%27%3Cb%3E%E6%B0%B4&amp;from=" in page
    assert "<b>水" not in page


def test_a_time_shows_what_was_known_then_beside_what_is_known_now(desk: Served, alarms: Alarms) -> None:
    browser = desk.browser(OPERATOR)
    browser.get("/alarms")
    browser.post("/alarms/acknowledge", {"alarm": alarms.low, **FORM})
    known = [at for (at,) in desk.rows("select known_at from ops.alarm_history where alarm_id = %s order by 1", alarms.low)]
    assert len(known) == 2

    def then(moment: datetime) -> str:
        page = browser.get(f"/alarms/{alarms.low}", params={"known": moment.isoformat()}).text
        assert OPERATOR in page.split("当时所知")[0]
        return page.split("当时所知")[1].split("</section>")[0]

    assert "当时尚未得知此报警" in then(known[0] - timedelta(seconds=1))
    assert "0.121 MPa" in then(known[0]) and OPERATOR not in then(known[0])
    assert OPERATOR in then(known[1]) and "管网波动" in then(known[1])
    (raised,) = desk.rows("select raised_at from ops.alarm where alarm_id = %s", alarms.low)[0]
    page = browser.get(f"/alarms/{alarms.low}", params={"known": raised.isoformat()}).text
    (count,) = desk.rows("select count(*) from mart.intervals('M1', %s, %s)", raised - timedelta(hours=2), raised)[0]
    assert page.count("<circle") == 2 * count
    assert "无法判断其中哪些当时尚未到达" in page
    assert browser.get(f"/alarms/{alarms.low}?known=soon").status_code == 400


def test_readings_that_came_later_are_not_shown_as_known_then(desk: Served, alarms: Alarms) -> None:
    (raised,) = desk.rows("select raised_at from ops.alarm where alarm_id = %s", alarms.low)[0]
    rows = desk.rows("select interval_end from mart.intervals('M1', %s, now()) order by 1", raised - timedelta(hours=2))
    times = [rows[0][0] - timedelta(minutes=15), *(at for (at,) in rows)]
    moment = times[8] + timedelta(minutes=5)
    late = datetime.now(UTC)
    came = [late if number == 4 else at + timedelta(minutes=1) for number, at in enumerate(times)]
    frame = reading_frame("0001", times, [float(number) for number in range(len(times))])
    frame = frame.with_columns(received_at=pl.Series(came, dtype=frame.schema["received_at"]))
    assert ParquetStore(desk.site.raw).write(frame).is_empty()
    try:
        page = desk.browser(VIEWER).get(f"/alarms/{alarms.low}", params={"known": moment.isoformat()}).text
        assert page.count("<circle") == 2 * (8 - 2), "the two intervals beside the late reading are missing"
        assert "当时尚未到达的时段有 2 个" in page
        now = desk.browser(VIEWER).get(f"/alarms/{alarms.low}").text
        assert now.count("<circle") == 2 * len(rows)
    finally:
        shutil.rmtree(desk.site.raw)


def test_a_database_that_does_not_answer_or_refuses_is_told_and_the_desk_goes_on(desk: Served, alarms: Alarms) -> None:
    browser = desk.browser(VIEWER)
    for wrong, mended, status, words in (
        ("revoke select on ops.alarm from mainflow_desk", "grant select on ops.alarm to mainflow_desk", 500, "已记入日志"),
        ("alter table ops.alarm rename to away", "alter table ops.away rename to alarm", 503, "指标还没有发布"),
        ("alter role mainflow_desk nologin", "alter role mainflow_desk login", 503, "数据库没有应答"),
    ):
        desk.execute(wrong)
        try:
            answer = browser.get("/alarms")
            assert (answer.status_code, words in answer.text) == (status, True), answer.text
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "psycopg" not in answer.text and "select" not in answer.text
        finally:
            desk.execute(mended)
    assert len(shown(browser.get("/alarms").text)) == 5
    assert "permission denied for table alarm" in desk.log and "not permitted to log in" in desk.log


@pytest.fixture
def vocabulary(desk: Served) -> Iterator[None]:
    path = desk.site.registry / "vocabulary.csv"
    path.write_text(
        "kind,code,zh,en\ncause,frost,冻裂,Frost\ncause,network,管网压力波动,Swing\nregion,east,城东,East\n", "utf-8-sig"
    )
    yield
    path.unlink()


@pytest.mark.usefixtures("vocabulary")
def test_the_sites_vocabulary_adds_causes_and_renames_shipped_ones(desk: Served, alarms: Alarms) -> None:
    browser = desk.browser(OPERATOR)
    page = browser.get("/alarms").text
    offered = re.findall(r'<option value="(\w+)">([^<]+)</option>', page.split('name="cause"')[1].split("</select>")[0])
    assert offered[:3] == [("frost", "冻裂"), ("network", "管网压力波动"), ("pumping", "违规抽水")]
    assert (
        "冻裂"
        in browser.post("/alarms/acknowledge", {"alarm": alarms.low, "cause": "frost", "back": f"/alarms/{alarms.low}"}).text
    )


def test_a_desk_before_the_first_publication_lists_alarms_all_the_same(desk: Served, alarms: Alarms) -> None:
    names = ("relation", "customer_search", "reverse_event")
    browser = desk.browser(ADMIN)
    with psycopg.connect(desk.dsn, autocommit=True) as connection:
        try:
            for name in names:
                connection.execute(f"alter table mart.{name} rename to {name}_away")
            assert len(shown(browser.get("/alarms?customer=M").text)) == 5
            assert shown(browser.get("/alarms?region=west").text) == []
            assert "尚未发布关联资料" in browser.get(f"/alarms/{alarms.low}").text
        finally:
            for name in names:
                connection.execute(f"alter table mart.{name}_away rename to {name}")
