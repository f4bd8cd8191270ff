"""Who is on the line, with a real daemon: honest terminals feel nothing of what strangers and slow ones meet."""

import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

from ingest_daemon.codecs import sl651
from tests.daemon_helpers import (
    STRANGER,
    TERMINALS,
    Client,
    Daemon,
    counted,
    delivered,
    eventually,
    frame,
    kept,
    make_site,
    minutes_ago,
    read_json,
    running,
)
from tests.reception.test_access import certificate, needs_openssl

METER, OTHER = TERMINALS[:2]


def register_password(root: Path, password: str) -> None:
    path = root / "registry" / "terminals.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0] + ",password", lines[1] + "," + password, *(line + "," for line in lines[2:])]) + "\n")


def bad_count(daemon: Daemon, reason: str) -> int:
    told = read_json(daemon.site.state / "counters.json")
    return int(told["bad"].get(reason, 0)) if told else 0


def test_who_is_not_on_the_list_is_turned_away_at_once(tmp_path: Path) -> None:
    with running(make_site(tmp_path / "site", "[access]\nallow = '10.0.0.0/8'\n")) as daemon:
        assert Client(daemon.data_port).is_closed()
        counted(daemon.site, "turned_away", 1)


def test_one_address_gets_no_more_connections_than_allowed_and_others_wait_for_none(tmp_path: Path) -> None:
    with running(make_site(tmp_path / "site", "[access]\nper_address = 2\n")) as daemon:
        first, second = Client(daemon.data_port), Client(daemon.data_port)
        second.send(frame(METER, minutes_ago(2), 1.0))
        assert second.acknowledged(1) == [1]
        assert Client(daemon.data_port).is_closed()
        first.close()
        eventually(lambda: read_json(daemon.site.state / "counters.json")["connections"] == 1, "the first is gone")
        third = Client(daemon.data_port)
        third.send(frame(METER, minutes_ago(1), 2.0, sequence=2))
        assert third.acknowledged(1) == [2]


def test_a_frame_that_trickles_is_cut_off_and_a_terminal_that_is_only_silent_is_not(tmp_path: Path) -> None:
    with running(make_site(tmp_path / "site", "[access]\nframe_s = 1\n")) as daemon:
        silent, slow = Client(daemon.data_port), Client(daemon.data_port)
        silent.send(sl651.keep_alive(METER, 3, datetime.now(UTC)))
        slow.send(frame(OTHER, minutes_ago(1), 1.0)[:20])
        assert slow.is_closed()
        silent.send(frame(METER, minutes_ago(1), 1.0, sequence=4))
        assert silent.acknowledged(1) == [4]


def test_a_wrong_password_is_kept_aside_and_refused_only_where_that_is_set(tmp_path: Path) -> None:
    for policy in ("quarantine", "refuse"):
        root = tmp_path / policy
        site = make_site(root, f"[access]\nwrong_password = '{policy}'\n")
        register_password(root, "12AB")
        with running(site) as daemon:
            client = Client(daemon.data_port)
            client.send(frame(METER, minutes_ago(2), 1.0))
            client.send(frame(OTHER, minutes_ago(1), 2.0, sequence=2))
            assert client.acknowledged(1 if policy == "refuse" else 2)[-1] == 2
            if policy == "quarantine":
                eventually(lambda: kept(daemon.site, "WRONG_PASSWORD"), "it is kept aside")
            else:
                eventually(lambda: bad_count(daemon, "WRONG_PASSWORD") == 1, "it is refused")
            assert delivered(daemon.site)["terminal"].to_list() == [OTHER]


def test_a_stranger_is_not_answered_where_that_is_set_and_is_quarantined_either_way(tmp_path: Path) -> None:
    with running(make_site(tmp_path / "site", "[access]\nunknown = 'ignore'\n")) as daemon:
        client = Client(daemon.data_port)
        client.send(frame(STRANGER, minutes_ago(2), 1.0) + frame(METER, minutes_ago(1), 2.0, sequence=2))
        assert client.acknowledged(1) == [2]
        eventually(lambda: kept(daemon.site, "UNKNOWN_TERMINAL"), "it is quarantined")


@needs_openssl
def test_terminals_may_speak_tls_and_who_does_not_is_not_understood(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "daemon")
    settings = f"[access]\ntls_certificate = '{chain}'\ntls_key = '{key}'\n"
    with running(make_site(tmp_path / "site", settings)) as daemon:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10) as plain, context.wrap_socket(plain) as line:
            line.sendall(frame(METER, minutes_ago(1), 1.5))
            assert sl651.acknowledged_sequence(line.recv(4096)) == 1
        assert delivered(daemon.site)["forward_m3"].to_list() == [1.5]
        bare = Client(daemon.data_port)
        bare.send(frame(METER, minutes_ago(1), 9.0))
        assert bare.is_closed()
