"""Rows of a source's alarms → all alarms of a terminal at each moment at which one began or ended. Pure."""

from datetime import datetime

import polars as pl

from ingest_daemon.amr import conversion
from ingest_daemon.amr.settings import SourceSettings
from ingest_daemon.amr.tag_map import TagMap
from ingest_daemon.codecs.amr import Alarm
from ingest_daemon.contract import odbc
from ingest_daemon.contract.alarm_codes import ALARMS
from ingest_daemon.contract.identifiers import half_width

ALARM_ROWS = {
    "row_id": pl.Int64(),
    "tag": pl.String(),
    "code": pl.String(),
    "raised_at": pl.Datetime("us", "UTC"),
    "cleared_at": pl.Datetime("us", "UTC"),
    "value": pl.Float64(),
    "limit": pl.Float64(),
    "text": pl.String(),
}


def typed(rows: pl.DataFrame, zone: str) -> conversion.Converted:
    """Rows of `tables.ALARM` as text → `ALARM_ROWS`, and those that are refused."""
    times = {name: conversion.moment(name, zone) for name in ("raised_at", "cleared_at")}
    numbers = {"value": "alarm_value", "limit": "limit_value"}
    found = rows.select(
        pl.col("row_id").cast(pl.Int64),
        half_width(pl.col("tag")).alias("tag"),
        pl.col("alarm_code").alias("code"),
        *(time.alias(name) for name, time in times.items()),
        *(odbc.number(pl.col(column)).alias(name) for name, column in numbers.items()),
        pl.col("alarm_text").fill_null("").alias("text"),
        pl.coalesce(
            *(
                pl.when(pl.col(name).is_null()).then(pl.lit(f"{name} is empty; expected a value"))
                for name in ("tag", "alarm_code", "raised_at")
            ),
            *(
                pl.when(pl.col(name).is_not_null() & time.is_null()).then(
                    pl.format(f"{name} is {{}}; expected {conversion.A_TIME}", pl.col(name))
                )
                for name, time in times.items()
            ),
            *(
                pl.when(pl.col(column).is_not_null() & odbc.number(pl.col(column)).is_null()).then(
                    pl.format(f"{column} is {{}}; expected a number", pl.col(column))
                )
                for column in numbers.values()
            ),
            pl.when(times["cleared_at"] < times["raised_at"]).then(
                pl.format("cleared_at is {}; expected no time before raised_at {}", "cleared_at", "raised_at")
            ),
        ).alias("reason"),
    )
    is_good = pl.col("reason").is_null()
    return conversion.Converted(
        found.filter(is_good).select(list(ALARM_ROWS)), found.filter(~is_good).select("row_id", "tag", "reason")
    )


def begun(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The rows (`ALARM_ROWS`) without those that tell of a time to come: the source's clock is ahead, they wait for it."""
    return rows.filter(pl.max_horizontal("raised_at", "cleared_at") <= now)


def words(rows: pl.DataFrame, since: datetime, source: SourceSettings, tags: TagMap) -> list[tuple[datetime, list[Alarm]]]:
    """Every moment from `since` on at which an alarm of one terminal begins or ends, with all that are set from then on.

    `rows`: all alarms of the terminal. Of several of one code the last that began counts.
    """
    moments = sorted({moment for name in ("raised_at", "cleared_at") for moment in rows[name].drop_nulls() if moment >= since})
    found = []
    for moment in moments:
        is_set = (pl.col("raised_at") <= moment) & (pl.col("cleared_at").is_null() | (pl.col("cleared_at") > moment))
        active = rows.filter(is_set).sort("raised_at", "row_id").iter_rows(named=True)
        alarms = {alarm.code: alarm for alarm in (_alarm(row, source, tags) for row in active)}
        found.append((moment, list(alarms.values())))
    return found


def _alarm(row: dict[str, object], source: SourceSettings, tags: TagMap) -> Alarm:
    code = tags.alarm(str(row["code"]))
    field = ALARMS[code].value_field or ""
    by = conversion.factor(source, field)
    value, limit = (
        float(number) * float(by.numerator) / float(by.denominator) if isinstance(number := row[name], float) else None
        for name in ("value", "limit")
    )
    return Alarm(code, value, field, limit, str(row["code"]), str(row["text"]))
