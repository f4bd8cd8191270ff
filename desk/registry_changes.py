"""Changes of the registry's files by the desk: a draft is held against what is there, applied whole or not at all, and undone.

    upload ──`draft`──▶ ops.registry_draft ──`preview`──▶ what would change, problems ──`apply`──▶ registry/<name>.csv, and a row
                                                                                              of ops.registry_change

A row of `ops.registry_change` is a state of a file, with who made it; the state before it is the row before. A file that
somebody changed beside the desk gets a row of its own, without a name, before the next change. Drafts and states hold passwords:
nobody but the desk and the owner reads these tables, and no page shows them.
"""

import gzip
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from desk.database import has_table
from desk.spreadsheets import csv_bytes, without_empty
from ingest_daemon import operations
from ingest_daemon.contract import registry_belief
from ingest_daemon.contract.files import replace_file, sync_folder
from ingest_daemon.contract.registry_files import FILES, KEYS, read
from ingest_daemon.contract.registry_schema import NotWhole, Problem, read_csv
from ingest_daemon.contract.settings import Settings

LOCK = int.from_bytes(b"registry")
"""Key of the advisory lock that one change of the registry holds."""
KEPT_H = 24
"""Hours after which a draft that nobody applied is removed."""

HIDDEN = "••••"
"""What stands for a password, here and in what people download; it comes back as the password that it stood for."""
SECRET = {"terminals": "password"}
"""Columns that nobody is shown, by file."""

UPLOAD, UNDO, OUTSIDE = "upload", "undo", "outside"


class Table(NamedTuple):
    """A file as text; rows may be shorter than the columns."""

    columns: list[str]
    rows: list[list[str]]


class Line(NamedTuple):
    """A row of a table: its number as the spreadsheet shows it, and its cells by column."""

    number: int
    cells: dict[str, str]


class Change(NamedTuple):
    """A row that differs: its number in the new table, the cells of its key, and (column, old, new) of each cell that does."""

    number: int
    key: str
    cells: list[tuple[str, str, str]]


class Differences(NamedTuple):
    """What one table has that another has not; `columns` of both."""

    columns: list[str]
    added: list[Line]
    changed: list[Change]
    gone: list[Line]

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.changed or self.gone)


class Draft(NamedTuple):
    """What a file is to become. `base`: digest of the file that it was held against; `content` None: no file.

    `known_as`: first digits of the digest of the file that was downloaded, as far as its name has them. `undoes`: the change that
    it takes back.
    """

    draft_id: str
    file: str
    made_at: datetime
    made_by: str
    base: str | None
    content: bytes | None
    known_as: str
    undoes: int | None


class Preview(NamedTuple):
    """What a draft would do. It is applied only without problems, and with warnings only if somebody says that it is meant."""

    differences: Differences
    problems: list[Problem]
    warnings: list[tuple[str, dict[str, object]]]
    """Keys of words, with their values."""
    loses_terminals: bool


class Author(NamedTuple):
    """Who brought a file to its state, and when; `user` None: somebody beside the desk."""

    user: str | None
    at: datetime


class Changed(Exception):
    """The file is no longer that which a draft was held against; nothing was done."""

    def __init__(self, author: Author) -> None:
        super().__init__(f"changed by {author.user or 'somebody beside the desk'} at {author.at.isoformat()}")
        self.author = author


class NotApplied(Exception):
    """The draft has problems, or warnings that nobody confirmed; nothing was done."""


# --- the files ----------------------------------------------------------------------------------------------------------------


def path_of(settings: Settings, file: str) -> Path:
    """The path of a file of the registry."""
    return settings.folder.registry / f"{file}.csv"


def content_of(path: Path) -> bytes | None:
    """Of a file; None where it is absent."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def digest(content: bytes | None) -> str | None:
    """SHA-256; None for no file."""
    return None if content is None else sha256(content).hexdigest()


def table_of(file: str, content: bytes | None) -> Table:
    """A file's content as a table; one that is absent has its columns and no row. Raises `NotWhole`."""
    if content is None:
        return Table(list(FILES[file]), [])
    table = read_csv(content)
    return Table(table.columns, table.rows)


def tolerant_table(file: str, content: bytes | None) -> Table:
    """As `table_of`; what is no table has no row."""
    try:
        return table_of(file, content)
    except NotWhole:
        return table_of(file, None)


def masked(file: str, table: Table) -> Table:
    """The table with passwords hidden, as people get it."""
    place = table.columns.index(name) if (name := SECRET.get(file)) in table.columns else None
    rows = [[HIDDEN if cell and number == place else cell for number, cell in enumerate(row)] for row in table.rows if any(row)]
    return Table(table.columns, rows)


def _hidden(file: str, cells: Mapping[str, str]) -> dict[str, str]:
    return {name: HIDDEN if cell and name == SECRET.get(file) else cell for name, cell in cells.items()}


def _lines(table: Table) -> list[Line]:
    """The rows in which something is written."""
    width = len(table.columns)
    return [
        Line(number, dict(zip(table.columns, [*row, *[""] * (width - len(row))], strict=False)))
        for number, row in enumerate(table.rows, 2)
        if any(row)
    ]


# --- drafts -------------------------------------------------------------------------------------------------------------------


def completed(file: str, upload: Table, present: Table) -> tuple[Table, list[Problem]]:
    """The table with the passwords that its hidden cells stand for, and those that stand for none.

    A terminal keeps its password; of several rows that one has, that of the same meter and time.
    """
    name = SECRET.get(file)
    if name not in upload.columns:
        return upload, []
    known: dict[tuple[str, ...], str] = {}
    for line in _lines(present):
        cells = defaultdict(str, line.cells)
        known[(cells["terminal"],)] = known[_identity(cells)] = cells[name]
    place, problems, rows = upload.columns.index(name), list[Problem](), [list(row) for row in upload.rows]
    for number, row in enumerate(rows, 2):
        if row[place : place + 1] != [HIDDEN]:
            continue
        cells = defaultdict(str, zip(upload.columns, row, strict=False))
        password = known.get(_identity(cells)) or known.get((cells["terminal"],))
        if password:
            row[place] = password
        else:
            en, zh = f"{HIDDEN} stands for no known password; enter it", f"{HIDDEN} 不对应已知的口令；请填写口令"
            problems.append(Problem(Path(f"{file}.csv"), (number,), name, en, zh))
    return Table(upload.columns, rows), problems


def _identity(cells: Mapping[str, str]) -> tuple[str, ...]:
    return cells["terminal"], cells["meter"], cells["valid_from"]


def keep_draft(connection: psycopg.Connection[Any], draft: Draft) -> None:
    """Keep a draft until it is applied; old ones go."""
    connection.execute("delete from ops.registry_draft where made_at < now() - make_interval(hours => %s)", [KEPT_H])
    connection.execute(
        "insert into ops.registry_draft (draft_id, file, made_by, base, content, known_as, undoes) "
        "values (%s, %s, %s, %s, %s, %s, %s)",
        [draft.draft_id, draft.file, draft.made_by, draft.base, _packed(draft.content), draft.known_as, draft.undoes],
    )


def new_draft(
    file: str, content: bytes | None, by: str, base: str | None, *, known_as: str = "", undoes: int | None = None
) -> Draft:
    """A draft with a number of its own."""
    return Draft(secrets.token_urlsafe(16), file, datetime.now(UTC), by, base, content, known_as, undoes)


def kept_draft(connection: psycopg.Connection[Any], file: str, draft_id: str) -> Draft | None:
    """A draft of a file; None where there is none (any more)."""
    row = connection.execute(
        "select draft_id, file, made_at, made_by, base, content, known_as, undoes from ops.registry_draft "
        "where draft_id = %s and file = %s",
        [draft_id, file],
    ).fetchone()
    return Draft(**row._asdict() | {"content": _unpacked(row.content)}) if row else None


def discard(connection: psycopg.Connection[Any], draft_id: str) -> None:
    """Remove a draft."""
    connection.execute("delete from ops.registry_draft where draft_id = %s", [draft_id])


def _packed(content: bytes | None) -> bytes | None:
    return None if content is None else gzip.compress(content, mtime=0)


def _unpacked(content: bytes | None) -> bytes | None:
    return None if content is None else gzip.decompress(content)


# --- what a draft would do ----------------------------------------------------------------------------------------------------


def preview(connection: psycopg.Connection[Any], settings: Settings, draft: Draft) -> Preview:
    """Hold a draft against the file and against the other files of the registry."""
    path = path_of(settings, draft.file)
    present = content_of(path)
    before, after = tolerant_table(draft.file, present), table_of(draft.file, draft.content)
    changes = differences(draft.file, before, after)
    warnings: list[tuple[str, dict[str, object]]] = []
    if draft.known_as and draft.undoes is None and not (digest(present) or "").startswith(draft.known_as):
        author = author_of(connection, settings, draft.file)
        warnings.append(("older_base", {"user": author.user, "at": author.at}))
    of_daemon, loses_terminals = list[Problem](), False
    if draft.file == "terminals":
        of_daemon, lost = _of_daemon(settings, path, draft.content)
        if loses_terminals := bool(lost):
            warnings.append(("terminals_gone", {"count": len(lost), "names": ", ".join(lost[:10])}))
    elif len(changes.gone) > registry_belief.LOST_SHARE * (rows := len(_lines(before))):
        warnings.append(("rows_gone", {"count": len(changes.gone), "of": rows}))
    if before.rows and (lost := [name for name in before.columns if name and name not in after.columns]):
        names = ", ".join(lost)
        en = f"columns missing that the file has: {names}; keep them, with empty cells where nothing is to be there"
        problems = [Problem(path, (), "", en, f"缺少文件已有的列：{names}；请保留该列，可留空")]
    else:
        problems = _problems(connection, settings, draft, of_daemon)
    return Preview(changes, problems, warnings, loses_terminals)


def _problems(
    connection: psycopg.Connection[Any], settings: Settings, draft: Draft, of_daemon: Sequence[Problem]
) -> list[Problem]:
    """What is wrong in a draft, and what would be wrong in other files only because of it."""
    folder, path, meters = settings.folder.registry, path_of(settings, draft.file), known_meters(connection)
    drafts = {draft.file: csv_bytes(list(FILES[draft.file]), []) if draft.content is None else draft.content}
    found = read(folder, meters, drafts).problems
    if any(problem.path != path for problem in found):
        wrong_now = set(read(folder, meters).problems)
        found = [problem for problem in found if problem.path == path or problem not in wrong_now]
    return sorted(_once([*found, *of_daemon]), key=lambda problem: (problem.path != path, problem.path, problem.rows[-1:]))


def _once(problems: Sequence[Problem]) -> list[Problem]:
    """The problems, of several of one cell the first: figures and daemon find the same faults."""
    known: dict[tuple[object, ...], Problem] = {}
    for problem in problems:
        known.setdefault((problem.path, problem.rows[-1:], problem.column), problem)
    return list(known.values())


def _of_daemon(settings: Settings, path: Path, draft: bytes | None) -> tuple[list[Problem], list[str]]:
    """What the daemon finds wrong in terminals.csv or a draft of it, and the terminals without which it would not believe it.

    Columns of one's own are no fault.
    """
    try:
        change = operations.registry(settings).change(draft)
    except (OSError, ValueError) as error:
        return [Problem(path, (), "", str(error), str(error))], []
    problems = [Problem(path, (found.row,), found.column, found.detail, found.zh) for found in change.problems if found.row > 1]
    return problems, change.lost if change.disbelief else []


def present_problems(connection: psycopg.Connection[Any], settings: Settings) -> list[Problem]:
    """What is wrong in the files as they are."""
    own, path = read(settings.folder.registry, known_meters(connection)).problems, path_of(settings, "terminals")
    return _once([*own, *(_of_daemon(settings, path, None)[0] if path.exists() else [])])


def known_meters(connection: psycopg.Connection[Any]) -> set[str]:
    """The meters that the figures know, those of billing alone and former ones included."""
    if not has_table(connection, "mart.meter"):
        return set()
    return {meter for (meter,) in connection.execute("select meter from mart.meter")}


def differences(file: str, before: Table, after: Table) -> Differences:
    """What the new table has that the old one has not. Rows are the same by the file's key; the order of rows means nothing."""
    columns = list(dict.fromkeys(name for name in (*after.columns, *before.columns) if name))
    keys = KEYS[file]
    old, new = (_by_key(keys, table) for table in (before, after))
    added, changed, gone = list[Line](), list[Change](), list[Line]()
    for key in dict.fromkeys((*new, *old)):
        mine, theirs = new.get(key, []), old.get(key, [])
        left = [line for line in theirs if line.cells not in [other.cells for other in mine]] if theirs else []
        rest = [line for line in mine if line.cells not in [other.cells for other in theirs]] if theirs else mine
        for line, former in zip(rest, left, strict=False):
            cells = [
                (name, former.cells.get(name, ""), line.cells.get(name, ""))
                for name in columns
                if former.cells.get(name, "") != line.cells.get(name, "")
            ]
            if cells:
                changed.append(Change(line.number, " · ".join(part for part in key if part), _shown(file, cells)))
        added += [line._replace(cells=_hidden(file, line.cells)) for line in rest[len(left) :]]
        gone += [line._replace(cells=_hidden(file, line.cells)) for line in left[len(rest) :]]
    return Differences(columns, added, changed, gone)


def _by_key(keys: Sequence[str], table: Table) -> dict[tuple[str, ...], list[Line]]:
    found = defaultdict(list)
    for line in _lines(table):
        found[tuple(line.cells.get(name, "") for name in keys)].append(line)
    return found


def _shown(file: str, cells: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(name, old and HIDDEN, new and HIDDEN) if name == SECRET.get(file) else (name, old, new) for name, old, new in cells]


# --- applying -----------------------------------------------------------------------------------------------------------------


def apply(connection: psycopg.Connection[Any], settings: Settings, draft: Draft, user: str, *, is_meant: bool) -> None:
    """Make a draft the file, note who did, and commit. All of it or nothing: where that fails, the file is put back.

    `is_meant`: the user confirmed the warnings. Raises `Changed`, `NotApplied`, `OSError`, `psycopg.Error`.
    """
    path = path_of(settings, draft.file)
    connection.execute("select pg_advisory_xact_lock(%s)", [LOCK])
    present = content_of(path)
    if digest(present) != draft.base:
        raise Changed(author_of(connection, settings, draft.file))
    plan = preview(connection, settings, draft)
    if plan.problems or plan.differences.is_empty or (plan.warnings and not is_meant):
        raise NotApplied
    content = draft.content
    if content is not None:
        table = table_of(draft.file, content)
        content = csv_bytes(table.columns, without_empty(table.rows))
    _note_outside(connection, settings, draft.file, present)
    _note(connection, draft.file, content, plan.differences, UNDO if draft.undoes else UPLOAD, user, draft.undoes)
    discard(connection, draft.draft_id)
    _put(path, content)
    try:
        if plan.loses_terminals:
            registry_belief.accept(settings.folder)
        connection.commit()
    except (psycopg.Error, OSError):
        _put(path, present)
        raise


def _put(path: Path, content: bytes | None) -> None:
    """Replace a file durably, or take it away. Who could write it, from a share for one, still can."""
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rights = path.stat().st_mode & 0o777 if path.exists() else None
        replace_file(path, [content])
        if rights is not None:
            path.chmod(rights)
    else:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def _note_outside(connection: psycopg.Connection[Any], settings: Settings, file: str, present: bytes | None) -> None:
    """Note what somebody did beside the desk since its last change, so that no state of the file is lost."""
    last = last_state(connection, file)
    if (last.digest if last else None) == digest(present):
        return
    former = state_content(connection, last.change_id) if last else None
    changes = differences(file, tolerant_table(file, former), tolerant_table(file, present))
    _note(connection, file, present, changes, OUTSIDE, None, None, _modified(path_of(settings, file)))


def _note(
    connection: psycopg.Connection[Any],
    file: str,
    content: bytes | None,
    changes: Differences,
    kind: str,
    user: str | None,
    undoes: int | None,
    at: datetime | None = None,
) -> None:
    connection.execute(
        "insert into ops.registry_change "
        "(file, changed_at, changed_by, kind, undoes, digest, content, rows_added, rows_changed, rows_gone) "
        "values (%s, coalesce(%s, clock_timestamp()), %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            *(file, at, user, kind, undoes, digest(content), _packed(content)),
            *(len(changes.added), len(changes.changed), len(changes.gone)),
        ],
    )


def _modified(path: Path) -> datetime | None:
    with suppress(OSError):
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return None


# --- history ------------------------------------------------------------------------------------------------------------------


class State(NamedTuple):
    """A state of a file in the history."""

    change_id: int
    file: str
    changed_at: datetime
    changed_by: str | None
    kind: str
    undoes: int | None
    digest: str | None
    rows_added: int
    rows_changed: int
    rows_gone: int


STATE = f"select {', '.join(State._fields)} from ops.registry_change"


def history(connection: psycopg.Connection[Any], file: str, most: int = 50) -> list[State]:
    """The last states of a file, the newest first."""
    rows = connection.execute(f"{STATE} where file = %s order by change_id desc limit %s", [file, most])
    return [State(*row) for row in rows]


def last_state(connection: psycopg.Connection[Any], file: str) -> State | None:
    """The newest state of a file; None where the desk never changed it."""
    return next(iter(history(connection, file, 1)), None)


def last_states(connection: psycopg.Connection[Any]) -> dict[str, State]:
    """The newest state of each file that the desk changed."""
    rows = connection.execute(f"{STATE} where change_id in (select max(change_id) from ops.registry_change group by file)")
    return {row.file: State(*row) for row in rows}


def state_and_former(connection: psycopg.Connection[Any], file: str, change_id: int) -> tuple[State, State | None] | None:
    """A state of a file and that before it; None where there is no such."""
    rows = connection.execute(f"{STATE} where file = %s and change_id <= %s order by change_id desc limit 2", [file, change_id])
    states = [State(*row) for row in rows]
    if not states or states[0].change_id != change_id:
        return None
    return states[0], states[1] if len(states) > 1 else None


def state_content(connection: psycopg.Connection[Any], change_id: int) -> bytes | None:
    """The file in a state; None for no file."""
    row = connection.execute("select content from ops.registry_change where change_id = %s", [change_id]).fetchone()
    return _unpacked(row[0]) if row else None


def differences_of(connection: psycopg.Connection[Any], state: State, former: State | None) -> Differences:
    """What a change changed."""
    before = state_content(connection, former.change_id) if former else None
    return differences(
        state.file, tolerant_table(state.file, before), tolerant_table(state.file, state_content(connection, state.change_id))
    )


def undo_draft(connection: psycopg.Connection[Any], settings: Settings, file: str, change_id: int, user: str) -> Draft:
    """A draft of the content before the last change; before a file's first one there was no file.

    Raises `Changed` where that change is no longer the last.
    """
    base, last = digest(content_of(path_of(settings, file))), last_state(connection, file)
    if not last or last.change_id != change_id or last.digest != base:
        raise Changed(author_of(connection, settings, file))
    _, former = state_and_former(connection, file, change_id) or (last, None)
    content = state_content(connection, former.change_id) if former else None
    return new_draft(file, content, user, base, undoes=change_id)


def author_of(connection: psycopg.Connection[Any], settings: Settings, file: str) -> Author:
    """Who brought a file to its state."""
    path, last = path_of(settings, file), last_state(connection, file)
    if last and last.digest == digest(content_of(path)):
        return Author(last.changed_by, last.changed_at)
    return Author(None, _modified(path) or datetime.now(UTC))
