"""The registry in force: one for all threads of the daemon, taken over from `registry/` whenever that is whole and valid.

`registry/terminals.csv` is edited in spreadsheets and saved over slow shares, so it may be half written, empty or wrong at any
moment. The state in force is kept in `state/registry/`, and holds until a better one is there.
"""

import csv
import io
import threading
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ingest_daemon.contract.files import replace_file
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.registry_belief import FILE, accepted_path, disbelief
from ingest_daemon.contract.registry_schema import read_csv
from ingest_daemon.contract.site import Site
from ingest_daemon.terminals.table import CELLS, EMPTY, Problem, TerminalTable, parse_terminals, problems_text
from ingest_daemon.terminals.table import Terminal as Terminal

LOOK_S = 0.25
"""Seconds between two looks at the files; a state counts once two looks found the same."""
REPEAT_S = 60.0
"""Seconds after which a registry that is not believed is logged again."""
LOGGED = 20
"""Problems of one file that are logged."""

PROFILES = "profiles"
"""The folder of a site's own profiles, beside `terminals.csv`."""

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""Name, modification time in ns, size and inode of each file of the registry."""


class RegistryChange(NamedTuple):
    """What the file on disk would change, by terminal number. `disbelief`: why it is not taken over; empty where it is."""

    added: list[str]
    lost: list[str]
    changed: list[str]
    problems: tuple[Problem, ...]
    disbelief: str


class Registry:
    """The one registry of a process. `start` has it follow the files; a process that only looks once need not."""

    def __init__(self, site: Site, protocol: str = "", health: MutableMapping[str, str] | None = None) -> None:
        """`protocol`: of terminals whose row names none ("": unknown). `health`: its part `registry` says what is wrong."""
        self.protocol = protocol
        self.path = site.registry / FILE
        self._site, self._folder, self._kept = site, site.registry, site.state / "registry"
        self._health = {} if health is None else health
        self._health["registry"] = "ok"
        self._seen: Fingerprint | None = None
        self._judged: Fingerprint | None = None
        self._logged_s = float("-inf")
        self._looked = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry", daemon=True)
        self.disbelief = ""
        """Why the file on disk is not in force; empty where it is."""
        self.current = EMPTY
        """The state in force; replaced, never changed. Who needs several parts of it takes it once."""
        with suppress(OSError, ValueError):
            self.current = _read(self._kept, protocol)._replace(problems=())
        if not (self.current.terminals and self._is_fresh()):
            self._judge(self._fingerprint())

    def start(self) -> None:
        """Follow the files from now on, and keep the state in force for the next start."""
        self._keep()
        self._thread.start()

    def stop(self) -> None:
        """Follow the files no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def catch_up(self, timeout_s: float = 2.0) -> None:
        """Wait until the files as they are now were judged, or the time is over: they may be changing still."""
        if self._thread.is_alive():
            with self._looked:
                self._looked.wait_for(lambda: self._judged == self._fingerprint(), timeout_s)

    def terminals(self) -> Mapping[str, Terminal]:
        """Terminals in force, by number."""
        return self.current.terminals

    def look(self) -> None:
        """Take over what changed, once two looks found the same files."""
        fingerprint = self._fingerprint()
        if fingerprint == self._judged:
            if self.disbelief:
                self._report(self.disbelief)
        elif fingerprint == self._seen:
            self._judge(fingerprint)
        self._seen = fingerprint
        with self._looked:
            self._looked.notify_all()

    def change(self, draft: bytes | None = None) -> RegistryChange:
        """What the file on disk, or a draft of it, would change.

        Raises `OSError` or `ValueError` where it cannot be used at all.
        """
        before, after = self.current.cells, (table := self._read_file(draft)).cells
        changed = sorted(number for number in before.keys() & after.keys() if before[number] != after[number])
        return RegistryChange(
            sorted(after.keys() - before.keys()),
            sorted(before.keys() - after.keys()),
            changed,
            table.problems,
            self._disbelief(table),
        )

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                self.look()
            except Exception as error:
                self._report(f"{self._folder} cannot be looked at: {error!r}")

    def _judge(self, fingerprint: Fingerprint) -> None:
        """Put the files in force, or say why not."""
        try:
            table = self._read_file()
            disbelief = self._disbelief(table)
        except (OSError, ValueError) as error:
            table, disbelief = self.current, str(error)
        if fingerprint != self._fingerprint():
            return  # written to while it was read
        self._judged = fingerprint
        if disbelief:
            self.disbelief = f"{disbelief}; the {len(self.current.terminals)} terminals known before stay in force"
            self._report(self.disbelief)
            return
        self.disbelief, self._logged_s = "", float("-inf")
        problems = [problem for problem in table.problems if problem.row > 1]  # a column of one's own is no ailment
        self._health["registry"] = problems_text(self.path, problems) or "ok"
        if table != self.current:
            self._put_in_force(table)

    def _put_in_force(self, table: TerminalTable) -> None:
        before = self.current
        self.current = table
        if table.problems != before.problems:
            for problem in table.problems[:LOGGED]:
                LOG.warning("registry: %s", problem.text(self.path))
            if len(table.problems) > LOGGED:
                LOG.warning("registry: %d more problems; all of them: mainflow registry check", len(table.problems) - LOGGED)
        if self._thread.is_alive():
            LOG.info("registry: %d terminals in force, before %d", len(table.terminals), len(before.terminals))
            self._keep()

    def _read_file(self, draft: bytes | None = None) -> TerminalTable:
        return _read(self._folder, self.protocol, self.current, draft)

    def _disbelief(self, table: TerminalTable) -> str:
        """Why a table is not to be believed; empty where it is."""
        before = self.current.terminals
        meters = {terminal.meter for terminal in table.terminals.values()}
        # A meter that goes on under another number has had its RTU exchanged.
        lost = sorted(number for number in before.keys() - table.terminals.keys() if before[number].meter not in meters)
        return disbelief(self._site, len(before), lost)

    def _report(self, text: str) -> None:
        """Say that the registry is not believed: always in the health, once a minute in the log."""
        self._health["registry"] = text
        now_s = time.monotonic()
        if now_s - self._logged_s >= REPEAT_S:
            self._logged_s = now_s
            LOG.warning("registry: %s", text)

    def _keep(self) -> None:
        try:
            _write_kept(self._kept, self.current, self._folder / PROFILES)
        except OSError as error:
            LOG.warning("registry: the state in force is not kept for the next start: %s", error)

    def _is_fresh(self) -> bool:
        """Whether a file was written so lately that it may be written still."""
        newest_ns = max((modified_ns for _, modified_ns, *_ in self._fingerprint()), default=0)
        return abs(time.time_ns() - newest_ns) < 2 * LOOK_S * 1e9

    def _fingerprint(self) -> Fingerprint:
        files = [self.path, *sorted((self._folder / PROFILES).glob("*.toml")), accepted_path(self._site.state)]
        fingerprint = []
        for path in files:
            with suppress(FileNotFoundError):
                status = path.stat()
                fingerprint.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(fingerprint)


def _read(folder: Path, protocol: str, before: TerminalTable = EMPTY, draft: bytes | None = None) -> TerminalTable:
    path = folder / FILE
    try:
        table = read_csv(path.read_bytes() if draft is None else draft)
        return parse_terminals(table, folder / PROFILES, protocol, before)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _write_kept(folder: Path, table: TerminalTable, profiles: Path) -> None:
    """Write a table and the profiles that it was made with, so that `_read` gives it again."""
    (folder / PROFILES).mkdir(parents=True, exist_ok=True)
    for path in profiles.glob("*.toml"):
        replace_file(folder / PROFILES / path.name, [path.read_bytes()])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([CELLS, *table.cells.values()])
    replace_file(folder / FILE, [text.getvalue().encode()])
