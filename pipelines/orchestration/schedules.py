"""Dagster's schedules, in the site's zone. Days with new readings: `sensors.py`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg

from pipelines.orchestration.jobs import EXPORT_REPORT, LIVE, SYNC_BILLING, alarms_job, backup_site, mail_reports, outputs_job
from pipelines.settings import BackupSettings, BillingSettings, OutputSettings, ReportSettings

ALARMS_EVERY_MIN = 5


def schedules(
    billing: BillingSettings,
    reports: ReportSettings,
    outputs: OutputSettings,
    backups: BackupSettings,
    zone: str,
    days: dg.DailyPartitionsDefinition,
) -> list[dg.ScheduleDefinition]:
    """The sync with billing (runs where a billing system is named), the reports and their e-mails, the outputs, the backup (where
    a folder is named), alarms of silence."""
    return [
        dg.ScheduleDefinition(
            name="sync_billing",
            job=SYNC_BILLING,
            cron_schedule=billing.sync_cron,
            execution_timezone=zone,
            execution_fn=_any_day(days),
            default_status=dg.DefaultScheduleStatus.RUNNING if billing.connection else dg.DefaultScheduleStatus.STOPPED,
            description="营收同步 · Billing sync.",
        ),
        dg.ScheduleDefinition(
            name="export_report",
            job=EXPORT_REPORT,
            cron_schedule=reports.cron,
            execution_timezone=zone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="报表 · The reports, those of a month once it is over.",
        ),
        dg.ScheduleDefinition(
            name="outputs",
            job=outputs_job,
            cron_schedule=outputs.cron,
            execution_timezone=zone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="数据输出 · Files for other systems.",
        ),
        dg.ScheduleDefinition(
            name="backup_site",
            job=backup_site,
            cron_schedule=backups.cron,
            execution_timezone=zone,
            default_status=dg.DefaultScheduleStatus.RUNNING if backups.target else dg.DefaultScheduleStatus.STOPPED,
            description="备份 · Backup of the site.",
        ),
        dg.ScheduleDefinition(
            name="alarms",
            job=alarms_job,
            cron_schedule=f"*/{ALARMS_EVERY_MIN} * * * *",
            execution_timezone=zone,
            execution_fn=_if_nothing_came,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="报警 · Alarms of silence, while no reading leads to a look.",
        ),
        *(
            dg.ScheduleDefinition(
                name=f"mail_{row.name.replace('-', '_')}",
                job=mail_reports,
                cron_schedule=row.cron,
                execution_timezone=zone,
                run_config={"ops": {"send_reports": {"config": {"name": row.name}}}},
                default_status=dg.DefaultScheduleStatus.RUNNING,
                description=f"报表邮件 · Reports by e-mail for {row.name}.",
            )
            for row in reports.mail
        ),
    ]


def _if_nothing_came(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    since = datetime.now(UTC) - timedelta(minutes=ALARMS_EVERY_MIN)
    if context.instance.get_run_records(dg.RunsFilter(job_name=LIVE.name, updated_after=since), limit=1):
        return dg.SkipReason("刚有数据 · the live figures have looked at the alarms since")
    return dg.RunRequest()


def _any_day(days: dg.DailyPartitionsDefinition) -> Callable[[dg.ScheduleEvaluationContext], dg.RunRequest]:
    """Dagster wants a partition of a job whose assets have some; bills follow from what changed in billing, not from days."""
    return lambda _: dg.RunRequest(partition_key=days.get_last_partition_key())
