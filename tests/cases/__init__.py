"""Cases after public bug reports, read from `../shared/cases`: bytes or steps, and the value that is right.

Each test that covers a case names it with `@covers(...)`; `test_coverage.py` holds that no case is left without a test.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest

SHARED = Path(__file__).parents[2].parent / "shared" / "cases"
RECEPTION = SHARED / "reception" / "cases.jsonl"
FIGURES = SHARED / "figures"
"""One folder a case; see `test_figures.py`."""

COVERED: set[str] = set()
"""Ids of the cases that a test of this folder covers, filled as its modules are imported."""

Test = TypeVar("Test", bound=Callable[..., Any])


@cache
def reception() -> dict[str, dict[str, Any]]:
    """The reception cases by id, in file order; none where the folder is absent."""
    if not RECEPTION.exists():
        return {}
    lines = RECEPTION.read_text(encoding="utf-8").splitlines()
    return {case["id"]: case for case in map(json.loads, lines)}


def covers(*ids: str) -> Callable[[Test], Test]:
    """Mark a test as the one of these cases; it is skipped with a clear word where the cases are absent."""
    COVERED.update(ids)
    absent = pytest.mark.skipif(not RECEPTION.exists(), reason=f"the cases are not there: {RECEPTION}")
    return lambda test: absent(test)
