"""The forecast of the hours ahead with its band, and how the forecasts of past days have fitted (docs/domain.md#forecast).

    hourly_usage, calendar, meter_history, relation ──▶ forecast_hour, forecast_day ──▶ forecast, forecast_group, forecast_score

A forecast made on a day starts from the days before it and covers that day and the next two. Volumes of an hour lie in arrays
`[meter, day, clock hour]`; not known is NaN.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from assets import calendar, warehouse
from ingest_daemon.contract.schema import TIMESTAMP

Array = npt.NDArray[np.float32]

CRITERIA = (
    "coverage.period",
    "forecast.weeks",
    "forecast.calibration_days",
    "forecast.festival_widening",
    "forecast.kept_days",
)

DAYS_AHEAD = 3
LEVEL_DAYS = 7
"""Days whose mean is the level of a meter: one of each weekday."""

REACH_DAYS = 2 * LEVEL_DAYS
"""Days that are looked through for those of the level."""

LEAST_SAMPLES = 4
"""Known hours of the past from which an hour has a forecast."""

LEAST_SCORES = 100
"""Known hours from which a band is calibrated."""

WIDEST = 5.0
"""Most by which the calibration stretches a band."""

LEAST_RATIO, MOST_RATIO = 0.2, 5.0
"""Bounds of the correction from a past level to the present one."""

BLOCK_DAYS = 31
"""Days that are forecast at a time; bounds memory."""

FESTIVAL = "spring_festival"

FORECAST_HOUR = "kind varchar, code varchar, made_on date, hour_start timestamptz, p10_m3h double, p50_m3h double, p90_m3h double"
FORECAST_DAY = "meter varchar, day date, hours bigint, hours_in_band bigint, pinball_m3 double, pinball_last_week_m3 double"


class Rules(NamedTuple):
    """The criteria of a forecast."""

    coverage: float
    weeks: int
    calibration_days: int
    festival_widening: float
    kept_days: int

    @property
    def window(self) -> int:
        """Days before a day that its forecast looks at."""
        return 7 * self.weeks + 1 + self.calibration_days + REACH_DAYS


class Days(NamedTuple):
    """Consecutive runs of days in order.

    `weekday`: 1–7; a holiday counts as Sunday, a working day in exchange as Friday. `festival`: days since the first holiday of
    Spring Festival, negative before; None on other days.
    """

    days: tuple[date, ...]
    weekday: tuple[int, ...]
    festival: tuple[int | None, ...]
    position: dict[date, int]


class Band(NamedTuple):
    """Low, middle and high volume of the hours of a day, `[meter, clock hour]`."""

    low: Array
    middle: Array
    high: Array


def ensure(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables where they are absent."""
    warehouse.ensure(connection, "forecast_hour", FORECAST_HOUR)
    warehouse.ensure(connection, "forecast_day", FORECAST_DAY)


def make(connection: duckdb.DuckDBPyConnection, zone: ZoneInfo) -> int:
    """Replace the forecasts and scores of the days of `touched_forecast`; forecasts of old days go. Gives the rows written."""
    touched = [day for (day,) in connection.execute("select day from touched_forecast order by day").fetchall()]
    newest = connection.execute("select max(day) from unit_day").fetchall()[0][0]
    connection.execute("delete from forecast_hour where made_on in (select day from touched_forecast)").fetchall()
    connection.execute("delete from forecast_day where day in (select day from touched_forecast)").fetchall()
    if newest is None:
        return 0
    rules = _rules(connection, newest)
    oldest = newest - timedelta(days=rules.kept_days)
    connection.execute("delete from forecast_hour where made_on <= ?", [oldest]).fetchall()
    written = 0
    for first in range(0, len(touched), BLOCK_DAYS):
        block = touched[first : first + BLOCK_DAYS]
        written += _make_block(connection, block, [day for day in block if day > oldest], rules, zone)
    return written


def _rules(connection: duckdb.DuckDBPyConnection, day: date) -> Rules:
    listed = ", ".join(f"criterion('{name}', date '{day}')" for name in CRITERIA)
    coverage, weeks, calibration_days, widening, kept_days = connection.execute(f"select {listed}").fetchall()[0]
    return Rules(coverage, int(weeks), int(calibration_days), widening, int(kept_days))


def _make_block(
    connection: duckdb.DuckDBPyConnection, block: Sequence[date], kept: Sequence[date], rules: Rules, zone: ZoneInfo
) -> int:
    days = _days(connection, block, rules)
    meters = [
        meter
        for (meter,) in connection.execute(
            "select distinct meter from daily_usage where day between ? and ? order by meter", [days.days[0], block[-1]]
        ).fetchall()
    ]
    if not meters:
        return 0
    volumes = _volumes(connection, meters, days, zone)
    model = Model(volumes, days, rules)
    scores = pl.concat(
        pl.DataFrame({"meter": meters, "day": [day] * len(meters), **model.score(days.position[day])}).filter(pl.col("hours") > 0)
        for day in block
    )
    warehouse.append(connection, "forecast_day", scores)
    written = scores.height
    for day in kept:
        own = _rows("meter", meters, day, model.forecast(days.position[day]), zone)
        sums = [own, *_group_rows(connection, meters, model, day, zone, own)]
        for rows in sums:
            warehouse.append(connection, "forecast_hour", rows)
            written += rows.height
    return written


# --- the days and their volumes -----------------------------------------------------------------------------------------------


def _days(connection: duckdb.DuckDBPyConnection, block: Sequence[date], rules: Rules) -> Days:
    """The days that the forecasts of the block look at and look ahead to, those of the Spring Festival a year before included."""
    known = connection.execute("select day, weekday, day_kind, festival, holiday_en from calendar order by day").fetchall()
    starts: list[date] = []
    for day, _, kind, festival, _ in known:
        is_first = kind == "holiday" and festival == FESTIVAL and (not starts or (day - starts[-1]).days > REACH_DAYS * 2)
        if is_first:
            starts.append(day)
    wanted = set(calendar.days_between(block[0] - timedelta(days=rules.window), block[-1] + timedelta(days=DAYS_AHEAD - 1)))
    festivals = {day for day, _, _, festival, _ in known if festival == FESTIVAL}
    if wanted & festivals:
        last_year = [start for start in starts if 300 < (min(wanted & festivals) - start).days < 420]
        for start in last_year:
            wanted |= set(calendar.days_between(start - timedelta(days=7 + REACH_DAYS), start + timedelta(days=21)))
    days = tuple(sorted(wanted))
    facts = {day: (weekday, kind) for day, weekday, kind, _, _ in known}
    weekdays = tuple(_weekday(*facts.get(day, (day.isoweekday(), "work" if day.isoweekday() < 6 else "rest"))) for day in days)
    offsets = tuple(
        min(((day - start).days for start in starts), key=abs) if day in festivals and starts else None for day in days
    )
    return Days(days, weekdays, offsets, {day: position for position, day in enumerate(days)})


def _weekday(weekday: int, kind: str) -> int:
    return 7 if kind == "holiday" else 5 if kind == "work" and weekday > 5 else weekday


def _volumes(connection: duckdb.DuckDBPyConnection, meters: Sequence[str], days: Days, zone: ZoneInfo) -> Array:
    """Volumes of the known hours; of a clock hour that comes twice the first one."""
    found = np.full((len(meters), len(days.days), 24), np.nan, np.float32)
    hours = [(start, days.position[day] * 24 + hour) for day in days.days for start, hour in _hours(day, zone)]
    cells = pl.DataFrame(hours, schema={"hour_start": TIMESTAMP, "cell": pl.Int64}, orient="row").unique("cell", keep="first")
    numbers = pl.DataFrame({"meter": meters, "number": range(len(meters))}, schema={"meter": pl.String, "number": pl.Int64})
    with warehouse.registered(connection, "hour_cell", cells), warehouse.registered(connection, "meter_number", numbers):
        rows = connection.execute(
            "select number, cell, volume_m3 from hourly_usage join hour_cell using (hour_start) join meter_number using (meter) "
            "where volume_m3 is not null and clean and day between ? and ?",
            [days.days[0], days.days[-1]],
        ).fetchnumpy()
    found.reshape(len(meters), -1)[rows["number"], rows["cell"]] = rows["volume_m3"]
    return found


def _hours(day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, int]]:
    """The clock hours of a local day: start (UTC) and number."""
    start, end = calendar.midnight(day, zone), calendar.midnight(day + timedelta(days=1), zone)
    while start < end:
        local = start.astimezone(zone)
        yield start, local.hour
        start += timedelta(hours=1) - timedelta(minutes=local.minute)


# --- the model ----------------------------------------------------------------------------------------------------------------


class Model:
    """Forecasts of series of volumes, each from its own past.

    The band of an hour is that of the same clock hour on like days of the last weeks (the same weekday and its neighbours,
    working days and days of rest apart), each brought to the present level. It is then stretched so that it would have held four
    of five hours of the last days (conformal calibration).
    """

    def __init__(self, volumes: Array, days: Days, rules: Rules) -> None:
        self.volumes, self.days, self.rules = volumes, days, rules
        self.levels = _levels(volumes, days)
        self._plain: dict[tuple[int, int], Band] = {}
        self._misses: dict[int, Array] = {}

    def forecast(self, position: int) -> list[Band]:
        """The bands of the day at the position and of those after it, from the days before it."""
        stretch = self._stretch(position)
        return [_stretched(self._band(position + ahead, ahead), stretch) for ahead in range(DAYS_AHEAD)]

    def score(self, position: int) -> dict[str, npt.NDArray[np.generic]]:
        """Of each series how the forecast of a day's first 24 hours fitted: columns of `forecast_day`."""
        actual, last_week = self.volumes[:, position], self.volumes[:, position - 7]
        band = _stretched(self._band(position, 0), self._stretch(position))
        is_known = np.isfinite(actual) & np.isfinite(last_week) & np.isfinite(band.middle)
        within = is_known & (actual >= band.low) & (actual <= band.high)
        return {
            "hours": is_known.sum(axis=1),
            "hours_in_band": within.sum(axis=1),
            "pinball_m3": _pinball(actual, band, is_known),
            "pinball_last_week_m3": _pinball(actual, Band(last_week, last_week, last_week), is_known),
        }

    def _stretch(self, position: int) -> Array:
        """The factor on the half-widths of each series' bands that would have held four of five of its last hours."""
        first = max(position - self.rules.calibration_days, 0)
        misses = [self._missed(past) for past in range(first, position) if self.days.festival[past] is None]
        if not misses:
            return np.ones(len(self.volumes), np.float32)
        ordered = np.sort(np.concatenate(misses, axis=1), axis=1)
        counts = (~np.isnan(ordered)).sum(axis=1)
        rank = np.clip(np.ceil(0.8 * (counts + 1)).astype(np.int64) - 1, 0, np.maximum(counts - 1, 0))
        found = np.minimum(np.take_along_axis(ordered, rank[:, None], axis=1)[:, 0], np.float32(WIDEST))
        return np.where(counts >= LEAST_SCORES, found, np.float32(1))

    def _missed(self, position: int) -> Array:
        """How far the hours of a day lay from the middle of their band, in half-widths."""
        if position not in self._misses:
            band, actual = self._band(position, 0), self.volumes[:, position]
            above = actual - band.middle
            with np.errstate(divide="ignore", invalid="ignore"):
                missed = np.abs(above) / np.where(above > 0, band.high - band.middle, band.middle - band.low)
            self._misses[position] = np.where(above == 0, np.float32(0), missed)
        return self._misses[position]

    def _band(self, position: int, ahead: int) -> Band:
        """The band of a day before calibration, from the days before the one on which it is made."""
        if (position, ahead) not in self._plain:
            like = self._like_days(position, ahead)
            found = self._quantiles(like, position - ahead)
            if self.days.festival[position] is not None:
                before = self._quantiles(self._festival_before(position), position - ahead)
                is_learnt = np.isfinite(before.middle)
                widening = np.float32(self.rules.festival_widening)
                wide = Band(found.low * (1 - widening), found.middle, found.high * (1 + widening))
                found = Band(*(np.where(is_learnt, *pair) for pair in zip(before, wide, strict=True)))
            self._plain[position, ahead] = found
        return self._plain[position, ahead]

    def _like_days(self, position: int, ahead: int) -> list[int]:
        days = self.days
        first = days.days[position] - timedelta(days=7 * self.rules.weeks + 1)
        own = days.weekday[position]
        return [
            past
            for past in range(max(position - 7 * self.rules.weeks - 1, 0), position - ahead)
            if days.days[past] >= first
            and days.festival[past] is None
            and (days.weekday[past] > 5) == (own > 5)
            and abs(days.weekday[past] - own) <= 1
        ]

    def _festival_before(self, position: int) -> list[int]:
        """Like days of the Spring Festival a year before: as far from its first holiday, or a day more or less."""
        days = self.days
        own = days.festival[position] or 0
        return [
            past
            for past, offset in enumerate(days.festival[:position])
            if offset is not None and (days.days[position] - days.days[past]).days > 200 and abs(offset - own) <= 1
        ]

    def _quantiles(self, past: Sequence[int], made_on: int) -> Band:
        """P10, median and P90 of each hour over past days, each brought to the level of the day on which it is made."""
        empty = np.full(self.volumes[:, 0].shape, np.nan, np.float32)
        if not past:
            return Band(empty, empty, empty)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = self.levels[:, made_on, None] / self.levels[:, past]
        ratios = np.where(np.isfinite(ratios), np.clip(ratios, np.float32(LEAST_RATIO), np.float32(MOST_RATIO)), np.float32(1))
        samples = np.ascontiguousarray((self.volumes[:, past] * ratios[:, :, None]).swapaxes(1, 2))
        samples.sort(axis=2)
        counts = np.isfinite(samples).sum(axis=2)
        least = min(LEAST_SAMPLES, len(past))
        is_known = (counts >= least) & np.isfinite(self.levels[:, made_on, None])
        return Band(*(np.where(is_known, _quantile(samples, counts, share), np.nan) for share in (0.1, 0.5, 0.9)))


def _quantile(ordered: Array, counts: npt.NDArray[np.int64], share: float) -> Array:
    """The quantile along the last axis, interpolated; NaN stands last."""
    place = share * np.maximum(counts - 1, 0)
    low = place.astype(np.int64)
    high = np.minimum(low + 1, np.maximum(counts - 1, 0))
    below, above = (np.take_along_axis(ordered, at[:, :, None], axis=2)[:, :, 0] for at in (low, high))
    found: Array = (below + (place - low).astype(np.float32) * (above - below)).astype(np.float32)
    return found


def _levels(volumes: Array, days: Days) -> Array:
    """Mean volume of an hour on the last days before each day, Spring Festival left out; NaN where none is known."""
    counts = np.isfinite(volumes).sum(axis=2)
    means = np.where(counts >= 18, np.nansum(volumes, axis=2) / np.maximum(counts, 1), np.nan).astype(np.float32)
    found = np.full(means.shape, np.nan, np.float32)
    for position, day in enumerate(days.days):
        ordinary = [past for past in range(max(position - REACH_DAYS, 0), position) if days.festival[past] is None]
        near = [past for past in ordinary if (day - days.days[past]).days <= REACH_DAYS][-LEVEL_DAYS:]
        if near:
            own = means[:, near]
            known = np.isfinite(own).sum(axis=1)
            found[:, position] = np.where(known > 0, np.nansum(own, axis=1) / np.maximum(known, 1), np.nan)
    return found


def _stretched(band: Band, factor: Array) -> Band:
    by = factor[:, None]
    low = np.maximum(band.middle - by * (band.middle - band.low), np.float32(0))
    return Band(low, band.middle, band.middle + by * (band.high - band.middle))


def _pinball(actual: Array, band: Band, is_known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Sum over a day's known hours of the mean pinball loss of the three quantiles."""
    losses = [
        np.maximum(share * (actual - value), (share - 1) * (actual - value))
        for share, value in zip((0.1, 0.5, 0.9), band, strict=True)
    ]
    summed: npt.NDArray[np.float64] = np.where(is_known, sum(losses) / 3, 0).sum(axis=1, dtype=np.float64)
    return summed


# --- rows ---------------------------------------------------------------------------------------------------------------------


def _rows(kind: str, codes: Sequence[str], made_on: date, bands: Sequence[Band], zone: ZoneInfo) -> pl.DataFrame:
    """Rows of `forecast_hour`; hours without a forecast have none."""
    hours = [(ahead, hour, start) for ahead in range(DAYS_AHEAD) for start, hour in _hours(made_on + timedelta(days=ahead), zone)]
    values = [np.stack([bands[ahead][part][:, hour] for ahead, hour, _ in hours], axis=1) for part in range(3)]
    starts = pl.Series("hour_start", [start for *_, start in hours], dtype=TIMESTAMP)
    frame = pl.DataFrame(
        {
            "code": pl.Series(codes, dtype=pl.String).gather(np.repeat(np.arange(len(codes)), len(hours))),
            "hour_start": starts.gather(np.tile(np.arange(len(hours)), len(codes))),
            **{
                name: value.ravel().astype(np.float64)
                for name, value in zip(("p10_m3h", "p50_m3h", "p90_m3h"), values, strict=True)
            },
        }
    )
    return frame.filter(pl.col("p50_m3h").is_not_nan()).with_columns(kind=pl.lit(kind), made_on=pl.lit(made_on))


MEMBERS = """
select distinct 'customer' as kind, customer_no as code, meter from meter_history
where customer_no is not null and source is distinct from 'manual'
    and $day between coalesce(first_day, date '0001-01-01') and coalesce(last_day, date '9999-12-31')
union all
select distinct kind, code, meter from relation
where $day >= coalesce(valid_from, date '0001-01-01') and $day < coalesce(valid_to, date '9999-12-31')
order by kind, code, meter"""
"""The meters of each customer and group on $day."""


def _group_rows(
    connection: duckdb.DuckDBPyConnection,
    meters: Sequence[str],
    model: Model,
    made_on: date,
    zone: ZoneInfo,
    of_meters: pl.DataFrame,
) -> Iterator[pl.DataFrame]:
    """Rows of customers and groups: the sum of the middles, and a band from the past of the sums; of one meter alone its own."""
    numbers = {meter: number for number, meter in enumerate(meters)}
    everybody = pl.DataFrame({"kind": "all", "code": "all", "meter": meters})
    listed = warehouse.frame(connection, MEMBERS.replace("$day", f"date '{made_on}'"))
    members = pl.concat([everybody, listed], how="vertical_relaxed").filter(pl.col("meter").is_in(meters))
    is_alone = pl.len().over("kind", "code") == 1
    named = of_meters.drop("kind").rename({"code": "meter"}).join(members.filter(is_alone), on="meter")
    yield named.select(of_meters.columns)
    members = members.filter(~is_alone)
    position = model.days.position[made_on]
    middles = [band.middle for band in model.forecast(position)]
    has_forecast: npt.NDArray[np.bool_] = ~np.asarray(np.isnan(middles[0]).all(axis=1))
    for (kind,), own in members.group_by(["kind"], maintain_order=True):
        rows = np.array([numbers[meter] for meter in own["meter"]], np.int64)
        own, rows = own.filter(pl.Series(has_forecast[rows])), rows[has_forecast[rows]]
        if not len(rows):
            continue
        codes = own["code"].unique(maintain_order=True).to_list()
        firsts = np.flatnonzero(np.r_[True, (own["code"] != own["code"].shift(1)).to_numpy()[1:]])
        history = Model(_sums(model, rows, firsts), model.days, model.rules)
        yield _rows(str(kind), codes, made_on, _around(history.forecast(position), middles, rows, firsts), zone)


def _sums(model: Model, rows: npt.NDArray[np.int64], firsts: npt.NDArray[np.int64]) -> Array:
    """Volumes of sums of meters. Where few are missing, the others stand for them in proportion to their levels, else NaN."""
    volumes, levels = model.volumes[rows], np.nan_to_num(model.levels[rows])
    is_known = np.isfinite(volumes)
    sums = np.add.reduceat(np.where(is_known, volumes, np.float32(0)), firsts, axis=0)
    known = np.add.reduceat(np.where(is_known, levels[:, :, None], np.float32(0)), firsts, axis=0)
    whole = np.add.reduceat(levels, firsts, axis=0)[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(whole > 0, known / whole, np.float32(0))
        return np.where(share >= model.rules.coverage, sums / share, np.nan).astype(np.float32)


def _around(
    bands: Sequence[Band], middles: Sequence[Array], rows: npt.NDArray[np.int64], firsts: npt.NDArray[np.int64]
) -> list[Band]:
    """The bands of the sums, moved so that each middle is the sum of the members' middles."""
    found = []
    for band, middle in zip(bands, middles, strict=True):
        summed = np.add.reduceat(np.nan_to_num(middle[rows]), firsts, axis=0)
        low, high = np.maximum(summed - (band.middle - band.low), np.float32(0)), summed + (band.high - band.middle)
        found.append(Band(low, np.where(np.isfinite(band.middle), summed, np.nan), high))
    return found
