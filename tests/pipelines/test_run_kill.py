"""A run killed at any instant leaves its days waiting; the next run gives the tables of a run that was never disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from pipelines import settings
from pipelines.processes import servers
from tests.chain import COMMAND, FREE_PORTS, assert_same_tables, mainflow, published, table_names, tables

KILLS = int(os.environ.get("MAINFLOW_TEST_RUN_KILLS", "4"))
DAYS = 20


def start(site: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*COMMAND, "run", "--site", str(site)],
        env={**os.environ, **FREE_PORTS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_run_killed_at_random_instants_gives_the_same_tables_in_the_end(tmp_path: Path, record_property) -> None:
    site, calm = tmp_path / "killed", tmp_path / "calm"
    for folder in (site, calm):
        mainflow("init", folder)
        mainflow("simulate", "--site", folder, "--days", DAYS)
    mainflow("run", "--site", calm)
    chance = random.Random(7)
    killed = 0
    with servers.postgres(settings.load(site)) as dsn:
        started = time.monotonic()
        whole = start(site)
        whole.wait(timeout=200)
        took = time.monotonic() - started
        for _ in range(KILLS):
            # Every day is touched again, so each round has the whole work before it.
            (site / "state" / "touched.json").unlink(missing_ok=True)
            running = start(site)
            time.sleep(chance.uniform(0.3, 1.0) * took)
            if running.poll() is None:
                running.send_signal(signal.SIGKILL)
                killed += 1
            running.wait(timeout=200)
        (site / "state" / "touched.json").unlink(missing_ok=True)
        mainflow("run", "--site", site)
        arrival = ("received_at", "frame")
        mine = tables(site / "marts.duckdb", arrival)
        assert_same_tables(mine, tables(calm / "marts.duckdb", arrival))
        with psycopg.connect(dsn) as connection:
            assert connection.execute("select count(*) from mart.daily_usage").fetchone() == (mine["daily_usage"].height,)
        for name in ("hourly_usage", "usage_comparison", "unit_interval"):
            assert published(dsn, name).height == mine[name].height
    record_property("summary", f"runs killed: {killed} of {KILLS} rounds, tables equal")
    assert killed > 0, f"{sys.executable} ended before every kill"
    assert "daily_usage" in table_names(site / "marts.duckdb")
