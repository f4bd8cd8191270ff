"""Status: who is silent, whose clock is off, what was last said of signal and battery, who is not registered."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.site import Site
from ingest_daemon.operations import unknown_terminals
from pipelines.cli.main import main
from pipelines.cli.status import contacts_of
from tests.daemon_helpers import STRANGER, TERMINALS, Client, delivered, eventually, frame, kept, make_site, minutes_ago, running

FIRST, SECOND, THIRD = TERMINALS[:3]
NOW_US = time.time_ns() // 1000
MINUTE_US = 60_000_000


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path / "site")
    site.state.mkdir()
    return site


def said(site: Site, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["status", "--site", str(site.root), *arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception}"
    return result.output


@pytest.mark.parametrize(
    ("heard_min", "newest_min", "silent"),
    [
        pytest.param(44, None, False, id="heard within three steps of 15 minutes"),
        pytest.param(46, None, True, id="not heard for more than three steps"),
        pytest.param(None, 44, False, id="the daemon was started anew, the newest reading tells"),
        pytest.param(None, 46, True, id="its newest reading is old, too"),
        pytest.param(10, 900, False, id="it calls in but has no new readings"),
        pytest.param(None, None, True, id="never heard"),
    ],
)
def test_a_polled_terminal_is_silent_after_three_steps(
    site: Site, heard_min: int | None, newest_min: int | None, silent: bool
) -> None:
    (site.registry / "terminals.csv").write_text(f"terminal,meter,step_min,link,address\n{FIRST},M1,15,861234567890001,1\n")
    contacts = {} if heard_min is None else {FIRST: NOW_US - heard_min * MINUTE_US}
    newest = {} if newest_min is None else {FIRST: NOW_US - newest_min * MINUTE_US}
    write_json(site.state / "counters.json", {"last_contact_us": contacts}, durable=False)
    write_json(site.state / "terminals.json", {"newest_us": newest}, durable=False)
    assert contacts_of(site, NOW_US)[FIRST].silent == silent


@pytest.mark.parametrize(
    ("upload_min", "heard_h", "silent"),
    [
        ("", 25, False),
        ("", 35, False),
        ("", 37, True),
        ("1440", 35, False),
        ("1440", 37, True),
        ("60", 1, False),
        ("60", 2, True),
    ],
)
def test_a_terminal_that_calls_in_is_silent_when_an_upload_and_half_of_the_next_are_missed(
    site: Site, upload_min: str, heard_h: int, silent: bool
) -> None:
    """Where the registry gives no interval, one upload a day is expected."""
    (site.registry / "terminals.csv").write_text(f"terminal,meter,step_min,upload_min\n{FIRST},M1,15,{upload_min}\n")
    write_json(site.state / "counters.json", {"last_contact_us": {FIRST: NOW_US - heard_h * 60 * MINUTE_US}}, durable=False)
    assert contacts_of(site, NOW_US)[FIRST].silent == silent


def test_a_clock_that_is_off_is_named(site: Site) -> None:
    offsets = {FIRST: [300.0, 290.0, 310.0], SECOND: [0.0, 0.0, 900.0]}
    write_json(site.state / "terminals.json", {"newest_us": {}, "offsets": offsets}, durable=False)
    assert contacts_of(site)[FIRST].drift_s == 300.0
    text = said(site, "--terminals")
    assert next(line for line in text.splitlines() if "clocks off" in line).count(f"1: {FIRST}") == 1
    assert "+300 s" in text


def test_a_site_that_never_ran_has_a_status(site: Site) -> None:
    text = said(site, "--terminals")
    assert f"{len(TERMINALS)} / {len(TERMINALS)}" in text
    assert "not running" in text


def test_after_a_day_of_work_the_table_says_what_each_terminal_last_said(site: Site) -> None:
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(frame(FIRST, minutes_ago(20), 1.0, signal=23, battery_v=3.55))
        client.send(frame(FIRST, minutes_ago(5), 1.5, sequence=2))
        client.send(frame(STRANGER, minutes_ago(5), 1.0) + frame(STRANGER, minutes_ago(4), 1.1, sequence=2))
        client.acknowledged(4)
        client.close()
        delivered(site)
        eventually(lambda: len(kept(site, "UNKNOWN_TERMINAL")) == 2, "strangers are kept aside")
        eventually(lambda: not contacts_of(site)[FIRST].silent, "the counters are written")
        text = said(site, "--terminals")
    newest = minutes_ago(5).astimezone(UTC) + timedelta(hours=8)
    row = next(line for line in text.splitlines() if line.lstrip("│ ").startswith(FIRST) and "3.55" in line)
    assert "23" in row
    assert f"{newest:%Y-%m-%d}" in row
    assert "silent" not in row
    assert f"{len(TERMINALS) - 1} / {len(TERMINALS)}" in text
    assert f"1: {STRANGER}" in text


def test_an_unknown_terminal_has_first_and_last_time_and_a_count(site: Site) -> None:
    with running(site) as daemon:
        client = Client(daemon.data_port)
        for sequence in (1, 2, 3):
            client.send(frame(STRANGER, minutes_ago(sequence), 1.0, sequence=sequence))
            client.acknowledged(1)
        client.close()
        eventually(lambda: len(kept(site, "UNKNOWN_TERMINAL")) == 3, "strangers are kept aside")
    ((terminal, found),) = unknown_terminals(site).items()
    assert (terminal, found.frames) == (STRANGER, 3)
    assert NOW_US <= found.first_us < found.last_us <= datetime.now(UTC).timestamp() * 1e6


def test_what_waits_in_the_journal_says_since_when(site: Site) -> None:
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(frame(FIRST, minutes_ago(1), 1.0))
        client.acknowledged(1)
        client.close()
        delivered(site)
    for name in ("data", "alarm", "alarm-events", "events"):
        (site.state / f"forward-{name}.json").unlink(missing_ok=True)
    assert "lag" in said(site)
