"""The registry: CSV files a person edits in a spreadsheet, read and validated as a whole.

Either every file is right and comes back typed, or `RegistryError` lists every wrong cell with file, row and what was expected.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ingest_daemon.contract.files import replace_file
from ingest_daemon.contract.registry_schema import (
    DAY,
    NUMBER,
    TERMINAL_COLUMNS,
    TEXT,
    TIME,
    WHOLE,
    Column,
    CsvTable,
    read_csv,
)

RELATION_KINDS = ("network", "line", "industry", "region", "group", "book")
SHOWN = 20

KEYS = {
    "terminals": ("terminal",),
    "replacements": ("meter", "replaced_at"),
    "customers": ("customer_no",),
    "relations": ("meter", "kind", "code", "valid_from"),
    "vocabulary": ("kind", "code"),
}
"""What makes two rows of a file the same row."""


class RegistryError(ValueError):
    """The registry cannot be used; the text lists what to mend where."""


FILES: dict[str, dict[str, Column]] = {
    "terminals": TERMINAL_COLUMNS,
    "replacements": {
        "meter": Column(TEXT, required=True),
        "replaced_at": Column(TIME, required=True),
        "old_final_m3": Column(NUMBER, required=True),
        "new_initial_m3": Column(NUMBER, required=True),
    },
    "customers": {
        "customer_no": Column(TEXT, required=True),
        "name": Column(TEXT, required=True),
        "industry": Column(TEXT),
        "region": Column(TEXT),
        "address": Column(TEXT),
    },
    "relations": {
        "meter": Column(TEXT, required=True),
        "kind": Column(TEXT, required=True, allowed=RELATION_KINDS),
        "code": Column(TEXT, required=True),
        "valid_from": Column(DAY),
        "valid_to": Column(DAY),
    },
    "vocabulary": {
        "kind": Column(TEXT, required=True),
        "code": Column(TEXT, required=True),
        "zh": Column(TEXT, required=True),
        "en": Column(TEXT, required=True),
    },
}
"""The files (`registry/<name>.csv`) and their columns: the one place that fixes them."""

UNIQUE = {"terminals": ("terminal", "meter"), "customers": ("customer_no",)}
"""Columns whose values must not repeat."""


class Registry(NamedTuple):
    """The validated files, typed as `FILES` says; a file that is absent (but terminals) is an empty frame."""

    terminals: pl.DataFrame
    replacements: pl.DataFrame
    customers: pl.DataFrame
    relations: pl.DataFrame
    vocabulary: pl.DataFrame


def load(folder: Path) -> Registry:
    """Read and validate `folder/*.csv`. Raises `RegistryError`."""
    problems: list[str] = []
    frames = {name: _read(folder / f"{name}.csv", columns, problems) for name, columns in FILES.items()}
    registry = Registry(**frames)
    if not (problems and registry.terminals.is_empty()):
        # Without terminals every reference would be wrong, and the one problem that matters would drown.
        problems.extend(_references(registry))
    if problems:
        more = f"\n… and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise RegistryError("the registry is not used until this is mended:\n" + "\n".join(problems[:SHOWN]) + more)
    return registry


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


def _read(path: Path, columns: dict[str, Column], problems: list[str]) -> pl.DataFrame:
    empty = pl.DataFrame(schema={name: column.dtype for name, column in columns.items()})
    if not path.exists():
        if path.stem == "terminals":
            problems.append(f"{path}: the file is absent; expected the columns {', '.join(columns)}")
        return empty
    try:
        table = read_csv(path.read_bytes())
    except ValueError as error:
        problems.append(f"{path}: not a CSV file: {error}")
        return empty
    width = len(table.columns)
    problems.extend(
        f"{path} row {row}: {len(cells)} cells, expected {width}" for row, cells in enumerate(table.rows, 2) if any(cells[width:])
    )
    text = _texts(table)
    missing = [name for name, column in columns.items() if name not in text.columns and not column.extra]
    text = text.with_columns(pl.lit(None, pl.String).alias(name) for name in columns if name not in text.columns)
    if missing:
        problems.append(f"{path}: columns missing: {', '.join(missing)}")
        return empty
    text = text.select(list(columns)).with_row_index("row", offset=2)
    # A spreadsheet keeps rows that were emptied; the others keep the number that the spreadsheet shows.
    text = text.filter(~pl.all_horizontal(pl.col(list(columns)).is_null()))
    typed = text.select(_typed(pl.col(name), column.dtype).alias(name) for name, column in columns.items())
    for name, column in columns.items():
        problems.extend(_cells(path, text["row"], text[name], typed[name], column))
    for name in UNIQUE.get(path.stem, ()):
        twice = text.filter(pl.col(name).is_not_null() & pl.col(name).is_duplicated())
        for value, rows in twice.group_by(name, maintain_order=True).agg("row").iter_rows():
            problems.append(f"{path} rows {', '.join(map(str, rows))}, {name}: {value!r}, expected once")
    return typed


def _texts(table: CsvTable) -> pl.DataFrame:
    """The cells of a file as text, None where one is empty or missing."""
    cells = {
        name: [(row[place] or None) if place < len(row) else None for row in table.rows]
        for place, name in enumerate(table.columns)
        if name
    }
    return pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))


def _typed(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Date):
        return column.str.to_date("%Y-%m-%d", strict=False)
    if isinstance(dtype, pl.Datetime):
        return column.str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_unit="us", strict=False).dt.convert_time_zone("UTC")
    typed = column.cast(dtype, strict=False)
    return pl.when(typed.is_finite()).then(typed) if dtype.is_float() else typed


def _cells(path: Path, rows: pl.Series, text: pl.Series, typed: pl.Series, column: Column) -> Iterator[str]:
    expected = {TEXT: "text", NUMBER: "a number", WHOLE: "a whole number", DAY: "a date like 2026-01-31"}
    for row, before, after in zip(rows, text, typed, strict=True):
        where = f"{path} row {row}, {text.name}"
        if before is None:
            if column.required:
                yield f"{where}: empty, expected a value"
        elif after is None:
            yield f"{where}: {before!r}, expected {expected.get(column.dtype, 'a time like 2026-01-31T08:00:00+08:00')}"
        elif column.allowed and before not in column.allowed:
            yield f"{where}: {before!r}, allowed: {', '.join(column.allowed)}"
        elif column.positive and after <= 0:
            yield f"{where}: {before!r}, expected {expected[column.dtype]} above 0"


def _references(registry: Registry) -> Iterator[str]:
    known = registry.terminals["meter"].drop_nulls()
    for name in ("replacements", "relations"):
        frame: pl.DataFrame = getattr(registry, name)
        for meter in frame.filter(~pl.col("meter").is_in(known.implode()))["meter"].unique(maintain_order=True):
            yield f"{name}.csv: meter {meter} is not in terminals.csv"
