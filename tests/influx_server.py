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
    folder.mkdir(parents=True, exist_ok=True)
    process, url = _start(folder, tag_values, auth)
    try:
        yield url
    finally:
        process.terminate()
        process.wait(timeout=START_S)


def _start(folder: Path, tag_values: int, auth: bool) -> tuple[subprocess.Popen[bytes], str]:
    http, rpc = _free_ports(2)
    index = "inmem" if tag_values else "tsi1"  # only the first knows the limit
    text = CONFIGURATION.format(folder=folder, http=http, rpc=rpc, index=index, tag_values=tag_values, auth=str(auth).lower())
    (folder / "influxdb.conf").write_text(text)
    with (folder / "influxd.log").open("ab") as log:
        process = subprocess.Popen(
            ["influxd", "-config", str(folder / "influxdb.conf")],
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{http}"
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urlopen(f"{url}/ping", timeout=1).close()
            return process, url
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.05)
    process.kill()
    process.wait()
    raise RuntimeError(f"influxd did not start on {url}: {(folder / 'influxd.log').read_text()[-2000:]}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports
