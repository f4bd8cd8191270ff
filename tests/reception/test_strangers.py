"""Strangers cost nobody anything: what they send has budgets of its own, on disk and in the ledgers."""

import shutil
import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from ingest_daemon.codec_kit.checksums import crc16_high_first
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import stream_end, streams
from ingest_daemon.journal.records import ALARM, BAD, DATA, STRANGER
from ingest_daemon.monitoring import disk
from ingest_daemon.monitoring.disk import DiskWatch, folder_sizes
from ingest_daemon.reception.stream_selector import StreamSelector
from tests.daemon_helpers import STRANGER as UNKNOWN
from tests.daemon_helpers import (
    TERMINALS,
    Client,
    Daemon,
    delivered,
    environment_number,
    eventually,
    frame,
    make_site,
    minutes_ago,
    read_json,
    running,
)

METER = TERMINALS[0]
DISK_MB = environment_number("MAINFLOW_STRANGERS_DISK_MB", 20)
SENT_MB = environment_number("MAINFLOW_STRANGERS_MB", 4)
"""How much strangers send, on a disk of which size; the full trial sends 1,024 on 200."""
ACKNOWLEDGEMENT = 25
"""Bytes of an acknowledgement of SL 651."""


def flood(daemon: Daemon, megabytes: int, over: threading.Event) -> None:
    """Valid frames of stations that nobody registered, each of other bytes, as fast as they are taken."""
    raw, sent, station = frame(UNKNOWN, minutes_ago(60), 1.0), 0, 0xA000000000
    with socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10) as line:
        while sent < megabytes << 20 and not over.is_set():
            batch = bytearray()
            for _ in range(2000):
                station += 1
                content = raw[:3] + station.to_bytes(5, "big") + raw[8:-2]
                batch += content + crc16_high_first(content)
            line.sendall(batch)
            wanted = 2000 * ACKNOWLEDGEMENT
            while wanted > 0:
                wanted -= len(line.recv(wanted))
            sent += len(batch)


def test_the_frames_of_unregistered_terminals_have_a_stream_of_their_own(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(frame(UNKNOWN, minutes_ago(2), 1.0) + frame(METER, minutes_ago(2), 2.0, sequence=2))
        client.send(frame(UNKNOWN, minutes_ago(1), 1.0, alarms=["MAG"], sequence=3))
        assert sorted(client.acknowledged(3)) == [1, 2, 3]
        assert delivered(site)["forward_m3"].to_list() == [2.0]
        assert stream_end(site.journal / ALARM) == 0, "a stranger overtakes nobody"
        assert {stream.name for stream in streams(site) if stream.size} == {DATA, STRANGER}


def test_a_stranger_is_sent_to_its_own_stream_whatever_it_says() -> None:
    selector = StreamSelector()
    assert [selector.select(UNKNOWN, is_alarm, {METER}) for is_alarm in (True, False)] == [STRANGER, STRANGER]
    assert [selector.select(METER, is_alarm, {METER}) for is_alarm in (False, True, False, False)] == [DATA, ALARM, ALARM, DATA]


def test_strangers_who_send_more_than_the_disk_holds_stop_no_acknowledgement_and_push_nothing_out(small_disk: Path) -> None:
    site = make_site(small_disk / "site")
    over, answered, asked, now = threading.Event(), 0, 0, minutes_ago(1)
    with running(site) as daemon:
        crowd = threading.Thread(target=flood, args=(daemon, SENT_MB, over))
        crowd.start()
        noise = Client(daemon.data_port)
        try:
            while crowd.is_alive() or asked < 200:
                client = Client(daemon.data_port)
                asked += 1
                client.send(frame(METER, now - timedelta(minutes=asked), float(asked), sequence=asked % 65535 + 1))
                answered += client.acknowledged(1) == [asked % 65535 + 1]
                client.close()
                noise.close()
                noise = Client(daemon.data_port)
                noise.send(bytes(range(256)) * 128)
        finally:
            over.set()
            crowd.join()
        assert answered >= 0.999 * asked
        told = eventually(lambda: read_json(site.state / "counters.json"), "the counters")
        assert told["refused"] == 0
        assert told["dropped_bytes"][STRANGER] > 0
        assert told["health"]["journal"] == "ok"
        assert f"{site.journal / STRANGER} has used its budget" in daemon.log.read_text()
        assert len(delivered(site)) == asked, "own history is all there"
        assert shutil.disk_usage(small_disk).free > 0.2 * (DISK_MB << 20)
        sizes = folder_sizes(site)
        for folder in (site.journal / STRANGER, site.journal / BAD, site.quarantine):
            assert sizes.get(folder, 0) <= 0.11 * (DISK_MB << 20), folder


def test_a_disk_that_others_filled_costs_strangers_frames_before_those_of_meters(small_disk: Path) -> None:
    site = make_site(small_disk / "site")
    with running(site) as daemon:
        flood(daemon, 2, threading.Event())
        eventually(lambda: read_json(site.state / "counters.json")["backlog_bytes"]["stranger"] == 0, "strangers are dealt with")
        rest = shutil.disk_usage(small_disk).free
        (small_disk / "film").write_bytes(bytes(rest))
        client = Client(daemon.data_port)
        for number in range(1, 21):
            client.send(frame(METER, minutes_ago(number), float(number), sequence=number))
            assert client.acknowledged(1) == [number]
        (small_disk / "film").unlink()
        assert len(delivered(site)) == 20


def test_a_disk_that_fills_is_said_early_with_the_folder_that_grew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path)
    site.quarantine.mkdir()
    (site.journal / DATA).mkdir(parents=True)
    watch = DiskWatch(site)
    free = [50 << 30, 1 << 30, 1 << 30, 50 << 30]
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100 << 30, 0, free.pop(0)))
    assert watch.look() == "ok"
    (site.quarantine / "BAD_BODY.jsonl").write_bytes(bytes(3 << 20))
    (site.journal / DATA / "0.journal").write_bytes(bytes(1 << 20))
    said = watch.look()
    assert "1024 of 102400 MB are free" in said
    assert f"{site.quarantine} grew most (3 MB)" in said
    assert watch.look() == said
    assert watch.look() == "ok"
