"""EPANET's input from hours of nodes: demands with patterns (`inp`), and pressures for calibration (`dat`).

A fragment is added to the utility's own model, whose `[JUNCTIONS]` have the nodes. Flows are m³/h (`UNITS CMH`), hours count from
the local midnight (`PATTERN TIMESTEP 1:00`). A base demand is the mean flow of the day; its multipliers have the mean 1.
"""

import re
from collections.abc import Iterable, Iterator

import polars as pl

NAME = re.compile(r'[^\s;"]{1,28}')
"""A node that EPANET can have (31 characters), with room for the prefix of its pattern."""

A_LINE = 6
"""Multipliers on a line of a pattern."""


def demands(rows: pl.DataFrame, title: str) -> bytes:
    """`[DEMANDS]` and `[PATTERNS]` of one day from `node`, `hour_start`, `volume_m3`. `title`: what the first line names.

    A node with an hour that is not known is left out and named in a comment: EPANET has no missing value, and 0 would be one.
    """
    base: list[str] = []
    patterns: list[str] = []
    left_out: list[str] = []
    total = 0.0
    for (node,), own in rows.sort("node", "hour_start").group_by("node", maintain_order=True):
        reason = _hindrance(str(node), own)
        if reason:
            left_out.append(f"; {node} 未列入 / left out: {reason}")
            continue
        volumes = own["volume_m3"].to_list()
        mean = sum(volumes) / len(volumes)
        total += sum(volumes)
        base.append(f"{node} {mean:.6f} MF_{node}")
        patterns += _pattern(f"MF_{node}", [volume / mean if mean else 1.0 for volume in volumes])
    head = [f"; {title}", "; UNITS CMH, PATTERN TIMESTEP 1:00", f"; 节点 / nodes {len(base)}, 水量 / volume {total:.3f} m³"]
    return _text([*head, *left_out, "[DEMANDS]", *base, "", "[PATTERNS]", *patterns, ""])


def _hindrance(node: str, own: pl.DataFrame) -> str:
    """Why a node cannot be listed; empty where it can."""
    if not NAME.fullmatch(node):
        return "EPANET 名称不含空格、分号且不超过 28 个字符 / a name without blanks and ; of at most 28 characters"
    unknown = own["volume_m3"].null_count()
    if unknown:
        return f"{own.height} 小时中 {unknown} 小时未知 / {unknown} of {own.height} hours are not known"
    mean = own["volume_m3"].mean()
    if isinstance(mean, float) and 0 < abs(mean) < 1e-4 * max(abs(volume) for volume in own["volume_m3"]):
        return "正反流量相抵 / flow forth and back cancel each other"
    return ""


def _pattern(name: str, multipliers: list[float]) -> Iterator[str]:
    for start in range(0, len(multipliers), A_LINE):
        yield " ".join([name, *(f"{value:.6f}" for value in multipliers[start : start + A_LINE])])


def pressures(rows: pl.DataFrame, title: str) -> bytes:
    """A calibration file of pressures in metres of water: node, hours from the local midnight, value; from `node`, `hour_start`,
    `pressure_m`. Nodes that EPANET cannot name and points without one are left out."""
    placed = rows.filter(pl.col("node").str.contains(f"^{NAME.pattern}$") & pl.col("pressure_m").is_not_null())
    start = pl.col("hour_start").min()
    timed = placed.with_columns(hours=(pl.col("hour_start") - start).dt.total_seconds() / 3600).sort("node", "hour_start")
    lines = (
        f"{node} {hours:g} {pressure:.3f}" for node, hours, pressure in timed.select("node", "hours", "pressure_m").iter_rows()
    )
    return _text([f"; {title}", "; node, h, m", *lines, ""])


def _text(lines: Iterable[str]) -> bytes:
    return "\n".join(lines).encode()
