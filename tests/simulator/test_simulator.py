"""The simulator is what the product is proven against, so it is proven itself: deterministic, adding up, counting right."""

import asyncio
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_daemon.codec_kit.api import Arrival, Frame
from ingest_daemon.codecs import sl651
from ingest_daemon.contract import registry_files as registry
from simulator import billing, faults, fleet, readings_file, terminal, truth

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
UNTIL = datetime(2026, 3, 12, tzinfo=SHANGHAI)
NOON = datetime(2026, 3, 12, 4, tzinfo=UTC)
DATA = Path(__file__).parents[2].parent / "shared" / "data"
QUICK = terminal.Patience(answer_s=0.3, silence_s=0.1, away_s=1.0)


@pytest.fixture(scope="module")
def month() -> fleet.Fleet:
    return fleet.make(7, 40, UNTIL, SHANGHAI)


@pytest.fixture(scope="module")
def week() -> fleet.Fleet:
    return fleet.make(7, 6, UNTIL, SHANGHAI)


@pytest.fixture(scope="module")
def months() -> fleet.Fleet:
    return fleet.make(7, 6, UNTIL, SHANGHAI, history_months=8)


class Centre:
    """A stub centre: acknowledges whole frames, on two ports, and may be made to misbehave."""

    def __init__(self, *, silent_first: int = 0, hang_up_after: int | None = None) -> None:
        self.frames: dict[str, list[bytes]] = {"data": [], "alarm": []}
        self.rejected = 0
        self.silent = silent_first
        self.hang_up_after = hang_up_after

    async def __aenter__(self) -> Self:
        self.servers = [await asyncio.start_server(partial(self._serve, name), "127.0.0.1", 0) for name in self.frames]
        self.ports = [server.sockets[0].getsockname()[1] for server in self.servers]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()

    async def _serve(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = sl651.decoder()
        while data := await reader.read(65536):
            for item in decoder.feed(data):
                if not isinstance(item, Frame):
                    self.rejected += 1
                    continue
                self.frames[name].append(item.raw)
                if self.hang_up_after is not None and len(self.frames[name]) > self.hang_up_after:
                    self.hang_up_after = None
                    writer.close()
                    return
                if self.silent:
                    self.silent -= 1
                    continue
                answer = sl651.reply(item.raw, NOON)
                assert answer is not None
                writer.write(answer)
        writer.close()


def delivered(plan: terminal.Plan, centre: Centre, patience: terminal.Patience = QUICK) -> terminal.Delivery:
    async def run() -> terminal.Delivery:
        async with centre:
            return await terminal.deliver("127.0.0.1", centre.ports[0], centre.ports[1], plan, patience=patience)

    return asyncio.run(run())


def a_stream(week: fleet.Fleet, rows: int = 130) -> terminal.Plan:
    readings = week.readings[1].head(rows)
    return [[terminal.Stream("0031010001", terminal.uploads("0031010001", readings, lambda: NOON))]]


def test_the_same_seed_gives_the_same_fleet_and_another_seed_another(week: fleet.Fleet) -> None:
    again, other = fleet.make(7, 6, UNTIL, SHANGHAI), fleet.make(8, 6, UNTIL, SHANGHAI)
    for number, readings in week.readings.items():
        assert readings.equals(again.readings[number])
        assert not readings.equals(other.readings[number])


def test_a_history_leaves_the_recent_days_of_the_same_meters_as_they_are(week: fleet.Fleet, months: fleet.Fleet) -> None:
    assert len(months.meters) > len(week.meters) == 20 and len(months.by_hand) >= 15
    for number, readings in week.readings.items():
        assert readings.equals(months.readings[number])


def test_a_history_is_hourly_from_the_first_of_a_month_and_its_registers_run_into_the_recent_days(months: fleet.Fleet) -> None:
    rolled = 0
    for meter in months.every_meter:
        rows = months.recorded(meter.number)
        assert rows["ts"][0] == datetime(2025, 7, 1, tzinfo=SHANGHAI) and rows["ts"][-1] == UNTIL
        steps = rows["ts"].diff().drop_nulls()
        assert set(steps.unique()) == {timedelta(hours=1), timedelta(minutes=meter.step_min)}
        _, register = truth.registers(months, meter, rows)
        rises = np.diff(register)
        assert rises.min() > -1e-6 and rises.max() <= 1.25 * meter.rates_m3h[3] + 2 * meter.resolution_m3, meter.name
        rolled += int((rows["forward_m3"].diff().drop_nulls() < 0).sum())
    assert rolled > 2  # the small register rolls over in the history as well


@pytest.mark.parametrize("history_months", [1, 2])
def test_a_history_without_room_for_the_periods_of_bills_is_refused(history_months: int) -> None:
    with pytest.raises(ValueError, match="at least 3"):
        fleet.make(1, 6, UNTIL, SHANGHAI, history_months)


def test_bills_of_a_history_agree_with_its_registers_but_for_the_planned_ones(months: fleet.Fleet) -> None:
    tables = billing.tables(months)
    bills = tables["bill"].with_columns(pl.col("period_start", "period_end").str.to_date())
    joined = truth.truth(months).cycles.rename({"meter": "meter_no"}).join(bills, on=["meter_no", "period_start", "period_end"])
    wrong = joined.filter((pl.col("volume_m3") - pl.col("billed_m3")).abs() > 0.5)
    planted = faults.known(months).filter(pl.col("kind").str.starts_with("bill_") & (pl.col("kind") != "bill_cancelled"))
    assert set(wrong["meter_no"]) == set(planted["meter"]) - {f"M{faults.BILL_MISSING:03d}"}
    charges = tables["charge"].group_by("bill_no").agg(pl.col("amount").sum().round(2).alias("charged"))
    assert bills.join(charges, on="bill_no").filter((pl.col("charged") - pl.col("amount")).abs() > 0.005).is_empty()
    owed = billing.accounts(tables)
    assert owed.filter(pl.col("customer_no").is_null() & (pl.col("arrears") < 0)).is_empty()
    ends = owed.group_by("customer_no", maintain_order=True).last()
    (unpaid,) = planted_customers(months, "unpaid")
    assert (
        ends.filter(pl.col("customer_no") == unpaid)["arrears"].item()
        == bills.filter(pl.col("customer_no") == unpaid)["amount"].sum()
    )


def planted_customers(months: fleet.Fleet, kind: str) -> list[str]:
    return faults.known(months).filter(pl.col("kind") == kind)["customer"].to_list()


@pytest.mark.parametrize(
    ("until", "days", "said"),
    [
        (UNTIL + timedelta(hours=1), 6, "local midnight"),
        (UNTIL.replace(tzinfo=None), 6, "local midnight"),
        (UNTIL, 3, "at least 4"),
    ],
)
def test_a_span_that_cannot_be_is_refused_with_the_reason(until: datetime, days: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fleet.make(1, days, until, SHANGHAI)


def test_readings_run_from_the_first_local_midnight_to_the_last_on_every_step(week: fleet.Fleet) -> None:
    for meter in week.meters:
        ts = week.readings[meter.number]["ts"]
        assert (ts[0], ts[-1]) == (UNTIL - timedelta(days=6), UNTIL)
        assert ts.diff().drop_nulls().unique().to_list() == [timedelta(minutes=meter.step_min)]


def test_registers_only_rise_but_where_a_rollover_or_a_replacement_is_planned(month: fleet.Fleet) -> None:
    falls = {
        meter.number: int((month.readings[meter.number]["forward_m3"].diff().drop_nulls() < 0).sum()) for meter in month.meters
    }
    assert {number: count for number, count in falls.items() if count} == {fleet.ROLLOVER: 1, fleet.REPLACED: 1}


def test_registers_stand_on_their_resolution_and_below_their_modulus(month: fleet.Fleet) -> None:
    for meter in month.meters:
        shown = month.readings[meter.number]["forward_m3"].to_numpy()
        assert np.allclose(shown / meter.resolution_m3, np.round(shown / meter.resolution_m3), atol=1e-6)
        assert shown.min() >= 0 and shown.max() < meter.modulus_m3


def test_flows_stay_within_what_the_meters_can_do(month: fleet.Fleet) -> None:
    for meter in month.meters:
        assert month.readings[meter.number]["flow_m3h"].max() < meter.rates_m3h[3], meter.name  # type: ignore[operator]


def test_the_planned_events_can_be_seen_in_the_readings(month: fleet.Fleet) -> None:
    reverse = month.readings[fleet.REVERSE]
    assert reverse["reverse_m3"].to_list()[-1] == pytest.approx(2 * fleet.REVERSE_M3H, abs=0.11)
    assert reverse["flow_m3h"].min() < 0  # type: ignore[operator]
    low = month.readings[fleet.LOW_PRESSURE]
    below = low.filter(pl.col("pressure_mpa") < fleet.PRESSURE_LOW_MPA)["ts"]
    assert below[0] == UNTIL - timedelta(hours=5) + timedelta(minutes=15) and below[-1] == UNTIL and len(below) == 20
    night = month.readings[fleet.LEAK].filter(pl.col("ts").dt.convert_time_zone("Asia/Shanghai").dt.hour().is_between(2, 3))
    before, after = night.filter(pl.col("ts") < month.at(33)), night.filter(pl.col("ts") > month.at(34))
    assert after["flow_m3h"].mean() - before["flow_m3h"].mean() == pytest.approx(fleet.LEAK_M3H, abs=0.4)  # type: ignore[operator]
    oversized = month.readings[fleet.OVERSIZED]["flow_m3h"]
    assert (oversized < month.meters[fleet.OVERSIZED - 1].rates_m3h[0]).mean() > 0.9  # type: ignore[operator]


def test_hours_add_up_to_days_and_days_to_months(month: fleet.Fleet) -> None:
    told = truth.truth(month)
    summed = told.hourly.group_by("meter", "day").agg(
        pl.col("volume_m3").sum().alias("hours_m3"), pl.col("volume_m3").null_count().alias("unknown")
    )
    whole = told.daily.join(summed, on=["meter", "day"]).filter(pl.col("unknown") == 0)
    assert whole.height > 0.95 * told.daily.height
    assert (whole["volume_m3"] - whole["hours_m3"]).abs().max() < 1e-6  # type: ignore[operator]
    months = told.monthly.filter(pl.col("volume_m3").is_not_null() & (pl.col("days") == 28))
    assert months["month"].unique().to_list() == [datetime(2026, 2, 1).date()]
    assert (months["volume_m3"] - months["measured_m3"]).abs().max() < 1e-6  # type: ignore[operator]


def test_the_truth_is_unknown_only_where_a_long_gap_is_planned(month: fleet.Fleet) -> None:
    told, first = truth.truth(month), datetime(2026, 1, 31).date()
    middle = first + timedelta(days=20)
    unknown_days = told.daily.filter(pl.col("volume_m3").is_null()).select("meter", "day").rows()
    assert sorted(unknown_days) == [("M012", middle), ("M012", middle + timedelta(days=1))]
    unknown_hours = Counter(told.hourly.filter(pl.col("volume_m3").is_null())["meter"].to_list())
    assert unknown_hours == {"M008": 4, "M012": 4}
    assert told.daily["volume_m3"].min() >= 0  # type: ignore[operator]


def test_a_rollover_and_a_replacement_leave_no_mark_in_the_truth(month: fleet.Fleet) -> None:
    told = truth.truth(month).hourly
    for number in (fleet.ROLLOVER, fleet.REPLACED):
        meter = month.meters[number - 1]
        hours = told.filter(pl.col("meter") == meter.name)["volume_m3"]
        assert hours.null_count() == 0 and hours.min() >= 0 and hours.max() < meter.rates_m3h[3]  # type: ignore[operator]


@given(st.lists(st.integers(1, 300), min_size=2, max_size=30), st.lists(st.floats(0, 1), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_register_between_readings_is_a_straight_line_or_unknown(gaps_min: list[int], shares: list[float]) -> None:
    at = np.cumsum([0, *gaps_min]).astype(float) * 60
    register = np.arange(len(at), dtype=float)
    for index, gap in enumerate(gaps_min):
        where = at[index] + np.array([share * 0.998 + 0.001 for share in shares]) * gap * 60
        value = truth.known_at(where, at, register)
        if gap <= 120:
            assert np.allclose(value, index + (where - at[index]) / (gap * 60))
        else:
            assert np.isnan(value).all()
    assert np.array_equal(truth.known_at(at, at, register), register)


def test_days_of_23_and_25_hours_have_as_many_hours_in_the_truth() -> None:
    told = truth.truth(fleet.make(1, 4, datetime(2026, 3, 31, tzinfo=BERLIN), BERLIN))
    hours = told.hourly.filter(pl.col("meter") == "M001").group_by("day", maintain_order=True).len()["len"].to_list()
    assert hours == [24, 24, 23, 24]


def test_every_planned_fault_lies_within_the_data_at_a_meter_of_its_own(month: fleet.Fleet) -> None:
    known = faults.known(month)
    assert known["kind"].is_unique().all() and known.height == 18
    assert set(known["becomes"]) == {"repaired", "flagged", "quarantined", "rejected"}
    inside = known.filter(~pl.col("kind").is_in(["future_time"]))
    assert (inside["start"] >= month.at(0)).all() and (inside["start"] < month.until).all()


def test_the_written_registry_is_one_that_a_site_accepts(month: fleet.Fleet, tmp_path: Path) -> None:
    registry.merge(tmp_path, fleet.registry(month))
    names = ["terminals", "replacements", "customers", "relations", "vocabulary"]
    tables = {name: pl.read_csv(tmp_path / f"{name}.csv", infer_schema=False) for name in names}
    assert len(tables["terminals"]["terminal"].unique()) == len(fleet.METERS) == 20
    assert len(tables["customers"]) == 19 and tables["replacements"]["replaced_at"][0].endswith("+08:00")
    relations = tables["relations"].filter(pl.col("kind") != "book")
    assert relations.join(tables["vocabulary"], on=["kind", "code"], how="anti").is_empty()


def test_a_plan_delivers_every_reading_of_the_truth_and_counts_what_is_refused(week: fleet.Fleet) -> None:
    centre = Centre()
    delivery = delivered(faults.plan(week, lambda: NOON), centre)
    reported = faults.reported(week)
    expected = {meter.terminal: reported[meter.number].height for meter in week.meters}
    expected[week.meters[faults.FUTURE - 1].terminal] += 1
    expected[faults.UNKNOWN_TERMINAL] = 97
    alarmed = {week.meters[number - 1].terminal: 0 for number in (fleet.REVERSE, fleet.LOW_PRESSURE, fleet.LOW_BATTERY)}
    assert delivery.readings_acknowledged == delivery.readings_sent == {**alarmed, **expected}
    assert (delivery.refused, delivery.unexpected, delivery.repeated, delivery.given_up) == (1, 0, 0, [])
    assert delivery.sent == delivery.acknowledged + 1 == sum(map(len, centre.frames.values())) + 1
    assert centre.rejected >= 1 and len(centre.frames["alarm"]) == 4


def test_what_arrives_decodes_to_the_reported_readings(week: fleet.Fleet) -> None:
    centre = Centre()
    delivered(faults.plan(week, lambda: NOON), centre)
    decoded = sl651.decode([Arrival(raw) for raw in centre.frames["data"]], {}).readings
    for number in (faults.LATE, faults.DUPLICATE, faults.CLOCK, faults.BAD_CRC, fleet.ROLLOVER):
        meter = week.meters[number - 1]
        columns = ["ts", "forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa", "battery_v"]
        got = decoded.filter(pl.col("terminal") == meter.terminal).select(columns).unique().sort("ts")
        assert got.equals(faults.reported(week)[number].select(columns)), meter.name


def test_the_late_day_comes_after_everything_else_and_the_clock_is_said_as_it_was(week: fleet.Fleet) -> None:
    centre = Centre()
    delivered(faults.plan(week, lambda: NOON), centre)
    late = sl651.decode([Arrival(raw) for raw in centre.frames["data"][-2:]], {}).readings
    assert set(late["terminal"]) == {week.meters[faults.LATE - 1].terminal} and late.height == 96
    clocks = sl651.decode([Arrival(raw) for raw in centre.frames["data"]], {}).clocks.filter(pl.col("sent_at") != NOON)
    assert set(clocks["terminal"]) == {week.meters[faults.CLOCK - 1].terminal}
    assert set(clocks["sent_at"]) == {NOON - faults.SLOW_CLOCK}


def test_alarm_frames_raise_and_clear_what_happens_at_the_customers(week: fleet.Fleet) -> None:
    centre = Centre()
    delivered(faults.plan(week, lambda: NOON), centre)
    alarms = sl651.decode([Arrival(raw) for raw in centre.frames["alarm"]], {}).alarms
    said = {(row["terminal"], tuple(row["active"])) for row in alarms.iter_rows(named=True)}
    names = {number: week.meters[number - 1].terminal for number in (fleet.REVERSE, fleet.LOW_PRESSURE, fleet.LOW_BATTERY)}
    assert said == {
        (names[fleet.REVERSE], ("Q_REV",)),
        (names[fleet.REVERSE], ()),
        (names[fleet.LOW_PRESSURE], ("P_LO",)),
        (names[fleet.LOW_BATTERY], ("BATT",)),
    }


@pytest.mark.parametrize("silent", [1, 2])
def test_an_unanswered_frame_is_sent_again_with_the_same_bytes(week: fleet.Fleet, silent: int) -> None:
    centre = Centre(silent_first=silent)
    delivery = delivered(a_stream(week), centre)
    assert (delivery.sent, delivery.acknowledged, delivery.repeated, delivery.given_up) == (3, 3, silent, [])
    assert len(set(centre.frames["data"][: silent + 1])) == 1
    assert delivery.readings_acknowledged == {"0031010001": 130}


def test_a_lost_connection_is_made_anew_and_the_frame_sent_again(week: fleet.Fleet) -> None:
    centre = Centre(hang_up_after=1)
    delivery = delivered(a_stream(week), centre)
    assert (delivery.sent, delivery.acknowledged, delivery.repeated) == (3, 3, 1)


def test_a_centre_that_never_answers_ends_in_given_up_and_nothing_counts_as_acknowledged(week: fleet.Fleet) -> None:
    centre = Centre(silent_first=10**9)
    delivery = delivered(a_stream(week), centre, QUICK._replace(answer_s=0.05, away_s=0.3))
    assert delivery.given_up == ["0031010001"] and delivery.acknowledged == 0
    assert delivery.sent == 1 and delivery.repeated >= terminal.REPEATS
    assert delivery.readings_sent == {"0031010001": 60} and delivery.readings_acknowledged == {}


def test_a_centre_that_is_away_ends_in_given_up(week: fleet.Fleet, unused_port: int) -> None:
    run = terminal.deliver("127.0.0.1", unused_port, unused_port, a_stream(week), patience=QUICK._replace(away_s=0.1))
    assert asyncio.run(run).given_up == ["0031010001"]


@pytest.fixture
def unused_port() -> int:
    async def find() -> int:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        server.close()
        return port

    return asyncio.run(find())


def test_billing_holds_bills_that_follow_the_truth_but_for_the_three_planned_faults(month: fleet.Fleet, tmp_path: Path) -> None:
    billing.write_billing(billing.tables(month), tmp_path / "billing.sqlite")
    with sqlite3.connect(tmp_path / "billing.sqlite") as connection:
        bills = pl.read_database("SELECT * FROM bill", connection)
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in billing.DDL}
    assert counts["customer"] == 19 and counts["meter_card"] == 20 and counts["bill"] == 20 * fleet.PERIODS - 1
    assert counts["meter_read"] == 20 * (fleet.PERIODS + 1) and counts["payment"] > 150
    assert (bills["water_charge"] + bills["drainage_charge"] - bills["amount"]).abs().max() < 0.005  # type: ignore[operator]
    last = bills.filter(pl.col("period_end") == "2026-03-12")
    assert set(last["period_start"]) == {"2026-02-12"}
    days = truth.truth(month).daily.filter(pl.col("day") >= datetime(2026, 2, 12).date())
    measured = dict(days.group_by("meter").agg(pl.col("volume_m3").sum()).iter_rows())
    for meter, billed in last.select("meter_no", "billed_m3").iter_rows():
        share = billed / measured[meter]
        if meter == "M001":
            assert share == pytest.approx(0.75, abs=0.01)
        elif meter != f"M{faults.BILL_ESTIMATED:03d}":
            assert share == pytest.approx(1, abs=0.01), meter
    assert last.filter(pl.col("status") == "estimated")["meter_no"].to_list() == [f"M{faults.BILL_ESTIMATED:03d}"]
    assert f"M{faults.BILL_MISSING:03d}" not in last["meter_no"].to_list()


def test_truth_is_written_with_every_fault_and_event_listed(month: fleet.Fleet, tmp_path: Path) -> None:
    truth.write_truth(month, tmp_path)
    kinds = set(pl.read_csv(tmp_path / "faults.csv")["kind"])
    assert {"late_day", "gap_midnight", "rollover", "bill_short"} <= kinds
    assert pl.read_parquet(tmp_path / "daily.parquet").height == 20 * 40


SETS = [
    # set, stamp, steps, rows, terminals' reads, digits, resolution
    ("bwdf-dma", "start", {60}, 111_995, "flow", 7, 0.001),
    ("ecan-takes", "end", {15, 60}, 59_776, "register", 7, 1.0),
    ("daiad-amr", "end", {60, 61}, 214_895, "register", 7, 0.001),
]


@pytest.mark.parametrize(("name", "stamp", "steps", "rows", "reads", "digits", "resolution"), SETS)
def test_real_sets_load_whole_in_arrival_order_with_their_steps(
    name: str, stamp: str, steps: set[int], rows: int, reads: str, digits: int, resolution: float
) -> None:
    folder = DATA / name
    if not folder.exists():
        pytest.skip(f"the real data set {name} is not beside the repository")
    recorded = readings_file.load(folder / "readings.parquet", stamp=stamp)  # type: ignore[arg-type]
    assert recorded.readings.height == rows and set(recorded.steps.values()) <= steps
    source = pl.read_parquet(folder / "readings.parquet").sort(
        "meter_id", "seq" if name != "bwdf-dma" else "ts", maintain_order=True
    )
    shift = timedelta(hours=1) if stamp == "start" else timedelta(0)
    assert (recorded.readings["ts"] - shift).to_list()[:1000] == source["ts"].to_list()[:1000]
    taken = {"0000900001", "0000900003"}
    table = readings_file.register_rows(folder / "registry_synthetic.csv", recorded, taken)
    assert set(table["reads"]) == {reads} and set(table["digits"]) == {digits} and set(table["resolution_m3"]) == {resolution}
    assert table["terminal"].is_unique().all() and not taken & set(table["terminal"])
    assert table["terminal"][0] == "0000900002" and table["q4_m3h"].null_count() == 0


def test_identifiers_of_the_register_file_keep_their_leading_zeros(tmp_path: Path) -> None:
    frame = pl.DataFrame({"meter_id": ["00101", "101"], "ts": [datetime(2026, 1, 1, tzinfo=UTC)] * 2, "total_m3": [1.0, 2.0]})
    frame.write_parquet(tmp_path / "readings.parquet")
    (tmp_path / "register.csv").write_text(
        "meter_id,customer_no,dn_mm,q1_m3h,q2_m3h,q3_m3h,q4_m3h\n00101,000123,100,1,1.6,100,125\n101 ,1e5,80,1,1.6,63,78.75\n"
    )
    rows = readings_file.register_rows(tmp_path / "register.csv", readings_file.load(tmp_path / "readings.parquet"))
    assert rows.select("meter", "customer_no", "dn_mm", "q4_m3h").rows() == [
        ("00101", "000123", 100, 125.0),
        ("101", "1e5", 80, 78.75),
    ]


def test_recorded_readings_go_out_as_they_came_repeats_included(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    stamps = [start, start + timedelta(minutes=15), start, start + timedelta(minutes=30)]
    frame = pl.DataFrame({"meter_id": ["A"] * 4, "seq": [0, 1, 2, 3], "ts": stamps, "total_m3": [1.0, 2.0, 1.0, 3.0]})
    frame.write_parquet(tmp_path / "readings.parquet")
    recorded = readings_file.load(tmp_path / "readings.parquet")
    assert recorded.steps == {"A": 15}
    centre = Centre()
    delivery = delivered(readings_file.plan(recorded, {"A": "0000900001"}), centre)
    assert delivery.readings_acknowledged == {"0000900001": 4}
    assert sl651.decode([Arrival(raw) for raw in centre.frames["data"]], {}).readings["ts"].to_list() == stamps


BAD_FILES = [
    (pl.DataFrame({"ts": [datetime(2026, 1, 1)], "total_m3": [1.0]}), "columns missing: meter_id"),
    (pl.DataFrame({"meter_id": ["A"], "ts": [datetime(2026, 1, 1)], "total_m3": [1.0]}), "expected a time with a zone"),
    (pl.DataFrame({"meter_id": ["A"], "ts": [datetime(2026, 1, 1, tzinfo=UTC)]}), "no values"),
]


@pytest.mark.parametrize(("frame", "said"), BAD_FILES)
def test_a_file_that_is_no_readings_file_says_what_is_missing(frame: pl.DataFrame, said: str, tmp_path: Path) -> None:
    frame.write_parquet(tmp_path / "readings.parquet")
    with pytest.raises(ValueError, match=said):
        readings_file.load(tmp_path / "readings.parquet")


def test_a_meter_without_a_terminal_is_named(tmp_path: Path) -> None:
    recorded = readings_file.Recorded(pl.DataFrame(), {"A": 15})
    with pytest.raises(ValueError, match="no terminal for meter A"):
        readings_file.plan(recorded, {})
