"""Which readings may share a point: found from runs of rising times, the same as by looking at every pair."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.contract.schema import READING
from ingest_daemon.forwarding.terminal_state import TerminalState
from ingest_daemon.stores.points import overlaps, runs, sift

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
POINTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12)), max_size=30)


def readings(points: list[tuple[str, int]]) -> pl.DataFrame:
    rows = [
        dict.fromkeys(READING) | {"terminal": name, "ts": NOON + timedelta(minutes=minute), "received_at": NOON, "frame": number}
        for number, (name, minute) in enumerate(points)
    ]
    return pl.DataFrame(rows, schema=READING)


@given(POINTS)
def test_runs_cover_all_readings_and_a_point_that_comes_twice_is_an_overlap(points: list[tuple[str, int]]) -> None:
    table = runs(readings(points))
    assert table["rows"].sum() == len(points)
    twice = {name for (name, _), count in Counter(points).items() if count > 1}
    assert twice <= set(overlaps(table))


@given(POINTS, POINTS)
def test_suspects_are_the_readings_that_are_not_newer_than_all_stored_or_come_twice(
    before: list[tuple[str, int]], points: list[tuple[str, int]]
) -> None:
    state = TerminalState()
    state.note(runs(readings(before)))
    newest = {name: max(minute for other, minute in before if other == name) for name, _ in before}
    counts = Counter(points)
    wanted = [minute <= newest.get(name, -1) or counts[name, minute] > 1 for name, minute in points]
    assert state.suspects(readings(points), runs(readings(points))).to_list() == wanted


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8))
def test_sifted_readings_are_in_the_order_of_their_arrival(arrivals: list[tuple[int, int]]) -> None:
    rows = readings([("a", number) for number in range(len(arrivals))]).with_columns(
        received_at=pl.Series([NOON + timedelta(seconds=second) for second, _ in arrivals], dtype=READING["received_at"]),
        frame=pl.Series([frame for _, frame in arrivals], dtype=pl.Int64),
    )
    good = sift(rows).good
    assert good.rows() == rows.sort("received_at", "frame", maintain_order=True).rows()
