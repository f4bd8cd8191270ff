"""Real readings over TCP through the whole chain equal the independent results, with the command a user types."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.chain import mainflow, shared, table
from tests.expected import compare

CELLS = {
    "ecan-takes": {
        "hourly volume": 17040,
        "hourly coefficient": 4080,
        "daily volume": 710,
        "daily coefficient": 379,
        "monthly volume": 16,
        "complete flag": 732,
    },
    "bwdf-dma": {
        "hourly volume": 101108,
        "hourly coefficient": 101108,
        "daily volume": 4213,
        "daily coefficient": 4213,
        "hours by zone of flow": 36,
        "volume by zone of flow": 36,
        "monthly volume": 28,
        "complete flag": 4876,
    },
    "daiad-amr": {
        "hourly volume": 162845,
        "hourly coefficient": 155334,
        "daily volume": 6786,
        "daily coefficient": 6457,
        "monthly volume": 58,
        "complete flag": 10379,
    },
}
"""The least number of cells that must be compared and agree; a figure that is no longer compared fails the test."""

ZONES = {"ecan-takes": "Etc/GMT-12", "bwdf-dma": "Europe/Rome", "daiad-amr": "Europe/Madrid"}


@pytest.mark.parametrize("name", list(CELLS))
def test_figures_of_real_readings_equal_the_independent_results(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    data = shared(name)
    site = tmp_path / "site"
    mainflow("init", site, "--zone", ZONES[name])
    stamp = ("--stamp", "start") if name == "bwdf-dma" else ()
    sent = mainflow("send", "--site", site, data / "readings.parquet", "--register", data / "registry_synthetic.csv", *stamp)
    mainflow("run", "--site", site)

    readings = pl.read_parquet(data / "readings.parquet")
    assert f"{readings.height:,} 发 sent, {readings.height:,} 确认 acknowledged" in sent.stdout
    compared = compare(site / "marts.duckdb", data / "expected", ZONES[name])
    record_property(
        "summary", f"{name}: cells compared: " + ", ".join(f"{figure} {result.cells}" for figure, result in compared.items())
    )
    for figure, result in compared.items():
        assert result.wrong.is_empty(), (
            f"{name}, {figure}: {result.wrong.height} of {result.cells} cells differ:\n{result.wrong.head()}"
        )
    for figure, least in CELLS[name].items():
        assert compared[figure].cells >= least, (
            f"{name}, {figure}: only {compared[figure].cells} cells were compared, {least} before"
        )
    ledger = table(site / "marts.duckdb", "run_ledger")
    assert ledger["readings_read"].sum() >= readings.unique(["meter_id", "ts"]).height
    again = mainflow("run", "--site", site)
    assert "nothing new" in again.stdout
