"""Small files of `state/` that are emptied, cut, overwritten or made a folder: all goes on, or names the file.

All of them are damaged at once, so that one that stops the daemon or a command is seen whichever it is.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl
import psycopg
import pytest
from click.testing import CliRunner

from ingest_daemon.contract.files import parquet_bytes, write_json
from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.latest_readings import request_rebuild
from ingest_daemon.journal.reader import backlog
from pipelines.cli.main import main
from pipelines.processes import postgres
from tests.chain import FREE_PORTS
from tests.daemon_helpers import SECRET, Client, Daemon, alarm_events, delivered, eventually, frame, minutes_ago, stored
from tests.site_helpers import make_site, reading_frame

METER, STRANGER = "0000001001", "0000009999"
WITH_SMS = {"MAINFLOW_SMS_ON": "true", "MAINFLOW_SMS_PORT": "0", "MAINFLOW_SMS_SECRET": SECRET}
WITH_SMS |= {"MAINFLOW_SMS_GATEWAY_URL": "http://127.0.0.1:9/", "MAINFLOW_SMS_RECIPIENTS": "13800138000"}

NOT_REBUILT = ("site-id", "registry-history/0", "postgres")
"""Beginnings of what is in a test of its own."""
SILENT = (
    "counters.json",
    "daemon.json",
    "up.json",
    "backup.json",
    "sms-seen.txt",
    "registry-accepted.json",
    "adopted.json",
    "registry/",
    ".lock",
)
"""What only shows how things stand, or is written anew: no word is needed."""


class Running(NamedTuple):
    """A site that ran, and the environment of its processes."""

    site: Site
    environment: dict[str, str]

    def command(self, *arguments: str) -> str:
        done = CliRunner(env={**self.environment, "COLUMNS": "300"}).invoke(
            main, [*arguments, "--site", str(self.site.root)], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.output


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Running:
    """A site with every kind of small file that its processes keep."""
    site = make_site(
        tmp_path_factory.mktemp("ran") / "site", [{"terminal": METER, "meter": "M1"}], pl.DataFrame(schema=READING)
    ).folder
    running = Running(site, {**FREE_PORTS, **WITH_SMS, "MAINFLOW_POSTGRES_DSN": postgres})
    daemon = Daemon(site, **running.environment)
    client = Client(daemon.data_port)
    for number in range(3):
        client.send(frame(METER, minutes_ago(300 - 60 * number), 10 + number, sequence=number + 1))
    client.send(frame(STRANGER, minutes_ago(5), 1))
    client.acknowledged(4)
    alarm = Client(daemon.alarm_port)
    alarm.send(frame(METER, minutes_ago(20), 13, alarms=["MAG"]))
    alarm.acknowledged(1)
    eventually(lambda: alarm_events(postgres), "the alarm event")
    delivered(site)
    running.command("ask", METER, "now")
    assert daemon.stop() == 0
    running.command("run")
    running.command("registry", "accept")
    entry = {"name": "00000000000000001-000001", "number": "1", "text": "t", "alert": "a", "severity": "critical"}
    state = site.state
    for name, value in {
        "sms-outbox/00000000000000001-000001.json": entry,
        "sms-parts/part.json": {"sender": "1", "reference": 1, "total": 2, "number": 1, "text": "t", "received_us": 1},
        "sms-sent.json": {"sent_us": [1], "last_us": {"a firing": 1}},
        "adopt.json": {"request": "one", "span": None},
        "replay.json": {"request": "two", "span": {"streams": ["data"]}},
        "adopted.json": {"request": "three"},
        "recalled.json": {METER: [["2026-01-01T00:00:00+00:00"] * 3]},
        "up.json": {"pid": 1, "at": 1, "children": {}},
        "backup.json": {"at": "2026-01-01", "folder": "/backup"},
    }.items():
        (state / name).parent.mkdir(exist_ok=True)
        write_json(state / name, value, durable=False)
    (state / "latest-readings.parquet").write_bytes(
        parquet_bytes(reading_frame(METER, [datetime(2026, 1, 1, tzinfo=UTC)], [1.0]))
    )
    request_rebuild(site, None)
    return running


@pytest.fixture
def copy(ran: Running, tmp_path: Path) -> Running:
    """The same in a folder of the test's."""
    shutil.copytree(ran.site.root, tmp_path / "site", ignore=shutil.ignore_patterns("*.sock"))
    return ran._replace(site=Site(tmp_path / "site"))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\xfe[]\x00 garbage\n" * 3)


def another_content(path: Path) -> None:
    path.write_text("[1, {}]")


def made_a_folder(path: Path) -> None:
    path.unlink()
    (path / "in it").mkdir(parents=True)


def small_files(state: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(state.rglob("*")):
        name = str(path.relative_to(state))
        if path.is_file() and not name.startswith(NOT_REBUILT):
            yield name, path


@pytest.mark.parametrize("damage", [emptied, cut, another_content, made_a_folder])
def test_with_every_small_file_damaged_the_daemon_and_all_commands_go_on_and_nothing_is_lost(
    copy: Running, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    site, dsn = copy.site, copy.environment["MAINFLOW_POSTGRES_DSN"]
    before, events = stored(site), alarm_events(dsn)
    names = []
    for name, path in small_files(site.state):
        names.append(name)
        damage(path)
    assert {"forward-data.json", "touched.json", "terminals.json", "layout.json", "latest-rebuild.json"} <= {*names}
    daemon = Daemon(site, **copy.environment)
    try:
        client = Client(daemon.data_port)
        client.send(frame(METER, minutes_ago(2), 14, sequence=9))
        client.acknowledged(1)
        after = delivered(site)
        eventually(lambda: not any(backlog(site).values()), "every reader is at the end")
        with caplog.at_level(logging.WARNING, "mainflow"):
            assert "待算天数" in copy.command("status", "--terminals")
            assert "readings read" in copy.command("run")
            copy.command("ask", METER, "version")
            copy.command("ask", "--list")
            copy.command("adopt")
    finally:
        assert daemon.stop() == 0
    assert (
        after.filter(pl.col("ts") < after["ts"].max())
        .select("terminal", "ts", "forward_m3")
        .equals(before.select("terminal", "ts", "forward_m3"))
    ), "what was stored stays as it was"
    assert after.height == before.height + 1
    assert alarm_events(dsn) == events
    said = daemon.log.read_text() + "\n".join(caplog.messages)
    assert "Traceback" not in said
    unsaid = [name for name in names if Path(name).name not in said and not any(part in name for part in SILENT)]
    assert not unsaid, said


def one_error(ran: Running, *arguments: str) -> str:
    done = CliRunner(env={**ran.environment, "COLUMNS": "600"}).invoke(main, [*arguments, "--site", str(ran.site.root)])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return done.output


@pytest.mark.parametrize("damage", [emptied, made_a_folder])
@pytest.mark.parametrize(
    ("name", "what_to_do"),
    [
        ("site-id", "restore it from a backup, or write there the number"),
        ("registry-history/00000001/span.parquet", "restore it from a backup"),
    ],
)
def test_what_cannot_be_made_again_is_named_with_what_to_do_and_left_as_it_is(
    copy: Running, name: str, what_to_do: str, damage: Callable[[Path], None]
) -> None:
    path = copy.site.state / name
    (copy.site.registry / "customers.csv").write_text("customer_no,name,industry,region,address\nC1,n,,,\n")
    damage(path)
    found = [sorted(path.iterdir()) if path.is_dir() else path.read_bytes()]
    text = one_error(copy, "run", "--days", f"{date.today()}")
    assert str(path) in text and what_to_do in text
    assert found == [sorted(path.iterdir()) if path.is_dir() else path.read_bytes()]


def test_the_embedded_server_gets_its_address_its_passwords_and_its_sites_number_back(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with postgres.embedded(site, 0) as dsn:
        number = (site.state / "site-id").read_text()
        garbage(postgres.address_file(site))
        assert postgres.running_dsn(site) == dsn
        assert json.loads(postgres.address_file(site).read_text())["dsn"] == dsn
        assert postgres.address_file(site).stat().st_mode & 0o777 == 0o600
    emptied(site.state / "site-id")
    made_a_folder(site.state / "postgres-roles.json")
    with postgres.embedded(site, 0) as dsn, psycopg.connect(dsn) as connection:
        assert connection.execute("select site_id from ops.site").fetchone() == (number,)
        assert (site.state / "site-id").read_text() == number
