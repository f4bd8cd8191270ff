"""What the daemon keeps aside in `quarantine/*.jsonl`, counted by reason, terminal and local day of receipt: table `kept_aside`.

The ledgers are read only when one of them changed. Their lines are described in `ingest_daemon/forwarding/quarantine.py`.
"""

from pathlib import Path

import duckdb
import polars as pl

from assets import ledgers, warehouse
from assets.workbench import Workbench
from ingest_daemon.contract.schema import TIMESTAMP, Reason

KEPT_ASIDE: dict[str, pl.DataType] = {
    "reason": pl.String(),
    "terminal": pl.String(),
    "day": pl.Date(),
    "entries": pl.Int64(),
    "first_at": TIMESTAMP,
    "last_at": TIMESTAMP,
    "detail": pl.String(),
}
"""A row a reason, terminal ("" where the bytes name none) and local day: entries, first and last receipt, words of the last."""

ADOPTED = "adopted.jsonl"

SAME = ("stream", "terminal", "ts", "detail", "way", "hex")
"""Lines in which these agree are equal: written again after a kill, or merged into one with its number of `frames`."""

LINE: dict[str, pl.DataType] = {
    **dict.fromkeys((*SAME, "received_at", "last_received_at"), pl.String()),
    **dict.fromkeys(("position", "last_position", "frames"), pl.Int64()),
}


def make(bench: Workbench, connection: duckdb.DuckDBPyConnection) -> int:
    """Make `kept_aside` anew where a ledger changed since. Gives the rows written. Raises `OSError`."""
    folder = bench.site.quarantine
    state = pl.DataFrame({"ledgers": [_state(folder)], "zone": [str(bench.zone)]})
    known = "select * from state.kept_aside"
    if warehouse.has_table(connection, "state.kept_aside") and warehouse.frame(connection, known).equals(state):
        return 0
    parts = [_counted(reason, folder, str(bench.zone)) for reason in Reason if (folder / f"{reason}.jsonl").exists()]
    rows = pl.concat([pl.DataFrame(schema=KEPT_ASIDE), *parts])
    warehouse.replace_all(connection, "kept_aside", rows)
    connection.execute("create schema if not exists state").fetchall()
    warehouse.replace_all(connection, "state.kept_aside", state)
    return rows.height


def _state(folder: Path) -> str:
    """Names, sizes and times of the ledgers."""
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.jsonl"))]
    return " ".join(f"{name}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)


def _counted(reason: Reason, folder: Path, zone: str) -> pl.DataFrame:
    """The ledger of a reason, by terminal and local day."""
    last = pl.coalesce("last_position", "position")
    lines = ledgers.lines(folder / f"{reason}.jsonl", LINE).filter(pl.col("received_at").is_not_null())
    lines = lines.filter((pl.col("position") > last.cum_max().shift().over(SAME)).fill_null(True))
    if reason is Reason.UNKNOWN_TERMINAL:
        lines = lines.join(ledgers.lines(folder / ADOPTED, LINE), on=["stream", "position"], how="anti", maintain_order="left")
    times = {"first_at": pl.col("received_at"), "last_at": pl.coalesce("last_received_at", "received_at")}
    lines = lines.with_columns(
        pl.col("terminal").fill_null(""),
        pl.col("frames").fill_null(1),
        **{name: text.str.to_datetime(time_unit="us", time_zone="UTC", strict=False) for name, text in times.items()},
    ).drop_nulls("first_at")
    day = pl.col("first_at").dt.convert_time_zone(zone).dt.date().alias("day")
    grouped = lines.sort("first_at", maintain_order=True).group_by("terminal", day, maintain_order=True)
    found = grouped.agg(
        pl.lit(str(reason)).alias("reason"),
        pl.col("frames").sum().alias("entries"),
        pl.col("first_at").min(),
        pl.col("last_at").max(),
        pl.col("detail").last(),
    )
    return found.select(pl.col(name).cast(dtype) for name, dtype in KEPT_ASIDE.items())
