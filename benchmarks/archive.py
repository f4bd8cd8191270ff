"""A believable Parquet archive of a fleet, written through the store as the forwarder writes it, and the registry's spans for it.

Every meter sends its local day of 96 readings in one frame on the next morning, meters in random order, so that files overlap
and terminals are not sorted. A larger fleet than `PIECE` is made in pieces, so that this needs little memory: a day of each piece
is one file sorted by terminal, as the store joins files of a day that has many. Of the readings 1.3 % are missing (0.3 % come a
day late), 0.5 % come twice; a few registers are reset or show one wrong value, and one meter of a thousand stands at 0.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from assets import calendar, registry_history
from ingest_daemon.contract.schema import READING
from ingest_daemon.stores.parquet import ParquetStore

ZONE = ZoneInfo("Asia/Shanghai")
FIRST = date(2025, 7, 1)
STEPS = 96
STEP_US = 900_000_000
WRITES_PER_DAY = 6
PIECE = 40_000
FIRST_TERMINAL = 4_200_000_000

LOST, LATE, TWICE = 0.010, 0.003, 0.005
"""Shares of the readings that never come, that come a day late, and that come again."""

RESET, SPIKE = 1 / 15_000, 1 / 5_000
"""Chances a meter and day that its register begins at 0 again, and that one reading of it is wrong."""


def write_archive(folder: Path, meters: int, days: int, seed: int = 1) -> int:
    """Write the archive of a fleet to a raw folder; gives its readings (those that come twice counted once)."""
    store = ParquetStore(folder)
    names, readings, late = terminals(meters), 0, []
    for number, piece in enumerate(names.to_frame().iter_slices(PIECE)):
        own = (seed, number) if meters > PIECE else (seed,)
        sent, left = _write_piece(store, piece["terminal"], days, own, is_sorted=meters > PIECE)
        readings += sent
        late.append(left)
    _write(store, pl.concat(late), names, FIRST + timedelta(days=days + 1), np.random.default_rng((seed, days)))
    return readings


def _write_piece(
    store: ParquetStore, names: pl.Series, days: int, seed: tuple[int, ...], *, is_sorted: bool
) -> tuple[int, pl.DataFrame]:
    """Write the readings of some terminals; gives their number, and those that are still to come."""
    readings = 0
    late: list[pl.DataFrame] = []
    for number, sent in enumerate(_days(names, days, np.random.default_rng(seed))):
        readings += sent.height
        random = np.random.default_rng((*seed, number))
        chance = pl.Series(random.random(sent.height))
        again = sent.filter(chance < TWICE)
        parts = [sent.filter(chance < 1 - LATE), *late]
        late = [sent.filter(chance >= 1 - LATE), again]
        _write(store, pl.concat(parts), names, FIRST + timedelta(days=number + 1), random, is_sorted=is_sorted)
    return readings, pl.concat(late)


def _days(names: pl.Series, days: int, random: np.random.Generator) -> Iterator[pl.DataFrame]:
    """The readings of each local day without those that are lost, by terminal and time, not yet received."""
    meters = len(names)
    hours = np.arange(1, STEPS + 1) / 4
    shape = 0.15 + np.exp(-(((hours - 8) / 2) ** 2)) + 0.8 * np.exp(-(((hours - 19) / 2.5) ** 2))
    scale = random.lognormal(0.5, 0.8, meters)
    scale[::1000] = 0
    register = np.where(scale > 0, random.integers(1_000_000, 90_000_000, meters), 0)  # litres
    backward = random.integers(0, 5_000, meters)
    for number in range(days):
        flow = scale[:, None] * shape * random.uniform(0.7, 1.3, (meters, STEPS))  # m³/h
        litres = np.rint(flow * 250).astype(np.int64)
        forward = register[:, None] + np.cumsum(litres, axis=1)
        for reset in np.flatnonzero(random.random(meters) < RESET):
            step = int(random.integers(1, STEPS))
            forward[reset, step:] -= forward[reset, step]
        register = forward[:, -1].copy()
        for wrong in np.flatnonzero(random.random(meters) < SPIKE):
            forward[wrong, random.integers(1, STEPS)] += 10_000_000
        backward += random.random(meters) < 0.01
        at_us = calendar.microseconds(calendar.midnight(FIRST + timedelta(days=number), ZONE)) + np.arange(1, STEPS + 1) * STEP_US
        kept = random.random((meters, STEPS)) >= LOST
        for silent in np.flatnonzero(random.random(meters) < 0.005):  # a hole of up to eight hours
            begin = int(random.integers(0, STEPS))
            kept[silent, begin : begin + int(random.integers(9, 33))] = False
        places = np.flatnonzero(kept)
        meter = places // STEPS
        pressure = np.round(0.32 - 0.05 * shape + random.normal(0, 0.002, (meters, STEPS)), 4)
        yield pl.DataFrame(
            {
                "terminal": names.gather(meter),
                "ts": pl.Series(np.broadcast_to(at_us, kept.shape).ravel()[places]),
                "forward_m3": np.round(forward.ravel()[places] / 1000, 3),
                "reverse_m3": np.round(backward[meter] / 1000, 3),
                "flow_m3h": np.round(flow.ravel()[places], 3),
                "pressure_mpa": pressure.ravel()[places],
                "battery_v": np.round(3.6 - 0.0002 * number - (meter % 7) / 100, 2),
                "signal": 15 + meter % 12,
                "status": np.full(len(places), 0x80),
            }
        )


def _write(
    store: ParquetStore,
    rows: pl.DataFrame,
    names: pl.Series,
    day: date,
    random: np.random.Generator,
    *,
    is_sorted: bool = False,
) -> None:
    """Readings arrive on a morning: the meters in random order, each with a frame of its own."""
    meters = len(names)
    order = pl.DataFrame({"terminal": names, "rank": random.permutation(meters)})
    begins = datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)
    frame = (day - FIRST).days * meters
    sent = rows.join(order, on="terminal", maintain_order="left").sort("rank", maintain_order=True)
    sent = sent.select(
        pl.all().exclude("ts"),
        pl.col("ts").cast(READING["ts"]),
        received_at=pl.lit(begins) + pl.duration(milliseconds=pl.col("rank") * (6 * 3_600_000 // meters)),
        channel=pl.lit("tcp"),
        stream=pl.lit("data"),
        frame=pl.col("rank") + frame,
    ).select(pl.col(name).cast(dtype) for name, dtype in READING.items())
    size = sent.height if is_sorted else -(-sent.height // WRITES_PER_DAY)
    if is_sorted:
        sent = sent.sort("terminal", "ts", maintain_order=True)
    for part in sent.iter_slices(size):
        refused = store.write(part)
        if refused.height:
            raise RuntimeError(f"the store refuses {refused.height} readings: {refused['detail'][0]}")


def terminals(meters: int) -> pl.Series:
    """Numbers of the fleet's terminals, sorted."""
    return pl.Series("terminal", [f"{FIRST_TERMINAL + number}" for number in range(meters)])


def spans(meters: int) -> pl.DataFrame:
    """The fleet as the registry's history has it: each terminal measures its meter since ever."""
    known = {
        "terminal": terminals(meters),
        "meter": ("M" + terminals(meters)),
        "customer_no": ("C" + terminals(meters)),
        "dn_mm": 100,
        "technology": "ultrasonic",
        "q1_m3h": 0.625,
        "q2_m3h": 1.0,
        "q3_m3h": 100.0,
        "q4_m3h": 125.0,
        "digits": 9,
        "resolution_m3": 0.001,
        "step_min": 15,
        "reads": "register",
    }
    return pl.select(
        (pl.lit(known[name]) if name in known else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in registry_history.SPAN.items()
    )
