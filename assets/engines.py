"""Engines: who computes independent parts of work: this process, processes of this machine, or Ray. No data here.

    parts ──`Engine.results`──▶ `work` of each part, a little ahead of the reader ──▶ results in the order of the parts

`work` is a function of one part that looks at no other, so that any engine gives the same. A worker computes with one thread of
Polars: workers share the processors already.
"""

import os
import pickle
import re
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")

ENGINES = ("local", "processes", "ray")

AHEAD = 2
"""Parts beyond one a worker that are under way: a worker that is done finds another one."""

ANSWER_S = 10.0
"""A Ray cluster takes a connection within these seconds, or is away."""

READY_S = 120.0
"""Ray is ready to work within these seconds, or is away: starting it takes 5 to 20."""

RETRIES = 3
"""Ray computes a part so many times again when its worker or the worker's machine is gone."""

RESULT_BYTES = 64 << 20
"""Room in the memory of a Ray started here for each result under way; more of it goes to disk."""

ADDRESS = re.compile(r"(?:auto|(?:ray://)?(?P<host>\[[0-9A-Fa-f:]+\]|[^\s/:\[\]]+):(?P<port>\d{1,5}))?")
"""Of a Ray cluster; empty: none, Ray is started here."""


class WorkerEnded(RuntimeError):
    """The engine ended, or could not begin, before the work was done; the text names it and what to do."""


class Engine(NamedTuple):
    """One of `ENGINES`, the workers that compute at once (0 for a Ray cluster: as many as it has CPUs), and Ray's address."""

    kind: str = "local"
    workers: int = 1
    ray_address: str = ""

    def results(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
        """The results of the parts in their order. Raises what `work` raises, or `WorkerEnded`."""
        if self.kind == "ray":
            return _by_ray(work, parts, self.workers, self.ray_address)
        if self.kind == "processes" and self.workers > 1:
            return _by_processes(work, parts, self.workers)
        return map(work, parts)


LOCAL = Engine()


def wrong_of(kind: str, ray_address: str) -> str | None:
    """What is wrong with the settings of an engine and what to do; None where nothing is."""
    if not ADDRESS.fullmatch(ray_address):
        return f"ray_address = {ray_address!r}: expected auto, host:port, ray://host:port, or nothing to start Ray here"
    if kind == "ray" and find_spec("ray") is None:
        return "engine = 'ray': Ray is not installed: pip install 'mainflow[region]', or choose processes"
    return None


def _by_processes(work: Callable[[Part], Result], parts: Iterable[Part], workers: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="mainflow-") as folder:
        # Through a file: a worker that is killed before it has read its arguments would let a pipe, and us, wait for ever.
        shared = Path(folder) / "work"
        shared.write_bytes(pickle.dumps(work))
        # New processes: a fork would copy the locks of the threads that Polars, DuckDB and Dagster run.
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (str(shared),))
        try:
            running: deque[Future[Result]] = deque()
            for part in parts:
                running.append(pool.submit(_compute, part))
                if len(running) >= workers + AHEAD:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool:
            raise WorkerEnded(
                "计算进程意外终止（可能内存不足），日期保留待算 / a worker process ended before its work was done (killed, or "
                "out of memory): the days stay waiting; run again, with fewer [figures] workers where memory is short"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


_work: Callable[[Any], Any]
"""Of a worker process."""


def _start(shared: str) -> None:
    global _work
    os.environ["POLARS_MAX_THREADS"] = "1"  # before the import of Polars that unpickling brings
    _work = pickle.loads(Path(shared).read_bytes())


def _compute(part: Any) -> Any:
    return _work(part)


# --- Ray ----------------------------------------------------------------------------------------------------------------------


def _by_ray(work: Callable[[Part], Result], parts: Iterable[Part], workers: int, address: str) -> Iterator[Result]:
    """A process of its own speaks with Ray: Ray ends the process that has lost its head, without an exception."""
    _look_for(address)
    with tempfile.TemporaryDirectory(prefix="mainflow-", ignore_cleanup_errors=True) as folder:
        ours, theirs = get_context("spawn").Pipe()
        driver = get_context("spawn").Process(target=_drive, args=(theirs, folder, workers, address), daemon=True)
        driver.start()
        theirs.close()
        line = _Line(ours, address)
        try:
            line.send(work)
            most, running = line.receive(READY_S), 0
            for part in parts:
                line.send(part)
                running += 1
                if running >= most:
                    yield line.receive()
                    running -= 1
            for _ in range(running):
                line.send(None)
                yield line.receive()
        finally:
            ours.close()
            driver.join(ANSWER_S)
            driver.kill()
            driver.join()


class _Line(NamedTuple):
    """To the process that speaks with Ray."""

    pipe: Connection
    address: str

    def send(self, value: Any) -> None:
        """Raises `WorkerEnded`."""
        with self._ended():
            self.pipe.send(value)

    def receive(self, within_s: float | None = None) -> Any:
        """What comes. Raises a failure that comes, or `WorkerEnded`."""
        with self._ended():
            if not self.pipe.poll(within_s):
                raise _away(self.address, f"was not ready within {within_s:.0f} s")
            found = self.pipe.recv()
        if isinstance(found, Exception):
            raise found
        return found

    @contextmanager
    def _ended(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            raise _away(self.address, "ended before its work was done") from None


def _look_for(address: str) -> None:
    """Raises `WorkerEnded` where nothing listens at the address: Ray itself would try for two minutes."""
    found = ADDRESS.fullmatch(address)
    if not found or not found["host"]:
        return
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise _away(address, f"does not answer within {ANSWER_S:.0f} s ({error})") from None


def _away(address: str, what: str) -> WorkerEnded:
    name = f"Ray ({address or 'started here'})"
    return WorkerEnded(
        f"{name} 不可用，日期保留待算 / {name} {what}: the days stay waiting; look at `ray status`, then run again, or set "
        "[figures] engine = 'processes'"
    )


def _drive(line: Connection, folder: str, workers: int, address: str) -> None:
    """The process that speaks with Ray: parts come, results go; once `most` run, one goes for each that comes."""
    with open(os.devnull, "w") as nowhere:  # Ray writes pages; what is wrong goes back as an error
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "20"}
    import ray

    try:
        work = line.recv_bytes()
        here = {"num_cpus": workers, "object_store_memory": (workers + AHEAD) * RESULT_BYTES, "_temp_dir": folder}
        ray.init(
            runtime_env={"env_vars": {"POLARS_MAX_THREADS": "1"}},
            **({"address": address} if address else {**here, "include_dashboard": False}),
        )
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if not cpus:
            raise _away(address, "has no CPU")
        most = (min(workers, cpus) or cpus) + AHEAD
        line.send(most)
        shared = ray.put(work)
        task = ray.remote(_compute_packed).options(num_cpus=1, max_retries=RETRIES)
        running: deque[Any] = deque()
        while True:
            part = line.recv()
            if part is not None:
                running.append(task.remote(shared, part))
            if part is None or len(running) >= most:
                line.send_bytes(ray.get(running.popleft()))
    except (EOFError, BrokenPipeError):  # the reader has all that it wants
        pass
    except ray.exceptions.RayTaskError as error:
        line.send(error.cause)
    except (Exception, SystemExit) as error:
        with suppress(OSError):
            line.send(error if isinstance(error, WorkerEnded) else _away(address, f"failed: {_first_line(error)}"))
    finally:
        ray.shutdown()


def _end_with_parent() -> None:
    """A run that is killed leaves no Ray behind: what Ray started ends with this process."""
    run = parent_process()
    assert run
    run.join()
    os._exit(1)


def _compute_packed(shared: bytes, part: Any) -> bytes:
    """Of a task of Ray. The result is packed once, where it is made."""
    return pickle.dumps(_unpacked(shared)(part), protocol=5)


def _unpacked(shared: bytes) -> Callable[[Any], Any]:
    global _work, _packed
    if _packed != shared:
        _work, _packed = pickle.loads(shared), shared
    return _work


_packed = b""
"""What `_work` was made from."""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
