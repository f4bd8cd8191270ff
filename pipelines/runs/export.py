"""One report written and noted in the ledger, on demand; the schedule does the same through Dagster."""

from datetime import date

from assets import reports, tables
from assets.reports import Issued
from assets.workbench import Workbench
from pipelines.runs.run import Run, run_lock, show_in_catalogue


def export_report(bench: Workbench, name: str, days: tuple[date, date] | None) -> list[Issued]:
    """Write the report's files for the days (None: the month up to the newest day) into `reports/`. Raises `ValueError`."""
    with run_lock(bench):
        run = Run(bench, [], "report")
        with run.opened() as connection:
            written = reports.make(name, days, bench, connection)
            published = run.publish(connection)
            step = next(step for step in tables.steps() if step.name == f"{name}_report")
            show_in_catalogue(run, connection, [(step, tables.made_report(written))], published)
    return written
