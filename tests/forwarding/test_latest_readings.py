"""The newest reading of each terminal in PostgreSQL: seconds after the frame, whatever is away, late, repeated or killed."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding import latest_readings, replay
from ingest_daemon.forwarding.handover import Handover, newest
from ingest_daemon.forwarding.latest_readings import LatestReadings
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.reader import backlog, read
from ingest_daemon.journal.records import ALARM, DATA
from ingest_daemon.journal.writer import Journal, Journals
from ingest_daemon.monitoring.counters import Counters
from ingest_daemon.stores.points import runs
from ingest_daemon.terminals.registry import Registry
from tests.daemon_helpers import (
    STRANGER,
    TERMINALS,
    Client,
    Daemon,
    delivered,
    environment_number,
    eventually,
    frame,
    make_site,
    minutes_ago,
    running,
)

METER, OTHER = TERMINALS[:2]
BACKLOG = environment_number("MAINFLOW_LATEST_FRAMES", 50_000)
COLUMNS = "terminal, meter, ts, forward_m3, pressure_mpa, battery_v, channel, stream"


def latest(dsn: str) -> dict[str, tuple[Any, ...]]:
    """The rows by terminal; none while the table is not there."""
    with psycopg.connect(dsn) as connection:
        if connection.execute("select to_regclass('ops.latest_reading')").fetchone() == (None,):
            return {}
        rows = connection.execute(f"select {COLUMNS} from ops.latest_reading").fetchall()
    return {row[0]: row[1:] for row in rows}


def value(dsn: str, terminal: str = METER) -> float | None:
    row = latest(dsn).get(terminal)
    return row[2] if row else None


@pytest.fixture
def served(site: Site, dsn: str) -> Site:
    """A site whose PostgreSQL is there."""
    site.state.mkdir(exist_ok=True)
    write_json(site.state / "postgres.json", {"dsn": dsn}, durable=False)
    return site


def send(daemon: Daemon, *frames: bytes, port: Callable[[Daemon], int] = lambda daemon: daemon.data_port) -> None:
    client = Client(port(daemon))
    client.send(b"".join(frames))
    client.acknowledged(len(frames))
    client.close()


def test_a_reading_is_there_within_seconds_with_all_its_fields_and_its_meter(served: Site, dsn: str) -> None:
    ts = minutes_ago(3)
    with running(served) as daemon:
        send(daemon, frame(METER, ts, 12.5, pressure_mpa=0.31))
        eventually(lambda: METER in latest(dsn), "the reading is on the board")
        send(daemon, frame(OTHER, ts, 3.5, alarms=["MAG"]), port=lambda daemon: daemon.alarm_port)
        eventually(lambda: OTHER in latest(dsn), "that of an alarm frame, too")
    assert latest(dsn)[METER] == (f"M{METER}", ts, 12.5, 0.31, None, "tcp", "data")
    assert latest(dsn)[OTHER][-1] == "alarm"


def test_a_late_old_reading_replaces_nothing_and_a_missing_field_is_missing(served: Site, dsn: str) -> None:
    now = minutes_ago(2)
    with running(served) as daemon:
        send(daemon, frame(METER, now - timedelta(minutes=15), 1.0, pressure_mpa=0.3))
        eventually(lambda: value(dsn) == 1.0, "the first")
        send(daemon, frame(METER, now, 2.0, sequence=2))
        eventually(lambda: value(dsn) == 2.0, "the second")
        send(daemon, *(frame(METER, now - timedelta(hours=hours), 0.5, sequence=3) for hours in (1, 24)))
        send(daemon, frame(METER, now, 2.0, sequence=4), frame(OTHER, now, 9.0))
        eventually(lambda: value(dsn, OTHER) == 9.0, "what came after the late ones")
        assert latest(dsn)[METER][:4] == (f"M{METER}", now, 2.0, None)
        send(daemon, frame(METER, now, 2.5, sequence=5, pressure_mpa=0.4))
        eventually(lambda: value(dsn) == 2.5, "a correction for the same time")
        send(daemon, frame(METER, now, 2.75, sequence=6))
        eventually(lambda: value(dsn) == 2.75, "one more")
        assert latest(dsn)[METER][3] == 0.4, "for one time the point is merged as in the raw store"


def test_readings_that_the_raw_store_must_not_see_are_not_on_the_board(served: Site, dsn: str) -> None:
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
    with running(served) as daemon:
        send(daemon, frame(METER, ahead, 666.0), frame(STRANGER, minutes_ago(1), 666.0, sequence=2))
        send(daemon, frame(OTHER, minutes_ago(1), 1.0))
        eventually(lambda: value(dsn, OTHER) == 1.0, "the good one")
        assert set(latest(dsn)) == {OTHER}


def test_the_board_lives_while_the_raw_store_is_away(served: Site, dsn: str) -> None:
    served.raw.write_text("a file where the archive's folder must be")
    with running(served) as daemon:
        send(daemon, *(frame(METER, minutes_ago(900 - number), number, sequence=number + 1) for number in range(300)))
        eventually(lambda: value(dsn) == 299.0, "the newest")
        assert backlog(served)["data"] > 0


def test_readings_wait_for_postgresql_through_a_kill_and_the_newest_wins(site: Site, dsn: str) -> None:
    site.state.mkdir()
    write_json(site.state / "postgres.json", {"dsn": "host=127.0.0.1 port=1"}, durable=False)
    daemon = Daemon(site)
    now = minutes_ago(1)
    send(daemon, *(frame(METER, now - timedelta(minutes=number), 100.0 - number, sequence=number + 1) for number in range(50)))
    delivered(site)
    daemon.kill()
    write_json(site.state / "postgres.json", {"dsn": dsn}, durable=False)
    for _ in range(2):  # the second time with the cursors lost: the same frames again change nothing
        with running(site):
            eventually(lambda: value(dsn) == 100.0, "the newest is there")
            eventually(lambda: backlog(site)["latest-data"] == 0, "all frames are dealt with")
        (site.state / "forward-latest-data.json").unlink()
    assert latest(dsn)[METER][1] == now


def test_a_daemon_that_is_killed_again_and_again_shows_the_newest_of_all(served: Site, dsn: str) -> None:
    now = minutes_ago(1)
    for number in range(6):
        daemon = Daemon(served)
        send(daemon, frame(METER, now - timedelta(hours=6 - number), float(number), sequence=number + 1))
        time.sleep(0.3 * number)
        daemon.kill()
    with running(served):
        eventually(lambda: value(dsn) == 5.0, "the newest is there")


def test_a_long_absence_is_caught_up_at_once(served: Site, dsn: str) -> None:
    """Frames of days wait in the journal; the row of each terminal is that of its newest reading."""
    journal, head, now = Journal(served.journal / DATA, 64 << 20), encode_header(RecordHeader("sl651")), minutes_ago(1)
    shapes = [[frame(terminal, now - timedelta(minutes=step), 500.0 - step) for step in range(50)] for terminal in TERMINALS]
    for number in range(BACKLOG):
        terminal = number % len(TERMINALS)
        journal.append(head + shapes[terminal][number // len(TERMINALS) % 50], time.time_ns() // 1000)
    journal.commit()
    journal.close()
    with running(served):
        eventually(lambda: len(latest(dsn)) == len(TERMINALS), "every terminal is there", within_s=60)
        eventually(lambda: backlog(served)["latest-data"] == 0, "all frames are dealt with", within_s=60)
    assert {row[2] for row in latest(dsn).values()} == {500.0}
    assert {row[1] for row in latest(dsn).values()} == {now}


def test_the_row_of_an_adopted_terminal_and_of_a_replayed_frame_becomes_right(served: Site, dsn: str) -> None:
    ts = minutes_ago(4)
    with running(served) as daemon:
        send(daemon, frame(STRANGER, ts, 7.0), frame(METER, ts, 1.0, sequence=2))
        delivered(served)
        with (served.registry / "terminals.csv").open("a") as file:
            file.write(f"{STRANGER},new,,,\n")
        request = replay.ask(served)
        eventually(lambda: replay.answer(served, request), "adopted")
        eventually(lambda: value(dsn, STRANGER) == 7.0, "the adopted reading is on the board")
        # What a frame was taken for once, under another profile: a wrong value at a time that is too new.
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "update ops.latest_reading set forward_m3 = 999, ts = ts + interval '1 hour' where terminal = %s", (METER,)
            )
        send(daemon, frame(METER, ts + timedelta(minutes=1), 2.0, sequence=3))
        delivered(served)
        request = replay.ask(served, replay.ReplayRange())
        eventually(lambda: replay.answer(served, request), "replayed")
        eventually(lambda: value(dsn) == 2.0, "the row is that of the newest reading")
    assert latest(dsn)[METER][1] == ts + timedelta(minutes=1)


def test_while_postgresql_is_away_the_journal_need_not_keep_what_the_board_waits_for(
    site: Site, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latest_readings, "PENDING_S", 0.0)
    site.state.mkdir()
    journals, registry = Journals(site, 1 << 20, 8 << 20), Registry(site, "sl651")

    def opened(address: str) -> LatestReadings:
        handover = Handover()
        for stream in (DATA, ALARM):
            handover.start(stream, journals.end(stream))  # the raw store has all
        return LatestReadings(site, address, TimeSettings(), registry, journals, Counters(), handover)

    record = encode_header(RecordHeader("sl651")) + frame(METER, minutes_ago(1), 5.0)
    journals.streams[DATA].append(record, time.time_ns() // 1000)
    journals.streams[DATA].commit()
    away = opened("host=127.0.0.1 port=1")
    away._while_away()
    assert away.position(DATA) == journals.end(DATA) > 0
    again = opened(dsn)  # after a kill, and with the journal's segment gone
    assert again.position(DATA) == journals.end(DATA)
    again.start()
    eventually(lambda: value(dsn) == 5.0, "the row of a frame that the journal need not have any more")
    again.stop(10)
    journals.close()


def test_newest_is_by_device_time_and_merges_what_came_for_one_time() -> None:
    def reading(ts: int, received: int, forward: float | None, pressure: float | None) -> dict[str, Any]:
        times = {"ts": datetime.fromtimestamp(ts, UTC), "received_at": datetime.fromtimestamp(received, UTC)}
        values = {"forward_m3": forward, "pressure_mpa": pressure}
        return (
            dict.fromkeys(READING) | {"terminal": METER, "channel": "tcp", "stream": "data", "frame": received} | times | values
        )

    rows = [reading(10, 1, 1.0, None), reading(20, 2, 2.0, 0.2), reading(15, 3, 3.0, 0.3), reading(20, 4, None, 0.4)]
    (row,) = newest(pl.DataFrame(rows, schema=READING)).to_dicts()
    assert (row["forward_m3"], row["pressure_mpa"], row["frame"]) == (2.0, 0.4, 4)


def test_the_table_of_a_server_on_which_nothing_may_be_created_is_used_as_it_is(tmp_path: Path, dsn: str) -> None:
    site = make_site(tmp_path / "site")
    site.state.mkdir()
    write_json(site.state / "postgres.json", {"dsn": dsn}, durable=False)
    for number in (1, 2):
        with running(site) as daemon:
            send(daemon, frame(METER, minutes_ago(10 - number), float(number), sequence=number))
            eventually(lambda number=number: value(dsn) == number, "the reading")


def test_a_frame_that_the_forwarder_decoded_is_not_decoded_again(served: Site, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what it does not hand over in time is decoded for the board."""
    monkeypatch.setattr(latest_readings, "PATIENCE_S", 3600.0)
    journals, registry, handover = Journals(served, 1 << 20, 8 << 20), Registry(served, "sl651"), Handover()
    handover.start(DATA, 0)
    handover.start(ALARM, 0)
    sink = LatestReadings(served, "", TimeSettings(), registry, journals, Counters(), handover)
    decoded: list[int] = []
    whole = sink._readings

    def counted(stream: str, records: Any) -> pl.DataFrame:
        decoded.append(len(records))
        return whole(stream, records)

    monkeypatch.setattr(sink, "_readings", counted)
    journal, header, now = journals.streams[DATA], encode_header(RecordHeader("sl651")), minutes_ago(1)
    sink.start()

    def journaled(number: int) -> tuple[int, int]:
        begin = journal.end
        journal.append(header + frame(METER, now + timedelta(seconds=number), float(number)), time.time_ns() // 1000)
        journal.commit()
        return begin, journal.end

    for number in (1, 2):
        begin, end = journaled(number)
        (record,) = read(served.journal / DATA, begin, end, 1 << 20).records
        readings = whole(DATA, [record])
        handover.give(DATA, begin, end, readings, runs(readings))
        eventually(lambda number=number: value(dsn) == number, "what was handed over")
    assert not decoded
    monkeypatch.setattr(latest_readings, "PATIENCE_S", 0.5)
    journaled(3)
    eventually(lambda: value(dsn) == 3.0, "what was not handed over")
    assert decoded == [1]
    sink.stop(10)
    journals.close()
