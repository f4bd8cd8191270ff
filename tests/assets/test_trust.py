"""How far the data can be trusted: quality score, reading success, gaps and quarantine, through whole runs of a small site."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from assets import calendar, tables, warehouse
from ingest_daemon.commands.queue import read_commands
from ingest_daemon.contract.schema import TIMESTAMP, Reason
from ingest_daemon.contract.settings import Settings
from pipelines.runs import touched
from pipelines.runs.bench import workbench
from pipelines.runs.run import Run, run_days, run_touched
from tests.cases.figure_site import only
from tests.site_helpers import deliver, local_days, make_site, series

ZONE = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
FIRST_DAY = date(2024, 4, 1)
FIRST = calendar.midnight(FIRST_DAY, ZONE)
DAYS = 12
FAULTY = date(2024, 4, 11)
"""A Thursday; the working days before it are its like days."""


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with warehouse.opened(settings.folder.marts, str(ZONE)) as connection:
        return connection.execute(query).fetchall()


def make(settings: Settings, name: str, days: list[date] | None = None) -> list[date]:
    """Make one table and what it is made from, of the waiting days or of these; gives the days."""
    bench = workbench(settings)
    waiting = touched.waiting(bench.site.state, bench.store, bench.zone, bench.max_hole)
    names, following = set(), {name}
    steps = {step.name: step for step in tables.figures()}
    while following:
        names |= following
        following = {dep for own in following for dep in steps[own].deps if dep in steps} - names
    run = Run(bench, days or waiting.live, "test")
    with run.opened() as connection:
        for step in tables.figures():
            if step.name in names:
                run.make(connection, step)
                assert [finding for finding in run.examine(connection, step) if finding.offending] == []
    touched.done_live(bench.site.state, run.days, waiting.generation)
    return run.days


def good(terminal: str, days: int = DAYS) -> pl.DataFrame:
    """Hourly readings without a fault, a minute under way."""
    readings = series(terminal, FIRST, 24 * days + 1, HOUR, lambda index: 10.0 + index % 24)
    return readings.with_columns(battery_v=pl.lit(3.6), signal=pl.lit(25, pl.Int64))


def of_faulty_day(readings: pl.DataFrame, **changes: pl.Expr) -> pl.DataFrame:
    """The readings with columns changed on the faulty day."""
    start = calendar.midnight(FAULTY, ZONE)
    is_own = (pl.col("ts") > start) & (pl.col("ts") <= start + 24 * HOUR)
    return readings.with_columns(
        pl.when(is_own).then(change).otherwise(pl.col(name)).alias(name) for name, change in changes.items()
    )


NOON = calendar.midnight(FAULTY, ZONE) + 12 * HOUR

FAULTS: list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame], dict[str, float]]] = [
    ("no fault", lambda rows: rows, {}),
    (
        "6 of 24 readings are missing",
        lambda rows: rows.filter((pl.col("ts") <= NOON) | (pl.col("ts") > NOON + 6 * HOUR)),
        {"completeness": 10.0},
    ),
    (
        "all readings came two days late",
        lambda rows: of_faulty_day(rows, received_at=pl.col("received_at") + 48 * HOUR),
        {"timeliness": 10.0},
    ),
    (
        "all readings came five days late",
        lambda rows: of_faulty_day(rows, received_at=pl.col("received_at") + 120 * HOUR),
        {"timeliness": 20.0},
    ),
    (
        "the pressure is refused",
        lambda rows: of_faulty_day(rows, pressure_mpa=pl.lit(5.0)),
        {"vee": 5.0},
    ),
    (
        "the register jumps further than water flows",
        lambda rows: rows.with_columns(
            forward_m3=pl.col("forward_m3") + pl.when(pl.col("ts") > NOON).then(50_000.0).otherwise(0.0)
        ),
        {"sum": 10.0},
    ),
    (
        "the clock is ahead",
        lambda rows: of_faulty_day(rows, received_at=pl.col("ts") - timedelta(minutes=4)),
        {"clock": 5.0},
    ),
    (
        "the clock is behind",
        lambda rows: of_faulty_day(rows, received_at=pl.col("ts") + timedelta(minutes=9)),
        {"clock": 5.0},
    ),
    ("the battery is low", lambda rows: of_faulty_day(rows, battery_v=pl.lit(3.29)), {"battery": 3.0}),
    ("the signal is weak", lambda rows: of_faulty_day(rows, signal=pl.lit(4, pl.Int64)), {"signal": 2.0}),
]
"""A fault a dimension of the score, and the points that it costs."""

PARTS = {"completeness": 40.0, "timeliness": 20.0, "vee": 20.0, "sum": 10.0, "clock": 5.0, "battery": 3.0, "signal": 2.0}


@pytest.fixture(scope="module", autouse=True)
def few_tables() -> Iterator[None]:
    """Runs make what is looked at here, and what that is made from."""
    with only(("delivery_day", "gap", "quality_score", "quarantine", "reading_success")):
        yield


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A site with a meter a fault, M0 without any, and M99, which never sent."""
    terminals = [{"terminal": f"{place:03}", "meter": f"M{place}"} for place in (*range(len(FAULTS)), 99)]
    readings = pl.concat(break_it(good(f"{place:03}")) for place, (_, break_it, _) in enumerate(FAULTS))
    settings = make_site(tmp_path_factory.mktemp("scored") / "site", terminals, readings)
    run_touched(workbench(settings), "test")
    return settings


@pytest.mark.parametrize(("place", "fault"), [(place, fault) for place, (fault, _, _) in enumerate(FAULTS)])
def test_a_fault_lowers_its_own_part_of_the_score_by_the_documented_points(scored: Settings, place: int, fault: str) -> None:
    columns = ", ".join(f"{part}_points" for part in PARTS)
    ((score, version, *points),) = rows(
        scored, f"select score, version, {columns} from quality_score where meter = 'M{place}' and day = '{FAULTY}'"
    )
    lost = FAULTS[place][2]
    assert dict(zip(PARTS, points, strict=True)) == pytest.approx(
        {part: most - lost.get(part, 0) for part, most in PARTS.items()}
    ), fault
    assert (score, version) == (pytest.approx(100 - sum(lost.values())), 1)


def test_a_meter_without_any_reading_scores_nothing_and_has_no_other_part(scored: Settings) -> None:
    found = rows(
        scored, "select distinct score, completeness_points, vee_points, readings from quality_score where meter = 'M99'"
    )
    assert found == [(0.0, 0.0, None, 0)]


def test_the_share_of_meters_read_is_that_of_a_count_by_hand(scored: Settings) -> None:
    # Ten meters send each day, M99 never. Of the faulty day M3 has nothing in time; the days around it are within its window.
    columns = "window_days, meters, meters_read, share, target_share, met"
    found = rows(scored, f"select distinct {columns} from reading_success where day >= '{FIRST_DAY}'")
    assert found == [(3, 11, 10, 10 / 11, 0.985, False)]


def test_a_change_of_the_score_holds_from_its_first_day_and_changes_no_day_before(scored: Settings) -> None:
    query = "select meter, day, score, version from quality_score where day < '2024-04-12' order by all"
    before = rows(scored, query)
    (scored.folder.registry / "criteria.csv").write_text(
        "name,value,valid_from\nquality.version,2,2024-04-12\nquality.battery_points,0,2024-04-12\nquality.vee_points,23,2024-04-12\n"
    )
    run_touched(workbench(scored), "test")
    assert rows(scored, query) == before
    later = rows(scored, "select score, version, battery_points from quality_score where day = '2024-04-12' and meter = 'M0'")
    assert later == [(100.0, 2, 0.0)]


def success(settings: Settings) -> dict[date, int]:
    return dict(rows(settings, f"select day, meters_read from reading_success where day >= '{FIRST_DAY}' order by day"))


def test_a_meter_counts_as_read_for_three_days_if_a_reading_had_come_by_then(tmp_path: Path) -> None:
    whole = good("001", 10)
    silent = whole.filter(pl.col("ts") <= FIRST + 2 * 24 * HOUR)
    other = good("002", 10)
    settings = make_site(
        tmp_path / "site", [{"terminal": "001", "meter": "M1"}, {"terminal": "002", "meter": "M2"}], pl.concat([silent, other])
    )
    make(settings, "reading_success")
    days = local_days(FIRST_DAY, 10)
    expected = dict(zip(days, [2, 2, 2, 2, 1, 1, 1, 1, 1, 1], strict=True))
    assert success(settings) == expected
    # What comes on the tenth day does not make the days before it read ones.
    late = whole.filter(pl.col("ts") > FIRST + 2 * 24 * HOUR).with_columns(
        received_at=pl.lit(FIRST + 9 * 24 * HOUR + HOUR, TIMESTAMP)
    )
    deliver(settings, late)
    make(settings, "reading_success")
    assert success(settings) == expected | {days[-1]: 2}


def test_a_day_on_which_nobody_sent_is_a_day_without_success(tmp_path: Path) -> None:
    readings = good("001", 10).filter((pl.col("ts") <= FIRST + 24 * HOUR) | (pl.col("ts") > FIRST + 8 * 24 * HOUR))
    settings = make_site(tmp_path / "site", [{"terminal": "001", "meter": "M1"}], readings)
    make(settings, "reading_success")
    assert list(success(settings).values()) == [1, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    assert rows(settings, "select count(*) from quality_score where score = 0") == [(7,)]


# --- gaps ---------------------------------------------------------------------------------------------------------------------

SL651 = "0000000001"


def gaps(settings: Settings) -> list[tuple[Any, ...]]:
    return rows(settings, "select from_at, to_at, intervals, state, first_seen_at from gap order by from_at")


def recent(days: int) -> tuple[datetime, pl.DataFrame]:
    """Hourly readings of the last days, and the hour up to which they go."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return now, series(SL651, now - 24 * days * HOUR, 24 * days + 1, HOUR, lambda _: 6.0)


def without(readings: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """The readings but for those between two instants."""
    return readings.filter((pl.col("ts") <= start) | (pl.col("ts") >= end))


def between(readings: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    return readings.filter((pl.col("ts") > start) & (pl.col("ts") < end))


def test_a_hole_is_noted_once_asked_for_and_closed_by_its_readings(tmp_path: Path) -> None:
    now, readings = recent(4)
    start, end = now - 60 * HOUR, now - 20 * HOUR
    settings = make_site(tmp_path / "site", [{"terminal": SL651, "meter": "M1"}], without(readings, start, end))
    run_touched(workbench(settings), "test")
    ((_, _, _, _, seen),) = gaps(settings)
    assert gaps(settings) == [(start, end, 39, "open", seen)]
    assert abs(seen - datetime.now(UTC)) < timedelta(minutes=10)
    days = [row[0] for row in rows(settings, "select day from unit_day")]
    run_days(workbench(settings), days, "test")
    assert gaps(settings) == [(start, end, 39, "asked", seen)], "the run before has asked for it"

    middle = start + 20 * HOUR
    deliver(settings, between(readings, start, middle))
    run_touched(workbench(settings), "test")
    assert gaps(settings) == [(middle - HOUR, end, 20, "asked", seen)], "a part of it came"
    deliver(settings, between(readings, middle - HOUR, end))
    run_touched(workbench(settings), "test")
    ((_, _, _, state, first),) = gaps(settings)
    assert (state, first) == ("closed", seen)
    ((closed_at,),) = rows(settings, "select closed_at from gap")
    assert closed_at > seen


def test_days_in_any_order_give_the_holes_of_one_run(tmp_path: Path) -> None:
    _, readings = recent(6)
    start = readings["ts"].min()
    assert isinstance(start, datetime)
    holes = [(30, 36), (50, 100), (104, 107), (110, 130)]
    for first, last in holes:
        readings = without(readings, start + first * HOUR, start + last * HOUR)
    one, many = (make_site(tmp_path / name, [{"terminal": SL651, "meter": "M1"}], readings) for name in ("one", "many"))
    days = make(one, "gap")
    for day in (*days[1::2], *days[::2][::-1], days[-1], days[0]):
        make(many, "gap", [day])
    query = "select meter, from_at, to_at, day, intervals from gap where closed_at is null order by from_at"
    assert [(row[1], row[2]) for row in rows(one, query)] == [
        (start + first * HOUR, start + last * HOUR) for first, last in holes
    ]
    assert rows(many, query) == rows(one, query)


def test_a_silence_has_no_end_until_the_meter_reports_again_and_expires_with_the_memory_of_the_logger(tmp_path: Path) -> None:
    now, readings = recent(60)
    start, end = now - 50 * 24 * HOUR, now - 2 * 24 * HOUR
    settings = make_site(tmp_path / "site", [{"terminal": SL651, "meter": "M1"}], readings.filter(pl.col("ts") <= start))
    make(settings, "gap")
    ((_, _, _, _, seen),) = gaps(settings)
    assert gaps(settings) == [(start, None, None, "open", seen)]
    deliver(settings, readings.filter(pl.col("ts") >= end))
    make(settings, "gap")
    assert gaps(settings) == [(start, end, 48 * 24 - 1, "open", seen)], "its last days may still be in the logger"
    deliver(settings, between(readings, start + 24 * HOUR, start + 48 * HOUR))
    make(settings, "gap")
    assert [(row[2], row[3], row[4]) for row in gaps(settings)] == [(24, "expired", seen), (46 * 24, "open", seen)]


def test_a_terminal_that_answers_what_it_is_asked_recovers_every_frame_in_two_rounds(tmp_path: Path) -> None:
    now, readings = recent(6)
    # Frames of four readings, one in twenty of them lost; the newest are not old enough to be asked for.
    frame = (pl.int_range(pl.len()) // 4).alias("frame_no")
    lost = readings.with_columns(frame).filter((pl.col("frame_no") * 7 % 20 == 3) & (pl.col("ts") < now - 10 * HOUR))
    settings = make_site(tmp_path / "site", [{"terminal": SL651, "meter": "M1"}], readings.join(lost, on="ts", how="anti"))
    run_touched(workbench(settings), "test")
    assert {row[3] for row in gaps(settings)} == {"open"}
    for _ in range(2):
        for command in read_commands(settings.folder):
            assert command.start is not None and command.end is not None
            answer = readings.filter(pl.col("ts").is_between(command.start, command.end))
            deliver(settings, answer.join(lost, on="ts", how="semi"))
        run_touched(workbench(settings), "test")
    assert {row[3] for row in gaps(settings)} == {"closed"}
    ((stored,),) = rows(settings, "select sum(readings) from delivery_day")
    assert stored == readings.height


# --- quarantine ---------------------------------------------------------------------------------------------------------------


def line(terminal: str, position: int, received_at: str, **more: Any) -> str:
    """A line of a ledger of quarantine."""
    fields = {"stream": "data", "position": position, "received_at": received_at, "terminal": terminal, "ts": None}
    return pl.DataFrame([{**fields, "detail": "words", "way": "w", "hex": f"{position % 3}A", **more}]).write_ndjson()


def test_the_quarantine_is_counted_by_reason_terminal_and_day(tmp_path: Path) -> None:
    readings = good("001", 2)
    settings = make_site(tmp_path / "site", [{"terminal": "001", "meter": "M1"}], readings)
    folder = settings.folder.quarantine
    folder.mkdir(exist_ok=True)
    morning, evening = "2024-04-01T01:00:00+00:00", "2024-04-01T17:00:00+00:00"
    (folder / "UNKNOWN_TERMINAL.jsonl").write_text(
        line("777", 1, morning) + line("777", 2, evening) + line("777", 2, evening) + line("888", 3, morning) + '{"stream": "da'
    )
    (folder / "adopted.jsonl").write_text(
        '{"stream":"data","position":3,"terminal":"888","adopted_at":"2024-04-02T00:00:00+00:00"}\n'
    )
    (folder / "FUTURE_TIME.jsonl").write_text(
        line("001", 4, morning, frames=5, last_position=9, last_received_at=evening) + "no line at all\n"
    )
    query = "select reason, terminal, day, entries, first_at, last_at, registered, meter, reason_en from quarantine order by all"
    make(settings, "quarantine")
    first, last = datetime.fromisoformat(morning), datetime.fromisoformat(evening)
    unknown = "Terminal not registered"
    expected = [
        ("FUTURE_TIME", "001", date(2024, 4, 1), 5, first, last, True, "M1", "Time ahead of the server"),
        ("UNKNOWN_TERMINAL", "777", date(2024, 4, 1), 1, first, first, False, None, unknown),
        ("UNKNOWN_TERMINAL", "777", date(2024, 4, 2), 1, last, last, False, None, unknown),
    ]
    assert rows(settings, query) == expected
    with (folder / "FUTURE_TIME.jsonl").open("a") as ledger:
        ledger.write(line("001", 11, evening))
    make(settings, "quarantine", [date(2024, 4, 1)])
    assert rows(settings, "select sum(entries) from quarantine") == [(8,)]


def test_every_reason_of_the_daemon_has_words(tmp_path: Path) -> None:
    settings = make_site(tmp_path / "site", [{"terminal": "001", "meter": "M1"}], good("001", 1))
    settings.folder.quarantine.mkdir(exist_ok=True)
    for reason in Reason:
        (settings.folder.quarantine / f"{reason}.jsonl").write_text(line("001", 1, "2024-04-01T01:00:00+00:00"))
    make(settings, "quarantine")
    found = rows(settings, "select reason from quarantine where reason_zh <> '' and reason_en <> ''")
    assert {reason for (reason,) in found} == set(Reason)
