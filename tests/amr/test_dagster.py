"""Dagster syncs each source once a period and purges once a day; what fails is a failed run that says why."""

from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import definitions
from pipelines.orchestration.resources import SITE
from tests.amr_helpers import PASSWORD, Vendor, amr_site, need_driver, source_of


def test_each_source_has_a_job_once_a_period_and_a_failure_is_a_failed_run_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    need_driver()
    vendor = Vendor(tmp_path / "vendor.db")
    nowhere = f"DRIVER=Nirgends;PWD={PASSWORD}"
    other = source_of(vendor, "plant-2", period_min=60) | {"connection": nowhere, "purge_connection": nowhere}
    site = amr_site(tmp_path / "site", [source_of(vendor), other])
    monkeypatch.setenv(SITE, str(site.root))
    made = definitions()
    sensors = {sensor.name: sensor for sensor in made.sensors or () if isinstance(sensor, dg.SensorDefinition)}
    assert sensors["amr_v02_period"].minimum_interval_seconds == 15 * 60
    assert sensors["amr_plant_2_period"].minimum_interval_seconds == 60 * 60
    assert "purge_amr" in {schedule.name for schedule in made.schedules or () if isinstance(schedule, dg.ScheduleDefinition)}
    with dg.DagsterInstance.ephemeral() as instance:
        for job, words in (("amr_v02", "the daemon does not listen"), ("purge_amr", "driver or data source of the plant-2")):
            result = made.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
            failure = next(event for event in result.all_events if event.is_step_failure)
            assert not result.success and words in str(failure.event_specific_data)
            told = capfd.readouterr().err
            assert PASSWORD not in told + str(result.all_events)
    assert "v02: 0 readings, 0 alarms deleted" in told  # the other source is purged all the same
