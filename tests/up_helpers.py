"""`mainflow up` as a process of its own, for tests: started, ready, its children, ended."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from ingest_daemon.contract.site import Site
from tests.chain import COMMAND, FREE_PORTS
from tests.daemon_helpers import eventually

READY_S = 200.0


def free_port() -> str:
    """A TCP port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def up(site: Site, **settings: str) -> "subprocess.Popen[str]":
    """The command, without a Grafana; `settings`: more of its environment."""
    environment = {**os.environ, **FREE_PORTS, "MAINFLOW_SERVERS_DAGSTER_PORT": free_port(), "PATH": "/usr/bin:/bin", **settings}
    environment.pop("GRAFANA_HOME", None)
    return subprocess.Popen(
        [*COMMAND, "up", "--site", str(site.root)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@contextmanager
def standing(site: Site, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """A supervisor that has started everything; it is ended unless the test ended it."""
    (site.state / "up.json").unlink(missing_ok=True)
    process = up(site, **settings)
    try:
        eventually(lambda: (site.state / "up.json").exists() or process.poll() is not None, "everything is started", READY_S)
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def pids(site: Site) -> dict[str, int | None]:
    """The process of each child, None while it is down."""
    content = json.loads((site.state / "up.json").read_text())
    return {name: child["pid"] for name, child in content["children"].items()}
