"""What was quarantined although its terminal is registered is adopted without a command."""

import pytest

from ingest_daemon.contract.site import Site
from tests.daemon_helpers import STRANGER, TERMINALS, Client, Daemon, eventually, frame, minutes_ago, running, stored


def send(daemon: Daemon, *frames: bytes) -> None:
    client = Client(daemon.data_port)
    client.send(b"".join(frames))
    client.acknowledged(len(frames))
    client.close()


def with_password(raw: bytes, password: str) -> bytes:
    """The frame with another password and a right CRC."""
    from ingest_daemon.codec_kit.checksums import crc16_high_first

    content = raw[:8] + bytes.fromhex(password) + raw[10:-2]
    return content + crc16_high_first(content)


def test_a_terminal_that_is_registered_while_the_daemon_runs_is_known_and_its_earlier_frames_are_stored(site: Site) -> None:
    with running(site) as daemon:
        send(daemon, frame(STRANGER, minutes_ago(5), 1.0))
        path = site.registry / "terminals.csv"
        path.write_text(path.read_text() + f"{STRANGER},new,,,\n")
        send(daemon, frame(STRANGER, minutes_ago(4), 2.0, sequence=2))
        eventually(lambda: stored(site)["forward_m3"].to_list() == [1.0, 2.0], "both are stored")


def test_frames_of_a_terminal_that_was_registered_while_no_daemon_ran_are_stored_after_its_start(site: Site) -> None:
    with running(site) as daemon:
        send(daemon, frame(STRANGER, minutes_ago(5), 1.0))
    path = site.registry / "terminals.csv"
    path.write_text(path.read_text() + f"{STRANGER},new,,,\n")
    with running(site) as daemon:
        eventually(lambda: len(stored(site)) == 1, "it is stored")
        send(daemon, frame(TERMINALS[0], minutes_ago(3), 3.0))
        eventually(lambda: len(stored(site)) == 2, "forwarding goes on")


@pytest.mark.parametrize(("password", "adopted"), [("1234", True), ("0000", False)])
def test_without_a_persons_word_only_frames_with_the_registered_password_are_adopted(
    site: Site, password: str, adopted: bool
) -> None:
    path = site.registry / "terminals.csv"
    with running(site) as daemon:
        send(daemon, with_password(frame(STRANGER, minutes_ago(5), 666.0), password))
        lines = path.read_text().splitlines()
        path.write_text(
            "\n".join([lines[0] + ",password", *(line + "," for line in lines[1:]), f"{STRANGER},new,,,,1234"]) + "\n"
        )
        marker = frame("0000007777", minutes_ago(4), 4.0)
        send(daemon, marker)
        path.write_text(path.read_text() + "0000007777,marker,,,,\n")
        eventually(lambda: 4.0 in stored(site)["forward_m3"].to_list(), "the marker is adopted")
        assert (666.0 in stored(site)["forward_m3"].to_list()) == adopted
