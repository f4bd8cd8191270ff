"""A private InfluxDB 1.x for tests: its own folder, its own free ports, nothing left behind.

Only the starting and stopping belongs here; what is tested with it lies in the tests.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

URL_VARIABLE = "MAINFLOW_TEST_INFLUX_URL"
START_S = 30.0

# The stock configuration keeps the index in memory and drops the 100 001st meter: as a site must set it.
CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "{index}"
  max-values-per-tag = {tag_values}
  max-series-per-database = 0
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
  auth-enabled = {auth}
[ifql]
  enabled = false
"""


def missing() -> str | None:
    """Why no InfluxDB can be had on this machine, or None."""
    if os.environ.get(URL_VARIABLE) or shutil.which("influxd"):
        return None
    return f"no influxd on PATH (Debian: apt-get install influxdb) and no address in {URL_VARIABLE}"


@contextmanager
def running_influxdb(folder: Path, *, tag_values: int = 0, auth: bool = False) -> Iterator[str]:
    """Address of an InfluxDB that keeps its data in `folder` and is stopped at the end.

    `tag_values` limits the number of meters (0: none); `auth` wants a log-in. The server named by
    MAINFLOW_TEST_INFLUX_URL is used instead where neither is asked for.
    """
    given = os.environ.get(URL_VARIABLE)
    if given and not tag_values and not auth:
        yield given
        return
    server = InfluxServer(folder, tag_values, auth)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


class InfluxServer:
    """An InfluxDB 1.x that may be killed, stopped for a while and started again: at one address, over one folder."""

    def __init__(self, folder: Path, tag_values: int = 0, auth: bool = False) -> None:
        """`tag_values` limits the number of meters (0: none); `auth` wants a log-in. Not started yet."""
        folder.mkdir(parents=True, exist_ok=True)
        http, rpc = free_ports(2)
        index = "inmem" if tag_values else "tsi1"  # only the first knows the limit
        text = CONFIGURATION.format(folder=folder, http=http, rpc=rpc, index=index, tag_values=tag_values, auth=str(auth).lower())
        (folder / "influxdb.conf").write_text(text)
        self.url = f"http://127.0.0.1:{http}"
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder

    def spawn(self) -> None:
        """Start the process; it answers after a while."""
        with (self._folder / "influxd.log").open("ab") as log:
            command = ["influxd", "-config", str(self._folder / "influxdb.conf")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def start(self) -> None:
        """Start it and wait for its first answer. Raises `RuntimeError` with the end of its log."""
        self.spawn()
        assert self.process
        deadline = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                urlopen(f"{self.url}/ping", timeout=1).close()
                return
            except (URLError, TimeoutError, ConnectionError):
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"influxd did not start on {self.url}: {(self._folder / 'influxd.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """A clean stop."""
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=START_S)
            self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports
