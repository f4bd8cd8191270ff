"""Typed settings: each section of `site.toml` is a frozen dataclass that its room declares in its own `settings.py`.

`@section("name")` registers a section; `find_sections` imports the rooms' declarations; `Settings` gives a section by its
class. A wrong setting is refused with the allowed values. `sample()` writes the sections as commented TOML, so the file that
`mainflow init` writes always agrees with the code that reads it.
"""

import json
import os
import pkgutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest_daemon.contract.site import Site

ENVIRONMENT_PREFIX = "MAINFLOW_"

AUTO = "auto"
"""A protocol setting of this value: the first bytes of a connection show the protocol."""

SECTIONS: dict[str, type[Any]] = {}
"""The registered sections by name, in the order of the file."""

Section = TypeVar("Section")


class SettingError(ValueError):
    """A wrong setting; the text names the setting, its value, the allowed values and the place to mend it."""


def section(name: str) -> Callable[[type[Section]], type[Section]]:
    """Register a dataclass as the section `[name]`."""

    def register(kind: type[Section]) -> type[Section]:
        if name in SECTIONS:
            raise ValueError(f"section [{name}] is declared twice: {SECTIONS[name].__module__} and {kind.__module__}")
        SECTIONS[name] = kind
        return kind

    return register


def find_sections(package: str) -> None:
    """Import `settings.py` of every room of a package, so that the room's sections are registered."""
    folder = import_module(package).__path__
    for room in pkgutil.iter_modules(folder, f"{package}."):
        if room.ispkg and any(module.name == "settings" for module in pkgutil.iter_modules(import_module(room.name).__path__)):
            import_module(f"{room.name}.settings")


def setting(
    default: Any,
    en: str,
    zh: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    secret: bool = False,
    rows: type[Any] | None = None,
) -> Any:
    """A dataclass field with its default, its explanation in both languages and its allowed values.

    `rows`: a dataclass of such fields; the value is a tuple of them, in the file a list of tables.
    """
    metadata = {"en": en, "zh": zh, "choices": choices, "minimum": minimum, "maximum": maximum, "secret": secret, "rows": rows}
    return field(default=default, repr=not secret, metadata=metadata)


@section("site")
@dataclass(frozen=True, slots=True)
class SiteSettings:
    """`[site]`: the utility and its local time. Raises `SettingError` where `zone` is no IANA time zone."""

    utility: str = setting("示例水务 Example Water", "name of the utility, printed on reports", "水务公司名称")
    contact: str = setting(
        "", "whom to ask at the utility: name, telephone, on the help board", "本公司联系人、电话，显示在帮助看板"
    )
    zone: str = setting("Asia/Shanghai", "IANA time zone of the local days", "本地时区")
    language: str = setting("zh", "language of reports and of Grafana's own menus", "报表与界面语言", choices=("zh", "en"))

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise SettingError(
                f"[site] zone = {self.zone!r}: not an IANA time zone; for example Asia/Shanghai, Europe/Rome"
            ) from None


@section("postgres")
@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """`[postgres]`: the database that serves marts and alarm events."""

    dsn: str = setting("", "connection string; empty: an embedded server of our own", "连接串；空为内置", secret=True)
    board_dsn: str = setting(
        "",
        "connection string of boards, whose role only reads (mainflow_board); empty: that of the embedded server",
        "看板连接串，只读角色；空为内置",
        secret=True,
    )
    desk_dsn: str = setting(
        "",
        "connection string of the desk, whose role writes schema ops (mainflow_desk); empty: that of the embedded server",
        "工作台连接串，可写报警与设置的角色；空为内置",
        secret=True,
    )
    port: int = setting(
        0, "TCP port of the embedded server on 127.0.0.1, 0 picks a free one", "内置库端口", minimum=0, maximum=65535
    )

    def __post_init__(self) -> None:
        """Raises `SettingError` without the text, which drivers would print: a password is in it."""
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        for name in ("dsn", "board_dsn", "desk_dsn"):
            try:
                is_right = "@" not in str(conninfo_to_dict(getattr(self, name)).get("host"))
            except ProgrammingError:
                is_right = False
            if not is_right:
                raise SettingError(
                    f"[postgres] {name} cannot be read as a connection string: expected host=… dbname=… user=… password=…, a "
                    "value with blanks in single quotes, or postgresql://user:password@host/dbname, in the password %40 for @, "
                    "%25 for %"
                )


class Settings:
    """The settings of a site: `settings[StoreSettings]` is its section `[store]`."""

    def __init__(self, folder: Site, sections: Mapping[type[Any], Any]) -> None:
        self.folder = folder
        self._sections = sections

    def __getitem__(self, kind: type[Section]) -> Section:
        found: Section = self._sections[kind]
        return found

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the local days."""
        return ZoneInfo(self[SiteSettings].zone)

    def __repr__(self) -> str:
        return f"Settings({self.folder.root}, {', '.join(map(repr, self._sections.values()))})"


def read_settings(folder: Site, *, all_sections: bool) -> Settings:
    """Every registered section of the site's file. Raises `SettingError`.

    `all_sections`: every section that exists is registered, so that another one in the file is an error.
    """
    check_place(folder.root)
    tables = read_tables(folder.settings)
    for name, table in tables.items():
        if name not in SECTIONS:
            if all_sections:
                raise SettingError(f"{folder.settings}: section [{name}] is unknown; allowed: {', '.join(SECTIONS)}")
        elif not isinstance(table, dict):
            raise SettingError(f"{folder.settings}: {name} = …: expected a section [{name}] with keys below it")
    return Settings(folder, {kind: read_section(kind, name, tables) for name, kind in SECTIONS.items()})


def check_place(root: Path) -> None:
    """Raises `SettingError` where a site's path has a character that DuckDB or PostgreSQL would take for something else."""
    if wrong := [char for char in str(root) if char in ",?*" or not char.isprintable()]:
        raise SettingError(
            f"站点路径中有不可用的字符 / the path of the site {str(root)!r} has {', '.join(map(repr, sorted({*wrong})))}: "
            "expected none of , ? * and no control character; rename the folder"
        )


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
    known = _known(kind, f"[{name}]", table)
    values = {}
    for key, item in known.items():
        variable = f"{ENVIRONMENT_PREFIX}{name}_{key}".upper()
        if variable in environment:
            values[key] = _checked(f"{variable} (environment)", environment[variable], item, text=True)
        elif key in table:
            values[key] = _checked(f"[{name}] {key}", table[key], item, text=False)
    return kind(**values)


def _known(kind: Any, where: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass by name. Raises `SettingError` for a key of the table that is none."""
    known = {item.name: item for item in fields(kind)}
    for key in table:
        if key not in known:
            raise SettingError(f"{where} {key} is unknown; allowed: {', '.join(known)}")
    return known


def sample(name: str, kind: type[Any], values: Mapping[str, Any] | None = None) -> str:
    """The section as commented TOML: explanation, then `key = value` (the default unless `values` has the key)."""
    lines = [f"[{name}]"]
    for item in fields(kind):
        meta = item.metadata
        lines.append(f"# {meta['zh']} / {meta['en']}{_allowed(item)}")
        if kind_of_row := meta["rows"]:
            lines += [
                f"#   {row.name}: {row.metadata['zh']} / {row.metadata['en']}{_allowed(row)}" for row in fields(kind_of_row)
            ]
        lines.append(f"{item.name} = {_toml((values or {}).get(item.name, _default(item)))}")
    return "\n".join(lines) + "\n"


def _allowed(item: Any) -> str:
    return f" ({' | '.join(item.metadata['choices'])})" if item.metadata["choices"] else ""


def _default(item: Any) -> Any:
    return item.default if item.default is not MISSING else item.default_factory()


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        # Literal where that can be, for the backslashes of Windows; else quoted as JSON, which TOML reads but for a bare DEL.
        if value.isprintable() and "'" not in value:
            return f"'{value}'"
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def _rows(where: str, value: Any, kind: Any, *, text: bool) -> tuple[Any, ...]:
    """The rows of a list of tables; text of the environment is JSON."""
    try:
        tables = json.loads(value) if text else value
    except ValueError as error:
        raise SettingError(f"{where}: expected a list as JSON: {error}") from None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingError(f"{where}: expected a list of tables, each of {', '.join(item.name for item in fields(kind))}")
    made = []
    for number, table in enumerate(tables, start=1):
        place = f"{where}, row {number}:"
        known = _known(kind, place, table)
        made.append(kind(**{key: _checked(f"{place} {key}", given, known[key], text=False) for key, given in table.items()}))
    return tuple(made)


def _checked(where: str, value: Any, item: Any, *, text: bool) -> Any:
    meta, default = item.metadata, _default(item)
    if meta["rows"]:
        return _rows(where, value, meta["rows"], text=text)
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
    # Written so that nan, which TOML and float() accept, is outside of every bound.
    too_low = meta["minimum"] is not None and not value >= meta["minimum"]
    if too_low or (meta["maximum"] is not None and not value <= meta["maximum"]):
        bounds = f"at least {meta['minimum']}" + (f" and at most {meta['maximum']}" if meta["maximum"] is not None else "")
        raise SettingError(f"{where} = {shown}: expected a number of {bounds}")
    return value


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
