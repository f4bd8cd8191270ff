"""Every case that was handed out has a test."""

from importlib import import_module
from pkgutil import iter_modules

import pytest

import tests.cases
from tests.cases import COVERED, RECEPTION, reception


@pytest.mark.skipif(not RECEPTION.exists(), reason=f"the cases are not there: {RECEPTION}")
def test_every_reception_case_has_a_test() -> None:
    for module in iter_modules(tests.cases.__path__):
        import_module(f"tests.cases.{module.name}")
    assert sorted(set(reception()) - COVERED) == []
