"""A day of alarms live, as one batch, and in random orders ends in the same table (100: `python -m tests.alarms.orders`)."""

from pathlib import Path
from typing import Any

import pytest

from tests.alarms.orders import DAY, final_table, orders, pieces, raised_twice


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
