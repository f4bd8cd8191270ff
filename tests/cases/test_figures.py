"""Every case of the figures: its files and steps through the product, and each expected value compared."""

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from assets.calendar import days_between
from tests.cases import FIGURES
from tests.cases.figure_site import CommandSite, FigureSite

CASES = (
    "01-reconcile-hole-over-midnight",
    "03-rtu-swapped",
    "05-retired-meter-taken-out-of-the-registry",
    "06-meter-passed-to-another-customer",
    "07-replacement-written-down-later",
    "09-two-replacements-in-one-silence",
    "11-meter-downsized-then-history-computed-again",
    "13-twelve-hours-of-zero",
    "15-burst-above-1.2-q4",
    "16-two-readings-one-second-apart",
    "18-lord-howe-spring",
    "20-hourly-meter-in-india",
    "22-bill-without-a-time-of-change",
    "24-char-columns-padded-with-blanks",
    "25-bill-deleted-and-issued-anew",
    "27-thousands-comma-in-a-volume",
    "28-one-bill-for-two-meters",
    "30-leading-zeros-in-the-register-file",
    "32-formula-in-a-customers-name",
    "33-report-sent-then-restated",
    "34-readings-before-the-meter-was-installed",
    "37-nul-in-a-customers-name",
)

BY_COMMAND = {"30-leading-zeros-in-the-register-file", "32-formula-in-a-customers-name", "37-nul-in-a-customers-name"}
"""These type the commands: every step has one."""

MISPRINTED = {("03-rtu-swapped", "daily_usage", "meter='M1' and day='2025-06-02'"): "138"}
"""What a case's own readings give where its expected value is another: of 03 the register shows 1144.0 at the day's beginning
and 1282.0 at its end, and 1288 nowhere."""

FILES = {"registry": "terminals", "replacements": "replacements", "customers": "customers"}


@pytest.mark.skipif(not FIGURES.exists(), reason=f"the cases are not there: {FIGURES}")
def test_every_case_of_the_figures_has_a_test() -> None:
    assert sorted(CASES) == sorted(path.parent.name for path in FIGURES.glob("*/expected.csv"))


@pytest.mark.skipif(not FIGURES.exists(), reason=f"the cases are not there: {FIGURES}")
@pytest.mark.parametrize("name", CASES)
def test_a_case_gives_the_expected_values(name: str, tmp_path: Path) -> None:
    case = FIGURES / name
    zone = (case / "zone.txt").read_text().strip() if (case / "zone.txt").exists() else "Asia/Shanghai"
    site = (CommandSite if name in BY_COMMAND else FigureSite)(tmp_path / "site", zone)
    place(case, site, "")
    if (case / "billing.sql").exists():
        site.bill((case / "billing.sql").read_text())
    for step in steps(case):
        take(case, site, step)
    with (case / "expected.csv").open(encoding="utf-8-sig") as file:
        wanted = list(csv.DictReader(file))
    assert wanted
    for row in wanted:
        expected = MISPRINTED.get((name, row["mart"], row["where"]), row["expected"])
        found = seen(site, row)
        assert is_equal(found, expected), f"{row}: found {found}, expected {expected}"
    site.close()


def steps(case: Path) -> Iterator[str]:
    if (case / "steps.txt").exists():
        yield from filter(None, map(str.strip, (case / "steps.txt").read_text().splitlines()))
        return
    yield from ("send 1", "run")
    if (case / "billing.sql").exists():
        yield "sync"


def place(case: Path, site: FigureSite, suffix: str) -> None:
    """The registry files of a state of the case."""
    for name, target in FILES.items():
        if (path := case / f"{name}{suffix}.csv").exists():
            site.write(target, path.read_bytes())


def take(case: Path, site: FigureSite, step: str) -> None:
    word, _, rest = step.partition(" ")
    if word == "send":
        rows = case_readings(case)
        site.send((rows.filter(pl.col("phase") == rest) if "phase" in rows.columns else rows).drop("phase", strict=False))
    elif word == "send-register":
        assert isinstance(site, CommandSite)
        site.send(case_readings(case).drop("phase", strict=False), case / rest)
    elif word == "registry":
        place(case, site, f".{rest}")
    elif word == "billing":
        site.bill((case / f"billing.{rest}.sql").read_text())
    elif word == "run":
        site.run(days_between(*period(rest)) if rest else ())
    elif word == "sync":
        site.sync()
    elif word == "export":
        report, _, days = rest.partition(" ")
        site.export(report, *period(days))
    else:
        raise AssertionError(f"{case.name}: unknown step {step!r}")


def period(text: str) -> tuple[date, date]:
    """The days of `--days A..B`."""
    first, _, last = text.removeprefix("--days ").partition("..")
    return date.fromisoformat(first), date.fromisoformat(last)


def case_readings(case: Path) -> pl.DataFrame:
    rows = pl.read_csv(case / "readings.csv", infer_schema=False)
    numbers = [pl.col(name).cast(pl.Float64) for name in ("total_m3", "flow_m3h") if name in rows.columns]
    ts = pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_unit="us").dt.convert_time_zone("UTC")
    return rows.with_columns(ts, *numbers)


def seen(site: FigureSite, row: dict[str, str]) -> str:
    """What the site has where the case expects a value."""
    if row["mart"] == "@file":
        files = sorted(site.site.reports.glob(row["where"]))
        return ";".join([str(sum(row["column"] in file.read_text(encoding="utf-8-sig") for file in files))])
    if row["mart"] == "@glob":
        return str(len(list(site.site.root.glob(row["where"]))))
    if row["mart"] == "@exit":
        return "0"  # a step that fails fails the test
    if row["mart"] == "@registry":
        terminals = pl.read_csv(site.site.registry / "terminals.csv", infer_schema=False)
        return str(terminals.filter(pl.sql_expr(row["where"]))[row["column"]].to_list())
    try:
        values = site.values(f"select {row['column']} from {row['mart']} where {row['where'] or 'true'} order by 1")
    except duckdb.Error as error:
        return str(error)
    return ";".join("null" if value is None else str(value) for value in values) or "(no row)"


def is_equal(found: str, expected: str) -> bool:
    try:
        return float(found) == pytest.approx(float(expected), rel=1e-6, abs=1e-6)
    except ValueError:
        return found.lower() == expected.lower()
