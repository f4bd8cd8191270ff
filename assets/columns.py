"""The columns of every table that is served, as the headers in `sql/` describe them: words, units, formats, descriptions.

A header lists all columns in order. An entry without a value is the shared word of `sql/columns.yaml`, one with a value changes
or completes it. Boards, headings of reports, the data dictionary and PostgreSQL's comments are made from this.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from assets import macros
from assets.partitions import PARTITIONINGS, Partitioning
from ingest_daemon.contract.headers import SQL, read_header, read_yaml
from ingest_daemon.contract.registry_files import FILES

WORDS = ("zh", "en", "unit", "description")
"""What a column must have; `format` may be absent."""

TABLE_KEYS = ("zh", "group", "description", "grain", "columns")
"""What every header must have; a mart also `partitions`."""

OTHER_KEYS = ("partitions", "deps", "schema", "parameters")

UNCUT = ("serving", "functions")
"""Folders of `sql/` whose files are asked for by PostgreSQL and not cut into partitions."""


class Column(NamedTuple):
    """A column: its heading in each language, unit as shown, description, and spreadsheet format ("" for text)."""

    zh: str
    en: str
    unit: str
    description: str
    format: str

    def heading(self, language: str) -> str:
        """The heading in `zh` or `en`, with the unit."""
        return f"{self.en if language == 'en' else self.zh} {self.unit}".strip()


class Table(NamedTuple):
    """A table that is served: its PostgreSQL schema, what a row is, what it is made from, and its columns in order.

    `path`: the file of its header. `query`: the select of a mart or view, the statement of a function, else empty.
    `parameters`: what a function takes, in its order, each with a sentence.
    """

    name: str
    schema: str
    path: Path
    zh: str
    description: str
    group: str
    grain: tuple[str, ...]
    deps: tuple[str, ...]
    partitions: str
    columns: Mapping[str, Column]
    query: str
    parameters: Mapping[str, str]

    @property
    def partitioning(self) -> Partitioning:
        """How the table is cut."""
        return PARTITIONINGS[self.partitions]

    @property
    def criteria(self) -> tuple[str, ...]:
        """Names of the criteria that the select asks for."""
        return tuple(sorted(set(re.findall(r"\bcriterion\('([^']*)'", self.query))))

    @property
    def version(self) -> str:
        """A hash of what makes its rows: the select without its comments and line breaks, so that only another formula is one,
        and the macros that it calls."""
        plain = " ".join(re.sub(r"--[^\n]*", "", self.query).split())
        return sha256(f"{self.partitions}\n{plain}{macros.used_by(plain)}".encode()).hexdigest()[:16]


@cache
def _shared_file() -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, str]]:
    content = read_yaml(SQL / "columns.yaml")
    return content["columns"], content["units"]


def shared(name: str) -> Column:
    """A shared word. Raises `ValueError` where `sql/columns.yaml` has none."""
    words, _ = _shared_file()
    return describe(SQL / "columns.yaml", name, {}, words.get(name, {}))


def read(path: Path, header: Mapping[str, Any]) -> dict[str, Column]:
    """The columns that the header of the file `path` lists. Raises `ValueError` naming file and column."""
    listed = header.get("columns")
    if not isinstance(listed, dict) or not listed:
        raise ValueError(f"{path}: expected `columns:` with an entry for each column of the table, in its order")
    words, _ = _shared_file()
    columns = {name: describe(path, name, entry or {}, words.get(name, {})) for name, entry in listed.items()}
    if absent := [name for name in header["grain"] if name not in columns]:
        raise ValueError(f"{path}: grain {', '.join(absent)}: expected columns that are listed: {', '.join(columns)}")
    return columns


def describe(path: Path, name: str, own: Any, base: Mapping[str, Any]) -> Column:
    """The column with the words `own`, completed by `base`. Raises `ValueError` naming file and column where one is missing."""
    _, formats = _shared_file()
    allowed = (*WORDS, "format")
    if not isinstance(own, dict):
        raise ValueError(f"{path}: column {name}: expected nothing, or {{{', '.join(allowed)}}}; there is {own!r}")
    if unknown := [key for key in own if key not in allowed]:
        raise ValueError(f"{path}: column {name}: unknown {', '.join(map(str, unknown))}; allowed: {', '.join(allowed)}")
    entry = {**base, **own}
    if absent := [word for word in WORDS if not isinstance(entry.get(word), str) or (not entry[word] and word != "unit")]:
        place = SQL / "columns.yaml"
        raise ValueError(f"{path}: column {name} has no {', '.join(absent)}; give it in the entry, or for every table in {place}")
    if entry["unit"] and entry["unit"] not in formats:
        raise ValueError(f"{path}: column {name}: unknown unit {entry['unit']!r}; sql/columns.yaml has: {', '.join(formats)}")
    shown = entry.get("format", formats.get(entry["unit"], ""))
    if not isinstance(shown, str):
        raise ValueError(f'{path}: column {name}: expected a format in quotes, as "0.0"; there is {shown!r}')
    return Column(entry["zh"], entry["en"], entry["unit"], entry["description"], shown)


@cache
def tables() -> Mapping[str, Table]:
    """Every table with a header by name: marts, views (`sql/serving/`), functions, and others (`sql/tables/`)."""
    headers = [(path, *read_header(path)) for folder in ("marts", *UNCUT) for path in sorted((SQL / folder).glob("*.sql"))]
    headers += [(path, read_yaml(path), "") for path in sorted((SQL / "tables").glob("*.yaml"))]
    return {path.stem: read_table(path, header, query) for path, header, query in headers}


def read_table(path: Path, header: Mapping[str, Any], query: str = "") -> Table:
    """The table that a header describes. Raises `ValueError` naming the file."""
    required = (*TABLE_KEYS, "partitions") if path.suffix == ".sql" and path.parent.name not in UNCUT else TABLE_KEYS
    if absent := [key for key in required if key not in header]:
        raise ValueError(f"{path}: the header has no {', '.join(absent)}")
    partitions = header.get("partitions", "whole")
    if partitions not in PARTITIONINGS:
        raise ValueError(f"{path}: partitions is {partitions!r}, allowed: {', '.join(PARTITIONINGS)}")
    if unknown := [key for key in header if key not in (*TABLE_KEYS, *OTHER_KEYS)]:
        raise ValueError(f"{path}: the header has unknown {', '.join(unknown)}; allowed: {', '.join((*TABLE_KEYS, *OTHER_KEYS))}")
    table = Table(
        path.stem,
        header.get("schema", "mart"),
        path,
        header["zh"],
        header["description"],
        header["group"],
        tuple(header["grain"]),
        tuple(header.get("deps", ())),
        header.get("partitions", ""),
        read(path, header),
        query,
        header.get("parameters", {}),
    )
    if strange := [name for name in table.criteria if name not in FILES["criteria"]["name"].allowed]:
        raise ValueError(f"{path}: criterion {', '.join(strange)}: expected one of sql/rules/criteria.csv")
    return table


def check(table: str, names: Iterable[str]) -> None:
    """Raise `ValueError` naming file and column where a table's columns are not those of its header, in their order."""
    described = tables()[table]
    given, listed = list(names), list(described.columns)
    if given == listed:
        return
    problems = [f"the header lacks {name}" for name in given if name not in listed]
    problems += [f"the table has no {name}" for name in listed if name not in given]
    problems = problems or [f"expected the order {', '.join(given)}"]
    raise ValueError(f"{described.path}: columns: {'; '.join(problems)}")


def of(names: Iterable[str], column: str) -> Column | None:
    """The column as the first of the tables `names` that has it describes it."""
    return next((tables()[name].columns[column] for name in names if name in tables() and column in tables()[name].columns), None)


def comments() -> dict[str, dict[str, str]]:
    """PostgreSQL's comments by table and column: Chinese and English heading, unit, description, on one line."""
    return {
        table.name: {
            name: f"{column.zh} / {column.en}{f' ({column.unit})' if column.unit else ''}: {column.description}"
            for name, column in table.columns.items()
        }
        for table in tables().values()
    }
