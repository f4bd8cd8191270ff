"""A thin link (R032): a utility's day through 512 kbit/s, shaped by a token bucket of our own between terminals and daemon."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from benchmarks import workload
from benchmarks.figures import Figure, at_most
from benchmarks.parties import is_forwarded, wait_for
from benchmarks.run import Run
from benchmarks.workload import RECORDS
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore

METERS = 2_000
AT_A_TIME = 50
BITS_S = 512_000
PACKET = 1460
HEADERS = 54
"""Bytes of Ethernet, IP and TCP around each packet; every second packet is acknowledged by an empty one the other way."""
CONNECTING = 7 * HEADERS
"""Packets without content of a connection: SYN, its answer and acknowledgement, FIN and ACK both ways."""

LONG_S = 600.0
HOUR_S = 3600.0


class Bucket:
    """One direction of the link: whoever takes bytes waits until the link has carried them."""

    def __init__(self, bits_s: float) -> None:
        self._bytes_s = bits_s / 8
        self._free_at = time.monotonic()
        self._lock = threading.Lock()
        self.carried = 0

    def carry(self, size: int) -> None:
        """Wait as long as the link needs for so many bytes of content, with the headers of their packets."""
        packets = -(-size // PACKET)
        self.take(size + packets * HEADERS + packets // 2 * HEADERS)

    def take(self, size: int) -> None:
        """Wait as long as the link needs for so many bytes."""
        with self._lock:
            self.carried += size
            self._free_at = max(self._free_at, time.monotonic()) + size / self._bytes_s
            ready = self._free_at
        time.sleep(max(0.0, ready - time.monotonic()))


def thin_link(run: Run) -> list[Figure]:
    """R032: 2,000 meters x 96 readings through 512 kbit/s within an hour, none lost; every field, two frames a meter."""
    meters = run.sized(METERS)
    run.tell(f"R032: {meters:,} meters")
    with run.site(meters) as site, run.parties.daemon(site) as server, _link(server.port) as (port, up):
        seen = run.parties.load(
            server, run.days(workload.FULL), "-n", meters, "-c", min(AT_A_TIME, meters), "-s", LONG_S, port=port
        )
        wait_for(lambda: is_forwarded(site), "all is forwarded", LONG_S)
        lost = meters * RECORDS - _stored(site)
    a_meter = up.carried / meters
    size = f"{meters:,} meters x {RECORDS} readings, every field, {AT_A_TIME} connections at a time"
    whole_s = a_meter * 8 * METERS / BITS_S
    return [
        Figure("R032", "on the wire upwards, a meter and day, with packet headers", [a_meter], "B", None, size),
        Figure("R032", "run through the shaped link", [seen.seconds], "s", at_most(HOUR_S), size),
        Figure("R032", "2,000 meters by the bytes on the wire", [whole_s], "s", at_most(HOUR_S)),
        Figure("R032", "readings missing in the raw store", [lost], "", at_most(0), size),
    ]


def _stored(site: Site) -> int:
    """Points in the raw store."""
    return ParquetStore(site.raw).read(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)).height


@contextmanager
def _link(target: int) -> Iterator[tuple[int, Bucket]]:
    """A port whose connections go to `target` through the thin link, and the bucket of the way up."""
    up, down = Bucket(BITS_S), Bucket(BITS_S)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", target))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up.take(CONNECTING)
            threading.Thread(target=_pump, args=(near, far, up.carry), daemon=True).start()
            threading.Thread(target=_pump, args=(far, near, down.carry), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], up
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pump(source: socket.socket, sink: socket.socket, carry: Callable[[int], None]) -> None:
    """Bring bytes from one end to the other as fast as the link carries them, until an end closes."""
    with source, suppress(OSError):
        while data := source.recv(PACKET):
            carry(len(data))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
