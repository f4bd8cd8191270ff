"""The raw store of a site: InfluxDB through `/write` and InfluxQL `/query`, which 1.x, 2.x and 3.x all answer.

influxdb-client carries the requests; its own write API is not used, because 1.x before 1.8 does not know it and because
it drops a batch after some minutes of absence. One measurement holds the readings, a second one what arrived when: its
points lie at strictly increasing nanoseconds, and the last one's time is the cursor.

Of two different values for one point InfluxDB keeps the one written last. Within a write this is the one received last;
between writes it is so as long as the journal is forwarded in order, as the forwarder does after any restart.
"""

import base64
import gzip
import json
import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import polars as pl
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException

from ingest_daemon.contract.schema import FIELDS, MEASUREMENT, READING, TERMINAL_TAG, TIMESTAMP
from ingest_daemon.stores import Arrivals, StoreAway
from ingest_daemon.stores.points import KEY, sift, spans
from ingest_daemon.stores.settings import StoreSettings

LINES = 10_000
"""Lines of one request: InfluxDB is fastest between 5,000 and 10,000."""

POSTERS = 3
"""Requests at a time: while InfluxDB works on one the next is made; more than three it takes hardly faster."""

STATEMENTS = 500
"""Points that are taken out by one request."""

TIMEOUT_MS = (5_000, 30_000)
"""Connect and read; a server that hangs longer counts as away, so that it is said within a minute."""

BLOCK = 16 << 20
"""Bytes of an answer that are parsed at a time, so that a whole day never lies in memory as text."""

ARRIVAL = "arrival"

# The CSV form of an answer does not print a statement's error: an unknown database, a killed query and no data look alike.
# Statements after a failed one are not run, so this second one proves that the first went through to its end.
PROOF = "; SHOW DATABASES"
PROOF_HEADER = b"name,tags,name\ndatabases,"
PROOF_ROOM = 1 << 20
"""No answer of SHOW DATABASES is longer; so many bytes at the end are looked at only when all have come."""

SITE_LIMITS = ("max-values-per-tag", "max-series-per-database")
"""Limits in the server's configuration: it answers 400 as if the line were wrong, but the site is (see `deploy/`)."""

MOST_NS = 9_223_372_036_854_775_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Refused(Exception):
    """The server will never take (some of) these lines; `words` are its reason."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class _Denied(StoreAway):
    """The log-in or the kind of server does not allow this request; another one may work."""


class Limits(NamedTuple):
    """What the server keeps and takes: 0 is without a limit, None what it does not tell."""

    retention_s: int | None
    """Seconds after which readings are thrown away, counted by device time."""
    values_per_tag: int | None
    series: int | None


class InfluxStore:
    """The raw store in the database (2.x: bucket) that the settings name. The database is made where the server lets us."""

    def __init__(self, settings: StoreSettings) -> None:
        parts = urlsplit(settings.influx_url)
        self._address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._settings = settings
        self._login = _login(settings)
        self._level = (
            0 if _is_here(parts.hostname or "") else 1
        )  # to pack what crosses no wire costs both sides more than it saves
        self._api: Any = InfluxDBClient(url=self._address, token="", timeout=TIMEOUT_MS).api_client
        self._database_made = False
        self._last_arrival: int | None = None
        self._posters = ThreadPoolExecutor(POSTERS, "influxdb")

    def write(self, readings: pl.DataFrame) -> pl.DataFrame:
        """See `RawStore.write`. The arrival is written after the readings."""
        good, refused = sift(readings)
        words = self._write_all(good)
        if len(words) < good.height:
            self._note(spans(good["ts"].gather([row for row in range(good.height) if row not in words]) if words else good["ts"]))
        details = pl.Series(words.values(), dtype=pl.String)
        return pl.concat([refused, good[list(words)].with_columns(detail=details)]) if words else refused

    def read(self, start: datetime, end: datetime) -> pl.DataFrame:
        """See `RawStore.read`."""
        fields = ", ".join(f'"{field.name}"' for field in FIELDS)
        frames = self._query(
            f'SELECT "{TERMINAL_TAG}"::tag, {fields}, "received_us", "channel", "frame" FROM "{MEASUREMENT}" '
            f"WHERE time >= {_nanoseconds(start)} AND time <= {_nanoseconds(end)}",
            "ms",
            {"time": pl.Int64(), TERMINAL_TAG: pl.String(), "received_us": pl.Int64()}
            | {name: dtype for name, dtype in READING.items() if name not in (*KEY, "received_at")},
        )
        columns = {
            "terminal": pl.col(TERMINAL_TAG),
            "ts": pl.from_epoch("time", time_unit="ms"),
            "received_at": pl.from_epoch("received_us", time_unit="us"),
        }
        return frames.select(
            columns.get(name, pl.col(name)).dt.replace_time_zone("UTC").cast(TIMESTAMP).alias(name)
            if dtype == TIMESTAMP
            else columns.get(name, pl.col(name)).alias(name)
            for name, dtype in READING.items()
        ).sort(KEY)

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
            form = {"q": some.to_series().str.join(";").item()}
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            try:
                answer = self._send("POST", "/query", {"db": self._settings.influx_database}, headers, form=form).read()
            except _Refused as refusal:
                raise RuntimeError(f"InfluxDB at {self._address} takes no points out: {refusal.words}") from None
            if b'"error"' in answer:
                raise RuntimeError(f"InfluxDB at {self._address} takes no points out: {_words(answer)}")
        self._note(spans(points["ts"]))

    def arrivals(self, cursor: str | None) -> Arrivals:
        """See `RawStore.arrivals`."""
        where = f" WHERE time > {int(cursor)}" if cursor else ""
        schema = {"time": pl.Int64(), "start": pl.Int64(), "end": pl.Int64()}
        rows = self._query(f'SELECT "start", "end" FROM "{ARRIVAL}"{where}', "ns", schema).sort("time")
        # A point of which only one field can be seen yet is still being written: it comes next time.
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
        name = self._settings.influx_database
        return (
            f"InfluxDB {version}（{self._address}），数据库 {name} 可用 / "
            f"InfluxDB {version} at {self._address}, database {name}: can be read"
        )

    def limits(self) -> Limits:
        """The limits of the server, as far as it tells them. Raises `StoreAway`."""
        self._make_database()
        data = self._told("SHOW DIAGNOSTICS").get("config-data", [{}])[0]
        return Limits(self._retention_s(), data.get("max-values-per-tag"), data.get("max-series-per-database"))

    def _retention_s(self) -> int | None:
        name = self._settings.influx_database
        try:
            buckets = json.loads(self._send("GET", "/api/v2/buckets", {"name": name}).read())["buckets"]
            return sum(int(rule["everySeconds"]) for bucket in buckets for rule in bucket["retentionRules"]) if buckets else None
        except (_Denied, _Refused, ValueError, LookupError):
            if self._version().startswith(("2", "v2")):  # by InfluxQL it says "for ever" of every bucket
                return None
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        policies = self._told(f'SHOW RETENTION POLICIES ON "{quoted}"').get("", [])
        return next((_seconds(policy["duration"]) for policy in policies if policy["default"]), None)

    def _version(self) -> str:
        answer = self._send("GET", "/ping", {})
        answer.drain_conn()
        return str(answer.headers.get("X-Influxdb-Version", "?"))

    def _told(self, statement: str) -> dict[str, list[dict[str, Any]]]:
        """Rows by series name of a statement about the server; none where it does not understand or allow the statement."""
        try:
            answer = self._send("GET", "/query", {"q": statement, "db": self._settings.influx_database})
            (result,) = json.loads(answer.read())["results"]
        except (_Denied, _Refused, ValueError, LookupError):
            return {}
        return {
            series.get("name", ""): [dict(zip(series["columns"], row, strict=True)) for row in series.get("values", [])]
            for series in result.get("series", [])
        }

    def _write_all(self, good: pl.DataFrame) -> dict[int, str]:
        """Write the readings, some requests at a time; gives position and reason of each refused one."""
        self._make_database()
        starts = range(0, good.height, LINES)
        # Of a point that comes twice the last one must win. Different hashes are different points, and quicker to tell apart.
        if len(starts) <= 1 or good.select(KEY).hash_rows().n_unique() < good.height:
            found = [self._write_slice(good, start) for start in starts]
        else:
            requests = [self._posters.submit(self._write_slice, good, start) for start in starts]
            try:
                found = [request.result() for request in requests]
            finally:
                for request in requests:
                    request.cancel()
                wait(requests)  # none may reach the server after a later write
        return {row: words for each in found for row, words in each.items()}

    def _write_slice(self, good: pl.DataFrame, start: int) -> dict[int, str]:
        """Write the readings of one request."""
        return dict(self._write_lines(_reading_lines(good.slice(start, LINES)), start))

    def _write_lines(self, lines: pl.Series, offset: int) -> Iterator[tuple[int, str]]:
        """Write the lines; give position and reason of each refused one, found by halving. Good lines go in twice, harmlessly."""
        try:
            self._post_lines(lines, "ms")
        except _Refused as refusal:
            dropped = re.search(r"dropped=(\d+)", refusal.words)
            if len(lines) == 1 or (dropped and int(dropped[1]) == len(lines)):
                yield from ((offset + index, refusal.words) for index in range(len(lines)))
                return
            half = len(lines) // 2
            yield from self._write_lines(lines.head(half), offset)
            yield from self._write_lines(lines.tail(len(lines) - half), offset + half)

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
        lines = arrived.with_row_index("at").select(
            pl.format(
                ARRIVAL + " start={}i,end={}i {}",
                pl.col("start").dt.epoch("ms"),
                pl.col("end").dt.epoch("ms"),
                pl.col("at").cast(pl.Int64) + first,
            )
        )
        try:
            self._post_lines(lines.to_series(), "ns")
        except _Refused as refusal:
            raise StoreAway(f"InfluxDB at {self._address} does not take arrivals: {refusal.words}") from None
        self._last_arrival = first + arrived.height - 1

    def _post_lines(self, lines: pl.Series, precision: str) -> None:
        self._make_database()
        body = gzip.compress(lines.str.join("\n").item().encode(), self._level)
        parameters = {"db": self._settings.influx_database, "precision": precision}
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Encoding": "gzip",
        }
        self._send("POST", "/write", parameters, headers, body).drain_conn()

    def _query(self, statement: str, epoch: str, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """The answer's columns that `schema` names, with its types; no rows where there is no such measurement."""
        self._make_database()
        parameters = {
            "db": self._settings.influx_database,
            "epoch": epoch,
            "chunked": "true",
            "q": statement + PROOF,
        }
        try:
            answer = self._send("GET", "/query", parameters, {"Accept": "application/csv"})
            blocks = [
                pl.read_csv(block, schema_overrides=schema, columns=list(schema)) for block in _blocks(answer, self._address)
            ]
        except _Refused as refusal:
            raise StoreAway(f"InfluxDB at {self._address} does not understand InfluxQL: {refusal.words}") from None
        except pl.exceptions.PolarsError as error:
            what = str(error).partition("\n")[0]
            raise StoreAway(f"InfluxDB at {self._address} holds values of other types than Mainflow writes: {what}") from None
        except urllib3.exceptions.HTTPError as error:
            raise StoreAway(f"InfluxDB at {self._address} stopped within an answer: {type(error).__name__}") from None
        return pl.concat([pl.DataFrame(schema=schema), *(block.select(*schema) for block in blocks)])

    def _make_database(self) -> None:
        """1.x makes the database; 2.x and a user without the right say no, and then the next request tells what is missing."""
        if self._database_made:
            return
        name = self._settings.influx_database.replace("\\", "\\\\").replace('"', '\\"')
        with suppress(_Refused, _Denied):
            self._send("POST", "/query", {"q": f'CREATE DATABASE "{name}"'}).drain_conn()
        self._database_made = True

    def _send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        form: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """One request, its answer not read yet. 400 and 422 raise `_Refused`, everything else that is no 2xx `StoreAway`."""
        content = {} if headers and "Content-Type" in headers else {"Content-Type": "text/plain"}
        try:
            answer: urllib3.BaseHTTPResponse = self._api.call_api(
                path,
                method,
                query_params=list(parameters.items()),
                header_params={**content, **(headers or {}), **self._login},
                body=body,
                post_params=list((form or {}).items()),
                auth_settings=[],
                _preload_content=False,
                _return_http_data_only=True,
            )
        except ApiException as error:
            if not error.status:
                raise StoreAway(f"InfluxDB at {self._address}: no secure connection: {error.reason}") from None
            raise self._judged(error) from None
        except urllib3.exceptions.HTTPError as error:
            # urllib3 counts a refused connection among the time-outs.
            silent = isinstance(error, urllib3.exceptions.TimeoutError) and not isinstance(
                error, urllib3.exceptions.NewConnectionError
            )
            what = "does not answer in time" if silent else f"cannot be reached ({type(error).__name__})"
            raise StoreAway(f"InfluxDB at {self._address} {what}") from None
        return answer

    def _judged(self, error: ApiException) -> Exception:
        words = _words(error.body)
        if self._settings.influx_password:
            words = words.replace(self._settings.influx_password, "***")
        name = self._settings.influx_database
        if error.status in (400, 422) and not any(limit in words for limit in SITE_LIMITS):
            return _Refused(words)
        if error.status in (400, 422):
            return StoreAway(f"InfluxDB at {self._address} is at a limit of its own configuration; set it to 0: {words}")
        if error.status in (401, 403):
            kind = StoreAway if error.status == 401 else _Denied
            keys = "[store] influx_auth, influx_user and influx_password"
            return kind(f"InfluxDB at {self._address} refuses the log-in ({error.status}); see {keys}: {words}")
        if error.status in (404, 405):
            self._database_made = False
            return _Denied(f"InfluxDB at {self._address} has no {name!r}; create it or mend [store] influx_database: {words}")
        return StoreAway(f"InfluxDB at {self._address} is in trouble ({error.status}): {words}")


def _seconds(duration: str) -> int:
    """Seconds of a duration as Go writes it, for example 168h0m0s."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


def _login(settings: StoreSettings) -> dict[str, str]:
    if settings.influx_auth == "token":
        return {"Authorization": f"Token {settings.influx_password}"}
    if settings.influx_auth == "basic":
        pair = f"{settings.influx_user}:{settings.influx_password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _is_here(host: str) -> bool:
    """Whether the server is on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reading_lines(readings: pl.DataFrame) -> pl.Series:
    """Line protocol of readings, time in ms: floats always as floats, integers with `i`, what is missing left out.

    The text that all readings of a frame have in common is made once and repeated.
    """
    common = ["terminal", "received_at", "channel", "frame"]
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in common)
    begins = begins | (pl.int_range(pl.len()) == 0)
    tag = pl.col("terminal")
    for special in (",", "=", " "):
        tag = tag.str.replace_all(special, "\\" + special, literal=True)
    text = pl.col("channel").str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    told = [
        pl.format("received_us={}i", pl.col("received_at").dt.epoch("us")),
        pl.format('channel="{}"', text),
        pl.format("frame={}i", pl.col("frame")),
    ]
    start = pl.format(MEASUREMENT + "," + TERMINAL_TAG + "={} {}", tag, pl.concat_str(told, separator=",", ignore_nulls=True))
    starts = readings.filter(begins).select(start).to_series()
    fields = [
        pl.format("," + field.name + ("={}" if field.dtype.is_float() else "={}i"), pl.col(field.name))
        for field in FIELDS
        if readings[field.name].null_count() < readings.height
    ]
    line = pl.concat_str(
        [
            starts.gather(readings.select(begins.cum_sum() - 1).to_series()),
            *fields,
            pl.format(" {}", pl.col("ts").dt.epoch("ms")),
        ],
        ignore_nulls=True,
    )
    return readings.select(line).to_series()


def _blocks(answer: urllib3.BaseHTTPResponse, address: str) -> Iterator[BytesIO]:
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
        words = _words(header + rest)
        raise StoreAway(f"InfluxDB at {address} did not finish its answer (no such database, or the query was stopped) {words}")
    if table:
        yield BytesIO(table.rstrip(b"\n") + b"\n")


def _words(body: Any) -> str:
    """The server's own words of an error answer (JSON or text), one line."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    found = re.search(r'"(?:error|message)"\s*:\s*"((?:[^"\\]|\\.)*)"', text)
    return " ".join((found[1].replace('\\"', '"') if found else text).split())[:500]


def _nanoseconds(moment: datetime) -> int:
    """Since 1970, within the time that InfluxDB knows (1677 to 2262)."""
    return min(
        max(
            (moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) * 1000,
            -MOST_NS,
        ),
        MOST_NS,
    )
