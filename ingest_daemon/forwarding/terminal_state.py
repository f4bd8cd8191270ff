"""What the forwarder remembers of each terminal from frame to frame."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import polars as pl

from ingest_daemon.contract.alarm_codes import ALARMS, SERVER
from ingest_daemon.contract.schema import TIMESTAMP
from ingest_daemon.forwarding.alarm_sink import AlarmWord
from ingest_daemon.journal.records import ALARM, DATA, STRANGER, Record
from ingest_daemon.stores.points import KEY, overlaps

CLOCK_FRAMES = 3
"""A terminal's clock is judged by the median of this many frames."""


OpenCodes = Callable[[str, str], frozenset[str] | None]
"""Gives the codes of a terminal and origin that are open, whichever daemon heard of them; None where that is not known."""


def nobody_looked(terminal: str, origin: str) -> None:
    """Of a daemon that is alone: what it heard itself is all there is."""


class TerminalState:
    """Newest device time stored, last alarm word and clock offset of each terminal.

    It follows from the journal up to `positions` alone, so it can always be made again from there.
    """

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        """`saved`: the result of `save`. Raises `ValueError`, `TypeError`, `AttributeError` where it is something else."""
        saved = saved or {}
        positions = saved.get("positions", {})
        self.positions: dict[str, int] = {stream: int(positions.get(stream, 0)) for stream in (ALARM, DATA, STRANGER)}
        self.newest_us: dict[str, int] = {terminal: int(at) for terminal, at in saved.get("newest_us", {}).items()}
        self._words: dict[str, tuple[int, tuple[str, ...]]] = {
            terminal: (int(at), tuple(active)) for terminal, (at, active) in saved.get("words", {}).items()
        }
        self._drifted: set[str] = set(saved.get("drifted", ()))
        self._offsets: dict[str, list[float]] = {
            terminal: [float(offset) for offset in offsets] for terminal, offsets in saved.get("offsets", {}).items()
        }
        self._timed: set[str] = set()

    def save(self) -> dict[str, Any]:
        """The state as JSON."""
        return {
            "positions": self.positions,
            "newest_us": self.newest_us,
            "words": self._words,
            "drifted": sorted(self._drifted),
            "offsets": self._offsets,
        }

    def suspects(self, readings: pl.DataFrame, table: pl.DataFrame) -> pl.Series:
        """A mask of the readings that may meet a stored point or one of the same group; all others are certainly new.

        `table`: of `runs`.
        """
        newest = pl.Series("newest", [self.newest_us.get(name) for name in table["terminal"]], pl.Int64).cast(TIMESTAMP)
        is_old = (table["first"] <= newest).fill_null(False)
        terminals = pl.concat([table["terminal"].filter(is_old), overlaps(table)]).unique()
        if terminals.is_empty():  # nearly always
            return pl.repeat(False, readings.height, eager=True)
        table = table.with_columns(newest)
        spread = table.select(pl.col("newest").repeat_by("rows").explode(keep_nulls=True, empty_as_null=False)).to_series()
        is_old_row = (readings["ts"] <= spread).fill_null(False)
        is_twice = readings.select(pl.col("terminal").is_in(terminals.implode()) & pl.struct(KEY).is_duplicated()).to_series()
        return is_old_row | is_twice

    def note(self, table: pl.DataFrame) -> None:
        """Take note of readings that are stored. `table`: of `runs`."""
        latest = table.group_by("terminal").agg(pl.col("last").max().dt.epoch("us"))
        for terminal, at in latest.iter_rows():
            self.newest_us[terminal] = max(at, self.newest_us.get(terminal, at))

    def new_alarm_words(self, found: Sequence[AlarmWord], open_codes: OpenCodes = nobody_looked) -> list[AlarmWord]:
        """The words that change a terminal's alarms, and those older than its last known word.

        With other daemons a word also changes what one of them has raised or cleared meanwhile.
        """
        changed = []
        for word in found:
            at, active = self._words.get(word.terminal, (word.event_us, ()))
            if word.event_us < at:
                changed.append(word)
                continue
            told = open_codes(word.terminal, word.origin)
            is_news = word.active != active or (told is not None and told != ALARMS.keys() & set(word.active))
            changed += [word] if is_news else []
            self._words[word.terminal] = (word.event_us, word.active)
        return changed

    def since(self, heard: Sequence[AlarmWord]) -> list[AlarmWord]:
        """The last known word of each terminal whose last word in `heard` (in order of time) is older and says otherwise.

        A reader that gets the older one, as the alarm sink does from alarm frames, needs the last one, too: without it an alarm
        that is already over stays open, or one that goes on is over.
        """
        latest = {word.terminal: word for word in heard}
        known = [(word, *self._words.get(terminal, (word.event_us, ()))) for terminal, word in latest.items()]
        return [
            word._replace(event_us=at, active=active, values={})
            for word, at, active in known
            if at > word.event_us and active != word.active
        ]

    def clock_news(
        self, offsets: pl.DataFrame, records: Sequence[Record], drift_s: float, open_codes: OpenCodes = nobody_looked
    ) -> list[AlarmWord]:
        """CLOCK words of terminals whose clock went wrong or came right. `offsets`: of `triage.clock_offsets`.

        A clock is judged by the median of a terminal's last frames, so one old frame that is sent again raises nothing;
        nor does it where the frames before it went to another daemon.
        """
        wrong = offsets.filter(pl.col("offset_s").abs() > drift_s)["terminal"].unique().to_list()
        told = {name: open_codes(name, SERVER) for name in offsets["terminal"].unique()}
        raised = {name for name, codes in told.items() if ("CLOCK" in codes if codes is not None else name in self._drifted)}
        watched = {*wrong, *self._offsets, *raised}
        changed = []
        for terminal, offset_s, index in offsets.filter(pl.col("terminal").is_in(list(watched))).iter_rows():
            seen = terminal in self._timed or terminal in self.newest_us or told[terminal] is not None
            before = self._offsets.get(terminal, [0.0] * (CLOCK_FRAMES - 1) if seen and terminal not in raised else [])
            self._timed.add(terminal)
            recent = [*before, offset_s][-CLOCK_FRAMES:]
            self._offsets[terminal] = recent
            judged_s = median(recent)
            off = abs(judged_s) > drift_s
            (self._drifted.add if off else self._drifted.discard)(terminal)
            if off != (terminal in raised):
                (raised.add if off else raised.discard)(terminal)
                record = records[index]
                active, values = ("CLOCK",) if off else (), {"CLOCK": judged_s}
                changed.append(
                    AlarmWord(terminal, SERVER, record.received_us, record.received_us, record.position, active, values, drift_s)
                )
            if all(abs(value) <= drift_s for value in recent):
                del self._offsets[terminal]
        self._timed.update(offsets["terminal"])
        return changed
