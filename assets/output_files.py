"""The files of the output contract: `outputs/<version>/<table>/<cut>=<day>/edition=<n>/<table>.<kind>`.

A file that was written stays as it is. Where the figures of a day are others by now, a further edition stands beside; the
`manifest.json` of the day names the edition in force, its files with their SHA-256, and the version of the contract. The version
also stands in the metadata of Parquet files and in the first line of CSV files, but for those with a layout that was agreed on.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pyarrow.parquet as pq

from assets import epanet, reports, warehouse
from assets.calendar import days_between
from assets.outputs import CYCLE, DAY, SCHEMA, TYPES, VERSION, WHOLE, Output, outputs
from assets.reports import HARMLESS, Issued, checksum
from assets.workbench import Workbench
from ingest_daemon.contract.files import rebuilt_json, replace_file

DAYS_AGAIN = 35
"""Days before yesterday whose figures are looked at again: late data make them others."""

CUT_OFFS_AGAIN = 7
"""Days of cut-offs that are looked at again: later, billing has worked with what it got."""

KEYS = {DAY: "day", WHOLE: "day", CYCLE: "cut_off"}
"""What the folders of an output are named after."""

MANIFEST = "manifest.json"


class Drop(NamedTuple):
    """What one file is made of."""

    output: Output
    key: date
    edition: int
    run_id: str
    rows: pl.DataFrame
    zone: ZoneInfo

    @property
    def facts(self) -> dict[str, str]:
        """What the file says of itself."""
        return {
            "contract": VERSION,
            "table": self.output.name,
            KEYS[self.output.cut]: self.key.isoformat(),
            "edition": str(self.edition),
            "run": self.run_id,
        }

    @property
    def line(self) -> str:
        return "mainflow " + "; ".join(f"{name} {value}" for name, value in self.facts.items())


def due(output: Output, today: date, days: tuple[date, date] | None) -> tuple[date, date]:
    """First and last day whose files are looked at: those that were asked for, up to those that are over, else the last ones.

    A whole table has no past: it is always of today.
    """
    last = {DAY: today - timedelta(days=1), WHOLE: today, CYCLE: today}[output.cut]
    if output.cut == WHOLE:
        return last, last
    if days:
        return days[0], min(days[1], last)
    return last - timedelta(days=DAYS_AGAIN if output.cut == DAY else CUT_OFFS_AGAIN), last


def make(
    name: str, days: tuple[date, date] | None, bench: Workbench, connection: duckdb.DuckDBPyConnection, now: datetime
) -> list[Issued]:
    """Write the files that are not there or whose figures changed, and note them in the ledger. Gives the files of the editions
    in force.

    Raises `ValueError` where the output is unknown or a value does not fit the layout, `NothingToReport` before any figure.
    """
    if name not in outputs():
        raise ValueError(f"no output {name!r}; there are: {', '.join(outputs())}")
    known = reports.newest(connection)
    output = outputs()[name]
    absent = [dep for dep in output.deps if dep not in ("billing", "registry") and not warehouse.has_table(connection, dep)]
    if known is None or absent:
        raise reports.NothingToReport(
            f"output {name}: {', '.join(absent) or 'figures'} not computed yet; compute with: mainflow run"
        )
    today = now.astimezone(bench.zone).date()
    first, last = due(output, today, days)
    written: list[Issued] = []
    for key, rows in _pieces(output, connection, first, last, bench.zone):
        written += _drop(output, key, rows, bench, known.run_id)
    reports.record(connection, written)
    return written


def _pieces(
    output: Output, connection: duckdb.DuckDBPyConnection, first: date, last: date, zone: ZoneInfo
) -> Iterator[tuple[date, pl.DataFrame]]:
    """The rows of each file, by the day it is named after; of a day of figures also where there is no row."""
    listed = ", ".join(f"cast({name} as {TYPES[field.type].duckdb}) as {name}" for name, field in output.columns.items())
    query = f"select {listed} from ({output.select(str(zone))})"
    order = f" order by {', '.join(output.grain)}"
    if output.cut == WHOLE:
        yield last, connection.sql(query + order).pl()
    elif output.cut == CYCLE:
        rows = connection.sql(query + order, params={"first_day": first, "last_day": last}).pl()
        for (key,), own in rows.group_by("cut_off", maintain_order=True):
            yield key, own
    else:
        ((known,),) = connection.execute("select min(day) from daily_usage").fetchall()
        for day in days_between(max(first, known), last):
            yield day, connection.sql(f"{query} where day = $day{order}", params={"day": day}).pl()


def _drop(output: Output, key: date, rows: pl.DataFrame, bench: Workbench, run_id: str) -> list[Issued]:
    """Write the files of one day where they are not there, or as a further edition where the figures are others."""
    place = bench.site.outputs / VERSION / output.name / f"{KEYS[output.cut]}={key}"
    place.mkdir(parents=True, exist_ok=True)
    figures = hashlib.sha256(rows.write_csv().encode()).hexdigest()
    known = rebuilt_json(place / MANIFEST, _manifest, "the next edition takes its place") or {}
    is_same = known.get("figures_sha256") == figures
    edition = known["edition"] if is_same else max((known.get("edition", 0), *_editions(place))) + 1
    drop = Drop(output, key, edition, known["run"] if is_same else run_id, rows, bench.zone)
    written = []
    for kind in output.files:
        file = place / f"edition={edition}" / f"{output.name}.{kind}"
        file.parent.mkdir(exist_ok=True)
        if not file.exists():
            replace_file(file, [WRITERS[kind](drop)])
        written.append(
            Issued(f"{SCHEMA}.{output.name}", f"{key}…{key}", file, checksum(file), rows.height, drop.run_id, edition, figures)
        )
    files = {report.file.name: report.sha256 for report in written}
    manifest = {**drop.facts, "edition": edition, "rows": rows.height, "figures_sha256": figures, "files": files}
    if manifest != known:
        replace_file(place / MANIFEST, [json.dumps(manifest, indent=2).encode()])
    return written


def _manifest(content: Any) -> dict[str, Any]:
    return {**content, "edition": int(content["edition"]), "run": str(content["run"])}


def _editions(place: Path) -> Iterator[int]:
    """The editions that are there, whether the manifest names them or not: somebody may have taken them."""
    for folder in place.iterdir():
        if match := re.fullmatch(r"edition=(\d+)", folder.name):
            yield int(match[1])


# --- kinds of files -----------------------------------------------------------------------------------------------------------


def _csv(drop: Drop) -> bytes:
    """UTF-8 with a first line of its own and times of the utility's zone; or as the layout has it.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    drop = drop._replace(rows=drop.rows.with_columns(HARMLESS))
    if drop.output.layout:
        fields = _laid_out(drop)
        text: str = fields.write_csv(line_terminator="\r\n")
        return text.encode(drop.output.layout["encoding"])
    local = drop.rows.with_columns(pl.col(pl.Datetime).dt.convert_time_zone(drop.zone.key))
    return f"# {drop.line}\n{local.write_csv(datetime_format='%Y-%m-%dT%H:%M:%S%:z')}".encode()


def _parquet(drop: Drop) -> bytes:
    table = drop.rows.to_arrow()
    buffer = BytesIO()
    facts = {f"mainflow.{name}": value for name, value in drop.facts.items()}
    pq.write_table(table.replace_schema_metadata(facts), buffer, compression="zstd")
    return buffer.getvalue()


def _fixed_width(drop: Drop) -> bytes:
    """Lines of fields of a fixed number of bytes: numbers end, texts begin at the edge; what is not known is blank.

    Raises `ValueError` naming field and meter where a value is too long: a part of it would be another value.
    """
    encoding = drop.output.layout["encoding"]
    rows = _laid_out(drop)
    lines = []
    for row in rows.iter_rows():
        parts = []
        for field, value in zip(drop.output.layout["fields"], row, strict=True):
            data = (value or "").encode(encoding)
            if len(data) > field["width"]:
                raise ValueError(
                    f"{drop.output.path}: field {field['name']}: expected at most {field['width']} bytes, {value!r} of "
                    f"{row[0]!r} has {len(data)}; make the field wider, as agreed with the receiver"
                )
            blanks = b" " * (field["width"] - len(data))
            parts.append(blanks + data if "decimals" in field else data + blanks)
        lines.append(b"".join(parts) + b"\r\n")
    return b"".join(lines)


def _laid_out(drop: Drop) -> pl.DataFrame:
    """The fields of the layout as text."""
    local = drop.rows.with_columns(pl.col(pl.Datetime).dt.convert_time_zone(drop.zone.key))
    return local.select(_text(field).alias(field["name"]) for field in drop.output.layout["fields"])


def _text(field: Mapping[str, Any]) -> pl.Expr:
    value = pl.col(field["column"])
    if "format" in field:
        return value.dt.strftime(field["format"])
    if "decimals" in field:
        return value.map_elements(lambda number: f"{number:.{field['decimals']}f}", return_dtype=pl.String)
    if "values" in field:
        return value.replace_strict(field["values"])
    return value.cast(pl.String)


def _inp(drop: Drop) -> bytes:
    return epanet.demands(drop.rows, drop.line)


def _dat(drop: Drop) -> bytes:
    return epanet.pressures(drop.rows, drop.line)


WRITERS: Mapping[str, Callable[[Drop], bytes]] = {
    "csv": _csv,
    "parquet": _parquet,
    "txt": _fixed_width,
    "inp": _inp,
    "dat": _dat,
}
"""By the ending of the file."""
