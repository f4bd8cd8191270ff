"""Settings of a meter, from its profile."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ingest_daemon.codecs.cjt188.framing import TYPES
from ingest_daemon.contract.alarm_codes import OF_TERMINALS


class Profile(NamedTuple):
    """Settings of a meter, as `profile` reads them."""

    meter_type: int = 0x10
    low_first: bool = False
    data_sum: bool = False
    layout: str = "standard"
    high_clock: bool = False
    litre_decimals: int = 0
    pressure_unit: str = ""
    freeze_min: int = 0
    status: tuple[tuple[int, str], ...] = ((2, "BATT"),)


_CHOICES: dict[str, dict[str, tuple[str, Any]]] = {
    "identifier": {"high-first": ("low_first", False), "low-first": ("low_first", True)},
    "checksum": {"frame": ("data_sum", False), "data": ("data_sum", True)},
    "layout": {"standard": ("layout", "standard"), "rd-w10": ("layout", "rd-w10")},
    "clock": {"low-first": ("high_clock", False), "high-first": ("high_clock", True)},
    "pressure_unit": {"": ("pressure_unit", ""), "kPa": ("pressure_unit", "kPa"), "MPa": ("pressure_unit", "MPa")},
}
_NUMBERS = {"litre_decimals": ("litre_decimals", 0, 3), "freeze_min": ("freeze_min", 0, 1440)}


def profile(table: Mapping[str, Any]) -> Profile:
    """Settings of a meter from a TOML table:

    `meter_type` ("10" ...), `identifier` (order of DI in requests), `checksum` (`frame`, or `data` where the meter sums the data
    field only), `layout` of 901F, `clock` (which order is tried first), `litre_decimals` (of volumes in L), `pressure_unit` of
    freezes (empty: pressure is not used), `freeze_min` (minutes from one timed freeze to the next; 0: it has none), `[status]`
    (alarm codes by bit of ST0 + 256 x ST1). Raises `ValueError`.
    """
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if key in _CHOICES:
            if value not in list(_CHOICES[key]):  # which compares: a list of a hand-made file has no hash
                raise ValueError(f"{key} is {value!r}; allowed: {', '.join(map(repr, _CHOICES[key]))}")
            name, meant = _CHOICES[key][value]
            settings[name] = meant
        elif key in _NUMBERS:
            name, least, most = _NUMBERS[key]
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{key} is {value!r}; allowed: whole numbers from {least} to {most}")
            settings[name] = value
        elif key == "meter_type":
            if value not in [f"{kind:02X}" for kind in TYPES]:
                raise ValueError(f"{key} is {value!r}; allowed: two digits from '10' to '49', or 'AA'")
            settings[key] = int(value, 16)
        elif key == "status":
            settings[key] = _status(value)
        else:
            raise ValueError(f"{key}: no such setting; allowed: {', '.join((*_CHOICES, *_NUMBERS, 'meter_type', 'status'))}")
    return Profile(**settings)


def _status(table: Any) -> tuple[tuple[int, str], ...]:
    if not isinstance(table, Mapping):
        raise ValueError(f"status is {table!r}, expected a table of alarm codes by bit")
    for bit, code in table.items():
        if not (bit.isdecimal() and int(bit) < 16) or code not in OF_TERMINALS:
            raise ValueError(f"status: {bit} = {code!r}; expected bits 0 to 15 (from 8: ST1) and of {', '.join(OF_TERMINALS)}")
    return tuple(sorted((int(bit), code) for bit, code in table.items()))
