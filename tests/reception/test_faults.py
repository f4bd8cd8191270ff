"""A short run of `python -m tests.faults`: everything breaks, and nothing that was acknowledged is lost or doubled."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon_helpers import environment_number
from tests.faults import run

SECONDS = environment_number("MAINFLOW_TEST_FAULT_SECONDS", 20)


def test_whatever_breaks_every_acknowledged_reading_is_stored_once_with_its_value(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    if shutil.which("influxd") is None:
        pytest.skip("no influxd on PATH; apt-get install influxdb brings it")
    outcome = run(tmp_path, SECONDS, seed=4000, every_s=0.7)
    text = outcome.text(4000)
    record_property("summary", f"faults: {outcome.kills.total()} kills, {outcome.acknowledged:,} readings acknowledged, 0 lost")
    assert outcome.clean, text
    assert outcome.remarks == [] or "no right to mount" in text or "no C compiler" in text, text
    assert outcome.kills.total() > SECONDS / 4, text
    assert outcome.acknowledged > 100, text
