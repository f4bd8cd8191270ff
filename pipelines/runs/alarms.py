"""Alarms beside a run: what changes as time passes, and a rule tried over the past.

Both read the warehouse; neither computes a figure.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import NamedTuple

import duckdb
import psycopg

from assets import alarm_engine, alarm_rules, warehouse
from assets.alarm_rules import Rule
from assets.workbench import Workbench
from ingest_daemon.contract import alarm_ledger, ownership
from ingest_daemon.contract.alarm_codes import SERVER
from ingest_daemon.contract.alarm_ledger import Changes, Span
from pipelines.runs.run import prepare_selects, run_lock

BY = "replay"


class Replayed(NamedTuple):
    """What a rule as it is now says of some days, against what is known of them.

    `same`: spans of both; `new`: only the rule says so; `gone`: only known.
    """

    same: list[Span]
    new: list[Span]
    gone: list[Span]


def tick(bench: Workbench) -> Changes:
    """Bring the alarms to what has changed because time has passed. Nothing where there are no figures or no server yet.

    Raises `WarehouseBusy`, `psycopg.Error`.
    """
    dsn = bench.serving_dsn()
    if dsn is None or not bench.site.marts.exists():
        return Changes()
    with _opened(bench, dsn) as (connection, target):
        return alarm_engine.tick(connection, target, datetime.now(UTC), bench.zone)


def replay(bench: Workbench, code: str, days: Sequence[date], *, applies: bool = False) -> Replayed:
    """Try a rule over days of the past. Nobody is told; without `applies` nothing is written.

    Raises `ValueError` for an unknown rule, or without figures or server; `WarehouseBusy`, `psycopg.Error`.
    """
    rule = _rule(code)
    dsn = bench.serving_dsn()
    if dsn is None:
        raise ValueError("PostgreSQL does not run: start the site with mainflow up, or set [postgres] dsn")
    if not bench.site.marts.exists():
        raise ValueError(f"{bench.site.marts} is not there: compute the figures first, with mainflow run")
    result = Replayed([], [], [])
    with _opened(bench, dsn) as (connection, target), target.transaction():
        if absent := alarm_engine.absent(connection, rule):
            raise ValueError(f"rule {code} is made from {', '.join(absent)}, which nothing has made yet: mainflow run")
        for found in alarm_engine.look(connection, target, rule, days, datetime.now(UTC), bench.zone):
            known = {span for _, spans in alarm_ledger.spans_in(target, code, SERVER, found.windows) for span in spans}
            told = set(found.spans)
            for spans, more in zip(result, (known & told, told - known, known - told), strict=True):
                spans += sorted(more, key=lambda span: (span.meter, span.started_at))
            if applies:
                alarm_ledger.replace_spans(target, code, SERVER, found.windows, found.spans, by=BY, tells=False)
    return result


def _rule(code: str) -> Rule:
    rules = alarm_rules.rules()
    if code not in rules:
        raise ValueError(f"rule {code!r}: expected one of {', '.join(rules)}")
    return rules[code]


@contextmanager
def _opened(bench: Workbench, dsn: str) -> Iterator[tuple[duckdb.DuckDBPyConnection, psycopg.Connection]]:
    with (
        run_lock(bench),
        warehouse.opened(bench.site.marts, str(bench.zone)) as connection,
        psycopg.connect(dsn, autocommit=True) as target,
    ):
        ownership.open_ops(target, ownership.site_id(bench.site))
        prepare_selects(bench, connection)
        yield connection, target
