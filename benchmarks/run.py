"""One run: what every probe needs, and the order in which probes are run. No figure is made here."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import workload
from benchmarks.figures import Figure
from benchmarks.parties import Parties
from benchmarks.workload import Day
from ingest_daemon.contract.site import Site

FULL_S = 3.0
"""Sizes (connections, meters) are those that the goals name where a round is this long; in shorter ones they shrink with it."""


@dataclass(frozen=True)
class Run:
    """The context of a probe. `tell` is called with each step."""

    parties: Parties
    folder: Path
    seconds: float
    rounds: int
    tell: Callable[[str], None]

    def sized(self, full: int) -> int:
        """A size for this run's seconds: the full one from `FULL_S` on."""
        return max(1, int(full * min(1.0, self.seconds / FULL_S)))

    def each_round(self, what: str) -> Iterator[int]:
        """The rounds, told one by one."""
        for number in range(1, self.rounds + 1):
            self.tell(f"{what}: {number}/{self.rounds}")
            yield number

    def days(self, day: Day) -> Path:
        """The file of prepared frames for the load."""
        path = self.folder / f"{day.name.replace(' ', '-')}.days"
        if not path.exists():
            workload.write_days(path, day)
        return path

    @contextmanager
    def site(self, terminals: int, **values: Mapping[str, Any]) -> Iterator[Site]:
        """A new site, gone afterwards. `values`: settings by section."""
        root = Path(tempfile.mkdtemp(prefix="site-", dir=self.folder))
        try:
            yield workload.make_site(root / "site", terminals, values)
        finally:
            shutil.rmtree(root, ignore_errors=True)


Probe = Callable[[Run], list[Figure]]
"""Measures; its docstring's first line is the probe's name. Raises `Unable` where it cannot."""

AWAY = {"kind": "influxdb", "influx_url": "http://127.0.0.1:9"}
"""`[store]` of a raw store that does not answer: everything stays in the journal, so the daemon's reception is seen alone."""
