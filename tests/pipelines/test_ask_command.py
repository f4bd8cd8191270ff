"""`mainflow ask`: a question is filed when it can be put, waited for, shown with its answer; the rest is said at once."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from ingest_daemon import operations
from ingest_daemon.codec_kit.api import CommandType
from ingest_daemon.codecs import sl651
from ingest_daemon.codecs.sl651 import answer
from ingest_daemon.commands.queue import QueuedCommand, read_commands
from ingest_daemon.contract.site import Site
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.records import ALARM, DATA
from ingest_daemon.journal.writer import Journal
from pipelines.cli.main import main
from tests.daemon_helpers import TERMINALS, Client, eventually, frame, make_site, minutes_ago, running

METER, WITHOUT_ASKING = TERMINALS[0], "0000007777"
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path / "site")
    site.settings.write_text(site.settings.read_text() + "[commands]\nanswer_s = 5\n[site]\nzone = 'Asia/Shanghai'\n")
    rows = [f"{terminal},M{terminal},sl651" for terminal in TERMINALS]
    rows.append(f"{WITHOUT_ASKING},M7777,modbus_rtu")
    (site.registry / "terminals.csv").write_text("\n".join(["terminal,meter,protocol", *rows]) + "\n")
    return site


def said(site: Site, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["ask", "--site", str(site.root), *arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception}"
    return result.output


@pytest.mark.parametrize("kind", ["now", "clock", "version", "status", "events", "parameters"])
def test_a_question_is_filed_and_listed(site: Site, kind: str) -> None:
    text = said(site, METER, kind)
    (each,) = read_commands(site)
    assert (each.terminal, each.kind, each.state, each.by) == (METER, kind, "waiting", "cli")
    assert each.id in text
    listed = said(site, "--list")
    assert all(part in listed for part in (each.id, METER, kind, "waiting"))


def test_history_is_asked_in_local_time_and_in_days(site: Site) -> None:
    said(site, METER, "history", "--from", "2026-01-01T08:00", "--to", "2026-01-03")
    assert [(each.start, each.end) for each in sorted(read_commands(site), key=lambda each: str(each.start))] == [
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, 16, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((METER, "reboot"), "allowed: now, history, clock, set-clock, version, status, events, parameters"),
        (("0000000404", "now"), "not in"),
        ((METER, "set-clock"), "[commands] set_clock = true"),
        ((METER, "history", "--from", "2026-01-02", "--to", "2026-01-01"), "the earlier first"),
        ((METER, "history"), "history"),
        ((METER, "history", "--from", "2026-01-01", "--to", "2026-01-02", "--field", "colour"), "colour"),
        ((WITHOUT_ASKING, "events"), "events"),
        ((METER,), "expected TERMINAL and what to ask"),
        ((), "--list"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once_with_what_can(site: Site, arguments: tuple[str, ...], told: str) -> None:
    assert told in " ".join(said(site, *arguments, code=2).split())
    assert read_commands(site) == []


def test_without_an_answer_in_time_the_exit_code_says_so(site: Site) -> None:
    assert "waiting" in said(site, METER, "now", "--wait", "0.1", code=4)


def test_nothing_filed_is_nothing_listed(site: Site) -> None:
    assert "no question was filed" in said(site, "--list")


def test_the_answer_is_shown_when_it_comes(site: Site) -> None:
    readings = pl.DataFrame({"ts": [START, START + timedelta(minutes=15)], "forward_m3": [731.5, 732.5]})
    span = [f"{at + timedelta(hours=8):%Y-%m-%dT%H:%M}" for at in (START, START + timedelta(hours=1))]

    def speak(port: int) -> None:
        client = Client(port)
        client.send(frame(METER, minutes_ago(1), 800.0))
        decoder, heard = sl651.decoder(), []
        while not [raw for raw in heard if raw[-3] == sl651.ENQ]:
            heard += [piece.raw for piece in decoder.feed(client.socket.recv(65536))]
        client.send(answer(heard[-1], readings, sent_at=datetime.now(UTC)))
        eventually(lambda: read_commands(site)[0].state == "answered", "the answer is taken")
        client.close()

    with running(site) as daemon:
        terminal = threading.Thread(target=speak, args=(daemon.data_port,))
        terminal.start()
        text = said(site, METER, "history", "--from", span[0], "--to", span[1], "--wait", "20")
        terminal.join()
    assert all(
        part in text for part in ("answered", "forward_m3", "731.5", "732.5", f"{START + timedelta(hours=8):%Y-%m-%d %H:%M}")
    )


def test_an_answer_with_an_alarm_is_read_from_the_stream_of_alarms(site: Site) -> None:
    asked, answered = minutes_ago(2), minutes_ago(1)
    with_alarm = frame(METER, answered, 731.5, alarms=["MAG"])
    header = encode_header(RecordHeader("sl651", terminal=METER, requests=(b"ask",)))
    site.journal.mkdir()
    journal = Journal(site.journal / ALARM, 1 << 20)
    journal.append(header + with_alarm, round(answered.timestamp() * 1e6))
    journal.commit()
    command = QueuedCommand(
        "1", METER, CommandType.NOW, "cli", asked, sent_at=asked, finished_at=minutes_ago(0), state="answered"
    )
    (readings,) = operations.answers(site, replace(command, stream=ALARM, frame=0))
    assert isinstance(readings, pl.DataFrame)
    assert readings["forward_m3"].to_list() == [731.5]
    assert list(operations.answers(site, replace(command, stream=DATA, frame=0))) == []
