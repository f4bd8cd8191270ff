"""The functions that boards of analysis call, on a real PostgreSQL, against figures worked out by hand or by another way."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row

from assets import publication
from assets.partitions import Partitions
from tests.assets.test_publication import insert
from tests.figures import empty_warehouse

ZONE = ZoneInfo("Asia/Shanghai")
DAY = date(2026, 3, 2)
MONTH = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=ZONE)

CLASSES = [(0, 10.0, 0.0), (401, 20.0, 20.0), (450, 60.0, 180.0), (500, 10.0, 100.0)]
"""Class, hours and volume of the fixture's month: none, 1, 3 and 10 m³/h."""


@pytest.fixture(scope="module")
def mart(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A reader of what was published of a handful of rows."""
    with empty_warehouse(tmp_path_factory.mktemp("marts") / "marts.duckdb", [DAY], ZONE) as connection:
        fill(connection)
        partitions = Partitions((DAY,), ZONE)
        partitions.prepare(connection)
        publication.publish(connection, postgres, partitions)
    with psycopg.connect(postgres, row_factory=dict_row) as reader:
        yield reader


def fill(connection: Any) -> None:
    """The fixture's rows."""
    for name, value in {"fit.peak_factor": 1.3, "fit.start_share": 0.4, "fit.error_at_q1_pct": -5.0}.items():
        insert(connection, "criterion", name=name, valid_from=date(1, 1, 1), value=value, name_zh=name, name_en=name)
    codes, hours, volumes = (list(part) for part in zip(*CLASSES, strict=True))
    insert(connection, "flow_distribution", meter="M1", month=MONTH, **{"class": codes}, class_h=hours, class_m3=volumes)
    now = {"dn_mm": 150, "q1_m3h": 2.0, "q2_m3h": 4.0, "q3_m3h": 100.0, "q4_m3h": 125.0}
    shares = {"time_zero": 0.1, "time_below_q1": 0.2, "volume_below_q1": 20 / 300, "volume_q1_q2": 0.6}
    insert(connection, "meter_fit", meter="M1", month=MONTH, first_month=MONTH, flow_max_m3h=10.0, **now, **shares)
    for dn, q in ((40, (0.5, 2.0, 16.0, 20.0)), (25, (0.1, 0.16, 10.0, 12.5))):
        insert(
            connection,
            "meter_catalogue",
            standard="S",
            technology="ultrasonic",
            **{"class": "R200"},
            dn_mm=dn,
            price_cny=100.0,
            **dict(zip(("q1_m3h", "q2_m3h", "q3_m3h", "q4_m3h"), q, strict=True)),
        )
    insert(
        connection,
        "unit_interval",
        meter="M1",
        day=DAY,
        starts_at=MIDNIGHT.astimezone(UTC),
        end_ms=[900_000, 1_800_000, 2_700_000],
        length_ms=[900_000] * 3,
        volume_nl=[2_500_000_000_000, None, 5_000_000_000_000],
        reverse_nl=[None] * 3,
        pressure_pa=[290_000, None, 260_000],
        register_ul=[None] * 3,
        device_flow_m3h=[None] * 3,
        flags=[0, 1, 0],
    )
    insert(connection, "flow_pressure_fit", meter="M1", day=DAY, static_mpa=0.3, slope=1e-4, r_squared=1.0, intervals=2)
    for meter, inlet in (("M1", None), ("M2", None), ("M3", "L1"), ("M4", None)):
        insert(connection, "meter", meter=meter, inlet_of=inlet)
        if meter != "M4":
            insert(connection, "relation", meter=meter, kind="line", code="L1", name_zh="一线", name_en="Line 1")
    insert(connection, "relation", meter="M4", kind="line", code="L1", valid_to=DAY, name_zh="一线", name_en="Line 1")
    insert(connection, "relation", meter="M2", kind="group", code="G", name_zh="集团", name_en="Group")
    peaks = {"kind": "peak_hours", "segment": "peak"}
    insert(connection, "time_segment", **peaks, valid_from=date(2020, 1, 1), from_h=7, to_h=9, scope_kind="all", scope_code="all")
    insert(connection, "time_segment", **peaks, valid_from=date(1, 1, 1), from_h=22, to_h=6, scope_kind="group", scope_code="G")
    for meter, flow in (("M1", 1.0), ("M2", 2.0), ("M3", 50.0), ("M4", 7.0)):
        for hour in range(24):
            at = MIDNIGHT + timedelta(hours=hour)
            known = None if (meter, hour) == ("M2", 5) else flow
            insert(connection, "hourly_usage", meter=meter, hour_start=at, day=DAY, volume_m3=known)
    for kind, code, volume, meters, complete in (
        ("all", "all", 100.25, 4, 3),
        ("line", "L1", 60.5, 3, 3),
        ("line", "L2", 20.25, 1, 0),
    ):
        row = {"volume_m3": volume, "meters": meters, "meters_complete": complete, "complete": meters == complete}
        insert(connection, "group_usage", kind=kind, code=code, grain="day", period=DAY, **row)
    for hour, low in ((0, 0.2), (1, 0.1)):
        at = MIDNIGHT + timedelta(hours=hour)
        row = {"p5_mpa": low + 0.01, "median_mpa": low + 0.1, "pressure_min_mpa": low}
        insert(connection, "pressure_by_hour", kind="line", code="L1", hour_start=at, day=DAY, **row)


def test_the_duration_curve_falls_from_the_highest_flow_to_none(mart: psycopg.Connection[dict[str, Any]]) -> None:
    rows = mart.execute("select * from mart.flow_duration('M1', %s)", [MONTH]).fetchall()
    assert [(row["time_share"], row["flow_m3h"]) for row in rows] == [(0.1, 10), (0.7, 3), (0.9, 1), (1, 0)]
    assert [row["volume_share"] for row in rows] == pytest.approx([100 / 300, 280 / 300, 1, 1])
    assert mart.execute("select * from mart.flow_duration('M1', null)").fetchall() == []


def test_a_candidate_is_measured_by_the_flows_of_the_present_meter(mart: psycopg.Connection[dict[str, Any]]) -> None:
    def rows(candidate: str) -> dict[str, dict[str, Any]]:
        found = mart.execute("select * from mart.candidate_fit('M1', %s, %s)", [MONTH, candidate]).fetchall()
        return {row["side"]: row for row in found}

    both = rows("DN40 ultrasonic R200")
    now, then = both["now"], both["then"]
    assert (now["dn_mm"], now["below_q2"], now["head_room"]) == (150, pytest.approx(200 / 300), 10)
    times = [then[f"time_{zone}"] for zone in ("zero", "below_q1", "q1_q2", "q2_q3", "q3_q4", "above_q4")]
    assert times == pytest.approx([0.1, 0, 0.2, 0.7, 0, 0])
    volumes = [then[f"volume_{zone}"] for zone in ("below_q1", "q1_q2", "q2_q3", "q3_q4", "above_q4")]
    assert volumes == pytest.approx([0, 20 / 300, 280 / 300, 0, 0])
    assert (then["below_q2"], then["covers_peak"]) == (pytest.approx(20 / 300), True)
    assert then["weighted_error_pct"] == pytest.approx(-5 * (2 - 1) / (2 - 0.5) * 20 / 300), "the error at 1 m³/h, by volume"
    assert rows("DN25 ultrasonic R200")["then"]["covers_peak"] is False, "10 m³/h times 1.3 are above its Q3"
    assert list(rows("DN8 of nobody")) == ["now"]


def test_a_day_has_the_pressure_that_its_fit_gives_at_each_flow(mart: psycopg.Connection[dict[str, Any]]) -> None:
    rows = mart.execute("select * from mart.load_course('M1', %s)", [DAY]).fetchall()
    assert [(row["clock_h"], row["flow_m3h"], row["pressure_mpa"]) for row in rows] == [
        (0.25, 10, 0.29),
        (0.5, None, None),
        (0.75, 20, 0.26),
    ]
    assert [row["fitted_mpa"] for row in rows] == [pytest.approx(0.29), None, pytest.approx(0.26)]


def test_members_are_those_of_the_day_and_go_by_their_own_peak_hours(mart: psycopg.Connection[dict[str, Any]]) -> None:
    query = "select * from mart.member_hours('line', 'L1', %s, %s, 'Asia/Shanghai')"
    rows = mart.execute(query, [MIDNIGHT, MIDNIGHT + timedelta(hours=23)]).fetchall()
    assert {row["meter"] for row in rows} == {"M1", "M2"}, "no inlet, and none that has left"

    def peaks(meter: str) -> list[int]:
        return [row["hour_start"].astimezone(ZONE).hour for row in rows if row["meter"] == meter and row["in_peak"]]

    assert peaks("M1") == [7, 8]
    assert peaks("M2") == [0, 1, 2, 3, 4, 5, 22, 23], "those of its group, over midnight"
    unknown = [row["hour_start"].astimezone(ZONE).hour for row in rows if row["volume_m3"] is None]
    assert unknown == [5], "missing is not 0"


def test_groups_of_any_days_stand_below_everybody_once(mart: psycopg.Connection[dict[str, Any]]) -> None:
    rows = mart.execute("select * from mart.group_period('line', %s, %s)", [DAY, DAY]).fetchall()
    assert [(row["code"], row["name_en"], row["volume_m3"], row["known_share"]) for row in rows] == [
        ("", None, 100.25, 0.75),
        ("L1", "Line 1", 60.5, 1),
        ("L2", None, 20.25, 0),
    ]
    assert [row["share"] for row in rows] == pytest.approx([1, 60.5 / 100.25, 20.25 / 100.25])
    assert [rows[1][name] for name in ("pressure_min_mpa", "p5_mpa", "median_mpa")] == pytest.approx([0.1, 0.11, 0.25])
    assert rows[0]["median_mpa"] is None
