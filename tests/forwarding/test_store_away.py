"""The raw store goes away in every way it can: what comes in waits, that is said, and then all of it is there, alarms first."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from ingest_daemon.codecs import sl651
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.records import ALARM, DATA
from ingest_daemon.journal.writer import Journal
from ingest_daemon.stores import influxdb
from ingest_daemon.stores.influxdb import InfluxStore
from ingest_daemon.stores.settings import StoreSettings
from pipelines.cli.main import main
from tests.daemon_helpers import TERMINALS, Client, Daemon, eventually, forwarded, frame, kept, minutes_ago
from tests.fake_influxdb import FakeInflux, influx_site, running
from tests.influx_server import InfluxServer, missing

METER = TERMINALS[0]
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
SAID_S = 60.0


@pytest.fixture
def fake() -> Iterator[FakeInflux]:
    server = FakeInflux()
    yield server
    server.stop()


def sick(daemon: Daemon) -> str:
    """What /healthz says of the store once it says something, at the latest after a minute."""

    def said() -> str:
        status, text = daemon.get("/healthz")
        return text if status == 503 and text.startswith("store: ") else ""

    return str(eventually(said, "the store's absence is said", SAID_S))


def backlog_is_said(site: Site, daemon: Daemon, words: str) -> None:
    """By /healthz, /metrics, `mainflow status` and the log."""
    assert re.search(words, sick(daemon))
    figures = daemon.get("/metrics")[1]
    waiting = re.search(r'mainflow_backlog_bytes\{reader="data"\} (\d+)', figures)
    assert waiting
    assert int(waiting[1]) > 0
    assert 'mainflow_healthy{part="store"} 0' in figures
    log = daemon.log.read_text()
    assert re.search(f"store away: .*{words}.*everything stays in the journal", log)

    def status() -> bool:
        shown = CliRunner(env={"COLUMNS": "300"}).invoke(main, ["status", "--site", str(site.root)]).output
        return bool(re.search(words, shown)) and not re.search(r"backlog data\W+0 B", shown)

    eventually(status, "mainflow status says it")


def minutes_of(lines: list[str]) -> list[datetime]:
    """Device times of lines."""
    return [datetime.fromtimestamp(int(line.rpartition(" ")[2]) / 1000, UTC) for line in lines]


def hang(path: str, lines: list[str]) -> tuple[int, str] | None:
    time.sleep(2)
    return 500, ""


TROUBLES = [
    pytest.param(None, "cannot be reached", id="refuses connections"),
    pytest.param(hang, "does not answer in time", id="hangs"),
    pytest.param(lambda path, lines: (500, '{"error":"engine closed"}'), r"in trouble \(500\): engine closed", id="500"),
    pytest.param(lambda path, lines: (401, '{"error":"who are you"}'), r"refuses the log-in \(401\)", id="401"),
]


@pytest.mark.parametrize(("trouble", "words"), TROUBLES)
def test_whatever_ails_the_store_frames_are_taken_it_is_said_and_all_arrives_when_it_is_well(
    tmp_path: Path, fake: FakeInflux, trouble: Callable[[str, list[str]], tuple[int, str] | None] | None, words: str
) -> None:
    site = influx_site(tmp_path, fake.url)
    if trouble:
        fake.trouble = trouble
        fake.start()
    with running(site) as daemon:
        client = Client(daemon.data_port)
        times = [minutes_ago(60 - number) for number in range(20)]
        for number, ts in enumerate(times):
            client.send(frame(METER, ts, number, sequence=number + 1))
            client.acknowledged(1)
        backlog_is_said(site, daemon, words)
        assert fake.lines == []
        fake.trouble = lambda path, lines: None
        if trouble is None:
            fake.start()
        eventually(lambda: forwarded(site), "everything is forwarded")
        eventually(lambda: daemon.get("/healthz") == (200, "ok\n"), "it is well again")
    assert sorted(set(minutes_of(fake.lines))) == times
    assert not list(site.quarantine.glob("*.jsonl"))


def test_the_time_in_which_a_hanging_store_is_noticed_is_less_than_a_minute() -> None:
    assert sum(influxdb.TIMEOUT_MS) / 1000 < SAID_S


def test_alarms_overtake_data_that_wait_for_the_store(tmp_path: Path, fake: FakeInflux) -> None:
    site = influx_site(tmp_path, fake.url)
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(frame(METER, minutes_ago(60), 1))
        client.acknowledged(1)
        sick(daemon)
        alarm = minutes_ago(1)
        client.send(frame(METER, alarm, 2, sequence=2, alarms=["P_LO"]))
        client.acknowledged(1)
        fake.start()
        eventually(lambda: forwarded(site), "everything is forwarded")
    assert minutes_of(fake.lines)[0] == alarm


def one_line_is_bad(path: str, lines: list[str]) -> tuple[int, str] | None:
    """As 1.x answers: what can be stored of the request is."""
    bad = [line for line in lines if "forward_m3=13.0" in line or "forward_m3=13," in line]
    return (400, '{"error":"unable to parse: invalid field format"}') if bad else None


def test_a_line_that_the_store_refuses_is_kept_with_its_words_and_holds_nothing_up(tmp_path: Path, fake: FakeInflux) -> None:
    site = influx_site(tmp_path, fake.url)
    fake.trouble = one_line_is_bad
    fake.start()
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(b"".join(frame(METER, minutes_ago(60 - number), number, sequence=number + 1) for number in range(30)))
        client.acknowledged(30)
        eventually(lambda: forwarded(site), "everything is forwarded")
    (refused,) = kept(site, "STORE_REFUSED")
    assert refused["terminal"] == METER
    assert "invalid field format" in refused["detail"]
    assert len(set(minutes_of(fake.lines))) == 29


def test_a_store_that_took_a_part_and_then_failed_gets_the_rest_and_no_reading_is_missing(
    tmp_path: Path, fake: FakeInflux
) -> None:
    site = influx_site(tmp_path, fake.url)
    failed: list[int] = []

    def half_then_fail(path: str, lines: list[str]) -> tuple[int, str] | None:
        if path.startswith("/write") and len(failed) < 3:
            failed.append(len(lines))
            fake.lines += [line for line in lines[: len(lines) // 2] if line.startswith("reading,")]
            return 500, '{"error":"partial write: write failed"}'
        return None

    fake.trouble = half_then_fail
    fake.start()
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(b"".join(frame(METER, minutes_ago(60 - number), number, sequence=number + 1) for number in range(30)))
        client.acknowledged(30)
        eventually(lambda: forwarded(site), "everything is forwarded")
    assert len(failed) == 3
    assert len(set(minutes_of(fake.lines))) == 30
    assert not list(site.quarantine.glob("*.jsonl"))


# --- three days of absence, and a real server -------------------------------------------------------------------------

HOURS, METERS = 72, [f"{number:010d}" for number in range(5001, 5051)]


def fill_journal(site: Site) -> int:
    """72 hours of 50 meters as the daemon journaled them, an alarm of each in the last hour; gives the number of readings."""
    began = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)
    with (site.registry / "terminals.csv").open("a") as file:
        file.writelines(f"{meter},M{meter},,,\n" for meter in METERS)
    way = encode_header(RecordHeader("sl651"))
    site.journal.mkdir()
    journals = {stream: Journal(site.journal / stream, 1 << 20) for stream in (DATA, ALARM)}
    for hour in range(HOURS):
        end = began + timedelta(hours=hour + 1)
        received_us = round(end.timestamp() * 1e6)
        times = [end - timedelta(minutes=15 * quarter) for quarter in range(4)]
        for place, meter in enumerate(METERS):
            rows = pl.DataFrame({"ts": times, "forward_m3": [place * 1000 + hour + quarter / 4 for quarter in range(4)]})
            for raw in sl651.reports(meter, rows, sent_at=end, sequence=hour + 1):
                journals[DATA].append(way + raw, received_us + place)
    for place, meter in enumerate(METERS):
        raw = frame(meter, end + timedelta(seconds=1), place, sent_at=end, alarms=["MAG"])
        journals[ALARM].append(way + raw, received_us + 1_000_000 + place)
    for journal in journals.values():
        journal.commit()
        journal.close()
    return HOURS * len(METERS) * 4 + len(METERS)


def test_after_72_hours_without_the_store_the_backlog_is_said_and_drains_alarms_first(tmp_path: Path, fake: FakeInflux) -> None:
    site = influx_site(tmp_path, fake.url)
    count = fill_journal(site)
    with running(site) as daemon:
        backlog_is_said(site, daemon, "cannot be reached")
        lag = re.search(r'mainflow_lag_seconds\{reader="data"\} (\S+)', daemon.get("/metrics")[1])
        assert lag
        assert float(lag[1]) > (HOURS - 2) * 3600
        client = Client(daemon.data_port)
        client.send(frame(METER, minutes_ago(1), 1))
        client.acknowledged(1)
        fake.start()
        eventually(lambda: forwarded(site), "everything is forwarded")
    assert len({line.partition(" ")[0] + line.rpartition(" ")[2] for line in fake.lines}) == count + 1
    first = fake.lines[: len(METERS)]
    assert {line.split(",")[1].split(" ")[0] for line in first} == {f"terminal={meter}" for meter in METERS}
    assert all(moment.second == 1 for moment in minutes_of(first)), "the alarms' readings come first"


def test_a_real_influxdb_that_is_killed_and_starts_again_has_all_readings_once_as_of_when_they_came(tmp_path: Path) -> None:
    if why := missing():
        pytest.skip(why)
    influx = InfluxServer(tmp_path / "influxdb")
    site = influx_site(tmp_path, influx.url)
    count = fill_journal(site)
    store = InfluxStore(StoreSettings(influx_url=influx.url))
    try:
        with running(site) as daemon:
            sick(daemon)
            influx.start()
            eventually(lambda: forwarded(site), "the 72 hours are there")
            client = Client(daemon.data_port)
            for number in range(1, 4):
                influx.kill()
                client.send(frame(METER, minutes_ago(10 - number), number, sequence=number))
                client.acknowledged(1)
                assert "cannot be reached" in sick(daemon)
                influx.start()
                eventually(lambda: forwarded(site), "it is forwarded")
            assert daemon.stop() == 0
        rows = store.read(*ALWAYS)
        late = (pl.col("received_at") - pl.col("ts")).dt.total_seconds()
        old = rows.filter(pl.col("terminal").is_in(METERS), pl.col("ts").dt.second() == 0)
        assert len(rows) == count + 3
        assert old.filter(~late.is_between(0, 3600)).is_empty(), "receive times are those of then"
        assert old["forward_m3"].sum() == pytest.approx(
            sum(place * 1000 + hour + quarter / 4 for place in range(50) for hour in range(HOURS) for quarter in range(4))
        )
        assert json.loads((site.state / "counters.json").read_text())["quarantined"] == {}
    finally:
        influx.kill()
