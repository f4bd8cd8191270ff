"""The setting `[daemon] event_loop`: either loop receives, and a missing package has a name."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon_helpers import TERMINALS, Client, frame, make_site, minutes_ago, running


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
def test_a_frame_is_acknowledged_and_the_daemon_stops_cleanly_on_either_loop(tmp_path: Path, event_loop: str) -> None:
    if event_loop == "uvloop":
        pytest.importorskip("uvloop", reason="the optional package uvloop is not installed")
    with running(make_site(tmp_path, f'event_loop = "{event_loop}"\n')) as daemon:
        client = Client(daemon.data_port)
        client.send(frame(TERMINALS[0], minutes_ago(5), 1.0, sequence=7))
        assert client.acknowledged(1) == [7]
        client.close()
        assert daemon.stop() == 0


def test_a_loop_whose_package_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", 'event_loop = "uvloop"\n')
    (tmp_path / "uvloop.py").write_text("raise ImportError('No module named uvloop')")
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from ingest_daemon.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "--site", str(site.root)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "[daemon] event_loop = 'uvloop'" in ended.stderr
    assert "pip install" in ended.stderr
