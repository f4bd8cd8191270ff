"""One report written and noted in the ledger, on demand; the schedule does the same through Dagster."""

from datetime import date

import duckdb

from assets import calendar, publication, reports, tables, warehouse
from assets.marts import Partitions
from assets.reports import Report
from assets.workbench import Workbench


def export_report(bench: Workbench, name: str, days: tuple[date, date] | None) -> list[Report]:
    """Write the report's files for the days (None: the month up to the newest day) into `reports/`. Raises `ValueError`."""
    with warehouse.exclusive(bench.site.state / "run.lock"), warehouse.opened(bench.site.marts, str(bench.zone)) as connection:
        run_id = latest_run(connection)
        first, last = days or newest_month(connection)
        written = reports.export(
            name, first, last, warehouse=connection, folder=bench.site.reports, utility=bench.utility, run_id=run_id
        )
        reports.record(connection, written)
        if dsn := bench.serving_dsn():
            # No partition is touched by a report: only the whole tables, its ledger among them, are published.
            nothing = Partitions((), bench.zone)
            tables.prepare(connection, nothing, every_bill=False)
            publication.publish(connection, dsn, nothing)
    return written


def newest_month(connection: duckdb.DuckDBPyConnection) -> tuple[date, date]:
    """The month of the newest day that has figures, up to that day."""
    (last,) = connection.execute("select max(day) from daily_usage where volume_m3 is not null").fetchall()[0]
    return calendar.month_of(last), last


def latest_run(connection: duckdb.DuckDBPyConnection) -> str:
    """The run whose figures a report shows: its input version."""
    if not warehouse.has_table(connection, "run_ledger"):
        raise ValueError("nothing is computed yet, so there is nothing to report; compute with: mainflow run")
    return str(connection.execute("select run_id from run_ledger order by finished_at desc limit 1").fetchall()[0][0])
