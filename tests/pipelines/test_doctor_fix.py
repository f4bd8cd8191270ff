"""`mainflow doctor --fix` mends what is safe, says each thing once, and leaves what people and terminals wrote."""

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest_daemon.contract import locks
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.reader import read_cursor
from pipelines.cli.main import main
from pipelines.processes.postgres import embedded
from tests.chain import FREE_PORTS
from tests.daemon_helpers import Client, Daemon, delivered, frame, minutes_ago
from tests.pipelines.test_places import METER, a_site

LONG_AGO = time.time() - 86400


def mended(site: Site) -> list[str]:
    done = CliRunner(env={**FREE_PORTS, "COLUMNS": "200"}).invoke(main, ["doctor", "--fix", "--site", str(site.root)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return [line for line in done.output.splitlines() if "已修 / mended" in line]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site whose daemon took a frame and has ended."""
    site = a_site(tmp_path / "site").folder
    daemon = Daemon(site, **FREE_PORTS)
    client = Client(daemon.data_port)
    client.send(frame(METER, minutes_ago(1), 7))
    client.acknowledged(1)
    delivered(site)
    daemon.kill()
    for path in (site.logs, site.reports):
        path.mkdir(exist_ok=True)
    mended(site)
    assert mended(site) == [], "a site that is well is left alone"
    return site


def kept(site: Site) -> dict[Path, tuple[bytes, int]]:
    """What is never touched: content and mode."""
    folders = (site.journal, site.raw, site.registry)
    paths = [site.settings, *(path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())]
    return {path: (path.read_bytes(), path.stat().st_mode) for path in paths}


def test_everything_that_is_safe_is_mended_and_said_and_the_rest_stays(site: Site) -> None:
    (site.journal / "data" / "left.new").write_bytes(b"x")
    (site.registry / "left.new").write_bytes(b"x")
    os.utime(site.registry / "left.new", (LONG_AGO, LONG_AGO))
    before = kept(site)
    state = site.state
    site.reports.rmdir()
    (state / "daemon.json").write_text('{"pid": 1, "data_port": 1, "alarm_port": 1}')
    (state / "up.json").write_text('{"pid": 1, "at": 1, "children": {}}')
    addresses = dict.fromkeys(("dsn", "board_dsn", "desk_dsn", "reader_dsn"), "host=127.0.0.1 port=1")
    (state / "postgres.json").write_text(json.dumps(addresses))
    (state / "touched.json").write_text('{"live":')
    (state / "recalled.json").mkdir()
    (state / "run.lock").unlink(missing_ok=True)
    (state / "run.lock").mkdir()
    (state / "forward-data.json").write_text("")
    for name in ("terminals.json.new", "fresh.json.new"):
        (state / name).write_text("half")
    os.utime(state / "terminals.json.new", (LONG_AGO, LONG_AGO))
    (state / "counters.json").chmod(0o666)
    said = mended(site)
    for words in (
        f"made the folder {site.reports}",
        f"removed {state / 'daemon.json'}: the process",
        f"removed {state / 'up.json'}: the process",
        f"removed {state / 'postgres.json'}: no server",
        f"{state / 'touched.json'} is damaged; kept as touched.json.damaged-",
        f"{state / 'recalled.json'} is damaged; kept as recalled.json.damaged-",
        f"{state / 'run.lock'} is no file",
        "the cursor of reader data was damaged",
        f"removed {state / 'terminals.json.new'}: a process",
        f"{state / 'counters.json'}: mode 0666 → 0660",
    ):
        assert sum(words in line for line in said) == 1, (words, said)
    assert (state / "fresh.json.new").exists(), "somebody may be writing it"
    assert read_cursor(site, "data") == 0
    assert kept(site) == before
    assert mended(site) == []


def test_a_check_that_cannot_go_on_is_a_finding_and_the_others_are_made(site: Site) -> None:
    with embedded(site, 0):
        (site.state / "site-id").write_text("")
        done = CliRunner(env={**FREE_PORTS, "COLUMNS": "300"}).invoke(main, ["doctor", "--site", str(site.root)])
        assert done.exit_code == 1
        assert "site-id is damaged" in done.output and "Grafana" in done.output
        assert f"{site.state / 'site-id'} was damaged: written again from the site's own database" in mended(site)[0]
        assert mended(site) == []


def test_what_a_running_daemon_keeps_is_left_to_it(site: Site) -> None:
    lock = locks.take(site.state / "daemon.lock")
    assert lock is not None
    try:
        (site.state / "daemon.json").write_text('{"pid": 1, "data_port": 1, "alarm_port": 1}')
        (site.state / "forward-data.json").write_text("")
        assert mended(site) == []
        assert (site.state / "daemon.json").exists()
    finally:
        os.close(lock)
