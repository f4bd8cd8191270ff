"""`mainflow up` as an unlucky operator meets it: whatever dies comes back, and nothing outlives its supervisor."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from ingest_daemon.contract.site import Site
from pipelines.processes import supervisor
from tests.chain import COMMAND, FREE_PORTS, mainflow
from tests.daemon_helpers import eventually

BACK_S = 10.0
READY_S = 120.0


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def up(site: Site) -> "subprocess.Popen[str]":
    environment = {**os.environ, **FREE_PORTS, "MAINFLOW_SERVERS_DAGSTER_PORT": free_port(), "PATH": "/usr/bin:/bin"}
    environment.pop("GRAFANA_HOME", None)
    return subprocess.Popen(
        [*COMMAND, "up", "--site", str(site.root)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def pids(site: Site) -> dict[str, int | None]:
    content = json.loads((site.state / "up.json").read_text())
    return {name: child["pid"] for name, child in content["children"].items()}


def has_another(site: Site, name: str, pid: int) -> bool:
    return pids(site)[name] not in (None, pid)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("supervised") / "站 点"
    mainflow("init", root)
    return Site(root)


@pytest.fixture
def started(site: Site) -> Iterator["subprocess.Popen[str]"]:
    """A supervisor that has started everything."""
    (site.state / "up.json").unlink(missing_ok=True)
    process = up(site)
    try:
        eventually(lambda: (site.state / "up.json").exists() or process.poll() is not None, "everything is started", READY_S)
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_whatever_is_killed_is_back_and_a_second_up_is_refused(site: Site, started: "subprocess.Popen[str]") -> None:
    assert set(pids(site)) == {"daemon", "postgres", "dagster-webserver", "dagster-daemon"}
    refused = mainflow("up", "--site", site.root, check=False)
    assert refused.returncode == 2
    assert "mainflow down --site" in refused.stdout
    for name, pid in pids(site).items():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(partial(has_another, site, name, pid), f"{name} is back", BACK_S)
    told = {kept.name: kept for kept in supervisor.kept(site) or []}
    assert all(kept.is_running and kept.restarts == 1 and kept.ended == "signal 9" for kept in told.values())
    dsn = json.loads((site.state / "postgres.json").read_text())["dsn"]
    eventually(lambda: psycopg.connect(dsn).execute("select 1 from ops.site").fetchone(), "the database answers", BACK_S)
    status = mainflow("status", "--site", site.root).stdout
    assert status.count("signal 9") == 4
    assert "stopped" in mainflow("down", "--site", site.root).stdout
    eventually(lambda: started.poll() is not None, "the supervisor ends", 5)
    assert supervisor.kept(site) is None


def test_nothing_outlives_a_killed_supervisor_and_the_site_starts_again(site: Site, started: "subprocess.Popen[str]") -> None:
    children = [pid for pid in pids(site).values() if pid]
    started.kill()
    started.wait()
    eventually(lambda: not any(map(is_alive, children)), "children end with their supervisor", 30)
    assert "not running" in mainflow("status", "--site", site.root).stdout
    again = up(site)
    try:
        eventually(lambda: (kept := supervisor.kept(site)) and all(child.is_running for child in kept), "all run again", READY_S)
    finally:
        again.send_signal(signal.SIGTERM)
        again.communicate(timeout=60)


def test_a_site_that_is_copied_while_it_runs_is_not_taken_for_running(site: Site, started: "subprocess.Popen[str]") -> None:
    copy = Site(site.root.parent / "copy")
    shutil.copytree(site.state, copy.state, ignore=shutil.ignore_patterns("*.new"))
    assert supervisor.kept(copy) is None
    assert not supervisor.down(copy)
    assert started.poll() is None
