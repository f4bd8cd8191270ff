"""Asking back: a real daemon puts what waits in the queue to a terminal that calls in, and what it answers fills the day."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ingest_daemon.codec_kit.api import CommandType, Frame
from ingest_daemon.codecs import sl651
from ingest_daemon.codecs.sl651 import answer, in_packets
from ingest_daemon.commands.queue import CommandSettings, QueuedCommand, open_commands, read_commands
from tests.daemon_helpers import TERMINALS, Client, Daemon, delivered, eventually, frame, make_site, minutes_ago, running, stored

METER = TERMINALS[0]
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)
END = START + timedelta(hours=4)
HOLE = pl.DataFrame({"ts": [START + timedelta(minutes=15 * n) for n in range(17)], "forward_m3": [100.0 + n for n in range(17)]})


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(make_site(tmp_path / "site", "[commands]\nanswer_s = 1\ntries = 2\n")) as found:
        yield found


def ask(daemon: Daemon, kind: CommandType, terminal: str = METER, **span: datetime) -> str:
    settings = CommandSettings(set_clock=kind is CommandType.SET_CLOCK)
    (name,) = open_commands(daemon.site, settings).file(terminal, kind, by="a test", now=datetime.now(UTC), **span)
    return name


def filed(daemon: Daemon, name: str) -> QueuedCommand:
    return next(each for each in read_commands(daemon.site) if each.id == name)


def comes_to(daemon: Daemon, name: str, state: str) -> QueuedCommand:
    eventually(lambda: filed(daemon, name).state == state, f"the question is {state}")
    return filed(daemon, name)


class Terminal(Client):
    """A terminal that reports and hears everything that the centre says."""

    def next(self) -> bytes:
        """The next frame of the centre, whichever."""
        while True:
            for piece in self._decoder.feed(self.socket.recv(65536)):
                assert isinstance(piece, Frame)
                self._heard.append(piece.raw)
            if self._heard:
                return self._heard.pop(0)

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._heard: list[bytes] = []


def test_a_hole_that_is_asked_for_is_filled_by_the_terminals_answer(daemon: Daemon) -> None:
    name = ask(daemon, CommandType.HISTORY, start=START, end=END)
    terminal = Terminal(daemon.data_port)
    terminal.send(frame(METER, minutes_ago(1), 200.0))
    assert sl651.acknowledged_sequence(terminal.next()) == 1
    request = terminal.next()
    assert (request[10], request[-3]) == (0x38, sl651.ENQ)
    terminal.send(answer(request, HOLE, sent_at=datetime.now(UTC)))
    comes_to(daemon, name, "answered")
    found = delivered(daemon.site).filter(pl.col("ts") <= END).sort("ts")
    assert found.select("ts", "forward_m3").rows() == HOLE.rows()


def test_a_question_filed_while_the_terminal_is_on_line_is_put_at_once(daemon: Daemon) -> None:
    terminal = Terminal(daemon.data_port)
    terminal.send(frame(METER, minutes_ago(1), 200.0))
    terminal.next()
    name = ask(daemon, CommandType.CLOCK)
    request = terminal.next()
    assert request[10] == 0x51
    terminal.send(answer(request, HOLE, sent_at=datetime.now(UTC)))
    comes_to(daemon, name, "answered")


def test_a_terminal_that_does_not_answer_is_asked_at_the_next_contact_and_then_given_up(daemon: Daemon) -> None:
    name = ask(daemon, CommandType.HISTORY, start=START, end=END)
    for sequence in (1, 2):
        terminal = Terminal(daemon.data_port)
        terminal.send(frame(METER, minutes_ago(sequence), 200.0, sequence=sequence))
        assert [terminal.next()[10], terminal.next()[10]] == [0x32, 0x38]
        if sequence == 1:
            comes_to(daemon, name, "waiting")
            assert terminal.is_silent(1.5)  # not again before it is heard again
        terminal.close()
    assert comes_to(daemon, name, "failed").tries == 2


def test_a_clock_is_not_set_where_that_is_not_allowed(daemon: Daemon) -> None:
    name = ask(daemon, CommandType.SET_CLOCK)
    terminal = Terminal(daemon.data_port)
    terminal.send(frame(METER, minutes_ago(1), 200.0))
    assert terminal.next()[10] == 0x32
    assert "set_clock" in comes_to(daemon, name, "refused").detail
    assert terminal.is_silent(1.0)


def test_a_question_survives_the_daemons_death(daemon: Daemon) -> None:
    name = ask(daemon, CommandType.HISTORY, start=START, end=END)
    daemon.kill()
    with running(daemon.site) as again:
        terminal = Terminal(again.data_port)
        terminal.send(frame(METER, minutes_ago(1), 200.0))
        terminal.next()
        terminal.send(answer(terminal.next(), HOLE, sent_at=datetime.now(UTC)))
        comes_to(again, name, "answered")


def test_a_message_in_packets_is_acknowledged_as_a_whole_and_a_missing_packet_is_asked_for_again(daemon: Daemon) -> None:
    many = pl.DataFrame({"ts": [START + timedelta(minutes=n) for n in range(90)], "forward_m3": [float(n) for n in range(90)]})
    (whole,) = sl651.reports(METER, many, sent_at=datetime.now(UTC), sequence=9)
    packets = in_packets(whole, 400)
    assert len(packets) > 2
    terminal = Terminal(daemon.data_port)
    terminal.send(packets[0] + b"".join(packets[2:]))
    refusal = terminal.next()
    assert refusal[-3] == sl651.NAK
    terminal.send(packets[1])
    assert sl651.acknowledged_sequence(terminal.next()) == 9
    eventually(lambda: len(stored(daemon.site)) == 90, "all readings are stored")
