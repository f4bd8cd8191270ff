"""A short form of `python -m tests.disk_faults`: a full disk is told in a sentence, and nothing half written counts."""

from pathlib import Path

import pytest

from tests import disk_faults


def test_a_full_disk_is_told_and_with_space_again_all_is_as_if_it_had_never_been_full(tmp_path: Path) -> None:
    try:
        outcomes = disk_faults.run(tmp_path, (0,))
    except PermissionError as error:
        pytest.skip(str(error))
    assert [outcome.command for outcome in outcomes if outcome.code == 0] == []
    for outcome in outcomes:
        assert "TRACEBACK" not in outcome.said
        assert "No space left" in outcome.said or "disk is full" in outcome.said
