"""Issued reports sent by e-mail, to each address each edition once.

What a run issues for an address is noted as due first, then sent and noted as sent: a failure leaves it due, and the next run
sends it. A kill between the server's acceptance and the note may send a message again; it has the same Message-ID then.
"""

import json
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from assets import reports
from assets.workbench import Workbench
from ingest_daemon.contract.files import parsed_json, write_json
from ingest_daemon.contract.log import LOG
from pipelines.runs.export import export_report
from pipelines.settings import MailSettings, ReportMailSettings

TIMEOUT_S = 60.0
XLSX = ("application", "vnd.openxmlformats-officedocument.spreadsheetml.sheet")

WORDS = {
    "zh": ("报表：{}", "{} 的报表见附件，版次与校验值如下。", "第 {} 版"),
    "en": ("Reports: {}", "The reports of {} are attached; their editions and checksums:", "edition {}"),
}
"""Subject, first line, and edition, by language of the site."""


class NotSent(RuntimeError):
    """Reports that are due to somebody and were not sent; the text names them and why."""


class Item(NamedTuple):
    """An edition for an address of a row of `[reports] mail`."""

    name: str
    address: str
    report: str
    period: str
    edition: int


class Outbox:
    """`state/report_mail.json`: what is due and what was sent. Raises `ValueError` where the file is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        content = parsed_json(path, dict) or {"due": {}, "sent": []}
        self.due: dict[Item, str] = {Item(*json.loads(key)): file for key, file in content["due"].items()}
        self._sent = {Item(*row) for row in content["sent"]}

    def add(self, item: Item, file: Path) -> None:
        """Let an edition be due, unless it was sent."""
        if item not in self._sent:
            self.due[item] = str(file)

    def note_sent(self, items: list[Item]) -> None:
        """These are due no more. Durable."""
        for item in items:
            self.due.pop(item, None)
        self._sent.update(items)
        self.save()

    def save(self) -> None:
        """Make it durable."""
        due = {json.dumps(item, ensure_ascii=False): file for item, file in self.due.items()}
        write_json(self._path, {"due": due, "sent": sorted(self._sent)}, durable=True, private=True)


def send_reports(bench: Workbench, server: MailSettings, row: ReportMailSettings) -> list[str]:
    """Issue the reports of a row and send what is due to its addresses; gives a sentence a message.

    One that cannot be issued or sent does not hold up the others. Raises `NotSent` at the end.
    """
    outbox = Outbox(bench.site.state / "report_mail.json")
    failures = []
    for name in row.report_names:
        try:
            workbook = export_report(bench, name, None)[0]
        except ValueError as error:
            failures.append(f"{name}: {error}")
            continue
        for address in row.receivers:
            outbox.add(Item(row.name, address, name, workbook.period, workbook.edition), workbook.file)
    outbox.save()
    done = []
    with _session(server) as send:
        for address in row.receivers:
            items = sorted(item for item in outbox.due if (item.name, item.address) == (row.name, address))
            if not items:
                continue
            try:
                files = {item: Path(outbox.due[item]) for item in items}
                send(_message(bench, server, address, files))
            except (OSError, smtplib.SMTPException) as error:
                failures.append(f"{address}: {_told(error)}")
                continue
            outbox.note_sent(items)
            done.append(f"{address}: {', '.join(file.name for file in files.values())}")
    for sentence in done:
        LOG.info("报表邮件 / reports sent: %s", sentence)
    if failures:
        raise NotSent(f"[reports] mail, {row.name}: {'; '.join(failures)}; what is due goes out with the next run")
    return done


@contextmanager
def _session(server: MailSettings) -> "Iterator[Callable[[EmailMessage], None]]":
    """Send messages over one connection, opened with the first and again after a failure."""
    connection: smtplib.SMTP | None = None

    def send(message: EmailMessage) -> None:
        nonlocal connection
        if connection is None:
            connection = _connected(server)
        try:
            connection.send_message(message)
        except (OSError, smtplib.SMTPServerDisconnected):
            connection.close()
            connection = None
            raise

    try:
        yield send
    finally:
        if connection is not None:
            connection.close()


def _connected(server: MailSettings) -> smtplib.SMTP:
    """Raises `OSError`, `SMTPException`."""
    if not server.host:
        raise OSError("[mail] host is empty: expected the name of the SMTP server")
    context = ssl.create_default_context()
    if server.security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
    try:
        if server.security == "starttls":
            connection.starttls(context=context)
        if server.user:
            connection.login(server.user, server.password)
    except BaseException:
        connection.close()
        raise
    return connection


def _message(bench: Workbench, server: MailSettings, address: str, files: dict[Item, Path]) -> EmailMessage:
    """Raises `OSError` for a file that is not there any more."""
    subject, first, edition = WORDS[bench.language]
    titles = {item: reports.definition(item.report).titles[bench.language] for item in files}
    message = EmailMessage()
    message["Subject"] = subject.format(", ".join(dict.fromkeys(titles.values())))
    message["From"], message["To"] = server.sender, address
    message["Date"] = format_datetime(datetime.now(UTC))
    key = sha256(json.dumps(sorted(files), ensure_ascii=False).encode()).hexdigest()[:32]
    message["Message-ID"] = f"<{key}@{server.sender.rpartition('@')[2] or 'mainflow'}>"
    lines = [first.format(bench.utility), ""]
    contents = {item: file.read_bytes() for item, file in files.items()}
    lines += [
        f"{titles[item]}  {item.period}  {edition.format(item.edition)}  SHA-256 {sha256(data).hexdigest()}"
        for item, data in contents.items()
    ]
    message.set_content("\n".join(lines))
    for item, data in contents.items():
        message.add_attachment(data, maintype=XLSX[0], subtype=XLSX[1], filename=files[item].name)
    return message


def _told(error: Exception) -> str:
    """What went wrong, in the server's words; no password is in them."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{code} {words.decode(errors='replace')}" for code, words in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        words = error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return f"{error.smtp_code} {words}"
    return str(error) or type(error).__name__
