"""From terminals over two daemons and a lake to the marts: the figures of one archive, and nothing is lost while it is away."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from assets import cleaned
from assets.workbench import Workbench
from ingest_daemon.contract.registry_files import FILES
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import open_lake, open_store
from ingest_daemon.stores.settings import StoreSettings
from pipelines.cli.options import AWAY
from pipelines.runs.run import run_touched
from tests.assets.test_kernel import SHANGHAI, fleet
from tests.assets.test_same_tables import HOLE, stored
from tests.chain import assert_same_tables, mainflow, table, tables
from tests.daemon_helpers import TERMINALS, Client, Daemon, eventually, forwarded, frame, make_site, running
from tests.object_store import ObjectStore, Relay
from tests.site_helpers import TERMINAL

SHARED = TERMINALS[:3]
HOURS = 60


def site_of(root: Path, more: str = "") -> Site:
    """A site whose registry has the terminals whole; `more` of its settings."""
    site = make_site(root, more)
    rows = [TERMINAL | {"terminal": terminal, "meter": f"M{terminal}"} for terminal in SHARED]
    columns = {name: [str(row.get(name, "")) for row in rows] for name in FILES["terminals"]}
    pl.DataFrame(columns).write_csv(site.registry / "terminals.csv")
    return site


def on_lake(root: Path, share: str, settings: dict[str, object]) -> Site:
    """A site whose raw store is the lake."""
    lines = [f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"' for key, value in settings.items()]
    return site_of(root / share, "\n".join(["[store]", *lines, f'share = "{share}"', ""]))


@pytest.fixture(params=["a folder", "an object store"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, object]]:
    """Settings of a lake, without the share."""
    if request.param == "a folder":
        (tmp_path / "lake").mkdir()
        yield {"kind": "lake", "lake": str(tmp_path / "lake"), "lake_buckets": 2}
    else:
        server: ObjectStore = request.getfixturevalue("objects_server")
        found = server.settings(server.new_bucket(), lake_buckets=2)
        yield {key: value for key, value in found.items() if key != "share"}


def hours() -> list[datetime]:
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return [last - timedelta(hours=back) for back in reversed(range(HOURS))]


def send(daemon: Daemon, times: list[datetime], start: datetime) -> None:
    """Each terminal sends its readings of these hours, of one cubic metre an hour."""
    client = Client(daemon.data_port)
    for terminal in SHARED:
        for number, at in enumerate(times, start=1):
            client.send(frame(terminal, at, 1000 + (at - start) / timedelta(hours=1), sequence=number))
        client.acknowledged(len(times))
    client.close()


def test_terminals_that_move_between_daemons_have_whole_days(tmp_path: Path, lake: dict[str, object]) -> None:
    times = hours()
    first, second = on_lake(tmp_path, "first", lake), on_lake(tmp_path, "second", lake)
    with running(first) as one, running(second) as two:
        send(one, times[:40], times[0])
        send(two, times[30:], times[0])  # ten hours come to both
        for site in (first, second):
            eventually(lambda site=site: forwarded(site), f"{site.root} has stored what came", within_s=60)
    centre = on_lake(tmp_path, "centre", lake)
    mainflow("run", "--site", centre.root)
    yesterday = times[-1].astimezone(SHANGHAI).date() - timedelta(days=1)
    daily = table(centre.marts, "daily_usage").filter(day=yesterday).sort("meter")
    found = daily.select("meter", pl.col("volume_m3").cast(pl.Float64), "complete").rows()
    assert found == [(f"M{terminal}", 24.0, True) for terminal in SHARED]
    intervals = table(centre.marts, "unit_interval").filter(day=yesterday)
    assert sorted(intervals["meter"]) == [f"M{terminal}" for terminal in SHARED]


def test_while_the_object_store_is_away_everything_waits_and_nothing_is_lost(tmp_path: Path, objects_server: ObjectStore) -> None:
    relay = Relay(objects_server.endpoint)
    settings = objects_server.settings(objects_server.new_bucket(), lake_buckets=2, s3_endpoint=relay.url)
    del settings["share"]
    site, times = on_lake(tmp_path, "first", settings), hours()
    with running(site) as daemon:
        send(daemon, times[:20], times[0])
        eventually(lambda: forwarded(site), "the first hours are stored")
        relay.cut()
        send(daemon, times[20:40], times[0])  # acknowledged all the same
        eventually(lambda: "s3://" in daemon.get("/healthz")[1], "the health says what is away")
        answer = mainflow("run", "--site", site.root, check=False)
        assert answer.returncode == AWAY, answer.stdout + answer.stderr
        assert "s3://" in answer.stdout + answer.stderr
        daemon.kill()
    relay.is_up = True
    with running(site):
        eventually(lambda: forwarded(site), "what waited is stored", within_s=60)
    store = open_store(site, objects_server.store_settings(str(settings["lake"]).split("/")[2], "first", s3_endpoint=relay.url))
    held = store.read(times[0], times[-1])
    relay.close()
    assert held.group_by("terminal").len().sort("terminal").rows() == [(terminal, 40) for terminal in SHARED]


def test_marts_depend_neither_on_the_store_nor_on_its_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_tables: None
) -> None:
    rows, registry = fleet(15, 10, garbage=True)
    whole = stored(tmp_path / "whole", rows, registry)
    run_touched(whole, "test")
    expected = tables(whole.site.marts)
    monkeypatch.setattr(cleaned, "BUCKET_METERS", 3)
    for buckets in (1, 4, 16):
        bench = stored_in_lake(tmp_path / str(buckets), rows, registry, buckets)
        run_touched(bench, "test")
        assert_same_tables(tables(bench.site.marts), expected)


def stored_in_lake(root: Path, rows: pl.DataFrame, registry: pl.DataFrame, buckets: int) -> Workbench:
    """A site whose readings lie in a lake, half of them in another daemon's share."""
    site = Site(root / "site")
    site.registry.mkdir(parents=True)
    registry.write_csv(site.registry / "terminals.csv")
    (root / "lake").mkdir()
    settings = StoreSettings(kind="lake", lake=str(root / "lake"), share="a", lake_buckets=buckets)
    store, lake = open_store(site, settings), open_lake(settings)
    assert lake is not None
    for share, half in (("a", rows[::2]), ("b", rows[1::2])):
        other = StoreSettings(kind="lake", lake=settings.lake, share=share)
        assert open_store(Site(root / share) if share == "b" else site, other).write(half).is_empty()
    return Workbench(site, "", SHANGHAI, HOLE, store, lambda: None, "", 0, lake_units=lake.at("units"))
