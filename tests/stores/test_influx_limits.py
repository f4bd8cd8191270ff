"""An InfluxDB that throws readings away or takes only so many meters: the doctor says it, and what is refused is kept."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from ingest_daemon.contract.site import Site
from ingest_daemon.journal.records import DATA
from ingest_daemon.journal.writer import Journal
from ingest_daemon.stores.influxdb import InfluxStore, Limits
from ingest_daemon.stores.settings import StoreSettings
from pipelines.cli.doctor import KEPT_DAYS, Finding, examine
from pipelines.settings import load
from tests.daemon_helpers import TERMINALS, Client, eventually, forwarded, frame, kept, make_site, minutes_ago, running
from tests.influx_server import missing, running_influxdb

METER = TERMINALS[0]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why := missing():
        pytest.skip(why)
    with running_influxdb(tmp_path_factory.mktemp("influxdb"), tag_values=16) as address:
        yield address


def database(url: str, name: str, duration: str) -> str:
    statement = f'CREATE DATABASE "{name}" WITH DURATION {duration}'
    urlopen(Request(f"{url}/query?q={quote(statement)}", method="POST")).close()
    return name


def influx_site(root: Path, url: str, name: str, terminals: int = 8) -> Site:
    site = make_site(root)
    lines = [f"{number},M{number}" for number in range(1001, 1001 + terminals)]
    if terminals != 8:
        (site.registry / "terminals.csv").write_text("\n".join(["terminal,meter", *lines]) + "\n")
    with site.settings.open("a") as file:
        file.write(f"[store]\nkind = 'influxdb'\ninflux_url = '{url}'\ninflux_database = '{name}'\n[site]\nzone = 'UTC'\n")
    return site


def finding(site: Site, name: str) -> Finding:
    (found,) = [each for each in examine(load(site.root)) if name in each.name]
    return found


@pytest.mark.parametrize(
    ("duration", "retention_s", "well"),
    [("INF", 0, True), ("1d", 86400, False), ("799d", 799 * 86400, False), (f"{KEPT_DAYS}d", KEPT_DAYS * 86400, True)],
)
def test_a_retention_shorter_than_the_history_is_refused_loudly(
    tmp_path: Path, url: str, duration: str, retention_s: int, well: bool
) -> None:
    name = database(url, f"limits_{duration}", duration)
    assert InfluxStore(StoreSettings(influx_url=url, influx_database=name)).limits() == Limits(retention_s, 16, 0)
    seen = finding(influx_site(tmp_path, url, name), "retention")
    assert seen.ok is well
    if not well:
        assert f"{retention_s / 86400:.1f} days; at least {KEPT_DAYS}" in seen.seen
        assert f'ON "{name}" DURATION INF' in seen.advice


@pytest.mark.parametrize(("terminals", "well"), [(7, True), (8, False), (20, False)])
def test_a_limit_of_meters_that_the_registry_comes_near_to_is_told(tmp_path: Path, url: str, terminals: int, well: bool) -> None:
    site = influx_site(tmp_path, url, "limits_meters", terminals)
    seen = finding(site, "max-values-per-tag")
    assert seen.ok is well
    assert f"16; {terminals} terminals" in seen.seen
    assert finding(site, "max-series-per-database").ok is True


def test_readings_older_than_the_retention_are_kept_with_the_servers_words_and_newer_ones_stored(
    tmp_path: Path, url: str
) -> None:
    name = database(url, "limits_old", "1d")
    site = influx_site(tmp_path, url, name)
    with running(site) as daemon:
        client = Client(daemon.data_port)
        ages = [30, 2 * 1440, 60, 40 * 1440, 90]
        for number, minutes in enumerate(ages):
            client.send(frame(METER, minutes_ago(minutes), number, sequence=number + 1))
        client.acknowledged(len(ages))
        eventually(lambda: forwarded(site), "everything is forwarded")
    refused = kept(site, "STORE_REFUSED")
    assert len(refused) == 2
    assert all(re.search("beyond retention policy dropped=", line["detail"]) for line in refused)
    rows = InfluxStore(StoreSettings(influx_url=url, influx_database=name)).read(datetime(2020, 1, 1, tzinfo=UTC), minutes_ago(0))
    assert rows["forward_m3"].to_list() == [4, 2, 0]


def test_data_that_wait_longer_than_the_retention_are_told(tmp_path: Path, url: str) -> None:
    name = database(url, "limits_waiting", "1d")
    site = influx_site(tmp_path, url, name)
    site.journal.mkdir()
    journal = Journal(site.journal / DATA, 1 << 20)
    journal.append(b"any", round(minutes_ago(3 * 1440).timestamp() * 1e6))
    journal.commit()
    assert "3.0 days of data wait in the journal" in finding(site, "retention").seen
