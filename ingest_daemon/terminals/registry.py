"""The terminals that the daemon knows: `registry/terminals.csv` and the profiles that it names.

Validation of the whole registry is not done here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.terminals.profiles import path_of, read_profile

_LIMITS = ("pressure_low_mpa", "pressure_high_mpa", "q4_m3h")
_TEXTS = ("protocol", "profile", "link", "address", "phone", "password")
_STEP = "step_min"


class Terminal(NamedTuple):
    """What the daemon needs of a terminal.

    `pressure_low_mpa` … `q4_m3h`: limits that an alarm event carries (None: not given). `protocol`: empty for the listener's.
    `profile`: of the protocol's codec, None for its defaults. `link`: the registration text of its DTU, or `host:port` that we
    dial; `address`: the meter's on that link. `phone`: the number its SMS come from. `step_min`: how often it is polled.
    """

    meter: str
    pressure_low_mpa: float | None = None
    pressure_high_mpa: float | None = None
    q4_m3h: float | None = None
    step_min: int = 15
    protocol: str = ""
    profile: Any = None
    link: str = ""
    address: str = ""
    phone: str = ""
    password: str = ""

    def limit(self, code: str) -> float | None:
        """The limit that an alarm code is about; None where it has none."""
        return {"P_LO": self.pressure_low_mpa, "P_HI": self.pressure_high_mpa, "Q_HI": self.q4_m3h}.get(code)


def read_terminals(folder: Path) -> dict[str, Terminal]:
    """Terminals by number from `folder/terminals.csv`; of two lines for one terminal the later counts.

    Raises `OSError`, or `ValueError` naming the file.
    """
    path = folder / "terminals.csv"
    try:
        table = pl.read_csv(path, infer_schema=False)
        missing = [name for name in ("terminal", "meter") if name not in table.columns]
        if missing:
            raise ValueError(f"column {', '.join(missing)} is missing; there are: {', '.join(table.columns)}")
        absent = [pl.lit(None, pl.String).alias(name) for name in (*_LIMITS, _STEP, *_TEXTS) if name not in table.columns]
        number = pl.col(_LIMITS).str.strip_chars().cast(pl.Float64, strict=False)
        step = pl.col(_STEP).str.strip_chars().cast(pl.Int64, strict=False).fill_null(15).clip(1)
        rows = (
            table.with_columns(absent)
            .with_columns(
                pl.col("terminal", "meter").str.strip_chars(), number, step, pl.col(_TEXTS).str.strip_chars().fill_null("")
            )
            .filter(pl.col("terminal").is_not_null())
            .select("terminal", pl.col("meter").fill_null(pl.col("terminal")), *_LIMITS, _STEP, *_TEXTS)
        )
        profiles = {
            (protocol, name): read_profile(path_of(name, folder / PROFILES), protocol)
            for protocol, name in rows.select("protocol", "profile").unique().iter_rows()
            if name
        }
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return {
        number: Terminal(meter, low, high, q4, step_min, protocol, profiles.get((protocol, name)), *rest)
        for number, meter, low, high, q4, step_min, protocol, name, *rest in rows.iter_rows()
    }


PROFILES = "profiles"
"""The folder of a site's own profiles, beside `terminals.csv`."""


class Registry:
    """The terminals as they are on disk now. One instance a thread."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the site's `registry/`."""
        self._folder = folder
        self._seen: tuple[tuple[int, int], ...] | None = None
        self._terminals: dict[str, Terminal] = {}
        self._profiles: dict[str, dict[str, Any]] = {}
        self._limited = RateLimitedLog()

    def terminals(self) -> Mapping[str, Terminal]:
        """Terminals by number, read again when a file changed. Files that cannot be read leave the last good ones in force."""
        try:
            seen = tuple((status.st_mtime_ns, status.st_size) for status in map(Path.stat, self._files()))
            if seen != self._seen:
                self._terminals = read_terminals(self._folder)
                self._profiles = {}
                for number, each in self._terminals.items():
                    if each.profile is not None:
                        self._profiles.setdefault(each.protocol, {})[number] = each.profile
                self._seen = seen
        except (OSError, ValueError) as error:
            self._limited.warn("registry", f"{error}; {len(self._terminals)} terminals known before stay in force")
        return self._terminals

    def profiles(self) -> Mapping[str, Mapping[str, Any]]:
        """By protocol, the profiles by terminal number of those that name one; as of the last `terminals()`."""
        return self._profiles

    def _files(self) -> list[Path]:
        return [self._folder / "terminals.csv", *sorted((self._folder / PROFILES).glob("*.toml"))]
