"""The files for other systems written and noted in the ledger: by the schedule every day, or on demand."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import duckdb

from assets import output_files, reports
from assets.outputs import outputs
from assets.reports import Issued
from assets.workbench import Workbench
from ingest_daemon.contract.log import LOG
from pipelines.runs.run import Run, run_lock


class OutputFailed(RuntimeError):
    """Some outputs were not written, the others were; the text says which and why."""


def write_outputs(bench: Workbench, names: Sequence[str] = (), days: tuple[date, date] | None = None) -> list[Issued]:
    """Write the files of the outputs (none named: of all) that are due. One that fails stops no other.

    Raises `OutputFailed` at the end, with all that were not written; an output without figures yet is one only where it is named.
    """
    written, failed = [], []
    with run_lock(bench):
        run = Run(bench, [], "output")
        with run.opened() as connection:
            for name in names or outputs():
                try:
                    written += output_files.make(name, days, bench, connection, datetime.now(UTC))
                except reports.NothingToReport as error:
                    LOG.info("%s", error)
                    failed += [str(error)] if names else []
                except (ValueError, OSError, duckdb.Error) as error:
                    failed.append(f"{name}: {error}")
            run.publish(connection)
    if failed:
        raise OutputFailed("\n".join(failed))
    return written
