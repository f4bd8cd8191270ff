"""The machine: compiler, cores, what a process used (CPU by thread, memory), what the disk takes. Linux only.

No protocol and no daemon is used here.
"""

import os
import platform
import shutil
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.figures import Unable

SOURCES = Path(__file__).parent
SHIM = "slow_disk"


class Tools(NamedTuple):
    """The compiled programs."""

    load: Path
    echo: Path
    slow_disk: Path


class Cores(NamedTuple):
    """Who runs where; on a machine with one core both are the same one."""

    server: set[int]
    load: set[int]


def compile_tools(folder: Path) -> Tools:
    """Compile the C programs into a folder. Raises `Unable` where there is no compiler, or with its words."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unable(
            "没有 C 编译器 / no C compiler: cc, gcc or clang expected on PATH. Debian, Ubuntu: apt-get install gcc libc6-dev"
        )
    return Tools(*(_compile(compiler, folder, name) for name in ("load", "echo", SHIM)))


def _compile(compiler: str, folder: Path, name: str) -> Path:
    target = folder / (f"{name}.so" if name == SHIM else name)
    extra = ["-shared", "-fPIC"] if name == SHIM else []
    command = [compiler, "-O2", "-Wall", *extra, "-o", str(target), str(SOURCES / f"{name}.c"), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return target


def cores() -> Cores:
    """The first core that we may use for servers, the last one for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores({allowed[0]}, {allowed[-1]})


def pinned(where: set[int]) -> Callable[[], None]:
    """The action of a child process before its program begins: stay on these cores."""
    return lambda: os.sched_setaffinity(0, where)


def cpu_s(pid: int) -> Mapping[str, float]:
    """CPU seconds of a process by thread name, of the threads that live now.

    From `schedstat` (nanoseconds); where the kernel has none, from `stat` (hundredths of a second).
    """
    used: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            name = (task / "comm").read_text().strip()
            used[name] += _cpu_of(task)
    return used


def _cpu_of(task: Path) -> float:
    statistics = task / "schedstat"
    if statistics.exists():
        return int(statistics.read_text().split()[0]) / 1e9
    ticks = (task / "stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def used_between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds by thread name from one `cpu_s` to a later one."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def free_port() -> int:
    """A TCP port of this machine that nothing listens to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """`VmRSS` (now) or `VmHWM` (the most there was) of a process, in MB of 1,048,576 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/status says nothing of {what}")


def sync_ms(folder: Path, size: int = 65536, count: int = 50) -> float:
    """Median time of appending `size` bytes and making them durable, in ms: what a group commit waits for on this disk."""
    path = folder / "sync"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(bytes(size))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return median(took)


def describe(folder: Path) -> Mapping[str, str]:
    """The machine in words, for the head of a report."""
    information = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")), "?")
    return {
        "cpu": f"{model}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()),
        "fdatasync 64 KB": f"{sync_ms(folder):.2f} ms",
    }
