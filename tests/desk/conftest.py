"""A desk that runs, once a module."""

from collections.abc import Iterator

import pytest

from ingest_daemon.contract.site import Site
from tests.desk.desk_helpers import Served, StandInGrafana, desk_database, desk_on


@pytest.fixture(scope="session")
def grafana() -> Iterator[StandInGrafana]:
    stand_in = StandInGrafana()
    yield stand_in
    stand_in.stop()


@pytest.fixture(scope="session")
def desk_dsn() -> Iterator[str]:
    with desk_database() as dsn:
        yield dsn


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, desk_dsn: str, grafana: StandInGrafana) -> Iterator[Served]:
    """In Chinese."""
    with desk_on(Site(tmp_path_factory.mktemp("desk")), dsn=desk_dsn, grafana=grafana) as served:
        yield served


@pytest.fixture(scope="module")
def english_desk(tmp_path_factory: pytest.TempPathFactory, desk_dsn: str, grafana: StandInGrafana) -> Iterator[Served]:
    """The same in English."""
    with desk_on(Site(tmp_path_factory.mktemp("desk")), dsn=desk_dsn, grafana=grafana, language="en") as served:
        yield served
