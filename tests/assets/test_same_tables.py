"""The tables depend on the readings alone: not on how many days a run computes, nor in which order."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets import calendar, cleaned, partitions
from assets.workbench import Workbench
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.runs.run import run_days, run_touched
from tests.assets.test_kernel import DAYS, SHANGHAI, fleet
from tests.chain import assert_same_tables, tables

HOLE = timedelta(hours=2)


def stored(root: Path, readings: pl.DataFrame, registry: pl.DataFrame) -> Workbench:
    """A site with these readings of these terminals."""
    site = Site(root)
    site.registry.mkdir(parents=True)
    registry.write_csv(site.registry / "terminals.csv")
    bench = Workbench(site, "", SHANGHAI, HOLE, ParquetStore(site.raw), lambda: None, "", 0)
    assert bench.store.write(readings).is_empty()
    return bench


def waiting_days(readings: pl.DataFrame) -> list[date]:
    """Every day that the readings touch."""
    first, last = readings["ts"].min(), readings["ts"].max()
    return calendar.days_touched(first, last, HOLE, SHANGHAI)  # type: ignore[arg-type]


def one_by_one(bench: Workbench, days: Sequence[date], seed: int) -> None:
    for day in np.random.default_rng(seed).permutation(len(days)):
        run_days(bench, [days[day]], "test")


def test_one_run_and_a_run_for_each_day_in_any_order_give_the_same_tables(tmp_path: Path) -> None:
    rows, registry = fleet(12, 12, garbage=True)
    whole, parts = (stored(tmp_path / name, rows, registry) for name in ("whole", "parts"))
    assert set(run_touched(whole, "test").days) == {*waiting_days(rows)} >= {*DAYS}
    one_by_one(parts, waiting_days(rows), seed=12)
    assert_same_tables(tables(whole.site.marts), tables(parts.site.marts))


def test_a_fleet_that_is_read_a_few_meters_and_days_at_a_time_gives_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, registry = fleet(14, 12, garbage=True)
    whole, parts = (stored(tmp_path / name, rows, registry) for name in ("whole", "parts"))
    run_touched(whole, "test")
    monkeypatch.setattr(cleaned, "STRETCH_METER_DAYS", 5)
    monkeypatch.setattr(partitions, "PIECE_METER_DAYS", 2 * registry.height)
    run_touched(parts, "test")
    assert_same_tables(tables(whole.site.marts), tables(parts.site.marts))


def test_days_add_up_to_the_month_to_the_last_digit_whatever_the_readings(tmp_path: Path) -> None:
    """Of the meters of which every day is known, as the marts have them: decimals of a shown sum would hide a nanolitre."""
    rows, registry = fleet(13, 40, garbage=True)
    bench = stored(tmp_path / "site", rows, registry)
    run_touched(bench, "test")
    found = tables(bench.site.marts)
    known = found["unit_day"].filter(pl.col("day").is_in(DAYS) & pl.col("first_at").is_not_null())
    sums = known.group_by("meter").agg(pl.col("volume_nl").sum(), between=pl.col("between_nl").sum(), days=pl.len())
    whole = known.group_by("meter").agg(all=(pl.len() == len(DAYS)) & (pl.col("volume_nl").null_count() == 0))
    both = sums.join(whole.filter("all"), on="meter")
    assert both.height >= 10
    assert both["volume_nl"].to_list() == both["between"].to_list()
    refused = found["unit_day"].filter(pl.col("refused_count") > 0)
    assert refused.height > 0
    assert not refused["clean"].any()
    shown = found["data_quality"].filter(pl.col("refused") > 0).select("meter", "day", "refused").sort("meter", "day")
    counted = refused.select("meter", "day", refused=pl.col("refused_count").cast(pl.Int64)).sort("meter", "day")
    assert shown.equals(counted)
