"""Who is told of which alarm, when and in which words: through a real Grafana, a real PostgreSQL and stand-ins of the receivers.

Runs where GRAFANA_HOME names an installed Grafana 12 or `grafana` is on the PATH. The last test looks at all that was told.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import psycopg
import pytest

from dashboards import Links
from dashboards.telling import DINGTALK, EMAIL, SMS, WEBHOOK, WECOM, Receiver
from ingest_daemon.contract.alarm_ledger import note_look
from ingest_daemon.sms.alarms import read_alarms
from tests.grafana_helpers import HOME, Grafana, eventually, running_grafana
from tests.mart_fixture import ZONE, Server, stoppable_server, take_back, tell
from tests.robots import StandIn, stand_in, stand_in_of_smtp

pytestmark = [
    pytest.mark.skipif(HOME is None, reason="needs a Grafana 12: set GRAFANA_HOME or put `grafana` on the PATH"),
    pytest.mark.timeout(600),
]
LINKS = Links("https://desk.example/water", "https://docs.example/runbook.html")
SECRET = "a-secret$of the test"
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
ODD_METER, ODD_CUSTOMER = "M 5/北&c", 'A&B "供水" {{ $labels.meter }} <b>'


class Told(NamedTuple):
    """What runs, and who is told."""

    grafana: Grafana
    server: Server
    hook: StandIn
    mails: list[Message]

    def tell(self, *alarm: Any) -> str:
        """Let an alarm be known (`mart_fixture.tell`); gives its id. One that is known already is so for more than a minute."""
        with psycopg.connect(self.server.dsn) as connection:
            connection.execute("update ops.alarm set first_seen_at = first_seen_at - interval '61 s' where code = %s", alarm[:1])
            tell(connection, *alarm)
            code, meter, begin = alarm[:3]
            (alarm_id,) = connection.execute(
                "select alarm_id from ops.alarm where code = %s and meter = %s and raised_at = %s", [code, meter, begin]
            ).fetchone() or (None,)
        return str(alarm_id)

    def alerts(self, alarm_id: str, status: str, path: str = "/webhook") -> list[dict[str, Any]]:
        return [
            alert for alert in self.hook.alerts(path) if (alert["labels"].get("alarm"), alert["status"]) == (alarm_id, status)
        ]

    def told(self, alarm_id: str, status: str = "firing", path: str = "/webhook") -> dict[str, Any]:
        """The alert, as soon as it is told."""
        return eventually(lambda: self.alerts(alarm_id, status, path))[0]


def local(moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M}"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    hour = datetime.now(ZoneInfo(ZONE))
    rest, elsewhere = (
        (f"{hour + timedelta(hours=begin):%H:%M}", f"{hour + timedelta(hours=end):%H:%M}") for begin, end in ((-1, 3), (6, 9))
    )
    with (
        stoppable_server() as server,
        stand_in() as hook,
        stand_in_of_smtp() as (port, mails),
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in (("ENABLED", "true"), ("HOST", f"127.0.0.1:{port}"), ("FROM_ADDRESS", "mainflow@example.com")):
            patch.setenv(f"GF_SMTP_{name}", value)
        with psycopg.connect(server.dsn) as connection:
            connection.execute("update ops.alarm set first_seen_at = first_seen_at - interval '61 s'")  # one is over, so not told
            connection.execute(
                "insert into mart.meter (meter, customer_no, customer_name) values (%s, 'C 9', %s)", [ODD_METER, ODD_CUSTOMER]
            )
        receivers = [
            Receiver("duty", WEBHOOK, f"{hook.url}/webhook?key=a$b"),
            Receiver("dingtalk", DINGTALK, f"{hook.url}/stand-in-of-dingtalk?access_token=x", by_day="warning"),
            Receiver("wecom", WECOM, f"{hook.url}/stand-in-of-wecom?key=x", by_day="warning"),
            Receiver("office", EMAIL, "wang@example.com, li@example.com", by_day="critical"),
            Receiver("asleep", SMS, f"{hook.url}/asleep", SECRET, by_day="maintenance", at_rest="critical", rest=rest),
            Receiver("awake", SMS, f"{hook.url}/awake", SECRET, by_day="maintenance", at_rest="critical", rest=elsewhere),
        ]
        with running_grafana(tmp_path_factory.mktemp("grafana"), server.dsn, receivers, links=LINKS) as grafana:
            running = Told(grafana, server, hook, mails)
            running.told("2")  # of the fixture: from here on everybody is told
            yield running


def test_an_alarm_is_told_with_all_a_person_needs_and_its_end_in_words_of_its_own(told):
    begin = NOW - 100 * MINUTE
    number = told.tell("P_LO", "M1", begin, None, 0.12, 0.14, "MPa")
    alert = told.told(number)
    said = {
        "title": "【报警】压力越下限：第一纺织厂 (C1)",
        "summary": f"【报警】压力越下限：第一纺织厂 (C1) 水表 M1，0.120 MPa（限值 0.140 MPa），{local(begin)}",
        "customer": "第一纺织厂 (C1)",
        "meter": "M1",
        "value": "0.120 MPa",
        "limit": "0.140 MPa",
        "event_at": local(begin),
        "alarm_url": f"https://desk.example/water/alarms/{number}",
        "runbook_url": "https://docs.example/runbook.html#p_lo",
    }
    assert {name: alert["annotations"][name] for name in said} == said
    chart = urlsplit(alert["annotations"]["chart_url"])
    assert f"{chart.scheme}://{chart.netloc}{chart.path}" == f"{told.grafana.url}/d/recall"
    millis = int(begin.timestamp() * 1000)
    assert parse_qs(chart.query) == {"var-meter": ["M1"], "from": [str(millis - 7_200_000)], "to": [str(millis + 7_200_000)]}
    assert told.tell("P_LO", "M1", begin, begin + 85 * MINUTE, 0.1, 0.14, "MPa") == number
    resolved = told.told(number, "resolved")
    assert resolved["fingerprint"] == alert["fingerprint"]
    assert resolved["annotations"]["title"] == "【恢复】压力越下限：第一纺织厂 (C1)"
    assert resolved["annotations"]["summary"] == (
        f"【恢复】压力越下限：第一纺织厂 (C1) 水表 M1，自 {local(begin)} 至 {local(begin + 85 * MINUTE)}，历时 1 小时 25 分钟"
        "，极值 0.100 MPa（限值 0.140 MPa）"
    )


def test_what_came_late_and_was_over_before_is_told_once_and_ends(told):
    begin = NOW - 20 * 60 * MINUTE
    number = told.tell("P_HI", "M1", begin, begin + 30 * MINUTE, 0.7, 0.6, "MPa")
    assert told.told(number)["annotations"]["summary"].endswith(f"，{local(begin)}（已于 {local(begin + 30 * MINUTE)} 恢复）")
    assert "历时 30 分钟" in told.told(number, "resolved")["annotations"]["summary"]


def test_what_is_taken_back_is_told_as_that_with_the_reason(told):
    begin = NOW - 10 * MINUTE
    number = told.tell("DOOR", "M1", begin, None)
    assert told.told(number)["annotations"]["summary"] == f"【报警】箱门打开：第一纺织厂 (C1) 水表 M1，{local(begin)}"
    with psycopg.connect(told.server.dsn) as connection:
        connection.execute("update ops.alarm set first_seen_at = first_seen_at - interval '61 s'")
        take_back(connection, "DOOR", "M1", begin)
    assert told.told(number, "resolved")["annotations"]["summary"] == (
        f"【撤销】箱门打开：第一纺织厂 (C1) 水表 M1，{local(begin)} 的报警撤销：后到的数据表明当时情况不成立"
    )


def test_names_with_anything_in_them_stay_text_and_links_are_encoded(told):
    number = told.tell("MAG", ODD_METER, NOW - 5 * MINUTE, None)
    said = told.told(number)["annotations"]
    assert said["customer"] == f"{ODD_CUSTOMER} (C 9)"
    assert ODD_CUSTOMER in said["summary"]
    assert said["chart_url"].isascii()
    assert " " not in said["chart_url"]
    assert parse_qs(urlsplit(said["chart_url"]).query)["var-meter"] == [ODD_METER]
    with psycopg.connect(told.server.dsn) as connection:
        connection.execute("delete from mart.meter where customer_no = 'C 9'")
    number = told.tell("EMPTY", ODD_METER, NOW - 5 * MINUTE, None)
    assert told.told(number)["annotations"]["customer"] == "（未登记客户）"


def test_at_rest_maintenance_sends_no_sms_and_what_is_pressing_does(told):
    maintenance = told.tell("BATT", "M1", NOW - 3 * MINUTE, None, 3.2, 3.3, "V")
    pressing = told.tell("MAG", "M1", NOW - 2 * MINUTE, None)
    told.told(pressing, path="/asleep")
    told.told(maintenance, path="/awake")
    told.told(pressing, path="/awake")
    assert {alert["labels"]["severity"] for alert in told.hook.alerts("/asleep")} == {"critical"}


def test_what_is_posted_for_sms_carries_the_secret_and_is_understood(told):
    number = told.tell("SENSOR", "M1", NOW - 4 * MINUTE, None)
    told.told(number, path="/awake")
    told.tell("SENSOR", "M1", NOW - 4 * MINUTE, NOW - 2 * MINUTE)
    told.told(number, "resolved", path="/awake")
    posts = told.hook.to("/awake")
    assert {post.authorization for post in posts} == {f"Bearer {SECRET}"}
    texts = [alarm.text for post in posts for alarm in read_alarms(post.raw)]
    assert f"【报警】传感器故障：第一纺织厂 (C1) 水表 M1，{local(NOW - 4 * MINUTE)}" in texts
    assert any(text.startswith("【恢复】传感器故障：第一纺织厂 (C1) 水表 M1，自 ") for text in texts)


def test_group_robots_get_json_that_their_vendors_document(told):
    number = told.tell("Q_REV", "M1", NOW - 6 * MINUTE, None, 12.34, 0.1, "m³/h")
    summary = told.told(number)["annotations"]["summary"]

    def robots() -> bool:
        return all(
            any(summary in str(post.body) for post in told.hook.to(path))
            for path in ("/stand-in-of-dingtalk", "/stand-in-of-wecom")
        )

    eventually(robots)
    for path in ("/stand-in-of-dingtalk", "/stand-in-of-wecom"):
        assert {post.errcode for post in told.hook.to(path)} == {0}
        assert not any("电池低电压" in str(post.body) for post in told.hook.to(path)), "by_day = warning"
    texts = [post.body["markdown"] for post in told.hook.to("/stand-in-of-dingtalk")]
    assert all("Mainflow" in text["text"] for text in texts), "the keyword of its security settings"
    assert any(f"[查看报警](https://desk.example/water/alarms/{number})" in text["text"] for text in texts)


def test_a_mail_goes_by_the_settings_of_grafana_to_all_addresses(told):
    number = told.tell("MAG", "M3", NOW - 8 * MINUTE, None)
    subject = "【报警】强磁干扰：市人民医院 (C2)"
    mail = eventually(lambda: [mail for mail in told.mails if mail["subject"] == subject])[0]
    assert "wang@example.com" in mail["to"]
    assert "li@example.com" in mail["to"]
    text = mail.get_body(("plain", "html")).get_content()
    assert f"【报警】强磁干扰：市人民医院 (C2) 水表 M3，{local(NOW - 8 * MINUTE)}" in text
    assert f"https://desk.example/water/alarms/{number}" in text


def test_an_outage_of_the_database_is_told_once_and_nothing_else_is(told):
    before = Counter((alert["labels"]["alarm"], alert["status"]) for alert in told.hook.alerts())
    told.server.stop()
    try:
        outage = told.told("source")
    finally:
        told.server.start()
    assert outage["annotations"]["summary"].startswith("【报警】报警数据中断：Grafana 读不到数据库")
    (post,) = (post for post in told.hook.to("/webhook") if post.body["alerts"][0]["labels"]["alarm"] == "source")
    assert post.body["title"] == "【报警】报警数据中断"
    told.told("source", "resolved")
    last = told.hook.to("/webhook")[-1].body
    assert (last["title"], last["message"].splitlines()[0]) == ("【恢复】报警数据恢复", "【恢复】报警数据恢复正常")
    number = told.tell("DOOR", "M2", NOW - 7 * MINUTE, None)
    told.told(number)
    after = Counter((alert["labels"]["alarm"], alert["status"]) for alert in told.hook.alerts())
    new = set(after - before)
    assert {("source", "firing"), ("source", "resolved"), (number, "firing")} >= new


def test_nobody_looking_for_alarms_any_more_is_told_and_its_end(told):
    with psycopg.connect(told.server.dsn) as connection:
        connection.execute("insert into ops.alarm_look (looked_at) values (now() - interval '47 minutes')")
    stale = eventually(lambda: told.alerts("source", "firing")[1:])[0]
    assert stale["annotations"]["summary"] in (
        f"【报警】报警判断停顿：已 {minutes} 分钟未查找新报警" for minutes in range(47, 52)
    )
    with psycopg.connect(told.server.dsn) as connection:
        note_look(connection)
    eventually(lambda: told.alerts("source", "resolved")[1:])


def test_of_all_that_was_told_nothing_was_told_twice_together_or_as_a_template(told):
    for path in ("/webhook", "/awake"):
        alone = [post for post in told.hook.to(path) if len(post.body["alerts"]) != 1]
        assert not alone, "a new alarm sends no old one again"
        counted = Counter((alert["labels"]["alarm"], alert["status"], alert["startsAt"]) for alert in told.hook.alerts(path))
        assert set(counted.values()) == {1}
        for (number, status), times in Counter((number, status) for number, status, _ in counted).items():
            assert times == (2 if number == "source" else 1), (number, status)
    assert "{{ $" not in str([post.body for post in told.hook.posts]).replace(ODD_CUSTOMER, "")
    assert "no value" not in str([post.body for post in told.hook.posts])
