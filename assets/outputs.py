"""The output contract: each `sql/outputs/<name>.sql` is a table for other systems, which know it by nothing else.

A header gives title, description, grain and what a file of it holds (`cut`: a local day, the whole table, or the cut-offs of
billing cycles), the kinds of its files, and its columns with their types; words and units are those of the tables in `deps`.
Columns of a version never change and never go: another meaning is another version. What the contract has is written in
`docs/contract/<version>/*.json`, a JSON schema of a row each; `python -m assets.outputs` writes them and refuses a change that
breaks the version.

Day and whole tables are views of PostgreSQL schema `out_<version>` as well, which the role `mainflow_reader` reads, and no other.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import errors, sql

from assets import columns, serving
from assets.columns import Column
from ingest_daemon.contract.headers import SQL, read_header
from ingest_daemon.contract.log import LOG, RateLimitedLog

VERSION = "v1"
SCHEMA = f"out_{VERSION}"
READER_ROLE, DESK_ROLE = "mainflow_reader", "mainflow_desk"
PAGES = Path(__file__).parent.parent / "docs" / "contract" / VERSION

DAY, WHOLE, CYCLE = CUTS = ("day", "whole", "cycle")
_LIMITED = RateLimitedLog(every_s=86_400)
"""Publication comes every minute."""

KEYS = ("zh", "en", "description", "grain", "deps", "cut", "files", "columns")
OTHER_KEYS = ("layout", "entity")


class Type(NamedTuple):
    """A type of the contract: as DuckDB and PostgreSQL have it, as JSON schema, and its format there."""

    duckdb: str
    postgres: str
    json: str
    format: str = ""


TYPES = {
    "text": Type("VARCHAR", "text", "string"),
    "number": Type("DOUBLE", "double precision", "number"),
    "integer": Type("BIGINT", "bigint", "integer"),
    "boolean": Type("BOOLEAN", "boolean", "boolean"),
    "day": Type("DATE", "date", "string", "date"),
    "time": Type("TIMESTAMP WITH TIME ZONE", "timestamp with time zone", "string", "date-time"),
}


class Field(NamedTuple):
    """A column of an output: its words and its type, a word of `TYPES`."""

    column: Column
    type: str


class Output(NamedTuple):
    """An output as its SQL file describes it. `layout`: the fields that a receiver has agreed on, of files without a header."""

    name: str
    path: Path
    titles: Mapping[str, str]
    description: str
    grain: tuple[str, ...]
    deps: tuple[str, ...]
    cut: str
    files: tuple[str, ...]
    columns: Mapping[str, Field]
    layout: Mapping[str, Any]
    query: str

    @property
    def is_served(self) -> bool:
        """Whether PostgreSQL shows it: what is made at cut-offs is made from the warehouse alone."""
        return self.cut != CYCLE

    def select(self, zone: str) -> str:
        """Its rows, of every day that there is."""
        return self.query.replace("{zone}", zone)


@cache
def outputs() -> Mapping[str, Output]:
    """Every output by name. Raises `ValueError` naming a file whose header is wrong."""
    return {path.stem: read(path) for path in sorted((SQL / "outputs").glob("*.sql"))}


def read(path: Path) -> Output:
    """The output that a file describes. Raises `ValueError` naming file and column."""
    header, query = read_header(path)
    absent = [key for key in KEYS if key not in header]
    unknown = [key for key in header if key not in (*KEYS, *OTHER_KEYS)]
    if absent or unknown or header["cut"] not in CUTS:
        raise ValueError(
            f"{path}: expected {', '.join(KEYS)} with cut of {', '.join(CUTS)}, and at most {', '.join(OTHER_KEYS)}; there is "
            f"no {', '.join(absent) or 'lack'}, too much: {', '.join(unknown) or 'nothing'}, cut {header.get('cut')!r}"
        )
    output = Output(
        path.stem,
        path,
        {"zh": header["zh"], "en": header["en"]},
        " ".join(header["description"].split()),
        tuple(header["grain"]),
        tuple(header["deps"]),
        header["cut"],
        tuple(header["files"]),
        {name: _field(path, header["deps"], name, own or {}) for name, own in header["columns"].items()},
        header.get("layout", {}),
        query,
    )
    used = (*output.grain, *(field["column"] for field in output.layout.get("fields", ())))
    if strange := [name for name in used if name not in output.columns]:
        raise ValueError(f"{path}: {', '.join(strange)}: expected columns that are listed: {', '.join(output.columns)}")
    return output


def _field(path: Path, deps: Sequence[str], name: str, own: Mapping[str, Any]) -> Field:
    if own.get("type") not in TYPES:
        raise ValueError(f"{path}: column {name}: expected type of {', '.join(TYPES)}; there is {own.get('type')!r}")
    described = columns.of(deps, name) or (None if "zh" in own else columns.shared(name))
    words = {key: value for key, value in own.items() if key != "type"}
    return Field(columns.describe(path, name, words, described._asdict() if described else {}), own["type"])


# --- the contract as JSON schema ----------------------------------------------------------------------------------------------


def schema(output: Output) -> dict[str, Any]:
    """The JSON schema of a row."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{output.titles['zh']} / {output.titles['en']}",
        "description": output.description,
        "x-contract": VERSION,
        "x-table": output.name,
        "x-grain": list(output.grain),
        "x-cut": output.cut,
        "x-files": list(output.files),
        "type": "object",
        "properties": {name: _property(field, name in output.grain) for name, field in output.columns.items()},
        "required": list(output.columns),
    }


def _property(field: Field, is_key: bool) -> dict[str, Any]:
    kind = TYPES[field.type]
    own: dict[str, Any] = {
        "title": f"{field.column.zh} / {field.column.en}",
        "description": field.column.description,
        "type": kind.json if is_key else [kind.json, "null"],
    }
    if kind.format:
        own["format"] = kind.format
    if field.column.unit:
        own["x-unit"] = field.column.unit
    return own


def breaks(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What a consumer of `before` would stumble over in `now`: a column gone, moved, or of another type, unit or grain."""
    found = [f"{key} {before[key]} → {now[key]}" for key in ("x-grain", "x-cut") if before[key] != now[key]]
    found += [f"no file {kind}" for kind in before["x-files"] if kind not in now["x-files"]]
    order = list(now["properties"])[: len(before["properties"])]
    if order != list(before["properties"]):
        found.append(f"columns {', '.join(before['properties'])} → {', '.join(order)}: later ones stand last")
    for name, column in before["properties"].items():
        other = now["properties"].get(name, column)
        found += [
            f"{name} {key} {column.get(key)} → {other.get(key)}"
            for key in ("type", "format", "x-unit")
            if column.get(key) != other.get(key)
        ]
    return found


def page(output: Output) -> str:
    """The schema as the file of the contract has it."""
    return json.dumps(schema(output), ensure_ascii=False, indent=2) + "\n"


def write_contract(folder: Path = PAGES) -> None:
    """Write the schemas. Raises `ValueError` naming every change that breaks the version; nothing is written then."""
    pages = {folder / f"{output.name}.json": output for output in outputs().values()}
    found = [f"{path.stem}: the table is gone" for path in sorted(folder.glob("*.json")) if path not in pages]
    for path, output in pages.items():
        if path.exists():
            found += [f"{output.name}: {text}" for text in breaks(json.loads(path.read_text(encoding="utf-8")), schema(output))]
    if found:
        raise ValueError("\n".join([f"contract {VERSION} would break; make it another version, beside this one:", *found]))
    folder.mkdir(parents=True, exist_ok=True)
    for path, output in pages.items():
        path.write_text(page(output), encoding="utf-8")


# --- views for a reader -------------------------------------------------------------------------------------------------------


def served() -> tuple[Output, ...]:
    """Every output that is a view."""
    return tuple(output for output in outputs().values() if output.is_served)


def serve_all(zone: str, target: psycopg.Connection) -> None:
    """Make the views, each where all that it reads is there, and let others read them. One that cannot be made stops nothing."""
    for output in served():
        try:
            with target.transaction():
                serve(output, zone, target)
        except psycopg.ProgrammingError as error:
            _LIMITED.warn(output.name, f"{SCHEMA}.{output.name} is not brought up to date: {error}")
    let_read(target)


def serve(output: Output, zone: str, target: psycopg.Connection) -> None:
    """Make the view where all that it reads is there. It reads with the rights of its owner: a reader sees nothing besides.

    A view in `mart` reads with the rights of who asks, also within another: its select is taken over.
    """
    used = [view for view in serving.views() if view.name in output.deps]
    for dep in (*output.deps, *(dep for view in used for dep in view.deps)):
        if target.execute("select to_regclass(%s)", [f"mart.{dep}"]).fetchone() == (None,):
            return
    listed = ", ".join(f"cast({name} as {TYPES[field.type].postgres}) as {name}" for name, field in output.columns.items())
    taken = ", ".join(f"{view.name} as ({view.query.format(zone=zone)})" for view in used)
    rows = f"{f'with {taken} ' if taken else ''}select {listed} from ({output.select(zone)}) as rows"
    words = f"{output.titles['zh']}: {output.description} ({VERSION}, {sha256(rows.encode()).hexdigest()[:16]})"
    if target.execute("select obj_description(to_regclass(%s))", [f"{SCHEMA}.{output.name}"]).fetchone() == (words,):
        return
    name = sql.Identifier(SCHEMA, output.name)
    target.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(SCHEMA)))
    # The selects name their tables without schema, as the warehouse has them.
    target.execute("set local search_path to mart")
    target.execute(sql.SQL("create or replace view {} as {}").format(name, sql.SQL(rows)))
    target.execute("set local search_path to default")
    target.execute(sql.SQL("comment on view {} is {}").format(name, sql.Literal(words)))


def release(target: psycopg.Connection) -> None:
    """Let the views have their columns from nowhere while a table is altered: they stay, with grants and what depends on them."""
    listed = target.execute(
        "select relname, string_agg(format('null::%%s as %%I', format_type(atttypid, atttypmod), attname), ', ' order by attnum) "
        "from pg_class join pg_attribute on attrelid = pg_class.oid "
        "where relnamespace = to_regnamespace(%s) and relkind = 'v' group by relname",
        [SCHEMA],
    ).fetchall()
    for view, nothing in listed:
        name = sql.Identifier(SCHEMA, view)
        target.execute(sql.SQL("create or replace view {} as select {} where false").format(name, sql.SQL(nothing)))
        target.execute(sql.SQL("comment on view {} is null").format(name))


def let_read(target: psycopg.Connection) -> None:
    """The role `mainflow_reader` reads the views and nothing else, that of the desk also does; else the log says what to run."""
    if target.execute("select to_regnamespace(%s)", [SCHEMA]).fetchone() == (None,):
        return
    try:
        with target.transaction():
            if not _is_role(target, READER_ROLE):
                target.execute(sql.SQL("create role {} nologin").format(sql.Identifier(READER_ROLE)))
            for role in filter(lambda role: _is_role(target, role), (READER_ROLE, DESK_ROLE)):
                _grant(target, role)
    except errors.InsufficientPrivilege:
        LOG.info(
            "%s may not create %s; as an administrator run: create role %s login", target.info.user, READER_ROLE, READER_ROLE
        )


def _grant(target: psycopg.Connection, role: str) -> None:
    unread = target.execute(
        "select relname from pg_class where relnamespace = %s::regnamespace and relkind = 'v' "
        "and not (has_table_privilege(%s, oid, 'select') and has_schema_privilege(%s, %s, 'usage'))",
        [SCHEMA, role, role, SCHEMA],
    ).fetchall()
    if unread:
        grantee, schema_name = sql.Identifier(role), sql.Identifier(SCHEMA)
        target.execute(sql.SQL("grant usage on schema {} to {}").format(schema_name, grantee))
        target.execute(sql.SQL("grant select on all tables in schema {} to {}").format(schema_name, grantee))


def _is_role(target: psycopg.Connection, name: str) -> bool:
    return target.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone() is not None


if __name__ == "__main__":
    write_contract()
