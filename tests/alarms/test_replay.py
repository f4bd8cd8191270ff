"""A rule with another limit is tried over the past: the command shows what differs, writes it when asked to, and tells nobody."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from ingest_daemon.contract.ops_tables import migrate
from pipelines.cli.main import main
from tests.alarms.sites import ZONE, readings
from tests.cases.figure_site import FigureSite, csv_text

DAY = (datetime.now(ZONE) - timedelta(days=2)).date()
"""So near that an alarm of that day would be told."""


@pytest.fixture
def replay(postgres: str, tmp_path: Path) -> Callable[..., str]:
    """The command for P_LO of the day before yesterday, when the pressure was 0.15 MPa for two hours, with another limit."""
    site = FigureSite(tmp_path, serving_dsn=postgres, looked_at=("latest_figures", "calendar"))
    with psycopg.connect(postgres) as connection:
        migrate(connection)
    site.register({"resolution_m3": "0.001", "digits": "9", "step_min": "15"})
    site.store(readings({"start": f"{DAY} 06:00", "pressure": ["0.3 x8", "0.15 x8", "0.3 x8"]}, "0000000001"))
    newer = DAY + timedelta(days=1)  # an edit of the registry lets the newest day be made again
    site.store(readings({"start": f"{newer} 06:00", "pressure": ["0.3 x8"]}, "0000000001"))
    site.run()

    def replayed(limit_mpa: float, *options: str) -> str:
        row = {"meter": "M1", "code": "P_LO", "limit_value": str(limit_mpa), "valid_from": str(DAY - timedelta(days=1))}
        site.write("limits", csv_text(list(row), [row]))
        site.run()
        command = ["alarms", "replay", "--site", str(tmp_path), "--rule", "P_LO", "--days", f"{DAY}..{DAY}", *options]
        result = CliRunner(env={"COLUMNS": "200", "MAINFLOW_POSTGRES_DSN": postgres}).invoke(main, command)
        assert result.exit_code == 0, f"{result.output}\n{result.exception}"
        return result.output

    return replayed


def test_another_limit_moves_past_alarms_only_when_it_is_applied_and_nobody_is_told(
    postgres: str, replay: Callable[..., str]
) -> None:
    def known() -> list[tuple[object, ...]]:
        query = "select peak_value, limit_value, is_told, retracted_at is not null from ops.alarm where code = 'P_LO'"
        with psycopg.connect(postgres) as connection:
            return connection.execute(query).fetchall()

    assert "0.15" in replay(0.2)
    assert known() == [], "without --apply nothing is written"
    replay(0.2, "--apply")
    assert known() == [(0.15, 0.2, False, False)]
    replay(0.2, "--apply")
    assert known() == [(0.15, 0.2, False, False)], "it is the same alarm"
    replay(0.1)
    assert known() == [(0.15, 0.2, False, False)]
    replay(0.1, "--apply")
    assert known() == [(0.15, 0.2, False, True)], "taken back, and it stays visible"
