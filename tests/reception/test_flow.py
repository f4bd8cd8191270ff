"""How connections share the daemon: TLS from the first byte, a balancer's header, turns, the last open files."""

import re
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ingest_daemon.codecs import sl651
from ingest_daemon.reception import proxy_protocol
from ingest_daemon.reception.flow_control import BURST_S, READ_S, STRANGERS_SHARE, FairShare, Pause
from ingest_daemon.reception.proxy_protocol import ProxyHeader
from tests.daemon_helpers import (
    STRANGER,
    TERMINALS,
    Client,
    counted,
    delivered,
    eventually,
    frame,
    make_site,
    minutes_ago,
    read_json,
    running,
)
from tests.reception.test_access import certificate, needs_openssl

METER = TERMINALS[0]
V1 = b"PROXY TCP4 10.9.8.7 10.0.0.1 56324 4000\r\n"
V2 = proxy_protocol.SIGNATURE + bytes.fromhex("21 11 000C 0A090807 0A000001 DC04 0FA0")
V6 = proxy_protocol.SIGNATURE + bytes.fromhex("21 21 0024" + "20010DB8" + "00" * 11 + "07" + "00" * 16 + "DC04 0FA0")


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (V1, ProxyHeader("10.9.8.7", len(V1))),
        (V1 + b"more", ProxyHeader("10.9.8.7", len(V1))),
        (V1[:-1], None),
        (b"PROXY UNKNOWN\r\n", ProxyHeader("", 15)),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", ProxyHeader("2001:db8::7", 32)),
        (V2, ProxyHeader("10.9.8.7", len(V2))),
        (V2[:20], None),
        (V6, ProxyHeader("2001:db8::7", len(V6))),
        (proxy_protocol.SIGNATURE + bytes.fromhex("20 00 0000"), ProxyHeader("", 16)),
    ],
)
def test_a_balancers_header_names_the_client(data: bytes, header: ProxyHeader | None) -> None:
    assert proxy_protocol.parse(data) == header


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"PROXY TCP4 x\r\n", b"PROXY" + b" 1" * 99, b"\x7e\x7e", V2[:12] + b"\x31" * 9]
)
def test_what_is_no_header_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"PROXY|does not appear"):
        proxy_protocol.parse(data)


@pytest.mark.parametrize("header", [V1, V2], ids=["version 1", "version 2"])
def test_behind_a_balancer_the_clients_address_counts(tmp_path: Path, header: bytes) -> None:
    site = make_site(tmp_path / "site", "proxy_protocol = true\n[access]\nallow = '10.9.0.0/16'\n")
    with running(site) as daemon:
        client = Client(daemon.data_port)
        client.send(header[:9])
        time.sleep(0.1)
        client.send(header[9:] + frame(METER, minutes_ago(1), 1.5))
        assert client.acknowledged(1) == [1]
        foreign = Client(daemon.data_port)
        foreign.send(V1.replace(b"10.9.", b"10.8.") + frame(METER, minutes_ago(1), 9.0))
        assert foreign.is_closed()
        bare = Client(daemon.data_port)
        bare.send(frame(METER, minutes_ago(1), 9.0))
        assert bare.is_closed()
        assert delivered(site)["forward_m3"].to_list() == [1.5]
        assert counted(site, "turned_away", 1)["bad"] == {"NOISE": 1}


def test_without_the_setting_a_balancers_header_is_noise(tmp_path: Path) -> None:
    with running(make_site(tmp_path / "site")) as daemon:
        client = Client(daemon.data_port)
        client.send(V1 + frame(METER, minutes_ago(1), 1.5))
        assert client.acknowledged(1) == [1]
        counted(daemon.site, "bad", {"NOISE": 1})


@needs_openssl
@pytest.mark.parametrize("header", [b"", V1], ids=["direct", "behind a balancer"])
def test_a_handshake_counts_as_a_connection_from_its_first_byte(tmp_path: Path, header: bytes) -> None:
    chain, key = certificate(tmp_path, "daemon")
    settings = f"connections = 3\nproxy_protocol = {str(bool(header)).lower()}\n"
    site = make_site(tmp_path / "site", settings + f"[access]\ntls_certificate = '{chain}'\ntls_key = '{key}'\n")
    with running(site) as daemon:
        silent = [Client(daemon.data_port) for _ in range(2)]
        counted(site, "connections", 2)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10)
        plain.sendall(header)
        with context.wrap_socket(plain) as line:
            assert Client(daemon.data_port).is_closed()
            line.sendall(frame(METER, minutes_ago(1), 1.5))
            assert sl651.acknowledged_sequence(line.recv(4096)) == 1
        for client in silent:
            client.close()
        counted(site, "connections", 0)


@needs_openssl
def test_a_hello_in_one_segment_with_a_balancers_header_is_understood(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "daemon")
    site = make_site(tmp_path / "site", f"proxy_protocol = true\n[access]\ntls_certificate = '{chain}'\ntls_key = '{key}'\n")
    with running(site) as daemon, socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10) as plain:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        line = context.wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            line.do_handshake()
        plain.sendall(V1 + outgoing.read())
        while True:
            try:
                line.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(16384))
        line.write(frame(METER, minutes_ago(1), 1.5))
        plain.sendall(outgoing.read())
        assert len(delivered(site)) == 1


class Worker:
    """A connection as the sharing of turns sees it."""

    def __init__(self, is_known: bool = True) -> None:
        self.is_known = is_known
        self.work_s, self.worked_s, self.last_work_s, self.paused = BURST_S, time.monotonic(), 0.0, Pause(0)

    def pause(self, reason: Pause) -> None:
        self.paused |= reason

    def resume(self, reason: Pause) -> None:
        self.paused &= ~reason


def test_connections_that_cause_much_work_are_read_one_a_turn_and_others_are_not_held() -> None:
    calls: list[object] = []
    share, busy, modest = FairShare(), [Worker() for _ in range(3)], Worker()
    share.divide(4)
    share.start(calls.append, lambda seconds, call: calls.append(call))
    for worker in busy:
        share.worked(worker, time.monotonic() - 2 * BURST_S)
    share.worked(modest, time.monotonic())
    assert [bool(worker.paused) for worker in (*busy, modest)] == [True, True, True, False]
    for turn in range(3):
        assert len(calls) == turn + 1
        calls[turn]()  # type: ignore[operator]
        assert [bool(worker.paused) for worker in busy] == [place > turn for place in range(3)]


def test_a_connection_is_not_charged_for_the_time_of_other_processes() -> None:
    share, worker = FairShare(), Worker()
    share.divide(1)
    share.start(lambda call: None, lambda seconds, call: None)
    worker.worked_s -= 1000 * BURST_S
    share.worked(worker, time.monotonic() - 1000 * BURST_S)
    assert worker.work_s == pytest.approx(BURST_S - READ_S)


def test_strangers_that_flood_rest_between_their_turns_and_hold_nobody_else() -> None:
    soon: list[object] = []
    later: list[tuple[float, Callable[[], None]]] = []
    share, known, strangers = FairShare(), Worker(), [Worker(is_known=False) for _ in range(2)]
    share.divide(3)
    share.start(soon.append, lambda seconds, call: later.append((seconds, call)))
    for worker in (*strangers, known):
        share.worked(worker, time.monotonic() - 2 * BURST_S)
    assert len(soon) == 1
    soon[0]()  # type: ignore[operator]
    assert [bool(worker.paused) for worker in (known, *strangers)] == [False, True, True]
    for turn in range(2):
        rest_s, call = later[turn]
        assert rest_s == pytest.approx(READ_S * (1 / STRANGERS_SHARE - 1))
        call()
        assert [bool(worker.paused) for worker in strangers] == [place > turn for place in range(2)]
    assert len(later) == 2


def test_a_flood_of_a_stranger_gets_far_less_than_a_registered_terminal_that_sends_its_history(tmp_path: Path) -> None:
    with running(make_site(tmp_path / "site")) as daemon:

        def frames(stream: str) -> int:
            found = re.search(rf'frames_total{{stream="{stream}"}} (\d+)', daemon.get("/metrics")[1])
            return int(found[1]) if found else 0

        history = b"".join(frame(METER, minutes_ago(4000 - at), float(at), sequence=at + 1) for at in range(3000))
        flood, raw = Client(daemon.data_port), frame(STRANGER, minutes_ago(1), 1.0) * 100
        for do in (lambda: flood.socket.recv(65536), lambda: flood.send(raw)):
            threading.Thread(target=until_closed, args=(do,), daemon=True).start()
        eventually(lambda: frames("stranger") > 1000, "the flood comes")
        before = frames("stranger")
        client = Client(daemon.data_port)
        client.send(history)
        assert client.acknowledged(3000)[-1] == 3000
        assert frames("stranger") - before < 1500
        flood.close()


def until_closed(do: Callable[[], object]) -> None:
    with suppress(OSError):
        while do() != b"":
            pass


def test_where_open_files_run_out_callers_are_turned_away_and_the_health_answers(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    with running(site) as daemon:
        used = len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (used + 24, used + 24))
        clients = [Client(daemon.data_port) for _ in range(40)]
        eventually(lambda: "turned away:" in daemon.log.read_text(), "one is turned away")
        let_in = eventually(lambda: read_json(site.state / "counters.json")["connections"], "some are let in")
        assert let_in < len(clients)  # how many depends on the files that the daemon held open while they were counted
        assert daemon.get("/healthz")[0] == 200
        clients[0].send(frame(METER, minutes_ago(1), 1.5))
        assert clients[0].acknowledged(1) == [1]
        assert clients[-1].is_closed()
        log = daemon.log.read_text()
        assert (log.count("turned away:"), log.count("LimitNOFILE")) == (1, 2)  # the other is the warning of the start
