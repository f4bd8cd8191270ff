"""A real Grafana for tests, with our boards and rules."""

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dashboards import LINKS, Links, provisioning
from dashboards.telling import Receiver
from pipelines.processes import servers
from tests.mart_fixture import ZONE

HOME = servers.grafana_home()
Found = TypeVar("Found")


class Grafana(NamedTuple):
    """A running Grafana."""

    url: str
    password: str

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the administrator gets."""
        token = base64.b64encode(f"admin:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(look: Callable[[], Found], seconds: float = 180) -> Found:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"did not happen within {seconds} s"
        time.sleep(0.3)
    return found


@contextmanager
def running_grafana(
    folder: Path, dsn: str, receivers: Sequence[Receiver], *, language: str = "zh", links: Links = LINKS
) -> Iterator[Grafana]:
    """A Grafana that reads the database at `dsn` as the role of boards."""
    assert HOME is not None
    port = free_port()
    ini = provisioning.write(
        folder,
        postgres_dsn=dsn.replace("user=postgres", "user=mainflow_board"),
        zone=ZONE,
        language=language,
        http_port=port,
        receivers=receivers,
        links=links,
    )
    command, environment = provisioning.launch(HOME, ini, ZONE)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    running = Grafana(f"http://127.0.0.1:{port}", provisioning.admin_password(folder))

    def ready() -> bool:
        assert server.poll() is None, (folder / "log").read_text()[-3000:]
        try:
            return bool(running.call("/api/health").get("database") == "ok")
        except OSError:
            return False

    try:
        eventually(ready)
        yield running
    finally:
        server.terminate()
        server.wait(30)
