"""`mainflow up` watches its processes: one that dies is started again, later each time; what it did stands in `state/up.json`.

One supervisor a site: it holds `state/up.lock` as long as it lives, whatever ends it.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event
from typing import Protocol

from ingest_daemon.contract import locks
from ingest_daemon.contract.files import glance, write_json
from ingest_daemon.contract.kept import BEAT_S, file, lock
from ingest_daemon.contract.kept import kept as kept
from ingest_daemon.contract.site import Site

LOOK_S = 0.25
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
"""Pauses before a process is started again, doubled each time that it does not last."""
LASTING_S = 60.0
DOWN_S = 90.0


class Child(Protocol):
    """A process that can be started again."""

    name: str

    def start(self) -> None: ...

    def poll(self) -> int | None:
        """The exit code of one that ended, else None."""
        ...

    @property
    def pid(self) -> int: ...


class SupervisorBusy(RuntimeError):
    """Another `mainflow up` runs the site; the text says what to do."""


def hold(site: Site) -> int:
    """Hold the site's lock of supervisors until this process ends; gives the lock's handle. Raises `SupervisorBusy`."""
    handle = locks.take(lock(site))
    if handle is None:
        raise SupervisorBusy(
            f"此站点已由另一个 mainflow up 运行 / another `mainflow up` (process {_pid(site)}) runs {site.root}; "
            f"stop it with: mainflow down --site {site.root}"
        )
    file(site).unlink(missing_ok=True)  # what a supervisor of before left
    return handle


def down(site: Site) -> bool:
    """End the running supervisor and wait until it has; False where there is none. Raises `TimeoutError`."""
    if not locks.is_held(lock(site)):
        return False
    deadline = time.monotonic() + DOWN_S
    told = None
    while locks.is_held(lock(site)):
        if (pid := _pid(site)) != told:
            told = pid
            with suppress(ProcessLookupError, TypeError):
                os.kill(pid, signal.SIGTERM)  # type: ignore[arg-type]
        if time.monotonic() > deadline:
            raise TimeoutError(f"`mainflow up` (process {_pid(site)}) did not end within {DOWN_S:.0f} s; kill it")
        time.sleep(0.1)
    return True


def watch(site: Site, children: Sequence[Child], stop: Event, tell: Callable[[str], None]) -> None:
    """Until `stop`: start again what ended. `tell` is called with each end and each failing start."""
    watched = [_Watched(child) for child in children]
    told = 0.0
    while True:
        changed = [each.look(tell) for each in watched]
        if any(changed) or time.monotonic() - told > BEAT_S:
            state = {"pid": os.getpid(), "at": time.time(), "children": dict(map(_Watched.row, watched))}
            with suppress(OSError):  # a full disk stops no process; the daemon says so
                write_json(file(site), state, durable=False)
            told = time.monotonic()
        if stop.wait(LOOK_S):
            return


class _Watched:
    """A child with its restarts."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._is_running, self._restarts, self._ended = True, 0, ""
        self._pause_s, self._since, self._again = FIRST_PAUSE_S, time.monotonic(), 0.0

    def row(self) -> tuple[str, dict[str, object]]:
        pid = self._child.pid if self._is_running else None
        return self._child.name, {"pid": pid, "restarts": self._restarts, "ended": self._ended}

    def look(self, tell: Callable[[str], None]) -> bool:
        """Note an end, or start again what waited long enough; whether something changed."""
        now = time.monotonic()
        if self._is_running:
            code = self._child.poll()
            if code is None:
                return False
            if now - self._since > LASTING_S:
                self._pause_s = FIRST_PAUSE_S
            self._is_running, self._again = False, now + self._pause_s
            self._ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            tell(f"{self._child.name} ended ({self._ended}); it is started again in {self._pause_s:.2g} s")
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            return True
        if now < self._again:
            return False
        try:
            self._child.start()
        except (OSError, RuntimeError) as error:
            self._again = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._ended = " ".join(str(error).split())[:300]
            tell(f"{self._child.name} does not start: {self._ended}")
            return True
        self._is_running, self._since = True, time.monotonic()
        self._restarts += 1
        return True


def _pid(site: Site) -> int | None:
    return glance(file(site), lambda content: int(content["pid"]))
