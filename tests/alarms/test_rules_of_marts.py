"""Rules that follow from marts: rows of the mart in, alarms out. The tables hold just what the rule reads."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from assets import alarm_rules, tables, warehouse
from tests.alarms.sites import ZONE

FIRST = date(2026, 3, 1)
NOW = datetime(2026, 3, 20, 12, tzinfo=ZONE)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def midnight(number: int) -> datetime:
    return datetime(2026, 3, 1, tzinfo=ZONE) + timedelta(days=number)


def hour(number: float) -> datetime:
    return datetime(2026, 3, 1, tzinfo=ZONE) + timedelta(hours=number)


def by_day(column: str, values: list[Any], **others: Any) -> list[dict[str, Any]]:
    """A row a day."""
    return [{"meter": "M1", "day": day(number), column: value, **others} for number, value in enumerate(values)]


def nights(listed: list[tuple[float | None, bool]]) -> list[dict[str, Any]]:
    return [
        {"meter": "M1", "day": day(number), "night_min_m3h": flow, "suspected": suspected, "limit_m3h": 1.0}
        for number, (flow, suspected) in enumerate(listed)
    ]


def bills(*reasons: str) -> list[dict[str, Any]]:
    """A bill a week, each with its main reason and a rest."""
    return [
        {
            "meter": "M1",
            "bill_no": f"B{number}",
            "period_end": day(7 * number),
            "reason": reason,
            "difference_m3": part,
            "is_main": main,
        }
        for number, reason in enumerate(reasons)
        for reason, part, main in ((reason, -40.0, True), ("rounding", 0.2, False))
    ]


def hours(volumes: list[float]) -> list[dict[str, Any]]:
    return [
        {"meter": "M1", "hour_start": hour(number), "day": hour(number).date(), "volume_m3": volume, "clean": True}
        for number, volume in enumerate(volumes)
    ]


BAND = [
    {"meter": "M1", "made_on": day(0), "hour_start": hour(number), "p10_m3h": 8.0, "p50_m3h": 10.0, "p90_m3h": 13.0}
    for number in range(24)
]

Case = tuple[str, str, Mapping[str, list[dict[str, Any]]], list[tuple[Any, ...]]]

CASES: list[Case] = [
    (
        "BATT",
        "a battery of 3.29 V is low from that day until one with more than the limit and its return",
        {"delivery_day": by_day("battery_min_v", [3.4, 3.29, 3.32, 3.28, 3.36])},
        [(midnight(1), midnight(4), 3.28, 3.3)],
    ),
    ("BATT", "a battery of 3.30 V is not low", {"delivery_day": by_day("battery_min_v", [3.4, 3.3, 3.3])}, []),
    (
        "BATT",
        "a day without a voltage says nothing",
        {"delivery_day": by_day("battery_min_v", [3.2, None, 3.4])},
        [(midnight(0), midnight(2), 3.2, 3.3)],
    ),
    (
        "LATE",
        "readings that come half a week late are late until a day in time",
        {"delivery_day": by_day("lag_median_s", [3600.0, 302_400.0, 86_400.0])},
        [(midnight(1), midnight(2), 84.0, 48.0)],
    ),
    ("LATE", "readings that come a day late are not", {"delivery_day": by_day("lag_median_s", [86_400.0, 100_000.0])}, []),
    (
        "LEAK_NIGHT",
        "a suspected leak is an alarm from its night, and a night that is not known does not clear it",
        {"night_flow": nights([(0.5, False), (2.0, True), (None, False), (2.5, True), (0.5, False)])},
        [(hour(26), hour(98), 2.5, 1.0)],
    ),
    ("LEAK_NIGHT", "a night that is not suspect is none", {"night_flow": nights([(0.5, False), (1.5, False)])}, []),
    (
        "BAND",
        "four hours far outside the forecast are an alarm",
        {"forecast": BAND, "hourly_usage": hours([10, 10, 17, 18, 19, 17, 10, 10])},
        [(hour(2), hour(6), 19.0, 16.0)],
    ),
    ("BAND", "three hours are none", {"forecast": BAND, "hourly_usage": hours([10, 17, 18, 19, 10])}, []),
    (
        "BAND",
        "hours outside the band but not far are none",
        {"forecast": BAND, "hourly_usage": hours([10, 15, 15, 15, 15, 15, 10])},
        [],
    ),
    (
        "DQ",
        "a day below the limit is an alarm until one above the limit and its return",
        {"quality_score": by_day("score", [90.0, 59.0, 62.0, 80.0], readings=96)},
        [(midnight(1), midnight(3), 59.0, 60.0)],
    ),
    ("DQ", "a day of 60 points is none", {"quality_score": by_day("score", [60.0], readings=96)}, []),
    ("DQ", "a day without a reading is the business of NO_DATA", {"quality_score": by_day("score", [0.0], readings=0)}, []),
    (
        "DQ",
        "a day that is not over is not judged",
        {"quality_score": [{"meter": "M1", "day": NOW.date(), "score": 10.0, "readings": 3}]},
        [],
    ),
    (
        "RECON",
        "a bill ten times too high is an alarm until the next bill that agrees",
        {"reconciliation_reason": bills("rounding", "factor", "rounding")},
        [(midnight(7), midnight(14), 40.0, 1.0)],
    ),
    ("RECON", "a bill whose read was a day late is none", {"reconciliation_reason": bills("cut_off", "estimate")}, []),
]

NUMBERS = {"value": pl.Float64, "limit_value": pl.Float64}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse.opened(tmp_path / "marts.duckdb", str(ZONE)) as opened:
        tables.prepare(opened)
        opened.execute(
            "create table registry.limits (meter varchar, code varchar, limit_value double, valid_from date)"
        ).fetchall()
        opened.execute(
            "create table meter_history as select 'M1' as meter, '1' as terminal, date '2020-01-01' as first_day, "
            "null::date as last_day, null::timestamptz as valid_to, 100.0 as q3_m3h, 125.0 as q4_m3h, "
            "null::double as pressure_low_mpa, null::double as pressure_high_mpa, 0.1 as resolution_m3, 'register' as reads"
        ).fetchall()
        opened.execute("create table meter as select 'M1' as meter, 36.0 as silent_after_h, false as runs_always").fetchall()
        yield opened


def evaluated(
    connection: duckdb.DuckDBPyConnection, rule: str, rows: Mapping[str, list[dict[str, Any]]]
) -> list[tuple[Any, ...]]:
    for name, listed in rows.items():
        warehouse.replace_all(connection, name, pl.DataFrame(listed, infer_schema_length=None))
    scope = pl.DataFrame({"meter": ["M1"] * 20, "day": [day(number) for number in range(20)]})
    held, _ = alarm_rules.evaluate(connection, alarm_rules.rules()[rule], scope, NOW.astimezone(UTC))
    return [row[1:] for row in held.iter_rows()]


@pytest.mark.parametrize(("rule", "name", "rows", "expected"), CASES, ids=[case[1] for case in CASES])
def test_a_rule_gives_just_these_alarms(
    connection: duckdb.DuckDBPyConnection, rule: str, name: str, rows: Mapping[str, Any], expected: list[tuple[Any, ...]]
) -> None:
    found = evaluated(connection, rule, rows)
    assert found == [(begin, end, pytest.approx(value), pytest.approx(limit)) for begin, end, value, limit in expected]


def test_every_rule_of_marts_has_a_case_that_raises_and_one_that_is_silent() -> None:
    of_intervals = {"P_HI", "P_LO", "P_JUMP", "Q_HI", "Q_LO", "Q_REV", "OVER_Q4", "NO_DATA"}
    assert {rule for rule, *_ in CASES} == set(alarm_rules.rules()) - of_intervals
    for name in {rule for rule, *_ in CASES}:
        assert {bool(expected) for rule, _, _, expected in CASES if rule == name} == {True, False}


def test_a_point_has_its_own_limit_from_the_day_on_which_it_holds(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "insert into registry.limits values ('M1', 'BATT', 3.5, '2026-03-03'), ('M2', 'BATT', 9, '2026-01-01')"
    ).fetchall()
    found = evaluated(connection, "BATT", {"delivery_day": by_day("battery_min_v", [3.4] * 4)})
    assert found == [(midnight(2), None, 3.4, 3.5)]


def test_an_alarm_of_a_meter_whose_service_is_over_ends_with_it(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("update meter_history set last_day = '2026-03-04', valid_to = '2026-03-05 00:00+08'").fetchall()
    found = evaluated(connection, "BATT", {"delivery_day": by_day("battery_min_v", [3.4, 3.2, 3.2, 3.2])})
    assert found == [(midnight(1), midnight(4), 3.2, 3.3)]
