"""One report written and noted in the ledger, on demand; the schedule does the same through Dagster."""

from datetime import date

from assets import calendar, publication, reports, tables, warehouse
from assets.marts import Partitions
from assets.reports import Report
from assets.workbench import Workbench


def export_report(bench: Workbench, name: str, days: tuple[date, date] | None) -> list[Report]:
    """Write the report's files for the days (None: the month up to the newest day) into `reports/`. Raises `ValueError`."""
    with warehouse.exclusive(bench.site.state / "run.lock"), warehouse.opened(bench.site.marts, str(bench.zone)) as connection:
        newest = reports.newest(connection)
        if newest is None:
            raise ValueError("nothing is computed yet, so there is nothing to report; compute with: mainflow run")
        newest_day, run_id = newest
        first, last = days or (calendar.month_of(newest_day), newest_day)
        written = reports.export(
            name, first, last, warehouse=connection, folder=bench.site.reports, utility=bench.utility, run_id=run_id
        )
        reports.record(connection, written)
        if dsn := bench.serving_dsn():
            # A report touches no partition: only the whole tables, its ledger among them, are published.
            nothing = Partitions((), bench.zone)
            tables.prepare(connection, nothing, every_bill=False)
            publication.publish(connection, dsn, nothing)
    return written
