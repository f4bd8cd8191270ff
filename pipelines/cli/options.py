"""Parts shared by all subcommands of `mainflow`: the site option, examples in help pages, one-sentence failures."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ingest_daemon.contract.settings import SettingError
from pipelines.cli.console import console

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


def examples(*lines: str) -> str:
    """The epilogue of a help page."""
    return "\b\n例 / Examples:\n" + "\n".join(f"  {line}" for line in lines)


def report_failures(function: Callable[..., Any]) -> Callable[..., Any]:
    """Expected operational errors, reported in one sentence with exit code 2 instead of a traceback."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (SettingError, ValueError, RuntimeError, OSError) as error:
            console.print(f"[red]错误 / error:[/red] {type(error).__name__}: ", end="")
            console.print(str(error), markup=False, highlight=False)
            sys.exit(2)
        except Exception as error:
            import psycopg

            from ingest_daemon.stores import StoreAway

            if not isinstance(error, (StoreAway, psycopg.Error)):
                raise
            away = "原始库不可用 / raw store away" if isinstance(error, StoreAway) else "PostgreSQL"
            console.print(f"[red]{away}:[/red] ", end="")
            console.print(str(error), markup=False, highlight=False)
            sys.exit(3)

    return wrapped
