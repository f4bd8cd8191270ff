"""All raw stores keep one contract: what is written comes back the same, once, and is told as arrived."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest_daemon.contract.schema import FIELDS, READING, Channel
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import RawStore, StoreAway, influxdb, open_store
from ingest_daemon.stores.influxdb import InfluxStore
from ingest_daemon.stores.parquet import FILES_PER_DAY, ParquetStore
from ingest_daemon.stores.settings import StoreSettings
from tests.daemon_helpers import eventually
from tests.influx_server import missing, running_influxdb
from tests.object_store import ObjectStore

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
numbers = count()

Place = Callable[[], RawStore]
"""Opens the store at one place; called again it is what a second process or a restart would see."""


def minutes(n: float) -> datetime:
    return NOON + timedelta(minutes=n)


def reading(terminal: str = "4201000001", ts: datetime = NOON, frame: int = 0, **fields: float | None) -> dict[str, object]:
    row = dict.fromkeys(READING) | {"terminal": terminal, "ts": ts, "stream": "data", "frame": frame, "channel": "tcp"}
    return row | {"received_at": NOON + timedelta(days=1, seconds=frame % 10_000)} | fields


def table(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=READING, orient="row")


def meters_day(n: int, day: datetime = NOON) -> pl.DataFrame:
    """`n` readings of 50 meters, one received each microsecond."""
    i = pl.int_range(n, dtype=pl.Int64)
    return pl.select(
        terminal=pl.format("42010{}", (i % 50).cast(pl.String).str.zfill(5)),
        ts=pl.lit(day).dt.cast_time_unit("us") + pl.duration(seconds=i // 50),
        forward_m3=i * 0.001,
        reverse_m3=pl.lit(0.0),
        flow_m3h=i * 0.1 - 5,
        pressure_mpa=pl.lit(0.31),
        battery_v=pl.when(i % 3 == 0).then(3.6),
        signal=-i,
        status=i,
        received_at=pl.lit(day).dt.cast_time_unit("us") + pl.duration(days=1, microseconds=i),
        channel=pl.lit("tcp"),
        stream=pl.lit("data"),
        frame=i,
    ).select(pl.col(name).cast(dtype) for name, dtype in READING.items())


def spans_of(store: RawStore, cursor: str | None = None) -> list[tuple[datetime, datetime]]:
    return store.arrivals(cursor).spans.rows()


@pytest.fixture(scope="module")
def influx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why := missing():
        pytest.skip(why)
    with running_influxdb(tmp_path_factory.mktemp("influxdb")) as url:
        yield url


def influx_place(url: str) -> Place:
    chosen = StoreSettings(kind="influxdb", influx_url=url, influx_database=f"test{next(numbers)}")
    return lambda: InfluxStore(chosen)


@pytest.fixture
def influx(influx_url: str) -> Place:
    return influx_place(influx_url)


@pytest.fixture
def parquet(tmp_path: Path) -> Place:
    return lambda: ParquetStore(tmp_path / "raw")


@pytest.fixture
def lake(tmp_path: Path) -> Place:
    (tmp_path / "lake").mkdir()
    chosen = StoreSettings(kind="lake", lake=str(tmp_path / "lake"), share="daemon-1", lake_buckets=3)
    return lambda: open_store(Site(tmp_path / "site"), chosen)


@pytest.fixture
def objects(objects_server: ObjectStore, tmp_path: Path) -> Place:
    chosen = objects_server.store_settings(objects_server.new_bucket(), lake_buckets=3)
    return lambda: open_store(Site(tmp_path / "site"), chosen)


@pytest.fixture(params=["parquet", "influx", "lake", "objects"])
def place(request: pytest.FixtureRequest) -> Place:
    opened: Place = request.getfixturevalue(request.param)
    return opened


# --- the contract, for all -------------------------------------------------------------------------------------------


def test_a_store_without_readings_is_empty_and_not_away(place: Place) -> None:
    store = place()
    assert_frame_equal(store.read(*ALWAYS), pl.DataFrame(schema=READING))
    arrivals = store.arrivals(None)
    assert arrivals.spans.schema == {"start": READING["ts"], "end": READING["ts"]}
    assert arrivals.spans.is_empty()
    assert store.arrivals(arrivals.cursor).cursor == arrivals.cursor
    assert store.check()


def test_what_is_written_is_read_back_with_types_order_and_every_bit(place: Place) -> None:
    rows = table(
        reading("b", minutes(1), 3, forward_m3=0.1 + 0.2, flow_m3h=-0.0, signal=-113, status=2**62 + 1),
        reading("b", minutes(0), 2, forward_m3=1e20, reverse_m3=5e-324, pressure_mpa=1e-7, battery_v=3.0),
        reading("a b,c=d", minutes(2) + timedelta(milliseconds=7), 1, forward_m3=1.7976931348623157e308),
        reading("表", minutes(2), 2**53 + 1) | {"received_at": NOON + timedelta(microseconds=123457), "channel": "manual"},
    )
    assert place().write(rows).is_empty()
    assert_frame_equal(place().read(*ALWAYS), rows.sort("terminal", "ts"))


def test_a_write_larger_than_one_request_is_read_back_whole(place: Place) -> None:
    rows = meters_day(25_001)
    assert place().write(rows.sample(fraction=1, shuffle=True, seed=1)).is_empty()
    assert_frame_equal(place().read(*ALWAYS), rows.sort("terminal", "ts"))


def test_the_same_write_again_changes_nothing_but_the_arrivals(place: Place) -> None:
    store, rows = place(), meters_day(500)
    store.write(rows)
    before, cursor = store.read(*ALWAYS), store.arrivals(None).cursor
    store.write(rows)
    assert_frame_equal(place().read(*ALWAYS), before)
    assert spans_of(store, cursor) == spans_of(store)[:1]


@pytest.mark.parametrize("together", [True, False], ids=["in one write", "in two writes"])
def test_a_later_arrival_wins_field_by_field_and_a_null_never_overwrites(place: Place, together: bool) -> None:
    first = table(reading(frame=1, forward_m3=10.0, flow_m3h=5.0, pressure_mpa=0.3))
    second = table(reading(frame=2, forward_m3=11.0, battery_v=3.6, signal=4) | {"channel": "sms"})
    for write in [pl.concat([second, first])] if together else [first, second]:
        place().write(write)
    merged = reading(frame=2, forward_m3=11.0, flow_m3h=5.0, pressure_mpa=0.3, battery_v=3.6, signal=4) | {"channel": "sms"}
    assert_frame_equal(place().read(*ALWAYS), table(merged))


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (0, 1440, [0, 719, 720, 1440]),
        (1, 1439, [719, 720]),
        (719, 720, [719, 720]),
        (720, 720, [720]),
        (721, 1439, []),
        (-9, -1, []),
    ],
)
def test_both_ends_of_a_range_belong_to_it_over_midnight_too(place: Place, start: int, end: int, found: list[int]) -> None:
    store = place()
    store.write(table(*(reading(ts=minutes(n), frame=n, forward_m3=float(n)) for n in (0, 719, 720, 1440))))
    assert store.read(minutes(start), minutes(end))["frame"].to_list() == found
    beijing = [minutes(n).astimezone(ZoneInfo("Asia/Shanghai")) for n in (start, end)]
    assert store.read(*beijing)["frame"].to_list() == found


def test_arrivals_are_spans_parted_by_more_than_an_hour_and_told_once_a_cursor(place: Place) -> None:
    store = place()
    store.write(table(*(reading(ts=minutes(n)) for n in (130, 0, 60, 121, 400))))
    seen = store.arrivals(None)
    assert seen.spans.rows() == [(minutes(0), minutes(60)), (minutes(121), minutes(130)), (minutes(400), minutes(400))]
    assert spans_of(place(), seen.cursor) == []
    place().write(table(reading(ts=minutes(-9000)), reading(terminal="other", ts=minutes(-9000))))
    assert spans_of(store, seen.cursor) == [(minutes(-9000), minutes(-9000))]
    assert len(spans_of(place())) == 4


def test_readings_that_no_store_can_hold_come_back_with_the_reason_and_the_rest_is_stored(place: Place) -> None:
    bad = [
        (reading("nan", forward_m3=float("nan")), "forward_m3"),
        (reading("inf", pressure_mpa=float("inf")), "pressure_mpa"),
        (reading("", forward_m3=1.0), "terminal"),
        (reading("two\nlines", forward_m3=1.0), "terminal"),
        (reading("a\\", forward_m3=1.0), "terminal"),
        (reading("no time", forward_m3=1.0) | {"ts": None}, "ts"),
    ]
    good = table(reading("good", forward_m3=1.0), reading("nothing but the time"))
    store = place()
    refused = store.write(pl.concat([good, table(*(row for row, _ in bad))]))
    assert list(refused.columns) == [*READING, "detail"]
    for (row, word), got in zip(bad, refused.iter_rows(named=True), strict=True):
        assert got["terminal"] == row["terminal"]
        assert word in got["detail"]
    assert_frame_equal(store.read(*ALWAYS), good.sort("terminal"))
    cursor = store.arrivals(None).cursor
    assert store.write(table(bad[0][0])).height == 1
    assert spans_of(store, cursor) == []


def test_a_read_gives_the_columns_and_terminals_that_were_asked_for(place: Place) -> None:
    rows = table(
        reading("b", minutes(1), 3, forward_m3=3.0),
        reading("it's b", minutes(0), 2, forward_m3=2.0, pressure_mpa=0.3),
        reading("it's b", minutes(1), 4),
        reading("it's b", minutes(0), 5, flow_m3h=1.0),
    )
    store = place()
    store.write(rows)
    columns = ["ts", "forward_m3", "flow_m3h"]
    whole = store.read(*ALWAYS)
    assert_frame_equal(store.read(*ALWAYS, columns=columns), whole.select(columns))
    for names in (["it's b"], ["b", "it's b", "none"], ["none"], [], [f"no {n}" for n in range(500)] + ["b"]):
        expected = whole.filter(pl.col("terminal").is_in(names)).select(columns)
        assert_frame_equal(store.read(*ALWAYS, columns=columns, terminals=names), expected)


@st.composite
def journals(draw: st.DrawFn) -> list[list[dict[str, object]]]:
    """Readings in the order of their arrival, cut into writes; many share a point."""
    value = st.none() | st.floats(allow_nan=False, allow_infinity=False)
    integer = st.none() | st.integers(-(2**63), 2**63 - 1)
    cells = {field.name: value if field.dtype.is_float() else integer for field in FIELDS}
    row = st.fixed_dictionaries(cells | {"channel": st.sampled_from([*map(str, Channel)])})
    at = st.tuples(st.sampled_from(["4201000001", "a b", "表,="]), st.integers(0, 5).map(lambda n: minutes(n * 47)))
    rows = [reading(*point, frame) | cell for frame, (point, cell) in enumerate(draw(st.lists(st.tuples(at, row), max_size=25)))]
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    return [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]


def upsert(writes: list[list[dict[str, object]]]) -> pl.DataFrame:
    points: dict[tuple[object, object], dict[str, object]] = {}
    for row in (row for write in writes for row in write):
        point = points.setdefault((row["terminal"], row["ts"]), dict.fromkeys(READING))
        point |= {name: value for name, value in row.items() if value is not None}
    return table(*points.values()).sort("terminal", "ts")


def check_against_dictionary(store: RawStore, writes: list[list[dict[str, object]]]) -> None:
    for write in writes:
        assert store.write(table(*write)).is_empty()
    assert_frame_equal(store.read(*ALWAYS), upsert(writes), check_exact=True)
    spans = spans_of(store)
    for row in (row for write in writes for row in write):
        assert any(start <= row["ts"] <= end for start, end in spans)  # type: ignore[operator]


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(unhurried, max_examples=40)
@given(writes=journals())
def test_the_archive_answers_like_a_dictionary_of_points(tmp_path: Path, writes: list[list[dict[str, object]]]) -> None:
    check_against_dictionary(ParquetStore(tmp_path / str(next(numbers))), writes)


@settings(unhurried, max_examples=20)
@given(writes=journals())
def test_influxdb_answers_like_a_dictionary_of_points(influx_url: str, writes: list[list[dict[str, object]]]) -> None:
    check_against_dictionary(influx_place(influx_url)(), writes)


# --- the archive ------------------------------------------------------------------------------------------------------


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("raw/readings/day=*/*.parquet"))


def test_a_day_in_many_small_writes_stays_in_few_files_and_reads_the_same(parquet: Place, tmp_path: Path) -> None:
    store, rows = parquet(), meters_day(3000)
    for part in rows.iter_slices(20):
        store.write(part)
        assert len(files_of(tmp_path)) <= FILES_PER_DAY
    assert_frame_equal(store.read(*ALWAYS), rows.sort("terminal", "ts"))


def test_compaction_keeps_what_a_reading_received_earlier_but_written_later_needs(parquet: Place) -> None:
    full = table(reading(frame=1, forward_m3=1.0, flow_m3h=5.0))
    newest = table(reading(frame=3, forward_m3=3.0))
    store = parquet()
    store.write(full)
    store.write(newest)
    for n in range(FILES_PER_DAY):
        store.write(table(reading("other", frame=n)))
    store.write(table(reading(frame=2, forward_m3=2.0, flow_m3h=6.0)))
    kept = store.read(*ALWAYS).filter(terminal="4201000001")
    assert_frame_equal(kept, table(reading(frame=3, forward_m3=3.0, flow_m3h=6.0)))


def test_a_kill_between_the_joined_file_and_the_deletion_of_its_sources_does_no_harm(parquet: Place, tmp_path: Path) -> None:
    store, rows = parquet(), meters_day(400)
    sources: dict[Path, bytes] = {}
    for part in rows.iter_slices(10):
        store.write(part)
        sources |= {file: file.read_bytes() for file in files_of(tmp_path)}
    gone = {file: data for file, data in sources.items() if not file.exists()}
    assert gone
    for file, data in gone.items():
        file.write_bytes(data)
    (files_of(tmp_path)[0].parent / "00000099.half").write_bytes(b"PAR1 torn")
    assert_frame_equal(parquet().read(*ALWAYS), rows.sort("terminal", "ts"))
    parquet().write(rows.head(1))
    assert len(files_of(tmp_path)) <= FILES_PER_DAY
    assert_frame_equal(parquet().read(*ALWAYS), rows.sort("terminal", "ts"))


def test_a_day_that_is_over_is_one_file_sorted_by_terminal_and_time(parquet: Place, tmp_path: Path) -> None:
    store, rows = parquet(), meters_day(300)
    for part in rows.sample(fraction=1, shuffle=True, seed=1).iter_slices(100):
        store.write(part)
    for day in (1, 2, 3):
        for part in meters_day(20, NOON + timedelta(days=day)).iter_slices(10):
            store.write(part)
    folders = sorted(tmp_path.glob("raw/readings/*"))
    assert [len(list(folder.iterdir())) for folder in folders] == [1, 1, 2, 2]
    (whole,) = folders[0].iterdir()
    assert_frame_equal(pl.read_parquet(whole, hive_partitioning=False), rows.sort("terminal", "ts"))


def test_readers_see_every_written_reading_while_files_are_joined(parquet: Place) -> None:
    rows = meters_day(4000)
    written, stop, failures = [0], threading.Event(), []

    def watch() -> None:
        store = parquet()
        while not stop.is_set():
            least = written[0]
            found = store.read(*ALWAYS).height
            if found < least:
                failures.append((found, least))

    watcher = threading.Thread(target=watch)
    watcher.start()
    store = parquet()
    for part in rows.iter_slices(20):
        store.write(part)
        written[0] += part.height
    stop.set()
    watcher.join()
    assert not failures


def test_a_torn_last_line_of_the_arrivals_is_ignored_and_then_cut(parquet: Place, tmp_path: Path) -> None:
    parquet().write(table(reading(ts=minutes(0))))
    with (tmp_path / "raw" / "arrivals.csv").open("ab") as file:
        file.write(b"2026-11-24T13:0")
    seen = parquet().arrivals(None)
    assert len(seen.spans) == 1
    parquet().write(table(reading(ts=minutes(9))))
    assert spans_of(parquet(), seen.cursor) == [(minutes(9), minutes(9))]
    assert len(spans_of(parquet())) == 2


@pytest.mark.parametrize("cursor", ["30", "99999"])
def test_a_cursor_of_another_archive_makes_everything_new(parquet: Place, cursor: str) -> None:
    parquet().write(table(reading(), reading(ts=minutes(100))))
    assert len(spans_of(parquet(), cursor)) == 2


def test_an_archive_that_cannot_be_written_or_read_is_away_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("no folder")
    store = ParquetStore(tmp_path / "raw")
    for call in (lambda: store.write(table(reading())), store.check):
        with pytest.raises(StoreAway, match=r"Parquet archive .*/raw cannot be"):
            call()


def test_a_full_disk_is_away_and_the_repeated_write_makes_all_good(
    parquet: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = parquet()
    store.write(table(reading(ts=minutes(0))))
    seen = store.arrivals(None).cursor
    for allowed in range(4):
        calls = count()

        def full(descriptor: int, allowed: int = allowed, calls: Iterator[int] = calls) -> None:
            if next(calls) >= allowed:
                raise OSError(28, "No space left on device")

        # Three syncs make a write durable: the file, its folder, the arrival.
        expected: AbstractContextManager[object] = (
            pytest.raises(StoreAway, match="No space left") if allowed < 3 else nullcontext()
        )
        with monkeypatch.context() as patch, expected:
            patch.setattr("os.fsync", full)
            store.write(table(reading(ts=minutes(5), forward_m3=1.0)))
    assert_frame_equal(parquet().read(*ALWAYS), table(reading(ts=minutes(0)), reading(ts=minutes(5), forward_m3=1.0)))
    assert set(spans_of(parquet(), seen)) == {(minutes(5), minutes(5))}


def test_a_file_that_rotted_is_named(parquet: Place, tmp_path: Path) -> None:
    parquet().write(table(reading()))
    files_of(tmp_path)[0].write_bytes(b"PAR1 rotten PAR1")
    with pytest.raises(StoreAway, match=r"00000001\.[0-9a-f]{8}\.parquet"):
        parquet().read(*ALWAYS)


@pytest.mark.parametrize("lost", ["the first file", "a file between", "the newest file", "the day"])
def test_a_lost_file_of_the_archive_is_missed_until_it_is_back_or_its_loss_is_accepted(
    lost: str, parquet: Place, tmp_path: Path
) -> None:
    store, rows = parquet(), meters_day(100)
    for part in rows.iter_slices(20):
        store.write(part)
    files = files_of(tmp_path)
    gone = {"the first file": files[:1], "a file between": files[1:3], "the newest file": files[-1:], "the day": files}[lost]
    content = {file: file.read_bytes() for file in gone}
    for file in gone:
        file.unlink()
    if lost == "the day":
        files[0].parent.rmdir()
    count = tmp_path / "raw" / "counts" / files[0].parent.name
    for call in (lambda: parquet().read(*ALWAYS), parquet().check, lambda: store.withdraw(rows.head(1))):
        with pytest.raises(StoreAway, match=rf"are missing .*{files[0].parent.name}: 0.*; restore .*remove .* in {count.parent}"):
            call()
    store.write(rows.tail(20))  # what comes meanwhile does not hide the loss
    assert parquet().read(NOON + timedelta(days=9), NOON + timedelta(days=10)).is_empty()
    with pytest.raises(StoreAway, match="are missing"):
        parquet().read(*ALWAYS)
    left = files_of(tmp_path)
    files[0].parent.mkdir(exist_ok=True)
    for file, data in content.items():
        file.write_bytes(data)
    assert_frame_equal(parquet().read(*ALWAYS), rows.sort("terminal", "ts"))
    for file in content:
        file.unlink()
    count.unlink()
    assert_frame_equal(parquet().read(*ALWAYS), merged(left))
    store.write(rows)  # as the journal does once more
    assert_frame_equal(parquet().read(*ALWAYS), rows.sort("terminal", "ts"))


def merged(files: list[Path]) -> pl.DataFrame:
    rows = pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files])
    return rows.unique(["terminal", "ts"]).sort("terminal", "ts")


@pytest.mark.parametrize("lost", ["deleted", "cut off"])
def test_after_its_list_of_arrivals_is_lost_all_that_the_archive_holds_is_new_once(
    lost: str, parquet: Place, tmp_path: Path
) -> None:
    parquet().write(table(reading(ts=minutes(0)), reading(ts=minutes(100))))
    seen = parquet().arrivals(None).cursor
    arrivals = tmp_path / "raw" / "arrivals.csv"
    arrivals.unlink() if lost == "deleted" else arrivals.write_bytes(b"")
    again = parquet().arrivals(seen)
    assert again.spans.rows() == [(minutes(0), minutes(0)), (minutes(100), minutes(100))]
    assert spans_of(parquet(), again.cursor) == []
    parquet().write(table(reading(ts=minutes(7))))
    assert spans_of(parquet(), again.cursor) == [(minutes(7), minutes(7))]


WRITER = """
import sys
from pathlib import Path
from tests.stores.test_stores import ParquetStore, meters_day
store = ParquetStore(Path(sys.argv[1]))
for number, part in enumerate(meters_day(100_000).iter_slices(10)):
    store.write(part)
    print(number, flush=True)
"""


def acknowledged_before_a_kill(writer: str, writes: int, *arguments: str) -> int:
    """How many writes the program `writer` told as done when it was killed after `writes` of them; it prints a line each."""
    command = [sys.executable, "-c", writer, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    with process.stdout as lines:
        acknowledged = 0
        while acknowledged < writes:
            acknowledged = int(lines.readline()) + 1
        process.kill()
        acknowledged += len(lines.readlines())
    process.wait()
    return acknowledged


@pytest.mark.parametrize("writes", [1, 40, 70])
def test_after_a_kill_every_acknowledged_write_is_there_and_told_as_arrived(tmp_path: Path, writes: int) -> None:
    acknowledged = acknowledged_before_a_kill(WRITER, writes, str(tmp_path / "raw"))
    store = ParquetStore(tmp_path / "raw")
    rows = meters_day(acknowledged * 10)
    found = store.read(*ALWAYS)
    assert_frame_equal(found.filter(pl.col("frame") < rows.height), rows.sort("terminal", "ts"))
    assert acknowledged <= len(spans_of(store)) <= found.height / 10
    store.write(rows.tail(1))
    assert_frame_equal(store.read(*ALWAYS), found)


# --- InfluxDB ---------------------------------------------------------------------------------------------------------


def raw_write(url: str, database: str, line: str) -> None:
    urlopen(Request(f"{url}/query?q={quote(f'CREATE DATABASE {database}')}", method="POST")).close()
    eventually(lambda: _written(url, database, line), f"the server knows its new database {database}")


def _written(url: str, database: str, line: str) -> bool:
    """Whether it is; the server may say for a moment that there is no such database, though it has just made it."""
    try:
        urlopen(Request(f"{url}/write?db={database}", data=line.encode(), method="POST")).close()
    except HTTPError as error:
        if error.code != 404:
            raise
        return False
    return True


def test_the_lines_that_the_server_refuses_are_found_and_the_others_are_stored(influx_url: str) -> None:
    database = f"test{next(numbers)}"
    raw_write(influx_url, database, f"reading,terminal=x signal=1.5 {int(NOON.timestamp()) - 1}000000000")
    store = InfluxStore(StoreSettings(influx_url=influx_url, influx_database=database))
    rows = meters_day(300).with_columns(signal=pl.when(pl.col("frame").is_in([0, 150, 299])).then(pl.col("signal")))
    refused = store.write(rows)
    assert refused["frame"].to_list() == [0, 150, 299]
    assert all("field type conflict" in words for words in refused["detail"])
    stored = store.read(NOON, ALWAYS[1])
    assert_frame_equal(stored, rows.filter(pl.col("signal").is_null()).sort("terminal", "ts"))
    with pytest.raises(StoreAway, match=r"other types.*signal"):
        store.read(*ALWAYS)


def test_a_site_limit_of_the_server_is_waited_for_and_makes_no_dead_letters(tmp_path: Path) -> None:
    if why := missing():
        pytest.skip(why)
    with running_influxdb(tmp_path, tag_values=2) as url:
        store = influx_place(url)()
        assert store.write(table(reading("a", forward_m3=1.0), reading("b", forward_m3=1.0))).is_empty()
        with pytest.raises(StoreAway, match="max-values-per-tag"):
            store.write(table(reading("c", forward_m3=1.0)))


def test_a_wrong_password_is_told_without_the_password(tmp_path: Path) -> None:
    if why := missing():
        pytest.skip(why)
    with running_influxdb(tmp_path, auth=True) as url:
        user = "CREATE USER clerk WITH PASSWORD 'geheim-4711' WITH ALL PRIVILEGES"
        urlopen(Request(f"{url}/query?q={quote(user)}", method="POST")).close()

        def store(password: str) -> InfluxStore:
            return InfluxStore(StoreSettings(influx_url=url, influx_auth="basic", influx_user="clerk", influx_password=password))

        rows = table(reading(forward_m3=1.0))
        assert store("geheim-4711").write(rows).is_empty()
        assert_frame_equal(store("geheim-4711").read(*ALWAYS), rows)
        for call in (
            lambda: store("falsch-0815").write(rows),
            lambda: store("falsch-0815").read(*ALWAYS),
            store("falsch-0815").check,
        ):
            with pytest.raises(StoreAway, match=r"refuses the log-in \(401\)") as away:
                call()
            assert "falsch" not in str(away.value)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


HEADER = (
    b"name,tags,time,terminal,forward_m3,reverse_m3,flow_m3h,pressure_mpa,battery_v,signal,status,"
    b"received_us,channel,stream,frame\n"
)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, b'{"error":"timeout"}', r"in trouble \(503\): timeout"),
        (404, b'{"code":"not found","message":"no dbrp mapping found"}', "no 'mainflow'; create it.*no dbrp mapping found"),
        (401, b'{"code":"unauthorized","message":"unauthorized access"}', r"refuses the log-in \(401\)"),
        (413, b"Request Entity Too Large", r"in trouble \(413\)"),
    ],
)
def test_an_answer_that_is_the_sites_fault_is_away_and_explained(status: int, body: bytes, words: str) -> None:
    with answering(status, body) as url:
        store = InfluxStore(StoreSettings(influx_url=url))
        for call in (
            lambda: store.write(table(reading())),
            lambda: store.read(*ALWAYS),
            lambda: store.arrivals(None),
            store.check,
        ):
            with pytest.raises(StoreAway, match=words):
                call()


@pytest.mark.parametrize("body", [b"", HEADER, HEADER + b"reading,,1764000000000,a,1,,,,,,,1,tcp,data,0\n"])
def test_an_answer_that_was_cut_short_is_never_taken_for_the_whole(body: bytes) -> None:
    with answering(200, body) as url, pytest.raises(StoreAway, match="did not finish"):
        InfluxStore(StoreSettings(influx_url=url)).read(*ALWAYS)


def test_an_absent_or_silent_server_is_away_and_its_address_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influxdb, "TIMEOUT_MS", (200, 200))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StoreAway, match=f"127.0.0.1:{port} does not answer in time"):
            InfluxStore(StoreSettings(influx_url=f"http://u:secret@127.0.0.1:{port}")).write(table(reading()))
    with pytest.raises(StoreAway, match=f"http://127.0.0.1:{port} cannot be reached") as away:
        InfluxStore(StoreSettings(influx_url=f"http://u:secret@127.0.0.1:{port}")).read(*ALWAYS)
    assert "secret" not in str(away.value)


def test_a_large_answer_is_parsed_in_blocks_without_losing_a_row(influx: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = meters_day(5000)
    influx().write(rows)
    monkeypatch.setattr(influxdb, "BLOCK", 1000)
    monkeypatch.setattr(influxdb, "PROOF_ROOM", 4096)
    assert_frame_equal(influx().read(*ALWAYS), rows.sort("terminal", "ts"))


def test_an_arrival_is_seen_though_the_clock_stepped_back(influx: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    influx().write(table(reading(ts=minutes(0))))
    cursor = influx().arrivals(None).cursor
    monkeypatch.setattr("time.time_ns", lambda: 1)
    influx().write(table(reading(ts=minutes(7))))
    assert spans_of(influx(), cursor) == [(minutes(7), minutes(7))]
