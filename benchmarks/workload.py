"""The load: a believable day of a meter as SL 651 frames, and the site with those terminals registered.

No process is started here.
"""

import struct
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ingest_daemon.codec_kit.api import Arrival
from ingest_daemon.codecs import sl651
from ingest_daemon.contract.registry_files import FILES
from ingest_daemon.contract.schema import BEIJING
from ingest_daemon.contract.site import Site
from pipelines import site_folder

RECORDS = 96
"""Readings a meter and day: every 15 minutes."""

VARIANTS = 8
"""So many different days there are; terminal i sends number i modulo this."""

FIRST_DAY = date(2001, 1, 2)
DAYS = 8000
"""Dates that a long-lived connection may send one after the other: none of them lies in the future."""
PAST_DAYS = 20_000
"""The days of the load begin long ago; a site would keep them aside."""

FIRST_TERMINAL = 1_000_000


class Day(NamedTuple):
    """How a day is sent: which fields, and the most bytes of a frame's body."""

    name: str
    fields: tuple[str, ...]
    max_body: int


FULL = Day("day", ("forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa", "battery_v", "signal", "status"), 3000)
"""Every field that there is: 96 records of 49 bytes, in two frames (60 and 36 records)."""

SINGLE = Day("one frame", ("forward_m3", "flow_m3h", "pressure_mpa"), sl651.LONGEST)
"""The usual report of a large meter: 96 records of 27 bytes, in one frame."""


def readings(variant: int, day: date) -> pl.DataFrame:
    """A meter's day: `ts` (00:00 to 23:45 of Beijing) and all fields, with night, morning and evening as a large customer has."""
    random = np.random.default_rng(variant)
    hours = np.arange(RECORDS) / 4
    shape = 0.15 + np.exp(-(((hours - 8) / 2) ** 2)) + 0.8 * np.exp(-(((hours - 19) / 2.5) ** 2))
    flow = np.round((20 + 10 * variant) * shape * random.uniform(0.85, 1.15, RECORDS), 3)
    start = datetime.combine(day, time(), BEIJING).astimezone(UTC)
    return pl.DataFrame(
        {
            "ts": [start + timedelta(minutes=15 * slot) for slot in range(RECORDS)],
            "forward_m3": np.round(10_000 * (variant + 1) + np.cumsum(flow) / 4, 3),
            "reverse_m3": np.round(np.full(RECORDS, 1.5 * variant), 3),
            "flow_m3h": flow,
            "pressure_mpa": np.round(0.32 - 0.05 * shape + random.normal(0, 0.002, RECORDS), 5),
            "battery_v": np.round(np.full(RECORDS, 3.58) + random.integers(-1, 2, RECORDS) / 100, 2),
            "signal": random.integers(15, 28, RECORDS),
            "status": np.full(RECORDS, 0x80),
        }
    )


def write_days(path: Path, day: Day, first: date = FIRST_DAY) -> int:
    """Write what `load.c` reads; gives the bytes of all frames of one day.

    Little-endian u32: variants, frames a day, dates, first terminal; the dates as YYMMDD in BCD, 3 bytes each; then each frame of
    the day: u32 bytes, u32 records, and the frame itself once a variant. All variants have the same layout, because the first
    reading's sizes fit all of them.
    """
    sent_at = datetime.now(UTC)
    made = [
        sl651.reports(
            f"{FIRST_TERMINAL:010d}",
            readings(variant, first).select("ts", *day.fields),
            sent_at=sent_at,
            sequence=1,
            max_body=day.max_body,
        )
        for variant in range(VARIANTS)
    ]
    layouts = {tuple(map(len, frames)) for frames in made}
    if len(layouts) != 1:
        raise ValueError(f"the days are not laid out alike: frames of {layouts} bytes, expected one layout")
    dates = [first + timedelta(days=number) for number in range(DAYS)]
    parts = [struct.pack("<4I", VARIANTS, len(made[0]), DAYS, FIRST_TERMINAL)]
    parts += [bytes.fromhex(each.strftime("%y%m%d")) for each in dates]
    for number, frame in enumerate(made[0]):
        parts.append(struct.pack("<2I", len(frame), _records(frame)))
        parts += [frames[number] for frames in made]
    path.write_bytes(b"".join(parts))
    return sum(map(len, made[0]))


def _records(frame: bytes) -> int:
    return sl651.decode([Arrival(frame)], {}).readings.height


def make_site(root: Path, terminals: int, values: Mapping[str, Mapping[str, Any]]) -> Site:
    """A site with so many registered terminals on free ports; `values`: settings by section, beside those that a benchmark needs.

    The journal may grow: the load is faster than any store, and what is measured is not how a full disk is refused.
    """
    daemon = {
        "data_port": 0,
        "alarm_port": 0,
        "health_port": 0,
        "journal_mb": 30_000,
        "past_days": PAST_DAYS,
        **values.get("daemon", {}),
    }
    site = site_folder.create(root, "embedded", {**{k: dict(v) for k, v in values.items()}, "daemon": daemon}, examples=False)
    numbers = [f"{FIRST_TERMINAL + number:010d}" for number in range(terminals)]
    known: dict[str, Any] = {
        "terminal": numbers,
        "meter": [f"M{number}" for number in numbers],
        "customer_no": [f"C{number}" for number in numbers],
        "protocol": "sl651",
        "dn_mm": 100,
        "technology": "ultrasonic",
        "q1_m3h": 0.625,
        "q2_m3h": 1,
        "q3_m3h": 100,
        "q4_m3h": 125,
        "digits": 9,
        "resolution_m3": 0.001,
        "step_min": 15,
        "reads": "register",
        "pressure_low_mpa": 0.14,
        "pressure_high_mpa": 0.6,
        "installed_on": "2000-01-01",
    }
    columns = {name: known.get(name, "") for name in FILES["terminals"]}
    pl.DataFrame(columns, strict=False).write_csv(site.registry / "terminals.csv")
    return site
