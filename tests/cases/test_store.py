"""Cases of a store's yes: only an empty 204 stores readings, and one bad reading does not hold back the others."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ingest_daemon.codecs import sl651
from tests.cases import covers
from tests.daemon_helpers import TERMINALS, Client, Daemon, counted, eventually, forwarded, kept, minutes_ago
from tests.fake_influxdb import Answer, FakeInflux, Trouble, influx_site, running

A, B = TERMINALS[:2]
POISON_WITHIN_S = 60.0
"""One poisoned reading holds back the others for no longer than this."""


@pytest.fixture
def fake() -> Iterator[FakeInflux]:
    """A server that answers /ping with 204, /query with 200, and takes lines unless a test makes it refuse them."""
    server = FakeInflux()
    server.start()
    yield server
    server.stop()


def report(terminal: str, times: list[datetime], sequence: int) -> bytes:
    """SL 651 frames with a reading at each time."""
    rows = pl.DataFrame({"ts": times, "forward_m3": [float(number) for number in range(len(times))]})
    return b"".join(sl651.reports(terminal, rows, sent_at=datetime.now(UTC), sequence=sequence))


def send(daemon: Daemon, *frames: bytes) -> None:
    """Send frames and wait until each is acknowledged."""
    client = Client(daemon.data_port)
    client.send(b"".join(frames))
    client.acknowledged(len(frames))
    client.close()


def points(fake: FakeInflux) -> set[tuple[str, datetime]]:
    """Terminal and device time of every line that the server took."""
    split = (line.rpartition(" ") for line in fake.lines)
    return {(head.split(" ")[0].partition("terminal=")[2], moment(ms)) for head, _, ms in split}


def moment(ms: str) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)


def writes(status: int, body: str = "", **headers: str) -> Trouble:
    """The answer to every write."""
    return lambda path, lines: Answer(status, body, headers) if path.startswith("/write") else None


NO_YES = [
    pytest.param(writes(200, '{"error":"engine: could not complete"}'), "200.*could not complete", id="200 with error JSON"),
    pytest.param(writes(200, "<html>portal: please sign in</html>"), "200.*please sign in", id="200 with a portal's page"),
    pytest.param(writes(302, "moved", Location="/login"), "302", id="302 to a log-in page"),
    pytest.param(writes(429, '{"error":"rate limit"}'), "429.*rate limit", id="429"),
]


@covers("INF-200", "INF-302", "INF-429")
@pytest.mark.parametrize(("trouble", "words"), NO_YES)
def test_readings_wait_in_the_journal_until_the_server_answers_an_empty_204(
    tmp_path: Path, fake: FakeInflux, trouble: Trouble, words: str
) -> None:
    site = influx_site(tmp_path, fake.url)
    fake.trouble = trouble
    times = [minutes_ago(60 - number) for number in range(3)]
    with running(site) as daemon:
        send(daemon, *(report(A, [ts], number + 1) for number, ts in enumerate(times)))
        _, text = eventually(lambda: (answer := daemon.get("/healthz"))[0] == 503 and answer, "health is bad")
        assert re.search(words, text), text
        assert not forwarded(site)
        assert fake.lines == []
        fake.trouble = lambda path, lines: None
        eventually(lambda: forwarded(site), "all is forwarded")
        eventually(lambda: daemon.get("/healthz") == (200, "ok\n"), "health is good again")
        counted(site, "readings", 3)
    assert points(fake) == {(A, ts) for ts in times}
    assert not list(site.quarantine.glob("*.jsonl"))


RETENTION = {
    "code": "internal error",
    "message": "unexpected error writing points to database: partial write: points beyond retention policy dropped=1",
}


def beyond_retention(fake: FakeInflux, answer: Answer) -> Trouble:
    """Refuses a request that has a point before 2023, and stores the other points of it."""

    def trouble(path: str, lines: list[str]) -> Answer | None:
        old = [line for line in lines if line.startswith("reading,") and moment(line.rpartition(" ")[2]).year < 2023]
        fake.lines += [line for line in lines if old and line.startswith("reading,") and line not in old]
        return answer if old else None

    return trouble


PERMANENT = [
    pytest.param(Answer(500, json.dumps(RETENTION)), "beyond retention policy", id="retention in words"),
    pytest.param(Answer(500, '{"error":"internal error"}'), "internal error", id="without a reason"),
    pytest.param(Answer(502, "<html>502 Bad Gateway</html>"), "Bad Gateway", id="a proxy's page"),
    pytest.param(Answer(0), "ended before the answer was whole", id="the connection ends"),
]


@covers("INF-500RET")
@pytest.mark.parametrize(("answer", "words"), PERMANENT)
@pytest.mark.parametrize("alone", [False, True], ids=["among others", "alone in its frame"])
def test_a_poisoned_reading_is_quarantined_with_the_servers_words_and_holds_back_no_other(
    tmp_path: Path, fake: FakeInflux, answer: Answer, words: str, alone: bool
) -> None:
    site = influx_site(tmp_path, fake.url, past_days=4000)
    fake.trouble = beyond_retention(fake, answer)
    old = datetime(2022, 12, 31, 12, tzinfo=UTC)
    today = [minutes_ago(90 - number) for number in range(20)]
    later = minutes_ago(5)
    with running(site) as daemon:
        send(daemon, report(B, [old] if alone else [*today[:7], old, *today[7:]], 1))
        eventually(lambda: kept(site, "STORE_REFUSED"), "the old reading is quarantined", POISON_WITHIN_S)
        send(daemon, report(A, [later], 2))
        eventually(lambda: forwarded(site), "all is forwarded")
        eventually(lambda: daemon.get("/healthz") == (200, "ok\n"), "health is good")
    assert points(fake) == {(A, later)} | {(B, ts) for ts in today if not alone}
    (refused,) = kept(site, "STORE_REFUSED")
    assert refused["terminal"] == B
    assert datetime.fromisoformat(refused["ts"]) == old
    assert words in refused["detail"]


def at_most(size: int) -> Callable[[str, list[str]], Answer | None]:
    """A proxy's limit of a request's size."""
    return lambda path, lines: Answer(413, "Request Entity Too Large") if sum(map(len, lines)) + len(lines) > size else None


@covers("INF-413")
def test_a_request_that_is_too_large_for_a_proxy_is_halved_until_it_fits(tmp_path: Path, fake: FakeInflux) -> None:
    site = influx_site(tmp_path, fake.url)
    fake.trouble = lambda path, lines: Answer(503)
    began = minutes_ago(40 * 300)
    groups = [[began + timedelta(minutes=40 * number + minute) for minute in range(40)] for number in range(300)]
    with running(site) as daemon:
        send(daemon, *(report(A, times, number + 1) for number, times in enumerate(groups)))
        fake.trouble = at_most(1 << 18)
        eventually(lambda: forwarded(site), "all is forwarded", 60)
        eventually(lambda: daemon.get("/healthz") == (200, "ok\n"), "health is good")
    assert points(fake) == {(A, ts) for times in groups for ts in times}
    assert not list(site.quarantine.glob("*.jsonl"))
