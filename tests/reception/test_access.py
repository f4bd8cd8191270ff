"""Who may be on the line: addresses, doubted frames, slow senders, TLS; honest terminals feel none of it."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_daemon import codecs
from ingest_daemon.codec_kit import defaults
from ingest_daemon.codec_kit.api import Codec
from ingest_daemon.codecs import sl651
from ingest_daemon.contract.schema import DOUBTS
from ingest_daemon.contract.settings import SettingError, read_section
from ingest_daemon.contract.site import Site
from ingest_daemon.reception import access
from ingest_daemon.reception.access import ConnectionLimiter, ConnectionState, SenderVerifier, Verdict
from ingest_daemon.reception.settings import ACCEPT, QUARANTINE, REFUSE, AccessSettings
from ingest_daemon.terminals.directory import TerminalDirectory
from ingest_daemon.terminals.registry import Registry
from tests.daemon_helpers import frame

CODEC = codecs.load("sl651")
NOON = datetime(2026, 7, 1, 4, tzinfo=UTC)
DAY_S = 86400.0
LONG_S = AccessSettings().replay_s + 1
PLAIN, LOCKED, RELAYED, BEHIND, FREE = "0000000001", "0000000002", "0000000003", "0000000004", "0000000005"
STRANGER = "0000009999"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> TerminalDirectory:
    site = Site(tmp_path_factory.mktemp("site"))
    site.registry.mkdir()
    rows = [
        "terminal,meter,link,password",
        f"{PLAIN},M1,,",
        f"{LOCKED},M2,,12ab",
        f"{RELAYED},M3,DTU-0001,",
        f"{BEHIND},M4,DTU-0001,",
        f"{FREE},M5,,",
    ]
    (site.registry / "terminals.csv").write_text("\n".join(rows) + "\n")
    return TerminalDirectory(Registry(site, "sl651"))


def report(station: str, minutes: int = 0, password: str = "0000") -> bytes:
    raw = bytearray(frame(station, NOON + timedelta(minutes=minutes), 1.0, sent_at=NOON + timedelta(minutes=minutes)))
    raw[8:10] = bytes.fromhex(password)
    return bytes(raw)


def settings(**values: Any) -> AccessSettings:
    return read_section(AccessSettings, "access", {"access": values}, {})


# Addresses


@pytest.mark.parametrize(
    ("allow", "address", "admitted"),
    [
        ("", "203.0.113.9", True),
        ("10.0.0.0/8, 192.168.1.5", "10.255.0.1", True),
        ("10.0.0.0/8, 192.168.1.5", "192.168.1.5", True),
        ("10.0.0.0/8, 192.168.1.5", "192.168.1.6", False),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("10.0.0.0/8", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("10.0.0.0/8", "no address", False),
    ],
)
def test_only_allowed_addresses_are_let_in(allow: str, address: str, admitted: bool) -> None:
    reason = ConnectionLimiter(settings(allow=allow)).admit(address)
    assert (reason == "") == admitted
    assert admitted or (address in reason and "[access] allow" in reason)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"allow": "10.0.0.0/8,10.0.0.300"}, ["[access] allow", "'10.0.0.300'", "10.0.0.0/8,192.168.1.5"]),
        ({"allow": "10.0.0.0/33"}, ["[access] allow", "'10.0.0.0/33'"]),
        ({"per_address": 0}, ["[access] per_address", "at least 1"]),
        ({"unknown": "no"}, ["[access] unknown", "acknowledge, ignore"]),
        ({"wrong_password": "drop"}, ["[access] wrong_password", "accept, quarantine, refuse"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(values: Mapping[str, Any], named: list[str]) -> None:
    with pytest.raises(SettingError) as told:
        settings(**values)
    assert [part for part in named if part not in str(told.value)] == []


def test_one_address_has_so_many_connections_and_no_more_until_one_left() -> None:
    gate = ConnectionLimiter(settings(per_address=2))
    assert [gate.admit("192.0.2.1") for _ in range(2)] == ["", ""]
    assert "[access] per_address" in gate.admit("192.0.2.1")
    assert gate.admit("192.0.2.2") == ""
    gate.left("192.0.2.1")
    assert gate.admit("192.0.2.1") == ""


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.booleans())))
def test_the_gate_counts_what_is_inside(steps: list[tuple[str, bool]]) -> None:
    gate, inside = ConnectionLimiter(settings(per_address=3)), {"a": 0, "b": 0}
    for address, comes in steps:
        if comes:
            admitted = gate.admit(address) == ""
            assert admitted == (inside[address] < 3)
            inside[address] += admitted
        elif inside[address]:
            gate.left(address)
            inside[address] -= 1


# Slow senders


@pytest.mark.parametrize(
    ("fed", "now_s", "overdue"),
    [
        ([], 1000.0, False),
        ([(1, 0, 0.0)], 1000.0, False),
        ([(0, 5, 0.0)], 60.0, False),
        ([(0, 5, 0.0)], 60.1, True),
        ([(0, 5, 0.0), (0, 6, 50.0)], 60.1, True),
        ([(0, 5, 0.0), (1, 6, 50.0)], 60.1, False),
        ([(0, 5, 0.0), (1, 0, 50.0)], 1000.0, False),
        ([(0, 5, 0.0), (1, 0, 50.0), (0, 1, 70.0)], 130.0, False),
    ],
)
def test_a_begun_frame_must_be_complete_in_time(fed: list[tuple[int, int, float]], now_s: float, overdue: bool) -> None:
    heard = ConnectionState("192.0.2.1")
    for step in fed:
        heard.fed(*step)
    assert heard.overdue(60.0, now_s) == overdue


# Passwords and stations


@pytest.mark.parametrize(
    ("station", "password", "reason"),
    [
        (PLAIN, "0000", ""),
        (PLAIN, "9999", ""),
        (LOCKED, "12AB", ""),
        (LOCKED, "12ac", "WRONG_PASSWORD"),
        (LOCKED, "0000", "WRONG_PASSWORD"),
    ],
)
@pytest.mark.parametrize("policy", [ACCEPT, QUARANTINE, REFUSE])
def test_a_password_is_checked_where_one_is_registered(
    known: TerminalDirectory, station: str, password: str, reason: str, policy: str
) -> None:
    judge = SenderVerifier(settings(wrong_password=policy), known)
    verdict = judge.judge(CODEC, station, report(station, password=password), ConnectionState("192.0.2.1"), 0.0)
    assert verdict == (Verdict(policy, reason, policy != REFUSE) if reason else access.GOOD)
    assert judge.counted == ({reason: 1} if reason else {})


def test_zeros_that_a_spreadsheet_dropped_do_not_make_a_password_wrong(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.registry.mkdir()
    (site.registry / "terminals.csv").write_text(f"terminal,meter,password\n{PLAIN},M1,42\n")
    judge = SenderVerifier(settings(), TerminalDirectory(Registry(site, "sl651")))
    assert judge.judge(CODEC, PLAIN, report(PLAIN, password="0042"), ConnectionState("192.0.2.1"), 0.0) == access.GOOD


@pytest.mark.parametrize(
    ("stations", "reasons"),
    [
        ([PLAIN, PLAIN], ["", ""]),
        ([PLAIN, FREE, PLAIN], ["", "FOREIGN_STATION", ""]),
        ([RELAYED, BEHIND, RELAYED], ["", "", ""]),
        ([RELAYED, FREE], ["", "FOREIGN_STATION"]),
        ([PLAIN, STRANGER], ["", "FOREIGN_STATION"]),
    ],
)
def test_a_station_of_another_link_is_foreign_on_a_connection(
    known: TerminalDirectory, stations: list[str], reasons: list[str]
) -> None:
    judge, heard = SenderVerifier(settings(foreign_station="quarantine"), known), ConnectionState("192.0.2.1")
    verdicts = [judge.judge(CODEC, station, report(station, place), heard, 0.0) for place, station in enumerate(stations)]
    assert [verdict.reason for verdict in verdicts] == reasons
    assert [verdict.policy for verdict in verdicts] == [QUARANTINE if reason else ACCEPT for reason in reasons]


def test_who_does_not_know_the_password_does_not_make_a_connection_his(known: TerminalDirectory) -> None:
    judge, heard = SenderVerifier(settings(foreign_station="refuse"), known), ConnectionState("192.0.2.1")
    judge.judge(CODEC, LOCKED, report(LOCKED, password="9999"), heard, 0.0)
    assert judge.judge(CODEC, PLAIN, report(PLAIN), heard, 0.0) == access.GOOD


def test_by_default_relays_are_believed_and_counted(known: TerminalDirectory) -> None:
    judge, heard = SenderVerifier(settings(), known), ConnectionState("192.0.2.1")
    verdicts = [judge.judge(CODEC, station, report(station), heard, 0.0) for station in (PLAIN, FREE, BEHIND)]
    assert [(verdict.policy, verdict.acknowledge) for verdict in verdicts] == [(ACCEPT, True)] * 3
    assert judge.counted == {"FOREIGN_STATION": 2}


@pytest.mark.parametrize(("unknown", "acknowledge"), [("acknowledge", True), ("ignore", False)])
def test_strangers_are_journaled_and_acknowledged_as_the_setting_says(
    known: TerminalDirectory, unknown: str, acknowledge: bool
) -> None:
    judge = SenderVerifier(settings(unknown=unknown), known)
    verdict = judge.judge(CODEC, STRANGER, report(STRANGER), ConnectionState("192.0.2.1"), 0.0)
    assert (verdict.policy, verdict.acknowledge) == (ACCEPT, acknowledge)
    assert judge.counted == {"UNKNOWN_TERMINAL": 1}


@pytest.mark.parametrize(
    ("password", "station", "policy", "reason"),
    [
        ("quarantine", "refuse", REFUSE, "FOREIGN_STATION"),
        ("refuse", "quarantine", REFUSE, "WRONG_PASSWORD"),
        ("quarantine", "accept", QUARANTINE, "WRONG_PASSWORD"),
    ],
)
def test_of_two_doubts_the_strictest_policy_counts(
    known: TerminalDirectory, password: str, station: str, policy: str, reason: str
) -> None:
    judge, heard = SenderVerifier(settings(wrong_password=password, foreign_station=station), known), ConnectionState("192.0.2.1")
    judge.judge(CODEC, PLAIN, report(PLAIN), heard, 0.0)
    verdict = judge.judge(CODEC, LOCKED, report(LOCKED, password="9999"), heard, 0.0)
    assert (verdict.policy, verdict.reason) == (policy, reason)
    assert judge.counted == {"WRONG_PASSWORD": 1, "FOREIGN_STATION": 1}


# Replays


@pytest.mark.parametrize(
    ("acknowledged", "address", "after_s", "reason"),
    [
        pytest.param(True, "192.0.2.2", LONG_S, "REPLAYED", id="acknowledged, later, from elsewhere: a replay"),
        pytest.param(True, "192.0.2.2", 60.0, "", id="the acknowledgement was lost and the carrier gave a new address"),
        pytest.param(True, "192.0.2.1", DAY_S, "", id="from the same address a terminal may repeat at any time"),
        pytest.param(False, "192.0.2.2", DAY_S, "", id="what was not acknowledged may come from anywhere at any time"),
    ],
)
def test_only_what_was_acknowledged_and_comes_later_from_elsewhere_is_a_replay(
    known: TerminalDirectory, acknowledged: bool, address: str, after_s: float, reason: str
) -> None:
    judge, raw, first = SenderVerifier(settings(replayed="quarantine"), known), report(PLAIN), ConnectionState("192.0.2.1")
    assert judge.judge(CODEC, PLAIN, raw, first, 0.0) == access.GOOD
    if acknowledged:
        judge.acknowledged(raw, first, 0.0)
    verdict = judge.judge(CODEC, PLAIN, raw, ConnectionState(address), after_s)
    assert (verdict.reason, verdict.policy) == (reason, QUARANTINE if reason else ACCEPT)


def test_repeating_a_replay_does_not_make_it_honest(known: TerminalDirectory) -> None:
    judge, raw = SenderVerifier(settings(), known), report(PLAIN)
    judge.acknowledged(raw, ConnectionState("192.0.2.1"), 0.0)
    for number in range(1, 6):
        thief = ConnectionState("198.51.100.7")
        assert judge.judge(CODEC, PLAIN, raw, thief, number * LONG_S).reason == "REPLAYED"
        judge.acknowledged(raw, thief, number * LONG_S)
    assert judge.counted == {"REPLAYED": 5}


def test_a_sign_of_life_without_a_time_is_the_same_for_ever_and_no_replay(known: TerminalDirectory) -> None:
    class Beats:
        """A protocol whose frames say only the time at which they came."""

        decode = staticmethod(lambda arrivals, profiles: codecs.load("sl651").decode([], profiles))
        other_stations = staticmethod(defaults.other_stations)

    codec: Codec = Beats  # type: ignore[assignment]
    judge = SenderVerifier(settings(replayed="refuse"), known)
    for day in range(5):
        heard = ConnectionState(f"192.0.2.{day}")
        assert judge.judge(codec, PLAIN, b"alive", heard, day * DAY_S) == access.GOOD
        judge.acknowledged(b"alive", heard, day * DAY_S)


def test_a_codec_that_fails_makes_no_frame_a_replay(known: TerminalDirectory) -> None:
    class Broken:
        other_stations = staticmethod(defaults.other_stations)

        @staticmethod
        def decode(arrivals: object, profiles: object) -> None:
            raise RuntimeError("against its contract")

    judge = SenderVerifier(settings(replayed="refuse"), known)
    judge.acknowledged(b"frame", ConnectionState("192.0.2.1"), 0.0)
    assert judge.judge(Broken, PLAIN, b"frame", ConnectionState("192.0.2.2"), LONG_S) == access.GOOD  # type: ignore[arg-type]


def test_an_honest_fleet_on_a_carrier_that_gives_new_addresses_feels_nothing(known: TerminalDirectory) -> None:
    """Each frame is lost, journaled without its acknowledgement arriving, or well, and is repeated until it is well."""
    judge = SenderVerifier(settings(wrong_password="refuse", foreign_station="refuse", replayed="refuse"), known)
    fates = ["lost", "acknowledgement lost", "well", "acknowledgement lost", "lost", "well", "well"] * 20
    now_s, minute = 0.0, 0
    for place, fate in enumerate(fates):
        heard, raw = ConnectionState(f"198.51.100.{place % 200}"), report(PLAIN, minute)
        if fate != "lost":
            assert judge.judge(CODEC, PLAIN, raw, heard, now_s) == access.GOOD
            judge.acknowledged(raw, heard, now_s)
        now_s += 900 if fate == "well" else 30
        minute += fate == "well"
    assert judge.counted == {}


def test_the_memory_of_frames_is_bounded(known: TerminalDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "REMEMBERED", 8)
    judge = SenderVerifier(settings(), known)
    frames = [report(PLAIN, minute) for minute in range(100)]
    for raw in frames:
        judge.acknowledged(raw, ConnectionState("192.0.2.1"), 0.0)
    found = [judge.judge(CODEC, PLAIN, raw, ConnectionState("192.0.2.2"), LONG_S).reason for raw in frames]
    assert 1 <= found.count("REPLAYED") <= 8
    assert found[-1] == "REPLAYED"


def test_every_doubt_that_the_server_can_have_of_a_connection_has_its_words() -> None:
    assert {"WRONG_PASSWORD", "FOREIGN_STATION", "REPLAYED"} <= set(DOUBTS)


# TLS

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command, which makes certificates, is absent"
)


def certificate(folder: Path, name: str, *more: str) -> tuple[str, str]:
    """A self-signed certificate for localhost and its key."""
    key, chain = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    options = more or ("-nodes",)
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *options, *subject, "-keyout", key, "-out", chain], check=True, capture_output=True)
    return str(chain), str(key)


def test_without_a_certificate_there_is_no_tls() -> None:
    assert access.tls(settings()) is None


@needs_openssl
def test_a_client_that_trusts_the_certificate_gets_through_and_an_old_one_does_not(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "server")
    context = access.tls(settings(tls_certificate=chain, tls_key=key))
    assert context is not None
    assert shaken(context, ssl.create_default_context(cafile=chain)) in ("TLSv1.2", "TLSv1.3")
    old = ssl.create_default_context(cafile=chain)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert shaken(context, old) == ""


@needs_openssl
def test_with_a_client_authority_a_terminal_must_show_a_certificate(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "server")
    theirs, their_key = certificate(tmp_path, "terminal")
    context = access.tls(settings(tls_certificate=chain, tls_key=key, tls_client_ca=theirs))
    assert context is not None
    client = ssl.create_default_context(cafile=chain)
    assert shaken(context, client) == ""
    client.load_cert_chain(theirs, their_key)
    assert shaken(context, client) != ""


@needs_openssl
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"tls_certificate": "{chain}"}, "expected both"),
        ({"tls_client_ca": "{chain}"}, "expected both"),
        ({"tls_certificate": "{folder}/none.pem", "tls_key": "{key}"}, "tls_certificate.*none.pem.*no such file"),
        ({"tls_certificate": "{chain}", "tls_key": "{other}"}, "tls_key.*private key"),
        ({"tls_certificate": "{chain}", "tls_key": "{locked}"}, "tls_key.*without passphrase"),
        ({"tls_certificate": "{chain}", "tls_key": "{key}", "tls_client_ca": "{key}"}, "tls_client_ca.*PEM"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, values: Mapping[str, str], named: str) -> None:
    chain, key = certificate(tmp_path, "server")
    _, other = certificate(tmp_path, "other")
    _, locked = certificate(tmp_path, "locked", "-passout", "pass:secret")
    names = {"chain": chain, "key": key, "other": other, "locked": locked, "folder": str(tmp_path)}
    with pytest.raises(SettingError, match=named):
        access.tls(settings(**{name: path.format(**names) for name, path in values.items()}))


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """The TLS version of a connection that both sides speak over; empty where they do not come together."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            taken, _ = listener.accept()
            with taken:
                try:
                    with server.wrap_socket(taken, server_side=True) as secure:
                        secure.sendall(secure.recv(1))
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            plain = socket.create_connection(listener.getsockname(), timeout=10)
            with plain, client.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(b"1")
                return secure.version() or "" if secure.recv(1) == b"1" else ""
        except OSError:
            return ""
        finally:
            thread.join()


def test_the_helpers_make_real_frames() -> None:
    (piece,) = sl651.decoder().feed(frame(PLAIN, NOON, 1.0))
    assert sl651.terminal(piece.raw) == PLAIN
