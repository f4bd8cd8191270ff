"""The drill: a site is backed up under load and restored elsewhere; nothing is missing, and nothing is doubled."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from ingest_daemon.contract import ownership
from ingest_daemon.contract.files import read_json
from ingest_daemon.contract.schema import READING, TIMESTAMP
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import StoreAway
from ingest_daemon.stores.influxdb import InfluxStore
from ingest_daemon.stores.points import merge
from ingest_daemon.stores.settings import StoreSettings
from pipelines import settings
from pipelines.processes.postgres import address, embedded
from pipelines.runs import backup, run, touched
from pipelines.runs.backup import BackupError
from pipelines.runs.backup_readings import FOLDER, name_of
from pipelines.runs.bench import workbench
from tests.assets.test_lateness import computed
from tests.chain import assert_same_tables, mainflow, tables
from tests.daemon_helpers import TERMINALS, Client, delivered, eventually, frame, make_site, minutes_ago, running
from tests.influx_server import missing, running_influxdb

ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
VALUES = ["terminal", "ts", "forward_m3", "pressure_mpa"]


class Load(threading.Thread):
    """A terminal that reports minute after minute, as fast as it is answered."""

    def __init__(self, port: int, terminal: str) -> None:
        super().__init__(daemon=True)
        self._client, self._terminal = Client(port), terminal
        self._stopping = threading.Event()
        self.acknowledged: list[bytes] = []

    def run(self) -> None:
        start = minutes_ago(60 * 24 * 20)
        while not self._stopping.is_set():
            number = len(self.acknowledged)
            sent = frame(
                self._terminal, start + timedelta(minutes=number), 100 + number / 10, sequence=number % 60000 + 1, sent_at=start
            )
            self._client.send(sent)
            self._client.acknowledged(1)
            self.acknowledged.append(sent)

    def stop(self) -> None:
        self._stopping.set()
        self.join(20)
        self._client.close()


def test_a_backup_under_load_restores_all_that_was_acknowledged_and_repeats_double_nothing(tmp_path: Path) -> None:
    site, target = make_site(tmp_path / "site"), tmp_path / "backups"
    with running(site) as daemon:
        loads = [Load(daemon.data_port, terminal) for terminal in TERMINALS[:3]]
        for load in loads:
            load.start()
        eventually(lambda: all(len(load.acknowledged) > 200 for load in loads), "some frames are acknowledged")
        bench = workbench(settings.load(site.root))
        first = backup.make(bench, target)
        time.sleep(1)
        before = [len(load.acknowledged) for load in loads]
        second = backup.make(bench, target)
        for load in loads:
            load.stop()
        all_frames = [sent for load in loads for sent in load.acknowledged]
        original = delivered(site).select(VALUES)
    assert second.copied < second.size, "what did not change is linked"
    assert first.folder != second.folder
    restored = Site(tmp_path / "elsewhere" / "site")
    backup.restore(target, restored.root)
    with running(restored) as daemon:
        found = delivered(restored)
        for load, terminal, count in zip(loads, TERMINALS, before, strict=False):
            own = found.filter(found["terminal"] == terminal)
            assert own.height >= count, "every acknowledged frame of before the backup is there"
            assert own.height <= len(load.acknowledged)
        client = Client(daemon.data_port)
        for sent in all_frames:  # terminals repeat what they may have lost
            client.send(sent)
            client.acknowledged(1)
        assert delivered(restored).select(VALUES).equals(original)


@pytest.mark.usefixtures("few_tables")
def test_figures_alarms_and_registry_are_those_of_the_backup(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 3)
    with embedded(bench.site, 0) as dsn:
        served = replace(bench, serving_dsn=lambda: dsn)
        run.run_touched(served, "test")
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "insert into ops.alarm_event values ('M1', 'T1', 'P_LO', 'raised', now(), now(), 1, 2, 'MPa', 'device', 7)"
            )
        backup.make(served, tmp_path / "backups")
    restored = Site(tmp_path / "restored")
    backup.restore(tmp_path / "backups", restored.root)
    again = workbench(settings.load(restored.root))
    assert run.run_touched(replace(again, serving_dsn=lambda: None), "test").run_id == "", "nothing has to be computed again"
    assert_same_tables(before, tables(restored.marts))
    assert ownership.site_id(restored) == ownership.site_id(bench.site)
    with embedded(restored, 0) as dsn:
        assert backup.restore_ops(restored, dsn)
        assert not backup.restore_ops(restored, dsn)
        with psycopg.connect(dsn) as connection:
            assert connection.execute("select meter, code from ops.alarm_event").fetchall() == [("M1", "P_LO")]
        addresses = address(restored)
        assert addresses
        with psycopg.connect(addresses["desk_dsn"]) as desk, psycopg.connect(addresses["board_dsn"]) as board:
            desk.execute("update ops.ticker_setting set seconds = 9; update ops.alarm set note = ''")
            board.execute("select count(*) from ops.alarm_ticker")
        run.run_touched(replace(again, serving_dsn=lambda: dsn), "test")
        with psycopg.connect(dsn) as connection:
            query = "select count(*) from mart.daily_usage"
            assert connection.execute(query).fetchone() == (before["daily_usage"].height,)


@pytest.mark.skipif(bool(missing()), reason=missing() or "")
def test_readings_of_influxdb_are_in_the_backup_only_new_pieces_are_copied_and_they_go_into_another_server(
    tmp_path: Path,
) -> None:
    with running_influxdb(tmp_path / "influx") as url:
        readings_survive(tmp_path, lambda name: StoreSettings(kind="influxdb", influx_url=url, influx_database=name))


def readings_survive(root: Path, settings_of: Callable[[str], StoreSettings]) -> None:
    """Back up a site whose store is a server, and restore it into an empty one. `settings_of`: the store of a database."""
    first, second = settings_of("first"), settings_of("second")
    site, target = make_site(root / "site", in_settings(first)), root / "backups"
    store = InfluxStore(first)
    bench = workbench(settings.load(site.root))
    assert store.write(month()).is_empty()
    made = backup.make(bench, target)
    assert len(list((made.folder / FOLDER).iterdir())) == 4 * 31 and backup.damaged(made.folder) == []
    late = month()[100:101].with_columns(pressure_mpa=0.5, received_at=pl.lit(datetime.now(UTC)).cast(TIMESTAMP))
    assert store.write(late).is_empty()
    again = backup.make(bench, target)
    new = [path.name for path in (again.folder / FOLDER).iterdir() if path.stat().st_nlink == 1]
    assert new == [name_of(late["ts"][0].replace(hour=late["ts"][0].hour // 6 * 6))], "the other pieces are linked"
    before = store.read(*ALWAYS)
    assert before.height == month().height

    restored = Site(root / "restored")
    backup.restore(target, restored.root)
    with pytest.raises(BackupError, match="still holds restored readings"):
        backup.make(workbench(settings.load(restored.root)), target)
    away = InfluxStore(replace(second, influx_url="http://127.0.0.1:9"))
    assert backup.restore_readings(restored, away) == 0
    newer = month()[200:201].with_columns(
        forward_m3=None, pressure_mpa=0.9, received_at=pl.lit(datetime.now(UTC)).cast(TIMESTAMP)
    )
    other = InfluxStore(second)
    other.write(newer)  # what a daemon stored before the backup's readings came
    assert backup.restore_readings(restored, other) == before.height
    assert backup.restore_readings(restored, other) == 0
    assert_frame_equal(other.read(*ALWAYS), merge(pl.concat([before, newer])))
    assert touched.waiting(restored.state, other, ZoneInfo("UTC"), timedelta(hours=2)).live, "the days are computed anew"


def in_settings(store: StoreSettings) -> str:
    values = {"kind": store.kind, "influx_url": store.influx_url, "influx_database": store.influx_database}
    values |= {"influx_auth": store.influx_auth, "influx_password": store.influx_password}
    return "[store]\n" + "".join(f"{name} = '{value}'\n" for name, value in values.items())


def month() -> pl.DataFrame:
    """31 days of hourly readings of two terminals."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=hour) for hour in range(31 * 24)]
    parts = [
        pl.DataFrame({"ts": hours}).with_columns(
            terminal=pl.lit(terminal),
            forward_m3=pl.int_range(pl.len()) * 0.25,
            pressure_mpa=pl.lit(0.3),
            frame=pl.int_range(pl.len()),
        )
        for terminal in TERMINALS[:2]
    ]
    rows = pl.concat(parts).with_columns(
        received_at=pl.col("ts") + timedelta(minutes=1), channel=pl.lit("tcp"), stream=pl.lit("data")
    )
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None).alias(name)).cast(dtype) for name, dtype in READING.items()
    )


def test_a_backup_that_fails_leaves_nothing_in_the_target(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", in_settings(StoreSettings(kind="influxdb", influx_url="http://127.0.0.1:9")))
    with pytest.raises(StoreAway):
        backup.make(workbench(settings.load(site.root)), tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []


def test_only_a_whole_backup_is_restored_and_only_into_an_empty_folder(tmp_path: Path) -> None:
    bench, _ = computed(tmp_path / "site", 1)
    target = tmp_path / "backups"
    with pytest.raises(BackupError, match="lies in the site itself"):
        backup.make(bench, bench.site.root / "backups")
    made = [backup.make(bench, target, keep=2).folder for _ in range(3)]
    assert [folder.exists() for folder in made] == [False, True, True]
    (made[2] / backup.MANIFEST).unlink()
    assert backup.newest(target) == made[1], "one that was not finished is none"
    with pytest.raises(BackupError, match="is not empty"):
        backup.restore(target, bench.site.root)
    spoilt = made[1] / "site" / "registry" / "terminals.csv"
    copy = tmp_path / "apart"
    shutil.copy2(spoilt, copy)
    os.replace(copy, spoilt)  # not through the link that another backup may share
    spoilt.write_bytes(spoilt.read_bytes().replace(b"0010000001", b"0010000009"))
    with pytest.raises(BackupError, match=r"damaged, nothing was restored: site/registry/terminals\.csv"):
        backup.restore(target, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_commands_back_up_verify_restore_and_tell(tmp_path: Path) -> None:
    bench, _ = computed(tmp_path / "site", 1)
    target = tmp_path / "backups"
    assert "of which copied" in mainflow("backup", "--site", bench.site.root, target).stdout
    assert "✓" in mainflow("backup", "--site", bench.site.root, target, "--verify").stdout
    told = read_json(bench.site.state / "backup.json")
    assert told["at"] in mainflow("status", "--site", bench.site.root).stdout
    mainflow("restore", target, tmp_path / "new")
    manifest = json.loads((Path(told["folder"]) / backup.MANIFEST).read_text())
    here = {str(Path("site") / path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert here == set(manifest["files"])
    assert not any("postgres-roles" in name or name.endswith(".lock") for name in here)
