"""Reports by e-mail, to a real SMTP server: each address gets each edition once, and what failed goes out with the next run."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller

from assets.workbench import Workbench
from ingest_daemon.contract.settings import SettingError
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.runs import mail
from pipelines.runs.mail import NotSent, send_reports
from pipelines.runs.run import run_touched
from pipelines.settings import MailSettings, ReportMailSettings, ReportSettings
from tests.cases.figure_site import READINGS_AND_BILLS, only
from tests.figures import readings, terminals

ZONE = ZoneInfo("Asia/Shanghai")
START = datetime(2025, 6, 1, tzinfo=ZONE)
HOURS = 3 * 24


class Receiver:
    """What an SMTP server does with what it gets: keeps it, or refuses the addresses in `refused`."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, EmailMessage]] = []
        self.refused: set[str] = set()
        self.is_full = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.is_full:
            return "452 disk full"
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.messages += [(address, message) for address in envelope.rcpt_tos]  # type: ignore[misc]
        return "250 OK"


class OnFreePort(Controller):  # type: ignore[misc]
    """An SMTP server on a port that is free."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def server(receiver: Receiver) -> Iterator[MailSettings]:
    controller = OnFreePort(receiver, hostname="127.0.0.1", port=0)
    controller.start()
    yield MailSettings(host="127.0.0.1", port=controller.port, security="none", sender="mainflow@example.com")
    controller.stop()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of one meter whose figures are made."""
    site = Site(tmp_path_factory.mktemp("mail"))
    site.registry.mkdir()
    site.state.mkdir()
    terminals({"step_min": 60}).write_csv(site.registry / "terminals.csv")
    send(bench_of(site), range(HOURS + 1))
    run(bench_of(site))
    return site.root


def bench_of(site: Site) -> Workbench:
    return Workbench(site, "南城自来水", ZONE, timedelta(hours=2), ParquetStore(site.raw), lambda: None, "", 0)


@pytest.fixture
def bench(made: Path, tmp_path: Path) -> Iterator[Workbench]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    with only((*READINGS_AND_BILLS, "daily_volume_report", "monthly_volume_report", "alarm_summary_report")):
        yield bench_of(Site(tmp_path))


def send(bench: Workbench, hours: range) -> None:
    bench.store.write(
        readings([START + timedelta(hours=hour) for hour in hours], forward_m3=[1000.0 + 6 * hour for hour in hours])
    )


def run(bench: Workbench) -> None:
    with only(READINGS_AND_BILLS):
        run_touched(bench, "test")


def row(addresses: str = "a@example.com, b@example.com", reports: str = "daily_volume,monthly_volume") -> ReportMailSettings:
    return ReportMailSettings("billing", addresses, reports)


def attached(message: EmailMessage) -> dict[str, bytes]:
    return {str(part.get_filename()): part.get_content() for part in message.iter_attachments()}  # type: ignore[attr-defined]


def test_each_address_gets_the_files_as_they_were_issued_and_once(
    bench: Workbench, server: MailSettings, receiver: Receiver
) -> None:
    assert len(send_reports(bench, server, row())) == 2
    assert [address for address, _ in receiver.messages] == ["a@example.com", "b@example.com"]
    message = receiver.messages[0][1]
    assert message["Subject"] == "报表：日用水量报表, 月用水量报表"
    assert (message["From"], message["To"]) == ("mainflow@example.com", "a@example.com")
    files = attached(message)
    assert files == {path.name: path.read_bytes() for path in bench.site.reports.glob("*.xlsx")}
    assert len(files) == 2
    body = message.get_body().get_content()  # type: ignore[union-attr]
    assert "第 1 版" in body
    assert all(sha256(data).hexdigest() in body for data in files.values())
    assert send_reports(bench, server, row()) == []
    assert len(receiver.messages) == 2

    send(bench, range(HOURS + 1, HOURS + 25))  # the figures go on: a further edition of the month, another period of days
    run(bench)
    assert len(send_reports(bench, server, row("a@example.com"))) == 1
    assert sorted(attached(receiver.messages[2][1])) != sorted(files)


def test_who_was_refused_gets_it_with_the_next_run_and_the_others_do_not_again(
    bench: Workbench, server: MailSettings, receiver: Receiver
) -> None:
    receiver.refused = {"a@example.com"}
    with pytest.raises(NotSent, match=r"billing: a@example\.com: 550 no such mailbox; what is due goes out with the next run"):
        send_reports(bench, server, row())
    assert [address for address, _ in receiver.messages] == ["b@example.com"]
    receiver.refused = set()
    assert len(send_reports(bench, server, row())) == 1
    assert [address for address, _ in receiver.messages] == ["b@example.com", "a@example.com"]


def test_a_server_that_is_full_or_away_loses_nothing(bench: Workbench, server: MailSettings, receiver: Receiver) -> None:
    receiver.is_full = True
    with pytest.raises(NotSent, match="452 disk full"):
        send_reports(bench, server, row("a@example.com"))
    nobody = MailSettings(host="127.0.0.1", port=1, security="none")
    with pytest.raises(NotSent, match=r"a@example\.com: .*refused"):
        send_reports(bench, nobody, row("a@example.com"))
    with pytest.raises(NotSent, match=r"\[mail\] host is empty"):
        send_reports(bench, MailSettings(), row("a@example.com"))
    receiver.is_full = False
    assert len(send_reports(bench, server, row("a@example.com"))) == 1


def test_a_report_that_cannot_be_made_does_not_hold_up_the_others(
    bench: Workbench, server: MailSettings, receiver: Receiver
) -> None:
    with pytest.raises(NotSent, match=r"alarm_summary: .*PostgreSQL, and it does not run"):
        send_reports(bench, server, row("a@example.com", "alarm_summary,daily_volume"))
    (sent,) = receiver.messages
    assert len(attached(sent[1])) == 1


def test_a_message_that_was_sent_before_a_kill_has_the_same_number_again(
    bench: Workbench, server: MailSettings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(mail.Outbox, "note_sent", killed)
        send_reports(bench, server, row("a@example.com"))
    send_reports(bench, server, row("a@example.com"))
    first, second = (message["Message-ID"] for _, message in receiver.messages)
    assert first == second


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": ""}, "name: expected 1 to 30"),
        ({"addresses": "nobody"}, "addresses: expected e-mail addresses"),
        ({"reports": "mothly"}, "no report mothly; there are: .*monthly_volume"),
        ({"cron": "61 7 * * *"}, "cron = '61 7"),
    ],
)
def test_a_row_that_cannot_work_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        ReportMailSettings(**{"name": "a", "addresses": "a@b.c", **given})


def test_names_of_rows_are_their_own() -> None:
    with pytest.raises(SettingError, match="twice there: billing"):
        ReportSettings(mail=(row(), row()))
