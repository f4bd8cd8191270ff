"""`/maintain`: the registry's files: download, upload, preview, apply, history, undo. For administrators."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from desk import registry_changes as changes
from desk.registry_changes import Changed, Draft, NotApplied, Preview
from desk.security import ADMIN, UPLOAD_BYTES, Refused, Visit, action, page
from desk.spreadsheets import csv_bytes, download_csv, download_xlsx, read_upload
from ingest_daemon.contract.registry_files import EXPECTED_TYPE, FILES, KEYS, RULES
from ingest_daemon.contract.registry_schema import DAY, NotWhole, Problem, read_csv

CSV_TYPE, XLSX_TYPE = "text/csv; charset=utf-8", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
VERSION_DIGITS = 8
VERSION = re.compile(rf"\.v([0-9a-f]{{{VERSION_DIGITS}}})(?![0-9a-f])")
"""In the name of a downloaded file: first digits of its content's digest."""

LINES = 200
"""Changed rows and problems on one page."""


class Overview(NamedTuple):
    """A file in the list: its rows (None: no file, or no table), its last state, and the number of its problems."""

    file: str
    rows: int | None
    state: changes.State | None
    is_outside: bool
    problems: int


def overview(visit: Visit) -> Response:
    """Every file with its rows, its last change and its problems."""
    settings = visit.desk.settings
    with visit.database() as connection:
        states = changes.last_states(connection)
        problems = changes.present_problems(connection, settings)
    files = []
    for file in FILES:
        content, state = changes.content_of(changes.path_of(settings, file)), states.get(file)
        is_outside = state is not None and state.digest != changes.digest(content)
        count = sum(problem.path.stem == file for problem in problems)
        files.append(Overview(file, _rows(file, content), state, is_outside, count))
    return visit.show("maintain.html", files=files)


def _rows(file: str, content: bytes | None) -> int | None:
    try:
        return None if content is None else sum(any(row) for row in changes.table_of(file, content).rows)
    except NotWhole:
        return None


def _file(visit: Visit) -> str:
    file: str = visit.request.path_params["file"]
    if file not in FILES:
        raise Refused(404, "not_found")
    return file


def file_page(visit: Visit) -> Response:
    """One file: its columns, its problems, its history, and the form to send another."""
    return _show_file(visit)


def _show_file(visit: Visit, status: int = 200, trouble: str = "") -> Response:
    file, settings = _file(visit), visit.desk.settings
    content = changes.content_of(changes.path_of(settings, file))
    with visit.database() as connection:
        history = changes.history(connection, file)
        problems = [problem for problem in changes.present_problems(connection, settings) if problem.path.stem == file]
        author = changes.author_of(connection, settings, file)
    is_outside = bool(history) and history[0].digest != changes.digest(content)
    return visit.show(
        "maintain_file.html",
        status,
        file=file,
        rows=_rows(file, content),
        columns=_columns(visit, file),
        has_shipped=(RULES / f"{file}.csv").exists(),
        history=history,
        undoable=history[0].change_id if history and not is_outside else None,
        outside_at=author.at if is_outside else None,
        problems=_shown(visit, problems),
        more_problems=max(0, len(problems) - LINES),
        trouble=trouble,
    )


def _columns(visit: Visit, file: str) -> list[tuple[str, str, bool, bool]]:
    """Name of each column, what its cells hold, whether each must be filled, whether it is of the key."""
    found = []
    for name, column in FILES[file].items():
        en, zh = EXPECTED_TYPE[DAY if column.moment else column.dtype]
        words = zh if visit.desk.language == "zh" else en
        if column.allowed:
            words = ", ".join(column.allowed)
        elif column.positive:
            words += " > 0"
        found.append((name, words, column.required, name in KEYS[file]))
    return found


class ShownProblem(NamedTuple):
    """A problem in the site's language."""

    file: str
    rows: str
    column: str
    text: str


def _shown(visit: Visit, problems: Sequence[Problem]) -> list[ShownProblem]:
    folder = f"{visit.desk.settings.folder.registry}/"
    return [
        ShownProblem(
            problem.path.name,
            ", ".join(map(str, problem.rows)),
            problem.column,
            (problem.zh if visit.desk.language == "zh" else problem.en).replace(folder, ""),
        )
        for problem in problems[:LINES]
    ]


# --- download -----------------------------------------------------------------------------------------------------------------


def download(visit: Visit) -> Response:
    """The file as CSV or XLSX, passwords hidden; its name has its version."""
    file, kind = _file(visit), visit.request.path_params["kind"]
    content = changes.content_of(changes.path_of(visit.desk.settings, file))
    try:
        table = changes.masked(file, changes.table_of(file, content))
    except NotWhole as error:
        return _show_file(visit, 422, visit.desk.word("no_table", reason=_words(visit, error)))
    version = f".v{digest[:VERSION_DIGITS]}" if (digest := changes.digest(content)) else ""
    return _attachment(f"{file}{version}", kind, file, table.columns, table.rows)


def shipped(visit: Visit) -> Response:
    """The rows of a file that Mainflow comes with; those of the site's own file come first."""
    file = _file(visit)
    content = changes.content_of(RULES / f"{file}.csv")
    if content is None:
        raise Refused(404, "not_found")
    table = read_csv(content)
    return _attachment(f"{file}-shipped", visit.request.path_params["kind"], file, table.columns, table.rows)


def _attachment(name: str, kind: str, sheet: str, columns: list[str], rows: list[list[str]]) -> Response:
    if kind not in ("csv", "xlsx"):
        raise Refused(404, "not_found")
    body = download_xlsx(sheet, columns, rows) if kind == "xlsx" else download_csv(columns, rows)
    headers = {"content-disposition": f'attachment; filename="{name}.{kind}"'}
    return Response(body, media_type=XLSX_TYPE if kind == "xlsx" else CSV_TYPE, headers=headers)


def _words(visit: Visit, error: NotWhole) -> str:
    return error.zh if visit.desk.language == "zh" else str(error)


# --- upload, preview, apply ---------------------------------------------------------------------------------------------------


def upload(visit: Visit) -> Response:
    """Hold what was sent against the file; it becomes a draft that somebody has to apply."""
    file, settings, sent = _file(visit), visit.desk.settings, visit.form.get("upload")
    if not isinstance(sent, UploadFile) or not sent.filename:
        return _show_file(visit, 422, visit.desk.word("no_upload"))
    try:
        read = read_upload(file, sent.file.read())
    except NotWhole as error:
        return _show_file(visit, 422, visit.desk.word("no_table", reason=_words(visit, error)))
    present = changes.content_of(changes.path_of(settings, file))
    table, unknown = changes.completed(file, changes.Table(read.columns, read.rows), changes.tolerant_table(file, present))
    version = VERSION.search(sent.filename)
    draft = changes.new_draft(
        file,
        csv_bytes(table.columns, table.rows),
        visit.user,
        changes.digest(present),
        known_as=version[1] if version else "",
    )
    problems = read.problems + unknown
    with visit.database() as connection:
        if not problems:
            changes.keep_draft(connection, draft)
            return RedirectResponse(f"/maintain/{file}/draft/{draft.draft_id}", 303)
        # What only the upload shows, merged cells for one, no draft can keep: all is shown at once, and nothing can be applied.
        plan = changes.preview(connection, settings, draft)
    own = {(problem.rows, problem.column) for problem in problems}
    rest = [problem for problem in plan.problems if (problem.rows, problem.column) not in own]
    return _show_draft(visit, draft, plan._replace(problems=problems + rest), 422)


def draft_page(visit: Visit) -> Response:
    """What a draft would change, row by row, and every problem."""
    with visit.database() as connection:
        draft = _draft(visit, connection)
        plan = changes.preview(connection, visit.desk.settings, draft)
    return _show_draft(visit, draft, plan)


def _draft(visit: Visit, connection: Any) -> Draft:
    draft = changes.kept_draft(connection, _file(visit), visit.request.path_params["draft_id"])
    if draft is None:
        raise Refused(404, "no_draft")
    return draft


class ShownLine(NamedTuple):
    """A row that is added, changed or gone: its number and key, and the cells (column, old, new) to show."""

    kind: str
    number: int
    key: str
    cells: list[tuple[str, str, str]]


def _lines(file: str, differences: changes.Differences) -> list[ShownLine]:
    changed = [ShownLine("changed", *change) for change in differences.changed]
    gone = [
        ShownLine("gone", line.number, _key(file, line), [(name, cell, "") for name, cell in line.cells.items() if name and cell])
        for line in differences.gone
    ]
    added = [
        ShownLine(
            "added", line.number, _key(file, line), [(name, "", cell) for name, cell in line.cells.items() if name and cell]
        )
        for line in differences.added
    ]
    return changed + gone + added


def _key(file: str, line: changes.Line) -> str:
    return " · ".join(cell for name in KEYS[file] if (cell := line.cells.get(name, "")))


def _of_differences(visit: Visit, file: str, differences: changes.Differences) -> dict[str, Any]:
    """What the template of differences shows: one page of the lines."""
    lines = _lines(file, differences)
    text = visit.query.get("from", "0")
    first = min(int(text), len(lines)) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    return {
        "counts": [
            ("changed", len(differences.changed)),
            ("gone", len(differences.gone)),
            ("added", len(differences.added)),
        ],
        "lines": lines[first : first + LINES],
        "first": first,
        "total": len(lines),
        "page_lines": LINES,
    }


def _show_draft(
    visit: Visit, draft: Draft, plan: Preview, status: int = 200, trouble: str = "", *, can_apply: bool = True
) -> Response:
    return visit.show(
        "maintain_draft.html",
        status,
        file=draft.file,
        draft=draft,
        can_apply=can_apply and not plan.problems and not plan.differences.is_empty,
        warnings=[visit.desk.word(key, **_readable(visit, values)) for key, values in plan.warnings],
        problems=_shown(visit, plan.problems),
        more_problems=max(0, len(plan.problems) - LINES),
        trouble=trouble,
        **_of_differences(visit, draft.file, plan.differences),
    )


def _readable(visit: Visit, values: dict[str, object]) -> dict[str, object]:
    """Times on the utility's clock, and a word for somebody without a name."""
    return {
        name: visit.desk.moment(value)
        if isinstance(value, datetime)
        else (visit.desk.word("beside_desk") if value is None else value)
        for name, value in values.items()
    }


def apply(visit: Visit) -> Response:
    """Make a draft the file."""
    desk, file = visit.desk, _file(visit)
    with visit.database() as connection:
        draft = _draft(visit, connection)
        try:
            changes.apply(connection, desk.settings, draft, visit.user, is_meant=visit.text("meant") == "yes")
        except Changed as changed:
            connection.rollback()
            words = desk.word("changed_since", **_readable(visit, changed.author._asdict()))
            plan = changes.preview(connection, desk.settings, draft)
            return _show_draft(visit, draft, plan, 409, words, can_apply=False)
        except NotApplied:
            connection.rollback()
            plan = changes.preview(connection, desk.settings, draft)
            return _show_draft(visit, draft, plan, 422, desk.word("not_applied" if plan.problems else "confirm_first"))
        except OSError as error:
            connection.rollback()
            plan = changes.preview(connection, desk.settings, draft)
            return _show_draft(visit, draft, plan, 503, desk.word("not_written", reason=error.strerror or error))
    return RedirectResponse(f"/maintain/{file}", 303)


def discard(visit: Visit) -> Response:
    """Give a draft up."""
    with visit.database() as connection:
        changes.discard(connection, _draft(visit, connection).draft_id)
    return RedirectResponse(f"/maintain/{_file(visit)}", 303)


# --- history ------------------------------------------------------------------------------------------------------------------


def change_page(visit: Visit) -> Response:
    """What a change changed."""
    file = _file(visit)
    with visit.database() as connection:
        found = changes.state_and_former(connection, file, visit.request.path_params["change_id"])
        if found is None:
            raise Refused(404, "not_found")
        differences = changes.differences_of(connection, *found)
    state, former = found
    return visit.show(
        "maintain_change.html", file=file, state=state, is_first=former is None, **_of_differences(visit, file, differences)
    )


def undo(visit: Visit) -> Response:
    """A draft of what was before the last change; to be looked at and applied like any other."""
    file, desk, number = _file(visit), visit.desk, visit.text("change_id", 18)
    if not (number.isascii() and number.isdecimal()):
        raise Refused(400, "wrong_value", field="change_id", value=number)
    with visit.database() as connection:
        try:
            draft = changes.undo_draft(connection, desk.settings, file, int(number), visit.user)
        except Changed as changed:
            connection.rollback()
            return _show_file(visit, 409, desk.word("changed_since", **_readable(visit, changed.author._asdict())))
        changes.keep_draft(connection, draft)
    return RedirectResponse(f"/maintain/{file}/draft/{draft.draft_id}", 303)


navigation = [("/maintain", "maintain", ADMIN)]
routes = [
    page("/maintain", overview, role=ADMIN),
    page("/maintain/{file}", file_page, role=ADMIN),
    page("/maintain/{file}/download.{kind}", download, role=ADMIN),
    page("/maintain/{file}/shipped.{kind}", shipped, role=ADMIN),
    action("/maintain/{file}/upload", upload, role=ADMIN, body_bytes=UPLOAD_BYTES),
    page("/maintain/{file}/draft/{draft_id}", draft_page, role=ADMIN),
    action("/maintain/{file}/draft/{draft_id}/apply", apply, role=ADMIN),
    action("/maintain/{file}/draft/{draft_id}/discard", discard, role=ADMIN),
    page("/maintain/{file}/change/{change_id:int}", change_page, role=ADMIN),
    action("/maintain/{file}/undo", undo, role=ADMIN),
]
