"""A site or a database that another version made is refused with what to do; nothing in it is changed."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import StoreAway, open_store
from ingest_daemon.stores.influxdb import InfluxStore
from ingest_daemon.stores.settings import StoreSettings
from tests.daemon_helpers import REPOSITORY, make_site
from tests.fake_influxdb import FakeInflux


def with_old_archive(site: Site) -> None:
    folder = site.raw / "readings" / "day=2026-07-01"
    folder.mkdir(parents=True)
    pl.DataFrame(schema={name: dtype for name, dtype in READING.items() if name != "stream"}).write_parquet(folder / "1.parquet")


def with_other_number(site: Site) -> None:
    site.state.mkdir()
    (site.state / "layout.json").write_text('{"layout": 1}')


OLD: dict[str, Callable[[Site], object]] = {
    "kept": lambda site: (site.root / "kept").mkdir(),
    "asks": lambda site: (site.state / "asks").mkdir(parents=True),
    "day=2026-07-01": with_old_archive,
    "layout.json": with_other_number,
}


@pytest.mark.parametrize("mark", OLD)
def test_a_site_of_another_layout_is_refused_with_what_to_do(tmp_path: Path, mark: str) -> None:
    site = make_site(tmp_path / "site")
    OLD[mark](site)
    command = [sys.executable, "-m", "ingest_daemon", "--site", str(site.root)]
    daemon = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    assert daemon.returncode != 0
    assert mark in daemon.stderr
    assert "mainflow init" in daemon.stderr
    assert "Traceback" not in daemon.stderr
    assert not site.journal.exists()


def test_a_new_site_notes_its_layout_and_is_opened_again(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    for _ in range(2):
        open_store(site, StoreSettings())
    assert json.loads((site.state / "layout.json").read_text()) == {"layout": 2}


@pytest.fixture
def fake() -> Iterator[FakeInflux]:
    server = FakeInflux()
    server.start()
    yield server
    server.stop()


def test_a_database_of_another_layout_takes_no_reading_and_is_named(fake: FakeInflux) -> None:
    tags = {"results": [{"series": [{"name": "reading", "columns": ["tagKey"], "values": [["meter"]]}]}]}
    fake.trouble = lambda path, lines: (200, json.dumps(tags)) if "TAG+KEYS" in path else None
    store = InfluxStore(StoreSettings(influx_url=fake.url, influx_database="old"))
    for call in (lambda: store.write(pl.DataFrame(schema=READING)), store.check):
        with pytest.raises(StoreAway, match=r"'old' have another layout \(tag 'meter'.*name a new database"):
            call()
    assert fake.writes == 0
