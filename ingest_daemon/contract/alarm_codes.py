"""The alarm codes: one file each in `sql/alarms/`, whose header has words, severity and unit. Terminals and server share them.

A file with a select is a rule that the figures evaluate (`assets/alarm_rules.py`); others are found by terminals or the daemon.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ingest_daemon.contract.headers import SQL, read_header
from ingest_daemon.contract.schema import FIELDS
from ingest_daemon.contract.severities import SEVERITIES

DEVICE, SERVER = "device", "server"
"""Who may find an alarm: a terminal, or the daemon and the figures."""

BEYOND = ("above", "below")
"""On which side of its limit a value raises an alarm, so that the highest or the lowest is its peak."""

REQUIRED = ("zh", "en", "severity", "origins", "unit", "beyond", "description")
OF_DEVICES = ("value",)
OF_RULES = ("deps", "partitions", "shortest_intervals", "shortest_min")
MAY_RULES = ("limit", "hysteresis", "only", "ticks")
"""What the header of a rule has and may have; `limit`: SQL over the facts of a meter and day, which may have a limit of its own;
`hysteresis`: SQL of the return within the limit from which an alarm is over, none: 0; `only`: a select of the meters of a scope
that need a look; at the others the condition certainly does not hold."""


class AlarmCode(NamedTuple):
    """One alarm code: names for people, severity, who may find it, unit, the side of its limit, and the field of a reading that
    gives the value of a terminal's alarm."""

    zh: str
    en: str
    severity: str
    origins: tuple[str, ...]
    unit: str
    beyond: str
    description: str
    value_field: str | None


class AlarmFile(NamedTuple):
    """A file of `sql/alarms/`: its code, the whole header, and the select of a rule ("" for none)."""

    path: Path
    code: AlarmCode
    header: Mapping[str, Any]
    query: str


def read(path: Path) -> AlarmFile:
    """One file. Raises `ValueError` naming file and key."""
    header, query = read_header(path)
    if absent := [key for key in (*REQUIRED, *(OF_RULES if query else ())) if key not in header]:
        raise ValueError(f"{path}: the header has no {', '.join(absent)}")
    allowed = (*REQUIRED, *OF_DEVICES, *((*OF_RULES, *MAY_RULES) if query else ()))
    if unknown := [key for key in header if key not in allowed]:
        raise ValueError(f"{path}: the header has unknown {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    fields = [field.name for field in FIELDS]
    for key, choices in (("severity", SEVERITIES), ("beyond", BEYOND), ("value", (None, *fields))):
        if header.get(key) not in choices:
            raise ValueError(f"{path}: {key} is {header.get(key)!r}; allowed: {', '.join(filter(None, choices))}")
    code = AlarmCode(**{key: header[key] for key in REQUIRED}, value_field=header.get("value"))
    if not code.origins or not {*code.origins} <= {DEVICE, SERVER}:
        raise ValueError(f"{path}: origins is {code.origins!r}; expected a list of {DEVICE}, {SERVER}")
    return AlarmFile(path, code, header, query)


ALARM_FILES: Mapping[str, AlarmFile] = MappingProxyType(
    {path.stem: read(path) for path in sorted((SQL / "alarms").glob("*.sql"))}
)
"""Every file by its code."""

ALARMS: Mapping[str, AlarmCode] = MappingProxyType({name: file.code for name, file in ALARM_FILES.items()})
"""Every code."""

LIMITED = tuple(name for name, file in ALARM_FILES.items() if "limit" in file.header)
"""Codes whose limit a point may have for itself (registry/limits.csv)."""

OF_TERMINALS = tuple(name for name, code in ALARMS.items() if DEVICE in code.origins)
"""Codes that a terminal may raise."""
