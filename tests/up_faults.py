"""Every process of `mainflow up` killed again and again: how soon that is told, and how soon each answers again.

    python -m tests.up_faults --times 20 --seed 1 [--report FILE]

Grafana is among them where `GRAFANA_HOME` is set or `grafana` is on PATH.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg

from ingest_daemon.contract.kept import ended, kept
from ingest_daemon.contract.site import Site
from tests.chain import COMMAND, mainflow
from tests.influx_server import free_ports
from tests.trials import conclude, heading

BACK_S, TOLD_S = 10.0, 5.0
"""What must be: a killed process is started again within the first, and until then told within the second."""
READY_S = 300.0


class Kill(NamedTuple):
    """Seconds after a kill until status and doctor tell it, /healthz does (None: it was back before), the process is started
    again, and it answers."""

    told: float
    healthz: float | None
    started: float
    answers: float


def run(folder: Path, times: int, seed: int) -> dict[str, list[Kill]]:
    """Kill each process so often; gives each process' kills."""
    site = Site(folder / "站 点")
    mainflow("init", site.root)
    ports = dict(zip(("web", "grafana", "health"), free_ports(3), strict=True))
    environment = {
        **os.environ,
        "MAINFLOW_DAEMON_DATA_PORT": "0",
        "MAINFLOW_DAEMON_ALARM_PORT": "0",
        "MAINFLOW_DAEMON_HEALTH_PORT": str(ports["health"]),
        "MAINFLOW_DESK_PORT": "0",
        "MAINFLOW_SERVERS_DAGSTER_PORT": str(ports["web"]),
        "MAINFLOW_SERVERS_GRAFANA_PORT": str(ports["grafana"]),
    }
    chance, kills = random.Random(seed), defaultdict(list)
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen([*COMMAND, "up", "--site", str(site.root)], env=environment, stdout=log, stderr=log)
    try:
        _until(lambda: kept(site) and all(child.is_running for child in kept(site) or []), READY_S)
        answering = _answering(site, ports)
        for _ in range(times):
            names = list(_pids(site))
            chance.shuffle(names)
            for name in names:
                _until(answering[name], READY_S)
                time.sleep(chance.uniform(0, 1))
                kills[name].append(_kill(site, name, answering[name], ports["health"]))
        up.send_signal(signal.SIGTERM)
        if up.wait(READY_S):
            raise RuntimeError(f"`mainflow up` ended with {up.returncode}")
    finally:
        up.kill()
        up.wait()
    return dict(kills)


def report(kills: dict[str, list[Kill]], seed: int, seconds: float) -> str:
    """The longest times of each process."""
    lines = [
        *heading(seed, seconds, 18),
        "process            kills  told within  /healthz  started again  answers (longest)",
    ]
    for name, all_kills in sorted(kills.items()):
        told, healthz, started, answers = (max(kill[part] or 0.0 for kill in all_kills) for part in range(4))
        lines.append(f"{name:<18} {len(all_kills):>5} {told:>10.1f} s {healthz:>7.1f} s {started:>12.1f} s {answers:>7.1f} s")
    lines.append(f"verdict           {'back and told in time' if _in_time(kills) else 'FAILED'}")
    return "\n".join(lines) + "\n"


def _in_time(kills: dict[str, list[Kill]]) -> bool:
    everything = [kill for some in kills.values() for kill in some]
    return all(kill.started <= BACK_S and kill.told <= TOLD_S and (kill.healthz or 0) <= TOLD_S for kill in everything)


def _kill(site: Site, name: str, answers: Callable[[], object], health_port: int) -> Kill:
    pid = _pids(site)[name]
    assert pid
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    told = healthz = started = None
    while started is None or told is None:
        now = _pids(site)[name]
        passed = time.monotonic() - killed
        if told is None and (now is None or now != pid):
            told = passed
        if healthz is None and now is None and name in _healthz(health_port):
            healthz = time.monotonic() - killed
        if now not in (None, pid):
            started = passed
        if passed > READY_S:
            raise TimeoutError(f"{name} is not started again: {ended(site)}")
        time.sleep(0.02)
    _until(answers, READY_S)
    return Kill(told, healthz, started, time.monotonic() - killed)


def _answering(site: Site, ports: dict[str, int]) -> dict[str, Callable[[], object]]:
    """By process: whether it does what it is for."""
    return {
        "daemon": lambda: _connects(json.loads((site.state / "daemon.json").read_text())["data_port"]),
        "postgres": lambda: _selects(site),
        "dagster-webserver": lambda: _connects(ports["web"]),
        "dagster-daemon": lambda: _pids(site)["dagster-daemon"],
        "grafana": lambda: _connects(ports["grafana"]),
        "desk": lambda: _connects(json.loads((site.state / "desk.json").read_text())["port"]),
    }


def _pids(site: Site) -> dict[str, int | None]:
    content = json.loads((site.state / "up.json").read_text())
    return {name: child["pid"] for name, child in content["children"].items()}


def _healthz(port: int) -> str:
    """The text of an answer that is not 200; of a daemon that does not answer its name."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
            return ""
    except HTTPError as error:
        return error.read().decode()
    except OSError:
        return "daemon"


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _selects(site: Site) -> bool:
    dsn = json.loads((site.state / "postgres.json").read_text())["dsn"]
    with psycopg.connect(dsn, connect_timeout=3) as connection:
        return connection.execute("select 1 from ops.site").fetchone() == (1,)


def _until(condition: Callable[[], object], seconds: float) -> None:
    """Raises `TimeoutError`. A condition that cannot be asked does not hold."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, psycopg.Error):
            if condition():
                return
        time.sleep(0.05)
    raise TimeoutError(f"not within {seconds:.0f} s")


def main() -> int:
    """Kill, print the report; exit code 1 where something was late."""
    parser = argparse.ArgumentParser(prog="python -m tests.up_faults", description="every process of `mainflow up` killed")
    parser.add_argument("--times", type=int, default=20, help="kills of each process")
    parser.add_argument("--seed", type=int, default=1, help="of everything random but the machine itself")
    parser.add_argument("--report", type=Path, help="write the report into this file, too")
    options = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp(prefix="mainflow-up-faults-")), time.monotonic()
    kills = run(folder, options.times, options.seed)
    text = report(kills, options.seed, time.monotonic() - began)
    return conclude(folder, text, options.report, is_good=_in_time(kills))


if __name__ == "__main__":
    sys.exit(main())
