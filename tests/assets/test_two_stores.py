"""Two raw stores, one answer: the same readings through the Parquet archive and through a real InfluxDB give identical marts."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chain import assert_same_tables, mainflow, shared, tables
from tests.influx_server import running_influxdb

ARRIVAL = ("received_at", "frame")
"""When and where a reading lay in a journal differs between two deliveries."""


@pytest.fixture(scope="module")
def influx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("influxd") is None:
        pytest.skip("no influxd on PATH; apt-get install influxdb brings it")
    with running_influxdb(tmp_path_factory.mktemp("influxdb")) as url:
        yield url


def test_parquet_and_influxdb_give_identical_marts(tmp_path: Path, influx_url: str) -> None:
    data = shared("ecan-takes")
    marts = {}
    for kind in ("parquet", "influxdb"):
        site = tmp_path / kind
        store = {"MAINFLOW_STORE_KIND": kind, "MAINFLOW_STORE_INFLUX_URL": influx_url}
        mainflow("init", site, "--zone", "Etc/GMT-12", environment=store)
        mainflow(
            "send", "--site", site, data / "readings.parquet", "--register", data / "registry_synthetic.csv", environment=store
        )
        mainflow("run", "--site", site, environment=store)
        marts[kind] = tables(site / "marts.duckdb", ARRIVAL)
    assert marts["parquet"]["daily_usage"].height > 700
    assert_same_tables(marts["parquet"], marts["influxdb"])
