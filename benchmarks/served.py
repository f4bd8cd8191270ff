"""Every query of the boards over tables of a million meters: how long a panel waits, and why where it waits long.

The tables are those of the demo, published by the product; inside PostgreSQL its measured meters are then copied under other
names until there are enough. A few of the copies keep their whole history, all others the newest part of it (`KEPT`): what a
panel of one meter reads is as long as ever, and it is looked for among as many rows as a disk of 25 GB holds.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psycopg
from psycopg import errors, sql

import dashboards
from benchmarks.figures import Figure, at_most
from benchmarks.parties import REPOSITORY
from benchmarks.run import Run
from benchmarks.stack import COMMAND
from dashboards import Json
from ingest_daemon.contract.site import Site
from pipelines.processes.postgres import board_dsn, embedded
from tests.dashboards import choices
from tests.mart_fixture import ZONE

METERS = 1_000_000
DAYS, HISTORY_MONTHS = 40, 15
"""Of the demo: as much as its tests have."""
SETTINGS = {"MAINFLOW_SERVING_PARTITIONED": "true", "MAINFLOW_DAEMON_HEALTH_PORT": "0", "MAINFLOW_DESK_PORT": "0"}
"""Great tables are cut, as those of a region are."""
GOAL_MS = 50
REPEATS = 5
SLOW_MS, LONGEST_MS = 1_000, 60_000
"""A query that takes longer is not asked again; one that takes longest is given up."""

NAMES = {"meter", "terminal", "customer_no", "bill_no", "payment_id", "key"}
"""Columns by which a copy differs."""
OF_COPIES = "'network', 'line', 'group', 'book'"
"""Kinds of groups that a utility has more of, the larger it is; of regions and industries the members become more."""
COPIES_OF_A_NETWORK = 100
OF_OPS = ("latest_reading", "alarm")

KEPT = {
    "daily_usage": "t.day > '{last}'::date - 10",
    "hourly_usage": "t.day = '{last}'",
    "hourly_coefficient": "t.day = '{last}' and extract(hour from t.hour_start) < 2",
    "hourly_pressure": "t.day = '{last}' and extract(hour from t.hour_start) < 2",
    "forecast": "t.made_on = '{last}' and t.hour_start < t.made_on + interval '1 hour'",
    "usage_profile": "t.weekday = 1 and t.hour < 1",
    "alarm": "t.settled_at is null",
}
"""The rows of a table that every copy has, where not those of `NEWEST`."""
NEWEST = {
    "day": "t.day = '{last}'",
    "period": "t.period = '{last}' or t.grain <> 'day' and t.period >= '{last}'::date - interval '31 days'",
    "month": "t.month >= '{last}'::date - interval '31 days'",
    "account_month": "t.account_month >= '{last}'::date - interval '62 days'",
    "period_end": "t.period_end >= '{last}'::date - interval '62 days'",
    "period_start": "t.period_start >= '{last}'::date - interval '62 days'",
    "due_on": "t.due_on >= '{last}'::date - interval '62 days'",
    "week": "t.week >= '{last}'::date - interval '62 days'",
}
"""The rows that every copy has of a table with one of these columns; of one with none: all."""

ONE_OF_MANY = re.compile(r"\$\{(meter|own_meter|customer_no):")
"""A query of one meter or of one customer."""


class Asked(NamedTuple):
    """What a board asks and how long it took: milliseconds, of them planning, rows; `plan` where it was too long."""

    board: str
    title: str
    of_one: bool
    ms: float
    rows: int
    plan: str = ""


def served(run: Run) -> list[Figure]:
    """Panels over a million meters: those of one meter or customer, and those of the fleet."""
    folder = run.folder / "served"
    meters = run.sized(METERS)
    with _site(run, folder) as site, embedded(site, 0) as dsn:
        run.tell(f"tables of {meters:,} meters")
        grow(dsn, meters)
        run.tell("panels")
        found = list(measured(board_dsn(site)))
        size_gb = _size_gb(dsn)
    (run.folder.parent / "served.txt").write_text(listing(found), encoding="utf-8")
    note = f"{meters:,} meters, {size_gb:.1f} GB; each query: served.txt"
    of_one, of_fleet = ([each.ms for each in found if each.of_one is wanted] for wanted in (True, False))
    late = sum(ms > GOAL_MS for ms in of_one)
    return [
        Figure(
            "served", f"slowest of {len(of_one)} queries of one meter or customer", [max(of_one)], "ms", at_most(GOAL_MS), note
        ),
        Figure("served", f"of these above {GOAL_MS} ms", [late], "", at_most(0), note),
        Figure("served", "median of these", [median(of_one)], "ms", None, note),
        Figure("served", f"slowest of {len(of_fleet)} queries of the fleet", [max(of_fleet)], "ms", None, note),
        Figure("served", "median of these", [median(of_fleet)], "ms", None, note),
    ]


@contextmanager
def _site(run: Run, folder: Path) -> Iterator[Site]:
    run.tell("the demo whose tables are copied")
    made = [*COMMAND, "demo", str(folder), "--days", str(DAYS), "--history-months", str(HISTORY_MONTHS)]
    done = subprocess.run(made, cwd=REPOSITORY, env={**os.environ, **SETTINGS}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mainflow demo: {done.stderr[-2000:]}")
    yield Site(folder)


def grow(dsn: str, meters: int) -> None:
    """Copy the measured meters of the demo, with all rows about them, until there are so many."""
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute("set time zone 'Asia/Shanghai'; set maintenance_work_mem = '512MB'; set synchronous_commit = off")
        (last, measured_meters) = owner.execute(
            "select (select max(day) from mart.daily_usage), (select count(*) from mart.latest_figures)"
        ).fetchall()[0]
        copies = max(1, meters // measured_meters)
        owner.execute(
            "create temp table copied as select meter, terminal, customer_no from mart.latest_figures; "
            "create temp table alone as select distinct customer_no from copied where customer_no is not null"
        )
        tables = owner.execute(
            "select nspname, relname, array(select attname::text from pg_attribute where attrelid = pg_class.oid "
            "and attnum > 0 and not attisdropped order by attnum) from pg_class join pg_namespace n on n.oid = relnamespace "
            "where relkind in ('r', 'p') and not relispartition and (nspname = 'mart' or nspname = 'ops' and relname = any(%s))",
            [list(OF_OPS)],
        ).fetchall()
        for schema, name, columns in tables:
            _copy(owner, schema, name, columns, str(last), copies)
        owner.execute("vacuum analyze")


def _copy(owner: psycopg.Connection[Any], schema: str, name: str, columns: list[str], last: str, copies: int) -> None:
    of = next((column for column in ("meter", "customer_no") if column in columns), None)
    if of is None:
        return
    table = sql.Identifier(schema, name)
    kept = KEPT.get(name) or next((rule for column, rule in NEWEST.items() if column in columns), "true")
    chosen = {
        "meter": "t.meter in (select meter from copied)",
        "customer_no": "t.customer_no in (select customer_no from alone)",
    }[of]
    values = [_value(name, column) for column in columns]
    indexes = owner.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index where indrelid = to_regclass(%s) "
        "and not exists (select from pg_constraint where conindid = indexrelid)",
        [f"{schema}.{name}"],
    ).fetchall()
    for index, _ in indexes:
        owner.execute(sql.SQL("drop index {}").format(sql.SQL(index)))
    rows = f"select t.* from {{table}} as t where {chosen}"
    sources = (
        (f"({rows} and not ({kept.format(last=last)}))", f"unnest(array{whole_copies(copies)})"),
        (f"({rows} and ({kept.format(last=last)}))", f"generate_series(1, {copies})"),
    )
    for source, numbers in sources:
        statement = (
            "insert into {table} ({names}) overriding system value select {values} "
            f"from {source} as t cross join {numbers} as k"
        )
        owner.execute(
            sql.SQL(statement).format(
                table=table, names=sql.SQL(", ").join(map(sql.Identifier, columns)), values=sql.SQL(", ").join(values)
            )
        )
    for _, made in indexes:
        owner.execute(sql.SQL(made.replace(" ON ONLY ", " ON ")))  # of a table with partitions: on these, too


def _value(table: str, column: str) -> sql.Composed:
    """What a copy has in a column: names of its own, and for so many copies together a network of their own."""
    if column == "alarm_id":
        return sql.SQL("t.{} + k::bigint * 1000000").format(sql.Identifier(column))
    if (table, column) == ("relation", "code"):
        return sql.SQL(f"t.code || case when t.kind in ({OF_COPIES}) then '~' || k / {COPIES_OF_A_NETWORK} else '' end").format()
    suffix = " || '~' || k" if column in NAMES else ""
    return sql.SQL("t.{}" + suffix).format(sql.Identifier(column))


def whole_copies(copies: int) -> list[int]:
    """The copies with their whole history."""
    return sorted({1, copies // 3 + 1, copies // 2 + 1})


def measured(dsn: str) -> Iterator[Asked]:
    """Every query of every board, with a meter and a customer in the middle of the fleet chosen."""
    with psycopg.connect(dsn, autocommit=True) as reader:
        reader.execute(f"set time zone '{ZONE}'; set statement_timeout = {LONGEST_MS}")
        meter, customer, end = reader.execute(
            "select meter, customer_no, reading_at from mart.latest_figures where meter = "
            "(select max(meter) from mart.hourly_usage where day = (select min(day) from mart.hourly_usage))"
        ).fetchall()[0]
        for uid, board in dashboards.all_boards().items():
            yield from _of_board(reader, uid, board, {"meter": meter, "customer_no": customer, "own_meter": meter}, end)


def _of_board(reader: psycopg.Connection[Any], uid: str, board: Json, given: dict[str, str], end: datetime) -> Iterator[Asked]:
    chosen = {"__timezone": ZONE}
    for variable in board["templating"]["list"]:
        name = variable["name"]
        options: list[str] = []
        if variable["type"] == "query":
            query = dashboards.runnable(variable["query"], chosen, end - timedelta(days=7), end)
            yield _timed(reader, uid, f"${name}", query, bool(ONE_OF_MANY.search(variable["query"])))
        with suppress(errors.QueryCanceled):
            options = choices.values(reader, variable, chosen, end)
        chosen[name] = given.get(name) or next(iter(options), "")
    for asks in choices.asked(board):
        yield _timed(reader, uid, asks.title, choices.statement(asks, chosen, end), bool(ONE_OF_MANY.search(asks.sql)))


def _timed(reader: psycopg.Connection[Any], uid: str, title: str, query: str, of_one: bool) -> Asked:
    """The median of `REPEATS` after a first one."""
    taken: list[float] = []
    rows = -1
    with suppress(errors.QueryCanceled):
        while len(taken) <= REPEATS and not (len(taken) > 1 and taken[-1] > SLOW_MS):
            started = time.perf_counter()
            rows = len(reader.execute(query).fetchall())
            taken.append((time.perf_counter() - started) * 1000)
    ms = median(taken[1:]) if len(taken) > 1 else LONGEST_MS
    plan = ""
    if of_one and ms > GOAL_MS:
        with suppress(errors.QueryCanceled):
            plan = "\n".join(line for (line,) in reader.execute(f"explain (analyze, buffers, settings) {query}").fetchall())
        plan = f"{query}\n{plan}"
    return Asked(uid, title, of_one, ms, rows, plan)


def listing(found: list[Asked]) -> str:
    """A line a query, slowest first; then the plans of those of one meter or customer that take too long."""
    ordered = sorted(found, key=lambda each: (not each.of_one, -each.ms))
    lines = [
        f"{'one' if each.of_one else 'fleet':6}{each.ms:10.1f} ms {each.rows:7} rows  {each.board}: {each.title}"
        for each in ordered
    ]
    plans = [f"\n{each.board}: {each.title}\n{each.plan}" for each in ordered if each.plan]
    return "\n".join([*lines, *plans]) + "\n"


def _size_gb(dsn: str) -> float:
    with psycopg.connect(dsn) as reader:
        row = reader.execute("select pg_database_size(current_database())").fetchone()
    assert row is not None
    return float(row[0]) / 1e9
