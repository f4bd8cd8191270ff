"""InfluxDB 2.x as raw store, where there is one: MAINFLOW_TEST_INFLUX2 is the path of its `influxd` or the address of a server.

The server at an address must have a bucket `mainflow` of its own for this; MAINFLOW_TEST_INFLUX2_TOKEN is its token.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import Request, urlopen

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ingest_daemon.stores.influxdb import InfluxStore
from ingest_daemon.stores.points import KEY, POSITION
from ingest_daemon.stores.settings import StoreSettings
from pipelines.cli.doctor import examine
from pipelines.settings import load
from tests.daemon_helpers import TERMINALS, Client, eventually, forwarded, frame, kept, make_site, minutes_ago, running
from tests.influx_server import free_ports
from tests.pipelines.test_backup import readings_survive

VARIABLE = "MAINFLOW_TEST_INFLUX2"
GIVEN = os.environ.get(VARIABLE, "")
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
TOKEN = os.environ.get("MAINFLOW_TEST_INFLUX2_TOKEN", "token-of-the-tests")

pytestmark = pytest.mark.skipif(not GIVEN, reason=f"{VARIABLE} names no influxd of InfluxDB 2.x and no address of a server")


class Server(NamedTuple):
    """A server of 2.x; `process` None where it is not ours."""

    url: str
    process: "subprocess.Popen[bytes] | None"


def api(url: str, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
    with urlopen(Request(url + path, json.dumps(body).encode() if body else None, headers, method=method), timeout=10) as answer:
        return json.loads(answer.read() or b"null")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if GIVEN.startswith("http"):
        yield Server(GIVEN, None)
        return
    folder = tmp_path_factory.mktemp("influxdb2")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [GIVEN, "--bolt-path", str(folder / "bolt"), "--engine-path", str(folder / "engine"), "--reporting-disabled"]
    command += ["--sqlite-path", str(folder / "sqlite"), "--http-bind-address", f"127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
    setup = {"username": "clerk", "password": "long-enough", "org": "utility", "bucket": "mainflow", "token": TOKEN}

    def ready() -> bool:
        try:
            api(url, "POST", "/api/v2/setup", setup)
        except (URLError, ConnectionError):
            return False
        return True

    eventually(ready, "InfluxDB 2.x is set up", 60)
    yield Server(url, process)
    process.terminate()
    process.wait(30)


def keep(url: str, bucket: dict[str, Any], seconds: int, shard_s: int) -> None:
    """Let the bucket keep its points so long (0: for ever)."""
    rule = {"type": "expire", "everySeconds": seconds, "shardGroupDurationSeconds": shard_s}
    api(url, "PATCH", f"/api/v2/buckets/{bucket['id']}", {"retentionRules": [rule]})


def settings(url: str) -> StoreSettings:
    return StoreSettings(kind="influxdb", influx_url=url, influx_auth="token", influx_password=TOKEN)


def store_section(url: str) -> str:
    return f"[store]\nkind = 'influxdb'\ninflux_url = '{url}'\ninflux_auth = 'token'\ninflux_password = '{TOKEN}'\n"


def test_what_terminals_send_is_in_the_bucket_once_and_a_later_value_wins(tmp_path: Path, server: Server) -> None:
    site = make_site(tmp_path)
    with site.settings.open("a") as file:
        file.write(store_section(server.url))
    store = InfluxStore(settings(server.url))
    cursor = store.arrivals(None).cursor
    with running(site) as daemon:
        client = Client(daemon.data_port)
        for number, terminal in enumerate(TERMINALS):
            client.send(frame(terminal, minutes_ago(30), number + 0.125, pressure_mpa=0.25))
            client.send(frame(terminal, minutes_ago(15), number + 1.0))
            client.send(frame(terminal, minutes_ago(15), number + 1.0))
        client.acknowledged(3 * len(TERMINALS))
        eventually(lambda: forwarded(site), "everything is forwarded")
        rows = store.read(*ALWAYS)
        assert rows.select("terminal", "forward_m3", "pressure_mpa").rows() == [
            row
            for number, terminal in enumerate(TERMINALS)
            for row in ((terminal, number + 0.125, 0.25), (terminal, number + 1.0, None))
        ]
        assert len(store.arrivals(cursor).spans) >= 1
        client.send(frame(TERMINALS[0], minutes_ago(30), 500.0))
        client.acknowledged(1)
        eventually(lambda: forwarded(site), "the correction is forwarded")
    changed = store.read(*ALWAYS)
    assert changed.row(0, named=True)["forward_m3"] == 500.0
    assert changed.row(0, named=True)["pressure_mpa"] == 0.25
    assert_frame_equal(changed.tail(-1), rows.tail(-1))
    assert len(kept(site, "CONFLICT")) == 1
    gone = changed.head(5)
    store.withdraw(gone.select(KEY + POSITION))
    assert_frame_equal(store.read(*ALWAYS), changed.tail(-5))


def test_its_readings_are_in_a_backup_and_go_into_another_bucket(tmp_path: Path, server: Server) -> None:
    ((bucket,), names) = api(server.url, "GET", "/api/v2/buckets?name=mainflow")["buckets"], ("backed-up", "restored")
    made = [api(server.url, "POST", "/api/v2/buckets", {"name": name, "orgID": bucket["orgID"]})["id"] for name in names]
    try:
        chosen = dict(zip(("first", "second"), names, strict=True))
        readings_survive(tmp_path, lambda name: replace(settings(server.url), influx_database=chosen[name]))
    finally:
        for number in made:
            api(server.url, "DELETE", f"/api/v2/buckets/{number}")


def test_a_bucket_that_forgets_is_told_by_the_doctor_and_what_it_refuses_is_kept(tmp_path: Path, server: Server) -> None:
    site = make_site(tmp_path)
    with site.settings.open("a") as file:
        file.write(store_section(server.url) + "[site]\nzone = 'UTC'\n")
    (bucket,) = api(server.url, "GET", "/api/v2/buckets?name=mainflow")["buckets"]

    def doctor() -> tuple[bool | None, str]:
        (found,) = [each for each in examine(load(site.root)) if "retention" in each.name]
        return found.ok, found.seen

    assert doctor() == (True, "for ever")
    keep(server.url, bucket, 86400, 3600)
    try:
        well, seen = doctor()
        assert well is False
        assert "after 1.0 days" in seen
        time.sleep(1)
        with running(site) as daemon:
            client = Client(daemon.data_port)
            for sequence, minutes in enumerate((3, 9 * 1440, 6), 1):
                client.send(frame(TERMINALS[7], minutes_ago(minutes), minutes, sequence=sequence))
            client.acknowledged(3)
            eventually(lambda: forwarded(site), "everything is forwarded")
        (refused,) = kept(site, "STORE_REFUSED")
        assert "dropped" in refused["detail"]
        mine = InfluxStore(settings(server.url)).read(*ALWAYS).filter(pl.col("terminal") == TERMINALS[7])
        assert {3.0, 6.0} <= set(mine["forward_m3"])
    finally:
        keep(server.url, bucket, 0, 7 * 86400)
