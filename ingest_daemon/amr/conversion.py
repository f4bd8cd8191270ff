"""Rows of a source → readings in our units, and what of them cannot be used. Pure."""

from fractions import Fraction
from typing import NamedTuple

import polars as pl

from ingest_daemon.amr.settings import SourceSettings
from ingest_daemon.codec_kit.units import FLOWS, PRESSURES, VOLUMES
from ingest_daemon.contract import odbc
from ingest_daemon.contract.identifiers import half_width
from ingest_daemon.contract.schema import FIELDS

A_TIME = "a time like 2026-01-31 08:00:00 that the source's zone has once"


class Converted(NamedTuple):
    """`rows`: `row_id`, `tag`, `ts` and the fields of a reading. `refused`: `row_id`, `tag` as it came, `reason`."""

    rows: pl.DataFrame
    refused: pl.DataFrame


COLUMN_OF = {
    "forward_m3": "forward_volume",
    "reverse_m3": "reverse_volume",
    "flow_m3h": "flow",
    "pressure_mpa": "pressure",
    "battery_v": "battery_v",
    "signal": "signal_level",
    "status": "status_word",
}
"""The column of the intermediate table by the field of a reading."""


def factor(source: SourceSettings, field: str) -> Fraction:
    """What a value of the source is multiplied by to become the field's."""
    match field:
        case "forward_m3" | "reverse_m3":
            return VOLUMES[source.volume_unit] * Fraction(str(source.volume_factor))
        case "flow_m3h":
            return FLOWS[source.flow_unit] * Fraction(str(source.flow_factor))
        case "pressure_mpa":
            return PRESSURES[source.pressure_unit] * Fraction(str(source.pressure_factor))
    return Fraction(1)


def readings(rows: pl.DataFrame, source: SourceSettings, zone: str) -> Converted:
    """Rows of `tables.READING` as text. `zone`: of times without an offset.

    A row is refused as a whole: a value that is no number must not become missing.
    """
    values = {field.name: _value(source, field.name, is_whole=field.dtype.is_integer()) for field in FIELDS}
    typed = rows.select(
        pl.col("row_id").cast(pl.Int64),
        half_width(pl.col("tag")).alias("tag"),
        moment("read_at", zone).alias("ts"),
        *(value.cast(field.dtype).alias(field.name) for field, value in zip(FIELDS, values.values(), strict=True)),
        pl.coalesce(
            _missing("tag", pl.col("tag"), "the name of a meter"),
            _missing("read_at", moment("read_at", zone), A_TIME),
            *(
                pl.when(pl.col(COLUMN_OF[name]).is_not_null() & value.is_null()).then(
                    pl.format(f"{COLUMN_OF[name]} is {{}}; expected a number", pl.col(COLUMN_OF[name]))
                )
                for name, value in values.items()
            ),
            pl.when(pl.all_horizontal(value.is_null() for value in values.values())).then(
                pl.lit("there is no value in the row; expected one at least")
            ),
        ).alias("reason"),
    )
    return Converted(
        typed.filter(pl.col("reason").is_null()).drop("reason"),
        typed.filter(pl.col("reason").is_not_null()).select("row_id", "tag", "reason"),
    )


def _value(source: SourceSettings, field: str, *, is_whole: bool) -> pl.Expr:
    value, by = odbc.number(pl.col(COLUMN_OF[field])), factor(source, field)
    if is_whole:
        return pl.when(value == value.round()).then(value)
    return value * float(by.numerator) / float(by.denominator) if by != 1 else value


def moment(column: str, zone: str) -> pl.Expr:
    """A time in UTC; null where it is none, or is not there or there twice when clocks change."""
    text = half_width(pl.col(column)).str.replace("T", " ", literal=True)
    local = text.str.slice(0, 19).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    rest = text.str.slice(19).str.extract_groups(r"^(?:\.\d+)? ?(?:(Z)|([+-])(\d\d):?(\d\d))?$")
    minutes = rest.struct.field("3").cast(pl.Int64) * 60 + rest.struct.field("4").cast(pl.Int64)
    signed = pl.when(rest.struct.field("2") == "-").then(-minutes).otherwise(minutes)
    is_whole = text.str.contains(r"^.{19}(?:\.\d+)? ?(?:Z|[+-]\d\d:?\d\d)?$")
    offset = pl.coalesce(pl.when(rest.struct.field("1") == "Z").then(0), signed)
    utc = (
        pl.when(offset.is_not_null())
        .then((local - pl.duration(minutes=offset)).dt.replace_time_zone("UTC"))
        .otherwise(local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC"))
    )
    return pl.when(is_whole).then(utc)


def _missing(column: str, value: pl.Expr, expected: str) -> pl.Expr:
    return pl.when(value.is_null()).then(pl.format(f"{column} is {{}}; expected {expected}", pl.col(column).fill_null("empty")))
