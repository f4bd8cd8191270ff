"""Meters that speak only when asked, for tests: real Modbus servers (pymodbus) with registers, and DTUs that call in for them."""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pymodbus import FramerType
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer


def f32(value: float) -> list[int]:
    """Two registers, high word first."""
    return list(struct.unpack(">HH", struct.pack(">f", value)))


def u32(value: int) -> list[int]:
    """Two registers, high word first."""
    return [value >> 16, value & 0xFFFF]


@contextmanager
def modbus_meters(registers: dict[int, Sequence[int]], *, rtu: bool) -> Iterator[int]:
    """A Modbus server on a free port, with the registers (from 0 on) of each of its meters; `rtu`: RTU frames over TCP."""
    devices = {
        address: ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, list(values))) for address, values in registers.items()
    }
    started: threading.Event = threading.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        framer = FramerType.RTU if rtu else FramerType.SOCKET
        server = ModbusTcpServer(ModbusServerContext(devices=devices, single=False), framer=framer, address=("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve_forever())
        while server.transport is None:
            await asyncio.sleep(0.01)
        told.update(port=server.transport.sockets[0].getsockname()[1], loop=asyncio.get_running_loop(), server=server)
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield told["port"]
    finally:
        asyncio.run_coroutine_threadsafe(told["server"].shutdown(), told["loop"]).result(10)
        thread.join(10)


class Dtu:
    """A DTU: calls in, says who it is, and passes bytes on between the centre and its serial line (here a socket) both ways.

    `away`: addresses of meters that are not there: what is asked of them nobody hears.
    """

    def __init__(
        self, centre_port: int, registration: bytes, line_port: int, heartbeat: bytes = b"", away: Sequence[int] = ()
    ) -> None:
        self._away = away
        self.centre = socket.create_connection(("127.0.0.1", centre_port), timeout=10)
        self.line = socket.create_connection(("127.0.0.1", line_port), timeout=10)
        self.centre.sendall(registration)
        self._heartbeat = heartbeat
        for source, target in ((self.centre, self.line), (self.line, self.centre)):
            threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()
        if heartbeat:
            threading.Thread(target=self._beat, daemon=True).start()

    def close(self) -> None:
        """Hang up."""
        for end in (self.centre, self.line):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        source.settimeout(None)
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                if data[0] not in self._away:
                    target.sendall(data)

    def _beat(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                time.sleep(0.1)
                self.centre.sendall(self._heartbeat)
