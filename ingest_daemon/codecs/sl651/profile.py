"""Settings of the stations of a fleet: how they are answered and queried, and the meaning of their elements."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ingest_daemon.codecs.sl651.elements import ALARM_BITS, ASKED, MEANING, NO_ELEMENT, Meaning, Source
from ingest_daemon.contract.alarm_codes import OF_TERMINALS
from ingest_daemon.contract.schema import FIELDS


class Settings(NamedTuple):
    """Settings of a station.

    `password`: 4 hex digits; `centre`: our address, 1 to 255; `step_min`: minutes between the values asked for; `reply`: how its
    reports are acknowledged (esc: stay on line, eot: may sleep, none: mode M1); `form`: hex or ascii, of requests; `now`:
    fields to ask for (none: all that the station has); `utc_offset_h`: hours that its clock is before UTC.
    """

    password: str = "0000"
    centre: int = 1
    step_min: int = 15
    reply: str = "esc"
    form: str = "hex"
    now: tuple[str, ...] = ()
    utc_offset_h: int = 8
    meaning: Meaning = MEANING

    @property
    def is_special(self) -> bool:
        """Whether its frames decode differently from the default's."""
        return self.meaning is not MEANING or self.utc_offset_h != 8


_UNITS: dict[str, dict[str, tuple[int, int]]] = {
    "_m3": {"m3": (1, 0), "L": (1, 3)},
    "_m3h": {"m3/h": (1, 0), "m3/s": (3600, 0), "L/s": (36, 1), "L/h": (1, 3)},
    "_mpa": {"MPa": (1, 0), "kPa": (1, 3), "bar": (1, 1)},
    "_v": {"V": (1, 0), "mV": (1, 3)},
}
"""Units on the wire by the ending of the field: factor and shift of `Source`."""
_CHOICES = {"reply": ("esc", "eot", "none"), "form": ("hex", "ascii")}
_RANGES = {"centre": (1, 255), "step_min": (1, 31 * 1440), "utc_offset_h": (-12, 14)}
_FIELDS = tuple(field.name for field in FIELDS)


def profile(table: Mapping[str, Any]) -> Settings:
    """Settings from a TOML table, over the defaults of `Settings()`. Raises `ValueError` naming key and allowed values.

    `[elements.<field>]` has `id` (hex: an element of the standard, or FF and one more), `unit`, `definition` (hex, for asking its
    history) and `coding` (bcd or hex); it replaces the other sources of the field. `[alarm]` has `id` and `bits`: the alarm code
    of every bit of the word, bit 0 first, "" for none.
    """
    simple: dict[str, Any] = {}
    meaning = MEANING
    for key, value in table.items():
        match key:
            case "elements":
                meaning = _with_elements(meaning, _table(key, value))
            case "alarm":
                meaning = _with_alarm(meaning, _table(key, value))
            case "password":
                simple[key] = f"{_hex(key, value, (2,)):04X}"
            case "now":
                if not isinstance(value, list) or any(name not in ASKED for name in value):
                    raise ValueError(f"now is {value!r}, expected a list of {', '.join(ASKED)}")
                simple[key] = tuple(value)
            case _ if key in _CHOICES:
                simple[key] = _choice(key, value, _CHOICES[key])
            case _ if key in _RANGES:
                low, high = _RANGES[key]
                if type(value) is not int or not low <= value <= high:
                    raise ValueError(f"{key} is {value!r}, expected a whole number from {low} to {high}")
                simple[key] = value
            case _:
                keys = ", ".join((*_CHOICES, *_RANGES, "password", "now", "elements", "alarm"))
                raise ValueError(f"{key} is no setting of SL 651, expected {keys}")
    return Settings(**simple, meaning=meaning)


def settings_of(profile: Any) -> Settings:
    """The settings where there are any, else the defaults."""
    return profile if isinstance(profile, Settings) else _DEFAULTS


_DEFAULTS = Settings()


def _with_elements(meaning: Meaning, table: Mapping[str, Any]) -> Meaning:
    sources, words, asked = dict(meaning.sources), set(meaning.words), dict(meaning.asked)
    seconds = meaning.seconds
    for field, given in table.items():
        if field not in _FIELDS:
            raise ValueError(f"elements.{field} is no field of a reading, expected {', '.join(_FIELDS)}")
        entry = {"id": "", "unit": "", "definition": f"{asked[field].definition:02X}", "coding": "bcd", **_table(field, given)}
        if unknown := entry.keys() - {"id", "unit", "definition", "coding"}:
            raise ValueError(f"elements.{field}.{min(unknown)} is no setting, expected id, unit, definition, coding")
        identifier = _element(f"elements.{field}.id", entry["id"])
        units = _UNITS.get("_" + field.rpartition("_")[2], {"": (1, 0)})
        factor, shift = units[_choice(f"elements.{field}.unit", entry["unit"] or next(iter(units)), tuple(units))]
        sources = {other: source for other, source in sources.items() if source.field != field and other != identifier}
        sources[identifier] = Source(field, factor, shift)
        words.discard(identifier)
        if field == "status" or _choice(f"elements.{field}.coding", entry["coding"], ("bcd", "hex")) == "hex":
            words.add(identifier)
        asked[field] = asked[field]._replace(
            id=identifier, definition=_hex(f"elements.{field}.definition", entry["definition"], (1,))
        )
        seconds = NO_ELEMENT if identifier == seconds else seconds
    return meaning._replace(sources=sources, words=frozenset(words), asked=asked, seconds=seconds)


def _with_alarm(meaning: Meaning, table: Mapping[str, Any]) -> Meaning:
    bits = table.get("bits", list(ALARM_BITS))
    if unknown := table.keys() - {"id", "bits"}:
        raise ValueError(f"alarm.{min(unknown)} is no setting, expected id, bits")
    if not isinstance(bits, list) or len(bits) > 56 or any(code not in ("", *OF_TERMINALS) for code in bits):
        raise ValueError(f'alarm.bits is {bits!r}, expected a list of up to 56 of {", ".join(OF_TERMINALS)}, "" for none')
    identifier = _element("alarm.id", table["id"]) if "id" in table else meaning.alarm
    words = (meaning.words - {meaning.alarm}) | {identifier}
    return meaning._replace(alarm=identifier, bits=tuple(bits), words=words)


def _table(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {value!r}, expected a table")
    return value


def _choice(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}, expected {' or '.join(map(repr, allowed))}")
    return str(value)


def _hex(key: str, value: Any, sizes: tuple[int, ...]) -> int:
    digits = value if isinstance(value, str) else ""
    if len(digits) not in [2 * size for size in sizes] or not set(digits) <= set("0123456789abcdefABCDEF"):
        raise ValueError(f"{key} is {value!r}, expected a text of {' or '.join(str(2 * size) for size in sizes)} hex digits")
    return int(digits, 16)


def _element(key: str, value: Any) -> int:
    identifier = _hex(key, value, (1, 2))
    if not (0x01 <= identifier <= 0xEF or 0xFF00 <= identifier <= 0xFFFE):
        raise ValueError(f"{key} is {value!r}, expected 01 to EF, or FF00 to FFFE of the private ones")
    return identifier
