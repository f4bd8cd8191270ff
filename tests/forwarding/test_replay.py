"""`mainflow journal replay`: what was received is decoded again, and the raw store has what is said today, once."""

import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding import replay as replay_requests
from ingest_daemon.forwarding.quarantine import counts as quarantine_counts
from ingest_daemon.journal.reader import walk
from ingest_daemon.stores import RawStore, open_store
from ingest_daemon.stores.points import KEY, POSITION
from ingest_daemon.stores.settings import StoreSettings
from pipelines.cli.main import main
from tests.daemon_helpers import (
    TERMINALS,
    Client,
    Daemon,
    eventually,
    forwarded,
    frame,
    kept,
    make_site,
    minutes_ago,
    rows_on_disk,
    running,
    stored,
)
from tests.gain_codec import install
from tests.influx_server import InfluxServer, missing, running_influxdb

A, B, UNREGISTERED = "7001", "7002", "7003"
NOW_MIN = int(time.time()) // 60
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def influx_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why := missing():
        pytest.skip(why)
    with running_influxdb(tmp_path_factory.mktemp("influxdb")) as url:
        yield url


class Ground:
    """A site whose terminals speak `gain`, its daemon's environment and its raw store."""

    def __init__(self, root: Path, store: StoreSettings) -> None:
        self.site = make_site(root / "site", segment_mb=1)
        self.environment = {"PYTHONPATH": install(root / "extra"), "MAINFLOW_DAEMON_DATA_PROTOCOL": "gain"}
        self.store: RawStore = open_store(self.site, store)
        with self.site.settings.open("a") as file:
            file.write(f"[store]\nkind = '{store.kind}'\ninflux_url = '{store.influx_url}'\n")
            file.write(f"influx_database = '{store.influx_database}'\n[site]\nzone = 'UTC'\n")
        self.register(A, B)
        self.profile(factor=1.0)

    def register(self, *terminals: str) -> None:
        lines = [f"{terminal},M{terminal},gain,mine" for terminal in terminals]
        (self.site.registry / "terminals.csv").write_text("\n".join(["terminal,meter,protocol,profile", *lines]) + "\n")

    def profile(self, **settings: float) -> None:
        path = self.site.registry / "profiles" / "mine.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("protocol = 'gain'\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        if (self.site.state / "daemon.json").exists():
            in_force = self.site.state / "registry" / "profiles" / path.name
            eventually(lambda: in_force.read_text() == path.read_text(), "the daemon took the profile over")

    @contextmanager
    def running(self) -> Iterator[Daemon]:
        daemon = Daemon(self.site, **self.environment)
        try:
            yield daemon
        finally:
            if daemon.process.poll() is None:
                daemon.stop()

    def readings(self) -> pl.DataFrame:
        return self.store.read(*ALWAYS)

    def values(self) -> list[tuple[Any, ...]]:
        """Terminal, minutes before now, register and pressure of every point."""
        ts = (pl.col("ts").dt.epoch("s") // 60 - NOW_MIN).alias("minute")
        return self.readings().select("terminal", ts, "forward_m3", "pressure_mpa").rows()

    def arrived(self) -> str:
        return self.store.arrivals(None).cursor


@pytest.fixture(params=["parquet", "influxdb"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    url = request.getfixturevalue("influx_url") if request.param == "influxdb" else "http://127.0.0.1:9"
    name = "replay_" + "".join(letter for letter in tmp_path.name if letter.isalnum())
    return Ground(tmp_path, StoreSettings(kind=request.param, influx_url=url, influx_database=name))


def send(daemon: Daemon, *lines: str) -> None:
    """Each line in a frame of its own, acknowledged, and forwarded."""
    with socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10) as connection:
        for line in lines:
            connection.sendall(line.encode() + b"\n")
            assert connection.recv(1000) == f"ok {line}\n".encode()
    eventually(lambda: forwarded(daemon.site), "everything is forwarded")


def line(terminal: str, minute: int, count: int, *pressure: float) -> str:
    return " ".join(str(item) for item in (terminal, NOW_MIN + minute, count, *pressure))


def replay(ground: Ground, *arguments: str, code: int = 0) -> str:
    command = ["journal", "replay", "--site", str(ground.site.root), *arguments]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, command)
    assert result.exit_code == code, f"{result.output}\n{result.exception}"
    return result.output


def test_a_corrected_profile_replaces_the_values_with_their_old_receive_times_and_positions(ground: Ground) -> None:
    with ground.running() as daemon:
        ground.profile(factor=10.0)
        send(daemon, *(line(A, number - 20, number) for number in range(1, 11)), line(B, -3, 7, 0.25))
        wrong = ground.readings()
        ground.profile(factor=0.1)
        assert "11 帧 frames, 0 新读数 new readings, 11 更正 corrected" in replay(ground)
        right = ground.readings()
        assert_frame_equal(right.with_columns(forward_m3=pl.col("forward_m3") * 100), wrong)
        assert right["forward_m3"].to_list() == pytest.approx([number / 10 for number in [*range(1, 11), 7]])
        assert kept(ground.site, "CONFLICT") == []
        before = ground.arrived(), rows_on_disk(ground.site)
        assert "11 帧 frames, 0 新读数 new readings, 0 更正 corrected" in replay(ground)
        assert (ground.arrived(), rows_on_disk(ground.site)) == before, "what is right already was written again"
    assert_frame_equal(ground.readings(), right)


@pytest.mark.parametrize("minutes", [-15, 480])
def test_readings_that_had_the_wrong_time_move_and_none_is_there_twice_or_lost(ground: Ground, minutes: int) -> None:
    count = 40
    ground.profile(minutes=-700)
    with ground.running() as daemon:
        send(daemon, *(line(A, 15 * (number - count), number) for number in range(count)), line(B, -3, 7))
        cursor = ground.arrived()
        first = ground.readings()
        ground.profile(minutes=minutes - 700)
        assert f"{count + 1} 撤回 withdrawn" in replay(ground)
        moved = ground.readings()
        assert_frame_equal(moved, first.with_columns(ts=pl.col("ts") + pl.duration(minutes=minutes)))
        touched = ground.store.arrivals(cursor).spans
        assert touched["start"].min() == min(first["ts"].min(), moved["ts"].min())  # type: ignore[type-var]
        assert touched["end"].max() == max(first["ts"].max(), moved["ts"].max())  # type: ignore[type-var]
        assert "0 新读数 new readings, 0 更正 corrected, 0 撤回" in replay(ground)
    assert kept(ground.site, "CONFLICT") == []


def test_a_move_over_the_edge_of_a_group_loses_nothing(ground: Ground) -> None:
    hook = Path(ground.environment["PYTHONPATH"].split(":")[0]) / "sitecustomize.py"
    hook.write_text(
        hook.read_text()
        + "import ingest_daemon.forwarding.reprocessing\ningest_daemon.forwarding.reprocessing.BATCH_FRAMES = 3\n"
    )
    for minutes in (0, 15, -30):
        ground.profile(minutes=minutes - 700)
        with ground.running() as daemon:
            if not minutes:
                send(daemon, *(line(A, 15 * number, number) for number in range(20)))
            replay(ground)
        assert ground.values() == [(A, 15 * number + minutes - 700, float(number), None) for number in range(20)]


def test_a_withdrawn_point_is_gone_and_its_neighbours_stay(ground: Ground) -> None:
    at = datetime(2026, 7, 1, tzinfo=UTC)
    names = ["o'neil", A, "表 ,="]
    rows = pl.DataFrame(
        [
            dict.fromkeys(READING)
            | {"terminal": name, "ts": ts, "forward_m3": 1.0, "received_at": at, "channel": "tcp", "stream": "data", "frame": 7}
            for name in names
            for ts in (at, at + timedelta(minutes=15))
        ],
        schema=READING,
    )
    ground.store.write(rows)
    cursor = ground.arrived()
    gone = rows.filter(pl.col("ts") == at, pl.col("terminal") != A)
    ground.store.withdraw(gone.select(KEY + POSITION))
    assert_frame_equal(ground.readings(), rows.join(gone, on=KEY + POSITION, how="anti").sort(KEY))
    assert ground.store.arrivals(cursor).spans.rows() == [(at, at)]
    ground.store.withdraw(gone.select(KEY + POSITION))
    assert len(ground.readings()) == 4


def test_corrected_days_are_told_as_arrived_and_others_are_not(ground: Ground) -> None:
    with ground.running() as daemon:
        send(daemon, line(A, -5000, 1), line(B, -10, 2))
        cursor = ground.arrived()
        ground.profile(factor=3.0)
        replay(ground, "--terminal", A)
    (span,) = ground.store.arrivals(cursor).spans.rows()
    assert span[0] == span[1] == datetime.fromtimestamp((NOW_MIN - 5000) * 60, UTC)
    assert [value for *_, value, _ in ground.values()] == [3.0, 2.0]


def test_only_what_was_asked_for_is_decoded_again(ground: Ground) -> None:
    with ground.running() as daemon:
        send(daemon, *(line(A, number - 20, 1) for number in range(3)))
        time.sleep(0.05)
        between = datetime.now(UTC)
        time.sleep(0.05)
        send(daemon, *(line(A, number - 10, 1) for number in range(3)))
        records = [record for chunk in walk(ground.site.journal / "data") for record in chunk.records]
        told = between.replace(tzinfo=None).isoformat()
        for factor, arguments, corrected in (
            (2.0, ["--to", told], [2, 2, 2, 1, 1, 1]),
            (3.0, ["--from", told], [2, 2, 2, 3, 3, 3]),
            (4.0, ["--stream", "data", "--from", str(records[1].position), "--to", str(records[2].position)], [2, 4, 2, 3, 3, 3]),
            (5.0, ["--stream", "alarm"], [2, 4, 2, 3, 3, 3]),
            (6.0, ["--terminal", B], [2, 4, 2, 3, 3, 3]),
        ):
            ground.profile(factor=factor)
            replay(ground, *arguments)
            assert [value for *_, value, _ in ground.values()] == corrected, arguments


def test_the_later_of_two_frames_stays_later_and_their_contradiction_is_told_once(ground: Ground) -> None:
    with ground.running() as daemon:
        send(daemon, line(A, -5, 1, 0.3))
        send(daemon, line(A, -5, 2))
        assert ground.values() == [(A, -5, 2.0, 0.3)]
        assert len(kept(ground.site, "CONFLICT")) == 1
        position = ground.readings()["frame"].to_list()
        ground.profile(factor=10.0)
        replay(ground)
        assert ground.values() == [(A, -5, 20.0, 0.3)]
        replay(ground, "--stream", "data", "--from", "0", "--to", str(position[0]))
        assert ground.values() == [(A, -5, 20.0, 0.3)], "the earlier frame alone must not win"
        assert ground.readings()["frame"].to_list() == position
    assert len(kept(ground.site, "CONFLICT")) == 1


def test_what_was_kept_aside_and_is_understood_now_comes_in_and_is_not_kept_twice(ground: Ground) -> None:
    with ground.running() as daemon:
        send(daemon, line(UNREGISTERED, -5, 1), line("7004", -5, 1), line(A, +4000, 1))
        assert quarantine_counts(ground.site.quarantine) == {"UNKNOWN_TERMINAL": 2, "FUTURE_TIME": 1}
        ground.register(A, B, UNREGISTERED)
        ground.profile(minutes=0)
        assert "1 新读数 new readings" in replay(ground)
        assert ground.values() == [(UNREGISTERED, -5, 1.0, None)]
        assert quarantine_counts(ground.site.quarantine) == {"UNKNOWN_TERMINAL": 1, "FUTURE_TIME": 1}
        assert len(kept(ground.site, "FUTURE_TIME")) == 1
        ground.profile(minutes=-4000)
        assert "1 新读数" in replay(ground, "--terminal", A)
        assert (A, 0, 1.0, None) in ground.values()


def test_without_a_running_daemon_one_runs_for_just_this_time(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    with ground.running() as daemon:
        send(daemon, line(A, -5, 1))
    ground.profile(factor=7.0)
    monkeypatch.setenv("PYTHONPATH", ground.environment["PYTHONPATH"])
    assert "1 更正 corrected" in replay(ground)
    assert ground.values() == [(A, -5, 7.0, None)]
    assert not (ground.site.state / "replay.json").exists()


def test_a_daemon_that_is_killed_again_and_again_replays_everything_while_new_frames_come_in(ground: Ground) -> None:
    chance = random.Random(11)
    count = 3000
    with ground.running() as daemon, socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10) as connection:
        sent = "".join(line(A, number - count - 50, number) + "\n" for number in range(count))
        connection.sendall(sent.encode())
        acknowledged = b""
        while acknowledged.count(b"\n") < count and (data := connection.recv(65536)):
            acknowledged += data
        eventually(lambda: forwarded(ground.site), "everything is forwarded")
    ground.profile(factor=0.5)
    request = replay_requests.ask(ground.site, replay_requests.ReplayRange())
    assert replay_requests.ask(ground.site, replay_requests.ReplayRange()) == request
    with pytest.raises(ValueError, match="another replay waits"):
        replay_requests.ask(ground.site, replay_requests.ReplayRange(terminal=B))
    for kill in range(4):
        daemon = Daemon(ground.site, **ground.environment)
        with socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10) as connection:
            connection.sendall((line(B, kill - 20, kill) + "\n").encode())
            connection.recv(1000)
        time.sleep(chance.uniform(0, 0.3))
        daemon.kill()
    with ground.running():
        done = eventually(lambda: replay_requests.answer(ground.site, request), "the request is answered")
        eventually(lambda: forwarded(ground.site), "everything is forwarded")
    assert done.error == ""
    found = {(terminal, minute): value for terminal, minute, value, _ in ground.values()}
    wanted = {(A, number - count - 50): number / 2 for number in range(count)} | {(B, k - 20): k / 2 for k in range(4)}
    assert found == wanted
    assert len(ground.readings()) == len(wanted)
    assert quarantine_counts(ground.site.quarantine) == {}


def test_a_position_without_its_stream_and_a_time_that_is_none_are_told(tmp_path: Path) -> None:
    ground = Ground(tmp_path, StoreSettings())
    assert "--stream data" in replay(ground, "--from", "100", code=2)
    assert "expected a local time" in replay(ground, "--from", "yesterday", code=2)


def test_what_the_journal_has_no_more_is_left_as_it_is(tmp_path: Path) -> None:
    ground = Ground(tmp_path, StoreSettings())
    with ground.running() as daemon:
        send(daemon, line(A, -5, 1))
    (segment,) = (ground.site.journal / "data").glob("*.journal")
    segment.rename(tmp_path / "gone")
    with ground.running():
        ground.profile(factor=9.0)
        assert "0 帧 frames" in replay(ground)
    assert ground.values() == [(A, -5, 1.0, None)]


def test_a_span_survives_the_request_file(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.state.mkdir()
    span = replay_requests.ReplayRange(("data",), 1, 2, 3, 4, A)
    name = replay_requests.ask(site, span)
    assert replay_requests.asked(site) == (name, span)
    replay_requests.reply(site, replay_requests.ReplayRequest(name, span), replay_requests.ReplayResult(frames={A: 1}))
    assert replay_requests.asked(site) is None
    assert replay_requests.answer(site, name) == replay_requests.ReplayResult(frames={A: 1})
    assert json.loads((site.state / "replayed.json").read_text())["request"] == name


def test_frames_that_came_together_at_one_position_of_two_streams_are_told_apart(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with running(site) as daemon:
        client = Client(daemon.data_port)
        # In one piece, so with one receive time; each is the first of its stream, so at position 0.
        client.send(
            frame(TERMINALS[0], minutes_ago(2), 1.0) + frame(TERMINALS[0], minutes_ago(3), 2.0, sequence=2, alarms=["MAG"])
        )
        client.acknowledged(2)
        eventually(lambda: forwarded(site), "everything is forwarded")
        before = stored(site)
        assert before["frame"].to_list() == [0, 0]
        # As if the data frame had given another time before.
        other = before.tail(1).with_columns(ts=pl.col("ts") - pl.duration(hours=1))
        store = open_store(site, StoreSettings())
        store.withdraw(before.tail(1).select(KEY + POSITION))
        store.write(other)
        request = replay_requests.ask(site, replay_requests.ReplayRange())
        done = eventually(lambda: replay_requests.answer(site, request), "the request is answered")
        assert (done.readings, done.withdrawn) == ({TERMINALS[0]: 1}, {TERMINALS[0]: 1})
        assert_frame_equal(stored(site), before)


def test_a_replay_that_waits_for_the_store_goes_on_when_it_is_back_and_alarms_went_first(tmp_path: Path) -> None:
    if why := missing():
        pytest.skip(why)
    influx = InfluxServer(tmp_path / "influxdb")
    influx.start()
    ground = Ground(tmp_path, StoreSettings(kind="influxdb", influx_url=influx.url))
    with (ground.site.registry / "terminals.csv").open("w") as file:
        file.write(f"terminal,meter,protocol,profile\n{A},MA,gain,mine\n{TERMINALS[0]},M,,\n")
    try:
        with ground.running() as daemon:
            send(daemon, *(line(A, number - 20, 1) for number in range(5)))
            influx.kill()
            ground.profile(factor=4.0)
            request = replay_requests.ask(ground.site, replay_requests.ReplayRange())
            with socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10) as connection:
                connection.sendall((line(A, -1, 2) + "\n").encode())
                assert connection.recv(1000)
            alarm = Client(daemon.alarm_port)
            alarm.send(frame(TERMINALS[0], minutes_ago(1), 9.0, alarms=["MAG"]))
            alarm.acknowledged(1)
            time.sleep(1)
            assert replay_requests.answer(ground.site, request) is None
            influx.start()
            done = eventually(lambda: replay_requests.answer(ground.site, request), "the request is answered", 60)
            eventually(lambda: forwarded(ground.site), "everything is forwarded")
        assert (done.error, done.corrected) == ("", {A: 5})
        assert sorted(ground.readings()["forward_m3"].to_list()) == [4.0] * 5 + [8.0, 9.0]
    finally:
        influx.kill()
