"""`mainflow adopt`: what a terminal sent before it was registered reaches the raw store, once, as of when it came."""

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from click.testing import CliRunner

from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding import replay
from ingest_daemon.forwarding.quarantine import counts as quarantine_counts
from ingest_daemon.forwarding.quarantine import unadopted_entries
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.cli.main import main
from pipelines.processes.postgres import embedded
from tests.daemon_helpers import (
    STRANGER,
    TERMINALS,
    Client,
    Daemon,
    delivered,
    eventually,
    frame,
    kept,
    minutes_ago,
    rows_on_disk,
    running,
    stored,
)

OTHER = "0000008888"
DAY = 96


def day(terminal: str, count: int = DAY) -> list[bytes]:
    """A day of a terminal: a frame each quarter hour; the last is an event report."""
    start = minutes_ago(15 * count)
    times = [start + timedelta(minutes=15 * number) for number in range(count)]
    return [
        frame(terminal, ts, number / 8, sequence=number + 1, alarms=["MAG"] if number == count - 1 else None)
        for number, ts in enumerate(times)
    ]


def send(daemon: Daemon, frames: list[bytes]) -> None:
    client = Client(daemon.data_port)
    client.send(b"".join(frames))
    client.acknowledged(len(frames))
    client.close()
    delivered(daemon.site)


def register(site: Site, *terminals: str) -> None:
    with (site.registry / "terminals.csv").open("a") as file:
        file.writelines(f"{terminal},new-{terminal},,,\n" for terminal in terminals)


def adopt(site: Site) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["adopt", "--site", str(site.root)])
    assert result.exit_code == 0, f"{result.output}\n{result.exception}"
    return result.output


def received(site: Site) -> list[tuple[Any, ...]]:
    """Journal position and receive time of each frame that was kept aside, as the ledger has them."""
    return sorted((line["position"], line["received_at"]) for line in kept(site, "UNKNOWN_TERMINAL"))


def test_a_day_of_an_unknown_terminal_is_stored_once_it_is_registered_as_of_when_it_came(site: Site) -> None:
    with running(site) as daemon:
        send(daemon, day(STRANGER) + day(OTHER, 3))
        assert len(stored(site)) == 0
        register(site, STRANGER)
        text = adopt(site)
        assert f"{STRANGER}: {DAY} 帧 frames, {DAY} 新读数 new readings" in text
        assert f"{OTHER}: 仍未登记 / still unknown, 3 帧" in text
        rows = stored(site)
        assert rows["terminal"].unique().to_list() == [STRANGER]
        assert rows["forward_m3"].to_list() == [number / 8 for number in range(DAY)]
        mine = [line for line in kept(site, "UNKNOWN_TERMINAL") if line["terminal"] == STRANGER]
        assert sorted((at.isoformat(), position) for at, position in rows.select("received_at", "frame").iter_rows()) == sorted(
            (line["received_at"], line["position"]) for line in mine
        )
        written = rows_on_disk(site)
        assert "nothing to adopt" in adopt(site)
        assert stored(site).equals(rows)
        assert rows_on_disk(site) == written == DAY
    assert quarantine_counts(site.quarantine) == {"UNKNOWN_TERMINAL": 3}
    spans = ParquetStore(site.raw).arrivals(None).spans
    assert (spans["start"].min(), spans["end"].max()) == (rows["ts"].min(), rows["ts"].max())


def test_without_a_running_daemon_one_runs_for_just_this_time(site: Site) -> None:
    with running(site) as daemon:
        send(daemon, day(STRANGER))
    register(site, STRANGER)
    assert f"{STRANGER}: {DAY} 帧" in adopt(site)
    assert len(stored(site)) == DAY
    assert not (site.state / "daemon.json").exists()
    assert not (site.state / "adopt.json").exists()


def test_a_daemon_that_is_killed_again_and_again_adopts_everything_and_nothing_twice(site: Site) -> None:
    chance = random.Random(7)
    with running(site) as daemon:
        send(daemon, day(STRANGER, 700) + day(TERMINALS[0], 5))
    register(site, STRANGER)
    request = replay.ask(site)
    for _ in range(4):
        daemon = Daemon(site)
        time.sleep(chance.uniform(0, 0.3))
        daemon.kill()
    with running(site):
        done = eventually(lambda: replay.answer(site, request), "the request is answered")
    assert done.left == {}
    assert done.error == ""
    assert stored(site).filter(terminal=STRANGER)["forward_m3"].to_list() == [number / 8 for number in range(700)]
    assert list(unadopted_entries(site.quarantine)) == []


def lose_the_note(site: Site) -> None:
    """As if the daemon was killed after it stored the readings and before it noted that."""
    (site.quarantine / "adopted.jsonl").unlink()


def tear_the_note(site: Site) -> None:
    """As if it was killed while it wrote the note."""
    path = site.quarantine / "adopted.jsonl"
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("kill", [lose_the_note, tear_the_note])
def test_a_kill_before_the_note_is_whole_changes_nothing_in_the_store(site: Site, kill: Callable[[Site], None]) -> None:
    with running(site) as daemon:
        send(daemon, day(STRANGER, 10))
        register(site, STRANGER)
        adopt(site)
        before = stored(site)
        kill(site)
        assert list(unadopted_entries(site.quarantine))
        adopt(site)
    assert stored(site).equals(before)
    assert rows_on_disk(site) == 10
    assert kept(site, "CONFLICT") == []
    assert list(unadopted_entries(site.quarantine)) == []


def test_what_came_later_for_the_same_time_stays_and_what_it_lacks_is_completed(site: Site) -> None:
    ts = minutes_ago(60)
    with running(site) as daemon:
        send(daemon, [frame(STRANGER, ts, 1.0, pressure_mpa=0.3)])
        register(site, STRANGER)
        send(daemon, [frame(STRANGER, ts, 2.0, sequence=2)])
        adopt(site)
    (row,) = stored(site).to_dicts()
    assert (row["forward_m3"], row["pressure_mpa"]) == (2.0, 0.3)
    newest = (site.raw / "readings").rglob("*.parquet")
    last = pl.read_parquet(sorted(newest)[-1]).row(0, named=True)
    assert (last["forward_m3"], last["pressure_mpa"]) == (2.0, 0.3), "a store in which the last writer wins must agree"
    assert len(kept(site, "CONFLICT")) == 1


def test_alarms_of_an_unknown_terminal_become_events_of_their_time(site: Site) -> None:
    with embedded(site, 0) as dsn, running(site) as daemon:
        send(daemon, day(STRANGER, 5))
        register(site, STRANGER)
        adopt(site)
        query = "select meter, code, state, event_at from ops.alarm_event"

        def events() -> list[tuple[Any, ...]]:
            with psycopg.connect(dsn) as connection:
                return connection.execute(query).fetchall()

        told = eventually(events, "the alarm is told")
        assert told == [(f"new-{STRANGER}", "MAG", "raised", stored(site)["ts"].max())]
        lose_the_note(site)
        adopt(site)
        delivered(site)
        assert events() == told


def test_a_damaged_line_of_the_ledger_is_told_and_holds_nothing_up(site: Site) -> None:
    with running(site) as daemon:
        send(daemon, day(STRANGER, 2))
        with (site.quarantine / "UNKNOWN_TERMINAL.jsonl").open("a") as file:
            file.write("no JSON\n")
        register(site, STRANGER)
        assert "2 帧 frames" in adopt(site)
        assert "UNKNOWN_TERMINAL.jsonl line 3 is damaged and passed over: b'no JSON" in daemon.log.read_text()
        send(daemon, [frame(TERMINALS[0], minutes_ago(1), 5.0)])
        assert 5.0 in stored(site)["forward_m3"].to_list()
