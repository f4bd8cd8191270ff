"""What the months before the demo's recent days show: figures equal the simulator's truth, and what it planted is found."""

from datetime import date

import duckdb
import polars as pl
import pytest

from tests.chain import table
from tests.demo_site import HISTORY_MONTHS, Demo

NEAR_M3, CENT = 1e-6, 0.005
RECENT_DAYS = 12
"""The leak and the tampering begin within them."""

OF_ALL = (pl.col("kind") == "industry") & (pl.col("code") == "all")


@pytest.fixture(scope="module")
def faults(demo: Demo) -> pl.DataFrame:
    return pl.read_csv(demo.site / "truth" / "faults.csv", try_parse_dates=True)


@pytest.fixture(scope="module")
def accounts(demo: Demo) -> pl.DataFrame:
    return pl.read_parquet(demo.site / "truth" / "accounts.parquet")


def truth(demo: Demo, name: str) -> pl.DataFrame:
    return pl.read_parquet(demo.site / "truth" / f"{name}.parquet")


def meters(faults: pl.DataFrame, kind: str) -> set[str]:
    return set(faults.filter(pl.col("kind") == kind)["meter"])


def close(one: str, other: str, within: float) -> pl.Expr:
    return (pl.col(one).cast(pl.Float64) - pl.col(other).cast(pl.Float64)).abs() <= within


def test_the_history_reaches_back_as_many_whole_months_and_their_years_equal_the_truth(demo: Demo) -> None:
    months = table(demo.marts, "monthly_usage").filter(pl.col("meter") == "M001", pl.col("complete"))["month"]
    assert months.len() >= HISTORY_MONTHS - 1  # one of the months may hold a planned fault
    wanted = truth(demo, "yearly")
    joined = wanted.join(table(demo.marts, "yearly_usage"), on=["meter", "year"], how="left", suffix="_found")
    assert wanted.height >= 2 * 28 and joined.filter(~close("measured_m3", "measured_m3_found", 1e-3).fill_null(False)).is_empty()
    same = close("volume_m3", "volume_m3_found", NEAR_M3) | (pl.col("volume_m3").is_null() & pl.col("volume_m3_found").is_null())
    assert joined.filter(~same.fill_null(False)).is_empty()


def test_every_month_with_one_a_year_before_has_its_growth(demo: Demo) -> None:
    comparison = table(demo.marts, "usage_comparison").filter(pl.col("grain") == "month")
    volumes = truth(demo, "monthly").select("meter", period="month", wanted="volume_m3").drop_nulls()
    before = volumes.select("meter", pl.col("period").dt.offset_by("1y"), base="wanted")
    joined = volumes.join(before, on=["meter", "period"]).join(comparison, on=["meter", "period"], how="left")
    assert joined["period"].n_unique() >= HISTORY_MONTHS - 13
    growth = 100 * (pl.col("wanted") / pl.col("base") - 1)
    assert joined.filter(~((growth - pl.col("yoy_pct")).abs() < 1e-6).fill_null(False)).is_empty()
    matrix = table(demo.marts, "usage_month_matrix").filter(OF_ALL, pl.col("months_compared") > 0)
    assert matrix["yoy_pct"].null_count() == 0 and matrix["month_no"].max() == 13


def test_customers_read_by_hand_have_the_volumes_of_their_cycles(demo: Demo, faults: pl.DataFrame) -> None:
    by_hand = meters(faults, "manual")
    keys = ["meter", "period_start", "period_end"]
    wanted = truth(demo, "cycles").filter(pl.col("meter").is_in(by_hand))
    found = table(demo.marts, "cycle_usage").filter(pl.col("meter").is_in(by_hand))
    joined = wanted.join(found, on=keys, how="full", suffix="_found")
    assert len(by_hand) >= 15 and joined.height == wanted.height
    assert joined.filter(~close("volume_m3", "volume_m3_found", NEAR_M3).fill_null(False)).is_empty()
    points = table(demo.marts, "metering_point")
    assert set(points.filter(pl.col("source") == "manual")["meter"]) == by_hand
    assert points.filter(pl.col("source") == "amr").height == 2


def test_a_fifth_of_the_customers_brings_about_four_fifths_of_the_revenue(accounts: pl.DataFrame) -> None:
    billed = (
        accounts.drop_nulls("customer_no").group_by("customer_no").agg(pl.col("billed").sum()).sort("billed", descending=True)
    )
    share = billed["billed"].head(round(0.2 * billed.height)).sum() / billed["billed"].sum()
    assert 0.75 <= share <= 0.9


def test_billed_received_and_owed_equal_the_accounts_of_each_month(demo: Demo, accounts: pl.DataFrame) -> None:
    wanted = accounts.filter(pl.col("customer_no").is_null())
    found = table(demo.marts, "collection_status").filter(OF_ALL).rename({"billed": "billed_found", "received": "received_found"})
    joined = wanted.join(found, on="month", how="left")
    same = (
        close("billed", "billed_found", CENT)
        & close("received", "received_found", CENT)
        & close("arrears", "closing_arrears", CENT)
    )
    assert joined.height >= HISTORY_MONTHS - 1 and joined.filter(~same.fill_null(False)).is_empty()
    lines = table(demo.marts, "revenue_kpi").pivot("line", index="month", values="value")
    by_line = wanted.join(lines, on="month", how="left").sort("month")
    assert by_line.filter(~(close("billed", "8", CENT) & close("received", "14", CENT)).fill_null(False)).is_empty()
    assert by_line.filter(~close("billed_m3", "7", CENT).fill_null(False)).is_empty()
    opening = by_line.with_columns(before=pl.col("arrears").shift(1).fill_null(0))
    assert opening.filter(~close("before", "11", CENT).fill_null(False)).is_empty()


def test_a_customer_who_stopped_paying_ages_and_late_and_partial_payers_do_not(
    demo: Demo, faults: pl.DataFrame, accounts: pl.DataFrame
) -> None:
    last = table(demo.marts, "collection_status").filter(OF_ALL).sort("month").row(-1, named=True)
    newest = table(demo.marts, "bill")["account_month"].max()
    assert isinstance(newest, date)
    owed = {kind: meters(faults, kind) for kind in ("unpaid", "late_payer", "partial_payer")}
    bills = table(demo.marts, "bill").filter(pl.col("outstanding") > 0)
    months = pl.col("account_month").dt.year() * 12 + pl.col("account_month").dt.month()
    ages = bills.with_columns(age=newest.year * 12 + newest.month - months)
    old = ages.filter(pl.col("age") > 3)
    assert set(old["meter"]) - meters(faults, "bill_credited") == owed["unpaid"]
    assert float(last["age_4_to_6_months"]) > 0 and float(last["age_7_to_12_months"]) > 0
    late = ages.filter(pl.col("age").is_between(1, 3))
    assert set(late["meter"]) <= {*owed["unpaid"], *owed["late_payer"], *owed["partial_payer"], *meters(faults, "manual")}
    (customer,) = set(faults.filter(pl.col("kind") == "unpaid")["customer"])
    own = accounts.filter(pl.col("customer_no") == customer)["arrears"].to_list()[-1]
    assert float(bills.filter(pl.col("customer_no") == customer)["outstanding"].sum()) == pytest.approx(own, abs=CENT)


def test_swapped_and_mended_bills_are_told_from_the_others(demo: Demo, faults: pl.DataFrame) -> None:
    reasons = table(demo.marts, "reconciliation_reason").filter(pl.col("is_main"), pl.col("reason") != "rounding")
    swapped = reasons.filter(pl.col("reason") == "swapped")
    begin = faults.filter(pl.col("kind") == "bill_swapped")["start"].dt.convert_time_zone("Asia/Shanghai").dt.date().min()
    assert set(swapped["meter"]) == meters(faults, "bill_swapped")
    assert isinstance(begin, date) and swapped["period_end"].min() > begin and swapped.height == 16
    assert all({meter, partner} == set(swapped["meter"]) for meter, partner in swapped.select("meter", "partner").iter_rows())
    planted = {meter for kind in ("short", "estimated", "credited") for meter in meters(faults, f"bill_{kind}")}
    others = reasons.filter(~pl.col("reason").is_in(["swapped", "by_hand"]))
    assert set(others["meter"]) == planted
    states = table(demo.marts, "bill").filter(pl.col("state") != "bill").select("meter", "state").rows()
    assert sorted(states) == sorted(
        [(meter, "cancelled") for meter in meters(faults, "bill_cancelled")]
        + [(meter, "credit") for meter in meters(faults, "bill_credited")]
    )


def test_meters_that_do_not_fit_are_the_planted_ones(demo: Demo, faults: pl.DataFrame) -> None:
    fit = table(demo.marts, "meter_fit")
    last = fit.filter(pl.col("month") == fit["month"].max())
    found = {kind: set(last.filter(pl.col("fit_class") == kind)["meter"]) for kind in ("over", "under")}
    assert found == {"over": meters(faults, "oversized"), "under": meters(faults, "undersized")}
    assert last["days_complete"].min() > 300  # of a year, not of the recent days


def test_a_leak_is_suspected_while_it_runs_and_hardly_any_other_night(demo: Demo, faults: pl.DataFrame) -> None:
    nights = table(demo.marts, "night_flow")
    is_leak = pl.col("meter").is_in(meters(faults, "leak")) & (pl.col("day") > nights["day"].max() - pl.duration(days=7))
    leaking = nights.filter(is_leak, pl.col("baseline_m3h").is_not_null()).sort("day")  # long holidays have no baseline
    if leaking.height > 3:
        assert leaking.row(-1, named=True)["suspected"]
        assert leaking.filter("suspected")["loss_m3_day"].min() > 24 * 1.5
    assert nights.filter(~is_leak)["suspected"].mean() < 0.01


def test_tampering_and_reverse_flow_are_the_only_reverse_events(demo: Demo, faults: pl.DataFrame) -> None:
    events = table(demo.marts, "reverse_event")
    assert set(events["meter"]) == meters(faults, "tamper") | meters(faults, "reverse")
    tampered = events.filter(pl.col("meter").is_in(meters(faults, "tamper")))
    assert set(tampered["likely_cause"]) == {"theft"} and tampered["night"].all()
    assert tampered.height == 7 and tampered["volume_m3"].to_list() == pytest.approx([9.0] * 7, abs=0.2)


def test_a_zone_takes_what_its_customers_take_and_what_nobody_measures(demo: Demo) -> None:
    balance = table(demo.marts, "zone_balance").filter(pl.col("complete")).sort("day")
    assert set(balance["code"]) == {"L7"} and balance.height > 30 * HISTORY_MONTHS - 31
    before = balance.head(-RECENT_DAYS)
    assert before["balance_m3"].min() > 59 and before["balance_m3"].max() < 63  # 2.5 m³/h a day, registers in steps
    with duckdb.connect() as connection:
        assert connection.sql("select abs(avg(balance_m3) - 60) < 0.05 from before").fetchall() == [(True,)]


def test_nothing_lacks_and_nothing_stands_aside_but_what_is_planted(demo: Demo, faults: pl.DataFrame) -> None:
    assert set(table(demo.marts, "quarantine")["reason"]) == set(faults.filter(pl.col("becomes") == "quarantined")["reason"])
    assert set(table(demo.marts, "gap")["meter"]) == meters(faults, "gap_long") | meters(faults, "gap_midnight")
    quality = table(demo.marts, "data_quality").filter(pl.col("coverage") > 0)
    short = quality.filter((pl.col("readings") - pl.col("expected_readings")).abs() > 1)
    planted = {kind: meters(faults, kind) for kind in ("gap_short", "gap_long", "gap_midnight", "clock_slow", "late_day")}
    assert set(short["meter"]) <= set().union(*planted.values())
    assert quality["clean"].all()
    missing = table(demo.marts, "registry_gap").filter(pl.col("gap") != "no_terminal")
    assert missing.is_empty(), missing
