"""Which days wait: nothing that came is forgotten, whatever is killed when, and nothing waits without a reason."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.workbench import Workbench
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import StoreAway
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.runs import touched
from pipelines.runs.run import run_touched
from pipelines.runs.touched import Waiting
from tests.figures import readings, terminals

ZONE = ZoneInfo("Asia/Shanghai")
HOLE = timedelta(hours=2)
FIRST, SECOND, THIRD = date(2025, 6, 1), date(2025, 6, 2), date(2025, 6, 3)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


class Fixture:
    """A raw store of its own folder with the days that wait beside it."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.store = ParquetStore(root / "raw")

    def arrive(self, *times: str, register: float = 100.0) -> None:
        at = sorted(local(time) for time in times)
        self.store.write(readings(at, forward_m3=[register + step for step in range(len(at))]))

    def waiting(self) -> Waiting:
        return touched.waiting(self.state, self.store, ZONE, HOLE)


@pytest.fixture
def site(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


@pytest.mark.parametrize(
    ("times", "days"),
    [
        (["2025-06-02T12:00"], [SECOND]),
        (["2025-06-02T23:50"], [SECOND, THIRD]),
        (["2025-06-02T00:00"], [FIRST, SECOND]),
        (["2025-06-02T00:10"], [FIRST, SECOND]),
        (["2025-06-02T02:00"], [FIRST, SECOND]),
        (["2025-06-02T02:01"], [SECOND]),
        (["2025-06-01T12:00", "2025-06-03T12:00"], [FIRST, THIRD]),
        (
            [f"2025-06-01T{hour:02}:00" for hour in range(12, 24)] + [f"2025-06-02T{hour:02}:00" for hour in range(12)],
            [FIRST, SECOND],
        ),
    ],
)
def test_a_reading_touches_its_day_and_near_midnight_the_neighbour(site: Fixture, times: list[str], days: list[date]) -> None:
    site.arrive(*times)
    assert site.waiting().live == days


def test_nothing_new_leaves_nothing_waiting(site: Fixture) -> None:
    assert site.waiting().live == []
    site.arrive("2025-06-02T12:00")
    waiting = site.waiting()
    touched.done_live(site.state, waiting.live, waiting.generation)
    assert site.waiting() == Waiting([], waiting.live, waiting.generation), "the analysis follows the live figures"
    touched.done_analysis(site.state, waiting.live)
    assert site.waiting() == Waiting([], [], waiting.generation)


def test_a_day_waits_until_it_is_done_however_often_it_is_asked_for(site: Fixture) -> None:
    """A run that is killed between taking the arrivals and the end has done nothing: the next one finds the same days."""
    site.arrive("2025-06-02T12:00")
    assert [site.waiting().live for _ in range(3)] == [[SECOND]] * 3


def test_a_reading_that_comes_while_its_day_is_computed_leaves_the_day_waiting(site: Fixture) -> None:
    site.arrive("2025-06-01T12:00", "2025-06-02T12:00")
    taken = site.waiting()
    site.arrive("2025-06-02T13:00")
    noticed_by_the_sensor = site.waiting()
    assert noticed_by_the_sensor.live == [FIRST, SECOND]
    touched.done_live(site.state, taken.live, taken.generation)
    assert site.waiting().live == [SECOND]


def test_a_reading_that_nobody_noticed_before_the_run_ended_is_found_after_it(site: Fixture) -> None:
    site.arrive("2025-06-02T12:00")
    taken = site.waiting()
    site.arrive("2025-06-02T13:00")
    touched.done_live(site.state, taken.live, taken.generation)
    assert site.waiting().live == [SECOND]


def test_the_same_reading_again_is_computed_again_and_no_more(site: Fixture) -> None:
    for _ in range(2):
        site.arrive("2025-06-02T12:00")
        waiting = site.waiting()
        assert waiting.live == [SECOND]
        touched.done_live(site.state, waiting.live, waiting.generation)
    assert site.waiting().live == []


def test_doing_part_of_the_days_leaves_the_others(site: Fixture) -> None:
    site.arrive("2025-06-01T12:00", "2025-06-02T12:00", "2025-06-03T12:00")
    waiting = site.waiting()
    touched.done_live(site.state, [FIRST, THIRD, date(2030, 1, 1)], waiting.generation)
    assert site.waiting().live == [SECOND]


def test_a_store_that_is_away_loses_no_day(site: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    site.arrive("2025-06-02T12:00")
    assert site.waiting().live == [SECOND]
    site.arrive("2025-06-03T12:00")

    def away(cursor: str | None) -> None:
        raise StoreAway("refused")

    with monkeypatch.context() as patch:
        patch.setattr(site.store, "arrivals", away)
        with pytest.raises(StoreAway):
            site.waiting()
    assert site.waiting().live == [SECOND, THIRD]


def test_a_half_written_file_of_a_killed_process_does_no_harm(site: Fixture) -> None:
    site.arrive("2025-06-02T12:00")
    site.waiting()
    (site.state / "touched.new").write_text('{"cursor": "9')
    assert site.waiting().live == [SECOND]


Event = tuple[str, int]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["arrive", "take", "done"]), st.integers(0, 5)), max_size=25))
def test_every_day_is_computed_after_its_last_reading_came(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> None:
    """Any order of arrivals, sensors and runs: a day is owed from its reading until a run that took it later is done."""
    site = Fixture(tmp_path_factory.mktemp("touched"))
    owed: set[date] = set()
    seen_since: set[date] = set()
    taken: Waiting | None = None
    for what, number in events:
        day = date(2025, 6, 10 + 2 * number)
        if what == "arrive":
            site.arrive(f"{day}T12:00")
            owed.add(day)
            seen_since.add(day)
        elif what == "take":
            taken = site.waiting()
            assert set(taken.live) == owed
            seen_since = set()
        elif taken:
            touched.done_live(site.state, taken.live, taken.generation)
            owed -= set(taken.live) - seen_since
            taken = None
    assert set(site.waiting().live) == owed


def bench(root: Path) -> Workbench:
    site = Site(root)
    site.registry.mkdir(parents=True)
    terminals({}).write_csv(site.registry / "terminals.csv")
    return Workbench(site, "", ZONE, HOLE, ParquetStore(site.raw), lambda: None, "", 0)


@pytest.mark.usefixtures("few_tables")
def test_a_run_that_fails_on_its_way_leaves_its_days_to_the_next(tmp_path: Path) -> None:
    site = bench(tmp_path)
    at = [local("2025-06-02T12:00") + timedelta(minutes=15 * step) for step in range(3)]
    site.store.write(readings(at, forward_m3=[1.0, 2.0, 3.0]))

    def power_cut(made: str, step: int, of: int) -> None:
        if step == of - 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_touched(site, "test", power_cut)
    outcome = run_touched(site, "test")
    assert (outcome.days, outcome.readings_read) == ([SECOND], 3)
    assert run_touched(site, "test").days == []


@pytest.mark.usefixtures("few_tables")
def test_a_reading_that_comes_during_the_run_is_computed_by_the_next(tmp_path: Path) -> None:
    site = bench(tmp_path)
    at = [local("2025-06-02T12:00") + timedelta(minutes=15 * step) for step in range(3)]
    site.store.write(readings(at, forward_m3=[1.0, 2.0, 3.0]))
    late = readings([local("2025-06-02T12:45")], forward_m3=[9.0])
    written: list[pl.DataFrame] = []

    def arrives(made: str, step: int, of: int) -> None:
        if not written and step > of / 2:
            written.append(late)
            site.store.write(late)

    assert run_touched(site, "test", arrives).readings_read == 3
    assert run_touched(site, "test").readings_read == 4
    assert run_touched(site, "test").days == []
