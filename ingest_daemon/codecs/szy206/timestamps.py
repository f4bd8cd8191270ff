"""Times on the wire, Beijing time in BCD, low unit first: read in columns, and written. Nothing here reads a clock."""

from datetime import datetime

import numpy as np

from ingest_daemon.codec_kit import bcd
from ingest_daemon.codec_kit.bcd import Block, Mask, Whole
from ingest_daemon.contract.schema import BEIJING

MINUTE = 60_000_000
"""Microseconds."""
DAY = 1440 * MINUTE
AHEAD = 10 * MINUTE
"""Limit by which a station's clock may be ahead of ours."""
_BEIJING = 8 * 60 * MINUTE


def read_tags(block: Block, received_us: Whole) -> tuple[Whole, Mask]:
    """Times of Tp (rows, 5 to 7) as µs UTC, and whether each is a time; 2000-01-01 is a clock that was reset.

    ss mm hh DD, then MM YY except where Tp has 5 bytes; the delay behind them is ignored. Without month and year it is the latest
    day of that number at most `AHEAD` after the time of receipt: a report older than a month is not recognized as such.
    """
    dated = block.shape[1] > 5
    pairs, bad = bcd.pairs(block[:, : 6 if dated else 4])
    second, minute, hour, day = pairs[:, :4].T
    sound = ~bad & (second < 60) & (minute < 60) & (hour < 24) & (day >= 1)
    clock = ((hour * 60 + minute) * 60 + second) * 1_000_000 - _BEIJING
    if dated:
        months = ((pairs[:, 5] + 30) * 12 + pairs[:, 4] - 1).astype("datetime64[M]")
        date, real = _date(months, day)
        sound &= real & (pairs[:, 4] >= 1) & (pairs[:, 4] <= 12) & ~((pairs[:, 5] == 0) & (pairs[:, 4] == 1) & (day == 1))
        return np.where(sound, date * DAY + clock, 0), sound
    latest = received_us + AHEAD
    this_month = (latest + _BEIJING).astype("datetime64[us]").astype("datetime64[M]")
    is_dated, ts = np.zeros(len(block), bool), np.zeros(len(block), np.int64)
    for back in range(3):  # of two months in a row one has 31 days
        date, real = _date(this_month - back, day)
        moment = date * DAY + clock
        fits = ~is_dated & real & (moment <= latest)
        ts, is_dated = np.where(fits, moment, ts), is_dated | fits
    sound &= is_dated
    return np.where(sound, ts, 0), sound


def read_hours(block: Block) -> tuple[Whole, Mask]:
    """hh DD MM YY (rows, 4) as µs UTC, and whether each is a time."""
    zeros = np.zeros((len(block), 2), np.uint8)
    return read_tags(np.concatenate([zeros, block], axis=1), np.zeros(len(block), np.int64))


def _date(months: np.ndarray[tuple[int], np.dtype[np.datetime64]], day: Whole) -> tuple[Whole, Mask]:
    """Days since 1970 of that day of the months, and whether they have it."""
    days = months.astype("datetime64[D]") + (day - 1)
    return days.astype(np.int64), days.astype("datetime64[M]") == months


def tag(moment: datetime, size: int) -> bytes:
    """Tp of `size` bytes, delay 0. Raises `ValueError` for a time without a zone."""
    return _written(moment, "%S%M%H%d%m%y")[: 6 if size > 5 else 4][:size] + bytes(size % 2)


def hour(moment: datetime) -> bytes:
    """hh DD MM YY. Raises `ValueError` for a time without a zone."""
    return _written(moment, "%H%d%m%y")


def _written(moment: datetime, form: str) -> bytes:
    if moment.tzinfo is None:
        raise ValueError(f"time {moment.isoformat()} has no zone, expected an aware datetime")
    return bytes.fromhex(moment.astimezone(BEIJING).strftime(form))
