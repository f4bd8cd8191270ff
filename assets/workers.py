"""Worker processes for work that is cut into independent parts. No data here, and no import that starts threads.

A worker computes with one thread of Polars: workers share the processors already.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


class WorkerEnded(RuntimeError):
    """A worker process ended before its work was done."""


def results(work: Callable[[Part], Result], parts: Sequence[Part], workers: int) -> Iterator[Result]:
    """The results of the parts in their order, computed by so many processes (below two: by this one).

    They are computed a little ahead of the reader. Raises what `work` raises, or `WorkerEnded`.
    """
    if min(workers, len(parts)) < 2:
        yield from map(work, parts)
        return
    with tempfile.TemporaryDirectory(prefix="mainflow-") as folder:
        # Through a file: a worker that is killed before it has read its arguments would let a pipe, and us, wait for ever.
        shared = Path(folder) / "work"
        shared.write_bytes(pickle.dumps(work))
        # New processes: a fork would copy the locks of the threads that Polars, DuckDB and Dagster run.
        pool = ProcessPoolExecutor(min(workers, len(parts)), get_context("spawn"), _start, (str(shared),))
        try:
            running: list[Future[Result]] = []
            for part in parts:
                running.append(pool.submit(_compute, part))
                if len(running) > workers:
                    yield running.pop(0).result()
            for future in running:
                yield future.result()
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
