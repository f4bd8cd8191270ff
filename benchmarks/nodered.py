"""Node-RED as a peer (P2): tcp in, a function that decodes, the answer; on the same core, with the same frames and client."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import workload
from benchmarks.figures import Figure, Unable, at_least, ratios
from benchmarks.machine import SOURCES, free_port, pinned
from benchmarks.parties import Measured, Server, wait_for
from benchmarks.reception import WARM_UP, settle
from benchmarks.run import AWAY, Run

CONNECTIONS = 100
INSTALL_S = 300.0

ON_MESSAGE = """
const { readings, answer } = context.get('take')(msg._session.id, msg.payload);
if (!answer.length) return null;
msg.readings = readings;
msg.payload = answer;
return msg;
"""


def peer(run: Run) -> list[Figure]:
    """P2: durable acknowledgements against Node-RED's, which decodes and keeps nothing; 100 connections."""
    start = _installed(run.folder.parent / "node-red")
    seen: dict[str, list[Measured]] = {"usual": [], "best": [], "away": [], "parquet": []}
    for _ in run.each_round("P2"):
        options = "-c", CONNECTIONS, "-s", run.seconds, "-w", run.seconds * WARM_UP
        for name in ("usual", "best"):
            with _node_red(run, start, is_best=name == "best") as server:
                seen[name].append(run.parties.load(server, run.days(workload.SINGLE), *options))
        for name, store in (("away", AWAY), ("parquet", {})):
            with run.site(CONNECTIONS, store=store) as site, run.parties.daemon(site) as server:
                settle(run, site, server, CONNECTIONS)
                seen[name].append(run.parties.load(server, run.days(workload.SINGLE), *options))
    rate = {name: [each.frames_s for each in group] for name, group in seen.items()}
    usual, best = "Node-RED, decoding in the function node", "Node-RED at its best (decoding compiled in On Start)"
    return [
        Figure("P2", f"{usual}: not durable", rate["usual"], "frames/s", None, f"{CONNECTIONS} connections"),
        Figure("P2", f"{best}: not durable", rate["best"], "frames/s"),
        Figure("P2", f"{usual}: CPU a frame", [each.cpu_us for each in seen["usual"]], "µs"),
        Figure("P2", f"{best}: CPU a frame", [each.cpu_us for each in seen["best"]], "µs"),
        Figure("P2", f"{best}: p99 of an answer", [each.p99_ms for each in seen["best"]], "ms"),
        Figure("P2", "daemon, store away: durable", rate["away"], "frames/s"),
        Figure("P2", "daemon, store away: of Node-RED's", ratios(rate["away"], rate["usual"]), "", at_least(5)),
        Figure("P2", "daemon, store away: of Node-RED's best", ratios(rate["away"], rate["best"]), ""),
        Figure("P2", "daemon with Parquet: durable", rate["parquet"], "frames/s"),
        Figure("P2", "daemon with Parquet: of Node-RED's", ratios(rate["parquet"], rate["usual"]), ""),
        Figure("P2", "daemon with Parquet: of Node-RED's best", ratios(rate["parquet"], rate["best"]), ""),
        Figure("P2", "daemon with Parquet: p99 of an acknowledgement", [each.p99_ms for each in seen["parquet"]], "ms"),
    ]


def _installed(folder: Path) -> Path:
    """Node-RED's start file, installed from the npm registry where it is absent. Raises `Unable` with what is missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Unable("没有 node 或 npm / node and npm are not on PATH (Debian: apt-get install nodejs npm)")
    start = folder / "node_modules" / "node-red" / "red.js"
    if not start.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "node-red"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S)
        except subprocess.TimeoutExpired:
            raise Unable(f"npm did not install node-red within {INSTALL_S:.0f} s") from None
        if done.returncode or not start.exists():
            raise Unable(f"npm could not install node-red: {(done.stderr or done.stdout).strip()[-500:]}")
    return start


@contextmanager
def _node_red(run: Run, start: Path, *, is_best: bool) -> Iterator[Server]:
    """Node-RED with the one flow, on the server's core."""
    port, editor = free_port(), free_port()
    folder = run.folder / "node-red-user"
    folder.mkdir(exist_ok=True)
    flow = folder / "flow.json"
    flow.write_text(json.dumps(_flow(port, is_best)))
    (folder / "settings.js").write_text(
        f"module.exports = {{uiHost: '127.0.0.1', uiPort: {editor}, httpAdminRoot: false, telemetry: {{enabled: false}}}};"
    )
    log = (folder / "log").open("ab")
    process = subprocess.Popen(
        ["node", str(start), "--userDir", str(folder), str(flow)],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdout=log,
        stderr=log,
        preexec_fn=pinned(run.parties.cores.server),
    )
    log.close()
    try:
        wait_for(lambda: _answers(port) or process.poll() is not None, "Node-RED listens")
        if process.poll() is not None:
            raise RuntimeError(f"Node-RED ended at once: {(folder / 'log').read_text()[-2000:]}")
        yield Server(process.pid, port)
    finally:
        process.kill()
        process.wait()


def _flow(port: int, is_best: bool) -> list[dict[str, object]]:
    decoding = (SOURCES / "nodered_decode.js").read_text(encoding="utf-8")
    listening = {"server": "server", "host": "", "port": str(port), "datamode": "stream", "datatype": "buffer", "newline": ""}
    return [
        {"id": "tab", "type": "tab", "label": "sl651"},
        {"id": "in", "z": "tab", "type": "tcp in", **listening, "wires": [["decode"]]},
        {
            "id": "decode",
            "z": "tab",
            "type": "function",
            "func": ON_MESSAGE if is_best else decoding + ON_MESSAGE,
            "outputs": 1,
            "initialize": decoding if is_best else "",
            "finalize": "",
            "libs": [],
            "wires": [["out"]],
        },
        {"id": "out", "z": "tab", "type": "tcp out", "beserver": "reply", "host": "", "port": "", "wires": []},
    ]


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
