"""Points of every source and the figures of their customers, through runs and syncs of a site."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pipelines.runs.run import rebuild
from tests.cases.figure_site import BILLING, POINTS, FigureSite, only, readings

FIRST = datetime(2025, 5, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
DAYS = 4
M2 = {"terminal": "0000000002", "meter": "M2"}
HAND = "insert into meter_card values ('H1', '{}', 50, 'B1', '2020-01-01', null, '2025-06-01 00:00:00');"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[FigureSite]:
    """Four days of M1 with 1 m³ and of M2 with 2 m³ an hour, both of customer C1, and a billing system without rows."""
    made = FigureSite(tmp_path / "site", looked_at=POINTS)
    made.register({}, M2)
    for terminal, flow in (("0000000001", 1.0), ("0000000002", 2.0)):
        times = [FIRST + timedelta(hours=hour) for hour in range(24 * DAYS + 1)]
        made.store(readings(times, [flow * hour for hour in range(len(times))], terminal))
    made.run()
    made.bill(BILLING)
    yield made
    made.close()


def daily(site: FigureSite) -> dict[str, set[tuple[float | None, int, bool]]]:
    """By customer, what its days with a volume are like: volume, meters, complete."""
    known = "from customer_usage where grain = 'day' and volume_m3 is not null"
    rows = site.rows(f"select customer_no, round(volume_m3, 6), meters, complete {known}")
    return {customer: {row[1:] for row in rows if row[0] == customer} for customer, *_ in rows}


def figures(site: FigureSite) -> list[object]:
    """Every table of the points and their customers."""
    names = ("meter_history", "metering_point", "meter", "customer", "relation", "customer_usage", "usage_rank", "major_customer")
    return [site.rows(f"select * from {name} order by all") for name in names]


def test_a_card_of_billing_moves_the_days_that_are_over_to_its_customer_as_making_all_anew_does(site: FigureSite) -> None:
    assert daily(site) == {"C1": {(72.0, 2, True)}}
    site.bill(HAND.format("C2") + "insert into meter_card values ('M2', 'C2', 100, 'B1', null, null, '2025-06-01 00:00:00');")
    site.sync()
    assert daily(site) == {"C1": {(24.0, 1, True)}, "C2": {(48.0, 2, False)}}
    assert site.rows("select distinct rank, customer_no, share from usage_rank where grain = 'day' order by 1") == [
        (1, "C2", pytest.approx(2 / 3)),
        (2, "C1", pytest.approx(1 / 3)),
    ]
    assert site.values("select count(*) from state.changed_days") == [0]
    after = figures(site)
    with only(POINTS):
        rebuild(site.bench)
    assert figures(site) == after


def test_a_customer_from_a_day_that_is_over_takes_the_meter_from_then(site: FigureSite) -> None:
    site.register({}, {**M2, "valid_to": "2025-06-01"}, {**M2, "customer_no": "C7", "valid_from": "2025-06-01"})
    site.run([date(2025, 5, 30)])
    query = "select period, volume_m3 from customer_usage where grain = '{}' and customer_no = 'C7' order by 1"
    assert site.rows(query.format("day")) == [(date(2025, 6, 1), 48.0), (date(2025, 6, 2), 48.0)]
    assert site.rows(query.format("month")) == [(date(2025, 6, 1), 96.0)]
    assert site.rows(query.format("month").replace("C7", "C1")) == [(date(2025, 5, 1), 144.0), (date(2025, 6, 1), 48.0)]


def test_a_meter_read_by_hand_is_a_point_with_place_and_relations_and_no_measured_row(site: FigureSite) -> None:
    site.write("vocabulary", "kind,code,zh,en\nkind,dma,分区,DMA\n")
    site.write("relations", "meter,kind,code,valid_from,valid_to\nH1,dma,D1,,\nM1,dma,D1,,\n")
    site.write(
        "points", "meter,elevation_m,latitude,longitude,datum,node,inlet_of,runs_always\nH1,12.5,31.2,121.4,WGS84,J1,,yes\n"
    )
    site.run([date(2025, 6, 1)])
    assert site.values("select meter from relation where kind = 'dma'") == ["M1"]  # nobody knows H1 yet
    site.bill(HAND.format("C2"))
    site.sync()
    site.run([date(2025, 6, 1)])
    assert site.values("select meter from relation where kind = 'dma' order by 1") == ["H1", "M1"]
    point = "select terminal, source, customer_no, elevation_m, runs_always, silent_after_h, q4_m3h from meter where meter = 'H1'"
    assert site.rows(point) == [(None, "manual", "C2", 12.5, True, None, None)]
    assert site.rows("select source, count(*) from metering_point group by 1 order by 1") == [("manual", 1), ("smart", 2)]
    measured = " union ".join(
        f"select meter from {name}" for name in ("latest_figures", "daily_usage", "monthly_usage", "data_quality", "peak_valley")
    )
    assert site.values(f"select meter from ({measured}) order by 1") == ["M1", "M2"]
    assert site.values("select meters_manual from customer where customer_no = 'C2'") == [1]
    (table,) = (
        report.file for report in site.export("daily_volume", date(2025, 6, 1), date(2025, 6, 1)) if report.file.suffix == ".csv"
    )
    assert "H1" not in table.read_text(encoding="utf-8-sig")


def test_a_card_that_passes_to_another_customer_keeps_the_one_of_before(site: FigureSite) -> None:
    site.bill(HAND.format("C2"))
    site.sync()
    site.bill("update meter_card set customer_no = 'C3', updated_at = '2025-06-05 00:00:00'")
    site.sync()
    assert site.rows(
        "select customer_no, last_day is null from meter_history where meter = 'H1' order by valid_from nulls first"
    ) == [
        ("C2", False),
        ("C3", True),
    ]


def test_a_point_that_gets_a_terminal_is_read_by_hand_until_then(site: FigureSite) -> None:
    site.bill(HAND.format("C2"))
    site.sync()
    site.register({}, M2, {"terminal": "0000000003", "meter": "H1", "installed_on": "2025-06-02", "vendor": "ITR"})
    site.run([date(2025, 6, 2)])
    assert site.rows("select source, vendor, first_day, last_day from metering_point where meter = 'H1' order by first_day") == [
        ("manual", None, date(2020, 1, 1), date(2025, 6, 1)),
        ("smart", "ITR", date(2025, 6, 2), None),
    ]
    days = "unnest(generate_series(date '2025-05-30', date '2025-06-03', interval 1 day))::date"
    query = (
        f"select day, count(*), count(distinct meter) from (select {days} as day) join metering_point "
        "on day between coalesce(first_day, day) and coalesce(last_day, day) group by 1"
    )
    assert {row[1:] for row in site.rows(query)} == {(3, 3)}
    assert site.values("select code from relation where meter = 'H1' and kind = 'source' order by valid_from") == [
        "manual",
        "smart",
    ]
