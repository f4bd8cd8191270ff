"""A utility's terminals reconnecting over a balancer and two daemons (the storm of P4, as a region has it)."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from benchmarks import workload
from benchmarks.balancer import Backend, balancer, program
from benchmarks.crowd import AT_A_TIME, SESSIONS, TERMINALS, WARM
from benchmarks.figures import Figure, at_most, ratios
from benchmarks.machine import cpu_s, free_port, pinned, used_between
from benchmarks.parties import RECEPTION, Measured, Server, wait_for
from benchmarks.reception import settle
from benchmarks.run import AWAY, Run
from ingest_daemon.contract.files import read_json
from ingest_daemon.contract.site import Site

NAMES = ("north", "south")


class Storm(NamedTuple):
    """The load's results, and CPU seconds by part: reception of all daemons, the whole of them, the balancer."""

    seen: Measured
    reception_s: float
    daemons_s: float
    balancer_s: float


def storm(run: Run) -> list[Figure]:
    """200,000 terminals that connect, send, get their answer and close: two daemons behind HAProxy, against one alone."""
    program()
    sessions = run.sized(SESSIONS)
    alone, two = [], []
    for _ in run.each_round("storm2"):
        with run.site(sessions, store=AWAY) as site, run.parties.daemon(site) as server:
            settle(run, site, server, min(WARM, sessions))
            alone.append(_measured(run, [server], [], server.port, sessions))
        with _behind_balancer(run, sessions) as (servers, pid, port):
            two.append(_measured(run, servers, [pid], port, sessions))
    scaled = f"from {sessions:,} sessions, {AT_A_TIME} at a time, closed with FIN, store away"
    scale = TERMINALS / sessions

    def figure(what: str, values: list[float], unit: str, goal: float | None = None) -> Figure:
        return Figure("storm2", what, values, unit, at_most(goal) if goal else None, scaled)

    one_s, both_s = ([each.reception_s * scale for each in storms] for storms in (alone, two))
    return [
        figure("one daemon: connect, send, acknowledged, close", [_rate(each) for each in alone], "sessions/s"),
        figure("one daemon: CPU of reception", one_s, "s of one core"),
        figure("two behind HAProxy: connect, send, acknowledged, close", [_rate(each) for each in two], "sessions/s"),
        figure("two behind HAProxy: CPU of reception, both", both_s, "s of one core", 30),
        figure("two behind HAProxy: of the CPU of reception of one", ratios(both_s, one_s), ""),
        figure("two behind HAProxy: CPU of both processes", [each.daemons_s * scale for each in two], "s of one core"),
        figure("two behind HAProxy: CPU of HAProxy", [each.balancer_s * scale for each in two], "s of one core"),
    ]


def _rate(storm: Storm) -> float:
    return storm.seen.sessions / storm.seen.seconds


@contextmanager
def _behind_balancer(run: Run, sessions: int) -> Iterator[tuple[list[Server], int, int]]:
    """Two daemons and HAProxy: the daemons, HAProxy's process number and its data port."""
    with ExitStack() as stack:
        parties: dict[str, tuple[Site, Server]] = {}
        for name in NAMES:
            site = stack.enter_context(run.site(sessions, store={**AWAY, "share": name}, daemon={"proxy_protocol": True}))
            parties[name] = site, stack.enter_context(run.parties.daemon(site))
        backends = []
        for name, (site, server) in parties.items():
            ports = read_json(site.state / "daemon.json") or {}
            backends.append(Backend(name, "127.0.0.1", server.port, ports["alarm_port"], ports["health_port"]))
        port = free_port()
        on_load_core = pinned(run.parties.cores.load)
        process = stack.enter_context(balancer(run.folder, backends, port, free_port(), pinned=on_load_core))
        wait_for(lambda: _is_open(port), "HAProxy listens")
        for site, server in parties.values():
            settle(run, site, server, min(WARM, sessions), port)
        yield [server for _, server in parties.values()], process.pid, port


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _measured(run: Run, servers: Sequence[Server], balancers: Sequence[int], port: int, sessions: int) -> Storm:
    pids = [*(server.pid for server in servers), *balancers]
    before = [cpu_s(pid) for pid in pids]
    seen = run.parties.load(servers[0], run.days(workload.SINGLE), "-n", sessions, "-c", AT_A_TIME, port=port)
    used = [used_between(old, cpu_s(pid)) for old, pid in zip(before, pids, strict=True)]
    daemons, rest = used[: len(servers)], used[len(servers) :]
    reception_s = sum(by_thread.get(name, 0.0) for by_thread in daemons for name in RECEPTION)
    return Storm(seen, reception_s, *(sum(sum(by_thread.values()) for by_thread in part) for part in (daemons, rest)))
