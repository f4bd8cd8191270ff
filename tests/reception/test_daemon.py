"""The daemon as terminals and operators meet it: real sockets, a real process, the real raw store and PostgreSQL."""

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ingest_daemon.codecs import sl651
from ingest_daemon.contract.schema import FIELDS, READING, TIMESTAMP
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.alarm_sink import AlarmWord
from ingest_daemon.forwarding.comparison import compare
from ingest_daemon.forwarding.terminal_state import TerminalState
from ingest_daemon.forwarding.triage import clock_offsets
from ingest_daemon.journal.envelope import parse_record
from ingest_daemon.journal.reader import read, stream_end
from ingest_daemon.journal.records import BAD, DATA, Record, split_bad
from tests.daemon_helpers import (
    REPOSITORY,
    STRANGER,
    TERMINALS,
    Client,
    Daemon,
    counted,
    delivered,
    eventually,
    forwarded,
    frame,
    kept,
    make_site,
    minutes_ago,
    read_json,
    rows_on_disk,
    running,
    stored,
)

METER = TERMINALS[0]


# --- frames in ----------------------------------------------------------------------------------------------------------------


def test_a_reading_is_acknowledged_after_it_is_journaled_and_reaches_the_store_with_its_position(daemon: Daemon) -> None:
    client = Client(daemon.data_port)
    ts = minutes_ago(15)
    raw = frame(METER, ts, 123.456, sequence=7, pressure_mpa=0.31, flow_m3h=-1.5)
    client.send(raw)
    assert client.acknowledged(1) == [7]
    assert stream_end(daemon.site.journal / DATA) > len(raw)  # at this very moment
    (row,) = delivered(daemon.site).to_dicts()
    assert (row["terminal"], row["ts"], row["forward_m3"], row["pressure_mpa"]) == (METER, ts, 123.456, 0.31)
    assert (row["flow_m3h"], row["reverse_m3"], row["channel"], row["frame"]) == (-1.5, None, "tcp", 0)
    assert abs(row["received_at"] - datetime.now(UTC)) < timedelta(minutes=1)


def test_many_frames_glued_and_split_anywhere_are_all_acknowledged_and_stored(daemon: Daemon) -> None:
    chance = random.Random(651)
    start = minutes_ago(3000)
    frames = [frame(METER, start + timedelta(minutes=number), number / 8, sequence=number + 1) for number in range(2000)]
    stream = b"".join(frames)
    client = Client(daemon.data_port)
    cuts = sorted(chance.sample(range(1, len(stream)), 300))
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        client.send(stream[begin:end])
    assert client.acknowledged(2000) == list(range(1, 2001))
    assert delivered(daemon.site)["forward_m3"].to_list() == [number / 8 for number in range(2000)]


def test_both_ports_speak_the_protocol_and_an_alarm_and_what_follows_it_overtake_the_data(daemon: Daemon) -> None:
    for number, port in enumerate((daemon.data_port, daemon.alarm_port)):
        client = Client(port)
        client.send(
            frame(METER, minutes_ago(10 + number), 1, sequence=1)
            + frame(METER, minutes_ago(20 + number), 1, sequence=2, alarms=[])
        )
        assert sorted(client.acknowledged(2)) == [1, 2]
    delivered(daemon.site)
    counters = counted(daemon.site, "readings", 4)
    assert counters["frames"] == {"data": 1, "alarm": 3}  # the terminal's second data frame follows on its first alarm
    assert counters["acknowledged"] == 4


def test_a_keep_alive_gets_no_answer_and_keeps_the_connection(daemon: Daemon) -> None:
    client = Client(daemon.data_port)
    client.send(sl651.keep_alive(METER, 3, datetime.now(UTC)))
    assert client.is_silent(0.3)
    client.send(frame(METER, minutes_ago(5), 1, sequence=4))
    assert client.acknowledged(1) == [4]


def test_bad_bytes_are_kept_with_their_reason_not_acknowledged_and_do_no_harm_to_the_frames_around(daemon: Daemon) -> None:
    good = [frame(METER, minutes_ago(number), number, sequence=number) for number in (1, 2)]
    spoiled = bytearray(frame(METER, minutes_ago(3), 3, sequence=3))
    spoiled[30] ^= 1
    client = Client(daemon.data_port)
    client.send(b"GET / HTTP/1.1\r\n" + good[0] + spoiled + good[1])
    assert client.acknowledged(2) == [1, 2]
    assert client.is_silent(0.2)
    journal = daemon.site.journal / BAD
    eventually(lambda: read(journal, 0, stream_end(journal), 1 << 20).records, "the bad bytes are journaled")
    pieces = [split_bad(record.payload) for record in read(journal, 0, stream_end(journal), 1 << 20).records]
    assert [(reason, parse_record(payload)[1]) for reason, _, payload in pieces] == [
        ("NOISE", b"GET / HTTP/1.1\r\n"),
        ("BAD_CRC", bytes(spoiled)),
    ]
    assert len(delivered(daemon.site)) == 2


def test_bytes_that_make_no_sense_end_their_own_connection_only(tmp_path: Path) -> None:
    with running(make_site(tmp_path, bad_bytes=1000)) as daemon:
        steady, rubbish = Client(daemon.data_port), Client(daemon.data_port)
        rubbish.send(random.Random(1).randbytes(5000))
        assert rubbish.is_closed()
        steady.send(frame(METER, minutes_ago(1), 1, sequence=9))
        assert steady.acknowledged(1) == [9]


def test_a_silent_connection_is_closed_and_one_beyond_the_limit_turned_away(tmp_path: Path) -> None:
    with running(make_site(tmp_path, idle_s=1, connections=2)) as daemon:
        first, second = Client(daemon.data_port), Client(daemon.alarm_port)
        first.send(frame(METER, minutes_ago(1), 1))
        first.acknowledged(1)
        assert Client(daemon.data_port).is_closed()
        assert second.is_closed()
        counters = eventually(
            lambda: (c := read_json(daemon.site.state / "counters.json")) and c["turned_away"] and c, "counters"
        )
        assert counters["turned_away"] == 1


# --- what is kept aside -------------------------------------------------------------------------------------------------------


def test_unknown_terminals_and_future_times_are_acknowledged_and_kept_aside_with_their_frames(daemon: Daemon) -> None:
    stranger = frame(STRANGER, minutes_ago(5), 1, sequence=1)
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    future = frame(METER, ahead, 2, sequence=2)
    client = Client(daemon.data_port)
    client.send(stranger + future)
    assert sorted(client.acknowledged(2)) == [1, 2]
    assert len(delivered(daemon.site)) == 0
    (unknown,) = kept(daemon.site, "UNKNOWN_TERMINAL")
    (early,) = kept(daemon.site, "FUTURE_TIME")
    assert (unknown["terminal"], unknown["hex"], unknown["stream"], unknown["position"]) == (
        STRANGER,
        stranger.hex().upper(),
        "stranger",
        0,
    )
    assert (early["terminal"], early["hex"], early["ts"]) == (METER, future.hex().upper(), ahead.isoformat())
    assert "allowed: 300 s" in early["detail"]


def test_a_repeated_reading_is_counted_and_a_contradicting_one_is_kept_and_wins(daemon: Daemon) -> None:
    ts = minutes_ago(30)
    for number, value in enumerate((10.0, 10.0, 11.0)):
        client = Client(daemon.data_port)
        client.send(frame(METER, ts, value, sequence=number + 1, pressure_mpa=0.3))
        assert client.acknowledged(1) == [number + 1]
        client.close()
        assert delivered(daemon.site)["forward_m3"].to_list() == [value]
    (conflict,) = kept(daemon.site, "CONFLICT")
    assert conflict["detail"] == "forward_m3: 10.0 → 11.0"
    assert rows_on_disk(daemon.site) == 2
    assert counted(daemon.site, "quarantined", {"CONFLICT": 1})["duplicates"] == 1


def test_a_contradiction_is_noticed_after_a_kill_too(site: Site) -> None:
    ts = minutes_ago(30)
    for value in (10.0, 11.0):
        daemon = Daemon(site)
        client = Client(daemon.data_port)
        client.send(frame(METER, ts, value))
        client.acknowledged(1)
        delivered(site)
        daemon.kill()
    assert [line["detail"] for line in kept(site, "CONFLICT")] == ["forward_m3: 10.0 → 11.0"]


FIELD_NAMES = [field.name for field in FIELDS]


def reading(ts: int, forward: float | None, pressure: float | None) -> dict[str, Any]:
    """A row of METER at `ts` seconds."""
    values = dict.fromkeys(FIELD_NAMES) | {"forward_m3": forward, "pressure_mpa": pressure}
    moment = datetime.fromtimestamp(ts, UTC)
    return {"terminal": METER, "ts": moment, **values, "received_at": moment, "channel": "tcp", "stream": "data", "frame": 0}


COMPARISONS = [
    pytest.param([], [(60, 1.0, None)], [True], 0, [], id="new"),
    pytest.param([(60, 1.0, 0.3)], [(60, 1.0, 0.3)], [False], 1, [], id="the same again"),
    pytest.param([(60, 1.0, 0.3)], [(60, 1.0, None)], [False], 1, [], id="less than is known"),
    pytest.param([(60, 1.0, None)], [(60, None, 0.3)], [True], 0, [], id="completes"),
    pytest.param([(60, 1.0, 0.3)], [(60, 2.0, 0.3)], [True], 0, ["forward_m3: 1.0 → 2.0"], id="contradicts"),
    pytest.param([], [(60, 1.0, None), (60, 1.0, None)], [True, False], 1, [], id="twice in the group"),
    pytest.param([], [(60, 1.0, None), (60, 2.0, None)], [True, True], 0, ["forward_m3: 1.0 → 2.0"], id="contradicts itself"),
    pytest.param(
        [(60, 1.0, None)], [(60, 2.0, None), (60, 2.0, None)], [True, False], 1, ["forward_m3: 1.0 → 2.0"], id="repeats the newer"
    ),
]


@pytest.mark.parametrize(("known", "coming", "goes_on", "duplicates", "details"), COMPARISONS)
def test_a_reading_is_compared_with_the_point_before_it(
    known: list[Any], coming: list[Any], goes_on: list[bool], duplicates: int, details: list[str]
) -> None:
    stored_rows = pl.DataFrame([reading(*row) for row in known], schema=READING)
    arrived = [reading(*row) | {"index": index} for index, row in enumerate(coming)]
    rows = pl.DataFrame(arrived, schema={**READING, "index": pl.Int64()})
    records = [Record(number * 100, 0, 0, b"raw") for number in range(len(coming))]
    result = compare(DATA, records, rows, stored_rows)
    assert [index in result.readings["index"] for index in range(len(coming))] == goes_on
    assert result.duplicates == duplicates
    assert [entry.detail for entry in result.kept] == details


# --- stop, start, lock, settings ----------------------------------------------------------------------------------------------


def test_a_clean_stop_forwards_what_is_there_and_a_restart_goes_on(site: Site) -> None:
    for number in range(3):
        daemon = Daemon(site)
        client = Client(daemon.data_port)
        client.send(frame(METER, minutes_ago(30 - number), number, sequence=number + 1))
        client.acknowledged(1)
        assert daemon.stop() == 0
        assert not (site.state / "daemon.json").exists()
        assert forwarded(site)
        assert len(stored(site)) == number + 1
    assert rows_on_disk(site) == 3


def test_a_second_daemon_on_the_site_says_who_holds_it_and_ends(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "ingest_daemon", "--site", str(daemon.site.root)]
    second = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=20)
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("[daemon]\ndata_protocol = 'x'\n", "[daemon] data_protocol = 'x': allowed: "),
        ("[daemon]\nidle = 3\n", "[daemon] idle is unknown"),
        ("not toml", "is not valid TOML"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(site: Site, settings: str, told: str) -> None:
    site.settings.write_text(settings)
    command = [sys.executable, "-m", "ingest_daemon", "--site", str(site.root)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=20)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_taken_port_is_one_line_and_exit_code_1(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = make_site(tmp_path_factory.mktemp("second"), data_port=daemon.data_port)
    command = [sys.executable, "-m", "ingest_daemon", "--site", str(site.root)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=20)
    assert ended.returncode == 1
    assert str(daemon.data_port) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_with_the_store_away_frames_are_acknowledged_and_reach_it_when_it_is_back(site: Site) -> None:
    site.raw.write_text("a file where the archive's folder must be")
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(frame(METER, minutes_ago(3), 5))
        client.acknowledged(1)
        eventually(lambda: (told := read_json(site.state / "counters.json")) and told["health"]["store"] != "ok", "it is said")
        assert not forwarded(site)
        site.raw.unlink()
        assert len(delivered(site)) == 1


def test_beyond_the_journal_budget_frames_are_not_acknowledged_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    site = make_site(tmp_path, journal_mb=1)
    site.raw.write_text("a file where the archive's folder must be")
    readings = pl.DataFrame(
        {"ts": [minutes_ago(5000 - number) for number in range(100)], "forward_m3": [float(n) for n in range(100)]}
    )
    acknowledged = 0
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                (raw,) = sl651.reports(METER, readings, sent_at=datetime.now(UTC), sequence=1)
                client.send(raw)
                client.acknowledged(1)
                acknowledged += 1
        counters = counted(site, "refused", 1)
        assert "journal_mb" in counters["health"]["journal"]
        assert counters["acknowledged"] == counters["frames"]["data"] == acknowledged
        assert stream_end(site.journal / DATA) <= 1 << 20
        site.raw.unlink()
        assert len(delivered(site)) == 100
        assert eventually(lambda: acknowledged_now(client), "room is made, and the terminal's next try is acknowledged", 10) == [
            2
        ]


def acknowledged_now(client: Client) -> list[int]:
    """What is acknowledged of a frame sent now; nothing where none is within a second."""
    client.send(frame(METER, minutes_ago(1), 1000, sequence=2))
    try:
        return client.acknowledged(1)
    except TimeoutError:
        return []


BROKEN_DISK = """
import os, sys
from ingest_daemon import __main__

def fail(handle):
    raise OSError(5, "Input/output error")

os.fdatasync = fail
sys.exit(__main__.main(["--site", sys.argv[1]]))
"""


def test_a_disk_that_fails_to_sync_ends_the_process_with_the_reason_and_nothing_is_acknowledged(site: Site) -> None:
    command = [sys.executable, "-c", BROKEN_DISK, str(site.root)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    address = eventually(lambda: read_json(site.state / "daemon.json"), "the daemon listens")
    client = Client(address["data_port"])
    client.send(frame(METER, minutes_ago(1), 1))
    with pytest.raises(ConnectionError):
        client.acknowledged(1)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "sync failed: Input/output error" in told


def test_of_alarm_words_in_data_only_changes_and_late_words_are_told() -> None:
    def word(at: int, *active: str) -> AlarmWord:
        return AlarmWord(METER, "device", at, at, 0, active, {})

    memory = TerminalState()
    assert memory.new_alarm_words([word(10), word(20, "MAG"), word(30, "MAG"), word(15), word(15, "BATT"), word(40)]) == [
        word(20, "MAG"),
        word(15),  # late: without it an alarm that came before would last until the next word that is known
        word(15, "BATT"),
        word(40),
    ]
    again = TerminalState(memory.save())
    assert again.new_alarm_words([word(40), word(50, "MAG")]) == [word(50, "MAG")]


# --- registry, clocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offsets_s", "told"),
    [
        ([10, 10, 4000, 10, 10], []),
        ([10, 10, 420, 420, 420], [("CLOCK",)]),
        ([10, 420, 420, 10, 10], [("CLOCK",), ()]),
        ([420], [("CLOCK",)]),
    ],
    ids=["one frame sent again", "off for good", "off and right again", "wrong at first contact"],
)
@pytest.mark.parametrize("together", [True, False], ids=["in one group", "frame by frame"])
def test_a_clock_is_judged_by_the_median_of_its_last_frames(
    offsets_s: list[int], told: list[tuple[str, ...]], together: bool
) -> None:
    second = 1_000_000
    records = [Record(0, (1000 + number) * second, 0, b"") for number in range(len(offsets_s))]
    sent = [(1000 + number - offset) * second for number, offset in enumerate(offsets_s)]
    clocks = pl.DataFrame(
        {"frame": range(len(sent)), "terminal": [METER] * len(sent), "sent_at": pl.Series(sent).cast(TIMESTAMP)}
    )
    groups = [clocks] if together else [clocks[number : number + 1] for number in range(len(sent))]
    memory = TerminalState()
    news = [word for group in groups for word in memory.clock_news(clock_offsets(group, records), records, 120.0)]
    assert [word.active for word in news] == told
