"""The delivery log: one reading that came twice is one reading with two arrivals, by whichever channel."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest_daemon.contract.schema import Channel
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.records import ALARM, DATA
from ingest_daemon.journal.writer import Journal
from ingest_daemon.operations import arrivals
from pipelines.cli.main import main
from tests.daemon_helpers import TERMINALS, frame, make_site, minutes_ago

METER, OTHER = TERMINALS[:2]
START = minutes_ago(180)
LONG_AGO, LATER = START - timedelta(days=30), START + timedelta(days=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


def at(step: int) -> datetime:
    return START + timedelta(minutes=15 * step)


def journaled(site: Site, *arrivals: tuple[bytes, Channel, int], stream: str = DATA, quarantine_reason: str = "") -> None:
    """Frames with their channel and the minutes after `START` at which they came."""
    journal = Journal(site.journal / stream, 1 << 20)
    for raw, channel, minutes in arrivals:
        received_us = int((START + timedelta(minutes=minutes)).timestamp() * 1e6)
        journal.append(encode_header(RecordHeader("sl651", channel, quarantine_reason=quarantine_reason)) + raw, received_us)
    journal.commit()
    journal.close()


def verdicts(site: Site, terminal: str = METER) -> list[tuple[datetime, str, str]]:
    found = arrivals(site, terminal, LONG_AGO, LATER).arrivals
    return list(found.select("ts", "channel", "verdict").iter_rows())


def test_the_same_reading_by_tcp_and_sms_is_one_reading_with_both_channels(site: Site) -> None:
    raw = frame(METER, at(0), 1.5)
    journaled(site, (raw, Channel.TCP, 1), (raw, Channel.SMS, 30))
    assert verdicts(site) == [(at(0), "tcp", "first"), (at(0), "sms", "duplicate")]
    found = arrivals(site, METER, LONG_AGO, LATER).arrivals
    assert found["received_at"].to_list() == [START + timedelta(minutes=1), START + timedelta(minutes=30)]
    assert found["frame"].to_list()[0] == 0 < found["frame"].to_list()[1]


@pytest.mark.parametrize(
    ("second", "verdict"),
    [
        ({"forward_m3": 1.5}, "duplicate"),
        ({"forward_m3": 2.5}, "contradiction"),
        ({"forward_m3": 1.5, "pressure_mpa": 0.3}, "addition"),
        ({"forward_m3": 2.5, "pressure_mpa": 0.3}, "contradiction"),
    ],
)
def test_a_second_arrival_is_judged_by_what_it_says(site: Site, second: dict[str, float], verdict: str) -> None:
    journaled(site, (frame(METER, at(0), 1.5), Channel.TCP, 1), (frame(METER, at(0), **second), Channel.TCP, 2))
    assert verdicts(site) == [(at(0), "tcp", "first"), (at(0), "tcp", verdict)]


def test_what_fell_out_of_order_is_sorted_by_reading_time_and_then_arrival_over_both_streams(site: Site) -> None:
    journaled(site, (frame(METER, at(1), 2.0), Channel.TCP, 40), (frame(METER, at(0), 1.0), Channel.TCP, 50))
    journaled(site, (frame(METER, at(1), 2.0, alarms=["MAG"]), Channel.TCP, 20), stream=ALARM)
    found = arrivals(site, METER, LONG_AGO, LATER).arrivals
    assert list(found.select("ts", "stream", "verdict").iter_rows()) == [
        (at(0), "data", "first"),
        (at(1), "alarm", "first"),
        (at(1), "data", "duplicate"),
    ]


def test_only_the_terminal_and_the_time_that_were_asked_for_are_shown(site: Site) -> None:
    frames = [(frame(meter, at(step), 1.0 + step), Channel.TCP, 15 * step) for step in range(6) for meter in (METER, OTHER)]
    journaled(site, *frames)
    assert len(verdicts(site)) == len(verdicts(site, OTHER)) == 6
    assert arrivals(site, METER, at(2), at(4)).arrivals["ts"].to_list() == [at(2), at(3)]
    assert verdicts(site, "0000000404") == []


def test_a_doubted_frame_gives_no_reading_and_is_counted(site: Site) -> None:
    journaled(site, (frame(METER, at(0), 1.5), Channel.TCP, 1), quarantine_reason="WRONG_PASSWORD")
    found = arrivals(site, METER, LONG_AGO, LATER)
    assert found.arrivals.is_empty()
    assert found.refused == {"WRONG_PASSWORD": 1}


def test_the_command_shows_each_reading_once_with_all_its_arrivals(site: Site) -> None:
    raw = frame(METER, at(0), 1.5)
    journaled(site, (raw, Channel.TCP, 1), (raw, Channel.SMS, 30), (frame(METER, at(1), 2.5), Channel.TCP, 31))
    result = CliRunner().invoke(main, ["arrivals", "--site", str(site.root), METER])
    assert result.exit_code == 0, result.output
    local = at(0).astimezone(UTC) + timedelta(hours=8)
    assert result.output.count(f"{local:%Y-%m-%d %H:%M:%S}") == 1
    assert "readings: 2 (sms+tcp 1, tcp 1); 到达 arrivals: 3" in result.output


def test_an_empty_journal_says_so(site: Site) -> None:
    result = CliRunner().invoke(main, ["arrivals", "--site", str(site.root), METER])
    assert "has no reading" in result.output
