"""Each rule raises where it should, once, with value and limit, and is silent where it should be: cases as data through a run."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import polars as pl
import psycopg
import pytest

from assets import alarm_engine, alarm_rules
from ingest_daemon.contract import alarm_ledger
from tests.alarms.sites import CASES, START, alarms, local, readings
from tests.cases.figure_site import FigureSite, csv_text


def meter(number: int) -> str:
    return f"M{number:03}"


@pytest.fixture(scope="module")
def found(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[Any, ...]]]:
    """The alarms of a site on which every case is a meter, all computed in one run."""
    site = FigureSite(tmp_path_factory.mktemp("site"), serving_dsn=postgres, looked_at=("latest_figures", "calendar"))
    facts = {"resolution_m3": "0.001", "digits": "9", "step_min": "15"}
    site.register(
        *(
            {
                "terminal": f"{number:010}",
                "meter": meter(number),
                **facts,
                **{k: str(v) for k, v in case.get("terminal", {}).items()},
            }
            for number, case in enumerate(CASES)
        )
    )
    limits = [
        {"meter": meter(number), "code": code, "limit_value": str(limit), "valid_from": "2026-03-01"}
        for number, case in enumerate(CASES)
        for code, limit in case.get("limits", {}).items()
    ]
    site.write("limits", csv_text(["meter", "code", "limit_value", "valid_from"], limits))
    site.store(pl.concat([readings(case, f"{number:010}") for number, case in enumerate(CASES)]))
    with pytest.MonkeyPatch.context() as patch, psycopg.connect(postgres, autocommit=True) as daemon:
        patch.setattr(alarm_engine, "evaluate", partial(_while_free, daemon, alarm_engine.evaluate))
        site.run()
    yield alarms(postgres)
    site.close()


FREE: list[bool] = []
"""Whether terminals' alarms could be written each time that a rule was evaluated."""


def _while_free(daemon: psycopg.Connection, evaluate: Callable[..., Any], *arguments: Any) -> Any:
    FREE.append(daemon.execute("select pg_try_advisory_xact_lock(%s)", [alarm_ledger.LOCK]).fetchone() == (True,))
    return evaluate(*arguments)


def test_terminals_alarms_do_not_wait_while_rules_are_evaluated(found: list[tuple[Any, ...]]) -> None:
    assert len(FREE) > len(alarm_rules.rules()) / 2
    assert all(FREE)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case["name"] for case in CASES])
def test_a_rule_gives_just_these_alarms(found: list[tuple[Any, ...]], number: int) -> None:
    case = CASES[number]
    start = case.get("start", START)
    expected = [
        (local(raised, start), local(cleared, start) if cleared else None, value, limit)
        for raised, cleared, value, limit in case.get("expect", [])
    ]
    own = [row[2:6] for row in found if row[:2] == (meter(number), case["rule"])]
    assert own == [(raised, cleared, pytest.approx(value, abs=1e-6), limit) for raised, cleared, value, limit in expected]


def test_every_rule_of_intervals_has_a_case_that_raises_and_one_that_is_silent() -> None:
    rules = {case["rule"] for case in CASES}
    assert rules == {"P_HI", "P_LO", "P_JUMP", "Q_HI", "Q_LO", "Q_REV", "OVER_Q4", "NO_DATA"}
    for rule in rules:
        outcomes = {bool(case.get("expect")) for case in CASES if case["rule"] == rule}
        assert outcomes == ({True} if rule == "NO_DATA" else {True, False})
