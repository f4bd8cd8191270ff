"""Holes in the data become questions: once, of terminals that can be asked, within limits, as part of every run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from assets import warehouse
from ingest_daemon.commands.queue import CommandQueue, read_commands
from ingest_daemon.commands.settings import CommandSettings
from ingest_daemon.contract.settings import Settings, SiteSettings
from pipelines.cli.main import main
from pipelines.runs import gap_recall as module
from pipelines.runs.bench import workbench
from pipelines.runs.gap_recall import recall
from pipelines.runs.run import run_touched
from pipelines.settings import load
from tests.site_helpers import make_site, series

pytestmark = pytest.mark.usefixtures("few_tables")

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
SL651, FLOW, PUSHES = "0000000001", "0000000002", "0000000003"


def with_holes(terminal: str, *hours_ago: range, days: int = 4) -> pl.DataFrame:
    """Hourly readings up to now without those of some hours."""
    rows = series(terminal, NOW - timedelta(days=days), 24 * days + 1, HOUR, lambda _: 6.0)
    missing = {NOW - hour * HOUR for hours in hours_ago for hour in hours}
    return rows.filter(~pl.col("ts").is_in(list(missing)))


def site(folder: Path, readings: pl.DataFrame, *terminals: dict[str, Any], asks: str = "") -> Settings:
    settings = make_site(folder, [{"meter": f"M{row['terminal']}", **row} for row in terminals], readings)
    if asks:
        path = settings.folder.settings
        path.write_text(replaced(path.read_text(), asks))
        settings = load(folder)
    return settings


def replaced(text: str, line: str) -> str:
    """The settings file with one line of `[commands]` in place of its default."""
    key = line.partition(" =")[0]
    return "\n".join(line if each.startswith(f"{key} =") else each for each in text.splitlines()) + "\n"


def recalled(settings: Settings, now: datetime = NOW) -> module.Recalled:
    with warehouse.opened(settings.folder.marts, settings[SiteSettings].zone) as connection:
        return recall(settings, connection, now)


def spans(settings: Settings) -> list[tuple[str, Any, Any, str]]:
    return sorted((each.terminal, each.start, each.end, each.field) for each in read_commands(settings.folder))


def test_a_run_asks_for_the_hole_of_a_terminal_that_can_be_asked(tmp_path: Path) -> None:
    settings = site(tmp_path, with_holes(SL651, range(30, 40)), {"terminal": SL651})
    run_touched(workbench(settings), "test")
    assert spans(settings) == [(SL651, NOW - 40 * HOUR, NOW - 29 * HOUR, "forward_m3")]
    assert {(each.by, each.state) for each in read_commands(settings.folder)} == {("recall", "waiting")}


def test_a_whole_day_without_a_reading_is_in_a_hole(tmp_path: Path) -> None:
    settings = site(tmp_path, with_holes(SL651, range(20, 75)), {"terminal": SL651})
    run_touched(workbench(settings), "test")
    asked = spans(settings)
    assert sum((end - start for _, start, end, _ in asked), timedelta()) == 56 * HOUR
    assert max(end - start for _, start, end, _ in asked) <= timedelta(hours=24)


def test_what_was_asked_for_is_not_asked_for_again_until_a_week_later(tmp_path: Path) -> None:
    settings = site(tmp_path, with_holes(SL651, range(30, 40)), {"terminal": SL651})
    run_touched(workbench(settings), "test")
    first = read_commands(settings.folder)
    daemon = CommandQueue(settings.folder, settings[CommandSettings])
    daemon.tidy(NOW)
    for each in first:
        daemon.sent(each.id, NOW)
        daemon.answered(each.id, "data", 0, NOW)
    again = recalled(settings)
    assert (again.holes, again.asks, again.already) == (1, 0, 1)
    assert recalled(settings, NOW + timedelta(days=8)).asks == 1


def test_terminals_whose_protocol_cannot_be_asked_are_counted_and_left_alone(tmp_path: Path) -> None:
    readings = pl.concat([with_holes(SL651, range(30, 40)), with_holes(PUSHES, range(30, 40))])
    settings = site(tmp_path, readings, {"terminal": SL651}, {"terminal": PUSHES, "protocol": "modbus_rtu"})
    run_touched(workbench(settings), "test")
    assert {terminal for terminal, *_ in spans(settings)} == {SL651}
    (settings.folder.state / "recalled.json").unlink()
    assert recalled(settings).cannot == 1


@pytest.mark.parametrize(
    ("hours", "holes"),
    [
        pytest.param(range(1, 2), 0, id="younger than two steps: the meter may just be late"),
        pytest.param(range(50, 51), 0, id="the curve is drawn over a hole of two hours"),
        pytest.param(range(50, 54), 1, id="a longer one is asked for"),
    ],
)
def test_only_holes_that_stay_are_asked_for(tmp_path: Path, hours: range, holes: int) -> None:
    settings = site(tmp_path, with_holes(SL651, hours), {"terminal": SL651})
    run_touched(workbench(settings), "test")
    assert len(spans(settings)) == holes


@pytest.mark.parametrize(
    ("asks", "number"), [("recall = false", 0), ("recall_h = 24.0", 0), ("recall_h = 744.0", 1), ("per_terminal = 1", 1)]
)
def test_the_settings_bound_what_is_asked_for(tmp_path: Path, asks: str, number: int) -> None:
    settings = site(tmp_path, with_holes(SL651, range(30, 40)), {"terminal": SL651}, asks=asks)
    run_touched(workbench(settings), "test")
    assert len(spans(settings)) == number


def test_beyond_the_limits_holes_are_left_for_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = with_holes(SL651, range(30, 40), range(50, 60))
    settings = site(tmp_path, readings, {"terminal": SL651}, asks="per_terminal = 1")
    run_touched(workbench(settings), "test")
    assert len(spans(settings)) == 1
    assert recalled(settings).left == 1
    monkeypatch.setattr(module, "MOST_OPEN", 1)
    assert recalled(load(tmp_path)).left == 1


def test_by_hand_the_command_says_what_came_of_the_holes(tmp_path: Path) -> None:
    settings = site(tmp_path, with_holes(SL651, range(30, 40)), {"terminal": SL651}, asks="recall = false")
    run_touched(workbench(settings), "test")
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["ask", "--site", str(tmp_path), "--gaps"])
    assert result.exit_code == 0, result.output
    assert "holes: 1; 新问 / questions filed: 1;" in result.output
    assert len(spans(settings)) == 1


def test_a_site_without_figures_has_no_holes(tmp_path: Path) -> None:
    settings = site(tmp_path, with_holes(SL651), {"terminal": SL651})
    assert recalled(settings) == module.Recalled()
