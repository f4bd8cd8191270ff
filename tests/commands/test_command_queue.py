"""Questions that wait for their terminal: filed once, put within limits, never lost, and nothing else than questions."""

import itertools
import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from ingest_daemon.codec_kit.api import CommandType
from ingest_daemon.commands import queue as module
from ingest_daemon.commands.queue import CommandQueue, CommandRefused, CommandSettings, open_commands, read_commands
from ingest_daemon.contract.site import Site

NOON = datetime(2026, 7, 1, 4, tzinfo=UTC)
ONE, OTHER = "0000000001", "0000000002"
HOUR = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def asked(site: Site, kind: str = "now", terminal: str = ONE, now: datetime = NOON, **more: Any) -> list[str]:
    return open_commands(site, more.pop("settings", CommandSettings())).file(terminal, kind, by="test", now=now, **more)


def opened(site: Site, settings: CommandSettings | None = None, now: datetime = NOON) -> CommandQueue:
    asks = CommandQueue(site, settings or CommandSettings())
    asks.tidy(now, start=True)
    return asks


def test_a_question_goes_from_waiting_to_answered_and_every_process_sees_it(site: Site) -> None:
    (name,) = asked(site)
    daemon = opened(site)
    assert daemon.terminals() == [ONE]
    assert [each.id for each in daemon.waiting(ONE, NOON)] == [name]
    daemon.sent(name, NOON + HOUR)
    assert daemon.waiting(ONE, NOON) == []
    daemon.answered(name, "alarm", 4711, NOON + 2 * HOUR)
    (found,) = read_commands(site)
    assert (found.state, found.tries, found.sent_at, found.finished_at, found.stream, found.frame) == (
        "answered",
        1,
        NOON + HOUR,
        NOON + 2 * HOUR,
        "alarm",
        4711,
    )
    assert daemon.terminals() == []


def test_a_question_filed_while_the_daemon_runs_is_found_at_the_next_look(site: Site) -> None:
    daemon = opened(site)
    assert daemon.waiting(ONE, NOON) == []
    for count in range(1, 5):
        asked(site, "now", f"{count:010d}")
        daemon.refresh()
        assert len(daemon.terminals()) == count


def test_what_did_not_change_is_not_read_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(site)
    daemon = opened(site)
    long_ago = 1_000_000_000 * 10**9
    os.utime(module.folder(site), ns=(long_ago, long_ago))
    daemon.refresh()
    monkeypatch.setattr(os, "scandir", lambda _: pytest.fail("the folder was read again"))
    daemon.refresh()
    assert daemon.terminals() == [ONE]


@pytest.mark.parametrize("kind", [kind for kind in CommandType if kind not in (CommandType.HISTORY, CommandType.SET_CLOCK)])
def test_the_same_question_twice_is_one_while_it_waits(site: Site, kind: CommandType) -> None:
    first = asked(site, kind)
    assert asked(site, kind, now=NOON + HOUR) == first
    assert asked(site, kind, OTHER) != first
    daemon = opened(site)
    daemon.sent(first[0], NOON)
    daemon.answered(first[0], "data", 0, NOON)
    assert asked(site, kind) != first


@given(minutes=st.integers(1, 40 * 24 * 60))
@tuned(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_long_span_becomes_questions_of_at_most_a_day_that_make_up_the_span(
    tmp_path_factory: pytest.TempPathFactory, minutes: int
) -> None:
    site = Site(tmp_path_factory.mktemp("site"))
    start = NOON - timedelta(minutes=minutes)
    names = asked(site, "history", start=start, end=NOON, field="pressure_mpa")
    parts = [(each.start, each.end) for each in read_commands(site)]
    parts.sort(key=lambda part: part[0] or NOON)
    assert len(names) == len(parts)
    assert (parts[0][0], parts[-1][1]) == (start, NOON)
    assert all(end is not None and begin is not None and begin < end <= begin + timedelta(hours=24) for begin, end in parts)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))


@pytest.mark.parametrize(
    ("kind", "more", "told"),
    [
        ("reboot", {}, "reboot: cannot be asked; allowed: now, history, clock, set-clock"),
        ("set-clock", {}, r"\[commands\] set_clock = true"),
        ("history", {}, "expected a begin and an end"),
        ("history", {"start": NOON, "end": NOON}, "expected a begin and an end"),
        ("history", {"start": NOON - HOUR, "end": NOON + HOUR}, "not in the future"),
        ("history", {"start": NOON - HOUR, "end": NOON, "field": "colour"}, "allowed: forward_m3"),
        ("history", {"start": NOON - 70 * 24 * HOUR, "end": NOON}, r"\[commands\] per_terminal"),
        ("now", {"start": NOON - HOUR, "end": NOON}, "for history only"),
    ],
)
def test_what_must_not_be_asked_says_what_is_allowed_and_leaves_nothing(
    site: Site, kind: str, more: dict[str, Any], told: str
) -> None:
    with pytest.raises(CommandRefused, match=told):
        asked(site, kind, **more)
    assert read_commands(site) == []


def test_a_clock_is_set_where_the_setting_allows_it_and_no_longer_when_it_is_taken_back(site: Site) -> None:
    allowed = CommandSettings(set_clock=True)
    (name,) = asked(site, "set-clock", settings=allowed)
    assert [each.id for each in opened(site, allowed).waiting(ONE, NOON)] == [name]
    assert opened(site).waiting(ONE, NOON) == []
    (found,) = read_commands(site)
    assert found.state == "refused"
    assert "[commands] set_clock" in found.detail


def test_a_contact_and_a_day_have_their_limits(site: Site) -> None:
    limits = CommandSettings(per_contact=2, per_day=3)
    asked(site, "history", start=NOON - 6 * 24 * HOUR, end=NOON)
    daemon = opened(site, limits)
    put = []
    for contact in range(4):
        now = NOON + contact * HOUR
        batch = daemon.waiting(ONE, now)
        put.append(len(batch))
        for each in batch:
            daemon.sent(each.id, now)
            daemon.answered(each.id, "data", 0, now)
    assert put == [2, 1, 0, 0]
    assert len(daemon.waiting(ONE, NOON + 25 * HOUR)) == 2


def test_what_is_not_answered_waits_for_the_next_contact_and_fails_after_so_many(site: Site) -> None:
    (name,) = asked(site)
    daemon = opened(site)
    for contact in range(3):
        assert [each.id for each in daemon.waiting(ONE, NOON)] == [name], contact
        daemon.sent(name, NOON)
        daemon.unanswered(name, NOON)
    assert daemon.waiting(ONE, NOON) == []
    (found,) = read_commands(site)
    assert (found.state, found.tries) == ("failed", 3)


def test_what_was_in_flight_when_the_daemon_was_killed_waits_again(site: Site) -> None:
    (name,) = asked(site)
    opened(site).sent(name, NOON)
    restarted = opened(site)
    assert [(each.id, each.tries) for each in restarted.waiting(ONE, NOON)] == [(name, 1)]


def test_what_waits_too_long_expires(site: Site) -> None:
    asked(site)
    daemon = opened(site)
    daemon.tidy(NOON + 168 * HOUR)
    assert daemon.terminals() == [ONE]
    daemon.tidy(NOON + 168 * HOUR + timedelta(seconds=1))
    assert daemon.terminals() == []
    assert [each.state for each in read_commands(site)] == ["expired"]


def test_old_finished_questions_go_and_open_ones_stay(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FINISHED_KEPT", 3)
    daemon = opened(site)
    for number in range(6):
        (name,) = asked(site, terminal=f"{number:010d}", now=NOON + number * HOUR)
        daemon.refresh()
        if number % 6:
            daemon.sent(name, NOON)
            daemon.answered(name, "data", number, NOON + number * HOUR)
    daemon.tidy(NOON)
    assert [(each.terminal[-1], each.state) for each in read_commands(site)] == [
        ("0", "waiting"),
        ("3", "answered"),
        ("4", "answered"),
        ("5", "answered"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"kind": "reset"}', "null"],
)
def test_a_file_that_is_no_question_is_passed_over_and_stays(site: Site, text: str) -> None:
    (name,) = asked(site)
    broken = module.folder(site) / "broken.json"
    broken.write_text(text)
    daemon = opened(site)
    assert [each.id for each in daemon.waiting(ONE, NOON)] == [name]
    assert broken.read_text() == text


def test_a_kind_written_by_hand_into_a_file_is_never_put(site: Site) -> None:
    (name,) = asked(site)
    path = module.folder(site) / f"{name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "kind": "erase"}))
    assert opened(site).waiting(ONE, NOON) == []


def test_the_index_in_memory_is_what_lies_on_disk_whatever_happens(site: Site) -> None:
    chance, now = random.Random(5), NOON
    daemon = opened(site, CommandSettings(tries=2))
    for _ in range(150):
        now += timedelta(minutes=chance.randint(1, 90))
        terminal = chance.choice([ONE, OTHER])
        for each in steps(daemon, site, terminal, now, chance):
            if chance.random() < 0.5:
                daemon.unanswered(each, now)
            else:
                daemon.answered(each, "data", 1, now)
    daemon.tidy(now)
    assert daemon.all() == read_commands(site)
    assert {each.state for each in daemon.all()} >= {"answered", "failed"}


def steps(daemon: CommandQueue, site: Site, terminal: str, now: datetime, chance: random.Random) -> Iterator[str]:
    """File a question, look, and put what waits; gives the ids of what was put."""
    asked(site, chance.choice(["now", "clock", "version"]), terminal, now)
    daemon.refresh()
    for each in daemon.waiting(terminal, now):
        daemon.sent(each.id, now)
        yield each.id


def test_what_a_codec_is_asked_has_the_span_and_the_meters_address(site: Site) -> None:
    asked(site, "history", start=NOON - HOUR, end=NOON)
    (each,) = read_commands(site)
    ask = each.ask("07", NOON)
    assert (ask.kind, ask.terminal, ask.address, ask.start, ask.end, ask.field) == (
        CommandType.HISTORY,
        ONE,
        "07",
        NOON - HOUR,
        NOON,
        "forward_m3",
    )
    assert replace(each, by="other", id="other").wish() == each.wish()
