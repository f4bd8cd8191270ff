"""Flow control: when connections are not read, because the disk is behind or because one of them takes more than its share."""

import time
from collections import deque
from collections.abc import Callable
from enum import IntFlag
from typing import Protocol

PENDING_BYTES = 8 << 20
"""With more bytes than this waiting for the disk, a connection that sends is paused until the next commit."""

BURST_S = 0.002
"""Work that a connection may cause at once before it has to take turns."""

STRANGERS_BURST_S = 0.0005
"""The same before a registered terminal was heard: a first frame, not one more credit for each connection of a flood."""

READ_S = 0.003
"""Most work that one read can cause; where it took longer, the processor was with another thread or process."""

MOST_SHARE = 0.02
"""Share of the event loop's time that a connection may take without taking turns; less where that is more than its equal part."""

TURN_S = 0.002
"""Work of the connections that take turns, in one turn of the event loop; at least one of them is read."""

STRANGERS_SHARE = 0.1
"""Share of the event loop's time for the turns of connections without a registered terminal: whatever they send, the processor is
left to the others, the site's other processes among them."""

DEBT_S = 0.05
"""Most work that is held against a connection."""


class Pause(IntFlag):
    """Reasons why a connection is not read."""

    PEER = 1
    """The peer does not read its acknowledgements."""
    DISK = 2
    SHARE = 4
    STOPPING = 8


class Pausable(Protocol):
    """A connection as flow control sees it."""

    work_s: float
    """Work that it may still cause before it has to take turns; below zero: its debt."""
    worked_s: float
    """When that was reckoned last, by `time.monotonic`."""
    last_work_s: float
    """Work that its last read caused."""

    @property
    def is_known(self) -> bool:
        """Whether a registered terminal or link was heard here."""
        ...

    def pause(self, reason: Pause) -> None:
        """Do not read it for this reason."""

    def resume(self, reason: Pause) -> None:
        """This reason is over."""


class FlowControl:
    """Pauses connections by the bytes that wait for the disk, and resumes them once a group is committed."""

    def __init__(self, pending_bytes: Callable[[], int]) -> None:
        """`pending_bytes`: bytes that wait for the disk now."""
        self._pending_bytes = pending_bytes
        self._paused: set[Pausable] = set()

    def received(self, connection: Pausable) -> None:
        """Pause the connection that just sent something if the disk is far behind."""
        if self._pending_bytes() > PENDING_BYTES:
            connection.pause(Pause.DISK)
            self._paused.add(connection)

    def committed(self) -> None:
        """Resume all paused connections: a group is committed or refused."""
        for connection in self._paused:
            connection.resume(Pause.DISK)
        self._paused.clear()

    def forget(self, connection: Pausable) -> None:
        """Drop a connection that ended."""
        self._paused.discard(connection)


class FairShare:
    """Lets connections that cause much work take turns: together they get little of each turn of the event loop.

    A terminal that reports now and then never meets it. Those that flood are read between the others, never before them; where
    no registered terminal is among them, only now and then.
    """

    def __init__(self) -> None:
        self._share = MOST_SHARE
        self._turns: deque[Pausable] = deque()
        self._strangers: deque[Pausable] = deque()
        self._call_soon: Callable[[Callable[[], None]], object]
        self._call_later: Callable[[float, Callable[[], None]], object]

    def start(
        self, call_soon: Callable[[Callable[[], None]], object], call_later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        """`call_soon`, `call_later`: of the event loop."""
        self._call_soon, self._call_later = call_soon, call_later

    def divide(self, connections: int) -> None:
        """Divide the event loop's time among so many connections."""
        self._share = min(MOST_SHARE, 1 / max(1, connections))

    def worked(self, connection: Pausable, began_s: float) -> None:
        """Charge a connection for the work since `began_s`; one in debt waits for its turn."""
        now_s = time.monotonic()
        connection.last_work_s = work_s = min(now_s - began_s, READ_S)
        left_s = connection.work_s + (began_s - connection.worked_s) * self._share
        burst_s = BURST_S if connection.is_known else STRANGERS_BURST_S
        if left_s > burst_s:
            left_s = burst_s
        connection.work_s = left_s = left_s - work_s
        connection.worked_s = now_s
        if left_s < 0:
            if left_s < -DEBT_S:
                connection.work_s = -DEBT_S
            connection.pause(Pause.SHARE)
            if connection.is_known:
                self._turns.append(connection)
                if len(self._turns) == 1:
                    self._call_soon(self._next)
            else:
                self._strangers.append(connection)
                if len(self._strangers) == 1:
                    self._call_later(_rest_s(work_s), self._next_strangers)

    def _next(self) -> None:
        """Let those that wait longest be read once."""
        _let_read(self._turns)
        if self._turns:
            self._call_soon(self._next)

    def _next_strangers(self) -> None:
        """The same for strangers, and then a rest."""
        work_s = _let_read(self._strangers)
        if self._strangers:
            self._call_later(_rest_s(work_s), self._next_strangers)


def _let_read(turns: deque[Pausable]) -> float:
    """Resume those that wait longest, together for `TURN_S`; gives the seconds of work that they are expected to cause."""
    work_s = 0.0
    while turns and work_s < TURN_S:
        connection = turns.popleft()
        work_s += connection.last_work_s
        connection.resume(Pause.SHARE)
    return work_s


def _rest_s(work_s: float) -> float:
    """Seconds after so much work of strangers that keep to their share."""
    return work_s * (1 / STRANGERS_SHARE - 1)
