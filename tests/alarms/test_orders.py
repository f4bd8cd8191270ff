"""A day of alarms live, as one batch, and in random orders ends in the same table (100: `python -m tests.alarms.orders`)."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from assets import alarm_engine
from ingest_daemon.contract.ops_tables import migrate
from tests.alarms.orders import DAY, final_table, orders, pieces, raised_twice
from tests.alarms.sites import alarms, local, readings
from tests.cases.figure_site import FigureSite


@pytest.fixture(scope="module")
def batch(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    return final_table(postgres, tmp_path_factory.mktemp("batch"), pieces(1))


def test_the_day_has_alarms_of_every_kind(batch: list[tuple[Any, ...]]) -> None:
    assert {(row[0], row[1], row[6]) for row in batch} >= {
        ("M1", "P_LO", "both"),
        ("M2", "P_LO", "server"),
        ("M3", "Q_HI", "server"),
        ("M3", "Q_REV", "server"),
        ("M3", "OVER_Q4", "server"),
        ("M4", "P_HI", "server"),
        ("M4", "MAG", "device"),
    }
    assert {row[0] for row in batch if row[1] == "NO_DATA"} == set(DAY), "a silence that lasts"


def test_live_and_batch_end_in_the_same_alarms(postgres: str, tmp_path: Path, batch: list[tuple[Any, ...]]) -> None:
    assert final_table(postgres, tmp_path, pieces(8)) == batch
    assert raised_twice(postgres) == []


@pytest.mark.parametrize("number", range(2))
def test_any_order_ends_in_the_same_alarms(postgres: str, tmp_path: Path, batch: list[tuple[Any, ...]], number: int) -> None:
    (order,) = orders(1, seed=number)
    assert final_table(postgres, tmp_path, order) == batch


@pytest.mark.parametrize(("name", "last", "cleared"), [("it lasts", 0.1, None), ("it is over", 0.3, "2026-03-07 01:00")])
def test_an_alarm_that_lasts_longer_than_anybody_looks_back_stays_one(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, last: float, cleared: str | None
) -> None:
    monkeypatch.setattr(alarm_engine, "REACH_DAYS", 1)
    site = FigureSite(tmp_path, serving_dsn=postgres, looked_at=("latest_figures", "calendar"))
    with psycopg.connect(postgres) as connection:
        connection.execute("drop schema if exists ops cascade; drop schema if exists mart cascade")
        migrate(connection)
    site.register({"resolution_m3": "0.001", "digits": "9"})
    days = {"2026-03-02 00:00": "0.12 x23", "2026-03-03 00:00": "0.09 x23"}
    days |= {f"2026-03-0{day} 00:00": "0.11 x23" for day in (4, 5, 6)}
    for start, pressures in {**days, "2026-03-07 00:00": f"{last} x23"}.items():
        site.store(readings({"start": start, "step_min": 60, "pressure": [pressures]}, "0000000001"))
        site.run()
    site.close()
    found = [row[2:6] for row in alarms(postgres) if row[1] == "P_LO"]
    assert found == [(local("2026-03-02 01:00"), cleared and local(cleared), 0.09, 0.14)]
