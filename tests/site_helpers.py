"""A tiny site for tests: a folder with settings, a registry and readings in its Parquet archive."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from ingest_daemon.contract.registry_files import FILES
from ingest_daemon.contract.schema import READING, Channel
from ingest_daemon.contract.settings import Settings
from ingest_daemon.contract.site import Site
from ingest_daemon.stores import open_store
from ingest_daemon.stores.settings import StoreSettings
from pipelines.settings import load, sample_file

TERMINAL: dict[str, Any] = {
    "customer_no": "C1",
    "protocol": "sl651",
    "dn_mm": 100,
    "technology": "ultrasonic",
    "q1_m3h": 0.625,
    "q2_m3h": 1.0,
    "q3_m3h": 100.0,
    "q4_m3h": 125.0,
    "digits": 7,
    "resolution_m3": 0.1,
    "step_min": 60,
    "reads": "register",
    "pressure_low_mpa": 0.14,
    "pressure_high_mpa": 0.5,
    "installed_on": "2020-01-01",
}
"""What a terminal is unless a test says otherwise; `terminal` and `meter` it must say."""


def make_site(folder: Path, terminals: list[dict[str, Any]], readings: pl.DataFrame, zone: str = "Asia/Shanghai") -> Settings:
    """Write `site.toml`, `registry/terminals.csv` and the readings (columns of `schema.READING`); gives the site's settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.toml").write_text(sample_file("embedded", {"site": {"zone": zone}}), encoding="utf-8")
    settings = load(folder)
    settings.folder.registry.mkdir(exist_ok=True)
    rows = [{**TERMINAL, **terminal} for terminal in terminals]
    columns = {name: [str(row.get(name, "")) for row in rows] for name in FILES["terminals"]}
    pl.DataFrame(columns).write_csv(settings.folder.registry / "terminals.csv")
    deliver(settings, readings)
    return settings


def passwords_of_roles(site: Site) -> list[bytes]:
    """Those of the embedded PostgreSQL."""
    return [password.encode() for password in json.loads((site.state / "postgres-roles.json").read_text()).values()]


def files_with(site: Site, words: Sequence[bytes]) -> set[Path]:
    """The files of the site that hold one of the words; a file that ends meanwhile holds none."""
    found = set()
    for path in site.root.rglob("*"):
        with suppress(OSError):
            if path.is_file() and any(word in content for content in [path.read_bytes()] for word in words):
                found.add(path)
    return found


def deliver(settings: Settings, readings: pl.DataFrame) -> None:
    """Write readings to the site's raw store, as the daemon does."""
    refused = open_store(settings.folder, settings[StoreSettings]).write(readings)
    assert refused.is_empty(), refused


def series(
    terminal: str, start: datetime, count: int, step: timedelta, flow_m3h: Callable[[int], float], *, register_m3: float = 1000.0
) -> pl.DataFrame:
    """`count` readings from `start` on, a step apart: `flow_m3h(i)` is the mean flow of the step that ends at reading i."""
    times = [start.astimezone(UTC) + step * index for index in range(count)]
    flows = [flow_m3h(index) for index in range(count)]
    hours = step / timedelta(hours=1)
    registers = [register_m3]
    for flow in flows[1:]:
        registers.append(registers[-1] + flow * hours)
    return reading_frame(
        terminal, times, registers, flow_m3h=flows, pressure_mpa=[0.3 + 0.01 * (index % 5) for index in range(count)]
    )


def reading_frame(terminal: str, times: Sequence[datetime], forward_m3: Sequence[float], **fields: Sequence[Any]) -> pl.DataFrame:
    """Readings of one terminal as `schema.READING`; fields that are not given are missing."""
    frame = pl.DataFrame({"ts": list(times), "forward_m3": list(forward_m3), **fields})
    given = frame.with_columns(
        terminal=pl.lit(terminal),
        received_at=pl.col("ts") + timedelta(minutes=1),
        channel=pl.lit(str(Channel.TCP)),
        frame=pl.int_range(pl.len()),
    )
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(dtype).alias(name) for name, dtype in READING.items()
    )


def local_days(first: date, count: int) -> list[date]:
    """`count` days from the first on."""
    return [first + timedelta(days=offset) for offset in range(count)]
