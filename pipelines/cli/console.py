"""Output of commands in the terminal: the console, progress bars, tables of explained frames."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ingest_daemon.operations import ExplainedField

PIPED_WIDTH = 200
"""Width of output into a pipe or a file, so that a table is not cut at 80 columns."""

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH, markup=False)
"""Without markup: `[daemon]` in a text is a word of ours or of a user's, and never a style. Colours are `Text`."""


def coloured(colour: str, text: object, rest: object = "") -> Text:
    """A text in a colour, and the rest of the line without."""
    return Text.assemble((str(text), colour), str(rest))


@contextmanager
def progress_bar(title: str, total: float | None) -> Iterator[Callable[[float, str], None]]:
    """A progress bar; gives a function (done, text)."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, text="")
        yield lambda done, text: bar.update(task, completed=done, text=text)


def fields_table(parts: "Iterable[ExplainedField]") -> Table:
    """A frame explained, a row a part."""
    table = Table("位置 offset", "字节 bytes", "名称", "name", "值 value", "单位 unit")
    for part in parts:
        table.add_row(str(part.offset), part.raw.hex(" ").upper(), part.zh, part.en, part.value, part.unit)
    return table
