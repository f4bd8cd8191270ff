"""The registry keeps what held when: figures of days gone by do not move, and an edit concerns its own days only."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from assets import calendar, registry_history
from assets.registry_history import Facts, Last
from ingest_daemon.contract.registry_files import FILES

ZONE = ZoneInfo("Asia/Shanghai")
HOLE = timedelta(hours=2)
ROW = {
    "protocol": "sl651",
    "customer_no": "C1",
    "dn_mm": "100",
    "q4_m3h": "125",
    "digits": "7",
    "resolution_m3": "0.1",
    "step_min": "60",
    "reads": "register",
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).astimezone(UTC)


class History:
    """A registry folder with its history; each edit writes terminals.csv (rows: terminal, meter, cells) and takes it over."""

    def __init__(self, root: Path) -> None:
        self.registry, self.kept = root / "registry", root / "history"
        self.registry.mkdir()
        self.last: dict[str, datetime] = {}

    def write(self, *rows: dict[str, str], name: str = "terminals") -> None:
        base = ROW if name == "terminals" else {}
        columns = {column: [{**base, **row}.get(column, "") for row in rows] for column in FILES[name]}
        pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).write_csv(self.registry / f"{name}.csv")

    def edit(self, *rows: dict[str, str]) -> registry_history.Edit:
        if rows:
            self.write(*rows)
        before = registry_history.current(self.kept)
        edit = registry_history.compare(self.registry, before, ZONE, lambda *_: Last(self.last, {}), NOW)
        registry_history.append(self.kept, before, edit.tables, NOW)
        after = registry_history.current(self.kept)
        assert all(after[name].equals(edit.tables[name].sort(edit.tables[name].columns)) for name in after)
        return edit

    @property
    def spans(self) -> pl.DataFrame:
        return registry_history.current(self.kept)["span"]

    def on(self, day: str, *columns: str) -> list[tuple[object, ...]]:
        """Terminal, meter and these facts on a day."""
        facts = Facts(self.spans, ZONE, HOLE).of(date.fromisoformat(day))
        return sorted(facts.select("terminal", "meter", *columns).rows())

    def computed(self, *meters: str) -> pl.DataFrame:
        days = [date(2025, 6, 1) + timedelta(days=offset) for offset in range(4)]
        return pl.DataFrame({"meter": [meter for meter in meters for _ in days], "day": days * len(meters)})


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def row(terminal: str, meter: str, **cells: str) -> dict[str, str]:
    return {"terminal": terminal, "meter": meter, **cells}


LAST = local("2025-06-02T10:00")
STORED = (local("2025-05-20T00:00"), local("2025-07-20T00:00"))


def test_an_exchanged_terminal_measures_from_after_the_last_reading_of_the_old_one(history: History) -> None:
    history.edit(row("1", "M1"))
    history.last["M1"] = LAST
    history.edit(row("2", "M1"))
    assert history.on("2025-06-01") == [("1", "M1")]
    assert history.on("2025-06-02") == [("1", "M1"), ("2", "M1")]
    assert history.on("2025-06-03") == [("2", "M1")]
    ends = history.spans.sort("terminal").select("valid_from", "valid_to").rows()
    assert ends == [(None, LAST + calendar.TICK), (LAST + calendar.TICK, None)]


def test_a_terminal_used_for_another_meter_leaves_the_first_its_past(history: History) -> None:
    history.edit(row("1", "MA"))
    history.last["MA"] = LAST
    history.edit(row("1", "MB"))
    assert history.on("2025-06-01") == [("1", "MA")]
    assert history.on("2025-06-03") == [("1", "MB")]


@pytest.mark.parametrize(
    "rows",
    [
        [row("1", "MA"), row("1", "MB", valid_from="2025-06-02T10:30:00+08:00")],
        [row("1", "MB", valid_from="2025-06-02T10:30:00+08:00"), row("1", "MA")],
        [row("1", "MA", valid_to="2025-06-02T10:30:00+08:00"), row("1", "MB", valid_from="2025-06-02T10:30:00+08:00")],
    ],
)
@pytest.mark.parametrize("earlier", [[], [row("1", "MA")]])
def test_rows_with_dates_hold_in_their_time_whether_written_at_once_or_later(
    history: History, rows: list[dict[str, str]], earlier: list[dict[str, str]]
) -> None:
    if earlier:
        history.edit(*earlier)
        history.last["MA"] = LAST
    history.edit(*rows)
    assert history.on("2025-06-01") == [("1", "MA")]
    assert history.on("2025-06-03") == [("1", "MB")]


@pytest.mark.parametrize("cells", [{"q4_m3h": "31.25", "dn_mm": "50"}, {"customer_no": "C2"}, {"digits": "6"}])
def test_a_changed_row_holds_from_after_the_last_reading(history: History, cells: dict[str, str]) -> None:
    history.edit(row("1", "M1"))
    before = history.on("2025-06-02", *cells)
    history.last["M1"] = local("2025-06-03T00:00")
    history.edit(row("1", "M1", **cells))
    assert history.on("2025-06-02", *cells) == before
    assert [tuple(map(str, facts[2:])) for facts in history.on("2025-06-03", *cells)] == [
        tuple(f"{float(text)}" if name == "q4_m3h" else text for name, text in cells.items())
    ]


def test_a_row_changed_with_a_date_holds_from_then_and_touches_the_days_since(history: History) -> None:
    history.edit(row("1", "M1"), row("2", "M2"))
    history.last.update(M1=local("2025-06-04T12:00"), M2=local("2025-06-04T12:00"))
    edit = history.edit(row("1", "M1", q4_m3h="500", valid_from="2025-06-03"), row("2", "M2"))
    days = registry_history.days_of(edit, HOLE, ZONE, history.computed("M1", "M2"), lambda *_: False, None)
    assert days == {date(2025, 6, 2), date(2025, 6, 3), date(2025, 6, 4)}  # the second by the edge of its window
    assert history.on("2025-06-02", "q4_m3h") == [("1", "M1", 125.0), ("2", "M2", 125.0)]
    assert history.on("2025-06-03", "q4_m3h") == [("1", "M1", 500.0), ("2", "M2", 125.0)]


def test_a_vanished_row_is_ended_and_one_that_comes_again_leaves_no_gap(history: History) -> None:
    history.edit(row("1", "M1"), row("2", "M2"))
    history.last["M1"] = LAST
    edit = history.edit(row("2", "M2"))
    assert history.on("2025-06-01") == [("1", "M1"), ("2", "M2")]
    assert history.on("2025-06-03") == [("2", "M2")]
    assert registry_history.latest(history.spans, ZONE).filter(meter="M1")["removed_on"].to_list() == [date(2025, 6, 2)]
    assert edit.problems == []
    history.edit(row("1", "M1"), row("2", "M2"))
    for day in ("2025-06-01", "2025-06-02", "2025-06-03"):
        assert history.on(day) == [("1", "M1"), ("2", "M2")], day


def test_a_number_corrected_before_the_first_reading_holds_since_ever(history: History) -> None:
    history.edit(row("1", "M1"))
    history.edit(row("2", "M1"))
    assert history.on("2020-01-01") == [("2", "M1")]


def test_a_wrong_row_is_refused_alone_and_its_meter_stays_as_it_was(history: History) -> None:
    history.edit(row("1", "M1"), row("2", "M2"))
    history.last.update(M1=LAST, M2=LAST)
    edit = history.edit(row("1", "M1", q4_m3h="much"), row("2", "M2", customer_no="C2"), row("3", "M3"))
    (problem,) = edit.problems
    assert "terminals.csv row 2, q4_m3h: 'much'" in str(problem)
    assert history.on("2025-06-03", "q4_m3h", "customer_no") == [
        ("1", "M1", 125.0, "C1"),
        ("2", "M2", 125.0, "C2"),
        ("3", "M3", 125.0, "C1"),
    ]


@pytest.mark.parametrize("text", ["", "nothing but words\n", "terminal,meter\n1,M1\n"])
def test_a_file_that_is_no_table_changes_nothing(history: History, text: str) -> None:
    history.edit(row("1", "M1"))
    (history.registry / "terminals.csv").write_text(text)
    edit = history.edit()
    assert edit.problems
    assert history.on("2025-06-03") == [("1", "M1")]


def test_dates_of_installation_and_removal_bound_the_meter_and_touch_the_days_between(history: History) -> None:
    history.edit(row("1", "M1"))
    history.last["M1"] = local("2025-06-04T12:00")
    edit = history.edit(row("1", "M1", installed_on="2025-06-02", removed_on="2025-06-03"))
    assert [history.on(f"2025-06-0{day}") for day in range(1, 5)] == [[], [("1", "M1")], [("1", "M1")], []]
    days = registry_history.days_of(edit, HOLE, ZONE, history.computed("M1"), lambda *_: False, None)
    assert {date(2025, 6, 1), date(2025, 6, 4)} <= days
    back = history.edit(row("1", "M1"))
    read = registry_history.days_of(back, HOLE, ZONE, history.computed("M9"), lambda terminal, day: day.day == 1, STORED)
    assert read == {date(2025, 6, 1), date(2025, 7, 1)}, "readings that were nobody's are the meter's again"


@pytest.mark.parametrize(
    ("cell", "days"),
    [
        ({"replaced_at": "2025-06-02T10:30:00+08:00"}, {date(2025, 6, 2)}),
        ({"replaced_at": "2025-06-02T00:30:00+08:00"}, {date(2025, 6, 1), date(2025, 6, 2)}),
        ({"replaced_on": "2025-06-02"}, {date(2025, 6, 1), date(2025, 6, 2), date(2025, 6, 3)}),
    ],
)
def test_a_replacement_touches_its_days_when_written_down_and_when_taken_out(
    history: History, cell: dict[str, str], days: set[date]
) -> None:
    history.edit(row("1", "M1"))
    for rows in ([{"meter": "M1", "old_final_m3": "8063", "new_initial_m3": "0.3", **cell}], []):
        history.write(*rows, name="replacements")
        edit = history.edit()
        assert registry_history.days_of(edit, HOLE, ZONE, history.computed("M1"), lambda *_: False, None) == days


def test_the_same_files_again_change_nothing(history: History) -> None:
    rows = [row("1", "MA"), row("1", "MB", valid_from="2025-06-02"), row("2", "M2", removed_on="2025-06-01")]
    history.edit(*rows)
    spans = history.spans
    history.last["MA"] = LAST
    edit = history.edit(*rows)
    assert (edit.intervals, edit.replaced) == ([], [])
    assert history.spans.equals(spans)


def test_a_relation_that_vanished_is_ended(history: History) -> None:
    history.edit(row("1", "M1"))
    history.write({"meter": "M1", "kind": "network", "code": "N1"}, name="relations")
    history.edit()
    history.last["M1"] = LAST
    history.write({"meter": "M1", "kind": "network", "code": "N2"}, name="relations")
    for _ in range(2):
        history.edit()
        relations = (
            registry_history.current(history.kept)["relations"].sort("code").select("code", "valid_from", "valid_to").rows()
        )
        assert relations == [("N1", None, date(2025, 6, 3)), ("N2", date(2025, 6, 3), None)]
