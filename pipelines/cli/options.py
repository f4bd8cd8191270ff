"""Parts shared by all subcommands of `mainflow`: the site option, examples in help pages, one-sentence failures."""

import sys
from collections.abc import Callable
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ingest_daemon.contract import disk
from ingest_daemon.contract.settings import SettingError
from pipelines.cli.console import coloured, console

FAILED, AWAY = 2, 3
"""Exit codes: what a person has to mend; a server that is away."""

MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])
"""A local day or minute; its zone is the site's."""

SITE = click.option(
    "--site",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    envvar="MAINFLOW_SITE",
    show_default="the current folder",
    help="站点目录 / site folder (or MAINFLOW_SITE)",
)


class DayRange(click.ParamType[tuple[date, date]]):
    """`A..B` or one day, both local and included."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[date, date]:
        try:
            first, _, last = str(value).partition("..")
            begin, end = date.fromisoformat(first), date.fromisoformat(last or first)
        except ValueError:
            self.fail(f"{value!r}: expected days like 2026-01-01..2026-01-31", param, ctx)
        if end < begin:
            self.fail(f"{value!r}: the last day lies before the first", param, ctx)
        return begin, end


def examples(*lines: str) -> str:
    """The epilogue of a help page."""
    return "\b\n例 / Examples:\n" + "\n".join(f"  {line}" for line in lines)


def _told(error: Exception, folder: Path) -> tuple[int, str, str]:
    """Exit code, kind and sentence of an operational error; exit code 0 where it is a fault of the program."""
    if refusal := disk.trouble(error, folder):
        return FAILED, "错误 / error", refusal
    if isinstance(error, (SettingError, ValueError, RuntimeError, OSError)):
        return FAILED, "错误 / error", f"{type(error).__name__}: {error}"
    import psycopg

    from ingest_daemon.stores import StoreAway

    if isinstance(error, StoreAway):
        return AWAY, "原始库不可用 / raw store away", str(error)
    if isinstance(error, psycopg.Error):
        return AWAY, "PostgreSQL", str(error)
    return 0, "", ""


def report_failures(function: Callable[..., Any]) -> Callable[..., Any]:
    """Expected operational errors, reported in one sentence with exit code 2 instead of a traceback."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            folder = next((kwargs[name] for name in ("root", "folder", "site") if isinstance(kwargs.get(name), Path)), Path())
            code, what, text = _told(error, folder)
            if not code:
                raise
            console.print(coloured("red", f"{what}:", f" {text}"), highlight=False, soft_wrap=True)
            sys.exit(code)

    return wrapped
