"""Whatever a server or a proxy before it answers: readings are stored, refused with the server's words, or the store is away."""

import gzip
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ingest_daemon.contract.schema import READING
from ingest_daemon.stores import StoreAway, influxdb
from ingest_daemon.stores.influx_http import stored_gzip
from ingest_daemon.stores.influxdb import InfluxStore
from ingest_daemon.stores.points import KEY, POSITION
from ingest_daemon.stores.settings import StoreSettings
from tests.fake_influxdb import Answer, FakeInflux, Trouble

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def readings(count: int) -> pl.DataFrame:
    """One terminal's readings, a minute apart, their register counting up."""
    rows = [
        dict.fromkeys(READING)
        | {"terminal": "4201000001", "ts": NOON + timedelta(minutes=number), "forward_m3": float(number)}
        | {"received_at": NOON + timedelta(days=1), "channel": "tcp", "stream": "data", "frame": number}
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema=READING)


@pytest.fixture
def fake() -> Iterator[FakeInflux]:
    server = FakeInflux()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(fake: FakeInflux) -> InfluxStore:
    return InfluxStore(StoreSettings(influx_url=fake.url))


def registers(fake: FakeInflux) -> set[float]:
    """Register of every line that the server took."""
    return {float(line.partition("forward_m3=")[2].split(" ")[0].split(",")[0]) for line in fake.lines}


def has(lines: list[str], *registers: int) -> bool:
    return any(f"forward_m3={register}.0 " in line for line in lines for register in registers)


EVERY_WRITE = [
    Answer(200),
    Answer(200, '{"results":[]}'),
    Answer(201, '{"error":"partial write of line protocol occurred","data":[{"line_number":1}]}'),
    Answer(202),
    Answer(204, '{"error":"engine: could not complete"}'),
    Answer(204, headers={"X-Influxdb-Error": "engine is closed"}),
    Answer(301, headers={"Location": "/elsewhere"}),
    Answer(307, headers={"Location": "/write"}),
    Answer(400, '{"error":"database is required"}'),
    Answer(400, "<html>400 The plain HTTP request was sent to HTTPS port</html>"),
    Answer(401),
    Answer(403, "<html>who are you</html>"),
    Answer(404, '{"error":"database not found: \\"mainflow\\""}'),
    Answer(405),
    Answer(408),
    Answer(411),
    Answer(413, "Request Entity Too Large"),
    Answer(415, "Unsupported Media Type"),
    Answer(422, '{"message":"everything is unprocessable"}'),
    Answer(429, headers={"Retry-After": "5"}),
    Answer(500, '{"error":"engine: error writing WAL entry: no space left on device"}'),
    Answer(500, '{"error":"partial write: points beyond retention policy dropped=7"}'),
    Answer(502, "<html>Bad Gateway</html>"),
    Answer(503, '{"error":"timeout"}'),
    Answer(504),
    Answer(507),
    Answer(0),
]


@pytest.mark.parametrize("answer", EVERY_WRITE, ids=lambda answer: f"{answer.status} {answer.body[:30]}")
@pytest.mark.parametrize("count", [1, 7])
def test_an_answer_to_every_write_that_is_no_empty_204_means_that_the_store_is_away(
    fake: FakeInflux, store: InfluxStore, answer: Answer, count: int
) -> None:
    fake.trouble = lambda path, lines: answer if path.startswith("/write") else None
    for _ in range(2):
        with pytest.raises(StoreAway, match=str(answer.status or "cannot be reached")):
            store.write(readings(count))
    assert fake.writes <= 8, "an absent store is not searched for a bad line"
    fake.trouble = lambda path, lines: None
    assert store.write(readings(count)).is_empty()
    assert registers(fake) == {float(number) for number in range(count)}


def hang(lines: list[str]) -> Answer:
    time.sleep(0.5)
    return Answer(500, "too late")


POISON: list[tuple[Callable[[list[str]], Answer], str]] = [
    (lambda lines: Answer(400, '{"error":"unable to parse: invalid number"}'), "invalid number"),
    (lambda lines: Answer(413, "Request Entity Too Large"), "Too Large"),
    (lambda lines: Answer(406, "blocked by the firewall"), "firewall"),
    (lambda lines: Answer(422, '{"message":"failure writing points"}'), "failure writing"),
    (lambda lines: Answer(500, '{"message":"partial write: field type conflict: dropped=1"}'), "field type conflict"),
    (lambda lines: Answer(500, '{"message":"time 9e18 is out of bounds"}'), "out of bounds"),
    (lambda lines: Answer(500, '{"message":"internal error"}'), "internal error"),
    (lambda lines: Answer(503, "panic"), "panic"),
    (lambda lines: Answer(502, "<html>Bad Gateway</html>"), "Bad Gateway"),
    (lambda lines: Answer(200, '{"error":"partial write, dropped=1"}'), "partial write"),
    (lambda lines: Answer(201, '{"error":"partial write of line protocol occurred"}'), "partial write"),
    (lambda lines: Answer(0), "ended before"),
    (hang, "no answer in time"),
]


@pytest.mark.parametrize(("answer", "words"), POISON, ids=[words for _, words in POISON])
@pytest.mark.parametrize("bad", [(0,), (41, 42, 43), (99,)], ids=str)
def test_lines_that_fail_each_time_while_others_pass_are_refused_with_the_servers_words(
    fake: FakeInflux,
    store: InfluxStore,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[list[str]], Answer],
    words: str,
    bad: tuple[int, ...],
) -> None:
    if answer is hang:
        monkeypatch.setattr(influxdb, "WRITE_TIMEOUT_MS", 100)
        monkeypatch.setattr(influxdb, "SEARCH_TIMEOUT_MS", 100)
    monkeypatch.setattr(influxdb, "LINES", 30)
    fake.trouble = lambda path, lines: answer(lines) if has(lines, *bad) else None
    refused = store.write(readings(100))
    assert refused["frame"].to_list() == list(bad)
    assert all(words in detail for detail in refused["detail"])
    assert registers(fake) == {float(number) for number in range(100)} - {float(number) for number in bad}


def test_a_line_is_searched_within_a_minute_although_each_request_with_it_hangs() -> None:
    halvings = influxdb.LINES.bit_length()
    assert influxdb.WRITE_TIMEOUT_MS + (halvings + influxdb.REPEATS) * influxdb.SEARCH_TIMEOUT_MS < 60_000


@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_server_that_fails_now_and_then_refuses_no_line(fake: FakeInflux, store: InfluxStore, every: int) -> None:
    count = 0

    def sometimes(path: str, lines: list[str]) -> Answer | None:
        nonlocal count
        count += path.startswith("/write")
        return Answer(500, '{"error":"internal error"}') if count % every == 0 and path.startswith("/write") else None

    fake.trouble = sometimes
    wanted = readings(64)
    for _ in range(20):
        try:
            assert store.write(wanted).is_empty()
            break
        except StoreAway:
            pass
    assert registers(fake) == set(wanted["forward_m3"])


def test_a_server_that_goes_away_while_a_line_is_searched_refuses_no_line(fake: FakeInflux, store: InfluxStore) -> None:
    for working in range(3, 12):
        left = working

        def fails_soon(path: str, lines: list[str]) -> Answer | None:
            nonlocal left
            if not path.startswith("/write"):
                return None
            left -= 1
            return Answer(503) if left < 0 or has(lines, 3) else None

        fake.trouble = fails_soon
        with pytest.raises(StoreAway, match="503"):
            store.write(readings(16))


def test_of_a_point_that_comes_twice_the_last_value_is_written_last_also_when_a_line_is_searched(
    fake: FakeInflux, store: InfluxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influxdb, "LINES", 4)
    first = readings(10)
    again = first.with_columns(forward_m3=pl.col("forward_m3") + 100, frame=pl.col("frame") + 100)
    fake.trouble = lambda path, lines: Answer(400, "bad line") if has(lines, 5) else None
    assert store.write(pl.concat([first, again]))["frame"].to_list() == [5]
    last = {line.rpartition(" ")[2]: line.partition("forward_m3=")[2].split(" ")[0] for line in fake.lines}
    assert sorted(map(float, last.values())) == list(again["forward_m3"])


def test_a_proxy_that_takes_no_gzip_gets_plain_bodies(fake: FakeInflux, store: InfluxStore) -> None:
    fake.takes_gzip = False
    assert store.write(readings(20)).is_empty()
    assert store.write(readings(20)).is_empty()
    assert registers(fake) == {float(number) for number in range(20)}


def test_an_arrival_that_the_server_does_not_take_is_written_later(fake: FakeInflux, store: InfluxStore) -> None:
    fake.trouble = lambda path, lines: Answer(200, "portal") if lines and lines[0].startswith("arrival") else None
    with pytest.raises(StoreAway, match="portal"):
        store.write(readings(3))


DELETION: list[tuple[Trouble, type[Exception], str]] = [
    (lambda path, lines: (200, "<html>please sign in</html>"), StoreAway, "please sign in"),
    (lambda path, lines: (200, ""), StoreAway, "without results"),
    (lambda path, lines: (503, '{"error":"timeout"}'), StoreAway, r"503.*timeout"),
    (lambda path, lines: (429, ""), StoreAway, "429"),
    (lambda path, lines: (403, ""), StoreAway, "403"),
    (lambda path, lines: (400, '{"error":"not executed"}'), RuntimeError, "not executed"),
    (lambda path, lines: (200, '{"results":[{"error":"read only"}]}'), RuntimeError, "read only"),
    (lambda path, lines: None if lines else (500, '{"error":"panic"}'), RuntimeError, "panic"),
]


@pytest.mark.parametrize(("trouble", "kind", "words"), DELETION, ids=[words for *_, words in DELETION])
def test_points_are_deleted_only_with_the_servers_proper_yes(
    fake: FakeInflux, store: InfluxStore, trouble: Trouble, kind: type[Exception], words: str
) -> None:
    store.write(readings(3))
    fake.trouble = trouble
    with pytest.raises(kind, match=words):
        store.withdraw(readings(3).select(KEY + POSITION))


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 65537, 131070, 131071, 1_000_003])
def test_gzip_without_compression_is_unpacked_by_anyone(size: int) -> None:
    data = bytes(number * 7 % 251 for number in range(size))
    assert gzip.decompress(stored_gzip(data)) == data
    assert zlib.decompress(stored_gzip(data), wbits=31) == data


@pytest.mark.parametrize("yes", ["{}\n", '{"results":[]}', '{"results":[{"statement_id":0}]}'])
def test_every_version_says_yes_to_a_deletion_in_its_own_way(fake: FakeInflux, store: InfluxStore, yes: str) -> None:
    store.write(readings(3))
    fake.trouble = lambda path, lines: None if lines else (200, yes)
    store.withdraw(readings(3).select(KEY + POSITION))
