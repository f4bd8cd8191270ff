"""The journal reads back exactly what was committed, whatever happens to it."""

import errno
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import backlog, cursor_path, read, segments, stream_end, stretch, walk
from ingest_daemon.journal.records import (
    ALARM,
    BAD,
    DATA,
    HEADER,
    JournalBroken,
    JournalRefused,
    Record,
    bad_payload,
    pack,
    split_bad,
)
from ingest_daemon.journal.writer import Journal, Journals
from ingest_daemon.monitoring.lock import SiteBusy, lock_site

NOW_US = 1_780_000_000_000_000
payloads = st.binary(max_size=60)
steps = st.lists(
    st.one_of(
        payloads.map(lambda payload: ("append", payload)),
        st.just(("commit", b"")),
        st.just(("reopen", b"")),
        st.binary(min_size=1, max_size=40).map(lambda rubbish: ("torn", rubbish)),
    ),
    max_size=40,
)


def everything(folder: Path, end: int, max_bytes: int = 1) -> list[Record]:
    """All committed records, read in steps."""
    records: list[Record] = []
    position = 0
    while position < end:
        chunk = read(folder, position, end, max_bytes)
        assert chunk.damaged == []
        assert chunk.next_position > position
        records += chunk.records
        position = chunk.next_position
    return records


@settings(max_examples=120, deadline=None)
@given(steps)
def test_any_sequence_of_appends_commits_and_crashes_reads_back_exactly_what_was_committed(plan: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "data"
        journal = Journal(folder, segment_bytes=100)
        pending: list[bytes] = []
        committed: list[bytes] = []
        for step, payload in plan:
            match step:
                case "append":
                    journal.append(payload, NOW_US)
                    pending.append(payload)
                case "commit":
                    journal.commit()
                    committed += pending
                    pending = []
                case "reopen" | "torn":
                    journal.close()
                    if step == "torn":  # a kill in the middle of a write leaves the beginning of a record
                        half = pack(b"x" * 50 + payload, NOW_US, 0)[: 1 + len(payload)]
                        with segments(folder)[-1][1].open("ab") as file:
                            file.write(half)
                    pending = []
                    journal = Journal(folder, segment_bytes=100)
                    assert bool(journal.repaired) == (step == "torn")
        records = everything(folder, journal.end)
        assert [record.payload for record in records] == committed
        assert journal.end == stream_end(folder) == sum(HEADER.size + len(payload) for payload in committed)
        for record in records:  # a position leads to its record, now and for ever
            assert read(folder, record.position, journal.end, 1).records[0] == record
        journal.close()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6), st.data())
def test_a_flipped_bit_anywhere_is_noticed_and_costs_no_other_record(contents: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "data"
        journal = Journal(folder, segment_bytes=1 << 20)
        for payload in contents:
            journal.append(payload, NOW_US)
        journal.commit()
        before = everything(folder, journal.end)
        (path,) = [path for _, path in segments(folder)]
        spoiled = bytearray(path.read_bytes())
        bit = data.draw(st.integers(0, 8 * len(spoiled) - 1))
        spoiled[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoiled)

        chunk = read(folder, 0, journal.end, 1 << 20)
        hit = max(index for index, record in enumerate(before) if record.position <= bit // 8)
        assert chunk.records == before[:hit] + before[hit + 1 :]
        assert [gap.position for gap in chunk.damaged] == [before[hit].position]
        assert chunk.next_position == journal.end
        journal.close()

        again = Journal(folder, segment_bytes=1 << 20)  # only a damaged end is cut off, never what follows a damaged place
        assert read(folder, 0, again.end, 1 << 20).records == chunk.records
        assert len(again.repaired) == 1
        again.close()


def test_a_torn_tail_is_put_beside_before_it_is_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "data", 1000)
    journal.append(b"whole", NOW_US)
    journal.commit()
    end = journal.end
    journal.close()
    with segments(journal.folder)[0][1].open("ab") as file:
        file.write(b"torn")
    again = Journal(tmp_path / "data", 1000)
    assert [(gap.position, gap.length) for gap in again.repaired] == [(end, 4)]
    assert (tmp_path / "data" / f"{end:020d}.torn").read_bytes() == b"torn"
    again.close()


def test_nothing_is_read_before_it_is_committed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "data", 1000)
    journal.append(b"one", NOW_US, receipt="one")
    assert read(journal.folder, 0, journal.end, 1000).records == []
    assert journal.commit() == ["one"]
    assert [record.payload for record in read(journal.folder, 0, journal.end, 1000).records] == [b"one"]
    journal.close()


def test_a_full_disk_refuses_the_group_without_a_trace_and_takes_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "data", 1000)
    journal.append(b"first", NOW_US)
    journal.commit()
    real = os.write

    def half_then_full(handle: int, data: bytes) -> int:
        if len(data) > 10:
            return real(handle, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    journal.append(b"0123", NOW_US)
    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(JournalRefused, match="No space left"):
        journal.commit()
    monkeypatch.undo()
    journal.append(b"later", NOW_US)
    journal.commit()
    assert [record.payload for record in everything(journal.folder, journal.end)] == [b"first", b"later"]
    journal.close()


def test_a_failed_sync_is_never_taken_for_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "data", 1000)

    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    journal.append(b"one", NOW_US)
    with pytest.raises(JournalBroken, match="sync failed"):
        journal.commit()
    assert journal.end == 0
    journal.close()


class Reports:
    """What a `Journals` says in its thread."""

    def __init__(self) -> None:
        self.settled: list[tuple[str, int, list[Any], str]] = []
        self.broken: list[Exception] = []
        self.forwarded: dict[str, int] = {}
        self._said = threading.Semaphore(0)

    def __call__(self, *report: Any) -> None:
        self.settled.append(report)
        self._said.release()

    def failed(self, error: Exception) -> None:
        self.broken.append(error)
        self._said.release()

    def wait(self) -> None:
        assert self._said.acquire(timeout=10)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def journals(tmp_path: Path, reports: Reports) -> Iterator[Journals]:
    """A budget of 64 KiB, so segments of 8 KiB."""
    opened = Journals(Site(tmp_path), 1 << 20, 64 << 10)
    opened.start(lambda stream: reports.forwarded.get(stream, 0), reports, reports.failed)
    yield opened
    opened.finish()
    opened.close()


def test_beyond_its_budget_the_journal_refuses_and_says_so_and_forwarded_segments_make_room(
    journals: Journals, reports: Reports
) -> None:
    while not reports.settled or not reports.settled[-1][3]:
        journals.append(DATA, b"x" * 4000, NOW_US, receipt="mine")
        journals.commit_soon()
        reports.wait()
    assert "journal_mb" in reports.settled[-1][3]
    assert sum(path.stat().st_size for _, path in segments(journals.streams[DATA].folder)) <= 64 << 10

    oldest = segments(journals.streams[DATA].folder)[0][1]
    reports.forwarded[DATA] = journals.end(DATA)
    journals.append(DATA, b"y" * 4000, NOW_US)
    journals.commit_soon()
    reports.wait()
    assert reports.settled[-1][3] == ""
    assert not oldest.exists()
    assert stream_end(journals.streams[DATA].folder) == journals.end(DATA)


def test_segments_that_somebody_still_needs_are_never_removed(journals: Journals, reports: Reports) -> None:
    while not reports.settled or not reports.settled[-1][3]:
        journals.append(DATA, b"x" * 4000, NOW_US)
        journals.commit_soon()
        reports.wait()
    reports.forwarded[DATA] = 1000  # inside the first segment
    journals.append(DATA, b"y" * 4000, NOW_US)
    journals.commit_soon()
    reports.wait()
    assert reports.settled[-1][3]
    assert segments(journals.streams[DATA].folder)[0][0] == 0


def test_after_a_failed_sync_nothing_more_is_settled(
    journals: Journals, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    journals.append(DATA, b"one", NOW_US, receipt="one")
    journals.commit_soon()
    reports.wait()
    assert reports.settled == []
    assert "sync failed" in str(reports.broken[0])


def test_each_receipt_comes_back_once_in_order_after_its_record_is_on_disk(journals: Journals, reports: Reports) -> None:
    for number in range(2000):
        journals.append((DATA, ALARM)[number % 2], b"%d" % number, NOW_US, receipt=number)
        journals.commit_soon()
    while sum(len(receipts) for _, _, receipts, _ in reports.settled) < 2000:
        reports.wait()
    for stream, first in ((DATA, 0), (ALARM, 1)):
        receipts = [receipt for name, _, group, _ in reports.settled if name == stream for receipt in group]
        assert receipts == list(range(first, 2000, 2))
        records = everything(journals.streams[stream].folder, journals.end(stream), 4096)
        assert [int(record.payload) for record in records] == receipts


def test_the_backlog_of_each_reader_can_be_asked_from_outside(tmp_path: Path) -> None:
    site = Site(tmp_path)
    latest = {"latest-data": 0, "latest-alarm": 0}
    assert backlog(site) == {"data": 0, "alarm": 0, "stranger": 0, "alarm-events": 0, "events": 0} | latest
    journals = Journals(site, 1 << 20, 1 << 20)
    for stream in (DATA, ALARM):
        journals.streams[stream].append(b"12345", NOW_US)
        journals.streams[stream].commit()
    size = HEADER.size + 5
    site.state.mkdir()
    write_json(cursor_path(site, "alarm"), {"position": size}, durable=True)
    assert backlog(site) == {
        "data": size,
        "alarm": 0,
        "stranger": 0,
        "alarm-events": size,
        "events": 0,
        "latest-data": size,
        "latest-alarm": size,
    }
    journals.close()


def test_positions_are_never_used_again_even_when_somebody_removed_the_journal(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.state.mkdir()
    write_json(cursor_path(site, "data"), {"position": 1000}, durable=True)
    journals = Journals(site, 1 << 20, 1 << 20)
    journals.streams[DATA].append(b"12345", NOW_US)
    journals.streams[DATA].commit()
    chunk = read(site.journal / DATA, 1000, journals.end(DATA), 1000)
    assert [record.position for record in chunk.records] == [1000]
    assert backlog(site)["data"] == HEADER.size + 5
    journals.close()

    (segment,) = [path for _, path in segments(site.journal / DATA)]
    segment.rename(segment.with_name(f"{0:020d}.journal"))  # older than the cursor says
    journals = Journals(site, 1 << 20, 1 << 20)
    assert journals.end(DATA) == 1000
    journals.close()


def test_rejected_bytes_keep_their_reason_whatever_they_are() -> None:
    assert split_bad(bad_payload("BAD_CRC", "CRC is 0000,\nexpected B042", b"\n\x00\n")) == (
        "BAD_CRC",
        "CRC is 0000, expected B042",
        b"\n\x00\n",
    )
    assert BAD == "bad"


def test_a_site_is_held_by_one_process(tmp_path: Path) -> None:
    site = Site(tmp_path)
    held = lock_site(site)
    with pytest.raises(SiteBusy, match="already runs"):
        lock_site(site)
    os.close(held)
    os.close(lock_site(site))


def test_what_was_received_in_a_time_lies_between_the_positions_of_few_segments(tmp_path: Path) -> None:
    assert stretch(tmp_path / "nothing", 0, NOW_US) == (0, 0)
    journal = Journal(tmp_path, segment_bytes=200)
    for second in range(100):
        journal.append(b"payload %03d" % second, NOW_US + second * 1_000_000)
        journal.commit()
    journal.close()
    for first, behind in ((0, 1), (10, 20), (37, 38), (95, 100), (-50, 3), (99, 500), (-9, 900)):
        from_us, to_us = NOW_US + first * 1_000_000, NOW_US + behind * 1_000_000
        begin, end = stretch(tmp_path, from_us, to_us)
        records = [record for chunk in walk(tmp_path, begin) for record in chunk.records if record.position < end]
        wanted = [b"payload %03d" % second for second in range(max(first, 0), min(behind, 100))]
        assert [record.payload for record in records if from_us <= record.received_us < to_us] == wanted
        assert len(records) <= len(wanted) + 12, "no more than the segments at both ends"
