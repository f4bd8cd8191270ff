"""Typed settings: how a section of `site.toml` (or the environment) becomes a frozen dataclass; the daemon's sections.

A wrong setting is named at start with the allowed values. `sample()` prints the sections as commented TOML, so the file that
`mainflow init` writes can never drift from what is read.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

ENVIRONMENT_PREFIX = "MAINFLOW_"

AUTO = "auto"
"""A protocol setting of this value: the first bytes of a connection show the protocol."""


class SettingError(ValueError):
    """A setting is wrong: says which, what was there, what is allowed and where to mend it."""


def setting(
    default: Any,
    en: str,
    zh: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    secret: bool = False,
) -> Any:
    """A dataclass field with its default, its explanation in both languages and its allowed values."""
    metadata = {"en": en, "zh": zh, "choices": choices, "minimum": minimum, "maximum": maximum, "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """`[site]`: who and where."""

    utility: str = setting("示例水务 Example Water", "name of the utility, printed on reports", "水务公司名称")
    zone: str = setting("Asia/Shanghai", "IANA time zone of the local days", "本地时区")
    language: str = setting("zh", "language of Grafana's own menus", "界面语言", choices=("zh", "en"))


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """`[postgres]`: where marts and alarm events are served from."""

    dsn: str = setting("", "connection string; empty: an embedded server of our own", "连接串；空为内置", secret=True)
    port: int = setting(
        0, "TCP port of the embedded server on 127.0.0.1, 0 picks a free one", "内置库端口", minimum=0, maximum=65535
    )


Section = TypeVar("Section")


def read_tables(path: Path) -> Mapping[str, Any]:
    """The settings file as TOML tables. Raises `SettingError` where it is absent or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingError(f"no settings file at {path}; make a site with: mainflow init {path.parent}") from None
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is not UTF-8 ({error}); save it again as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path} is not valid TOML: {error}") from None


def read_section(
    kind: type[Section], name: str, tables: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> Section:
    """Section `name` as `kind`; `MAINFLOW_<SECTION>_<KEY>` in the environment wins over the file."""
    table = tables.get(name, {})
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise SettingError(f"[{name}] {key} is unknown; allowed: {', '.join(known)}")
    values = {}
    for key, item in known.items():
        variable = f"{ENVIRONMENT_PREFIX}{name}_{key}".upper()
        if variable in environment:
            values[key] = _checked(f"{variable} (environment)", environment[variable], item, text=True)
        elif key in table:
            values[key] = _checked(f"[{name}] {key}", table[key], item, text=False)
    return kind(**values)


def sample(name: str, kind: type[Any], values: Mapping[str, Any] | None = None) -> str:
    """The section as commented TOML: explanation, then `key = value` (the default unless `values` has the key)."""
    lines = [f"[{name}]"]
    for item in fields(kind):
        meta = item.metadata
        allowed = f" ({' | '.join(meta['choices'])})" if meta["choices"] else ""
        lines.append(f"# {meta['zh']} / {meta['en']}{allowed}")
        lines.append(f"{item.name} = {_toml((values or {}).get(item.name, _default(item)))}")
    return "\n".join(lines) + "\n"


def _default(item: Any) -> Any:
    return item.default if item.default is not MISSING else item.default_factory()


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        # Literal where that can be, for the backslashes of Windows; else quoted as JSON, which TOML reads but for a bare DEL.
        if value.isprintable() and "'" not in value:
            return f"'{value}'"
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def _checked(where: str, value: Any, item: Any, *, text: bool) -> Any:
    meta, default = item.metadata, _default(item)
    wanted = type(default)
    shown = "***" if meta["secret"] else repr(value)
    try:
        if wanted is bool:
            value = {"true": True, "false": False}[str(value).lower()]
        elif wanted is int and (text or (isinstance(value, int) and not isinstance(value, bool))):
            value = int(value)
        elif wanted is float and (text or isinstance(value, (int, float))):
            value = float(value)
        elif wanted is str and isinstance(value, str):
            pass
        else:
            raise ValueError
    except (ValueError, KeyError):
        raise SettingError(f"{where} = {shown}: expected {_NAMES[wanted]}") from None
    if meta["choices"] and value not in meta["choices"]:
        raise SettingError(f"{where} = {shown}: allowed: {', '.join(meta['choices'])}")
    # Written so that nan, which TOML and float() know, is outside of every bound.
    too_low = meta["minimum"] is not None and not value >= meta["minimum"]
    if too_low or (meta["maximum"] is not None and not value <= meta["maximum"]):
        bounds = f"at least {meta['minimum']}" + (f" and at most {meta['maximum']}" if meta["maximum"] is not None else "")
        raise SettingError(f"{where} = {shown}: expected a number of {bounds}")
    return value


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
