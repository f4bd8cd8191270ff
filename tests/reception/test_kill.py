"""A daemon that is killed at any instant loses nothing that it acknowledged and invents nothing."""

import random
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingest_daemon.journal.reader import backlog
from tests.daemon_helpers import TERMINALS, Client, Daemon, environment_number, eventually, frame, make_site, stored

KILLS = environment_number("MAINFLOW_TEST_KILLS", 20)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Terminal(threading.Thread):
    """A terminal that reports one reading after the other and repeats each until it is acknowledged, as real ones do."""

    def __init__(self, number: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.number, self.port, self.done = number, 0, False
        self.sent: dict[datetime, float] = {}
        self.acknowledged: set[datetime] = set()
        self._random = random.Random(seed)

    def run(self) -> None:
        step = 0
        while not self.done:
            try:
                client = Client(self.port)
                while not self.done:
                    burst = range(step, step + self._random.randint(1, 8))
                    client.send(b"".join(self._frame(number) for number in burst))
                    for sequence in client.acknowledged(len(burst)):
                        self.acknowledged.add(BEGAN + timedelta(minutes=sequence - 1))
                    step = burst.stop
            except OSError:
                time.sleep(0.02)

    def _frame(self, step: int) -> bytes:
        ts = BEGAN + timedelta(minutes=step)
        self.sent[ts] = round(int(self.number) * 10 + step * 0.125, 3)
        return frame(self.number, ts, self.sent[ts], sequence=step + 1)


def test_killed_at_random_instants_every_acknowledged_reading_is_stored_once_and_nothing_else(tmp_path: Path) -> None:
    site = make_site(tmp_path, segment_mb=1)
    chance = random.Random(4000)
    terminals = [Terminal(number, seed) for seed, number in enumerate(TERMINALS)]
    for kill in range(KILLS):
        daemon = Daemon(site)
        for number, terminal in enumerate(terminals):
            terminal.port = (daemon.data_port, daemon.alarm_port)[number % 2]
            if not kill:
                terminal.start()
        time.sleep(chance.uniform(0.0, 0.6))
        daemon.kill()
    for terminal in terminals:
        terminal.done = True
    for terminal in terminals:
        terminal.join(20)

    last = Daemon(site)
    eventually(lambda: not sum(backlog(site)[stream] for stream in ("data", "alarm")), "all is forwarded")
    assert last.stop() == 0

    readings = stored(site)
    found = {(terminal, ts): value for terminal, ts, value in readings.select("terminal", "ts", "forward_m3").iter_rows()}
    assert len(found) == len(readings), "a reading is stored twice"
    acknowledged = {(each.number, ts) for each in terminals for ts in each.acknowledged}
    sent = {(each.number, ts): value for each in terminals for ts, value in each.sent.items()}
    assert len(acknowledged) > KILLS
    assert acknowledged - found.keys() == set(), "acknowledged, but not stored"
    assert {key: value for key, value in found.items() if sent.get(key) != value} == {}, "stored, but never sent so"
