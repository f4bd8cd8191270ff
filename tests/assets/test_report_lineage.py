"""An issued report stays as it is while thousands of late readings come; the cells that change are listed, volumes explained."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import openpyxl  # type: ignore[import-untyped]
import polars as pl
import pytest

from assets import reports
from assets.reports import Issued, ledger
from assets.reports.editions import restatement
from assets.reports.explain import Explanation, explain
from assets.warehouse import opened
from assets.workbench import Workbench
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.runs.run import prepare_selects, run_touched
from tests.figures import readings, terminals

pytestmark = pytest.mark.usefixtures("few_tables")

ZONE = ZoneInfo("Asia/Shanghai")
START = datetime(2025, 6, 1, tzinfo=ZONE)
METERS, PER_DAY, DAYS = 6, 96, 30
LATE = range(4, 6)
"""The meters (from 0) whose readings from the 3rd of June on come late."""
ODD = 1
"""The meter (from 0) that reads ten minutes before the others: its days begin and end between two readings."""
REPORT = ("daily_volume", (date(2025, 6, 1), date(2025, 6, 30)))


def register(meter: int, step: int) -> float:
    """Uneven, so that no other step has the same sum."""
    return round(1000.0 * (meter + 1) + step * (meter + 1) * 0.3 + (step % 7) * 0.1, 1)


def sent(meter: int, steps: range) -> pl.DataFrame:
    first = START - timedelta(minutes=10) if meter == ODD else START
    times = [first + timedelta(minutes=15) * step for step in steps]
    own = readings(times, forward_m3=[register(meter, step) for step in steps])
    return own.with_columns(terminal=pl.lit(f"{meter + 1:010}"), frame=pl.Series([step * 100 for step in steps], dtype=pl.Int64))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Four meters with a month each, M4 silent from 13:00 on the 10th to 02:00 on the 12th, M3 in the morning of the 5th; two
    meters of which the end is late."""
    from tests.cases.figure_site import READINGS_AND_BILLS, only

    made = Site(tmp_path_factory.mktemp("lineage"))
    made.registry.mkdir(parents=True)
    rows = [{"terminal": f"{meter + 1:010}", "meter": f"M{meter + 1}", "step_min": 15} for meter in range(METERS)]
    terminals(*rows).write_csv(made.registry / "terminals.csv")
    store = ParquetStore(made.raw)
    whole, silent = range(PER_DAY * DAYS + 2), range(9 * PER_DAY + 52, 11 * PER_DAY + 8)
    for meter in range(METERS):
        steps = range(2 * PER_DAY + 1) if meter in LATE else whole
        kept = sent(meter, steps)
        if meter == 3:
            kept = kept.filter(~pl.col("frame").is_in([step * 100 for step in silent]))
        if meter == 2:
            kept = kept.filter(~pl.col("frame").is_in([step * 100 for step in range(4 * PER_DAY + 33, 4 * PER_DAY + 48)]))
        store.write(kept)
    with only(READINGS_AND_BILLS):
        run_touched(bench_of(made), "test")
    return made


def bench_of(site: Site) -> Workbench:
    return Workbench(site, "南城自来水", ZONE, timedelta(hours=2), ParquetStore(site.raw), lambda: None, "", 0)


@contextmanager
def figures(site: Site) -> Iterator[tuple[Workbench, duckdb.DuckDBPyConnection]]:
    bench = bench_of(site)
    with opened(site.marts, str(ZONE)) as connection:
        prepare_selects(bench, connection)
        yield bench, connection


def issued(site: Site, name: str = REPORT[0]) -> list[Issued]:
    with figures(site) as (bench, connection):
        return reports.make(name, REPORT[1], bench, connection)


def by_hand(found: Explanation) -> float:
    """The sum of the steps, from the readings that were sent and nothing else; see `register`."""
    assert found.volume is not None
    meter = int(found.volume.meter[1:]) - 1
    first, last = (datetime.combine(day, time(), ZONE) for day in found.volume.days)
    total = 0.0
    for row in found.volume.steps.iter_rows(named=True):
        inside = min(row["end"], last + timedelta(days=1)) - max(row["begin"], first)
        moved = register(meter, row["frame"] // 100) - register(meter, row["begin_frame"] // 100)
        total += moved * (inside / (row["end"] - row["begin"]))
    return total


@pytest.mark.parametrize(("name", "cells"), [("daily_volume", 20), ("monthly_volume", 4)])
def test_any_cell_leads_to_frames_whose_sum_it_is(site: Site, name: str, cells: int) -> None:
    file = issued(site, name)[0].file
    sheet = openpyxl.load_workbook(file).worksheets[0]
    last = sheet.max_column - 1 if name == "daily_volume" else 7
    figures_of = [
        cell.coordinate
        for row in sheet.iter_rows(min_row=4, max_row=3 + METERS, min_col=5 if name == "daily_volume" else 6, max_col=last - 1)
        for cell in row
        if cell.value is not None
    ]
    with figures(site) as (bench, connection):
        chosen = random.Random(7).sample(figures_of, min(cells, len(figures_of)))
        for cell in [*chosen, f"F{4 + ODD}"]:
            found = explain(file, cell, bench, connection)
            assert found.volume is not None
            assert by_hand(found) == pytest.approx(found.value, abs=1e-6), cell
            assert found.volume.total_m3 == pytest.approx(found.value, abs=1e-6), cell
            assert len(found.volume.frames) == found.volume.steps.height + 1
            assert found.rows.height >= 1
            times = found.volume.steps.select("begin", "end").iter_rows()
            assert all(before == after for (_, before), (after, _) in pairwise(times))


def test_a_volume_crosses_a_hole_inside_its_days_and_is_unknown_where_an_end_lies_in_one(site: Site) -> None:
    daily, monthly = issued(site)[0].file, issued(site, "monthly_volume")[0].file
    with figures(site) as (bench, connection):
        month = explain(monthly, "F7", bench, connection)
        assert (month.key["meter"], month.column) == ("M4", "volume_m3")
        assert month.value == pytest.approx(register(3, PER_DAY * DAYS) - register(3, 0))
        longest = max(after - before for before, after in month.volume.steps.select("begin", "end").iter_rows())
        assert longest > timedelta(hours=30)
        total = explain(daily, "AI7", bench, connection)
        assert total.value == month.value == pytest.approx(total.volume.total_m3)
        morning = explain(daily, "I6", bench, connection)
        assert morning.key == {"meter": "M3", "day": date(2025, 6, 5)}
        assert morning.value == pytest.approx(register(2, 5 * PER_DAY) - register(2, 4 * PER_DAY))
        assert morning.volume.total_m3 == pytest.approx(morning.value)
        for cell, day in {"N7": 10, "O7": 11, "P7": 12}.items():
            within = explain(daily, cell, bench, connection)
            assert within.key == {"meter": "M4", "day": date(2025, 6, day)}
            assert within.value is within.volume.total_m3 is None
        late = explain(daily, "AI8", bench, connection)
        assert late.volume is None  # its end is not known: the sum of the known days, which are listed
        assert late.rows["volume_m3"].drop_nulls().sum() == pytest.approx(late.value)


def test_a_cell_that_is_no_figure_is_refused(site: Site) -> None:
    file = issued(site)[0].file
    cases = {
        **dict.fromkeys(("A1", "E3", "E10", "E999"), "expected a cell of a row of figures"),
        "5E": "expected a letter and a number like E5",
    }
    with figures(site) as (bench, connection):
        for cell, words in cases.items():
            with pytest.raises(ValueError, match=words):
                explain(file, cell, bench, connection)
        with pytest.raises(ValueError, match="expected a workbook"):
            explain(file.with_suffix(".csv"), "E4", bench, connection)
        with pytest.raises(ValueError, match="no sheet of figures 'x'; there are: 日用水量报表"):
            explain(file, "E4", bench, connection, "x")


def test_a_file_that_was_changed_since_is_not_explained_and_is_shown_as_changed(site: Site, tmp_path: Path) -> None:
    file = issued(site)[0].file
    with figures(site) as (bench, connection):
        copy = tmp_path / "sent.xlsx"
        copy.write_bytes(file.read_bytes())
        assert explain(copy, "E4", bench, connection).issued.file == file
        copy.write_bytes(file.read_bytes() + b"x")
        with pytest.raises(ValueError, match="no file of the ledger has its SHA-256"):
            explain(copy, "E4", bench, connection)
        noted = next(row for row in ledger.issued(connection) if row.file == file)
        assert noted.state == "intact"
        assert noted._replace(file=copy).state == "changed"
        assert noted._replace(file=tmp_path / "gone").state == "missing"


def test_ten_thousand_late_readings_change_no_byte_of_the_issue_and_every_changed_cell_is_listed(site: Site) -> None:
    written = issued(site)
    before = {file.file: file.file.read_bytes() for file in written}
    assert all(file.file.stat().st_mode & 0o777 == 0o440 for file in written)
    assert {(file.run_id != "", file.known_until is not None, file.code_version != "") for file in written} == {
        (True, True, True)
    }
    late = [sent(meter, range(2 * PER_DAY + 1, PER_DAY * DAYS + 1)) for meter in LATE]
    late += [sent(meter, range(PER_DAY * DAYS + 1, PER_DAY * (DAYS + 25))) for meter in LATE]
    assert sum(part.height for part in late) >= 10_000
    bench = bench_of(site)
    for part in late:
        bench.store.write(part)
    run_touched(bench, "test")
    with figures(site) as (bench, connection):
        told = restatement(*REPORT, bench, connection)
        assert {file: file.read_bytes() for file in before} == before

        again = reports.make(*REPORT, bench, connection)
        assert {file.edition for file in again} == {2}
        assert {file: file.read_bytes() for file in before} == before
        assert reports.make(*REPORT, bench, connection) == again

        (old,) = (pl.read_csv(file, infer_schema=False) for file in before if file.suffix == ".csv")
        new = pl.read_csv(again[1].file, infer_schema=False)
        differing = {
            (one["meter"], one["day"], name, one[name], other[name])
            for one, other in zip(old.iter_rows(named=True), new.iter_rows(named=True), strict=True)
            for name in ("volume_m3", "coverage", "complete")
            if one[name] != other[name]
        }
        assert {row[0] for row in differing} == {f"M{meter + 1}" for meter in LATE}
        assert set(told.changed["daily_volume"].iter_rows()) == differing
        listed = openpyxl.load_workbook(again[0].file)["更正"]
        assert {tuple(cell.value for cell in row) for row in listed.iter_rows(min_row=4)} == differing
        assert restatement(*REPORT, bench, connection).cells == 0
        assert explain(written[0].file, "E4", bench, connection).later_edition == 2
