"""Dagster's home in a site folder: its settings file, its database and its logs lie in `<site>/dagster`."""

from pathlib import Path

from ingest_daemon.contract.site import Site
from pipelines.processes import databases

WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"

INSTANCE = """\
# Dagster 实例设置，每次启动重写 / Dagster's instance settings, written anew at each start.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  runs:
    # One database file, one writer: a second run waits in the queue. A backup works beside it.
    max_concurrent_runs: 2
    tag_concurrency_limits:
    - {key: mainflow/queue, value: figures, limit: 1}
    - {key: mainflow/queue, value: backup, limit: 1}
run_monitoring:
  enabled: true
  # A run whose process died (power cut, kill) is closed as failed instead of blocking the queue.
  poll_interval_seconds: 30
retention:
  sensor:
    purge_after_days: {skipped: 1, failure: 30, success: 30}
  schedule:
    purge_after_days: 365
"""
"""`dagster.yaml`; runs, events and logs go to SQLite and files in the same folder."""


def settings_file(site: Site) -> Path:
    """Dagster's settings; absent where Dagster never worked for the site."""
    return site.dagster / "dagster.yaml"


def prepare(site: Site) -> Path:
    """Write `dagster/dagster.yaml` of the site and make its databases; gives the workspace file to start Dagster with.

    The databases are made here, by one process: web pages and daemon, started together on a new site, would both try to. One
    that is damaged is set aside with the whole home, since they refer to each other; that of a single run alone.
    """
    from dagster import DagsterInstance

    damaged = [file for file in site.dagster.rglob("*.db") if databases.is_damaged(file)]
    if any(_is_shared(file) for file in damaged):
        databases.set_aside(site.dagster, "the runs of before, their logs and what a person switched on or off are there only")
    else:
        for file in damaged:
            databases.set_aside(file, "the events of this run are there only")
    site.dagster.mkdir(parents=True, exist_ok=True)
    settings_file(site).write_text(INSTANCE, encoding="utf-8")
    DagsterInstance.from_config(str(site.dagster)).dispose()
    return WORKSPACE


def _is_shared(database: Path) -> bool:
    """Whether a database of Dagster's is no single run's."""
    return database.parent.name != "runs" or database.name == "index.db"
