"""How long Dagster's runs are kept: each leaves some 0.7 MB of events and logs, and there may be thousands a day."""

import shutil
from pathlib import Path

import dagster as dg

KEPT = {dg.DagsterRunStatus.SUCCESS: 150, dg.DagsterRunStatus.FAILURE: 100, dg.DagsterRunStatus.CANCELED: 20}
"""So many of the newest runs that ended so are kept. What a run made is in `run_ledger` for good."""

AT_ONCE = 100
"""So many are deleted at a time: a sensor has a minute."""


def prune(instance: dg.DagsterInstance) -> int:
    """Delete the oldest runs beyond `KEPT` with their events and logs; gives their number."""
    deleted = 0
    for status, kept in KEPT.items():
        ended = dg.RunsFilter(statuses=[status])
        excess = min(instance.get_runs_count(ended) - kept, AT_ONCE)
        for record in instance.get_run_records(ended, limit=excess, ascending=True) if excess > 0 else ():
            _delete(instance, record.dagster_run.run_id)
            deleted += 1
    return deleted


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.delete_run(run_id)
    home = Path(instance.root_directory)
    # Dagster empties a run's own database of events, and leaves the files.
    for file in (home / "history" / "runs").glob(f"{run_id}.db*"):
        file.unlink(missing_ok=True)
    for folder in ("storage", "logs"):
        shutil.rmtree(home / folder / run_id, ignore_errors=True)
