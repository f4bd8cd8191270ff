"""The terminals that the daemon knows, from `registry/terminals.csv`. Validation of the whole registry is not done here."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from ingest_daemon.state import Limited

_LIMITS = ("pressure_low_mpa", "pressure_high_mpa", "q4_m3h")


class Terminal(NamedTuple):
    """What the daemon needs of a terminal: the meter's name, and the limits that an alarm event carries (None: not given)."""

    meter: str
    pressure_low_mpa: float | None
    pressure_high_mpa: float | None
    q4_m3h: float | None

    def limit(self, code: str) -> float | None:
        """The limit that an alarm code is about; None where it has none."""
        return {"P_LO": self.pressure_low_mpa, "P_HI": self.pressure_high_mpa, "Q_HI": self.q4_m3h}.get(code)


def read_terminals(path: Path) -> dict[str, Terminal]:
    """Terminals by number; of two lines for one terminal the later counts. Raises `OSError`, or `ValueError` naming the file."""
    try:
        table = pl.read_csv(path, infer_schema=False)
        missing = [name for name in ("terminal", "meter") if name not in table.columns]
        if missing:
            raise ValueError(f"column {', '.join(missing)} is missing; there are: {', '.join(table.columns)}")
        absent = [pl.lit(None, pl.String).alias(name) for name in _LIMITS if name not in table.columns]
        rows = (
            table.with_columns(absent)
            .with_columns(
                pl.col("terminal", "meter").str.strip_chars(), pl.col(_LIMITS).str.strip_chars().cast(pl.Float64, strict=False)
            )
            .filter(pl.col("terminal").is_not_null())
            .select("terminal", pl.col("meter").fill_null(pl.col("terminal")), *_LIMITS)
        )
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return {terminal: Terminal(*rest) for terminal, *rest in rows.iter_rows()}


class Registry:
    """The terminals as they are on disk now. One instance a thread."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the site's `registry/`."""
        self._path = folder / "terminals.csv"
        self._seen: tuple[int, int] | None = None
        self._terminals: dict[str, Terminal] = {}
        self._limited = Limited()

    def terminals(self) -> Mapping[str, Terminal]:
        """Terminals by number, read again when the file changed. A file that cannot be read leaves the last good one in force."""
        try:
            status = self._path.stat()
            seen = status.st_mtime_ns, status.st_size
            if seen != self._seen:
                self._terminals = read_terminals(self._path)
                self._seen = seen
        except (OSError, ValueError) as error:
            self._limited.warn("registry", f"{error}; {len(self._terminals)} terminals known before stay in force")
        return self._terminals
