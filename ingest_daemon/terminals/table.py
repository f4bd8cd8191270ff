"""`terminals.csv` as the daemon needs it: a terminal a row, a problem for each wrong cell. No file is watched here."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from ingest_daemon import codecs
from ingest_daemon.codec_kit.api import NumberShape
from ingest_daemon.contract.identifiers import EXPECTED, EXPECTED_ZH, is_identifier
from ingest_daemon.contract.registry_schema import TERMINAL_COLUMNS, CsvTable
from ingest_daemon.terminals.profiles import path_of, read_profile

CELLS = (
    "terminal",
    "meter",
    "protocol",
    "profile",
    "link",
    "address",
    "phone",
    "password",
    "step_min",
    "upload_min",
    "pressure_low_mpa",
    "pressure_high_mpa",
    "q4_m3h",
    "installed_on",
    "removed_on",
)
"""The columns that the daemon uses."""

_NUMBERS = ("terminal", "link", "address", "phone", "password")
"""Columns of digits that a spreadsheet may take for a quantity."""
_ROUNDED = re.compile(r"\d+([.,]\d+)?E\+\d+", re.IGNORECASE)

STEP_MIN = 15
"""Minutes between two readings of a terminal whose row gives none."""


class Terminal(NamedTuple):
    """A registered terminal.

    `pressure_low_mpa` … `q4_m3h`: limits that an alarm event carries (None: not given). `protocol`: empty for the listener's.
    `profile`: of the protocol's codec, None for its defaults. `link`: the registration text of its DTU, or `host:port` that we
    dial; `address`: the meter's on that link. `phone`: the number its SMS come from. `step_min`: how often it is polled.
    `upload_min`: how often it uploads what it recorded, None for each reading at once.
    `installed_on`, `removed_on`: first and last local day of its meter, None for no limit.
    """

    meter: str
    pressure_low_mpa: float | None = None
    pressure_high_mpa: float | None = None
    q4_m3h: float | None = None
    step_min: int = STEP_MIN
    protocol: str = ""
    profile: Any = None
    link: str = ""
    address: str = ""
    phone: str = ""
    password: str = ""
    installed_on: date | None = None
    removed_on: date | None = None
    upload_min: int | None = None

    def has_password(self, carried: str) -> bool:
        """Whether a frame's password is the registered one, leading zeros and case aside (spreadsheets drop the former)."""
        return _plain(carried) == _plain(self.password)

    def limit(self, code: str) -> float | None:
        """The limit that an alarm code is about; None where it has none."""
        return {"P_LO": self.pressure_low_mpa, "P_HI": self.pressure_high_mpa, "Q_HI": self.q4_m3h}.get(code)


def _plain(password: str) -> str:
    return password.lstrip("0").casefold()


class Problem(NamedTuple):
    """A cell that is wrong.

    `row` as the spreadsheet counts, 1 for the names of the columns; `detail`: what was there and what is expected; `zh`: the same
    in Chinese.
    """

    row: int
    column: str
    detail: str
    zh: str

    def text(self, path: Path) -> str:
        """The problem with its place."""
        return f"{path} row {self.row}, {self.column}: {self.detail}"


class TerminalTable(NamedTuple):
    """Terminals by number, with what else is of use.

    `cells`: those of each terminal's row, in the order of `CELLS`; `profiles`: by protocol and number; `problems` of the file.
    """

    terminals: Mapping[str, Terminal]
    cells: Mapping[str, tuple[str, ...]]
    profiles: Mapping[str, Mapping[str, Any]]
    problems: tuple[Problem, ...]


EMPTY = TerminalTable({}, {}, {}, ())


def parse_terminals(table: CsvTable, profiles_folder: Path, protocol: str, before: TerminalTable = EMPTY) -> TerminalTable:
    """The terminals of a file. A row that cannot be used is refused alone; its terminal stays as it was `before`.

    `protocol`: of terminals whose row names none. Of two rows for one terminal the first holds. Raises `ValueError` where a
    column is missing.
    """
    if missing := [name for name in ("terminal", "meter") if name not in table.columns]:
        raise ValueError(f"column {', '.join(missing)} is missing; there are: {', '.join(table.columns)}")
    problems = [
        Problem(1, name or "(no name)", "unknown column, ignored", "未知的列，不使用")
        for name in table.columns
        if name not in TERMINAL_COLUMNS
    ]
    places = [table.columns.index(name) if name in table.columns else None for name in CELLS]
    make = _maker(profiles_folder, protocol)
    terminals: dict[str, Terminal] = {}
    cells: dict[str, tuple[str, ...]] = {}
    rows: dict[str, int] = {}
    addresses: dict[tuple[str, str], str] = {}
    refused: list[tuple[str, ...]] = []
    for row, line in enumerate(table.rows, 2):
        if not any(line):
            continue
        raw = tuple("" if place is None or place >= len(line) else line[place] for place in places)
        number = raw[0]
        terminal, wrong = make(raw)
        if any(line[len(table.columns) :]):
            en = f"{len(line)} cells, expected {len(table.columns)}; is a comma in a cell without quotes?"
            zh = f"有 {len(line)} 个单元格，应为 {len(table.columns)} 个；单元格中的逗号是否缺少引号？"
            terminal, wrong = None, [("", en, zh)]
        elif number in rows and terminal is not None:
            en = f"{number!r} is in row {rows[number]} already, expected once; this row is not used"
            terminal, wrong = None, [("terminal", en, f"{number!r} 已在第 {rows[number]} 行，只应有一行；本行不使用")]
        problems += [Problem(row, column or "all", en, zh) for column, en, zh in wrong]
        if terminal is None:
            refused.append(raw)
            continue
        if terminal.link:
            other = addresses.setdefault((terminal.link, terminal.address), number)
            if other != number:
                en = f"{terminal.address!r} on link {terminal.link} is {other}'s; {number} is not polled"
                zh = f"链路 {terminal.link} 上的地址 {terminal.address!r} 已属于 {other}；{number} 不会被轮询"
                problems.append(Problem(row, "address", en, zh))
        terminals[number], cells[number], rows[number] = terminal, raw, row
    for number in _held(refused, terminals, before):
        terminals[number], cells[number] = before.terminals[number], before.cells[number]
    profiles: dict[str, dict[str, Any]] = {}
    for number, terminal in terminals.items():
        if terminal.profile is not None:
            profiles.setdefault(terminal.protocol, {})[number] = terminal.profile
    return TerminalTable(terminals, cells, profiles, tuple(problems))


def _held(refused: Sequence[tuple[str, ...]], terminals: Mapping[str, Terminal], before: TerminalTable) -> Iterator[str]:
    """Terminals whose row is refused and that were in force before: known again by their number, or else by their meter."""
    if not refused or not before.terminals:
        return
    by_meter = {terminal.meter: number for number, terminal in before.terminals.items()}
    for number, meter, *_ in refused:
        held = number if number in before.terminals else by_meter.get(meter)
        if held is not None and held not in terminals:
            yield held


Wrong = tuple[str, str, str]
"""A column, and what is wrong in it, in English and Chinese."""
Made = tuple[Terminal | None, list[Wrong]]
"""A terminal (None: the row is refused), and what is wrong."""


def _maker(profiles_folder: Path, protocol: str) -> Callable[[tuple[str, ...]], Made]:
    """The function that makes a terminal of the cells of a row."""
    known = codecs.names()

    @cache
    def profile(name: str, its_protocol: str) -> Any:
        try:
            return read_profile(path_of(name, profiles_folder), its_protocol)
        except (OSError, ValueError) as error:
            return error

    def make(raw: tuple[str, ...]) -> Made:
        cell = dict(zip(CELLS, raw, strict=True))
        number, its_protocol = cell["terminal"], cell["protocol"] or protocol
        wrong = [(column, *words) for column in _NUMBERS if (words := _spoiled(cell[column]))]
        if not wrong:
            wrong = [
                (
                    column,
                    f"{cell[column][:80]!r}, expected an identifier: {EXPECTED}",
                    f"{cell[column][:80]!r}，应为编号：{EXPECTED_ZH}",
                )
                for column in ("terminal", "meter")
                if cell[column] and not is_identifier(cell[column])
            ]
        if not number:
            wrong.append(("terminal", "empty, expected the terminal's number", "空，应填写终端编号"))
        if cell["protocol"] and cell["protocol"] not in known:
            allowed = ", ".join(known)
            en, zh = f"{cell['protocol']!r} is unknown; allowed: {allowed}", f"未知规约 {cell['protocol']!r}；可用：{allowed}"
            wrong.append(("protocol", en, zh))
        elif its_protocol in known and not wrong:
            codec = codecs.load(its_protocol)
            wrong += _misshapen("terminal", number, codec.TERMINAL_NUMBER)
            if cell["link"]:
                wrong += _misshapen("address", cell["address"], codec.LINK_ADDRESS)
        made = profile(cell["profile"], cell["protocol"]) if cell["profile"] else None
        if isinstance(made, Exception):
            wrong.append(("profile", str(made), f"配置不可用：{made}"))
        if wrong:
            return None, wrong
        terminal = Terminal(
            meter=cell["meter"] or number,
            pressure_low_mpa=_number("pressure_low_mpa", cell["pressure_low_mpa"], wrong),
            pressure_high_mpa=_number("pressure_high_mpa", cell["pressure_high_mpa"], wrong),
            q4_m3h=_number("q4_m3h", cell["q4_m3h"], wrong),
            step_min=_minutes("step_min", cell["step_min"], STEP_MIN, wrong) or STEP_MIN,
            upload_min=_minutes("upload_min", cell["upload_min"], None, wrong),
            protocol=cell["protocol"],
            profile=made,
            link=cell["link"],
            address=cell["address"],
            phone=cell["phone"],
            password=cell["password"],
            installed_on=_day("installed_on", cell["installed_on"], wrong),
            removed_on=_day("removed_on", cell["removed_on"], wrong),
        )
        return terminal, wrong

    return make


def _spoiled(text: str) -> tuple[str, str] | None:
    """Why a cell of digits is not as somebody typed it, in English and Chinese; None where it is."""
    if text.isascii() and text.isprintable() and not _ROUNDED.fullmatch(text):
        return None
    if _ROUNDED.fullmatch(text):
        return (
            f"{text!r}: a spreadsheet rounded the number; format the column as text and enter it again",
            f"{text!r}：编号被电子表格取整；请把该列设为文本后重新填写",
        )
    if not text.isprintable():
        return (
            f"{text!r}: there is a character that cannot be seen; enter the number again",
            f"{text!r}：含有看不见的字符；请重新填写",
        )
    half = unicodedata.normalize("NFKC", text)
    return None if half == text else (f"{text!r}: full-width characters, expected {half!r}", f"{text!r}：全角字符，应为 {half!r}")


def _misshapen(column: str, text: str, shape: NumberShape) -> list[Wrong]:
    if re.fullmatch(shape.pattern, text, re.ASCII):
        return []
    is_number = text.isdecimal()
    hint = "; a spreadsheet may have dropped zeros in front: format the column as text" if is_number else ""
    hint_zh = "；电子表格可能去掉了前面的零：请把该列设为文本" if is_number else ""
    return [(column, f"{text!r}, expected {shape.words}{hint}", f"{text!r}，应为{shape.zh}{hint_zh}")]


def _number(column: str, text: str, wrong: list[Wrong]) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if isfinite(value):
        return value
    wrong.append((column, f"{text!r}, expected a number; the limit is not used", f"{text!r}，应为数字；该限值不使用"))
    return None


def _day(column: str, text: str, wrong: list[Wrong]) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        en = f"{text!r}, expected a date like 2026-01-31; the date is not used"
        wrong.append((column, en, f"{text!r}，应为日期，如 2026-01-31；该日期不使用"))
        return None


def _minutes(column: str, text: str, default: int | None, wrong: list[Wrong]) -> int | None:
    if not text:
        return default
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    used, used_zh = (f"{default} is used", f"按 {default} 处理") if default else ("it is not used", "不使用")
    en = f"{text!r}, expected a whole number of minutes above 0; {used}"
    wrong.append((column, en, f"{text!r}，应为大于 0 的整数分钟；{used_zh}"))
    return default


def problems_text(path: Path, problems: Sequence[Problem], most: int = 3) -> str:
    """The first problems with their place, and how many more there are; empty where there is none."""
    more = f"; … and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problem.text(path) for problem in problems[:most]) + more
