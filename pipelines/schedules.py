"""Dagster's schedules, in the site's zone. Days with new readings: `sensors.py`."""

from datetime import timedelta

import dagster as dg

from pipelines.jobs import EXPORT_REPORT, SYNC_BILLING
from pipelines.settings import BillingSettings, ReportSettings


def schedules(billing: BillingSettings, reports: ReportSettings, zone: str) -> list[dg.ScheduleDefinition]:
    """The sync with billing (runs where a billing system is named) and the daily report."""
    return [
        dg.ScheduleDefinition(
            name="sync_billing",
            job=SYNC_BILLING,
            cron_schedule=billing.sync_cron,
            execution_timezone=zone,
            execution_fn=_yesterday,
            default_status=dg.DefaultScheduleStatus.RUNNING if billing.connection else dg.DefaultScheduleStatus.STOPPED,
            description="营收同步 · Billing sync.",
        ),
        dg.ScheduleDefinition(
            name="export_report",
            job=EXPORT_REPORT,
            cron_schedule=reports.cron,
            execution_timezone=zone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="日用水量报表 · Daily volume report.",
        ),
    ]


def _yesterday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The last local day, which the sync publishes along with the bills."""
    return dg.RunRequest(partition_key=(context.scheduled_execution_time.date() - timedelta(days=1)).isoformat())
