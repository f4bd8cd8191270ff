"""Alarms of the server from the figures: touched days through the rules, compared with what is known; PostgreSQL follows.

    touched days ──`alarm_rules.evaluate`──▶ runs ──as far back and ahead as they last──▶ windows, spans
                 ──`alarm_ledger.replace_spans`──▶ ops.alarm_span, ops.alarm, ops.alarm_history

A window reaches so far that no run crosses its ends, so spans are the same whatever order the days came in. A meter whose rows
say nothing keeps what is known of it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import psycopg

from assets import calendar, warehouse
from assets.alarm_rules import Rule, evaluate, gone, rules
from ingest_daemon.contract import alarm_ledger
from ingest_daemon.contract.alarm_codes import SERVER
from ingest_daemon.contract.alarm_ledger import Changes, Span, Window
from ingest_daemon.contract.log import LOG

BY = "engine"

REACH_DAYS = 35
"""Days before a window up to which a run is followed; of one that lasts longer the beginning is the known one."""

PIECE_METER_DAYS = 16_000
"""So many meters × days are looked at at a time: a meter that needs a look on one of the days is looked at on all of them."""

BOUNDS: dict[str, pl.DataType] = {"meter": pl.String(), "first": pl.Date(), "last": pl.Date()}
"""The first and the last day that are looked at, by meter."""

WHOLE = Window("", datetime.min.replace(tzinfo=UTC), alarm_ledger.FOREVER)


class Found(NamedTuple):
    """What a rule says: windows in which its spans are known, and these."""

    windows: list[Window]
    spans: list[Span]


def settle(
    connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, made: Collection[str], now: datetime, zone: ZoneInfo
) -> Changes:
    """Bring the alarms to what the touched partitions say, by every rule whose first table is `made`.

    The tables of the partitions are prepared. `target` commits by itself, so that nothing is locked while a rule is evaluated.
    Raises `psycopg.Error`.
    """
    changes = Changes()
    for rule in rules().values():
        if rule.deps[0] in made and not absent(connection, rule):
            changes += _settle(connection, target, rule, _days(connection, rule), now, zone)
    return changes + _finished(connection, target, now)


def tick(connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, now: datetime, zone: ZoneInfo) -> Changes:
    """Bring the alarms to what has changed because time has passed. Raises `psycopg.Error`."""
    changes = Changes()
    for rule in rules().values():
        if rule.ticks and not absent(connection, rule):
            changes += _settle(connection, target, rule, [], now, zone)
    return changes + _finished(connection, target, now)


def _finished(connection: duckdb.DuckDBPyConnection, target: psycopg.Connection, now: datetime) -> Changes:
    """The end of a look, which is noted: who tells of alarms tells of it when nobody looks any more."""
    changes = _clear_gone(target, gone(connection, now))
    with target.transaction():
        alarm_ledger.note_look(target)
    return changes


def _clear_gone(target: psycopg.Connection, ended: Mapping[str, datetime]) -> Changes:
    """Clear what is open of meters whose service is over, at its end."""
    changes = Changes()
    query = f"select {alarm_ledger.SPAN} from ops.alarm_span where ended_at is null and meter = any(%s)"
    with target.transaction():
        for span in map(Span._make, target.execute(query, [list(ended)]).fetchall()):
            over = span._replace(ended_at=max(ended[span.meter], span.started_at))
            window = Window(span.meter, span.started_at, alarm_ledger.FOREVER)
            changes += alarm_ledger.replace_spans(target, span.code, span.origin, [window], [over], by=BY)
    return changes


def absent(connection: duckdb.DuckDBPyConnection, rule: Rule) -> list[str]:
    """What the rule reads and nothing has made yet; of the intervals there is a table before the first day."""
    return [dep for dep in rule.deps if dep != "interval_reading" and not warehouse.has_table(connection, dep)]


def _settle(
    connection: duckdb.DuckDBPyConnection,
    target: psycopg.Connection,
    rule: Rule,
    days: Sequence[date],
    now: datetime,
    zone: ZoneInfo,
) -> Changes:
    """A rule that fails is told and does not hold up the others."""
    changes = Changes()
    try:
        for found in look(connection, target, rule, days, now, zone):
            with target.transaction():  # a short one: terminals' alarms wait for it
                changes += alarm_ledger.replace_spans(target, rule.name, SERVER, found.windows, found.spans, by=BY)
    except duckdb.Error as error:
        LOG.error("报警规则失败 / alarm rule %s fails, its alarms stay as they are: %s", rule.name, error)
    return changes


def _days(connection: duckdb.DuckDBPyConnection, rule: Rule) -> list[date]:
    """The days that the rule looks at anew; none of one that looks at everything."""
    return [day for (day,) in connection.execute(f"{rule.days} order by day").fetchall()] if rule.days else []


def look(
    connection: duckdb.DuckDBPyConnection,
    target: psycopg.Connection,
    rule: Rule,
    days: Sequence[date],
    now: datetime,
    zone: ZoneInfo,
) -> Iterator[Found]:
    """What the rule says of days, some at a time, and of what changes as time passes; of everything, where it looks at that."""
    if rule.days is None:
        yield _everything(connection, rule, now)
        return
    for first, last in _pieces(connection, days):
        yield _settled(connection, target, rule, _scope(connection, _of_all(connection, first, last)), now, zone)
    if rule.ticks:
        scope = warehouse.frame(connection, "select meter, day from latest_figures where day is not null")
        yield _settled(connection, target, rule, scope.filter(~pl.col("day").is_in(list(days))), now, zone)


def _pieces(connection: duckdb.DuckDBPyConnection, days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """Runs of days without a break, so many at a time as need little memory."""
    ((meters,),) = connection.execute("select count(distinct meter) from registry.span").fetchall()
    most = max(1, PIECE_METER_DAYS // max(1, meters))
    for first, last in calendar.runs(days):
        run = calendar.days_between(first, last)
        for start in range(0, len(run), most):
            yield run[start], run[min(start + most, len(run)) - 1]


def _of_all(connection: duckdb.DuckDBPyConnection, first: date, last: date) -> pl.DataFrame:
    """The same days (`BOUNDS`) of every meter that ever had a terminal."""
    meters = warehouse.frame(connection, "select distinct meter from meter_history where terminal is not null")
    return meters.with_columns(first=pl.lit(first), last=pl.lit(last))


def _scope(connection: duckdb.DuckDBPyConnection, bounds: pl.DataFrame) -> pl.DataFrame:
    """The days (`meter`, `day`) within the bounds (`BOUNDS`) on which the meters are in service."""
    query = """
        select distinct meter, cast(day as date) as day
        from (select *, unnest(generate_series(first, last, interval 1 day)) as day from bounds)
        join meter_history using (meter)
        where terminal is not null and coalesce(first_day <= day, true) and coalesce(last_day >= day, true)"""
    with warehouse.registered(connection, "bounds", bounds):
        return warehouse.frame(connection, query)


def _everything(connection: duckdb.DuckDBPyConnection, rule: Rule, now: datetime) -> Found:
    scope = pl.DataFrame(schema={"meter": pl.String, "day": pl.Date})
    held, edges = evaluate(connection, rule, scope, now)
    return Found([WHOLE._replace(meter=meter) for meter in edges["meter"]], _spans(rule, held))


def _settled(
    connection: duckdb.DuckDBPyConnection,
    target: psycopg.Connection,
    rule: Rule,
    scope: pl.DataFrame,
    now: datetime,
    zone: ZoneInfo,
) -> Found:
    """Windows and spans of a scope, which grows at a meter until no run crosses its ends."""
    windows: list[Window] = []
    spans: list[Span] = []
    if scope.is_empty():
        return Found(windows, spans)
    of_scope = scope.group_by("meter").agg(first=pl.col("day").min(), last=pl.col("day").max())
    bounds: dict[str, tuple[date, date]] = {meter: (first, last) for meter, first, last in of_scope.iter_rows()}
    newest = max([*_newest(connection), *(last for _, last in bounds.values())])
    floor = {meter: first - timedelta(days=REACH_DAYS) for meter, (first, _) in bounds.items()}
    step = 1
    while not scope.is_empty():
        meters = scope["meter"].unique().to_list()
        stored = alarm_ledger.spans_between(target, rule.name, meters, *_extent(scope, zone, now), SERVER)
        known = alarm_ledger.by_meter(stored)
        held, edges = evaluate(connection, rule, scope, now, list(known))
        wider: dict[str, tuple[date, date]] = {}
        settled: list[str] = []
        carried: dict[str, Span] = {}
        for edge in edges.iter_rows(named=True):
            meter, (first, last) = edge["meter"], bounds[edge["meter"]]
            window = Window(meter, edge["first_at"], edge["last_at"])
            before = [span for span in known.get(meter, ()) if span.started_at < window.begin <= span.until]
            after = [span for span in known.get(meter, ()) if span.started_at <= window.end < span.until]
            far = min((span.started_at.astimezone(zone).date() for span in before), default=first)
            own = first, last
            if (edge["holds_first"] or before) and first > floor[meter]:
                own = max(floor[meter], min(first - timedelta(days=step), far)), last
            if (edge["holds_last"] or after) and last < newest:
                own = own[0], min(newest, last + timedelta(days=step))
            if own != (first, last):
                wider[meter] = own
                continue
            settled.append(meter)
            windows.append(window)
            if before:  # it began before the farthest day that is looked at
                earliest = min(before, key=lambda span: span.started_at)
                if edge["holds_first"]:
                    carried[meter] = earliest
                else:
                    spans.append(earliest._replace(ended_at=window.begin))
        spans += _carried(_spans(rule, held.filter(pl.col("meter").is_in(settled))), carried, rule)
        if not wider:
            break
        bounds |= wider
        step *= 2
        rows = [(meter, first, last) for meter, (first, last) in wider.items()]
        scope = _scope(connection, pl.DataFrame(rows, schema=BOUNDS, orient="row"))
    return Found(windows, spans)


def _newest(connection: duckdb.DuckDBPyConnection) -> list[date]:
    return [day for (day,) in connection.execute("select max(day) from unit_day").fetchall() if day is not None]


def _extent(scope: pl.DataFrame, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The time of the days of a scope; what is evaluated of the last ones may reach until now."""
    days = sorted(scope["day"].unique())
    return calendar.midnight(days[0], zone), max(now, calendar.midnight(days[-1] + timedelta(days=1), zone))


def _spans(rule: Rule, held: pl.DataFrame) -> list[Span]:
    return [
        Span(meter, rule.name, SERVER, started_at, ended_at, value, limit_value, rule.code.unit)
        for meter, started_at, ended_at, value, limit_value in held.iter_rows()
    ]


def _carried(spans: Sequence[Span], carried: dict[str, Span], rule: Rule) -> list[Span]:
    """The first span of a meter goes on from one that began before the farthest day that is looked at."""
    found = []
    for span in spans:
        before = carried.pop(span.meter, None)
        if before:
            values = [value for value in (before.value, span.value) if value is not None]
            peak = (min if rule.code.beyond == "below" else max)(values, default=None)
            limit = before.limit_value if peak == before.value else span.limit_value
            span = span._replace(started_at=before.started_at, value=peak, limit_value=limit)
        found.append(span)
    return found
