"""The registry's CSV files, which a person edits in a spreadsheet: rows that are right come back typed.

A wrong row is refused alone and listed with file, row, column and what was expected. `assets.registry_history` keeps what held
when; the desk holds a draft of a file against the others before it takes its place.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from ingest_daemon.contract.alarm_codes import LIMITED, OF_TERMINALS
from ingest_daemon.contract.files import replace_file
from ingest_daemon.contract.headers import SQL
from ingest_daemon.contract.identifiers import EXPECTED, EXPECTED_ZH, is_identifier
from ingest_daemon.contract.registry_schema import (
    DAY,
    NUMBER,
    TERMINAL_COLUMNS,
    TEXT,
    TIME,
    WHOLE,
    Column,
    CsvTable,
    NotWhole,
    Problem,
    read_csv,
)

RELATION_KINDS = ("network", "line", "industry", "region", "group", "book")
"""Kinds of relation that `relations.csv` may have; a row of `vocabulary.csv` with the kind `kind` declares a further one."""

DERIVED_KINDS = ("dn", "vendor", "source")
"""Kinds of relation that follow from terminals.csv and billing alone."""

SHOWN = 20

RULES = SQL / "rules"
"""Rules as they are shipped: criteria, holidays, segments, catalogue; rows of the site's file of that name come first."""

KEYS = {
    "terminals": ("terminal",),
    "replacements": ("meter", "replaced_at"),
    "customers": ("customer_no",),
    "relations": ("meter", "kind", "code", "valid_from"),
    "vocabulary": ("kind", "code"),
    "points": ("meter",),
    "limits": ("meter", "code", "valid_from"),
    "criteria": ("name", "valid_from"),
    "holidays": ("day",),
    "segments": ("kind", "code", "from_h", "scope_kind", "scope_code", "valid_from"),
    "catalogue": ("standard", "technology", "class", "dn_mm"),
    "access": ("login",),
    "tags": ("source", "tag", "valid_from"),
    "amr_alarms": ("source", "code"),
}
"""What makes two rows of a file the same row."""

RISING = {
    "relations": ("valid_from", "valid_to"),
    "tags": ("valid_from", "valid_to"),
    "segments": ("from_h", "to_h"),
    "catalogue": ("q1_m3h", "q2_m3h", "q3_m3h", "q4_m3h"),
}
"""Columns of a file whose values rise from one to the next within a row, where they are given."""


A_TIME = "a time like 2026-01-31T08:00:00+08:00", "时间，如 2026-01-31T08:00:00+08:00"
EXPECTED_TYPE = {
    TEXT: ("text", "文字"),
    NUMBER: ("a number", "数字"),
    WHOLE: ("a whole number", "整数"),
    DAY: ("a date like 2026-01-31", "日期，如 2026-01-31"),
    TIME: A_TIME,
}
"""What a cell of a type holds, in English and Chinese."""


DATUMS = ("WGS84", "CGCS2000", "GCJ02", "BD09")
DAY_KINDS = ("holiday", "work")

VIEWER, OPERATOR, ADMIN = ACCESS_ROLES = ("viewer", "operator", "admin")
"""Roles of people, from the least rights: reads, acknowledges, maintains."""

TEAMS = ("dispatch", "metrology", "billing", "management")

BUILT_IN = "admin"
"""Grafana's own administrator, who is nobody's row."""

REGION_BYTES = 48
"""Longest code of a region of `access.csv` in UTF-8: it is part of the name of a PostgreSQL role."""


class RegistryError(ValueError):
    """There is no registry to work with; the text lists what to mend where."""


def _column(path: Path, name: str) -> list[str]:
    """The cells of a column of a shipped file."""
    table = read_csv(path.read_bytes())
    return [row[table.columns.index(name)] for row in table.rows]


FILES: dict[str, dict[str, Column]] = {
    "terminals": TERMINAL_COLUMNS,
    "replacements": {
        "meter": Column(TEXT, required=True, identifier=True),
        "replaced_at": Column(TIME),
        "replaced_on": Column(DAY, extra=True),
        "old_final_m3": Column(NUMBER, required=True),
        "new_initial_m3": Column(NUMBER, required=True),
    },
    "customers": {
        "customer_no": Column(TEXT, required=True, identifier=True),
        "name": Column(TEXT, required=True),
        "industry": Column(TEXT, identifier=True),
        "region": Column(TEXT, identifier=True),
        "address": Column(TEXT),
    },
    "relations": {
        "meter": Column(TEXT, required=True, identifier=True),
        "kind": Column(TEXT, required=True),
        "code": Column(TEXT, required=True, identifier=True),
        "valid_from": Column(DAY),
        "valid_to": Column(DAY),
    },
    "vocabulary": {
        "kind": Column(TEXT, required=True, identifier=True),
        "code": Column(TEXT, required=True, identifier=True),
        "zh": Column(TEXT, required=True),
        "en": Column(TEXT, required=True),
    },
    "points": {
        "meter": Column(TEXT, required=True, identifier=True),
        "elevation_m": Column(NUMBER),
        "latitude": Column(NUMBER),
        "longitude": Column(NUMBER),
        "datum": Column(TEXT, allowed=DATUMS),
        "node": Column(TEXT, identifier=True),
        "inlet_of": Column(TEXT, identifier=True),
        "runs_always": Column(TEXT, allowed=("yes", "no")),
    },
    "limits": {
        "meter": Column(TEXT, required=True, identifier=True),
        "code": Column(TEXT, required=True, allowed=LIMITED),
        "limit_value": Column(NUMBER, required=True),
        "valid_from": Column(DAY, required=True),
    },
    "criteria": {
        "name": Column(TEXT, required=True, allowed=tuple(_column(RULES / "criteria.csv", "name"))),
        "value": Column(NUMBER, required=True),
        "valid_from": Column(DAY),
    },
    "holidays": {
        "day": Column(DAY, required=True),
        "kind": Column(TEXT, required=True, allowed=DAY_KINDS),
        "zh": Column(TEXT, required=True),
        "en": Column(TEXT, required=True),
        "festival": Column(TEXT),
    },
    "segments": {
        "kind": Column(TEXT, required=True),
        "code": Column(TEXT, required=True, identifier=True),
        "zh": Column(TEXT, required=True),
        "en": Column(TEXT, required=True),
        "from_h": Column(WHOLE, required=True, allowed=tuple(map(str, range(24)))),
        "to_h": Column(WHOLE, required=True, allowed=tuple(map(str, range(1, 25)))),
        "scope_kind": Column(TEXT),
        "scope_code": Column(TEXT),
        "valid_from": Column(DAY),
    },
    "catalogue": {
        "standard": Column(TEXT, required=True),
        "technology": Column(TEXT, required=True),
        "class": Column(TEXT, required=True),
        "dn_mm": Column(WHOLE, required=True, positive=True),
        "q1_m3h": Column(NUMBER, required=True, positive=True),
        "q2_m3h": Column(NUMBER, required=True, positive=True),
        "q3_m3h": Column(NUMBER, required=True, positive=True),
        "q4_m3h": Column(NUMBER, required=True, positive=True),
        "price_cny": Column(NUMBER, positive=True),
        "assumed": Column(TEXT, allowed=("yes", "no")),
    },
    "access": {
        "login": Column(TEXT, required=True, identifier=True),
        "name": Column(TEXT, required=True),
        "email": Column(TEXT),
        "role": Column(TEXT, required=True, allowed=ACCESS_ROLES),
        "team": Column(TEXT, allowed=TEAMS),
        "region": Column(TEXT, identifier=True),
        "home": Column(TEXT, identifier=True),
        "language": Column(TEXT, allowed=("zh", "en")),
        "theme": Column(TEXT, allowed=("light", "dark", "system")),
    },
    "tags": {
        "source": Column(TEXT, required=True, identifier=True),
        "tag": Column(TEXT, required=True),
        "terminal": Column(TEXT, required=True, identifier=True),
        "valid_from": Column(DAY),
        "valid_to": Column(DAY),
    },
    "amr_alarms": {
        "source": Column(TEXT, required=True, identifier=True),
        "code": Column(TEXT, required=True),
        "alarm": Column(TEXT, required=True, allowed=OF_TERMINALS),
    },
}
"""The files (`registry/<name>.csv`) and their columns: the one place that fixes them."""


class Registry(NamedTuple):
    """The rows of the files that are right, typed as `FILES` says; a file that is absent (but terminals) is an empty frame."""

    terminals: pl.DataFrame
    replacements: pl.DataFrame
    customers: pl.DataFrame
    relations: pl.DataFrame
    vocabulary: pl.DataFrame
    points: pl.DataFrame
    limits: pl.DataFrame
    criteria: pl.DataFrame
    holidays: pl.DataFrame
    segments: pl.DataFrame
    catalogue: pl.DataFrame
    access: pl.DataFrame
    tags: pl.DataFrame
    amr_alarms: pl.DataFrame


class Person(NamedTuple):
    """A row of `access.csv`; what is empty is the default. `region`: the only one that the person sees; empty: all."""

    login: str
    name: str
    email: str
    role: str
    team: str
    region: str
    home: str
    language: str
    theme: str


class People(NamedTuple):
    """The right rows of `access.csv`, a line for each problem, and the logins of refused rows."""

    people: tuple[Person, ...]
    problems: list[Problem]
    refused: frozenset[str]


class Content(NamedTuple):
    """The files as they are now: right rows, a line for each problem, and what the problems leave open.

    `refused`: by file, the texts of the key columns of each refused row. `unread`: files that are refused as a whole.
    `strangers`: meters that rows name and nobody knows.
    """

    rows: Registry
    problems: list[Problem]
    refused: dict[str, list[tuple[str | None, ...]]]
    unread: set[str]
    strangers: set[str]


def read(folder: Path, known_meters: Iterable[str] = (), drafts: Mapping[str, bytes] = MappingProxyType({})) -> Content:
    """Read `folder/*.csv`. A wrong row is refused alone; a file that is no table is refused as a whole.

    `known_meters`: meters that rows may name although `terminals.csv` has them no more or never had. `drafts`: contents, by name,
    that count instead of those of the files.
    """
    problems: list[Problem] = []
    refused: dict[str, list[tuple[str | None, ...]]] = {}
    frames: dict[str, pl.DataFrame] = {}
    unread: set[str] = set()
    for name in sorted(FILES, key=lambda name: name != "vocabulary"):
        columns = FILES[name]
        if name == "relations":
            columns = columns | {"kind": columns["kind"]._replace(allowed=_relation_kinds(frames["vocabulary"]))}
        frame = _read(folder / f"{name}.csv", drafts.get(name), columns, problems, refused.setdefault(name, []))
        if frame is None:
            unread.add(name)
        frames[name] = _no_rows(columns) if frame is None else frame
    meters = {*frames["terminals"]["meter"], *(row[1] for row in refused["terminals"]), *known_meters}
    strangers: set[str] = set()
    if "terminals" not in unread:
        # Without terminals every reference would be wrong, and the one problem that matters would drown.
        for name in ("replacements", "relations", "points", "limits"):
            strangers |= set(frames[name]["meter"]) - meters
            frames[name] = _referring(folder / f"{name}.csv", frames[name], meters, problems, refused[name])
        imported = frames["terminals"].filter(pl.col("source") == "amr")["terminal"]
        known = {*imported, *(row[0] for row in refused["terminals"])}
        frames["tags"] = _of_imported(folder / "tags.csv", frames["tags"], known, problems, refused["tags"])
    return Content(Registry(**{name: frame.drop("row") for name, frame in frames.items()}), problems, refused, unread, strangers)


def read_people(folder: Path) -> People:
    """Who may use the boards, `folder/access.csv`. A wrong row is refused alone. Raises `RegistryError` where it is no table."""
    problems: list[Problem] = []
    refused: list[tuple[str | None, ...]] = []
    rows = _read(folder / "access.csv", None, FILES["access"], problems, refused)
    if rows is None:
        raise RegistryError(problems_text(problems))
    people = tuple(Person(**{name: value or "" for name, value in row.items() if name != "row"}) for row in rows.rows(named=True))
    return People(people, problems, frozenset(login for (login,) in refused if login))


def _no_rows(columns: Mapping[str, Column]) -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.UInt32(), **schema(columns)})


def _relation_kinds(vocabulary: pl.DataFrame) -> tuple[str, ...]:
    """The kinds that a row of relations.csv may have."""
    declared = vocabulary.filter(pl.col("kind") == "kind")["code"]
    return (*RELATION_KINDS, *(kind for kind in declared if kind not in (*RELATION_KINDS, *DERIVED_KINDS)))


def load(folder: Path) -> Registry:
    """The rows of `folder/*.csv` that are right. Raises `RegistryError` where there is no table of terminals."""
    content = read(folder)
    if "terminals" in content.unread:
        raise RegistryError(problems_text(content.problems))
    return content.rows


def problems_text(problems: Sequence[Problem]) -> str:
    """The first problems, a line each, and how many more there are."""
    more = f"\n… and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return "these rows of the registry are not used until they are mended:\n" + "\n".join(map(str, problems[:SHOWN])) + more


def merge(folder: Path, additions: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """Add rows to the files (by name, columns as in `FILES`); a row whose key is there already is left as the person wrote it.

    Gives the rows added a file. Files are replaced whole, so a reader never sees half of one.
    """
    added = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in additions.items():
        path, keys = folder / f"{name}.csv", list(KEYS[name])
        fresh = pl.read_csv(
            rows.select(column for column in FILES[name] if column in rows.columns).write_csv().encode(), infer_schema=False
        )
        there = _texts(read_csv(path.read_bytes())) if path.exists() else fresh.clear()
        new = fresh.join(there, on=keys, how="anti", nulls_equal=True)
        replace_file(path, [pl.concat([there, new], how="diagonal").write_csv(include_bom=True).encode()])
        added[name] = new.height
    return added


def schema(columns: Mapping[str, Column]) -> dict[str, pl.DataType]:
    """The columns' types in a frame."""
    return {name: column.dtype for name, column in columns.items()}


def _read(
    path: Path,
    draft: bytes | None,
    columns: dict[str, Column],
    problems: list[Problem],
    refused: list[tuple[str | None, ...]],
) -> pl.DataFrame | None:
    """The right rows of a file, or of what is to become of it, with their `row` in it; None where it is no table."""
    if draft is None and not path.exists():
        if path.stem != "terminals":
            return _no_rows(columns)
        expected = ", ".join(columns)
        problems.append(
            Problem(path, (), "", f"the file is absent; expected the columns {expected}", f"没有此文件；应有的列：{expected}")
        )
        return None
    try:
        table = read_csv(path.read_bytes() if draft is None else draft)
    except NotWhole as error:
        problems.append(Problem(path, (), "", f"not a CSV file: {error}", f"不是 CSV 文件：{error.zh}"))
        return None
    except OSError as error:
        problems.append(Problem(path, (), "", f"not a CSV file: {error}", f"无法读取：{error}"))
        return None
    problems.extend(Problem(path, (row,), name, "NUL characters are left out", "已去除 NUL 字符") for row, name in table.with_nul)
    width = len(table.columns)
    text = _texts(table)
    missing = [name for name, column in columns.items() if name not in text.columns and not column.extra]
    text = text.with_columns(pl.lit(None, pl.String).alias(name) for name in columns if name not in text.columns)
    if missing:
        names = ", ".join(missing)
        problems.append(Problem(path, (), "", f"columns missing: {names}", f"缺少列：{names}"))
        return None
    text = text.select(list(columns)).with_row_index("row", offset=2)
    # A spreadsheet keeps rows that were emptied; the others keep the number that the spreadsheet shows.
    text = text.filter(~pl.all_horizontal(pl.col(list(columns)).is_null()))
    typed = text.select("row", *(typed_column(pl.col(name), column.dtype).alias(name) for name, column in columns.items()))
    wrong: dict[int, None] = {}
    for row, cells in enumerate(table.rows, 2):
        if any(cells[width:]):
            problems.append(
                Problem(path, (row,), "", f"{len(cells)} cells, expected {width}", f"有 {len(cells)} 个单元格，应为 {width} 个")
            )
            wrong[row] = None
    for name, column in columns.items():
        for row, en, zh in _cells(text["row"], text[name], typed[name], column):
            problems.append(Problem(path, (row,), name, en, zh))
            wrong[row] = None
    good = typed.filter(~pl.col("row").is_in(list(wrong)))
    for find in (_falling, _repeated, _overlapping, _unfit, _shared):
        for problem in find(path, good.filter(~pl.col("row").is_in(list(wrong)))):
            problems.append(problem)
            wrong[problem.rows[-1]] = None
    keys = list(KEYS[path.stem]) if path.stem != "terminals" else ["terminal", "meter"]
    refused.extend(text.filter(pl.col("row").is_in(list(wrong))).select(keys).iter_rows())
    return typed.filter(~pl.col("row").is_in(list(wrong)))


def _falling(path: Path, rows: pl.DataFrame) -> Iterator[Problem]:
    """Rows in which `RISING` columns do not rise."""
    for lower, upper in pairwise(RISING.get(path.stem, ())):
        for row, low, high in rows.filter(pl.col(lower) >= pl.col(upper)).select("row", lower, upper).iter_rows():
            yield Problem(
                path,
                (row,),
                f"{lower}, {upper}",
                f"{low} and {high}, expected {lower} below {upper}",
                f"{low} 和 {high}，{lower} 应小于 {upper}",
            )


def _overlapping(path: Path, rows: pl.DataFrame) -> Iterator[Problem]:
    """Time segments whose hours an earlier row has already."""
    if path.stem != "segments":
        return
    taken: dict[tuple[object, ...], int] = {}
    for row, from_h, to_h, *cut in rows.select(
        "row", "from_h", "to_h", "kind", "scope_kind", "scope_code", "valid_from"
    ).iter_rows():
        hours = [(*cut, hour) for hour in range(from_h, to_h)]
        if other := next((taken[hour] for hour in hours if hour in taken), None):
            yield Problem(
                path,
                (other, row),
                "from_h, to_h",
                f"{from_h} and {to_h}, expected hours that no other segment of {cut[0]} has",
                f"{from_h} 和 {to_h}，与 {cut[0]} 的其他时段重叠",
            )
        else:
            taken |= dict.fromkeys(hours, row)


def _shared(path: Path, rows: pl.DataFrame) -> Iterator[Problem]:
    """Tags that are two terminals at a time, and terminals that are two tags."""
    if path.stem != "tags":
        return
    told: set[int] = set()
    for keys in (("source", "tag"), ("terminal",)):
        last: dict[tuple[str, ...], tuple[date, int]] = {}
        spans = rows.select("row", pl.col("valid_from").fill_null(date.min), pl.col("valid_to").fill_null(date.max), *keys)
        for row, begin, end, *values in spans.filter(~pl.col("row").is_in(list(told))).sort("valid_from", "row").iter_rows():
            until, other = last.get(tuple(values), (date.min, 0))
            if other and begin < until:
                told.add(max(row, other))
                shown = " ".join(values)
                yield Problem(
                    path,
                    (min(row, other), max(row, other)),
                    ", ".join(keys),
                    f"{shown!r} holds twice at a time, expected one terminal a tag and one tag a terminal at any time",
                    f"{shown!r} 同时有两行；同一时间一个标签只对应一个终端",
                )
            if end > until:
                last[tuple(values)] = end, row


def _repeated(path: Path, rows: pl.DataFrame) -> Iterator[Problem]:
    """Rows that say again what an earlier one says; the later row comes last.

    A terminal or a meter may have several rows where each but the last has an end, or begins at a time of its own.
    """
    file = path.stem
    if file not in ("terminals", "replacements"):
        keys = KEYS[file]
        for *values, numbers in rows.group_by(keys, maintain_order=True).agg("row").iter_rows():
            shown = ", ".join(str(value) for value in values if value is not None)
            yield from (
                Problem(path, (numbers[0], row), ", ".join(keys), f"{shown!r}, expected once", f"{shown!r} 重复，只应有一行")
                for row in numbers[1:]
            )
    if file != "terminals":
        return
    is_open = pl.col("valid_to").is_null() & pl.col("removed_on").is_null()
    begins = pl.coalesce(pl.col("valid_from"), pl.col("installed_on").cast(pl.String), pl.lit(""))
    told: set[int] = set()
    for name in ("terminal", "meter"):
        twice = rows.filter(is_open & ~pl.col("row").is_in(list(told))).group_by(
            name, begins.alias("begins"), maintain_order=True
        )
        for value, _, numbers in twice.agg("row").iter_rows():
            for row in numbers[1:]:
                told.add(row)
                yield Problem(
                    path,
                    (numbers[0], row),
                    name,
                    f"{value!r}, expected once, or with valid_from, removed_on or valid_to",
                    f"{value!r} 重复；只应有一行，或填写 valid_from、removed_on 或 valid_to",
                )


def _unfit(path: Path, rows: pl.DataFrame) -> Iterator[Problem]:
    """Rows of people that no server could take as they are."""
    if path.stem != "access":
        return
    for row, login, role, region in rows.select("row", "login", "role", "region").iter_rows():
        if login.lower() == BUILT_IN:
            yield Problem(
                path,
                (row,),
                "login",
                f"{login!r}, expected a login other than {BUILT_IN}",
                f"{login!r} 为内置管理员，请用其他登录名",
            )
        elif region and role == ADMIN:
            yield Problem(
                path,
                (row,),
                "role",
                f"{role!r}, expected {VIEWER} or {OPERATOR} where region is filled",
                f"{role!r}，限于区域的人员只能为 {VIEWER} 或 {OPERATOR}",
            )
        elif region and len(region.encode()) > REGION_BYTES:
            yield Problem(
                path,
                (row,),
                "region",
                f"{region!r}, expected at most {REGION_BYTES} bytes in UTF-8",
                f"{region!r}，UTF-8 编码应不超过 {REGION_BYTES} 字节",
            )


def _texts(table: CsvTable) -> pl.DataFrame:
    """The cells of a file as text, None where one is empty or missing."""
    cells = {
        name: [(row[place] or None) if place < len(row) else None for row in table.rows]
        for place, name in enumerate(table.columns)
        if name
    }
    return pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))


def typed_column(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Text as the type of a registry column, null where it cannot be."""
    if isinstance(dtype, pl.Date):
        return column.str.to_date("%Y-%m-%d", strict=False)
    if isinstance(dtype, pl.Datetime):
        return column.str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_unit="us", strict=False).dt.convert_time_zone("UTC")
    typed = column.cast(dtype, strict=False)
    return pl.when(typed.is_finite()).then(typed) if dtype.is_float() else typed


def _cells(rows: pl.Series, text: pl.Series, typed: pl.Series, column: Column) -> Iterator[tuple[int, str, str]]:
    """The row and the problem, in English and Chinese, of each wrong cell of a column."""
    expected, expected_zh = EXPECTED_TYPE[column.dtype]
    for row, before, after in zip(rows, text, typed, strict=True):
        if before is None:
            if column.required:
                yield row, "empty, expected a value", "空，应填写"
        elif after is None:
            yield row, f"{before!r}, expected {expected}", f"{before!r}，应为{expected_zh}"
        elif column.identifier and not is_identifier(before):
            yield row, f"{before[:80]!r}, expected an identifier: {EXPECTED}", f"{before[:80]!r}，应为编号：{EXPECTED_ZH}"
        elif column.moment and not _is_moment(before):
            yield (
                row,
                f"{before!r}, expected a date like 2026-01-31 or {A_TIME[0]}",
                f"{before!r}，应为日期，如 2026-01-31，或{A_TIME[1]}",
            )
        elif column.allowed and before not in column.allowed:
            allowed = ", ".join(column.allowed)
            yield row, f"{before!r}, allowed: {allowed}", f"{before!r}，可用：{allowed}"
        elif column.positive and after <= 0:
            yield row, f"{before!r}, expected {expected} above 0", f"{before!r}，应为大于 0 的{expected_zh}"


def _is_moment(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == len("2026-01-31") or moment.tzinfo is not None


def _of_imported(
    path: Path, rows: pl.DataFrame, known: set[str], problems: list[Problem], refused: list[tuple[str | None, ...]]
) -> pl.DataFrame:
    """The tags whose terminal is one of another system."""
    is_known = pl.col("terminal").is_in(list(known))
    for row, terminal in rows.filter(~is_known).select("row", "terminal").iter_rows():
        en = f"{terminal!r} is not in terminals.csv with source amr; make a number with mainflow amr allocate, and a row there"
        zh = f"{terminal!r} 不在 terminals.csv 中，或其 source 不是 amr；先用 mainflow amr allocate 生成编号并登记"
        problems.append(Problem(path, (row,), "terminal", en, zh))
    refused.extend(rows.filter(~is_known).select(pl.col(list(KEYS["tags"])).cast(pl.String)).iter_rows())
    return rows.filter(is_known)


def _referring(
    path: Path, rows: pl.DataFrame, meters: set[str], problems: list[Problem], refused: list[tuple[str | None, ...]]
) -> pl.DataFrame:
    """The rows whose meter is known."""
    is_known = pl.col("meter").is_in(list(meters))
    strangers = rows.filter(~is_known)
    refused.extend(strangers.select(pl.col(list(KEYS[path.stem])).cast(pl.String)).iter_rows())
    problems.extend(
        Problem(
            path,
            tuple(numbers),
            "meter",
            f"{meter!r} is not in terminals.csv, and billing has no card for it",
            f"{meter!r} 不在 terminals.csv 中，营收也没有它的卡",
        )
        for meter, numbers in strangers.group_by("meter", maintain_order=True).agg("row").iter_rows()
    )
    return rows.filter(is_known)
