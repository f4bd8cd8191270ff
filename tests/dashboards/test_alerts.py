"""The alert rules on rows: each fires and stays silent where it should, and its notification has what a person needs."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

import dashboards
from tests.mart_fixture import mart_server

COMPARE = {"gt": float.__gt__, "lt": float.__lt__}


@pytest.fixture(scope="module")
def marts() -> Iterator[psycopg.Connection]:
    with mart_server() as dsn, psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as connection:
        yield connection


@pytest.fixture(autouse=True)
def undone(marts):
    yield
    marts.rollback()


def values(marts: psycopg.Connection, rule: dict, ref: str) -> dict[tuple[str, ...], float]:
    """Value by labels, as Grafana reads a table: text columns are labels, the one numeric column is the value."""
    sql = next(step["model"]["rawSql"] for step in rule["data"] if step["refId"] == ref)
    found = {}
    for row in marts.execute(sql).fetchall():
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert len(numbers) == 1, row
        assert isinstance(numbers[0], float), row
        labels = tuple(value for value in row.values() if isinstance(value, str))
        assert labels not in found, "labels must be unique a row"
        found[labels] = numbers[0]
    return found


def firing(marts: psycopg.Connection, name: str) -> set[str]:
    """Meters for which rule `name` fires: its queries on the rows, its formula and its threshold evaluated here."""
    rule = dashboards.all_rules()[name]
    known: dict[str, dict[tuple[str, ...], float]] = {}
    for step in rule["data"]:
        model = step["model"]
        if "rawSql" in model:
            known[step["refId"]] = values(marts, rule, step["refId"])
        elif model["type"] == "math":
            left, right = (known[name.strip(" $")] for name in model["expression"].split("-"))
            known[step["refId"]] = {labels: left[labels] - right[labels] for labels in left.keys() & right.keys()}
        else:
            test = model["conditions"][0]["evaluator"]
            decide, limit = COMPARE[test["type"]], float(test["params"][0])
            known[step["refId"]] = {labels: float(decide(value, limit)) for labels, value in known[model["expression"]].items()}
    return {labels[0] for labels, value in known[rule["condition"]].items() if value}


CASES = [
    ("pressure-below-limit", "0.139 MPa is below 0.140", "UPDATE mart.latest_status SET pressure_mpa = 0.139", {"M1", "M2"}),
    ("pressure-below-limit", "0.140 MPa is the limit itself", "UPDATE mart.latest_status SET pressure_mpa = 0.140", set()),
    (
        "pressure-below-limit",
        "each meter has its own limit",
        "UPDATE mart.latest_status SET pressure_low_mpa = 0.4 WHERE meter = 'M1'",
        {"M1", "M2"},
    ),
    ("pressure-below-limit", "no pressure is not a low pressure", "UPDATE mart.latest_status SET pressure_mpa = NULL", set()),
    ("pressure-below-limit", "no limit, no alarm", "UPDATE mart.latest_status SET pressure_low_mpa = NULL", set()),
    ("no-data", "35 h is still good", "UPDATE mart.latest_status SET reading_at = now() - interval '35 h'", {"M4"}),
    (
        "no-data",
        "37 h is too long",
        "UPDATE mart.latest_status SET reading_at = now() - interval '37 h'",
        {"M1", "M2", "M3", "M4"},
    ),
    (
        "no-data",
        "a removed meter may be silent",
        "UPDATE mart.meter SET removed_on = current_date WHERE meter IN ('M3', 'M4')",
        set(),
    ),
    (
        "no-data",
        "a new meter that has not sent yet has its time",
        "UPDATE mart.meter SET installed_on = current_date WHERE meter = 'M4'",
        {"M3"},
    ),
    (
        "no-data",
        "a meter that is read by hand has nothing to send",
        "UPDATE mart.meter SET source = 'manual', terminal = NULL WHERE meter = 'M4'",
        {"M3"},
    ),
    ("no-data", "an empty registry has nothing to say", "DELETE FROM mart.meter", set()),
]


@pytest.mark.parametrize(("name", "case", "change", "expected"), CASES, ids=[case[1] for case in CASES])
def test_a_rule_fires_for_just_these_meters(marts, name, case, change, expected):
    marts.execute(change)
    assert firing(marts, name) == expected


def test_every_rule_has_a_case_that_fires_and_one_that_is_silent():
    for name in dashboards.all_rules():
        outcomes = [bool(expected) for rule, _, _, expected in CASES if rule == name]
        assert True in outcomes
        assert False in outcomes


def test_a_recovered_meter_keeps_its_row_so_that_the_alert_resolves_with_values(marts):
    marts.execute("UPDATE mart.latest_status SET pressure_mpa = 0.3 WHERE meter = 'M2'")
    pressures = values(marts, dashboards.all_rules()["pressure-below-limit"], "A")
    assert pressures["M2", "C2", "市人民医院"] == 0.3


@pytest.mark.parametrize("name", dashboards.all_rules())
def test_all_queries_of_a_rule_speak_of_the_same_meters(marts, name):
    rule = dashboards.all_rules()[name]
    queries = [step["refId"] for step in rule["data"] if "rawSql" in step["model"]]
    labels = [set(values(marts, rule, ref)) for ref in queries]
    assert len(labels) >= 2
    assert all(found == labels[0] for found in labels)


@pytest.mark.parametrize("name", dashboards.all_rules())
def test_labels_do_not_change_with_a_new_reading(marts, name):
    rule = dashboards.all_rules()[name]
    before = set(values(marts, rule, "A"))
    marts.execute("UPDATE mart.latest_status SET reading_at = now(), pressure_at = now(), pressure_mpa = pressure_mpa + 0.001")
    assert set(values(marts, rule, "A")) == before


def test_the_event_time_is_that_of_the_pressure(marts):
    epochs = values(marts, dashboards.all_rules()["pressure-below-limit"], "T")
    (wanted,) = marts.execute("SELECT pressure_at FROM mart.latest_status WHERE meter = 'M2'").fetchall()
    assert datetime.fromtimestamp(epochs["M2", "C2", "市人民医院"], UTC) == wanted["pressure_at"]


@pytest.mark.parametrize("name", dashboards.all_rules())
def test_a_notification_names_customer_meter_value_limit_and_time_in_both_languages(name):
    annotations = dashboards.all_rules()[name]["annotations"]
    for part in ("customer", "meter", "value", "limit", "event_at"):
        assert annotations[part] in annotations["summary"]
        assert annotations[part] in annotations["summary_en"]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in annotations["summary"])
    assert "$$" not in "".join(annotations.values()), "annotations are not interpolated: one dollar"
