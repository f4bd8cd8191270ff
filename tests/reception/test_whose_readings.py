"""A frame whose header and body name different stations: what is judged is what is stored, over every way in."""

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from ingest_daemon import codecs
from ingest_daemon.codecs import sl651
from ingest_daemon.codecs.sl651.ascii_form import sealed_letters
from ingest_daemon.codecs.sl651.header import sealed
from ingest_daemon.contract.files import write_json
from ingest_daemon.contract.schema import BEIJING
from ingest_daemon.contract.site import Site
from ingest_daemon.forwarding.triage import TimeLimits, triage
from ingest_daemon.journal.envelope import RecordHeader, encode_header
from ingest_daemon.journal.records import Record
from ingest_daemon.reception.access import AccessSettings, SenderVerifier
from ingest_daemon.terminals.directory import TerminalDirectory
from ingest_daemon.terminals.registry import Registry, Terminal
from tests.codecs.test_codecs import GOOD, Case, arrivals, every_good_case, frames_of, profiles
from tests.codecs.test_codecs import fed as fed_to_codec
from tests.daemon_helpers import (
    STRANGER,
    TERMINALS,
    Client,
    alarm_events,
    delivered,
    eventually,
    frame,
    kept,
    make_site,
    minutes_ago,
    read_json,
    running,
)

SENDER, LOCKED, OPEN, RELAYED = TERMINALS[:4]
"""A registered sender, and others in bodies: one with a password, one without, one on the sender's link."""
ANY_TIME = TimeLimits(timedelta(days=36500), timedelta(days=36500))
STRICTEST = {"unknown": "ignore", "wrong_password": "refuse", "foreign_station": "refuse", "replayed": "refuse"}


def registered(root: Path, more: str, dsn: str = "") -> Site:
    """A site of these four terminals."""
    site = make_site(root, more)
    lines = (
        "terminal,meter,link,password",
        f"{SENDER},M1,DTU-1,",
        f"{LOCKED},M2,,12AB",
        f"{OPEN},M3,,",
        f"{RELAYED},M4,DTU-1,",
    )
    (site.registry / "terminals.csv").write_text("\n".join(lines) + "\n")
    if dsn:
        site.state.mkdir()
        write_json(site.state / "postgres.json", {"dsn": dsn}, durable=False)
    return site


def section(policies: dict[str, str]) -> str:
    return "[access]\n" + "".join(f"{key} = '{value}'\n" for key, value in policies.items())


def under(sender: str, raw: bytes) -> bytes:
    """The frame with another station in its header; the body stays."""
    return sealed(raw[:3] + bytes.fromhex(sender) + raw[8:-2])


def letters(raw: bytes, station: str, ts: datetime) -> bytes:
    """A frame of the ASCII form with the header of a HEX frame, whose body names the station."""
    local = ts.astimezone(BEIJING).strftime("%y%m%d%H%M")
    text = f"0001{local}00ST {station} I TT {local} FFA1 666.000 FFA4 00000080 "
    return sealed_letters(raw, text.encode())


def shapes(sender: str, victim: str, ts: datetime) -> list[list[bytes]]:
    """The same 666 m³ and magnet alarm of `victim` under the header of `sender` in every form; each may be several packets."""
    event = under(sender, frame(victim, ts, 666.0, alarms=["MAG"]))
    timed = sealed(event[:10] + bytes((sl651.TIMED,)) + event[11:-2])
    own = frame(sender, ts, 1.0, alarms=[])
    both = own[14:22] + event[22:-3]
    second = sealed(event[:11] + len(both).to_bytes(2, "big") + event[13:14] + both + event[-3:-2])
    return [
        [event],
        [timed],
        [letters(event, victim, ts)],
        sl651.in_packets(timed, 30),
        [second],
    ]


@every_good_case
def test_no_codec_gives_rows_of_a_station_that_it_does_not_name(case: Case) -> None:
    codec = codecs.load(case.protocol)
    for arrival in arrivals(case, frames_of(fed_to_codec(case.protocol, [case.raw])[0])):
        decoded = codec.decode([arrival], profiles(case))
        rows = {*decoded.readings["terminal"], *decoded.alarms["terminal"], *decoded.clocks["terminal"]}
        assert rows <= {arrival.terminal or codec.terminal(arrival.raw), *codec.other_stations(arrival.raw)}


def test_the_stations_of_a_body_are_named_in_every_form_and_each_once() -> None:
    ts = minutes_ago(5)
    for packets in shapes(SENDER, LOCKED, ts):
        assert codecs.load("sl651").other_stations(b"".join(packets)) == (LOCKED,)
    assert {codecs.load(case.protocol).other_stations(case.raw) for case in GOOD if case.protocol != "sl651"} == {()}


@pytest.mark.parametrize(
    "policies",
    [
        pytest.param({}, id="defaults"),
        pytest.param({"unknown": "ignore"}, id="strangers ignored"),
        pytest.param({"wrong_password": "accept"}, id="own passwords not checked"),
        pytest.param({"foreign_station": "quarantine"}, id="foreign kept aside"),
        pytest.param(STRICTEST, id="strictest"),
    ],
)
def test_a_body_of_another_station_gives_no_reading_and_no_alarm_whatever_the_policy(
    tmp_path: Path, dsn: str, policies: dict[str, str]
) -> None:
    ts = minutes_ago(5)
    hostile = [*shapes(STRANGER, LOCKED, ts), *shapes(STRANGER, OPEN, ts), *shapes(SENDER, LOCKED, ts)]
    if policies.get("foreign_station", "accept") != "accept":
        hostile += shapes(SENDER, OPEN, ts)
    with running(registered(tmp_path / "site", section(policies), dsn)) as daemon:
        for port in (daemon.data_port, daemon.alarm_port):
            for packets in hostile:
                client = Client(port)
                for raw in packets:
                    client.send(raw)
        honest = Client(daemon.alarm_port)
        honest.send(frame(RELAYED, ts, 5.0, alarms=["DOOR"]))
        assert honest.acknowledged(1) == [1]
        eventually(lambda: alarm_events(dsn), "the honest alarm is told")

        def all_kept() -> bool:
            lines = [
                line for reason in ("UNKNOWN_TERMINAL", "WRONG_PASSWORD", "FOREIGN_STATION") for line in kept(daemon.site, reason)
            ]
            told = read_json(daemon.site.state / "counters.json")
            return len({(line["stream"], line["position"]) for line in lines}) + sum(told["bad"].values()) == 2 * len(hostile)

        eventually(all_kept, "every hostile frame is kept")
        stored = delivered(daemon.site)
        assert set(stored.select("terminal", "forward_m3").iter_rows()) <= {(RELAYED, 5.0), (SENDER, 1.0)}
        assert {(event[0], event[1]) for event in alarm_events(dsn)} == {(RELAYED, "DOOR")}
        counters = read_json(daemon.site.state / "counters.json")
        assert LOCKED not in counters["last_contact_us"] and OPEN not in counters["last_contact_us"]
        counted = {"UNKNOWN_TERMINAL": 20, "WRONG_PASSWORD": 20}
        eventually(
            lambda: counted.items() <= read_json(daemon.site.state / "counters.json")["doubted"].items(), f"counted: {counted}"
        )


def _heard(site: Site, terminals: set[str]) -> bool:
    return set(read_json(site.state / "counters.json")["last_contact_us"]) == terminals


def test_an_honest_gateway_speaks_for_registered_meters_by_default_and_its_own_reading_is_kept_apart_from_a_foreign_one(
    tmp_path: Path,
) -> None:
    ts = minutes_ago(5)
    for policy, expected in (("accept", {SENDER, OPEN, RELAYED}), ("quarantine", {SENDER, RELAYED})):
        site = registered(tmp_path / policy, section({"foreign_station": policy}))
        with running(site) as daemon:
            client = Client(daemon.data_port)
            bodies = [frame(station, ts, 7.0)[22:-3] for station in (SENDER, OPEN, RELAYED)]
            head = frame(SENDER, ts, 7.0)
            body = head[14:22] + b"".join(bodies)
            client.send(sealed(head[:11] + len(body).to_bytes(2, "big") + head[13:14] + body + head[-3:-2]))
            assert client.acknowledged(1) == [1]
            assert set(delivered(site)["terminal"]) == expected
            assert [line["terminal"] for line in kept(site, "FOREIGN_STATION")] == [OPEN] * (policy == "quarantine")
            eventually(partial(_heard, site, expected), f"heard: {expected}")


def test_answers_to_a_command_count_for_the_terminal_that_was_asked_and_for_others_as_they_are_judged(tmp_path: Path) -> None:
    """The answers of one round are one record; a station that the asked one names without leave gives nothing."""
    ts = minutes_ago(5)
    site = registered(tmp_path, "")
    directory = TerminalDirectory(Registry(site, "sl651"))
    verifier = SenderVerifier(AccessSettings(), directory)
    codec = codecs.load("sl651")
    answers = b"".join(under(SENDER, frame(station, ts, 6.0, alarms=["MAG"])) for station in (SENDER, LOCKED, RELAYED))
    stations = verifier.judge_answer(codec, SENDER, answers)
    assert stations == ((LOCKED, "WRONG_PASSWORD"), (RELAYED, ""))
    for judged, expected in ((stations, {SENDER, RELAYED}), ((), {SENDER})):
        header = encode_header(RecordHeader("sl651", terminal=SENDER, requests=(b"asked",), stations=judged))
        group = triage("data", [Record(0, 1, 1, header + answers)], directory.terminals, {}, ANY_TIME)
        assert set(group.readings["terminal"]) == {word.terminal for word in group.alarm_words} == expected
        assert {entry.terminal for entry in group.kept} == {LOCKED, RELAYED, SENDER} - expected


def test_a_record_whose_header_lists_no_station_stores_the_sender_alone_whoever_wrote_it() -> None:
    record = Record(0, 1, 1, encode_header(RecordHeader("sl651")) + under(SENDER, frame(OPEN, minutes_ago(5), 6.0)))
    group = triage("data", [record], {SENDER: Terminal("M1"), OPEN: Terminal("M3")}, {}, ANY_TIME)
    assert group.readings.is_empty() and [(entry.reason, entry.terminal) for entry in group.kept] == [("FOREIGN_STATION", OPEN)]
