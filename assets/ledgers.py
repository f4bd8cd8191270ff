"""Ledgers of the daemon, `quarantine/*.jsonl`: one JSON object a line; a damaged line costs itself."""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl


def lines(path: Path, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The whole lines of a ledger without damaged ones, with the columns of `schema`; none where there is no file."""
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_ndjson(whole, schema=schema, ignore_errors=True)
    except pl.exceptions.ComputeError:
        sound = b"".join(line for line in whole.splitlines(keepends=True) if _is_sound(line))
        return pl.read_ndjson(sound, schema=schema, ignore_errors=True) if sound else pl.DataFrame(schema=schema)


def _is_sound(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
