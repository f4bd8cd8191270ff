"""Desks that run, in Chinese and in English, over one database with invented alarms."""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import psycopg
import pytest

from ingest_daemon.contract.alarm_codes import SERVER
from ingest_daemon.contract.site import Site
from tests.desk.desk_helpers import Case, Served, StandInGrafana, desk_database, desk_on, raise_alarms


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandInGrafana]:
    started = StandInGrafana()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def desk_dsn() -> Iterator[str]:
    with desk_database() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory, desk_dsn: str, stand_in: StandInGrafana) -> Iterator[Served]:
    """In Chinese."""
    with desk_on(Site(tmp_path_factory.mktemp("desk")), dsn=desk_dsn, grafana=stand_in) as served:
        yield served


@pytest.fixture(scope="session")
def english_desk(tmp_path_factory: pytest.TempPathFactory, desk_dsn: str, stand_in: StandInGrafana) -> Iterator[Served]:
    with desk_on(Site(tmp_path_factory.mktemp("desk")), dsn=desk_dsn, grafana=stand_in, language="en") as served:
        yield served


class Alarms(NamedTuple):
    """The numbers of the invented alarms."""

    low: int
    """P_LO of M1, open for an hour."""
    high: int
    """Q_HI of M2, over since yesterday."""
    battery: int
    """BATT of M2, open since yesterday."""
    earlier: int
    """P_LO of M2, a quarter of an hour before M1's."""
    door: int
    """DOOR of M3."""
    old: int
    """MAG of M1, over long before it became known."""


@pytest.fixture
def alarms(desk_dsn: str) -> Alarms:
    """The ledger with these alarms alone."""
    with psycopg.connect(desk_dsn) as connection:
        connection.execute("truncate ops.alarm, ops.alarm_span, ops.alarm_history, ops.setting_history restart identity")

    def hours(count: float) -> timedelta:
        return timedelta(hours=count)

    return Alarms(
        *raise_alarms(
            desk_dsn,
            Case("M1", "P_LO", hours(1), None, 0.121, 0.14, "MPa"),
            Case("M2", "Q_HI", hours(30), hours(29), 212.5, 200, "m³/h", SERVER),
            Case("M2", "BATT", hours(26), None, 3.21, 3.3, "V"),
            Case("M2", "P_LO", hours(1.25), hours(0.9), 0.12, 0.14, "MPa"),
            Case("M3", "DOOR", hours(0.1), None),
            Case("M1", "MAG", hours(100), hours(99)),
        )
    )
