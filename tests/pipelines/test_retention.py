"""Dagster keeps the newest runs and forgets the others, on disk as well."""

from pathlib import Path

import dagster as dg
import pytest

from pipelines.orchestration import retention


@dg.op
def nothing() -> None:
    return None


@dg.op
def broken() -> None:
    raise RuntimeError("as it must be")


@dg.job
def well() -> None:
    nothing()


@dg.job
def ill() -> None:
    broken()


def test_the_newest_runs_of_each_end_are_kept_and_nothing_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {dg.DagsterRunStatus.SUCCESS: 2, dg.DagsterRunStatus.FAILURE: 1}
    monkeypatch.setattr(retention, "KEPT", kept)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        runs = [job.execute_in_process(instance=instance, raise_on_error=False).run_id for job in (well, ill, well, ill, well)]
        assert retention.prune(instance) == 2
        assert {run.run_id for run in instance.get_runs()} == {runs[2], runs[3], runs[4]}
        assert retention.prune(instance) == 0
        gone = [path for path in tmp_path.rglob("*") if runs[0] in path.name or runs[1] in path.name]
        assert not gone
        assert [path for path in tmp_path.rglob("*") if runs[4] in path.name]
