"""The raw store of a site: InfluxDB through `/write` and InfluxQL `/query`, which 1.x, 2.x and 3.x all answer.

One measurement holds the readings, a second one what arrived when: its points lie at strictly increasing nanoseconds, and the
last one's time is the cursor.

Of two different values for one point InfluxDB keeps the one written last. Within a write this is the one received last;
between writes it is so as long as the journal is forwarded in order, as the forwarder does after any restart.
"""

import json
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, NamedTuple

import polars as pl
import urllib3

from ingest_daemon.contract.schema import MEASUREMENT, READING, TERMINAL_TAG, TIMESTAMP
from ingest_daemon.stores import Arrivals, StoreAway
from ingest_daemon.stores.influx_http import Denied, InfluxServer, Refused, Trouble
from ingest_daemon.stores.line_protocol import ARRIVAL, arrival_lines, reading_lines
from ingest_daemon.stores.points import ALL, KEY, overlaps, runs, sift, spans
from ingest_daemon.stores.settings import StoreSettings

LINES = 10_000
"""Lines of one request: InfluxDB is fastest between 5,000 and 10,000."""

POSTERS = 3
"""Requests at a time: while InfluxDB works on one the next is made; more than three it takes hardly faster."""

STATEMENTS = 500
"""Points that one request deletes."""

TIMEOUT_MS = (5_000, 30_000)
"""Connect and read; a server that hangs longer counts as away, so that health shows it within a minute."""

WRITE_TIMEOUT_MS = 10_000
"""Read time-out of a write; InfluxDB itself gives a write up after 10 s."""

SEARCH_TIMEOUT_MS = 2_000
"""Read time-out of a write while one bad line is searched: 14 halvings end within a minute although each runs into it."""

REPEATS = 3
"""So often a line alone is tried again before the fault is believed to be the line's."""

BLOCK = 16 << 20
"""Bytes of an answer that are parsed at a time, so that a whole day never lies in memory as text."""

# The CSV form of an answer does not print a statement's error: an unknown database, a killed query and no data look alike.
# Statements after a failed one are not run, so this second one proves that the first went through to its end.
PROOF = "; SHOW DATABASES"
PROOF_HEADER = b"name,tags,name\ndatabases,"
PROOF_ROOM = 1 << 20
"""No answer of SHOW DATABASES is longer; so many bytes at the end are looked at only when all have come."""

NAMED_TERMINALS = 100
"""Of more terminals all readings are read and the others dropped: the request has a size."""

MOST_NS = 9_223_372_036_854_775_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Failure(NamedTuple):
    """Lines that one request could not write, the row of the first one, and the server's answer."""

    lines: pl.Series
    first_row: int
    error: Refused | Trouble

    @property
    def words(self) -> str:
        """The server's reason."""
        return self.error.words


class Limits(NamedTuple):
    """Limits of the server: 0 is without a limit, None is not stated by the server."""

    retention_s: int | None
    """Seconds after which readings are thrown away, counted by device time."""
    values_per_tag: int | None
    series: int | None


class InfluxStore:
    """The raw store in the database (2.x: bucket) that the settings name. The database is made where the server allows it."""

    cuts_by_terminal = False
    """A request that names many terminals is too long: all are read."""

    def __init__(self, settings: StoreSettings) -> None:
        self._server = InfluxServer(settings, TIMEOUT_MS)
        self._database = settings.influx_database
        self._database_made = False
        self._last_arrival: int | None = None
        self._posters = ThreadPoolExecutor(POSTERS, "influxdb")
        self._settings = settings

    def __reduce__(self) -> tuple[type["InfluxStore"], tuple[StoreSettings]]:
        """In another process the store opens connections of its own."""
        return InfluxStore, (self._settings,)

    def buckets_of(self, terminals: Sequence[str]) -> list[int]:
        """See `RawStore.buckets_of`."""
        return [0] * len(terminals)

    def write(self, readings: pl.DataFrame) -> pl.DataFrame:
        """See `RawStore.write`. The arrival is written after the readings."""
        good, refused = sift(readings)
        words = self._write_all(good)
        if len(words) < good.height:
            self._note(spans(good["ts"].gather([row for row in range(good.height) if row not in words]) if words else good["ts"]))
        details = pl.Series(words.values(), dtype=pl.String)
        return pl.concat([refused, good[list(words)].with_columns(detail=details)]) if words else refused

    def read(
        self, start: datetime, end: datetime, *, columns: Sequence[str] = ALL, terminals: Collection[str] | None = None
    ) -> pl.DataFrame:
        """See `RawStore.read`."""
        # A point comes only with a field that it has: every point has `received_us`.
        stored = [name for name in ALL if name in columns and name not in (*KEY, "received_at")]
        fields = ", ".join(f'"{name}"' for name in ("received_us", *stored))
        condition = f"time >= {_nanoseconds(start)} AND time <= {_nanoseconds(end)}"
        if terminals and len(terminals) <= NAMED_TERMINALS:
            condition += f" AND ({' OR '.join(map(_is_terminal, sorted(terminals)))})"
        frames = self._query(
            f'SELECT "{TERMINAL_TAG}"::tag, {fields} FROM "{MEASUREMENT}" WHERE {condition}',
            "ms",
            {"time": pl.Int64(), TERMINAL_TAG: pl.String(), "received_us": pl.Int64()} | {name: READING[name] for name in stored},
        )
        if terminals is not None:
            frames = frames.filter(pl.col(TERMINAL_TAG).is_in(list(terminals)))
        made = {
            "terminal": pl.col(TERMINAL_TAG),
            "ts": pl.from_epoch("time", time_unit="ms"),
            "received_at": pl.from_epoch("received_us", time_unit="us"),
        }
        rows = frames.select(
            made.get(name, pl.col(name)).dt.replace_time_zone("UTC").cast(TIMESTAMP).alias(name)
            if READING[name] == TIMESTAMP
            else made.get(name, pl.col(name)).alias(name)
            for name in dict.fromkeys([*KEY, *columns])
        )
        return rows.sort(KEY).select(columns)

    def withdraw(self, points: pl.DataFrame) -> None:
        """See `RawStore.withdraw`. 1.x and 2.x can; a point goes as a whole, whatever frame gave its fields."""
        statements = points.select(
            pl.format(
                f'DELETE FROM "{MEASUREMENT}" WHERE "{TERMINAL_TAG}" = \'{{}}\' AND time = {{}}ms',
                pl.col("terminal").str.replace_all("'", "\\'", literal=True),
                pl.col("ts").dt.epoch("ms"),
            )
        ).to_series()
        for some in statements.to_frame().iter_slices(STATEMENTS):
            self._delete(some.to_series().str.join(";").item())
        self._note(spans(points["ts"]))

    def _delete(self, statements: str) -> None:
        """Run the statements. Raises `StoreAway`, or `RuntimeError` where the server takes other requests but not this one."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for repeat in range(REPEATS + 1):
            try:
                answer = self._server.send("POST", "/query", {"db": self._database}, headers, form={"q": statements})
                content = self._server.content(answer)
            except Refused as refusal:
                raise RuntimeError(f"InfluxDB at {self._server.address} deletes no points: {refusal.words}") from None
            except Trouble as trouble:
                self._prove_alive(trouble)
                if repeat == REPEATS:
                    raise RuntimeError(f"InfluxDB at {self._server.address} deletes no points: {trouble.words}") from None
            else:
                break
        try:
            answered = json.loads(content)["results"] if content.strip() != b"{}" else []  # 2.x leaves empty results out
        except (ValueError, LookupError, TypeError):
            words = self._server.words(content)
            raise StoreAway(
                f"InfluxDB at {self._server.address} answered a deletion without results; expected JSON: {words}"
            ) from None
        if any("error" in result for result in answered):
            raise RuntimeError(f"InfluxDB at {self._server.address} deletes no points: {self._server.words(content)}")

    def arrivals(self, cursor: str | None) -> Arrivals:
        """See `RawStore.arrivals`."""
        where = f" WHERE time > {int(cursor)}" if cursor else ""
        schema = {"time": pl.Int64(), "start": pl.Int64(), "end": pl.Int64()}
        rows = self._query(f'SELECT "start", "end" FROM "{ARRIVAL}"{where}', "ns", schema).sort("time")
        # A point with one visible field only is still being written: it comes next time.
        partial = rows.select(pl.any_horizontal(pl.col("start", "end").is_null())).to_series().arg_true()
        rows = rows.head(partial[0]) if len(partial) else rows
        times = rows.select(
            pl.from_epoch(pl.col(name), time_unit="ms").dt.replace_time_zone("UTC").cast(TIMESTAMP) for name in ("start", "end")
        )
        return Arrivals(times, str(rows["time"][-1]) if rows.height else cursor or "0")

    def check(self) -> str:
        """See `RawStore.check`."""
        version = self._version()
        self._query(
            f'SELECT "start" FROM "{ARRIVAL}" LIMIT 1',
            "ns",
            {"time": pl.Int64(), "start": pl.Int64()},
        )
        name = self._database
        return (
            f"InfluxDB {version}（{self._server.address}），数据库 {name} 可用 / "
            f"InfluxDB {version} at {self._server.address}, database {name}: can be read"
        )

    def limits(self) -> Limits:
        """The limits of the server, as far as it states them. Raises `StoreAway`."""
        self._make_database()
        data = self._told("SHOW DIAGNOSTICS").get("config-data", [{}])[0]
        return Limits(self._retention_s(), data.get("max-values-per-tag"), data.get("max-series-per-database"))

    def _retention_s(self) -> int | None:
        name = self._database
        try:
            buckets = json.loads(self._server.content(self._server.send("GET", "/api/v2/buckets", {"name": name})))["buckets"]
            return sum(int(rule["everySeconds"]) for bucket in buckets for rule in bucket["retentionRules"]) if buckets else None
        except (Denied, Refused, ValueError, LookupError):
            if self._version().startswith(("2", "v2")):  # by InfluxQL it says "for ever" of every bucket
                return None
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        policies = self._told(f'SHOW RETENTION POLICIES ON "{quoted}"').get("", [])
        return next((_seconds(policy["duration"]) for policy in policies if policy["default"]), None)

    def _version(self) -> str:
        try:
            answer = self._server.send("GET", "/ping", {})
        except Refused as refusal:
            raise self._server.away(refusal) from None
        answer.drain_conn()
        return str(answer.headers.get("X-Influxdb-Version", "?"))

    def _told(self, statement: str) -> dict[str, list[dict[str, Any]]]:
        """Rows by series name of a statement about the server; none where it does not understand or allow the statement."""
        try:
            answer = self._server.send("GET", "/query", {"q": statement, "db": self._database})
            (result,) = json.loads(self._server.content(answer))["results"]
        except (Denied, Refused, ValueError, LookupError):
            return {}
        return {
            series.get("name", ""): [dict(zip(series["columns"], row, strict=True)) for row in series.get("values", [])]
            for series in result.get("series", [])
        }

    def _write_all(self, good: pl.DataFrame) -> dict[int, str]:
        """Write the readings, some requests at a time; row and reason of each refused one."""
        self._make_database()
        starts = range(0, good.height, LINES)
        # Of a point that comes twice the last one must win.
        if len(starts) <= 1 or len(overlaps(runs(good))):
            return {row: words for start in starts for row, words in self._refused_of(self._write_slice(good, start))}
        requests = [self._posters.submit(self._write_slice, good, start) for start in starts]
        try:
            failures = [request.result() for request in requests]
        finally:
            for request in requests:
                request.cancel()
            wait(requests)  # none may reach the server after a later write
        return {row: words for failure in failures for row, words in self._refused_of(failure)}

    def _write_slice(self, good: pl.DataFrame, start: int) -> Failure | None:
        """Write the readings of one request."""
        return self._write_lines(reading_lines(good.slice(start, LINES)), start, WRITE_TIMEOUT_MS)

    def _write_lines(self, lines: pl.Series, first_row: int, timeout_ms: int) -> Failure | None:
        try:
            self._server.write(_body(lines), "ms", (TIMEOUT_MS[0], min(timeout_ms, TIMEOUT_MS[1])))
        except Denied:
            self._database_made = False
            raise
        except (Refused, Trouble) as error:
            return Failure(lines, first_row, error)
        return None

    def _refused_of(self, failure: Failure | None) -> Iterator[tuple[int, str]]:
        """Row and reason of each line that is the cause of a failure; all other lines are stored then.

        A server that takes nothing at all is away. Raises `StoreAway`.
        """
        if failure:
            self._prove_alive(failure.error)
            yield from self._search(failure)

    def _search(self, failure: Failure) -> Iterator[tuple[int, str]]:
        """Search by halving. Good lines are written twice, which changes nothing."""
        lines, first_row, error = failure
        dropped = re.search(r"dropped=(\d+)", error.words)
        if len(lines) == 1 or (dropped and int(dropped[1]) == len(lines)):
            if isinstance(error, Refused) or self._fails_again(failure):
                yield from ((first_row + index, error.words) for index in range(len(lines)))
            return
        half = len(lines) // 2
        for part, row in ((lines.head(half), first_row), (lines.tail(len(lines) - half), first_row + half)):
            if part_failure := self._write_lines(part, row, SEARCH_TIMEOUT_MS):
                yield from self._search(part_failure)

    def _fails_again(self, failure: Failure) -> bool:
        """Whether lines fail each time while the server takes others. Raises `StoreAway` where it takes none."""
        for _ in range(REPEATS):
            if not self._write_lines(failure.lines, failure.first_row, SEARCH_TIMEOUT_MS):
                return False
        self._prove_alive(failure.error)
        return True

    def _prove_alive(self, error: Refused | Trouble) -> None:
        """Raise `StoreAway` with an error's words unless the server takes another write: an arrival of this moment.

        It makes today a touched day, which it is anyway nearly always.
        """
        try:
            self._note(spans(pl.Series([datetime.now(UTC)], dtype=TIMESTAMP)))
        except StoreAway:
            if isinstance(error, Trouble):
                raise error from None
            raise self._server.away(error) from None

    def _note(self, arrived: pl.DataFrame) -> None:
        if self._last_arrival is None:
            last = self._query(
                f'SELECT last("start") FROM "{ARRIVAL}"',
                "ns",
                {"time": pl.Int64(), "last": pl.Int64()},
            )
            self._last_arrival = last["time"][0] if last.height else 0
        # Increasing even when the clock steps back: a point at or before a reader's cursor would never be seen.
        first = max(time.time_ns(), self._last_arrival + 1)
        self._make_database()
        timeout_ms = (TIMEOUT_MS[0], min(WRITE_TIMEOUT_MS, TIMEOUT_MS[1]))
        try:
            self._server.write(_body(arrival_lines(arrived, first)), "ns", timeout_ms)
        except Denied:
            self._database_made = False
            raise
        except Refused as refusal:
            raise self._server.away(refusal) from None
        self._last_arrival = first + arrived.height - 1

    def _query(self, statement: str, epoch: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The answer's columns that `schema` names, with its types; no rows where there is no such measurement."""
        self._make_database()
        parameters = {
            "db": self._database,
            "epoch": epoch,
            "chunked": "true",
            "q": statement + PROOF,
        }
        try:
            answer = self._server.send("GET", "/query", parameters, {"Accept": "application/csv"})
            blocks = [
                pl.read_csv(block, schema_overrides=schema, columns=list(schema)) for block in _blocks(answer, self._server)
            ]
        except Refused as refusal:
            raise self._server.away(refusal) from None
        except pl.exceptions.PolarsError as error:
            what = str(error).partition("\n")[0]
            raise StoreAway(
                f"InfluxDB at {self._server.address} holds values of other types than Mainflow writes: {what}"
            ) from None
        except urllib3.exceptions.HTTPError as error:
            raise StoreAway(f"InfluxDB at {self._server.address} stopped within an answer: {type(error).__name__}") from None
        return pl.concat([pl.DataFrame(schema=schema), *(block.select(*schema) for block in blocks)])

    def _make_database(self) -> None:
        """Make the database where the server allows it; where it does not, the next request says what is missing."""
        if self._database_made:
            return
        name = self._database.replace("\\", "\\\\").replace('"', '\\"')
        with suppress(Refused, Denied):
            self._server.send("POST", "/query", {"q": f'CREATE DATABASE "{name}"'}).drain_conn()
        self._check_layout()
        self._database_made = True

    def _check_layout(self) -> None:
        """Raise `StoreAway` where the database holds readings of another layout: both kinds in one measurement would mix."""
        keys = [row.get("tagKey") for row in self._told(f'SHOW TAG KEYS FROM "{MEASUREMENT}"').get(MEASUREMENT, [])]
        if other := [key for key in keys if key != TERMINAL_TAG]:
            raise StoreAway(
                f"InfluxDB at {self._server.address}: the readings in {self._database!r} have another layout (tag {other[0]!r}, "
                f"expected {TERMINAL_TAG!r}); name a new database in [store] influx_database"
            )


def _body(lines: pl.Series) -> bytes:
    joined: bytes = lines.str.join("\n").cast(pl.Binary).item()
    return joined


def _seconds(duration: str) -> int:
    """Seconds of a duration as Go writes it, for example 168h0m0s."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


def _blocks(answer: urllib3.BaseHTTPResponse, server: InfluxServer) -> Iterator[BytesIO]:
    """The answer's table as CSV texts with a header each. Raises `StoreAway` where the proof of its end is absent."""
    header = rest = b""
    while piece := answer.read(BLOCK):
        rest += piece
        if not header:
            line, newline, after = rest.partition(b"\n")
            if newline:
                header, rest = line + newline, after
        cut = rest.rfind(b"\n", 0, max(len(rest) - PROOF_ROOM, 0)) + 1
        if cut:
            yield BytesIO(header + rest[:cut])
            rest = rest[cut:]
    table, proof, _ = (header + rest).rpartition(PROOF_HEADER)
    if not proof:
        words = server.words(header + rest)
        raise StoreAway(
            f"InfluxDB at {server.address} did not finish its answer (no such database, or the query was stopped) {words}"
        )
    if table:
        yield BytesIO(table.rstrip(b"\n") + b"\n")


def _is_terminal(name: str) -> str:
    quoted = name.replace("'", "\\'")
    return f"\"{TERMINAL_TAG}\" = '{quoted}'"


def _nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970, within InfluxDB's range of times (1677 to 2262)."""
    return min(
        max(
            (moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) * 1000,
            -MOST_NS,
        ),
        MOST_NS,
    )
