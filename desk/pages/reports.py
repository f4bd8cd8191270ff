"""`/reports`: the reports that were issued, with their editions; operators download the files as they were issued."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from starlette.responses import Response

from desk.database import has_table
from desk.security import OPERATOR, VIEWER, Refused, Visit, page
from ingest_daemon.contract.headers import SQL, read_header

TYPES = {
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".csv": "text/csv; charset=utf-8",
}
MOST = 500
"""Editions on the page, the newest first."""


class Edition(NamedTuple):
    """An edition of a report, with the names of its files."""

    title: str
    period: str
    edition: int
    run_id: str
    exported_at: Any
    files: Sequence[str]


def issued(visit: Visit) -> Response:
    """The list; `report` filters."""
    chosen = visit.query.get("report", "")
    titles = {name: title[visit.desk.language] for name, title in _titles().items()}
    if chosen and chosen not in titles:
        raise Refused(400, "wrong_value", field="report", value=chosen)
    with visit.database() as connection:
        rows = []
        if has_table(connection, "mart.report_ledger"):
            rows = connection.execute(
                "select report, period, edition, max(run_id) as run_id, max(exported_at) as exported_at, "
                "array_agg(file order by file desc) as files from mart.report_ledger where %(report)s in ('', report) "
                "group by report, period, edition order by max(exported_at) desc, report, edition desc limit %(most)s",
                {"report": chosen, "most": MOST},
            ).fetchall()
    editions = [
        Edition(
            titles.get(row.report, row.report),
            row.period,
            row.edition,
            row.run_id,
            row.exported_at,
            [Path(file).name for file in row.files],
        )
        for row in rows
    ]
    return visit.show("reports.html", editions=editions, titles=titles, chosen=chosen, may_download=visit.may(OPERATOR))


@cache
def _titles() -> dict[str, dict[str, str]]:
    """Titles of reports by name, in both languages."""
    headers = {path.stem: read_header(path)[0] for path in sorted((SQL / "reports").glob("*.sql"))}
    return {name: header.get("workbook", header) for name, header in headers.items() if "sheet_of" not in header}


def download(visit: Visit) -> Response:
    """A file as it was issued: one that was changed since is refused."""
    name = visit.request.path_params["file"]
    with visit.database() as connection:
        rows = connection.execute("select file, sha256 from mart.report_ledger where file like %s", [f"%{name}"]).fetchall()
    checksum = next((row.sha256 for row in rows if Path(row.file).name == name), None)
    file = visit.desk.settings.folder.reports / name
    if checksum is None or not file.is_file():
        raise Refused(404, "not_found")
    data = file.read_bytes()
    if sha256(data).hexdigest() != checksum:
        raise Refused(409, "report_changed", file=name)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=TYPES[file.suffix], headers=headers)


navigation = [("/reports", "reports", VIEWER)]
routes = [page("/reports", issued), page("/reports/{file}", download, role=OPERATOR)]
