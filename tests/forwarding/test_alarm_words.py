"""Alarms that are told inside ordinary data frames: ahead of the backlog, raised once and cleared once, whoever reads first."""

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ingest_daemon.codec_kit.api import Arrival
from ingest_daemon.codecs import sl651, szy206
from ingest_daemon.codecs.sl651.header import sealed
from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.terminal_state import TerminalState
from ingest_daemon.journal.reader import backlog
from tests.daemon_helpers import (
    TERMINALS,
    Client,
    Daemon,
    alarm_events,
    delivered,
    eventually,
    frame,
    make_site,
    minutes_ago,
    running,
)
from tests.forwarding.test_alarm_sink import word
from tests.meters import Dtu, modbus_meters

METER, OTHER = TERMINALS[:2]
STATION, BEHIND_A_DTU = "1100000A1C", "0000000001"
MAP = """
protocol = ["modbus_rtu"]
[[registers]]
field = "forward_m3"
address = 0
type = "u16"
[[alarms]]
address = 1
code = "EMPTY"
"""


def data_frame(ts: datetime, *active: str) -> bytes:
    """A timed report (32H) of METER with an alarm word."""
    raw = frame(METER, ts, 1, alarms=active)
    return sealed(raw[:10] + bytes((sl651.TIMED,)) + raw[11:-2])


def self_report(ts: datetime, *active: str) -> bytes:
    """A self-report (C0) of the szy206 station."""
    (raw,) = szy206.reports(STATION, pl.DataFrame({"ts": [ts], "flow_m3h": [1.0], "forward_m3": [1.0]}), active=active)
    return raw


@pytest.fixture
def site(tmp_path: Path, dsn: str) -> Site:
    """A site of three protocols on one port."""
    site = make_site(tmp_path / "site", "data_protocol = 'auto'\n[poll]\nanswer_s = 0.8\ntries = 2\nspread_s = 0\n")
    (site.registry / "profiles").mkdir()
    (site.registry / "profiles" / "made-up.toml").write_text(MAP)
    lines = (
        "terminal,meter,protocol,profile,link,address,step_min",
        f"{METER},M1,sl651,,,,15",
        f"{OTHER},M2,sl651,,,,15",
        f"{STATION},M3,szy206,,,,15",
        f"{BEHIND_A_DTU},M4,modbus_rtu,made-up,DTU-1,1,15",
    )
    (site.registry / "terminals.csv").write_text("\n".join(lines) + "\n")
    site.state.mkdir()
    write_json(site.state / "postgres.json", {"dsn": dsn}, durable=False)
    return site


def test_alarms_of_every_protocol_appear_at_once_while_the_store_is_away_and_are_cleared_once(site: Site, dsn: str) -> None:
    site.raw.write_text("a file where the archive's folder must be")
    raised, cleared = minutes_ago(20), minutes_ago(10)
    with running(site) as daemon, modbus_meters({1: [7, 1]}, rtu=True) as line:
        client = Client(daemon.data_port)
        client.send(b"".join(frame(OTHER, minutes_ago(9000 - n), n, sequence=n + 1) for n in range(5000)))
        client.acknowledged(5000)
        for _ in range(3):  # repeated, as terminals do
            client.send(data_frame(raised, "MAG", "P_HI"))
            with closing(Client(daemon.data_port)) as other:
                other.send(self_report(raised, "Q_HI"))
        with closing(Dtu(daemon.data_port, b"DTU-1", line)):
            eventually(lambda: len(alarm_events(dsn)) == 4, "the alarms of all three")
        client.acknowledged(3)
        assert backlog(site)["data"] > 0
        eventually(lambda: backlog(site)["alarm-events"] == 0, "the repeated ones are dealt with")
    pairs = [(METER, "MAG"), (METER, "P_HI"), (STATION, "Q_HI"), (BEHIND_A_DTU, "EMPTY")]
    assert [event[:3] for event in alarm_events(dsn)] == [(*pair, "raised") for pair in pairs]

    with running(site) as daemon, modbus_meters({1: [8, 0]}, rtu=True) as line:
        client = Client(daemon.data_port)
        client.send(data_frame(cleared) + data_frame(raised, "MAG", "P_HI"))
        client.acknowledged(2)
        with closing(Client(daemon.data_port)) as other, closing(Dtu(daemon.data_port, b"DTU-1", line)):
            other.send(self_report(cleared))
            site.raw.unlink()
            eventually(lambda: len(alarm_events(dsn)) == 8, "all are cleared")
        client.send(data_frame(minutes_ago(5)))
        client.acknowledged(1)
        delivered(site)
        eventually(lambda: backlog(site)["events"] == 0, "what is told is dealt with")
    found: list[Any] = alarm_events(dsn)
    assert sorted(event[:3] for event in found) == sorted((*pair, state) for pair in pairs for state in ("raised", "cleared"))
    assert {event[3] for event in found if event[0] in (METER, STATION) and event[2] == "cleared"} == {cleared}


@pytest.mark.parametrize("restarted", [False, True])
def test_an_alarm_that_comes_after_the_data_frame_in_which_it_is_over_does_not_stay_open(
    site: Site, dsn: str, restarted: bool
) -> None:
    raised, over = minutes_ago(20), minutes_ago(10)
    daemon = Daemon(site)
    client = Client(daemon.data_port)
    client.send(data_frame(over))
    client.acknowledged(1)
    delivered(site)
    if restarted:
        daemon.kill()
        daemon = Daemon(site)
        client = Client(daemon.data_port)
    client.send(data_frame(raised, "MAG"))
    client.acknowledged(1)
    eventually(lambda: len(alarm_events(dsn)) == 2, "raised and cleared")
    assert daemon.stop() == 0
    assert [event[1:4] for event in alarm_events(dsn)] == [("MAG", "raised", raised), ("MAG", "cleared", over)]


def test_who_hears_an_alarm_late_hears_what_is_known_since() -> None:
    memory = TerminalState()
    memory.new_alarm_words([word(10, "MAG"), word(20)])
    assert memory.since([word(10, "MAG"), word(15, "BATT")]) == [word(20)._replace(received_us=15)]
    assert memory.since([word(15)]) == memory.since([word(20)]) == memory.since([word(30, "MAG")]) == []


GROUP = bytes.fromhex("F0F02607010800")


@pytest.mark.parametrize(
    ("elements", "profile", "alarm"),
    [
        ("FFA1 2B 0012345678", {}, False),
        ("FFA1 2B 0012345678 FFA4 10 0000", {}, False),
        ("FFA1 2B 0012345678 FFA4 10 0080", {}, True),
        ("FFA4 10 FFFF", {}, False),  # no value
        ("FFA4 10 4000", {}, False),  # bit 14 has no code
        ("FFA4 10 4000", {"alarm": {"bits": [""] * 14 + ["EMPTY"]}}, True),
        ("FFA4 10 0080", {"alarm": {"id": "FF22"}}, False),
        ("FF22 08 01", {"alarm": {"id": "FF22", "bits": ["MAG"]}}, True),
        ("45 20 00000001", {"alarm": {"id": "45", "bits": ["MAINS"]}}, True),
        ("38 12 4520 FFA1 2B 0012345678", {"alarm": {"id": "45", "bits": ["MAINS"]}}, False),  # 45 in another's value
        ("45 20 FFA41001", {}, False),  # FFA4 in another's value
        ("45 20 F0F0FFA4 FFA4 10 0001", {}, True),
        ("FFA4 10 0000 F0F02607010815 FFA4 10 0001 F0F02607010830 FFA4 10 0000", {}, True),
        ("FFA4 10 0001 FFA1 2B 00", {}, True),  # torn behind it
        ("FFA4 10", {}, False),
        ("FFA4", {}, False),
    ],
)
def test_of_a_timed_report_only_a_bit_that_has_a_code_makes_an_alarm(elements: str, profile: dict[str, Any], alarm: bool) -> None:
    body = bytes.fromhex("0007260701080012F1F1003101000149") + GROUP + bytes.fromhex(elements)
    head = bytes.fromhex("7E7E010031010001123432") + len(body).to_bytes(2, "big") + b"\x02"
    raw = sealed(head + body + b"\x03")
    settings = sl651.profile(profile)
    assert sl651.is_alarm(Arrival(raw), settings) == alarm
    assert any(map(len, sl651.decode([Arrival(raw)], {"0031010001": settings}).alarms["active"])) == alarm
    assert sl651.is_alarm(Arrival(b"".join(sl651.in_packets(raw, 9))), settings) == alarm
    assert sl651.is_alarm(Arrival(raw + raw, requests=(b"",)), settings) == alarm
