"""Relatives of the cases: edits of the registry, odd bills, reports and names, each through a site, with values told by hand.

Every meter is read hourly; M1 passes 6 m³/h, M2 2 m³/h.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl  # type: ignore[import-untyped]
import polars as pl
import pytest

from assets.calendar import days_between
from ingest_daemon.contract.schema import Reason
from tests.cases.figure_site import BILLING, FigureSite, csv_text, readings

ZONE = ZoneInfo("Asia/Shanghai")
FIRST, SECOND = "0000000001", "0000000002"
M2 = {"terminal": SECOND, "meter": "M2", "customer_no": "C2"}
DAY_1, DAY_2, DAY_3, DAY_4 = days_between(date(2025, 6, 1), date(2025, 6, 4))
EVERY_DAY = [DAY_1, DAY_2, DAY_3, DAY_4]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[FigureSite]:
    """A site in Shanghai with meter M1."""
    made = FigureSite(tmp_path / "site")
    made.register()
    yield made
    made.close()


def hours(
    begin: str, count: int, first: float, m3_per_hour: float = 6.0, terminal: str = FIRST, zone: ZoneInfo = ZONE
) -> pl.DataFrame:
    """A reading at a local time and at each of so many hours after it."""
    start = datetime.fromisoformat(begin).replace(tzinfo=zone).astimezone(UTC)
    at = [start + timedelta(hours=hour) for hour in range(count + 1)]
    return readings(at, [first + m3_per_hour * hour for hour in range(count + 1)], terminal)


def volumes(site: FigureSite, meter: str = "M1") -> dict[str, float | None]:
    """The volumes of the days from 1 June on."""
    return {day: volume for day, volume in site.volumes(meter).items() if day.startswith("06")}


def months(site: FigureSite) -> list[tuple[Any, ...]]:
    return site.rows("select meter, month, volume_m3, measured_m3, days_complete, clean from monthly_usage order by all")


def assert_history_stays(site: FigureSite, days: list[date]) -> None:
    """Computing days again gives the same months and days."""
    before = months(site), site.rows("from daily_usage order by all")
    site.run(days)
    assert (months(site), site.rows("from daily_usage order by all")) == before


# --- terminals, meters and customers ------------------------------------------------------------------------------------------


def test_terminals_that_were_swapped_between_two_meters_leave_both_whole(site: FigureSite) -> None:
    site.register({}, M2)
    site.store(hours("2025-06-01T00:00", 34, 1000))
    site.store(hours("2025-06-01T00:00", 34, 50, 2.0, SECOND))
    site.run()
    site.register({"terminal": SECOND}, {**M2, "terminal": FIRST})
    site.store(hours("2025-06-02T11:00", 13, 1000 + 6 * 35, terminal=SECOND))
    site.store(hours("2025-06-02T11:00", 13, 50 + 2 * 35, 2.0, FIRST))
    site.run()
    assert volumes(site) == {"06-01": 144.0, "06-02": 144.0}
    assert volumes(site, "M2") == {"06-01": 48.0, "06-02": 48.0}
    assert_history_stays(site, [DAY_1, DAY_2])


def test_a_terminal_exchanged_after_a_silent_day_keeps_the_months_volume_and_shows_no_day_that_is_not_known(
    site: FigureSite,
) -> None:
    site.store(hours("2025-06-01T00:00", 34, 1000))
    site.run()
    site.register({"terminal": SECOND})
    site.store(hours("2025-06-04T12:00", 27 * 24 - 12, 1000 + 6 * 84, terminal=SECOND))
    site.run()
    days = volumes(site)
    assert (days["06-01"], days["06-02"], days["06-04"], days["06-05"]) == (144.0, None, None, 144.0)
    assert site.values("select volume_m3 from monthly_usage where month = '2025-06-01'") == [30 * 144.0]
    assert_history_stays(site, EVERY_DAY)


def test_a_retired_meter_keeps_its_months_out_of_the_registry_and_back_in_it(site: FigureSite) -> None:
    site.register({}, M2)
    site.store(hours("2025-06-01T00:00", 48, 1000))
    site.store(hours("2025-06-01T00:00", 48, 50, 2.0, SECOND))
    site.run()
    before = months(site)
    site.register(M2)
    site.store(hours("2025-06-02T12:30", 0, 50 + 73, 2.0, SECOND))
    site.run()
    assert months(site) == before
    assert_history_stays(site, [DAY_1, DAY_2])
    site.register({}, M2)
    site.store(hours("2025-06-03T01:00", 23, 1000 + 6 * 49))
    site.run()
    assert volumes(site) == {"06-01": 144.0, "06-02": 144.0, "06-03": 144.0}
    assert_history_stays(site, [DAY_1, DAY_2, DAY_3])


@pytest.mark.parametrize(("since", "new"), [("", DAY_3), ("2025-06-02", DAY_2), ("2025-06-04", DAY_4)])
def test_a_meter_passed_to_another_customer_is_the_old_ones_before_and_the_new_ones_since(
    site: FigureSite, since: str, new: date
) -> None:
    """Without a date the change holds from after the last reading: here midnight of 3 June."""
    site.write("customers", "customer_no,name,industry,region,address\nC1,Mill,,,\nC2,Laundry,,,\n")
    site.store(hours("2025-06-01T00:00", 48, 1000))
    site.run()
    later = {"customer_no": "C2", "valid_from": since}
    site.register(*([{"valid_from": ""}, later] if since else [later]))
    site.store(hours("2025-06-03T01:00", 47, 1000 + 6 * 49))
    site.run()
    *_, csv = sorted(report.file for report in site.export("daily_volume", DAY_1, DAY_4) if report.file.suffix == ".csv")
    rows = pl.read_csv(csv, infer_schema=False).select("day", "customer_no", "customer_name").sort("day").rows()
    assert rows == [(str(day), *(("C2", "Laundry") if day >= new else ("C1", "Mill"))) for day in (DAY_1, DAY_2, DAY_3, DAY_4)]
    assert set(volumes(site).values()) == {144.0}


def test_a_replacement_that_is_corrected_dated_or_withdrawn_moves_its_day_each_time(site: FigureSite) -> None:
    site.store(hours("2025-06-02T00:00", 10, 8000))
    site.store(hours("2025-06-02T11:00", 13, 3.3))
    site.run()
    timed = {"replaced_at": "2025-06-02T10:30:00+08:00", "old_final_m3": "8063", "new_initial_m3": "0.3"}
    dated = {"replaced_on": "2025-06-02", "old_final_m3": "8063", "new_initial_m3": "0.3"}
    for rows, volume in (
        ([], None),
        ([timed], 144.0),
        ([{**timed, "old_final_m3": "8064"}], 145.0),
        ([dated], 144.0),
        ([{**timed, "replaced_at": "2025-06-02 10:30"}], 144.0),  # a wrong row leaves the last good one
        ([], None),
        ([{**dated, "replaced_on": "2025-06-01"}], None),
    ):
        site.replace(*rows)
        site.run()
        assert volumes(site).get("06-02") == volume, rows


def test_a_smaller_meter_with_other_digits_and_resolution_leaves_the_days_before_it_as_they_were(site: FigureSite) -> None:
    site.register({"dn_mm": "150", "q3_m3h": "250", "q4_m3h": "312.5"})
    site.store(hours("2025-06-01T00:00", 48, 5000, 200.0))
    site.run()
    small = {"dn_mm": "50", "q3_m3h": "25", "q4_m3h": "31.25", "digits": "6", "resolution_m3": "0.01"}
    site.register(small)
    site.replace({"replaced_at": "2025-06-03T00:30:00+08:00", "old_final_m3": "14700", "new_initial_m3": "0"})
    site.store(hours("2025-06-03T01:00", 47, 5, 10.0))
    site.run()
    assert volumes(site) == {"06-01": 4800.0, "06-02": 4800.0, "06-03": 100 + 5 + 230.0, "06-04": 240.0}
    assert site.values("select flow_max_m3h from daily_usage where day = '2025-06-02'") == [200.0]
    assert_history_stays(site, EVERY_DAY)


def test_dates_of_installation_and_removal_bound_the_figures_and_give_days_back_when_they_move(site: FigureSite) -> None:
    site.store(hours("2025-06-01T00:00", 96, 50, 2.0, SECOND))
    site.store(hours("2025-06-01T00:00", 96, 1000))
    for dates, days in (
        (("2025-06-02", "2025-06-03"), {2, 3}),
        (("2025-06-01", ""), {1, 2, 3, 4}),
        (("2025-06-03", "2025-06-04"), {3, 4}),
    ):
        site.register({"installed_on": dates[0], "removed_on": dates[1]}, M2)
        site.run()
        assert volumes(site) == {f"06-0{day}": 144.0 for day in sorted(days)}


def test_identifiers_keep_their_leading_zeros(site: FigureSite) -> None:
    site.register({"terminal": "0000000007", "meter": "00101", "customer_no": "000123"})
    site.write("customers", "customer_no,name,industry,region,address\n000123,Mill,,,\n")
    site.write("relations", "meter,kind,code,valid_from,valid_to\n00101,book,007,,\n")
    site.store(hours("2025-06-01T00:00", 24, 1000, terminal="0000000007"))
    site.run()
    site.bill(BILLING)
    site.bill(
        "insert into meter_card values ('00101', '000123', 100, '007', null, null, '2025-06-02 10:00:00');"
        "insert into bill values ('000001', '000123', '00101', '2025-06-01', '2025-06-02', '144', null, null, null, '', null)"
    )
    site.sync()
    assert site.rows("select meter, customer_no, customer_name from meter") == [("00101", "000123", "Mill")]
    assert site.rows("select bill_no, customer_no, meter, measured_m3, comparable from reconciliation") == [
        ("000001", "000123", "00101", 144.0, True)
    ]
    assert set(site.values("select code from relation where kind = 'book'")) == {"007"}
    (csv,) = (report.file for report in site.export("daily_volume", DAY_1, DAY_1) if report.file.suffix == ".csv")
    assert pl.read_csv(csv, infer_schema=False).select("meter", "customer_no").row(0) == ("00101", "000123")


# --- bills --------------------------------------------------------------------------------------------------------------------

BILL = {
    "bill_no": "B1",
    "customer_no": "C1",
    "meter_no": "M1",
    "period_start": "2025-06-01",
    "period_end": "2025-06-05",
    "billed_m3": "576",
    "water_charge": None,
    "drainage_charge": None,
    "amount": None,
    "status": "actual",
    "updated_at": "2025-07-02 10:00:00",
}


def bill(site: FigureSite, **cells: str | None) -> None:
    values = (("null" if value is None else "'" + value.replace("'", "''") + "'") for value in {**BILL, **cells}.values())
    site.bill(f"insert into bill values ({', '.join(values)})")


@pytest.fixture
def billed(site: FigureSite) -> FigureSite:
    """Four days of M1 without the readings of 21:00 to 01:00 around 2 June's beginning, of M2 with all, and an empty billing."""
    site.register({}, M2)
    rows = hours("2025-06-01T00:00", 96, 1000)
    silent = pl.col("ts").is_between(*(datetime(2025, 6, 1, hour, tzinfo=UTC) for hour in (13, 17)))
    site.store(rows.filter(~silent))
    site.store(hours("2025-06-01T00:00", 96, 50, 2.0, SECOND))
    site.run()
    site.bill(BILLING)
    return site


PERIODS = {
    "over a hole": ("2025-06-01", "2025-06-05", 576.0, None),
    "from within a hole": ("2025-06-02", "2025-06-05", None, "incomplete"),
    "to within a hole": ("2025-06-01", "2025-06-02", None, "incomplete"),
    "beside a hole": ("2025-06-03", "2025-06-05", 288.0, None),
    "before every reading": ("2025-04-01", "2025-05-01", None, "not_measured"),
    "of no day": ("2025-06-02", "2025-06-02", None, "no_period"),
    "the wrong way round": ("2025-06-05", "2025-06-01", None, "no_period"),
    "of all time": ("0001-01-01", "9999-12-31", None, "incomplete"),
    "unknown": (None, None, None, "no_period"),
}
CHANGED_AT = {
    "never": None,
    "in 1900": "1900-01-01 00:00:00",
    "in 0001": "0001-01-01 00:00:00",
    "in 9999": "9999-12-31 23:59:59",
    "on a day": "2025-07-02",
    "in an ISO time": "2025-07-02T10:00:00Z",
    "in nothing": "",
}
KEYS = {
    "padded": {"meter_no": "M1        ", "customer_no": "C1        "},
    "with no-break and ideographic blanks": {"meter_no": "\u00a0M1\u3000"},
    "in full width": {"meter_no": "Ｍ１"},
    "with a tab": {"meter_no": "M1\t"},
}
TAKEN = {
    **{f"of a period {name}": {"period_start": a, "period_end": b} for name, (a, b, *_) in PERIODS.items()},
    **{f"changed {name}": {"updated_at": text} for name, text in CHANGED_AT.items()},
    **{f"with keys {name}": cells for name, cells in KEYS.items()},
    **{f"of {text}": {"billed_m3": text} for text in ("576", "5.76e2", "+576", "576.", "５７６", "1,234.5", "１，２３４．５")},
    "of no volume": {"billed_m3": None},
    "of a strange meter": {"meter_no": "M99"},
    "of no meter": {"meter_no": None},
    "with a control character": {"customer_no": "C\x07"},
    "with a number at length": {"customer_no": "C" * 5000},
}
REFUSED = {
    **{
        f"volume {text}": {"billed_m3": text} for text in ("576,5", "1.234,5", "1 576", "576 m3", "(576)", "NaN", "inf", ".", "-")
    },
    **{f"change {text}": {"updated_at": text} for text in ("yesterday", "0000-00-00 00:00:00")},
    "period in another order": {"period_start": "01.06.2025"},
    "no number": {"bill_no": None},
    "blank number": {"bill_no": "   "},
}


def test_every_bill_is_compared_or_kept_aside_and_none_is_half(billed: FigureSite) -> None:
    for number, cells in enumerate((TAKEN | REFUSED).values()):
        bill(billed, **{"bill_no": f"B{number}", **cells})
    query = "select bill_no, billed_m3, measured_m3, comparable, reason from reconciliation"
    for _ in range(2):
        billed.sync()
        found = {number: row for number, *row in billed.rows(query)}
        assert sorted(found) == sorted(f"B{number}" for number in range(len(TAKEN)))
        assert billed.values("select count(*) from billing.rejected where reason <> ''") == [len(REFUSED)]
        for number, name in enumerate(TAKEN):
            billed_m3, measured_m3, comparable, reason = found[f"B{number}"]
            assert comparable is (reason is None), name
            if name.startswith("of a period"):
                assert (measured_m3, reason) == PERIODS[name.removeprefix("of a period ")][2:], name
            elif "meter" in name or name == "of no volume":
                assert comparable is False, name
            else:
                assert (measured_m3, reason) == (576.0, None), name
                assert billed_m3 == (1234.5 if name in ("of 1,234.5", "of １，２３４．５") else 576.0), name


def test_of_a_key_that_is_there_several_times_the_last_change_wins_and_the_others_are_told(billed: FigureSite) -> None:
    for volume, changed in (
        ("1", "2025-07-01 10:00:00"),
        ("2", "2025-07-03 10:00:00"),
        ("3", "2025-07-02 10:00:00"),
        ("4", None),
    ):
        bill(billed, billed_m3=volume, updated_at=changed)
    bill(billed, meter_no="M2", billed_m3="192")
    billed.sync()
    assert billed.rows("select meter, billed_m3 from reconciliation order by meter") == [("M1", 2.0), ("M2", 192.0)]
    assert billed.values("select count(*) from billing.rejected where row_key = 'B1'") == [3]


CANCELLED = ("cancelled", "Canceled", "VOID", "作废", "deleted", "Cancelled   ", "reversed", "红冲 ")


def test_a_cancelled_bill_is_not_compared_with_what_was_issued_in_its_place(billed: FigureSite) -> None:
    for number in range(len(CANCELLED)):
        bill(billed, bill_no=f"B{number}", billed_m3="400")
    billed.sync()
    assert len(billed.values("select bill_no from reconciliation where comparable")) == len(CANCELLED)
    for number, status in enumerate(CANCELLED):
        change = f"status = '{status}', updated_at = '2025-07-03 10:00:00'"
        billed.bill(f"update bill set {change} where bill_no = 'B{number}'")
        bill(billed, bill_no=f"B{number}R")
    billed.sync()
    compared = billed.values("select bill_no from reconciliation where comparable order by 1")
    assert compared == [f"B{number}R" for number in range(len(CANCELLED))]


def test_a_credit_note_takes_its_bill_back_and_the_reissued_one_is_compared(billed: FigureSite) -> None:
    bill(billed, billed_m3="400")
    bill(billed, bill_no="B1C", billed_m3="-400", status="credit")
    bill(billed, bill_no="B1R", updated_at="2025-07-03 10:00:00")
    billed.sync()
    assert billed.rows("select bill_no, comparable, reason from reconciliation order by 1") == [
        ("B1", False, "credited"),
        ("B1C", False, "credited"),
        ("B1R", True, None),
    ]
    billed.bill("delete from bill where bill_no <> 'B1R'")
    billed.sync()
    assert billed.values("select bill_no from reconciliation") == ["B1R"]


# --- reports and names --------------------------------------------------------------------------------------------------------

FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@sum(1)",
    "\t=1",
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    '=HYPERLINK("http://127.0.0.1/"&A1,"open")',
    "\r=1",
)


@pytest.mark.parametrize("names", [(*FORMULAS, "  =1+1"), ("Mill\x00Ltd",), ("Mill\x07Ltd",), ("磨" * 3000,)])
def test_no_name_is_a_formula_in_a_report_or_stops_it(site: FigureSite, names: tuple[str, ...]) -> None:
    places = [f"{number:02}" for number in range(len(names))]
    site.register(*({"terminal": f"{place:>010}", "meter": f"M{place}", "customer_no": f"C{place}"} for place in places))
    blank = {"industry": "", "region": "", "address": ""}
    customers = [{"customer_no": f"C{place}", "name": name, **blank} for place, name in zip(places, names, strict=True)]
    site.write("customers", csv_text(list(customers[0]), customers))
    for place in places:
        site.store(hours("2025-06-01T00:00", 24, 1000, terminal=f"{place:>010}"))
    site.run()
    workbook, csv = sorted((report.file for report in site.export("daily_volume", DAY_1, DAY_1)), key=lambda file: file.suffix)[
        ::-1
    ]
    shown = pl.read_csv(csv, infer_schema=False)["customer_name"].to_list()
    assert len(shown) == len(names)
    assert not [name for name in shown if name and name.lstrip(" \u3000")[:1] in tuple("=+-@＝＋－＠\t\r\n")]
    assert len(names) == 1 or sum("1+1" in (name or "") for name in shown) == sum("1+1" in name for name in names)
    cells = [cell for line in openpyxl.load_workbook(workbook).active.iter_rows() for cell in line]
    assert not [cell.coordinate for cell in cells if cell.data_type == "f"]
    assert [volumes(site, f"M{place}") for place in places] == [{"06-01": 144.0}] * len(names)


def editions(site: FigureSite) -> list[float | None]:
    """The volume of 2 June in each edition of the report, after one more export."""
    site.export("daily_volume", DAY_1, DAY_3)
    files = sorted(site.site.reports.glob("*.csv"), key=lambda file: (len(file.name), file.name))
    rows = (pl.read_csv(file).filter(pl.col("day") == str(DAY_2)) for file in files)
    return [float(row["volume_m3"].item()) if row["volume_m3"].item() is not None else None for row in rows]


def test_a_report_is_restated_each_time_its_figures_change_also_back_to_the_first_and_every_edition_stays(
    site: FigureSite,
) -> None:
    site.store(hours("2025-06-01T00:00", 34, 8000))
    site.store(hours("2025-06-02T11:00", 37, 3.3))
    site.run()
    final = {"replaced_at": "2025-06-02T10:30:00+08:00", "old_final_m3": str(8000 + 6 * 34 + 3), "new_initial_m3": "0.3"}
    assert editions(site) == [None]
    assert editions(site) == [None]
    site.replace(final)
    site.run()
    assert editions(site) == [None, 144.0]
    site.replace({**final, "old_final_m3": str(8000 + 6 * 34 + 4)})
    site.run()
    assert editions(site) == [None, 144.0, 145.0]
    site.replace(final)
    site.run()
    assert editions(site) == [None, 144.0, 145.0, 144.0]
    site.replace()
    site.run()
    assert editions(site) == [None, 144.0, 145.0, 144.0, None]
    assert editions(site) == [None, 144.0, 145.0, 144.0, None]
    assert site.values("select count(*) from report_ledger where file like '%.csv'") == [5]


# --- zones --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "begin", "days"),
    [
        ("Asia/Kolkata", "2025-06-01", {"06-01": 24.0, "06-02": 24.0}),
        ("Asia/Kathmandu", "2025-06-01", {"06-01": 24.0, "06-02": 24.0}),
        ("Pacific/Chatham", "2025-09-27", {"09-27": 24.0, "09-28": 23.0, "09-29": 24.0}),
        ("Pacific/Chatham", "2025-04-05", {"04-05": 24.0, "04-06": 25.0, "04-07": 24.0}),
        ("Australia/Lord_Howe", "2025-10-04", {"10-04": 24.0, "10-05": 23.5, "10-06": 24.0}),
        ("Australia/Lord_Howe", "2025-04-05", {"04-05": 24.0, "04-06": 24.5, "04-07": 24.0}),
        ("Europe/Rome", "2025-03-29", {"03-29": 24.0, "03-30": 23.0, "03-31": 24.0}),
        ("Europe/Rome", "2025-10-25", {"10-25": 24.0, "10-26": 25.0, "10-27": 24.0}),
        ("Pacific/Apia", "2011-12-29", {"12-29": 24.0, "12-31": 24.0}),
    ],
)
@pytest.mark.parametrize("step_min", [30, 1440])
def test_days_of_any_zone_have_their_hours_and_a_meter_on_the_local_grid_is_on_the_grid(
    tmp_path: Path, zone: str, begin: str, days: dict[str, float], step_min: int
) -> None:
    site = FigureSite(tmp_path / "site", zone)
    site.register({"step_min": str(step_min), "installed_on": "2010-01-01"})
    there = ZoneInfo(zone)
    start = datetime.fromisoformat(begin).replace(tzinfo=there).astimezone(UTC)
    steps = [start + timedelta(minutes=30 * step) for step in range(int(sum(days.values()) * 2) + 1)]
    at = [instant for instant in steps if step_min == 30 or f"{instant.astimezone(there):%H:%M}" == "00:00"]
    site.store(readings(at, [1000 + 6.0 * ((instant - start) / timedelta(hours=1)) for instant in at]))
    site.run()
    found = {day: volume for day, volume in site.volumes().items() if day in days}
    assert found == pytest.approx({day: 6.0 * length for day, length in days.items()})
    assert site.values("select sum(off_grid) from data_quality") == [0]
    if step_min == 30:
        query = "select strftime(day, '%m-%d'), sum(volume_m3), count(*) - count(volume_m3) from hourly_usage group by 1"
        hourly = {day: (volume, missing) for day, volume, missing in site.rows(query) if day in days}
        assert hourly == {day: (pytest.approx(6.0 * length), 0) for day, length in days.items()}


def test_a_damaged_line_in_the_ledger_of_contradictions_costs_itself_and_stops_no_figure(site: FigureSite) -> None:
    site.store(hours("2025-06-01T00:00", 48, 1000))
    told = f'{{"terminal": "{FIRST}", "ts": "2025-06-02T04:00:00.000000Z"}}\n'
    site.site.quarantine.mkdir(exist_ok=True)
    (site.site.quarantine / f"{Reason.CONFLICT}.jsonl").write_bytes(b"\x00\x00garbage\n" + told.encode() + b'{"terminal": "00')
    site.run()
    assert volumes(site) == {"06-01": 144.0, "06-02": 144.0}
    assert site.values("select conflicts from data_quality where day = date '2025-06-02'") == [1]


def test_a_hole_misses_the_readings_of_the_step_that_the_meter_had_then(tmp_path: Path) -> None:
    site = FigureSite(tmp_path / "site", looked_at=("gap",))
    site.register({"terminal": SECOND, "valid_to": "2025-06-03"}, {"valid_from": "2025-06-03", "step_min": "15"})
    whole = hours("2025-06-01T00:00", 48, 1000, terminal=SECOND)
    site.store(pl.concat([whole[:11], whole[16:]]))
    quarters = [datetime(2025, 6, 3, tzinfo=ZONE) + timedelta(minutes=15 * number) for number in range(1, 97)]
    later = readings(quarters, [1288 + 1.5 * number for number in range(1, 97)])
    site.store(pl.concat([later[:40], later[60:]]))
    site.run()
    assert site.rows("select strftime(from_at, '%d %H:%M'), intervals from gap where to_at is not null order by 1") == [
        ("01 10:00", 5),
        ("03 10:00", 20),
    ]
