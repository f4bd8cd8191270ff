"""Flow control: connections are not read while too many bytes wait for the disk."""

import asyncio
from collections.abc import Callable

PENDING_BYTES = 8 << 20
"""With more bytes than this waiting for the disk, a connection that sends is paused until the next commit."""


class FlowControl:
    """Pauses connections by the bytes that wait for the disk, and resumes them once a group is committed."""

    def __init__(self, pending_bytes: Callable[[], int]) -> None:
        """`pending_bytes`: bytes that wait for the disk now."""
        self._pending_bytes = pending_bytes
        self._paused: set[asyncio.Transport] = set()

    def received(self, transport: asyncio.Transport) -> None:
        """Pause the connection that just sent something if the disk is far behind."""
        if self._pending_bytes() > PENDING_BYTES and not transport.is_closing():
            transport.pause_reading()
            self._paused.add(transport)

    def committed(self) -> None:
        """Resume all paused connections: a group is committed or refused."""
        for transport in self._paused:
            transport.resume_reading()
        self._paused.clear()

    def forget(self, transport: asyncio.Transport) -> None:
        """Drop a connection that ended."""
        self._paused.discard(transport)
