"""Cases of lines: answers in pieces, late answers, numbers of DTUs, callers that nobody knows. A real daemon, real sockets."""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from ingest_daemon.codecs.modbus_rtu import _crc
from ingest_daemon.contract.site import Site
from tests.cases import covers
from tests.daemon_helpers import (
    TERMINALS,
    Client,
    Daemon,
    counted,
    eventually,
    frame,
    kept,
    make_site,
    minutes_ago,
    running,
    stored,
)

COLUMNS = "terminal,meter,protocol,profile,link,address,step_min,q4_m3h"
LINK = "861234567890001"
REGISTERS = {207: 1024.0, 215: 2048.0, 237: 0.5}
"""Of the M2000: forward and reverse total in m³, flow in m³/s."""

Answer = Callable[[bytes], bytes]
Send = Callable[[Callable[[bytes], None], bytes], None]


@contextmanager
def daemon_on(tmp_path: Path, lines: list[str], settings: str = "") -> Iterator[Daemon]:
    """A daemon whose data port is `auto`, with these lines in its registry."""
    site = make_site(tmp_path / "site", f"data_protocol = 'auto'\n{settings}")
    (site.registry / "terminals.csv").write_text("\n".join([COLUMNS, *lines]) + "\n")
    with running(site) as daemon:
        yield daemon


def readings(site: Site, terminal: str, count: int = 1, within_s: float = 30) -> pl.DataFrame:
    found = eventually(
        lambda: len(of := stored(site).filter(pl.col("terminal") == terminal)) >= count and [of],
        f"a reading of {terminal}",
        within_s,
    )
    return found[0]


def registers(site: Site, terminal: str, within_s: float = 30) -> list[float]:
    """What a terminal's register was said to be; a meter may be asked twice where a minute ends."""
    return readings(site, terminal, within_s=within_s)["forward_m3"].unique().to_list()


def modbus_registers(request: bytes, values: dict[int, float]) -> bytes:
    """The registers that a request from its function on asks for, as the body of the answer."""
    function, first, count = struct.unpack(">BHH", request[:5])
    raw = b"".join(
        struct.pack(">f", values[address]) if (address := first + place) in values else b"\0\0\0\0"
        for place in range(0, count, 2)
    )
    return bytes((function, 2 * count)) + raw


def rtu_answer(request: bytes, values: dict[int, float] = REGISTERS) -> bytes:
    body = request[:1] + modbus_registers(request[1:], values)
    return body + _crc(body)


def cjt188_answer(request: bytes) -> bytes:
    serial = request.lstrip(b"\xfe")[13]
    body = bytes.fromhex("6810 34129078563412 81 16 901F") + bytes((serial,))
    body += bytes.fromhex("00100000 2C 00000000 2C 00000701072620 0000")
    return b"\xfe\xfe\xfe" + body + bytes((sum(body) & 0xFF, 0x16))


def mbus_answer(request: bytes) -> bytes:
    if request[1] == 0x40:
        return b"\xe5"
    body = bytes.fromhex("08 05 72 78563412 7205 01 07 10 00 0000 0413 00100000")
    return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))


class Meter:
    """A meter that answers requests of a fixed size on a socket; `send` sends an answer as the line would."""

    def __init__(self, line: socket.socket, size: int, answer: Answer, send: Send) -> None:
        self.line, self._size, self._answer, self._send = line, size, answer, send
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        self.line.settimeout(None)
        held = b""
        with contextlib.suppress(OSError):
            while data := self.line.recv(4096):
                held += data
                while len(held) >= self._size:
                    request, held = held[: self._size], held[self._size :]
                    self.asked += 1
                    self._send(self.write, self._answer(request))

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.line.sendall(data)


def called_in(daemon: Daemon, registration: bytes, answer: Answer, send: Send, size: int = 8) -> Meter:
    """A DTU that called in with a meter behind it."""
    line = socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(registration)
    return Meter(line, size, answer, send)


def at_once(write: Callable[[bytes], None], answer: bytes) -> None:
    write(answer)


def byte_by_byte(write: Callable[[bytes], None], answer: bytes) -> None:
    for place in range(len(answer)):
        write(answer[place : place + 1])
        time.sleep(0.02)


def zeros_apart(write: Callable[[bytes], None], answer: bytes) -> None:
    """As in the case: what precedes two zeros, the zeros, the rest."""
    place = answer.index(b"\0\0", 3)
    for part in (answer[:place], answer[place : place + 2], answer[place + 2 :]):
        write(part)
        time.sleep(0.05)


def late(delay_s: Callable[[], float]) -> Send:
    """Each answer after a delay of its own."""

    def send(write: Callable[[bytes], None], answer: bytes) -> None:
        threading.Timer(delay_s(), write, (answer,)).start()

    return send


# --- answers in several segments ----------------------------------------------------------------------------------------------


@covers("SEG-RTU", "SEG-CJT", "SEG-MBUS")
def test_an_answer_in_many_segments_is_the_reading_of_one_segment(tmp_path: Path) -> None:
    lines = [
        "0000000001,M1,modbus_rtu,badger-m2000,861234567890001,1,1,20",
        "0000000002,M2,modbus_rtu,badger-m2000,861234567890002,1,1,20",
        "12345678901234,M3,cjt188,,861234567890003,12345678901234,1,20",
        "0000000004,M4,mbus,,861234567890004,5,1,20",
    ]
    with daemon_on(tmp_path, lines, "[poll]\nspread_s = 0\n") as daemon:
        called_in(daemon, b"861234567890001", rtu_answer, zeros_apart)
        called_in(daemon, b"861234567890002", rtu_answer, byte_by_byte)
        called_in(daemon, b"861234567890003", cjt188_answer, byte_by_byte, size=19)
        called_in(daemon, b"861234567890004", mbus_answer, byte_by_byte, size=5)
        for terminal in ("0000000001", "0000000002"):
            row = readings(daemon.site, terminal).row(0, named=True)
            assert (row["forward_m3"], row["reverse_m3"], row["flow_m3h"]) == (1024.0, 2048.0, 1800.0)
        assert registers(daemon.site, "12345678901234") == [10.0]
        assert registers(daemon.site, "0000000004") == [4.096]
        counters = counted(daemon.site, "polls", {"answered": 4})
        assert (counters["heartbeats"], counters["bad"]) == (0, {})


@covers("SEG-TCP")
def test_an_answer_over_modbus_tcp_whose_zeros_come_apart_keeps_its_zeros(tmp_path: Path) -> None:
    def answer(request: bytes) -> bytes:
        body = request[6:7] + modbus_registers(request[7:], REGISTERS)
        return request[:4] + struct.pack(">H", len(body)) + body

    def last_zeros_apart(write: Callable[[bytes], None], answer: bytes) -> None:
        write(answer[:-2])
        time.sleep(0.05)
        write(answer[-2:])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        lines = [f"0000000001,M1,modbus_tcp,badger-m2000,127.0.0.1:{port},1,1,20"]
        with daemon_on(tmp_path, lines, "[poll]\nspread_s = 0\n") as daemon:
            Meter(listener.accept()[0], 12, answer, last_zeros_apart)
            row = readings(daemon.site, "0000000001").row(0, named=True)
            assert (row["forward_m3"], row["reverse_m3"], row["flow_m3h"]) == (1024.0, 2048.0, 1800.0)


# --- late answers -------------------------------------------------------------------------------------------------------------

TRUTH = {207: 1111.0, 215: 2222.0, 237: 3333.0}
RIGHT = {"forward_m3": 1111.0, "reverse_m3": 2222.0, "flow_m3h": 3333.0 * 3600}


def assert_right_or_missing(site: Site) -> None:
    for row in stored(site).iter_rows(named=True):
        assert {name: row[name] for name in RIGHT if row[name] is not None}.items() <= RIGHT.items()


def truth(request: bytes) -> bytes:
    return rtu_answer(request, TRUTH)


@covers("LATE-1S", "LATE-12S")
@pytest.mark.parametrize(("factor", "is_read"), [(4.4, False), (2.4, True), (0.6, True)], ids=["LATE-1S", "LATE-12S", "in time"])
def test_late_answers_are_never_stored_under_another_name(tmp_path: Path, factor: float, is_read: bool) -> None:
    answer_s = 0.6  # the case's delays are of 1 and 5 s: what counts is their ratio to it
    lines = [f"0000000001,M1,modbus_rtu,badger-m2000,{LINK},1,1,20"]
    with daemon_on(tmp_path, lines, f"[poll]\nspread_s = 0\nanswer_s = {answer_s}\ntries = 3\n") as daemon:
        meter = called_in(daemon, LINK.encode(), truth, late(lambda: factor * answer_s))
        if is_read:
            row = readings(daemon.site, "0000000001").row(0, named=True)
            assert {name: row[name] for name in RIGHT} == RIGHT
        else:
            counted(daemon.site, "polls", {"unanswered": 1})
            eventually(lambda: counted(daemon.site, "bad", {"LATE_ANSWER": 3}), "what came too late is kept")
        assert_right_or_missing(daemon.site)
        assert meter.asked >= 3


def test_two_meters_with_one_map_and_jitter_give_right_values_or_none(tmp_path: Path) -> None:
    answer_s, chance = 0.4, random.Random(9)
    lines = [f"000000000{address},M{address},modbus_rtu,badger-m2000,{LINK},{address},1,20" for address in (1, 2, 3)]
    values = {address: {register: 100.0 * address + register for register in TRUTH} for address in (1, 2, 3)}

    def answer(request: bytes) -> bytes:
        return rtu_answer(request, values[request[0]])

    with daemon_on(tmp_path, lines, f"[poll]\nspread_s = 0\nanswer_s = {answer_s}\ntries = 3\n") as daemon:
        called_in(daemon, LINK.encode(), answer, late(lambda: chance.uniform(0.5, 3) * answer_s))
        eventually(lambda: sum((told := daemon_polls(daemon)).values()) >= 3 and told, "each meter was asked", 60)
        for row in stored(daemon.site).iter_rows(named=True):
            base = 100.0 * int(row["terminal"])
            right = {"forward_m3": base + 207, "reverse_m3": base + 215, "flow_m3h": (base + 237) * 3600}
            assert {name: row[name] for name in right if row[name] is not None}.items() <= right.items()


def daemon_polls(daemon: Daemon) -> dict[str, int]:
    _, text = daemon.get("/metrics")
    rows = [line for line in text.splitlines() if line.startswith("mainflow_polls_total{")]
    return {row.split('"')[1]: int(row.split()[-1]) for row in rows}


# --- the numbers of DTUs ------------------------------------------------------------------------------------------------------


@covers("LINK-LETTERS", "LINK-OK")
def test_letters_before_a_number_do_not_matter(tmp_path: Path) -> None:
    packets = {
        "861234567890005": b"IMEI861234567890005",
        "1001": b"ZG1001",
        "20017": b"DTU20017\r\n",
        "861234567890006": b"www.usr.cn861234567890006",
        "13912345678": bytes.fromhex("7B010016") + b"13912345678\0\x0a\0\0\1\x0f\xa0\x7b",
    }
    lines = [f"T{number},M{number},modbus_rtu,badger-m2000,{number},1,1,20" for number in packets]
    with daemon_on(tmp_path, lines, "[poll]\nspread_s = 0\n") as daemon:
        for packet in packets.values():
            called_in(daemon, packet, rtu_answer, at_once)
        for number in packets:
            assert registers(daemon.site, f"T{number}") == [1024.0]


@covers("LINK-LONGER")
def test_a_longer_number_is_another_caller_and_the_registered_one_keeps_its_line(tmp_path: Path) -> None:
    lines = ["T2A,MA,modbus_rtu,badger-m2000,1001,1,1,20", "T2B,MB,modbus_rtu,badger-m2000,86123456,1,1,20"]
    with daemon_on(tmp_path, lines, "[poll]\nspread_s = 0\n") as daemon:
        meter = called_in(daemon, b"1001", lambda request: rtu_answer(request, {**TRUTH, 207: 1111.0}), at_once)
        assert registers(daemon.site, "T2A") == [1111.0]
        stranger = called_in(daemon, b"10012", lambda request: rtu_answer(request, {**TRUTH, 207: 7777.0}), at_once)
        other = called_in(daemon, b"ID:861234567890001\r\n", lambda request: rtu_answer(request, {**TRUTH, 207: 7777.0}), at_once)
        found = eventually(lambda: len(lines := kept(daemon.site, "UNKNOWN_LINK")) == 2 and lines, "both are quarantined")
        assert {bytes.fromhex(line["hex"]) for line in found} == {b"10012", b"ID:861234567890001\r\n"}
        assert (stranger.asked, other.asked) == (0, 0)
        meter.line.sendall(b"\xfe")  # the line stands
        assert set(stored(daemon.site)["terminal"]) == {"T2A"}
        assert 'mainflow_rejected_total{reason="UNKNOWN_LINK"} 2' in daemon.get("/metrics")[1]
        assert "UNKNOWN_LINK" in daemon.log.read_text()


@covers("LINK-SILENT")
@pytest.mark.parametrize(
    "sends", [[b"861234567890009"], [b"861234567890009", b"\xfe"], [b"\xfe"]], ids=["a number", "and a byte", "a byte"]
)
def test_a_caller_that_nobody_knows_is_quarantined_with_its_bytes_within_seconds(tmp_path: Path, sends: list[bytes]) -> None:
    with daemon_on(tmp_path, []) as daemon:
        client = Client(daemon.data_port)
        for data in sends:
            client.send(data)
            time.sleep(0.1)
        (line,) = eventually(lambda: kept(daemon.site, "UNKNOWN_LINK"), "it is quarantined")
        assert bytes.fromhex(line["hex"]) == b"".join(sends)
        assert daemon.get("/metrics")[1].count('rejected_total{reason="UNKNOWN_LINK"} 1') == 1
        assert "UNKNOWN_LINK: 127.0.0.1 sent" in daemon.log.read_text()


def test_a_caller_that_hangs_up_at_once_is_quarantined_too(tmp_path: Path) -> None:
    with daemon_on(tmp_path, []) as daemon:
        client = Client(daemon.data_port)
        client.send(b"861234567890009")
        client.close()
        (line,) = eventually(lambda: kept(daemon.site, "UNKNOWN_LINK"), "it is quarantined")
        assert bytes.fromhex(line["hex"]) == b"861234567890009"


def test_two_living_callers_with_one_number_are_kept_apart_and_said(tmp_path: Path) -> None:
    with daemon_on(tmp_path, [f"0000000001,M1,modbus_rtu,badger-m2000,{LINK},1,1,20"], "[poll]\nspread_s = 0\n") as daemon:
        first = called_in(daemon, LINK.encode(), rtu_answer, at_once)
        readings(daemon.site, "0000000001")
        second = called_in(daemon, LINK.encode(), lambda request: rtu_answer(request, TRUTH), at_once)
        eventually(lambda: "mainflow_rival_callers_total 1" in daemon.get("/metrics")[1], "it is counted")
        assert "two living callers" in daemon.log.read_text()
        assert first.asked >= 6  # the first was asked again, to see whether it lives
        assert second.asked == 0
        first.line.close()
        first.line.shutdown(socket.SHUT_RDWR) if first.line.fileno() >= 0 else None


def test_a_dtu_that_dials_again_takes_its_dead_line_over(tmp_path: Path) -> None:
    with daemon_on(tmp_path, [f"0000000001,M1,modbus_rtu,badger-m2000,{LINK},1,60,20"], "[poll]\nspread_s = 0\n") as daemon:
        dead = socket.create_connection(("127.0.0.1", daemon.data_port), timeout=10)
        dead.sendall(LINK.encode())
        time.sleep(1.5)
        called_in(daemon, LINK.encode(), rtu_answer, at_once)
        assert registers(daemon.site, "0000000001", within_s=40) == [1024.0]
        dead.close()


# --- the first frame ----------------------------------------------------------------------------------------------------------


@covers("AUTO-FIRST")
@pytest.mark.parametrize("is_glued", [True, False], ids=["in one segment", "in the next segment"])
@pytest.mark.parametrize("noise", [b"\xff", b"www.usr.cn", b"861234567890001"])
def test_on_auto_the_first_frame_behind_noise_is_stored_and_answered(tmp_path: Path, noise: bytes, is_glued: bool) -> None:
    with daemon_on(tmp_path, [f"{TERMINALS[0]},M1,sl651,,,,15,20"]) as daemon:
        client = Client(daemon.data_port)
        frames = [frame(TERMINALS[0], minutes_ago(number), float(number), sequence=number) for number in (1, 2)]
        if is_glued:
            client.send(noise + frames[0])
        else:
            client.send(noise)
            time.sleep(0.1)
            client.send(frames[0])
        time.sleep(0.1)
        client.send(frames[1])
        assert client.acknowledged(2) == [1, 2]
        assert sorted(readings(daemon.site, TERMINALS[0], 2)["forward_m3"]) == [1.0, 2.0]
        assert counted(daemon.site, "bad", {"NOISE": 1})
