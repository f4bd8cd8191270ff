"""TCP and SMS through one real daemon: the same reading by both ways is one reading, and an alarm goes out as an SMS."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.daemon_helpers import (
    SECRET,
    STRANGER,
    Client,
    Daemon,
    FakeGateway,
    counted,
    delivered,
    eventually,
    frame,
    kept,
    make_site,
    minutes_ago,
    post,
    read_json,
    running,
)

METER, PHONE = "0000002001", "13800138000"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    found = FakeGateway()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def daemon(tmp_path: Path, gateway: FakeGateway) -> Iterator[Daemon]:
    settings = f"[sms]\non = true\nport = 0\nsecret = '{SECRET}'\ngateway_url = '{gateway.url}'\nrecipients = '13900139000'\n"
    site = make_site(tmp_path / "site", settings)
    (site.registry / "terminals.csv").write_text(
        f"terminal,meter,phone,q4_m3h\n{METER},M1,{PHONE},20\n0000002002,M2,13700137000,20\n"
    )
    with running(site) as found:
        yield found


def taken(daemon: Daemon, path: str, body: object, secret: str = SECRET) -> int:
    """Status of what the SMS port answers."""
    return post(read_json(daemon.site.state / "daemon.json")["sms_port"], path, body, X_Mainflow_Secret=secret)[0]


def sms(raw: bytes, number: str = PHONE, name: str = "1") -> dict[str, str]:
    return {"sender": number, "content": raw.hex(), "id": name, "time": datetime.now(UTC).isoformat()}


def test_the_same_reading_by_tcp_and_by_sms_is_one_reading(daemon: Daemon) -> None:
    raw = frame(METER, minutes_ago(5), 12.5)
    client = Client(daemon.data_port)
    client.send(raw)
    assert client.acknowledged(1) == [1]
    assert taken(daemon, "/sms", sms(raw)) == 200
    counted(daemon.site, "duplicates", 1)
    assert delivered(daemon.site).select("terminal", "forward_m3", "channel").rows() == [(METER, 12.5, "tcp")]


def test_a_reading_that_comes_by_sms_alone_is_stored_and_says_so(daemon: Daemon) -> None:
    assert taken(daemon, "/sms", sms(frame(METER, minutes_ago(5), 12.5))) == 200
    eventually(lambda: len(delivered(daemon.site)) == 1, "the reading is stored")
    assert delivered(daemon.site).select("forward_m3", "channel").rows() == [(12.5, "sms")]


def test_who_does_not_know_the_secret_sends_nothing(daemon: Daemon) -> None:
    assert taken(daemon, "/sms", sms(frame(METER, minutes_ago(5), 12.5)), secret="another") == 401


def test_a_station_is_not_believed_from_anothers_number_and_a_stranger_is_quarantined(daemon: Daemon) -> None:
    assert taken(daemon, "/sms", sms(frame("0000002002", minutes_ago(5), 1.0), name="1")) == 200
    assert taken(daemon, "/sms", sms(frame(STRANGER, minutes_ago(5), 1.0), name="2")) == 200
    counted(daemon.site, "quarantined", {"FOREIGN_SENDER": 1, "UNKNOWN_TERMINAL": 1})
    assert [line["terminal"] for line in kept(daemon.site, "FOREIGN_SENDER")] == ["0000002002"]


def test_an_alarm_of_grafana_goes_out_as_an_sms(daemon: Daemon, gateway: FakeGateway) -> None:
    alert = {
        "status": "firing",
        "fingerprint": "f1",
        "labels": {"alertname": "P_LO", "severity": "critical"},
        "annotations": {"summary": "压力越下限：高地雅苑小区 (K10015) 0.122 MPa"},
    }
    assert taken(daemon, "/alarms", {"status": "firing", "alerts": [alert]}) == 200
    eventually(lambda: gateway.posted, "the gateway is told")
    assert gateway.posted[0]["to"] == "13900139000"
    assert "压力越下限" in gateway.posted[0]["text"]
