"""Times that a terminal cannot have sent, and a server whose own clock is wrong."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ingest_daemon.codecs import sl651
from ingest_daemon.codecs.sl651.header import sealed
from ingest_daemon.contract.schema import BEIJING
from ingest_daemon.forwarding import replay
from ingest_daemon.forwarding.replay import ReplayRange
from ingest_daemon.forwarding.server_clock import LEAST_TERMINALS, clock_fault
from ingest_daemon.forwarding.settings import TimeSettings
from ingest_daemon.forwarding.triage import TimeLimits, triage
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.records import Record
from ingest_daemon.terminals.table import Terminal
from tests.cases import covers
from tests.daemon_helpers import (
    TERMINALS,
    Client,
    alarm_events,
    delivered,
    eventually,
    frame,
    kept,
    make_site,
    minutes_ago,
    running,
)

METER, OTHER = TERMINALS[:2]
LOST = datetime(2000, 1, 1, 0, 5, tzinfo=BEIJING)


def dated(terminal: str, observed: datetime, sent: datetime, sequence: int) -> bytes:
    """A report whose two times are put in as digits, also those that no encoder writes."""
    raw = frame(terminal, minutes_ago(1), 5.0, sequence=sequence)
    body = bytearray(raw[14:-3])
    body[2:8] = bytes.fromhex(sent.astimezone(BEIJING).strftime("%y%m%d%H%M%S"))
    at = body.index(b"\xf0\xf0") + 2
    body[at : at + 5] = bytes.fromhex(observed.astimezone(BEIJING).strftime("%y%m%d%H%M"))
    return sealed(raw[:14] + bytes(body) + raw[-3:-2])


@covers("TIMES")
def test_impossible_times_go_to_quarantine_by_name_and_a_good_observation_is_stored_whatever_the_clock_says(
    tmp_path: Path,
) -> None:
    now = minutes_ago(0)
    years = {year: datetime(year, 6, 1, tzinfo=UTC) for year in (2059, 2080)}
    impossible = [
        (LOST, LOST, "BAD_TIME"),
        (LOST + timedelta(days=3), LOST + timedelta(days=3), "OLD_TIME"),
        (datetime(2001, 9, 9, tzinfo=UTC), now, "OLD_TIME"),
        (years[2059], years[2059], "FUTURE_TIME"),
        (years[2080], now, "FUTURE_TIME"),
        (now + timedelta(days=1), now + timedelta(days=1), "FUTURE_TIME"),
    ]
    good = [(minutes_ago(10), LOST), (minutes_ago(20), years[2059]), (minutes_ago(800 * 1440 - 60), now)]
    with running(make_site(tmp_path / "site")) as daemon:
        client = Client(daemon.data_port)
        for number, (observed, sent, *_) in enumerate([*impossible, *good], 1):
            client.send(dated(METER, observed, sent, number))
        assert client.acknowledged(9) == list(range(1, 10))
        stored = delivered(daemon.site)
        assert sorted(stored["ts"]) == sorted(observed for observed, _ in good)
        for reason in ("OLD_TIME", "FUTURE_TIME"):
            expected = sorted(observed.astimezone(UTC) for observed, _, why in impossible if why == reason)
            lines = kept(daemon.site, reason)
            assert sorted(datetime.fromisoformat(line["ts"]) for line in lines) == expected
            assert all(line["terminal"] == METER and line["detail"] for line in lines)
        assert len(kept(daemon.site, "BAD_TIME")) >= 1


def test_one_terminal_makes_no_more_day_folders_than_the_limit_into_the_past_allows(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", past_days=30)
    with running(site) as daemon:
        client = Client(daemon.data_port)
        ts = [minutes_ago(1440 * days) for days in range(1, 400)]
        readings = pl.DataFrame({"ts": ts, "forward_m3": [1.0] * len(ts)})
        frames = sl651.reports(METER, readings, sent_at=datetime.now(UTC), sequence=1, function=sl651.TIMED)
        client.send(b"".join(frames))
        client.acknowledged(len(frames))
        assert len(delivered(site)) <= 30
        assert len(list((site.raw / "readings").iterdir())) <= 31
        assert len(kept(site, "OLD_TIME")) == 399 - len(delivered(site))


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        ("2026-03-01T00:00", ""),
        ("2026-02-28T23:59", "NOT_INSTALLED"),
        ("2026-06-30T23:59", ""),
        ("2026-07-01T00:00", ""),
        ("2026-07-01T00:01", "REMOVED"),
    ],
)
def test_a_reading_counts_from_the_first_to_the_last_day_of_its_terminal_both_included(observed: str, reason: str) -> None:
    """The reading at the midnight that ends the last day is the register's last one."""
    ts = datetime.fromisoformat(observed).replace(tzinfo=BEIJING)
    terminals = {
        METER: Terminal("M1", installed_on=date(2026, 3, 1), removed_on=date(2026, 6, 30)),
        OTHER: Terminal("M2"),
    }
    received_us = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp() * 1e6)
    header = encode_header(RecordHeader("sl651"))
    records = [Record(number, received_us, 1, header + frame(name, ts, 5.0)) for number, name in enumerate((METER, OTHER))]
    group = triage("data", records, terminals, {}, TimeLimits.of(TimeSettings()))
    assert group.readings["terminal"].to_list() == ([METER] if not reason else []) + [OTHER]
    assert [(entry.reason, entry.terminal, entry.ts) for entry in group.kept] == ([(reason, METER, ts)] if reason else [])


def test_the_dates_of_the_registry_are_applied_by_the_daemon(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    day = (datetime.now(BEIJING) - timedelta(days=10)).date()
    rows = (f"{METER},M1,{day},", f"{OTHER},M2,,{day}")
    (site.registry / "terminals.csv").write_text("\n".join(["terminal,meter,installed_on,removed_on", *rows]) + "\n")
    with running(site) as daemon:
        client = Client(daemon.data_port)
        for number, (terminal, days) in enumerate([(METER, 12), (METER, 8), (OTHER, 12), (OTHER, 8)], 1):
            client.send(frame(terminal, minutes_ago(1440 * days), float(days), sequence=number))
        assert client.acknowledged(4) == [1, 2, 3, 4]
        assert set(delivered(site).select("terminal", "forward_m3").iter_rows()) == {(METER, 8.0), (OTHER, 12.0)}
        assert [line["terminal"] for line in kept(site, "NOT_INSTALLED")] == [METER]
        assert [line["terminal"] for line in kept(site, "REMOVED")] == [OTHER]


@pytest.mark.parametrize(
    ("offsets_s", "words"),
    [
        pytest.param([-86400.0] * 5, "86400 s behind those of 5 of 5", id="a day behind"),
        pytest.param([3600.0, 3599.0, 3602.0, 3600.0, 3650.0, 0.0], "3600 s ahead of those of 5 of 6", id="an hour ahead"),
        pytest.param([-86400.0] * 4, "", id="too few to tell"),
        pytest.param([-86400.0] * 3 + [0.0] * 3, "", id="half of them"),
        pytest.param([-500.0, 500.0] * 5, "", id="off both ways"),
        pytest.param([5.0] * 50, "", id="right"),
        pytest.param([], "", id="nobody"),
    ],
)
def test_a_clock_that_nearly_all_terminals_contradict_is_the_servers_fault(offsets_s: list[float], words: str) -> None:
    fault = clock_fault({str(number): offset for number, offset in enumerate(offsets_s)}, 120.0)
    assert words in fault and bool(fault) == bool(words)


def test_what_a_server_with_a_slow_clock_kept_aside_comes_back_once_its_clock_is_right(tmp_path: Path, dsn: str) -> None:
    """All terminals are 20 s ahead; that the server's clock is right again is 20 s later."""
    site = make_site(tmp_path / "site", f"[postgres]\ndsn = '{dsn}'\n", future_s=5, drift_s=10)
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20)
    with running(site) as daemon:
        for terminal in TERMINALS:
            client = Client(daemon.data_port)
            client.send(
                frame(terminal, ahead, 5.0, sent_at=ahead) + frame(terminal, minutes_ago(5), 4.0, sent_at=ahead, sequence=2)
            )
            assert client.acknowledged(2) == [1, 2]
        eventually(lambda: len(kept(site, "FUTURE_TIME")) == len(TERMINALS), "all are kept aside")
        eventually(lambda: "the server's clock is about" in daemon.get("/healthz")[1], "the server's clock is blamed")
        assert "the server's clock is about" in daemon.log.read_text()
        assert len({event[0] for event in alarm_events(dsn)}) <= LEAST_TERMINALS
        assert delivered(site)["forward_m3"].to_list() == [4.0] * len(TERMINALS)
        eventually(lambda: datetime.now(UTC) > ahead, "the server's clock has come up", 30)
        name = replay.ask(site, ReplayRange())
        answer = eventually(lambda: replay.answer(site, name), "the replay is answered")
        assert answer.error == "" and sum(answer.readings.values()) == len(TERMINALS)
        assert sorted(delivered(site)["forward_m3"]) == [4.0] * len(TERMINALS) + [5.0] * len(TERMINALS)
        for terminal in TERMINALS:
            client = Client(daemon.data_port)
            client.send(frame(terminal, minutes_ago(1), 6.0, sequence=3))
            assert client.acknowledged(1) == [3]
        eventually(lambda: daemon.get("/healthz") == (200, "ok\n"), "nobody is to blame any more")


def test_a_replay_judges_by_the_clock_of_today_in_both_directions() -> None:
    header = encode_header(RecordHeader("sl651"))
    observed = datetime(2026, 7, 1, 12, tzinfo=UTC)
    raw = frame(METER, observed, 5.0)
    limits = TimeLimits(timedelta(minutes=5), timedelta(days=800))
    for received, reason in ((observed - timedelta(days=1), "FUTURE_TIME"), (observed + timedelta(days=4000), "OLD_TIME")):
        record = Record(0, int(received.timestamp() * 1e6), 1, header + raw)
        live = triage("data", [record], {METER: Terminal("M1")}, {}, limits)
        assert [entry.reason for entry in live.kept] == [reason]
        later = limits._replace(now=observed + timedelta(days=2))
        assert triage("data", [record], {METER: Terminal("M1")}, {}, later).readings["ts"].to_list() == [observed]
