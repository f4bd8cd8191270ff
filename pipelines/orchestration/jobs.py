"""Dagster's jobs: the assets made together, chosen by group. `schedules.py` and `sensors.py` start them."""

from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets import tables
from assets.graph import PUBLISHED
from pipelines.orchestration.resources import site_settings
from pipelines.runs import alarms, backup, mail
from pipelines.runs.bench import workbench
from pipelines.runs.outputs import write_outputs
from pipelines.settings import BackupSettings, MailSettings, ReportSettings

QUEUE = "mainflow/queue"
"""Tag of a run: of one value of it one run works at a time (`dagster_home.INSTANCE`), so that figures go on beside a backup."""

OF_FIGURES, OF_BACKUP = {QUEUE: "figures"}, {QUEUE: "backup"}

LIVE = dg.define_asset_job(
    "live",
    selection=dg.AssetSelection.groups(*tables.LIVE) | dg.AssetSelection.assets(PUBLISHED),
    tags=OF_FIGURES,
    description="实时 · Hours, days and the latest values of a range of days, published; then the days wait for the analysis.",
)

ANALYSIS = dg.define_asset_job(
    "analysis",
    selection=dg.AssetSelection.assets(*(step.name for step in tables.analysis()), PUBLISHED),
    tags=OF_FIGURES,
    description="分析 · All other figures of a range of days, published; then the days wait no more.",
)

FIGURES = dg.define_asset_job(
    "figures",
    selection=dg.AssetSelection.assets(*(step.name for step in tables.figures()), PUBLISHED),
    tags=OF_FIGURES,
    description="指标 · Every figure of a range of days, published: for a backfill by a person.",
)

SYNC_BILLING = dg.define_asset_job(
    "sync_billing",
    selection=dg.AssetSelection.assets(*(step.name for step in tables.synced()), PUBLISHED),
    tags=OF_FIGURES,
    description=(
        "营收同步 · Billing read, then what is made from it made anew and published. "
        "Dagster wants a partition for it; any day will do."
    ),
)

EXPORT_REPORT = dg.define_asset_job(
    "export_report",
    selection=dg.AssetSelection.groups("reports"),
    tags=OF_FIGURES,
    description="报表 · The reports of the month so far, or of the days given in the launchpad.",
)


@dg.op(description="备份 · Everything of the site copied to `[backup] target`; the oldest beyond `keep` go.")
def copy_site(context: dg.OpExecutionContext) -> None:
    """Raises `BackupError`."""
    settings = site_settings()
    wanted = settings[BackupSettings]
    if not wanted.target:
        raise backup.BackupError("[backup] target is empty: expected the folder of the backups")
    done = backup.make(workbench(settings), Path(wanted.target), keep=wanted.keep)
    context.log.info(f"{done.folder}: {done.files} files, {done.size:,} bytes, of which {done.copied:,} were copied")


@dg.job(tags=OF_BACKUP, description="备份 · A copy of the site from which it can be restored.")
def backup_site() -> None:
    """The job of the schedule."""
    copy_site()


class MailRow(dg.Config):
    """The row of `[reports] mail`."""

    name: str


@dg.op(description="报表邮件 · The reports of a row of `[reports] mail` issued, and sent to its addresses, each edition once.")
def send_reports(context: dg.OpExecutionContext, config: MailRow) -> None:
    """Raises `dg.Failure` naming what was not sent; it goes out with the next run."""
    settings = site_settings()
    row = next((row for row in settings[ReportSettings].mail if row.name == config.name), None)
    if row is None:
        raise dg.Failure(f"[reports] mail has no row {config.name!r}")
    try:
        for sentence in mail.send_reports(workbench(settings), settings[MailSettings], row):
            context.log.info(sentence)
    except mail.NotSent as error:
        raise dg.Failure(str(error)) from None


@dg.job(tags=OF_FIGURES, description="报表邮件 · Reports by e-mail, a schedule for each row of `[reports] mail`.")
def mail_reports() -> None:
    """The job of the schedules."""
    send_reports()


@dg.op(description="数据输出 · The files for other systems that are due: those of yesterday, and those whose figures changed.")
def write_output_files(context: dg.OpExecutionContext) -> None:
    """Raises `WarehouseBusy`, `OutputFailed`, `psycopg.Error`."""
    context.log.info(f"files in force: {len(write_outputs(workbench(site_settings())))}")


@dg.job(name="outputs", tags=OF_FIGURES, description="数据输出 · Files for billing, SCADA and the network model, by contract.")
def outputs_job() -> None:
    """The job of the schedule."""
    write_output_files()


@dg.op(description="报警 · What changes in the alarms because time passes: silences, meters whose service is over.")
def look_at_alarms(context: dg.OpExecutionContext) -> None:
    """Raises `WarehouseBusy`, `psycopg.Error`."""
    context.log.info(f"alarms: {alarms.tick(workbench(site_settings()))}")


@dg.job(
    name="alarms",
    tags=OF_FIGURES,
    description="报警 · Silences are found although nothing comes in; readings lead to a look by themselves.",
)
def alarms_job() -> None:
    """The job of the schedule."""
    look_at_alarms()


JOBS: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [
    LIVE,
    ANALYSIS,
    FIGURES,
    SYNC_BILLING,
    EXPORT_REPORT,
    mail_reports,
    outputs_job,
    backup_site,
    alarms_job,
]
