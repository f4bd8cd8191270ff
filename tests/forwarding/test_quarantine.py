"""Ledgers of what was kept aside: bounded where a terminal repeats itself, and a kill leaves what can be adopted and counted."""

import json
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_daemon.contract.schema import Reason
from ingest_daemon.forwarding import quarantine as kept
from ingest_daemon.forwarding.quarantine import (
    QuarantineEntry,
    UnknownTerminal,
    add_entries,
    mark_adopted,
    unadopted_entries,
    unknown_terminals,
)
from ingest_daemon.forwarding.quarantine import counts as quarantine_counts
from ingest_daemon.journal.envelope import RecordHeader
from tests.daemon_helpers import STRANGER, Client, eventually, frame, make_site, minutes_ago, running

WAY = RecordHeader("sl651")
FROM_US = 1_780_000_000_000_000
LEDGER = "UNKNOWN_TERMINAL.jsonl"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers are merged early."""
    monkeypatch.setattr(kept, "MERGE_BYTES", 2048)


def entry(position: int, terminal: str = STRANGER, raw: bytes = b"the same frame") -> QuarantineEntry:
    """A frame of an unknown terminal; its time of reception follows from its position."""
    detail = f"{terminal} is not in registry/terminals.csv"
    return QuarantineEntry(Reason.UNKNOWN_TERMINAL, "data", position, FROM_US + position, terminal, None, detail, WAY, raw)


@pytest.mark.usefixtures("small")
def test_a_frame_that_is_repeated_for_ever_fills_no_disk_and_is_counted_with_its_first_and_last_time(tmp_path: Path) -> None:
    for position in range(600):
        add_entries(tmp_path, [entry(position)])
        assert (tmp_path / LEDGER).stat().st_size < 3 * kept.MERGE_BYTES
    assert unknown_terminals(tmp_path) == {STRANGER: UnknownTerminal(FROM_US, FROM_US + 599, 600)}
    assert quarantine_counts(tmp_path) == {"UNKNOWN_TERMINAL": 600}
    assert next(unadopted_entries(tmp_path)).raw == b"the same frame"


@pytest.mark.usefixtures("small")
def test_frames_that_differ_are_all_there_however_many_they_are(tmp_path: Path) -> None:
    entries = [entry(number, f"{number % 7:010d}", b"%d" % number) for number in range(200)]
    for one in entries:
        add_entries(tmp_path, [one])
    assert [(found.position, found.terminal, found.raw) for found in unadopted_entries(tmp_path)] == [
        (one.position, one.terminal, one.raw) for one in entries
    ]


class Killed(BaseException):
    """Nothing that any code would catch."""


def killed(*_: object) -> None:
    raise Killed


@pytest.mark.usefixtures("small")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_a_kill_at_any_moment_loses_no_frame_and_counts_none_twice(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A group is written and the process dies before its cursor moves, or while it writes, or while it merges."""
    folder, chance = tmp_path_factory.mktemp("kept"), random.Random(seed)
    said = [(f"{chance.randrange(4):010d}", b"frame %d" % chance.randrange(3)) for _ in range(200)]
    entries = [entry(number, terminal, raw) for number, (terminal, raw) in enumerate(said)]
    at = 0
    while at < len(entries):
        group = entries[at : at + chance.randrange(1, 20)]
        match chance.randrange(5):
            case 0:  # killed after the ledger, before the cursor
                add_entries(folder, group)
            case 1:  # killed within a line
                add_entries(folder, group)
                path = folder / LEDGER
                path.write_bytes(path.read_bytes()[: -chance.randrange(1, 40)])
            case 2:  # killed within a merge, if one was due: before the new ledger takes the place of the old one
                with monkeypatch.context() as killing, suppress(Killed):
                    killing.setattr(Path, "replace", killed)
                    add_entries(folder, group)
            case _:
                add_entries(folder, group)
                at += len(group)
    assert {(found.terminal, found.raw) for found in unadopted_entries(folder)} == set(said)
    found = unknown_terminals(folder)
    assert {terminal: one.frames for terminal, one in found.items()} == Counter(terminal for terminal, _ in said)
    for terminal, one in found.items():
        times = [FROM_US + number for number, (name, _) in enumerate(said) if name == terminal]
        assert (one.first_us, one.last_us) == (times[0], times[-1])


@pytest.mark.usefixtures("small")
def test_what_was_adopted_stays_adopted_when_its_ledger_is_merged(tmp_path: Path) -> None:
    add_entries(tmp_path, [entry(0), entry(1, "0000000002")])
    mark_adopted(tmp_path, {("data", 0): STRANGER})
    for position in range(2, 100):
        add_entries(tmp_path, [entry(position, "0000000002")])
    assert unknown_terminals(tmp_path) == {"0000000002": UnknownTerminal(FROM_US + 1, FROM_US + 99, 99)}


@pytest.mark.usefixtures("small")
def test_a_damaged_line_is_left_where_it_is_and_holds_no_merge_up(tmp_path: Path) -> None:
    add_entries(tmp_path, [entry(0)])
    with (tmp_path / LEDGER).open("ab") as file:
        file.write(b"no JSON\n")
    for position in range(1, 100):
        add_entries(tmp_path, [entry(position)])
    lines = (tmp_path / LEDGER).read_bytes().splitlines()
    assert b"no JSON" in lines
    assert json.loads(lines[0])["frames"] > 1


def test_a_terminal_that_is_ignored_and_calls_on_is_told_with_its_count(tmp_path: Path) -> None:
    site = make_site(tmp_path, "[access]\nunknown = 'ignore'\n")
    raw = frame(STRANGER, minutes_ago(1), 1.0)
    with running(site) as daemon:
        for _ in range(3):
            client = Client(daemon.data_port)
            client.send(raw)
            assert client.is_silent(0.2)
            client.close()
        eventually(lambda: quarantine_counts(site.quarantine) == {"UNKNOWN_TERMINAL": 3}, "each is counted")
    ((terminal, found),) = unknown_terminals(site.quarantine).items()
    assert (terminal, found.frames) == (STRANGER, 3)
    assert found.first_us < found.last_us


def test_ledgers_stay_within_their_budget_and_the_largest_loses_its_oldest_entries_which_are_counted(tmp_path: Path) -> None:
    small = entry(0, "0000000007")._replace(reason=Reason.CONFLICT)
    add_entries(tmp_path, [small])
    dropped: Counter[str] = Counter()
    for position in range(1000):
        dropped += add_entries(tmp_path, [entry(position, raw=b"%d" % position)], budget_bytes=50_000).dropped
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 50_000
    left = [found.position for found in unadopted_entries(tmp_path)]
    assert left == list(range(dropped["UNKNOWN_TERMINAL"], 1000)), "the newest are there, without a gap"
    assert set(dropped) == {"UNKNOWN_TERMINAL"}
    assert quarantine_counts(tmp_path)["CONFLICT"] == 1, "a small ledger of others loses nothing"


def test_the_note_of_what_was_adopted_forgets_frames_that_were_dropped(tmp_path: Path) -> None:
    for position in range(200):
        add_entries(tmp_path, [entry(position, raw=b"%d" % position)])
    mark_adopted(tmp_path, {("data", position): STRANGER for position in range(200)})
    before = (tmp_path / "adopted.jsonl").stat().st_size
    dropped = add_entries(tmp_path, [entry(200, raw=b"200")], budget_bytes=60_000).dropped["UNKNOWN_TERMINAL"]
    assert dropped > 0
    assert (tmp_path / "adopted.jsonl").stat().st_size < before
    assert [found.position for found in unadopted_entries(tmp_path)] == [200]
