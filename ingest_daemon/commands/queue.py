"""Commands queued until their terminal is on line: one JSON file each in `state/commands/`. No socket, no protocol.

Any process may queue a command (`open_commands(...).file`); the daemon sends waiting ones when their terminal is in contact and
records the outcome. States: waiting → sent → answered; failed after too many contacts; refused where it must not or cannot be
sent; expired where no contact came in time.
"""

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ingest_daemon.codec_kit.api import Command, CommandType
from ingest_daemon.commands.settings import CommandSettings
from ingest_daemon.contract.files import make_folder, parsed_json, sync_folder, write_json
from ingest_daemon.contract.log import RateLimitedLog
from ingest_daemon.contract.schema import FIELDS
from ingest_daemon.contract.site import Site

WAITING, SENT, ANSWERED, FAILED, REFUSED, EXPIRED = "waiting", "sent", "answered", "failed", "refused", "expired"
OPEN = (WAITING, SENT)
STATES = (*OPEN, ANSWERED, FAILED, REFUSED, EXPIRED)

LONGEST = timedelta(hours=24)
"""Longest span of one history command; a longer span becomes several commands."""

FINISHED_KEPT = 1000
"""Number of finished commands that are kept, the newest."""

_JUST_NOW_NS = 1_000_000_000
_TIMES = ("filed_at", "start", "end", "sent_at", "finished_at")


class CommandRefused(ValueError):
    """A command that must not be sent; the text names what is allowed, or the setting that allows it."""


@dataclass(frozen=True, slots=True)
class QueuedCommand:
    """A command in the queue. Times are UTC; `start` and `end` are of history, `end` excluded.

    `by`: who queued it. `tries`: contacts at which it was sent. `stream`, `frame`: journal position at or before the answer.
    """

    id: str
    terminal: str
    kind: CommandType
    by: str
    filed_at: datetime
    start: datetime | None = None
    end: datetime | None = None
    field: str = "forward_m3"
    state: str = WAITING
    tries: int = 0
    sent_at: datetime | None = None
    finished_at: datetime | None = None
    stream: str = ""
    frame: int | None = None
    detail: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the outcome is still to come."""
        return self.state in OPEN

    @property
    def is_answered(self) -> bool:
        """Whether the terminal answered."""
        return self.state == ANSWERED

    def ask(self, address: str, now: datetime) -> Command:
        """The command as codecs take it; `address`: the meter's on its link."""
        return Command(self.kind, self.terminal, address, now, self.start, self.end, self.field)

    def wish(self) -> tuple[Any, ...]:
        """What the command asks for, apart from who queued it and when."""
        return self.terminal, self.kind, self.start, self.end, self.field


def folder(site: Site) -> Path:
    """The folder of the queue."""
    return site.state / "commands"


NOT_SET = "set-clock: setting the clocks of terminals is not allowed here; [commands] set_clock = true in site.toml allows it"


def open_commands(site: Site, settings: CommandSettings) -> "CommandQueue":
    """The queue as it is on disk now; for any process."""
    asks = CommandQueue(site, settings)
    asks.refresh()
    return asks


def read_commands(site: Site) -> list[QueuedCommand]:
    """Every command on disk, oldest first; for any process. A file that holds no command is passed over."""
    return open_commands(site, CommandSettings()).all()


class CommandQueue:
    """The queued commands of a site in memory; one instance a thread, cheap while nothing changes.

    Any process may read and queue; only the daemon records outcomes.
    """

    def __init__(self, site: Site, settings: CommandSettings) -> None:
        self.settings = settings
        self._folder = folder(site)
        self._seen_ns = -1
        self._files: dict[str, tuple[tuple[int, int], QueuedCommand | None]] = {}
        self._by_terminal: dict[str, dict[str, QueuedCommand]] = {}
        self._limited = RateLimitedLog()

    def all(self) -> list[QueuedCommand]:
        """Every command, oldest first, as of the last `refresh`."""
        found = [each for _, each in self._files.values() if each is not None]
        return sorted(found, key=lambda each: (each.filed_at, each.id))

    def refresh(self) -> None:
        """Read what changed on disk; one look at the folder where nothing did."""
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed_ns == self._seen_ns:
            return
        # A change within the same tick of the file system's clock would not show, so a fresh folder is read again.
        self._seen_ns = changed_ns if time.time_ns() - changed_ns > _JUST_NOW_NS else -1
        before, self._files = self._files, {}
        try:
            found = os.scandir(self._folder)
        except NotADirectoryError:  # the daemon sets it aside
            return
        with found as entries:
            for entry in entries:
                if not entry.name.endswith(".json"):
                    continue
                try:
                    status = entry.stat()
                    mark = (status.st_mtime_ns, status.st_ino)
                    known = before.get(entry.name)
                    self._files[entry.name] = known if known and known[0] == mark else (mark, self._read(Path(entry.path)))
                except FileNotFoundError:  # pruned just now
                    continue
        self._index()

    def file(
        self,
        terminal: str,
        kind: CommandType | str,
        *,
        by: str,
        now: datetime,
        start: datetime | None = None,
        end: datetime | None = None,
        field: str = "forward_m3",
    ) -> list[str]:
        """Queue a command, durably; gives its id. A long span of history becomes several commands of at most `LONGEST`.

        A command that waits already is not queued again: its id is given. `by`: who queues it. Raises `CommandRefused`.
        """
        asked = _kind(kind)
        spans = _spans(asked, start, end, field, now)
        if asked is CommandType.SET_CLOCK and not self.settings.set_clock:
            raise CommandRefused(NOT_SET)
        waiting = {each.wish(): each.id for each in self._by_terminal.get(terminal, {}).values() if each.state == WAITING}
        wanted = [QueuedCommand(_new_id(now), terminal, asked, by, now, first, last, field) for first, last in spans]
        fresh = [each for each in wanted if each.wish() not in waiting]
        if len(waiting) + len(fresh) > self.settings.per_terminal:
            raise CommandRefused(
                f"{terminal}: {len(waiting)} questions wait and {len(fresh)} more would be too many: "
                f"[commands] per_terminal allows {self.settings.per_terminal}; let them be answered first, or shorten the span"
            )
        if not self._folder.is_dir():
            make_folder(self._folder)
            sync_folder(self._folder.parent)
        for each in fresh:
            self._put(each, durable=True)
        return [waiting.get(each.wish(), each.id) for each in wanted]

    def tidy(self, now: datetime, *, start: bool = False) -> None:
        """Read what changed, expire commands that waited too long, keep the newest finished ones. For the daemon alone.

        `start`: the daemon starts, so commands sent before were not answered and wait again.
        """
        if start and self._folder.exists():
            make_folder(self._folder)
        self.refresh()
        latest = now - timedelta(hours=self.settings.expire_h)
        asks = [each for _, each in self._files.values() if each is not None]
        for each in [each for each in asks if each.state in OPEN]:
            if each.state == SENT and start:
                each = self._put(replace(each, state=WAITING))
            if each.state == WAITING and each.filed_at < latest:
                self._finish(each, EXPIRED, now, f"no answer within {self.settings.expire_h:g} h ([commands] expire_h)")
        finished = [each for _, each in self._files.values() if each is not None and each.state not in OPEN]
        if len(finished) > FINISHED_KEPT:
            finished.sort(key=lambda each: (each.finished_at or each.filed_at, each.id))
            for each in finished[:-FINISHED_KEPT]:
                (self._folder / f"{each.id}.json").unlink(missing_ok=True)
                del self._files[f"{each.id}.json"]
            self._index()

    def terminals(self) -> list[str]:
        """The terminals with a waiting command."""
        return [terminal for terminal, asks in self._by_terminal.items() if any(each.state == WAITING for each in asks.values())]

    def waiting(self, terminal: str, now: datetime) -> list[QueuedCommand]:
        """The commands to send to a terminal that is in contact now, oldest first, within the limits of contact and day.

        Setting a clock is refused here, too: the settings may have changed since it was queued.
        """
        asks = self._by_terminal.get(terminal)
        if not asks:
            return []
        for each in list(asks.values()):
            if each.state == WAITING and each.kind == CommandType.SET_CLOCK and not self.settings.set_clock:
                self.refused(each.id, NOT_SET, now)
        today = sum(1 for each in asks.values() if each.sent_at is not None and now - each.sent_at < timedelta(days=1))
        room = min(self.settings.per_contact, self.settings.per_day - today)
        return [each for each in asks.values() if each.state == WAITING][: max(0, room)]

    def sent(self, name: str, now: datetime) -> None:
        """Record that the command was sent."""
        each = self._get(name)
        self._put(replace(each, state=SENT, tries=each.tries + 1, sent_at=now))

    def answered(self, name: str, stream: str, frame: int, now: datetime, detail: str = "") -> None:
        """The answer is safe in the journal, in `stream` at or after the position `frame`."""
        self._finish(replace(self._get(name), stream=stream, frame=frame), ANSWERED, now, detail)

    def unanswered(self, name: str, now: datetime) -> None:
        """Record that no answer came at this contact: the command waits for the next one, or has failed."""
        each = self._get(name)
        if each.tries < self.settings.tries:
            self._put(replace(each, state=WAITING))
        else:
            self._finish(each, FAILED, now, f"no answer at {each.tries} contacts ([commands] tries)")

    def refused(self, name: str, reason: str, now: datetime) -> None:
        """Record that the command cannot or must not be sent."""
        self._finish(self._get(name), REFUSED, now, reason)

    def _get(self, name: str) -> QueuedCommand:
        found = self._files[f"{name}.json"][1]
        assert found is not None, name
        return found

    def _finish(self, each: QueuedCommand, state: str, now: datetime, detail: str) -> None:
        self._put(replace(each, state=state, finished_at=now, detail=detail))

    def _put(self, each: QueuedCommand, *, durable: bool = False) -> QueuedCommand:
        # The daemon's records are not synced: its loop must not wait for the disk, and after a power cut a command is at worst
        # sent once more.
        status = _write(self._folder, each, durable=durable).stat()
        self._files[f"{each.id}.json"] = ((status.st_mtime_ns, status.st_ino), each)
        self._by_terminal.setdefault(each.terminal, {})[each.id] = each
        return each

    def _index(self) -> None:
        self._by_terminal = {}
        for each in self.all():
            self._by_terminal.setdefault(each.terminal, {})[each.id] = each

    def _read(self, path: Path) -> QueuedCommand | None:
        try:
            return parsed_json(path, _parsed)
        except (ValueError, IsADirectoryError) as error:
            self._limited.warn("asks", f"a question is passed over: {error}")
            return None


def _kind(kind: CommandType | str) -> CommandType:
    try:
        return CommandType(kind)
    except ValueError:
        raise CommandRefused(f"{kind}: cannot be asked; allowed: {', '.join(CommandType)}") from None


def _spans(
    kind: CommandType, start: datetime | None, end: datetime | None, field: str, now: datetime
) -> list[tuple[datetime | None, datetime | None]]:
    """The spans of the commands: one without begin and end where it is not history. Raises `CommandRefused`."""
    if kind is not CommandType.HISTORY:
        if start or end:
            raise CommandRefused(f"{kind}: begin and end are for history only")
        return [(None, None)]
    names = [each.name for each in FIELDS]
    if field not in names:
        raise CommandRefused(f"history of {field}: there is no such value; allowed: {', '.join(names)}")
    if start is None or end is None or not start < end <= now:
        raise CommandRefused(f"history from {start} to {end}: expected a begin and an end after it, not in the future")
    return list(_cut(start.astimezone(UTC), end.astimezone(UTC)))


def _cut(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        yield start, min(start + LONGEST, end)
        start += LONGEST


def _new_id(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def _write(place: Path, each: QueuedCommand, *, durable: bool) -> Path:
    value = asdict(each)
    value |= {name: value[name] and value[name].isoformat() for name in _TIMES}
    path = place / f"{each.id}.json"
    write_json(path, value, durable=durable)
    return path


def _parsed(value: Any) -> QueuedCommand:
    """Raises `ValueError`, `TypeError`, `KeyError`."""
    times = {name: value[name] and datetime.fromisoformat(value[name]) for name in _TIMES}
    each = QueuedCommand(**{**value, **times, "kind": CommandType(value["kind"])})
    if each.state not in STATES or each.filed_at.tzinfo is None:
        raise ValueError(f"state is {each.state!r}; allowed: {', '.join(STATES)}")
    return each
