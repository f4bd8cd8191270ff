"""Outgoing alarms: on disk until the gateway took them; sent by urgency, within limits, less urgent ones not at night.

One file an SMS in `state/sms-outbox/`, synced before Grafana gets 200; one that the gateway refused lies in `refused/` there.
A kill between the gateway's confirmation and the removal sends an SMS twice, with the same id. Every decision is logged and
counted.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from ingest_daemon.contract.files import make_folder, rebuilt_json, write_json
from ingest_daemon.contract.log import LOG, RateLimitedLog
from ingest_daemon.contract.severities import SEVERITIES
from ingest_daemon.sms.alarms import RESOLVED, Alarm, is_night, may_wake, split
from ingest_daemon.sms.gateway import Away, Gateway, Refused
from ingest_daemon.sms.settings import DROP, SmsSettings, time_of_day

MOST = 10_000
"""Limit of waiting SMS; beyond it Grafana is asked to post again."""

PAUSE_S = (1.0, 300.0)
"""First and longest pause before an absent gateway is tried again."""

LOOK_S = 1.0
TRIES = 5
REFUSED = "refused"
HOUR_US = 3_600_000_000


class OutboxFull(Exception):
    """The outbox or the disk is full: the alarms are not accepted."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One SMS that waits. `name`: of its file, and its id for the gateway."""

    name: str
    number: str
    text: str
    alert: str
    severity: str


class Outbox:
    """The waiting SMS and their sending. Belongs to the event loop; files and the gateway are handled in threads."""

    def __init__(
        self,
        state: Path,
        settings: SmsSettings,
        zone: tzinfo,
        gateway: Gateway,
        tally: Counter[str],
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Load the waiting SMS. Raises `OSError`. `now_us`: the clock."""
        self._folder, self._memory = state / "sms-outbox", state / "sms-sent.json"
        self._settings, self._zone, self._gateway, self._tally, self._now_us = settings, zone, gateway, tally, now_us
        self._night = (time_of_day("night_start", settings.night_start), time_of_day("night_end", settings.night_end))
        self._limited = RateLimitedLog()
        self._changed, self._over = asyncio.Event(), asyncio.Event()
        self._accepting = asyncio.Lock()
        self._count = 0
        self._tries: Counter[str] = Counter()
        make_folder(self._folder)
        make_folder(self._folder / REFUSED)
        self.waiting: dict[str, Entry] = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                self.waiting[path.stem] = _entry(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError, IsADirectoryError) as error:
                LOG.warning("%s is no SMS (%s); put aside", path, error)
                path.rename(self._folder / REFUSED / path.name)
        self._sent_us, self._last_us = rebuilt_json(
            self._memory, _times, "forgotten: an alarm may be sent again within [sms] repeat_min"
        ) or ([], {})

    async def accept(self, alarms: list[Alarm]) -> int:
        """Accept alarms; the SMS to send are safe on return. Returns their number. Raises `OutboxFull`."""
        async with self._accepting:
            now_us = self._now_us()
            self._last_us = {key: at for key, at in self._last_us.items() if now_us - at < self._settings.repeat_min * 6e7}
            entries: list[Entry] = []
            wanted = [alarm for alarm in alarms if self._is_wanted(alarm, now_us)]
            for alarm in {alarm.key: alarm for alarm in wanted}.values():
                for number in self._settings.numbers():
                    for text in split(alarm.text, self._settings.parts):
                        self._count += 1
                        name = f"{now_us:017d}-{self._count:06d}"
                        entries.append(Entry(name, number, text, alarm.alert, alarm.severity))
            if len(self.waiting) + len(entries) > MOST:
                self._tally["out_full"] += 1
                raise OutboxFull(f"{len(self.waiting)} SMS wait already, at most {MOST} may")
            try:
                await asyncio.to_thread(self._write, entries)
            except OSError as error:
                raise OutboxFull(f"{error.filename}: {error.strerror}") from error
            self.waiting.update((entry.name, entry) for entry in entries)
            self._last_us.update((alarm.key, now_us) for alarm in wanted)
            self._tally["out_accepted"] += len(entries)
            self._remember()
            self._changed.set()
            return len(entries)

    async def run(self) -> None:
        """Send SMS as allowed, until `end`."""
        pause = PAUSE_S[0]
        while not self._over.is_set():
            try:
                sent = await self.send_one()
                pause = PAUSE_S[0]
            except Away as error:
                self._tally["out_away"] += 1
                self._limited.warn("sms gateway", f"{len(self.waiting)} SMS wait, next try in {pause:.0f} s: {error}")
                await self._wait(self._over, pause)
                pause = min(2 * pause, PAUSE_S[1])
                continue
            except Exception as error:  # a full disk, a gateway that breaks HTTP: logged, and tried again
                self._limited.warn("sms outbox", f"{type(error).__name__}: {error}")
                sent = False
            if not sent:
                self._limited.flush()
                if not self._over.is_set():
                    self._changed.clear()
                await self._wait(self._changed, LOOK_S)

    def end(self) -> None:
        """Let `run` return after the SMS in transmission."""
        self._over.set()
        self._changed.set()

    async def send_one(self) -> bool:
        """Send the most pressing SMS that may go out now; False where there is none. Raises `Away`, `OSError`."""
        now_us = self._now_us()
        due = [entry for entry in self.waiting.values() if not self._sleeps(entry.severity, now_us)]
        self._sent_us = [at for at in self._sent_us if now_us - at < HOUR_US]
        if not due:
            return False
        if len(self._sent_us) >= self._settings.hourly:
            self._limited.warn("sms hourly", f"{len(due)} SMS wait: {self._settings.hourly} went within an hour ([sms] hourly)")
            return False
        entry = min(due, key=self._order)
        path = self._folder / f"{entry.name}.json"
        try:
            await asyncio.to_thread(self._gateway.send, entry.name, entry.number, entry.text)
        except Refused as error:
            self._decided("refused", entry.alert, f"by the gateway, kept in {REFUSED}: {error}")
            path.replace(self._folder / REFUSED / path.name)
            (self._folder / REFUSED / f"{entry.name}.reason").write_text(f"{error}\n", encoding="utf-8")
        except Away:
            self._tries[entry.name] += 1
            raise
        else:
            self._decided("sent", entry.alert, f"to {_masked(entry.number)}")
            path.unlink(missing_ok=True)
        self.waiting.pop(entry.name, None)
        self._tries.pop(entry.name, None)
        self._sent_us.append(now_us)
        self._remember()
        return True

    async def _wait(self, event: asyncio.Event, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)

    def _order(self, entry: Entry) -> tuple[bool, int, str]:
        """Sort key: most urgent first, then oldest; SMS that failed often come last, as they may be at fault themselves."""
        return self._tries[entry.name] >= TRIES, -SEVERITIES.index(entry.severity), entry.name

    def _is_wanted(self, alarm: Alarm, now_us: int) -> bool:
        """Whether an alarm is to be sent; logs why not."""
        if alarm.state == RESOLVED:
            self._withdraw(alarm.alert, now_us)
            if not self._settings.resolved:
                self._decided("resolved", alarm.alert, "its end is not sent ([sms] resolved)")
                return False
        if alarm.key in self._last_us:
            self._decided("repeated", alarm.alert, f"went out less than {self._settings.repeat_min:g} min ago")
            return False
        if self._sleeps(alarm.severity, now_us):
            if self._settings.night_action == DROP:
                self._decided("night_dropped", alarm.alert, f"{alarm.severity} at night")
                return False
            self._decided("night_waits", alarm.alert, f"{alarm.severity} at night: waits until {self._settings.night_end}")
        return True

    def _withdraw(self, alert: str, now_us: int) -> None:
        """Remove the SMS of a cleared alarm that wait for the morning; those that wait for the gateway are still sent."""
        over = [each for each in self.waiting.values() if each.alert == alert and self._sleeps(each.severity, now_us)]
        for entry in over:
            (self._folder / f"{entry.name}.json").unlink(missing_ok=True)
            del self.waiting[entry.name]
            self._decided("withdrawn", alert, "resolved before the night was over")
        if over:  # if it returns the same night, it is new again
            self._last_us.pop(f"{alert} firing", None)

    def _sleeps(self, severity: str, now_us: int) -> bool:
        local = datetime.fromtimestamp(now_us / 1e6, self._zone).time()
        return is_night(local, *self._night) and not may_wake(severity, self._settings.night_severity)

    def _decided(self, what: str, alert: str, why: str) -> None:
        self._tally[f"out_{what}"] += 1
        LOG.info("sms %s: alert %s %s", what, alert, why)

    def _write(self, entries: list[Entry]) -> None:
        for entry in entries:
            write_json(self._folder / f"{entry.name}.json", asdict(entry), durable=True)

    def _remember(self) -> None:
        """Save the times of sending. Not synced: a power cut may repeat an alarm. A full disk must not stop an SMS."""
        with contextlib.suppress(OSError):
            write_json(self._memory, {"sent_us": self._sent_us, "last_us": self._last_us}, durable=False)


def _entry(value: Any) -> Entry:
    """Raises `ValueError`, `TypeError` where the value is no SMS."""
    entry = Entry(**value)
    if entry.severity not in SEVERITIES or not all(isinstance(text, str) for text in asdict(entry).values()):
        raise ValueError(f"severity {entry.severity!r}, or another value that is no text")
    return entry


def _times(value: Any) -> tuple[list[int], dict[str, int]]:
    return [int(at) for at in value["sent_us"]], {key: int(at) for key, at in value["last_us"].items()}


def _masked(number: str) -> str:
    """A number in the form for logs."""
    return "*" * max(0, len(number) - 4) + number[-4:]
