"""Terminals that speak only when asked, through a real daemon, real Modbus servers and DTUs that call in."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon.reception.poller import next_due
from tests.daemon_helpers import (
    Client,
    Daemon,
    counted,
    eventually,
    frame,
    kept,
    make_site,
    minutes_ago,
    read_json,
    running,
    stored,
)
from tests.meters import Dtu, f32, modbus_meters, u32

MAP = """
protocol = ["modbus_rtu", "modbus_tcp"]
function = 3
[[registers]]
field = "flow_m3h"
address = 0
type = "f32"
[[registers]]
field = "forward_m3"
address = 2
type = "u32"
[[registers]]
field = "forward_m3"
address = 4
type = "f32"
[[registers]]
field = "pressure_mpa"
address = 90
type = "u16"
unit = "kPa"
[[alarms]]
address = 91
code = "EMPTY"
"""
COLUMNS = "terminal,meter,protocol,profile,link,address,step_min,q4_m3h\n"


def registers(flow_m3h: float, whole_m3: int, part_m3: float, pressure_kpa: int, alarm: int) -> list[int]:
    return [*f32(flow_m3h), *u32(whole_m3), *f32(part_m3), *[0] * 84, pressure_kpa, alarm, *[0] * 8]


METERS = {1: registers(12.5, 70_000, 0.25, 312, 0), 2: registers(-3.5, 16_777_217, 0.5, 298, 1)}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose data port tells protocols by the first bytes."""
    site = make_site(tmp_path / "site", "data_protocol = 'auto'\n[poll]\nanswer_s = 0.8\ntries = 2\nspread_s = 0\n")
    (site.registry / "profiles").mkdir()
    (site.registry / "profiles" / "made-up.toml").write_text(MAP)
    register(site.registry, "")
    with running(site) as found:
        yield found


def register(folder: Path, lines: str) -> None:
    path = folder / "terminals.csv"
    path.with_suffix(".new").write_text(COLUMNS + lines)
    path.with_suffix(".new").replace(path)


def readings(daemon: Daemon, count: int) -> pl.DataFrame:
    eventually(lambda: len(stored(daemon.site)) >= count, f"{count} readings are stored", 30)
    return stored(daemon.site)


def test_meters_behind_a_dtu_are_asked_and_one_round_of_answers_is_one_reading(daemon: Daemon) -> None:
    register(
        daemon.site.registry,
        "0000000001,M1,modbus_rtu,made-up,864123456789012,1,15,20\n0000000002,M2,modbus_rtu,made-up,864123456789012,2,15,20\n",
    )
    with modbus_meters(METERS, rtu=True) as line:
        dtu = Dtu(daemon.data_port, b"REG:864123456789012\r\n", line, heartbeat=b"ping")
        found = readings(daemon, 2).sort("terminal")
        counted(daemon.site, "polls", {"answered": 2})
        eventually(lambda: read_json(daemon.site.state / "counters.json")["heartbeats"] > 2, "signs of life are counted")
        dtu.close()
    assert found.select("terminal", "flow_m3h", "forward_m3", "pressure_mpa", "channel").rows() == [
        ("0000000001", 12.5, 70_000.25, 0.312, "tcp"),
        ("0000000002", -3.5, 16_777_217.5, 0.298, "tcp"),
    ]
    assert (found["received_at"] - found["ts"]).dt.total_microseconds().is_between(0, 1000).all()
    assert read_json(daemon.site.state / "counters.json")["bad"] == {}


def test_a_meter_that_is_away_is_asked_again_and_holds_up_no_other(daemon: Daemon) -> None:
    register(
        daemon.site.registry,
        "0000000009,M9,modbus_rtu,made-up,DTU-9,9,15,20\n0000000001,M1,modbus_rtu,made-up,DTU-9,1,15,20\n",
    )
    with modbus_meters(METERS, rtu=True) as line:
        dtu = Dtu(daemon.data_port, b"DTU-9", line, away=[9])
        assert readings(daemon, 1)["terminal"].to_list() == ["0000000001"]
        eventually(lambda: read_json(daemon.site.state / "counters.json")["polls"].get("unanswered"), "the other is counted")
        dtu.close()
    assert "0000000009" in daemon.log.read_text()


def test_a_meter_with_an_address_of_its_own_is_dialled_and_dialled_again_when_it_was_away(daemon: Daemon) -> None:
    with modbus_meters(METERS, rtu=False) as port:
        register(daemon.site.registry, f"0000000001,M1,modbus_tcp,made-up,127.0.0.1:{port},1,1,20\n")
        assert readings(daemon, 1)["forward_m3"].to_list() == [70_000.25]
    eventually(lambda: "does not answer" in daemon.log.read_text(), "that the meter is away is said")


def test_a_port_that_tells_protocols_by_the_first_bytes_serves_a_terminal_that_reports_by_itself(daemon: Daemon) -> None:
    register(daemon.site.registry, "0000001001,M1,sl651,,,,15,20\n")
    client = Client(daemon.data_port)
    client.send(frame("0000001001", minutes_ago(5), 1.5))
    assert client.acknowledged(1) == [1]
    assert readings(daemon, 1)["forward_m3"].to_list() == [1.5]


def test_a_dtu_that_nobody_registered_is_kept_aside_by_its_first_bytes_and_asked_once_it_is_registered(daemon: Daemon) -> None:
    with modbus_meters(METERS, rtu=True) as line:
        dtu = Dtu(daemon.data_port, b"DTU-77", line, heartbeat=b"DTU-77")
        eventually(lambda: read_json(daemon.site.state / "counters.json")["bad"].get("UNKNOWN_LINK"), "it is refused by reason")
        register(daemon.site.registry, "0000000001,M1,modbus_rtu,made-up,DTU-77,1,15,20\n")
        assert readings(daemon, 1)["forward_m3"].to_list() == [70_000.25]
        dtu.close()
    assert kept(daemon.site, "UNKNOWN_TERMINAL") == []


@given(st.floats(0, 4e9), st.integers(1, 1440), st.text("0123456789", min_size=1, max_size=10), st.floats(0, 600))
def test_a_terminal_is_polled_once_a_step_at_the_same_second_of_it(
    now_s: float, step_min: int, terminal: str, spread_s: float
) -> None:
    due_s = next_due(now_s, step_min, terminal, spread_s)
    assert now_s < due_s <= now_s + 60 * step_min + 1e-3
    assert next_due(due_s + 1e-3, step_min, terminal, spread_s) == pytest.approx(due_s + 60 * step_min, abs=1e-3)
    assert due_s % (60 * step_min) <= min(spread_s, 30 * step_min) + 1e-3
