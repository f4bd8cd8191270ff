"""`mainflow up` as an unlucky operator meets it: whatever dies comes back, and nothing outlives its supervisor."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path

import psycopg
import pytest

from ingest_daemon.contract.site import Site
from pipelines.processes import supervisor
from tests.chain import mainflow
from tests.daemon_helpers import eventually
from tests.up_helpers import READY_S, pids, standing, up

BACK_S = 10.0


def has_another(site: Site, name: str, pid: int) -> bool:
    return pids(site)[name] not in (None, pid)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_over(site: Site) -> list[str]:
    """Command lines of processes that still belong to the site."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(site.root) in line and "pytest" not in line.split(" ")[0]:
                found.append(line)
    return [line for line in found if "-m pytest" not in line]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("supervised") / "站 点"
    mainflow("init", root)
    return Site(root)


@pytest.fixture
def started(site: Site) -> Iterator["subprocess.Popen[str]"]:
    """A supervisor that has started everything."""
    with standing(site) as process:
        yield process


def test_whatever_is_killed_is_back_and_a_second_up_is_refused(site: Site, started: "subprocess.Popen[str]") -> None:
    assert set(pids(site)) == {"daemon", "postgres", "dagster-webserver", "dagster-daemon", "desk"}
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
    with psycopg.connect(dsn) as connection:
        for name in ("latest_status", "interval_reading", "usage_comparison", "meter"):
            assert connection.execute(f"select count(*) from mart.{name}").fetchone(), f"a new site lacks {name}"
        assert connection.execute("select count(*) from ops.alarm_event").fetchone() == (0,)
    status = mainflow("status", "--site", site.root).stdout
    assert status.count("signal 9") == 5
    assert "stopped" in mainflow("down", "--site", site.root).stdout
    eventually(lambda: started.poll() is not None, "the supervisor ends", 30)
    assert supervisor.kept(site) is None


def test_nothing_outlives_a_killed_supervisor_and_the_site_starts_again_with_its_addresses_and_stops_cleanly(
    site: Site, started: "subprocess.Popen[str]"
) -> None:
    children = [pid for pid in pids(site).values() if pid]
    started.kill()
    started.wait()
    eventually(lambda: not any(map(is_alive, children)), "children end with their supervisor", 30)
    assert "not running" in mainflow("status", "--site", site.root).stdout
    again = up(site)
    try:
        assert again.stdout is not None
        text = "".join(takewhile(lambda line: "Ctrl-C" not in line, again.stdout))
        assert "Dagster" in text, text
        assert "http://127.0.0.1:" in text
        assert "PostgreSQL" in text
        assert (site.state / "daemon.json").exists()
        eventually(lambda: (kept := supervisor.kept(site)) and all(child.is_running for child in kept), "all run again", READY_S)
    finally:
        again.send_signal(signal.SIGINT)
        again.communicate(timeout=60)
    assert again.returncode == 0
    assert not (site.state / "daemon.json").exists()
    eventually(lambda: left_over(site) == [], "no process of the site is left", 30)
