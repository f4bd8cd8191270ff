"""Times on the wire, Beijing time in BCD, read and written, singly or in columns. Nothing here reads a clock."""

from datetime import datetime, timedelta, timezone
from functools import lru_cache

import numpy as np
import polars as pl

from ingest_daemon.codec_kit import bcd
from ingest_daemon.codec_kit.bcd import Block, Mask, Whole
from ingest_daemon.contract.schema import BEIJING

MINUTE = 60_000_000
"""Microseconds."""
_BEIJING = 8 * 60 * MINUTE

_FIRSTS = (np.datetime64("2000-01") + np.arange(1201)).astype("datetime64[D]").astype(np.int64)
_STARTS, _LENGTHS = _FIRSTS[:-1] - 1, np.diff(_FIRSTS)
"""For each month of 2000 to 2099: the day before it, in days since 1970, and its number of days."""


def stamp(moment: datetime, utc_offset_h: int = 8) -> bytes:
    """YYMMDDhhmmss of Beijing or another clock, 6 bytes. Raises `ValueError` for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"time {moment.isoformat()} has no zone, expected an aware datetime")
    return _stamp(int(moment.timestamp()), utc_offset_h)


@lru_cache(16)
def _stamp(second: int, utc_offset_h: int) -> bytes:
    zone = BEIJING if utc_offset_h == 8 else timezone(timedelta(hours=utc_offset_h))
    return bytes.fromhex(datetime.fromtimestamp(second, zone).strftime("%y%m%d%H%M%S"))


def read_times(block: Block) -> tuple[Whole, Mask]:
    """YYMMDDhhmm[ss] of Beijing as µs UTC, and whether each is a time; 2000-01-01 is a clock that was reset, so it is none."""
    pairs, bad = bcd.pairs(block)
    year, month, day, hour, minute = pairs[:, :5].T
    second = pairs[:, 5] if pairs.shape[1] > 5 else np.zeros_like(hour)
    month_of_century = year * 12 + month - 1
    sound = ~bad & (month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (second < 60)
    month_of_century[~sound] = 0
    sound &= (day >= 1) & (day <= _LENGTHS[month_of_century]) & ((day > 1) | (month_of_century > 0))
    total = (((_STARTS[month_of_century] + day) * 24 + hour) * 60 + minute) * 60 + second
    return np.where(sound, total * 1_000_000 - _BEIJING, 0), sound


def read_moments(minutes: Block, seconds: Block | None) -> tuple[Whole, Mask]:
    """Observation times of groups, with the seconds of FFA6 (two bytes, 00.00 to 59.99) where there are any."""
    ts, sound = read_times(minutes)
    if seconds is None:
        return ts, sound
    pairs, bad = bcd.pairs(seconds)
    sound = sound & ~bad & (pairs[:, 0] < 60)
    return np.where(sound, ts + pairs[:, 0] * 1_000_000 + pairs[:, 1] * 10_000, 0), sound


def write_moments(ts: pl.Series) -> tuple[Block, Block]:
    """YYMMDDhhmm of Beijing (rows, 5) and the seconds in hundredths (rows, 2), as `read_moments` takes them.

    Raises `ValueError` for a null, a time finer than a hundredth of a second, and one outside 2000-01-02 to 2099.
    """
    if ts.null_count():
        raise ValueError(f"ts is null in {ts.null_count()} of {len(ts)} readings, expected a time in each")
    local = ts.dt.epoch("us").to_numpy() + _BEIJING
    if (local % 10_000).any():
        raise ValueError("a ts is finer than a hundredth of a second, which is the finest that FFA6 carries: round it first")
    months = (local // (1440 * MINUTE)).astype("datetime64[D]").astype("datetime64[M]")
    year, month = np.divmod(months.astype(np.int64), 12)
    day = local // (1440 * MINUTE) - months.astype("datetime64[D]").astype(np.int64) + 1
    minute = local // MINUTE % 1440
    hundredths = local % MINUTE // 10_000
    if (year < 30).any() or (year > 129).any() or ((year == 30) & (month == 0) & (day == 1)).any():
        raise ValueError("a ts is outside 2000-01-02 to 2099-12-31 (Beijing time), which is all that two digits of a year carry")
    none = np.zeros(len(local), bool)
    parts = (year - 30, month + 1, day, minute // 60, minute % 60)
    times = np.concatenate([bcd.write(part, none, 1) for part in parts], axis=1)
    return times, bcd.write(hundredths, none, 2)
