"""What the registry held when: the site's history of its CSV files, and the facts of any day.

    registry/*.csv ──`take_over`──▶ state/registry-history/<number>/<table>.parquet ──▶ `current`, `facts_of`, `timeline`

Each edit adds one folder of added and withdrawn rows with the time at which it became known; nothing there is ever changed.
Table `file` holds the rows of terminals.csv as last read, `span` which terminal measured which meter with which sizes from when
to when; the others are the files of the same names.
"""

import shutil
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from assets import calendar, warehouse
from assets.workbench import Workbench
from ingest_daemon.contract.files import glance, rebuilt_json, sync_folder, write_json, write_parquet
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.registry_belief import FILE, accepted_path, disbelief
from ingest_daemon.contract.registry_files import FILES, KEYS, SHOWN, Content, RegistryError, problems_text, read
from ingest_daemon.contract.registry_schema import Problem
from ingest_daemon.contract.schema import TIMESTAMP
from ingest_daemon.contract.site import Site

LAST_READ = "last-read.json"
"""Digest of the files as last read, and the meters that they named and nobody knew."""

BOUNDS = ("installed_on", "removed_on")
DAEMON_ONLY = ("protocol", "profile", "address", "phone", "password")
"""Columns that only the daemon uses: the history does not keep them."""

FACTS = tuple(name for name in FILES["terminals"] if name not in (*DAEMON_ONLY, "valid_from", "valid_to"))
SETTLED_S = 1.0
"""Seconds after which a file is believed to be saved whole."""
LONGEST_SAVE_S = 30.0
LOOK_S = 0.2

SIZES = ("q1_m3h", "q2_m3h", "q3_m3h", "q4_m3h", "digits", "resolution_m3", "step_min", "reads")
"""Facts that figures depend on."""

SPAN: dict[str, pl.DataType] = {
    **{name: FILES["terminals"][name].dtype for name in FACTS},
    "valid_from": TIMESTAMP,
    "valid_to": TIMESTAMP,
}
TABLES: dict[str, dict[str, pl.DataType]] = {
    "file": SPAN,
    "span": SPAN,
    **{name: {column: kind.dtype for column, kind in columns.items()} for name, columns in FILES.items() if name != "terminals"},
}

Row = dict[str, Any]


class Last(NamedTuple):
    """Times of the last stored readings, by meter as far as figures are made, and by terminal beyond."""

    meters: Mapping[str, datetime]
    terminals: Mapping[str, datetime]

    def of(self, row: Row) -> datetime | None:
        """The last reading of a row's meter or terminal."""
        times = (self.meters.get(row["meter"]), self.terminals.get(row["terminal"]))
        return max((instant for instant in times if instant), default=None)


LastReading = Callable[[set[str], set[str]], Last]
"""The last readings of some terminals and meters."""


class Interval(NamedTuple):
    """A time in which the facts of a meter are no longer what they were; `scan`: terminals nobody's until now."""

    meter: str
    start: datetime | None
    end: datetime | None
    terminal: str
    is_new: bool


class Edit(NamedTuple):
    """What a reading of the files changes: tables as they become, intervals and days that it concerns, problems of the files."""

    tables: dict[str, pl.DataFrame]
    intervals: list[Interval]
    replaced: list[tuple[datetime, datetime]]
    problems: list[Problem]
    strangers: set[str]


# --- what is kept -------------------------------------------------------------------------------------------------------------


def current(folder: Path) -> dict[str, pl.DataFrame]:
    """Every table as last known; empty ones where nothing was ever read."""
    return held(folder, TABLES)


def held(folder: Path, tables: Iterable[str]) -> dict[str, pl.DataFrame]:
    """Some of the tables as last known."""
    return {name: _folded(name, changes(folder, name)) for name in tables}


def changes(folder: Path, table: str) -> pl.DataFrame:
    """Every row ever added to or withdrawn from a table: its columns, `known_at`, `added`, `edit` (number of the edit)."""
    schema = {**TABLES[table], "known_at": TIMESTAMP, "added": pl.Boolean(), "edit": pl.Int64()}
    frames = [pl.DataFrame(schema=schema)]
    for path in sorted(folder.glob(f"[0-9]*/{table}.parquet")):
        try:
            part = pl.read_parquet(path, glob=False).with_columns(edit=pl.lit(int(path.parent.name), pl.Int64))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RegistryError(
                f"{path} cannot be read ({error}): it holds what the registry said when, and nothing else does; restore it from "
                "a backup (site/state/registry-history of the newest one)"
            ) from None
        missing = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in part.columns]
        frames.append(part.with_columns(missing).select(list(schema)))
    return pl.concat(frames)


def _folded(table: str, log: pl.DataFrame) -> pl.DataFrame:
    columns = list(TABLES[table])
    last = log.unique(columns, keep="last", maintain_order=True)
    return last.filter("added").select(columns).sort(columns, nulls_last=False)


def append(folder: Path, before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame], known_at: datetime) -> None:
    """Keep the difference as the next edit: all of it or nothing."""
    number = 1 + max((int(path.name) for path in folder.glob("[0-9]*") if path.name.isdecimal()), default=0)
    draft = folder / f"{number:08}.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, columns in TABLES.items():
        keys = list(columns)
        added = after[name].join(before[name], on=keys, how="anti", nulls_equal=True).with_columns(added=pl.lit(True))
        withdrawn = before[name].join(after[name], on=keys, how="anti", nulls_equal=True).with_columns(added=pl.lit(False))
        rows = pl.concat([withdrawn, added]).with_columns(known_at=pl.lit(known_at, TIMESTAMP))
        if rows.height:
            write_parquet(draft / f"{name}.parquet", rows)
    draft.rename(folder / f"{number:08}")
    sync_folder(folder)


def is_edited(registry: Path, folder: Path) -> bool:
    """Whether the files are others than those last read."""
    return rebuilt_json(folder / LAST_READ, lambda value: str(value["sha256"]), "the registry is read again") != _digest(
        registry, folder
    )


def is_met(connection: duckdb.DuckDBPyConnection, folder: Path) -> bool:
    """Whether billing has a card now for a meter that the files named and nobody knew."""
    return not cards(connection).isdisjoint(glance(folder / LAST_READ, lambda value: value["strangers"]) or ())


def cards(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The meters for which billing has a card."""
    if not warehouse.has_table(connection, "billing.meter_card"):
        return set()
    return set(warehouse.frame(connection, "select meter_no from billing.meter_card")["meter_no"])


def known_meters(site: Site, zone: str) -> set[str]:
    """The meters that the history or billing knows; those of billing only while no run works."""
    found = set(held(site.registry_history, ["span"])["span"]["meter"])
    away = suppress(FileNotFoundError, warehouse.WarehouseBusy, warehouse.WarehouseBroken)
    with away, warehouse.opened(site.marts, zone, read_only=True) as connection:
        found |= cards(connection)
    return found


def _digest(registry: Path, folder: Path) -> str:
    """Of the files, and of a person's word that one is meant so."""
    accepted = accepted_path(folder.parent)
    digest = sha256(accepted.read_bytes() if accepted.is_file() else b"")
    for name in FILES:
        path = registry / f"{name}.csv"
        content = _content(path)
        digest.update(f"{name} {-1 if content is None else len(content)}\n".encode())
        digest.update(content or b"")
    return digest.hexdigest()


def _content(path: Path) -> bytes | None:
    """None where the file is absent, or cannot be opened while a spreadsheet has it."""
    with suppress(OSError):
        return path.read_bytes()
    return None


def take_over(
    bench: Workbench, connection: duckdb.DuckDBPyConnection, waiting: Sequence[date], mark: Callable[[set[date]], None]
) -> None:
    """Take the files over as they are now. The caller has asked `is_edited` or `is_met`. Raises `StoreAway`, `RegistryError`.

    `waiting`: days that no run has computed. `mark` lets the days that the edit concerns wait; it is called first, so that a kill
    leaves days to compute, never figures that are wrong.
    """
    folder = bench.site.registry_history
    before, now = current(folder), datetime.now(UTC)
    last = partial(_last_readings, bench, connection, waiting)
    deadline_s = time.monotonic() + LONGEST_SAVE_S
    while True:
        digest = _digest(bench.site.registry, folder)
        edit = compare(bench.site.registry, before, bench.zone, last, now, cards(connection), partial(disbelief, bench.site))
        is_shorter = any(_open(edit.tables[name]) < _open(before[name]) for name in TABLES if name != "span")
        if not (is_shorter and _is_being_saved(bench.site.registry)) or time.monotonic() > deadline_s:
            break
        time.sleep(LOOK_S)
    stored = _stored(bench) if any(interval.is_new for interval in edit.intervals) else None
    computed = _computed(connection)
    days = days_of(edit, bench.max_hole, bench.zone, computed, partial(_is_read, bench), stored)
    is_changed = any(not edit.tables[name].equals(before[name]) for name in TABLES)
    if is_changed and not days and computed.height:
        # A word or a name concerns no day; tables of names are made with any, and nobody waits for the next reading.
        days = {computed["day"].max()}  # type: ignore[arg-type]
    mark(days)
    if is_changed:
        append(folder, before, edit.tables, now)
    for problem in edit.problems[:SHOWN]:
        LOG.warning("registry: %s", problem)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / LAST_READ, {"sha256": digest, "strangers": sorted(edit.strangers)}, durable=True)


def _open(table: pl.DataFrame) -> int:
    """The rows that hold without an end."""
    return table.filter(pl.col("valid_to").is_null()).height if "valid_to" in table.columns else table.height


def _is_being_saved(registry: Path) -> bool:
    """Whether a file was written, or came or went, so lately that the save may go on."""
    changed_s = max(path.stat().st_mtime for path in (registry, *registry.glob("*.csv")))
    return abs(time.time() - changed_s) < SETTLED_S


def _last_readings(
    bench: Workbench, connection: duckdb.DuckDBPyConnection, waiting: Sequence[date], terminals: set[str], meters: set[str]
) -> Last:
    """From the figures, and from the store for the days that wait, the newest first. What came after the edit does not count."""
    edited_at = datetime.fromtimestamp((bench.site.registry / "terminals.csv").stat().st_mtime, UTC)
    by_meter: dict[str, datetime] = {}
    if warehouse.has_table(connection, "latest_reading"):
        rows = warehouse.frame(connection, "select meter, reading_at from latest_reading").filter(
            pl.col("meter").is_in(list(meters))
        )
        by_meter = dict(rows.iter_rows())
    by_terminal: dict[str, datetime] = {}
    for day in sorted(waiting, reverse=True):
        if terminals <= by_terminal.keys():
            break
        is_wanted = pl.col("terminal").is_in(list(terminals - by_terminal.keys())) & (pl.col("received_at") <= edited_at)
        own = _of_day(bench, day).filter(is_wanted)
        by_terminal.update(own.group_by("terminal").agg(pl.col("ts").max()).iter_rows())
    return Last(by_meter, by_terminal)


def _of_day(bench: Workbench, day: date) -> pl.DataFrame:
    starts, ends = (calendar.midnight(day + timedelta(days=offset), bench.zone) for offset in (0, 1))
    return bench.store.read(starts + calendar.TICK, ends)


def _stored(bench: Workbench) -> tuple[datetime, datetime] | None:
    """The times of the first and the last reading in the store."""
    spans = bench.store.arrivals(None).spans
    return (spans["start"].min(), spans["end"].max()) if spans.height else None  # type: ignore[return-value]


def _is_read(bench: Workbench, terminal: str, day: date) -> bool:
    return bool((_of_day(bench, day)["terminal"] == terminal).any())


def _computed(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    if not warehouse.has_table(connection, "unit_day"):
        return pl.DataFrame(schema={"meter": pl.String(), "day": pl.Date()})
    return warehouse.frame(connection, "select meter, day from unit_day")


def history_of(log: pl.DataFrame, meter: str, zone: ZoneInfo) -> Iterator[str]:
    """A line for each span of a meter in `log` (`changes` of table `span`); `~` marks one that a later edit superseded."""
    keys = list(SPAN)
    own = log.filter(pl.col("meter") == meter)
    in_force = own.unique(keys, keep="last", maintain_order=True)
    for row in in_force.sort("valid_from", "edit", nulls_last=False).iter_rows(named=True):
        times = [f"{row[name].astimezone(zone):%Y-%m-%dT%H:%M:%S%z}" if row[name] else "…" for name in ("valid_from", "valid_to")]
        facts = ", ".join(f"{name} {row[name]}" for name in FACTS if name != "meter" and row[name] is not None)
        known = f"{row['known_at'].astimezone(zone):%Y-%m-%d %H:%M}"
        yield f"{' ' if row['added'] else '~'} {times[0]} – {times[1]}  {facts}  (known {known})"


# --- an edit ------------------------------------------------------------------------------------------------------------------


def compare(
    registry: Path,
    before: Mapping[str, pl.DataFrame],
    zone: ZoneInfo,
    last_reading: LastReading,
    now: datetime,
    billed: Iterable[str] = (),
    disbelief: Callable[[int, Sequence[str]], str] = lambda known, lost: "",
) -> Edit:
    """What the files change of what was known. Raises `RegistryError` where there is nothing to work with.

    `billed`: meters with a card of billing. `disbelief`: why a file of terminals that loses some of the known ones is not taken
    over; empty where it is.
    """
    content = read(registry, [*before["span"]["meter"], *billed])
    if before["span"].is_empty() and content.rows.terminals.is_empty() and content.problems:
        raise RegistryError(problems_text(content.problems))
    after = {name: _held(name, content, before[name]) for name in FILES if name != "terminals"}
    if "terminals" in content.unread:
        after |= {"file": before["file"], "span": before["span"]}
    else:
        rows = _file_rows(content.rows.terminals, zone)
        after["file"] = _with_refused(rows, before["file"], content.refused["terminals"])
        if reason := disbelief(before["file"].height, _lost(before["file"], after["file"])):
            text = f"{reason.removeprefix(f'{registry / FILE}: ')}; the terminals known before stay in force"
            content.problems.append(Problem(registry / FILE, (), "", text, text))
            after["file"] = before["file"]
        after["span"] = _spans(before, after["file"], zone, last_reading, now)
    after["relations"] = _relations(before["relations"], after["relations"], zone, last_reading, now)
    is_first = before["span"].is_empty()
    intervals = [] if is_first else list(_intervals(before["span"], after["span"], zone))
    replaced = [] if is_first else list(_replaced(before["replacements"], after["replacements"], zone))
    return Edit(after, intervals, replaced, content.problems, content.strangers)


def _held(name: str, content: Content, before: pl.DataFrame) -> pl.DataFrame:
    """The rows of a file; of those that are refused, the last good ones."""
    rows: pl.DataFrame = getattr(content.rows, name)
    if name in content.unread:
        return before
    keys = [key for key in KEYS[name] if key not in ("valid_from", "replaced_at")]
    places = [KEYS[name].index(key) for key in keys]
    refused = pl.DataFrame(
        [tuple(row[place] for place in places) for row in content.refused[name]],
        schema=dict.fromkeys(keys, pl.String),
        orient="row",
    ).unique()
    texts = [pl.col(key).cast(pl.String) for key in keys]
    kept = before.join(refused, left_on=texts, right_on=keys, how="semi").join(rows, on=keys, how="anti")
    return pl.concat([rows, kept]).unique(maintain_order=True)


def _with_refused(rows: pl.DataFrame, before: pl.DataFrame, refused: Iterable[tuple[str | None, ...]]) -> pl.DataFrame:
    """With the last good row of each terminal or meter whose row is refused and that no other row names."""
    terminals, meters = ({row[place] for row in refused if row[place]} for place in (0, 1))
    named = pl.col("terminal").is_in(list(terminals)) | pl.col("meter").is_in(list(meters))
    is_free = ~pl.col("terminal").is_in(rows["terminal"].implode()) & ~pl.col("meter").is_in(rows["meter"].implode())
    return pl.concat([rows, before.filter(named & is_free)])


def _lost(before: pl.DataFrame, after: pl.DataFrame) -> list[str]:
    """The terminals that went with their meter: one that goes on under another number has had its RTU exchanged."""
    gone = before.join(after, on="meter", how="anti").join(after, on="terminal", how="anti")
    return sorted(gone["terminal"].unique())


def _file_rows(terminals: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    moments = {name: [_moment(text, zone) for text in terminals[name]] for name in ("valid_from", "valid_to")}
    return terminals.with_columns(pl.Series(name, values, dtype=TIMESTAMP) for name, values in moments.items()).select(list(SPAN))


def _moment(text: str | None, zone: ZoneInfo) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else calendar.midnight(moment.date(), zone)


def _spans(
    before: Mapping[str, pl.DataFrame], rows: pl.DataFrame, zone: ZoneInfo, last_reading: LastReading, now: datetime
) -> pl.DataFrame:
    """Who measured what from when to when, after the rows of the file have changed."""
    keys = list(SPAN)
    gone = before["file"].join(rows, on=keys, how="anti", nulls_equal=True)
    added = rows.join(before["file"], on=keys, how="anti", nulls_equal=True)
    if gone.is_empty() and added.is_empty():
        return before["span"]
    touched = pl.concat([gone, added])
    terminals, meters = touched["terminal"].implode(), touched["meter"].implode()
    concerned = pl.col("terminal").is_in(terminals) | pl.col("meter").is_in(meters)
    spans, others = before["span"].filter(concerned), before["span"].filter(~concerned)
    names = pl.concat([touched.select("terminal", "meter"), spans.select("terminal", "meter")])
    last = last_reading(set(names["terminal"]), set(names["meter"])) if before["span"].height else Last({}, {})
    found: list[Row] = []
    parts = (frame.iter_rows(named=True) for frame in (spans, gone, added, rows.filter(concerned)))
    for own, own_gone, own_added, own_rows in _connected(*map(list, parts)):
        timeline = _Timeline(own, last, zone, now)
        timeline.apply(own_gone, own_added, own_rows)
        found += timeline.spans
    return pl.concat([others, pl.DataFrame(found, schema=SPAN, orient="row")]).sort(keys, nulls_last=False)


def _connected(*lists: list[Row]) -> Iterator[list[list[Row]]]:
    """The lists cut into parts that share no terminal and no meter: every row of a part is held against all others of it."""
    leader: dict[tuple[str, str], tuple[str, str]] = {}

    def found(name: tuple[str, str]) -> tuple[str, str]:
        while (above := leader.setdefault(name, name)) != name:
            leader[name] = leader[above]
            name = above
        return name

    for row in chain.from_iterable(lists):
        leader[found(("meter", row["meter"]))] = found(("terminal", row["terminal"]))
    parts: dict[tuple[str, str], list[list[Row]]] = {}
    for place, rows in enumerate(lists):
        for row in rows:
            parts.setdefault(found(("terminal", row["terminal"])), [[] for _ in lists])[place].append(row)
    yield from parts.values()


def _pair(row: Row) -> tuple[str, str]:
    return row["terminal"], row["meter"]


class _Timeline:
    """The spans of some terminals and meters while rows of the file are taken over."""

    def __init__(self, spans: list[Row], last: Last, zone: ZoneInfo, now: datetime) -> None:
        self.spans = spans
        self._last, self._zone, self._now = last, zone, now

    def apply(self, gone: list[Row], added: list[Row], rows: list[Row]) -> None:
        """Take over rows that went and came; `rows`: all of the file that share a terminal or a meter with them."""
        news = {_pair(row) for row in added}
        for row in gone:
            if _pair(row) not in news:
                self._end(row, is_taken=any(self._shares(row, other) for other in added))
        for row in sorted(added, key=lambda row: row["valid_from"] or datetime.min.replace(tzinfo=UTC)):
            self._add(row, [other for other in gone if _pair(other) == _pair(row)], [other for other in rows if other is not row])

    @staticmethod
    def _shares(row: Row, other: Row) -> bool:
        return bool(row["terminal"] == other["terminal"] or row["meter"] == other["meter"])

    def _after_last(self, row: Row) -> datetime | None:
        """The instant after the last reading stored for a row; None where there is none."""
        last = self._last.of(row)
        return last + calendar.TICK if last else None

    def _end(self, row: Row, *, is_taken: bool) -> None:
        """End the span of a row that vanished. One that never had a reading makes room for the row that takes its place."""
        cut = self._after_last(row)
        for span in [span for span in self.spans if _pair(span) == _pair(row) and span["valid_to"] is None]:
            if cut is None and is_taken:
                self.spans.remove(span)
            else:
                end = cut or self._now
                span["valid_to"] = max(end, span["valid_from"]) if span["valid_from"] else end

    def _add(self, row: Row, gone: list[Row], rows: list[Row]) -> None:
        own = [span for span in self.spans if _pair(span) == _pair(row)]
        old = gone[0] if len(gone) == 1 else None
        if old and own and all(row[name] == old[name] for name in SPAN if name not in BOUNDS):
            for span in own:  # the dates bound the whole of it, also its past
                if span["installed_on"] == old["installed_on"]:
                    span["installed_on"] = row["installed_on"]
                span["removed_on"] = row["removed_on"]
            return
        for span in own:
            if row["removed_on"] is not None and (old is None or old["removed_on"] != row["removed_on"]):
                span["removed_on"] = row["removed_on"]
        starts = [other["valid_from"] for other in rows if other["valid_from"] and self._shares(row, other)]
        start = row["valid_from"] or self._start(row, old, rows, starts)
        later = [other for other in starts if start is None or other > start]
        ends = [end for end in (row["valid_to"], *later) if end]
        self._lay({**row, "valid_from": start, "valid_to": min(ends) if ends else None})

    def _start(self, row: Row, old: Row | None, rows: list[Row], starts: list[datetime]) -> datetime | None:
        """From when a row without `valid_from` holds; None: since ever."""
        if starts and not old:
            return None  # the rows with a date hold from then, this one before
        installed = calendar.midnight(row["installed_on"], self._zone) if row["installed_on"] else None
        if old and installed and row["installed_on"] != old["installed_on"]:
            return installed  # another meter body, with the date of its installation
        rivals = [span for span in self.spans if self._shares(span, row)]
        if (
            not old
            and installed
            and rivals
            and all(span["removed_on"] and span["removed_on"] <= row["installed_on"] for span in rivals)
        ):
            return installed
        known = [span["valid_to"] or self._after_last(span) for span in rivals]
        return max((instant for instant in known if instant), default=None)

    def _lay(self, new: Row) -> None:
        """Put a span in, over what the spans of its terminal and meter hold of that time."""
        kept: list[Row] = []
        for span in self.spans:
            if (
                not self._shares(span, new)
                or _is_before(span["valid_to"], new["valid_from"])
                or _is_before(new["valid_to"], span["valid_from"])
            ):
                kept.append(span)
                continue
            if new["valid_from"] and (span["valid_from"] is None or span["valid_from"] < new["valid_from"]):
                kept.append({**span, "valid_to": new["valid_from"]})
            if new["valid_to"] and (span["valid_to"] is None or span["valid_to"] > new["valid_to"]):
                kept.append({**span, "valid_from": new["valid_to"]})
        self.spans = [*kept, new]


def _is_before(end: datetime | None, start: datetime | None) -> bool:
    return end is not None and start is not None and end <= start


def _relations(
    before: pl.DataFrame, after: pl.DataFrame, zone: ZoneInfo, last_reading: LastReading, now: datetime
) -> pl.DataFrame:
    """The relations with those that vanished: they end after the meter's last day, and a successor without a date begins then."""
    open_from = {_relation(row): row["valid_from"] for row in before.iter_rows(named=True) if row["valid_to"] is None}
    ended = {_relation(row): row["valid_to"] for row in before.iter_rows(named=True) if row["valid_to"] is not None}
    rows = list(after.iter_rows(named=True))
    for row in rows:
        if row["valid_from"] is None:
            row["valid_from"] = open_from.get(_relation(row))
    written = {(*_relation(row), row["valid_from"]) for row in rows}
    gone = [row for row in before.iter_rows(named=True) if (*_relation(row), row["valid_from"]) not in written]
    last = last_reading(set(), {row["meter"] for row in gone}) if gone else Last({}, {})
    replaced: dict[tuple[str, str], date] = {}
    for row in gone:
        if row["valid_to"] is None:
            latest = last.meters.get(row["meter"])
            end = (
                ((latest - calendar.TICK).astimezone(zone).date() + timedelta(days=1)) if latest else now.astimezone(zone).date()
            )
            row["valid_to"] = replaced[row["meter"], row["kind"]] = max(end, row["valid_from"] or end)
    for row in rows:
        if row["valid_from"] is None and _relation(row) not in open_from:
            row["valid_from"] = ended.get(_relation(row)) or replaced.get((row["meter"], row["kind"]))
    return pl.DataFrame([*rows, *gone], schema=before.schema, orient="row").unique(maintain_order=True)


def _relation(row: Row) -> tuple[str, str, str]:
    return row["meter"], row["kind"], row["code"]


# --- what an edit concerns ----------------------------------------------------------------------------------------------------


def _intervals(before: pl.DataFrame, after: pl.DataFrame, zone: ZoneInfo) -> Iterator[Interval]:
    """Times in which a meter's terminal or sizes are others than they were."""
    keys = list(SPAN)
    changed = pl.concat(
        [before.join(after, on=keys, how="anti", nulls_equal=True), after.join(before, on=keys, how="anti", nulls_equal=True)]
    )
    known_terminals = set(before["terminal"])
    for meter in sorted(set(changed["meter"])):
        old, new = (_bounded(side.filter(pl.col("meter") == meter), zone).to_dicts() for side in (before, after))
        cuts = sorted({instant for row in (*old, *new) for instant in (row["valid_from"], row["valid_to"]) if instant})
        for start, end in zip((None, *cuts), (*cuts, None), strict=True):
            was, now = (
                {tuple(row[name] for name in ("terminal", *SIZES)) for row in side if _covers(row, start, end)}
                for side in (old, new)
            )
            if was != now:
                terminals = {row[0] for row in now} - {row[0] for row in was}
                for terminal in sorted(terminals & known_terminals) or [""]:
                    yield Interval(meter, start, end, terminal, bool(terminal))


def _covers(row: Row, start: datetime | None, end: datetime | None) -> bool:
    begins, ends = row["valid_from"], row["valid_to"]
    return (begins is None or (start is not None and begins <= start)) and (ends is None or (end is not None and end <= ends))


def _bounded(spans: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """Spans within the dates of installation and removal; those of which nothing is left are not given.

    In columns: a fleet has a span a meter, and rows of Python would cost more than a day's figures.
    """
    installed, removed = calendar.midnights(spans["installed_on"], zone), calendar.midnights(spans["removed_on"], zone, later=1)
    return spans.with_columns(
        valid_from=pl.max_horizontal("valid_from", installed), valid_to=pl.min_horizontal("valid_to", removed)
    ).filter((pl.col("valid_from") < pl.col("valid_to")).fill_null(True))


def _replaced(before: pl.DataFrame, after: pl.DataFrame, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """The times of replacements that were written down, changed or taken out."""
    keys = list(before.columns)
    for one, other in ((before, after), (after, before)):
        for row in one.join(other, on=keys, how="anti", nulls_equal=True).iter_rows(named=True):
            if row["replaced_at"]:
                yield row["replaced_at"], row["replaced_at"]
            elif row["replaced_on"]:
                yield tuple(calendar.midnight(row["replaced_on"] + timedelta(days=day), zone) for day in (0, 1))  # type: ignore[misc]


def days_of(
    edit: Edit,
    reach: timedelta,
    zone: ZoneInfo,
    computed: pl.DataFrame,
    is_read: Callable[[str, date], bool],
    stored: tuple[datetime, datetime] | None,
) -> set[date]:
    """The local days that an edit concerns.

    `computed`: `meter`, `day` that have figures. `is_read`: whether a terminal has readings on a day. `stored`: the times of the
    first and the last reading of any terminal, where terminals are anyone's that were nobody's.
    """
    days = {day for start, end in edit.replaced for day in calendar.days_touched(start, end, reach, zone)}
    if computed.is_empty():
        return days
    known = computed["day"].sort()
    first, last = calendar.midnight(known[0], zone), calendar.midnight(known[-1] + timedelta(days=1), zone)
    if stored:
        first, last = min(first, stored[0]), max(last, stored[1])
    for interval in edit.intervals:
        start, end = max(interval.start or first, first), min(interval.end or last, last)
        if start >= end:
            continue
        reached = calendar.days_touched(start, end - calendar.TICK, reach, zone)
        own = computed.filter((pl.col("meter") == interval.meter) & pl.col("day").is_between(reached[0], reached[-1]))
        days.update(own["day"])
        if interval.is_new:
            days.update(day for day in reached if day not in days and is_read(interval.terminal, day))
    return days


# --- what held when -----------------------------------------------------------------------------------------------------------


def timeline(spans: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """Spans with `first_day` and `last_day`, the local days that begin in them; a meter's first span has its first day whole."""
    rows = _bounded(spans.sort("meter", "valid_from", nulls_last=False), zone).to_dicts()
    begun: set[str] = set()
    for row in rows:
        start, end = row["valid_from"], row["valid_to"]
        row["first_day"] = _begun(start, zone, is_first=row["meter"] not in begun)
        row["last_day"] = (_begun(end, zone, is_first=False) - timedelta(days=1)) if end else None  # type: ignore[operator]
        begun.add(row["meter"])
    return pl.DataFrame(rows, schema={**SPAN, "first_day": pl.Date(), "last_day": pl.Date()}, orient="row")


def _begun(instant: datetime | None, zone: ZoneInfo, *, is_first: bool) -> date | None:
    """The first local day whose beginning a span from `instant` on holds. A day begins just after its midnight."""
    if instant is None:
        return None
    day = (instant - calendar.TICK).astimezone(zone).date() if not is_first else instant.astimezone(zone).date()
    return day if is_first or instant - calendar.TICK <= calendar.midnight(day, zone) else day + timedelta(days=1)


def latest(spans: pl.DataFrame, zone: ZoneInfo) -> pl.DataFrame:
    """The last span of each meter, a row a meter; `removed_on` is the last day of one that has ended."""
    last = timeline(spans, zone).group_by("meter", maintain_order=True).last()
    return last.with_columns(removed_on=pl.coalesce("removed_on", pl.col("last_day"))).select(*FACTS).sort("meter")


class Facts:
    """The facts of any day from the spans of the history."""

    def __init__(self, spans: pl.DataFrame, zone: ZoneInfo, reach: timedelta) -> None:
        """`reach`: the longest hole; readings so far beyond a day belong to its window."""
        is_alone = pl.col("meter").is_unique()
        rows = sorted(
            _bounded(spans.filter(~is_alone), zone).iter_rows(named=True),
            key=lambda row: (row["meter"], row["valid_from"] or datetime.min.replace(tzinfo=UTC)),
        )
        self._zone, self._reach = zone, reach
        several = pl.DataFrame(
            [*_with_assignment(rows)], schema={**SPAN, "terminal_from": TIMESTAMP, "terminal_to": TIMESTAMP}, orient="row"
        )
        alone = _bounded(spans.filter(is_alone), zone).with_columns(
            terminal_from=pl.col("valid_from"), terminal_to=pl.col("valid_to") + calendar.TICK
        )
        self._spans = pl.concat([several, alone.select(several.columns).cast(several.schema)]).sort("meter", maintain_order=True)
        bounds = (self._spans[name].drop_nulls() for name in ("valid_from", "valid_to", "terminal_from", "terminal_to"))
        self._bounds = pl.concat(bounds).unique().sort().to_list()
        self._last: tuple[int, pl.DataFrame] | None = None

    def of(self, day: date) -> pl.DataFrame:
        """A row a (terminal, meter) of the day's window, by meter; the sizes are those at the day's beginning, Q4 the greatest.

        `terminal_from`, `terminal_to`: within which the terminal's readings are the meter's.
        """
        start, end = calendar.midnight(day, self._zone), calendar.midnight(day + timedelta(days=1), self._zone)
        margin = self._reach + calendar.TICK
        before = bisect_left(self._bounds, start - margin)
        if before < bisect_right(self._bounds, end + margin):
            return self._of(start, end)
        # Nothing begins or ends in the window: the facts are those of the day before it, mostly.
        if self._last is None or self._last[0] != before:
            self._last = before, self._of(start, end)
        return self._last[1]

    def _of(self, start: datetime, end: datetime) -> pl.DataFrame:

        def overlaps(begin: str, stop: str, margin: timedelta) -> pl.Expr:
            first, last = pl.lit(start - margin, TIMESTAMP), pl.lit(end + margin, TIMESTAMP)
            return (pl.col(begin).is_null() | (pl.col(begin) <= last)) & (pl.col(stop).is_null() | (pl.col(stop) > first))

        is_own = overlaps("valid_from", "valid_to", timedelta()) & (pl.col("valid_from").is_null() | (pl.col("valid_from") < end))
        is_own &= pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.lit(start + calendar.TICK, TIMESTAMP))
        own = self._spans.filter(is_own)
        bounds = self._within_window(start - self._reach, end + self._reach)
        if own["meter"].n_unique() == own.height == self._spans.height:
            return own.with_columns(bounds)
        greatest = own.group_by("meter").agg(q4_m3h=pl.col("q4_m3h").max())
        sizes = own.unique("meter", keep="first", maintain_order=True).drop("q4_m3h").join(greatest, on="meter")
        window = self._spans.filter(overlaps("terminal_from", "terminal_to", self._reach)).select(
            "meter", "terminal", "terminal_from", "terminal_to"
        )
        terminals = window.unique(maintain_order=True)
        facts = sizes.drop("terminal", "terminal_from", "terminal_to").join(
            terminals, on="meter", how="inner", maintain_order="left"
        )
        return facts.select(self._spans.columns).with_columns(bounds)

    @staticmethod
    def _within_window(first: datetime, last: datetime) -> tuple[pl.Expr, pl.Expr]:
        """The bounds of terminals, none where they lie outside the window: nothing is cut off there."""
        return (
            pl.when(pl.col("terminal_from") > first).then("terminal_from"),
            pl.when(pl.col("terminal_to") <= last).then("terminal_to"),
        )


def _with_assignment(rows: list[Row]) -> Iterator[Row]:
    """Spans with the whole time in which their terminal measured their meter, however often its facts changed.

    The reading at the very end counts still: it closes the last day.
    """
    runs: list[list[Row]] = []
    for row in rows:
        same = runs and _pair(runs[-1][-1]) == _pair(row) and runs[-1][-1]["valid_to"] == row["valid_from"]
        if same:
            runs[-1].append(row)
        else:
            runs.append([row])
    for run in runs:
        end = run[-1]["valid_to"]
        for row in run:
            yield {**row, "terminal_from": run[0]["valid_from"], "terminal_to": end + calendar.TICK if end else None}
