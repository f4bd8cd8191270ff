"""The lake: the union of the daemons' shares, whoever wrote a reading; what is missing or wrong is named."""

import json
import pickle
import shutil
import socket
from collections.abc import Callable
from datetime import timedelta
from itertools import count, cycle
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from ingest_daemon.contract.settings import SettingError
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import RawStore, StoreAway, object_storage, open_store
from ingest_daemon.stores.object_storage import Access, ObjectStorage
from ingest_daemon.stores.parquet import FILES_PER_DAY, bucket_of
from ingest_daemon.stores.settings import StoreSettings
from tests.object_store import ObjectStore
from tests.stores.test_stores import (
    ALWAYS,
    NOON,
    acknowledged_before_a_kill,
    journals,
    meters_day,
    minutes,
    reading,
    spans_of,
    table,
    unhurried,
    upsert,
)

numbers = count()

Opened = Callable[..., RawStore]
"""The store of the site that writes a share; `buckets` of a new lake."""


def opened(root: Path, share: str = "daemon-1", buckets: int = 4) -> RawStore:
    (root / "lake").mkdir(parents=True, exist_ok=True)
    chosen = StoreSettings(kind="lake", lake=str(root / "lake"), share=share, lake_buckets=buckets)
    return open_store(Site(root / f"site-{share}"), chosen)


@pytest.fixture
def lake(tmp_path: Path) -> Opened:
    return lambda share="daemon-1", buckets=4: opened(tmp_path, share, buckets)


@settings(unhurried, max_examples=25)
@given(writes=journals())
def test_what_two_daemons_wrote_in_turn_reads_like_a_dictionary_of_points(
    tmp_path: Path, writes: list[list[dict[str, object]]]
) -> None:
    root = tmp_path / str(next(numbers))
    for share, write in zip(cycle(["daemon-1", "daemon-2"]), writes, strict=False):
        assert opened(root, share).write(table(*write)).is_empty()
    expected = upsert(writes)
    assert_frame_equal(opened(root, "reader").read(*ALWAYS), expected, check_exact=True)
    some = ["4201000001", "表,="]
    assert_frame_equal(opened(root).read(*ALWAYS, terminals=some), expected.filter(pl.col("terminal").is_in(some)))


def test_the_bucket_of_a_terminal_is_its_crc_32_so_that_it_never_changes() -> None:
    assert bucket_of(["123456789"], 2**32) == [0xCBF43926]  # the check value of CRC-32
    assert bucket_of(["4201000001", "表"], 16) == [8, 8]


def test_a_read_of_some_terminals_opens_the_files_of_their_buckets_and_days_only(lake: Opened, tmp_path: Path) -> None:
    rows = meters_day(200)
    lake().write(rows)
    lake().write(meters_day(50, NOON + timedelta(days=3)))
    one = rows["terminal"][0]
    for file in (tmp_path / "lake").glob("shares/*/readings/*/*/*.parquet"):
        if "day=2026-11-24" not in str(file) or f"bucket={bucket_of([one], 4)[0]:03}" not in str(file):
            file.write_bytes(b"rotten")
    found = lake().read(NOON, NOON + timedelta(hours=9), terminals=[one])
    assert_frame_equal(found, rows.filter(terminal=one).sort("ts"))
    with pytest.raises(StoreAway, match="damaged"):
        lake().read(*ALWAYS)


def test_arrivals_cover_every_share_and_a_new_one_appears_by_itself(lake: Opened) -> None:
    lake().write(table(reading(ts=minutes(0))))
    reader = lake("reader")
    seen = reader.arrivals(None)
    assert seen.spans.rows() == [(minutes(0), minutes(0))]
    lake("daemon-2").write(table(reading(ts=minutes(500))))
    assert spans_of(reader, seen.cursor) == [(minutes(500), minutes(500))]
    assert spans_of(reader, reader.arrivals(seen.cursor).cursor) == []
    assert len(spans_of(reader, "4711")) == 2  # the cursor of another kind of store


def test_a_share_that_is_not_there_any_more_is_named_until_its_loss_is_accepted(lake: Opened, tmp_path: Path) -> None:
    for share in ("daemon-1", "daemon-2"):
        lake(share).write(table(reading(share, ts=minutes(0))))
    shutil.rmtree(tmp_path / "lake" / "shares" / "daemon-2")
    reader = lake("reader")
    for call in (lambda: reader.read(*ALWAYS), lambda: reader.arrivals(None), reader.check):
        with pytest.raises(StoreAway, match=r"shares of the lake are missing: .*/shares/daemon-2; .*members.*mainflow rebuild"):
            call()
    (tmp_path / "lake" / "members" / "daemon-2.json").unlink()
    assert reader.read(*ALWAYS)["terminal"].to_list() == ["daemon-1"]


def test_a_share_is_written_by_one_site_alone(lake: Opened, tmp_path: Path) -> None:
    lake().write(table(reading()))
    other = open_store(Site(tmp_path / "another"), StoreSettings(kind="lake", lake=str(tmp_path / "lake"), share="daemon-1"))
    with pytest.raises(StoreAway, match=r"share daemon-1 .* is written by another site .*a \[store\] share of its own"):
        other.write(table(reading()))


def test_the_number_of_buckets_is_that_of_the_lake_whatever_a_setting_says(lake: Opened, tmp_path: Path) -> None:
    rows = meters_day(100)
    lake(buckets=4).write(rows.head(50))
    lake("daemon-2", buckets=9).write(rows.tail(50))
    assert json.loads((tmp_path / "lake" / "lake.json").read_text()) == {"buckets": 4}
    assert {path.name for path in (tmp_path / "lake").glob("shares/*/readings/*/*")} <= {f"bucket={n:03}" for n in range(4)}
    assert_frame_equal(lake().read(*ALWAYS, terminals=rows["terminal"].unique().to_list()), rows.sort("terminal", "ts"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"buckets": 5}', r"cut into 4 buckets, but .*lake.json has 5"),
        (None, r"lake.json is missing: write there the number of buckets"),
        ("{}", r"lake.json is damaged"),
    ],
)
def test_a_lake_whose_number_of_buckets_was_changed_is_not_read_wrongly(
    content: str | None, words: str, lake: Opened, tmp_path: Path
) -> None:
    lake().write(table(reading()))
    file = tmp_path / "lake" / "lake.json"
    file.unlink() if content is None else file.write_text(content)
    for call in (lambda: lake("reader").read(*ALWAYS), lambda: lake("daemon-2").write(table(reading())), lake("reader").check):
        with pytest.raises(StoreAway, match=words):
            call()


def test_a_folder_that_is_not_mounted_does_not_become_another_lake(tmp_path: Path) -> None:
    store = open_store(Site(tmp_path / "site"), StoreSettings(kind="lake", lake=str(tmp_path / "lake"), share="a"))
    for call in (lambda: store.write(table(reading())), store.check):
        with pytest.raises(StoreAway, match=f"there is no {tmp_path / 'lake'}: mount it, or make it"):
            call()
    assert not (tmp_path / "lake").exists()


def test_a_lost_file_of_one_bucket_is_missed(lake: Opened, tmp_path: Path) -> None:
    for part in meters_day(100).iter_slices(50):
        lake().write(part)
    file = sorted((tmp_path / "lake").glob("shares/*/readings/*/bucket=002/*.parquet"))[0]
    file.unlink()
    with pytest.raises(StoreAway, match=r"are missing .*day=2026-11-24/bucket=002: 00000001\); restore"):
        lake("reader").read(*ALWAYS)


def test_days_of_many_writes_stay_in_few_files_a_bucket_and_points_are_withdrawn(lake: Opened, tmp_path: Path) -> None:
    store, rows = lake(buckets=2), meters_day(400)
    for part in rows.iter_slices(10):
        store.write(part)
    for folder in (tmp_path / "lake").glob("shares/*/readings/*/*"):
        assert len(list(folder.iterdir())) <= FILES_PER_DAY
    store.withdraw(rows.tail(7))
    assert_frame_equal(lake("reader").read(*ALWAYS), rows.head(393).sort("terminal", "ts"))


def test_another_process_opens_the_same_lake(lake: Opened) -> None:
    lake().write(table(reading()))
    assert_frame_equal(pickle.loads(pickle.dumps(lake())).read(*ALWAYS), table(reading()))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lake": ""}, r"\[store\] lake = '': expected the whole path of a folder, .* or s3://bucket/prefix"),
        ({"lake": "relative/path"}, r"\[store\] lake = 'relative/path'"),
        ({"lake": "s3://"}, r"\[store\] lake = 's3://'"),
        ({"lake": "/srv/a,b"}, r"\[store\] lake = '/srv/a,b'"),
        ({"share": ""}, r"\[store\] share = '': expected a name of this site's own"),
        ({"share": "../x"}, r"\[store\] share = '../x'"),
        ({"s3_endpoint": "minio:9000"}, r"\[store\] s3_endpoint = 'minio:9000': expected http://host:port"),
        ({"s3_key_id": "a"}, r"\[store\] s3_key_id, s3_secret: expected both, or neither"),
    ],
)
def test_a_wrong_setting_of_a_lake_is_named(wrong: dict[str, str], words: str) -> None:
    right = {"kind": "lake", "lake": "s3://bucket/prefix", "share": "daemon-1"}
    StoreSettings(**right)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=words):
        StoreSettings(**{**right, **wrong})  # type: ignore[arg-type]


# --- object stores ----------------------------------------------------------------------------------------------------


def test_a_log_of_objects_gives_what_was_appended_from_any_offset(
    objects_server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_storage, "LOG_OBJECT", 40)
    monkeypatch.setattr(object_storage, "LOG_FOLDER_BITS", 7)
    access = Access(objects_server.endpoint, "us-east-1", objects_server.key_id, objects_server.secret)
    storage = ObjectStorage(objects_server.new_bucket(), access)
    assert storage.tail("log", 0) is None
    whole = b""
    for number in range(20):
        line = b"x" * (number % 7) + b"\n"
        storage.append("log", line)
        whole += line
        if number % 6 == 5:  # as after a restart
            storage = ObjectStorage(storage.where().removeprefix("s3://"), access)
    assert [storage.tail("log", offset) for offset in range(len(whole) + 2)] == [whole[n:] for n in range(len(whole) + 2)]


def test_an_object_that_rotted_is_named(objects_server: ObjectStore, tmp_path: Path) -> None:
    chosen = objects_server.store_settings(objects_server.new_bucket(), lake_buckets=1)
    store = open_store(Site(tmp_path), chosen)
    store.write(table(reading()))
    storage = store._storage  # type: ignore[attr-defined]
    (file,) = (path for path in storage.below("shares") if path.endswith(".parquet"))
    storage.put({file: b"PAR1 rotten PAR1"})
    with pytest.raises(StoreAway, match=rf"damaged .*s3://.*/lake/{file}"):
        store.read(*ALWAYS)


def test_an_object_store_that_is_away_or_refuses_is_told_without_the_secret(
    objects_server: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_storage, "TRIES", 1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    bucket = objects_server.new_bucket()
    for chosen in (
        objects_server.store_settings(bucket, s3_endpoint=nobody, s3_secret="geheim-4711"),
        objects_server.store_settings("mainflow-no-such-bucket"),
    ):
        store = open_store(Site(tmp_path), chosen)
        for call in (lambda store=store: store.write(table(reading())), store.check):
            with pytest.raises(StoreAway, match=r"s3://.*/lake") as away:
                call()
            assert "geheim" not in str(away.value) and "geheim" not in repr(chosen) + repr(store)


WRITER = """
import json, sys
from pathlib import Path
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import open_store
from ingest_daemon.stores.settings import StoreSettings
from tests.stores.test_stores import meters_day
store = open_store(Site(Path(sys.argv[1])), StoreSettings(**json.loads(sys.argv[2])))
for number, part in enumerate(meters_day(100_000).iter_slices(10)):
    store.write(part)
    print(number, flush=True)
"""


@pytest.mark.parametrize("writes", [1, 37])
def test_after_a_kill_every_acknowledged_write_is_in_the_object_store_and_told_as_arrived(
    objects_server: ObjectStore, tmp_path: Path, writes: int
) -> None:
    chosen = objects_server.settings(objects_server.new_bucket(), lake_buckets=2)
    acknowledged = acknowledged_before_a_kill(WRITER, writes, str(tmp_path), json.dumps(chosen))
    store = open_store(Site(tmp_path), StoreSettings(**chosen))  # type: ignore[arg-type]
    rows = meters_day(acknowledged * 10)
    found = store.read(*ALWAYS)
    assert_frame_equal(found.filter(pl.col("frame") < rows.height), rows.sort("terminal", "ts"))
    assert acknowledged <= len(spans_of(store)) <= acknowledged + 1
    store.write(rows.tail(1))
    assert_frame_equal(store.read(*ALWAYS), found)
