"""The rules on rows, who is told when, and the words: without a Grafana (`test_telling.py` has a real one)."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

import dashboards
from dashboards import Links, telling
from dashboards.alerts import alarm, source
from dashboards.telling import LEAST_PRESSING_FIRST, WEBHOOK, Receiver
from dashboards.vocabulary import ALARMS
from ingest_daemon.contract.alarm_ledger import acknowledge
from tests.mart_fixture import mart_server, take_back, tell

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
NOW = datetime.now(UTC)
LABELS = ("alarm", "code", "severity", "meter", "customer_no", "customer_name")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with mart_server() as dsn:
        yield dsn


@pytest.fixture
def marts(server: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server) as connection:
        yield connection


def values(marts: psycopg.Connection, sql: str) -> dict[tuple[str, ...], float | None]:
    """Value by labels, as Grafana reads a table: text columns are labels, the one other column is the value."""
    found = {}
    for row in marts.cursor(row_factory=dict_row).execute(sql).fetchall():
        labels = {name: value for name, value in row.items() if isinstance(value, str)}
        assert tuple(labels) == LABELS
        assert set(row) - set(labels) == {"value"}
        assert row["value"] is None or isinstance(row["value"], float)
        assert tuple(labels.values()) not in found, "labels must be unique a row"
        found[tuple(labels.values())] = row["value"]
    return found


def of(marts: psycopg.Connection, code: str, meter: str) -> dict[str, tuple[tuple[str, ...], float | None]]:
    """Labels and value of an alarm by query."""
    found = {}
    for ref, sql in alarm.QUERIES.items():
        ((labels, value),) = [item for item in values(marts, sql).items() if (item[0][1], item[0][3]) == (code, meter)]
        found[ref] = labels, value
    return found


def later(marts: psycopg.Connection, code: str, meter: str, by: timedelta) -> None:
    """Let an alarm have become known, and over, earlier than it did."""
    marts.execute(
        "update ops.alarm set first_seen_at = first_seen_at - %s, settled_at = settled_at - %s where code = %s and meter = %s",
        [by, by, code, meter],
    )


def test_the_labels_of_an_alarm_are_the_same_from_its_beginning_to_its_end(marts):
    begin = NOW - timedelta(hours=2)
    seen = []
    for end, value in ((None, 55.0), (None, 66.0), (begin + timedelta(hours=1), 70.0), (None, 71.0)):
        tell(marts, "Q_HI", "M1", begin, end, value, 50.0, "m³/h")
        seen.append(of(marts, "Q_HI", "M1"))
    number = int(seen[0]["A"][0][0])
    with marts.transaction():
        acknowledge(marts, [number], "wang", "检修施工", "")
    seen.append(of(marts, "Q_HI", "M1"))
    assert len({labels for found in seen for labels, _ in found.values()}) == 1
    assert [found["P"][1] for found in seen] == [55, 66, 70, 71, 71]
    assert [found["S"][1] for found in seen] == [None, None, 3600, None, None]
    assert {found["E"][1] for found in seen} == {begin.timestamp()}


def test_an_alarm_fires_until_it_is_settled_and_stays_in_the_view_for_its_last_words(marts):
    begin = NOW - timedelta(hours=3)
    tell(marts, "Q_LO", "M1", begin, None, 0.0, 1.0, "m³/h")
    assert of(marts, "Q_LO", "M1")["A"][1] == 1
    later(marts, "Q_LO", "M1", timedelta(hours=2))
    tell(marts, "Q_LO", "M1", begin, begin + timedelta(hours=1), 0.0, 1.0, "m³/h")
    assert of(marts, "Q_LO", "M1")["A"][1] == 0
    later(marts, "Q_LO", "M1", timedelta(hours=5, minutes=50))
    assert of(marts, "Q_LO", "M1")["C"][1] == (begin + timedelta(hours=1)).timestamp()
    later(marts, "Q_LO", "M1", timedelta(minutes=20))
    assert "Q_LO" not in {labels[1] for labels in values(marts, alarm.QUERIES["A"])}


def test_one_that_was_over_when_it_became_known_fires_for_a_minute(marts):
    begin = NOW - timedelta(hours=3)
    tell(marts, "P_JUMP", "M1", begin, begin + timedelta(minutes=15), 0.2, 0.1, "MPa")
    assert of(marts, "P_JUMP", "M1")["A"][1] == 1
    later(marts, "P_JUMP", "M1", timedelta(seconds=61))
    assert of(marts, "P_JUMP", "M1")["A"][1] == 0


def test_one_that_was_over_for_days_when_it_became_known_is_not_told(marts):
    tell(marts, "RECON", "M1", NOW - timedelta(days=9), NOW - timedelta(days=8), 30.0, 10.0, "m³")
    assert "RECON" not in {labels[1] for labels in values(marts, alarm.QUERIES["A"])}


def test_one_that_was_taken_back_says_so(marts):
    begin = NOW - timedelta(minutes=9)
    tell(marts, "MAINS", "M1", begin, None)
    later(marts, "MAINS", "M1", timedelta(minutes=2))
    take_back(marts, "MAINS", "M1", begin)
    found = {ref: value for ref, (_, value) in of(marts, "MAINS", "M1").items()}
    assert found == {"A": 0, "P": None, "L": None, "E": begin.timestamp(), "C": None, "S": None, "R": 1}


@pytest.mark.parametrize(
    ("look", "is_stale"),
    [(None, False), ("now()", False), ("now() - interval '29 min'", False), ("now() - interval '31 min'", True)],
)
def test_alarms_are_stale_when_nobody_has_looked_for_them_for_half_an_hour(marts, look, is_stale):
    if look:
        marts.execute(f"insert into ops.alarm_look (looked_at) values ({look})")
    ((minutes,),) = marts.execute(source.STALE).fetchall()
    marts.rollback()
    (decision,) = [step["model"] for step in dashboards.all_rules()["source"]["data"] if step["refId"] == "D"]
    assert (minutes > decision["conditions"][0]["evaluator"]["params"][0]) is is_stale


# --- words --------------------------------------------------------------------------------------------------------------------

CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")


def test_rules_and_messages_in_english_have_no_chinese_letter_and_the_other_way_round():
    texts = {
        language: [
            *(
                text
                for rule in dashboards.all_rules(language).values()
                for text in (rule["title"], *rule["annotations"].values())
            ),
            telling.notifications([], {}, "UTC", language)["templates"][0]["template"],
        ]
        for language in ("zh", "en")
    }
    assert not [text for text in texts["en"] if CHINESE.search(text)]
    english = re.compile(r"\b(alarm|cleared|limit|meter|since|pressure|flow)\b(?=[^{}]*(\{\{|$))", re.IGNORECASE)
    told = [rule["annotations"][name] for rule in dashboards.all_rules("zh").values() for name in ("title", "summary")]
    assert not [text for text in told if english.search(re.sub(r"\{\{.*?\}\}", "", text))]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_template_of_a_notification_is_closed(language):
    for rule in dashboards.all_rules(language).values():
        for text in rule["annotations"].values():
            assert text.count("{{") == text.count("}}")
            opened = len(re.findall(r"\{\{ (?:if|with|range) ", text))
            assert opened == len(re.findall(r"\{\{ end \}\}", text))


def test_every_code_and_the_outage_have_their_heading_in_the_runbook_and_every_notification_leads_to_one():
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted([*ALARMS, source.CODE])
    links = {name: rule["annotations"]["runbook_url"] for name, rule in dashboards.all_rules("zh", Links(runbook="x")).items()}
    assert links["source"] == f"x#{source.CODE.lower()}"
    assert links["alarm"].endswith("x#{{ toLower $code }}")
    assert all(code.lower() in {heading.lower() for heading in headings} for code in ALARMS)


def test_every_section_of_the_runbook_has_both_languages():
    for section in RUNBOOK.read_text(encoding="utf-8").split("\n## ")[1:]:
        assert CHINESE.search(section), section[:40]
        assert len(re.findall(r"[A-Za-z]{3,}", section)) > 12, section[:40]


# --- who is told when ---------------------------------------------------------------------------------------------------------


def told(receiver: Receiver, severity: str, *, at_rest: bool) -> bool:
    """Whether the policies send a severity to a receiver, evaluated here as Alertmanager does."""
    content = telling.notifications([receiver], {}, "Asia/Shanghai", "zh")
    (policy,) = content["policies"]
    sent = False
    for route in policy["routes"]:
        matches = all(
            bool(re.fullmatch(pattern, severity)) is (operator == "=~")
            for _, operator, pattern in route.get("object_matchers", [])
        )
        muted = [name for name in route.get("mute_time_intervals", []) if name == telling.ALWAYS or at_rest]
        sent |= matches and not muted
    return sent


@pytest.mark.parametrize(
    ("by_day", "at_rest", "rest", "told_by_day", "told_at_rest"),
    [
        ("info", "info", None, 4, 4),
        ("warning", "info", None, 2, 2),
        ("info", "critical", None, 4, 4),
        ("maintenance", "critical", ("22:00", "06:00"), 3, 1),
        ("info", "info", ("22:00", "06:00"), 4, 4),
        ("critical", "critical", ("12:00", "13:00"), 1, 1),
    ],
)
def test_severity_and_hour_decide_who_is_told(by_day, at_rest, rest, told_by_day, told_at_rest):
    receiver = Receiver("duty", WEBHOOK, "http://x", by_day=by_day, at_rest=at_rest, rest=rest)
    for most, resting in ((told_by_day, False), (told_at_rest, True)):
        named = [severity for severity in LEAST_PRESSING_FIRST if told(receiver, severity, at_rest=resting)]
        assert named == list(LEAST_PRESSING_FIRST[4 - most :])
        assert told(receiver, "unknown", at_rest=resting), "better one notice too many"


def test_hours_of_rest_over_midnight_have_two_parts():
    receiver = Receiver("duty", WEBHOOK, "http://x", at_rest="critical", rest=("22:00", "06:00"))
    times = telling.notifications([receiver], {}, "Asia/Shanghai", "zh")["muteTimes"][1]["time_intervals"]
    assert times == [
        {
            "times": [{"start_time": "22:00", "end_time": "24:00"}, {"start_time": "00:00", "end_time": "06:00"}],
            "location": "Asia/Shanghai",
        }
    ]


def test_a_receiver_that_is_gone_is_taken_back_and_stays_so():
    two = [Receiver(name, WEBHOOK, "http://x") for name in ("one", "two")]
    first = telling.notifications(two, {}, "UTC", "zh")
    second = telling.notifications(two[:1], first, "UTC", "zh")
    third = telling.notifications(two[:1], second, "UTC", "zh")
    gone = [{"orgId": 1, "uid": "mainflow-two"}]
    assert "deleteContactPoints" not in first
    assert second["deleteContactPoints"] == third["deleteContactPoints"] == gone


def test_with_no_receiver_nobody_is_told():
    content = telling.notifications([], {}, "UTC", "zh")
    assert "contactPoints" not in content
    assert [route["mute_time_intervals"] for route in content["policies"][0]["routes"]] == [[telling.ALWAYS]]
