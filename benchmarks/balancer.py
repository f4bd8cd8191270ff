"""HAProxy before several daemons, as `deploy/region/haproxy.cfg` has it, with other addresses. Nothing is measured here."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Unable

DEPLOYED = Path(__file__).parents[1] / "deploy" / "region" / "haproxy.cfg"


class Backend(NamedTuple):
    """A daemon as the balancer sees it."""

    name: str
    host: str
    data_port: int
    alarm_port: int
    health_port: int


def program() -> str:
    """The path of HAProxy. Raises `Unable` where it is not installed."""
    for folder in (None, "/usr/sbin"):  # of which an ordinary user's PATH knows nothing
        if found := shutil.which("haproxy", path=folder):
            return found
    raise Unable("没有 HAProxy / no haproxy on PATH. Debian, Ubuntu: apt-get install haproxy")


def configuration(backends: Sequence[Backend], data_port: int, alarm_port: int) -> str:
    """The deployed configuration with these daemons, listening on these ports of every address."""
    text = DEPLOYED.read_text(encoding="utf-8")
    for name, target, deployed, port in (("data", "data_port", 4000, data_port), ("alarms", "alarm_port", 5000, alarm_port)):
        servers = "".join(
            f"    server {each.name} {each.host}:{getattr(each, target)} port {each.health_port}\n" for each in backends
        )
        text = re.sub(rf"(?<=^    bind ):{deployed}$", f":{port}", text, flags=re.MULTILINE)
        text = re.sub(rf"(?<=^backend {name}\n)(    server .*\n)+", servers, text, flags=re.MULTILINE)
    return text


@contextmanager
def balancer(
    folder: Path,
    backends: Sequence[Backend],
    data_port: int,
    alarm_port: int,
    *,
    before: Sequence[str] = (),
    pinned: Callable[[], None] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """HAProxy in one process for the length of the block. `before`: words before its command, `pinned`: see `machine.pinned`."""
    path = folder / "haproxy.cfg"
    path.write_text(configuration(backends, data_port, alarm_port), encoding="utf-8")
    with (folder / "haproxy.log").open("ab") as log:
        process = subprocess.Popen([*before, program(), "-db", "-f", str(path)], stdout=log, stderr=log, preexec_fn=pinned)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
