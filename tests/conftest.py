"""What every test run shares: the figures that tests report are printed at its end, sites, daemons."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from xdist.scheduler import LoadFileScheduling

from ingest_daemon.contract.site import Site
from tests import object_store, trials
from tests.daemon_helpers import Daemon, make_site, running
from tests.postgres_server import Server, own_database, running_server

os.environ.pop("COLUMNS", None)  # of 80, which parallel test runs set: commands print as into a pipe


DEMO = ("dashboards/test_browser.py", "dashboards/test_on_demo.py", "pipelines/test_demo.py", "pipelines/test_history.py")
TOGETHER = {"demo": tuple(f"tests/{name}" for name in DEMO), "desk": ("tests/desk/",)}
"""Files that share what is made once a run: their tests stay in the worker that has it."""


class BySharedFixtures(LoadFileScheduling):
    """Gives a worker whole files, so that it alone makes what a module shares, or all files that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for group, files in TOGETHER.items() if nodeid.startswith(files)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySharedFixtures | None:
    """That of `--dist loadfile`. Marks of groups (`--dist loadgroup`) have no effect with pytest 9.2."""
    return BySharedFixtures(config, log) if config.getvalue("dist") == "loadfile" else None


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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A real PostgreSQL."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def postgres(postgres_server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """DSN of a database of the module's own."""
    with own_database(postgres_server, request.module.__name__.replace(".", "_")) as dsn:
        yield dsn


@pytest.fixture
def dsn(postgres: str) -> str:
    """The same, without alarm events."""
    with psycopg.connect(postgres) as connection:
        connection.execute("drop schema if exists ops cascade")
    return postgres
