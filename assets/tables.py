"""Every table of the warehouse as one step: what it is made from, the function that makes its partitions, and its version.

SQL marts and reports are discovered by folder; the few tables that SQL cannot make (billing, registry, intervals, differences of
registers) are here. `mainflow run` and the Dagster assets take the same steps in the same order.
"""

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import cache, partial
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NamedTuple

import duckdb
import polars as pl
from duckdb.func import FunctionNullHandling

from assets import (
    billing,
    changed_days,
    cleaned,
    deliveries,
    forecast,
    gaps,
    interval_files,
    kept_aside,
    kernel,
    macros,
    marts,
    month_end,
    night_levels,
    periods,
    quality,
    register_differences,
    registry_history,
    reports,
    rules,
    serving,
    units,
    warehouse,
)
from assets.columns import Table
from assets.kernel import UNCLEAN, Flag
from assets.partitions import IN_PIECES, Partitions
from assets.workbench import Workbench
from ingest_daemon.contract.headers import SQL
from ingest_daemon.contract.silence import silent_after_min
from ingest_daemon.stores.storage import Storage

LIVE = ("registry", "master_data", "cleaned", "usage", "latest")
"""Groups whose tables follow a reading within a minute."""

ON_DEMAND = ("billing", "reports")
"""Groups that are made when a person or a schedule asks for them."""


class Made(NamedTuple):
    """What a step did: raw readings read, rows written, and for a step of several tables the rows of each."""

    readings_read: int
    rows_written: int
    parts: Mapping[str, int] = MappingProxyType({})


class Making(NamedTuple):
    """What a step works with. `renew`: it makes its whole table anew; `partitions` are then all that there are."""

    bench: Workbench
    connection: duckdb.DuckDBPyConnection
    partitions: Partitions
    renew: bool = False


class Step(NamedTuple):
    """One table: its place in the graph and how its partitions are made.

    `daily`: it is cut by days. `version`: a hash of what makes its rows; empty where rows do not depend on a formula.
    `criteria`: names of those that its rows depend on.
    """

    name: str
    group: str
    zh: str
    description: str
    deps: tuple[str, ...]
    daily: bool
    build: Callable[[Making], Made]
    version: str = ""
    criteria: tuple[str, ...] = ()


def _billing(making: Making) -> Made:
    """Nothing where the site names no billing system. Raises `BillingError`."""
    bench = making.bench
    if not bench.billing:
        return Made(0, 0)
    counts = billing.sync(bench.billing, making.connection, overlap_days=bench.billing_overlap_days, queries=SQL / "billing")
    return Made(0, sum(counts.get(table, 0) for table in billing.TABLES), counts)


def _registry(making: Making) -> Made:
    """The registry as its history has it: the last facts of each meter, and what held when."""
    bench, connection = making.bench, making.connection
    history = bench.site.registry_history
    if not history.exists():  # the first reading of the files concerns no day that has figures
        registry_history.take_over(bench, connection, (), lambda days: None)
    held = registry_history.current(history)
    connection.execute("create schema if not exists registry").fetchall()
    for name, frame in held.items():
        if name not in ("file", "span", *rules.REPLACED_BY):
            warehouse.replace_all(connection, f"registry.{name}", frame)
    warehouse.replace_all(connection, "registry.terminals", registry_history.latest(held["span"], bench.zone))
    warehouse.replace_all(connection, "registry.span", held["span"])
    warehouse.replace_all(connection, "registry.timeline", registry_history.timeline(held["span"], bench.zone))
    return Made(0, held["span"].height)


def _units(making: Making) -> Made:
    if making.renew:
        interval_files.renew(making.connection, making.bench.unit_files)
        for name in cleaned.KEPT_TABLES:
            warehouse.renew_where_other(making.connection, name, getattr(units.EMPTY, name))
    return Made(*cleaned.make(making.bench, making.connection, making.partitions.days))


def _drop_renewed(making: Making, table: str) -> None:
    if making.renew:
        making.connection.execute(f"drop table if exists {table}").fetchall()


def _register_month(making: Making) -> Made:
    _drop_renewed(making, "register_month")
    return Made(0, register_differences.make_months(making.connection, making.partitions.months, making.bench.zone))


def _register_year(making: Making) -> Made:
    _drop_renewed(making, "register_year")
    return Made(0, register_differences.make_years(making.connection, making.partitions.years, making.bench.zone))


def _night_level(making: Making) -> Made:
    _drop_renewed(making, "night_level")
    return Made(0, night_levels.make(making.connection))


def _register_bill(making: Making) -> Made:
    return Made(0, register_differences.make_bills(making.connection, making.bench.zone))


def _month_end(making: Making) -> Made:
    return Made(0, month_end.make(making.connection))


def _forecast(making: Making) -> Made:
    return Made(0, forecast.make(making.connection, making.bench.zone))


def _delivery_day(making: Making) -> Made:
    if making.renew:
        warehouse.replace_all(making.connection, "delivery_day", pl.DataFrame(schema=deliveries.DELIVERY_DAY))
    # Its readings are those that the intervals are made from, which count them.
    return Made(0, deliveries.make(making.bench, making.connection, making.partitions.days))


def _kept_aside(making: Making) -> Made:
    return Made(0, kept_aside.make(making.bench, making.connection))


def _gap_ledger(making: Making) -> Made:
    return Made(0, gaps.make(making.bench, making.connection, datetime.now(UTC)))


def _mart(mart: Table, making: Making) -> Made:
    # What follows from a mart that is renewed is renewed, too.
    is_compared = mart.name in changed_days.MEMBERSHIPS and not making.renew and warehouse.has_table(making.connection, mart.name)
    with changed_days.noted(making.connection, mart.name) if is_compared else nullcontext():
        return Made(0, sum(_pieces(mart, making)))


def _pieces(mart: Table, making: Making) -> Iterator[int]:
    """Make the partitions, some at a time where they are many; gives the rows of each piece."""
    pieces = [making.partitions]
    if mart.partitions in IN_PIECES:
        ((meters,),) = making.connection.execute("select count(distinct meter) from registry.span").fetchall()
        pieces = making.partitions.pieces(mart.partitions, meters)
    for number, piece in enumerate(pieces):
        if len(pieces) > 1:
            mart.partitioning.prepare(making.connection, piece)
        yield marts.build(mart, making.connection, renew=making.renew and number == 0)
    if len(pieces) > 1:
        mart.partitioning.prepare(making.connection, making.partitions)


def _report(name: str, making: Making) -> Made:
    """The files of the month up to the newest day that has figures. Raises `NothingToReport`."""
    return made_report(reports.make(name, None, making.bench, making.connection))


def made_report(written: Sequence[reports.Issued]) -> Made:
    """What the step of a report did: the files of one report."""
    return Made(0, written[0].rows, {str(report.file): report.rows for report in written})


@cache
def steps() -> tuple[Step, ...]:
    """Every step, each after those that it and its checks need. Raises `ValueError` naming a circle or an unknown table."""
    found = {step.name: step for step in (*_own_steps(), *_mart_steps(), *_report_steps())}
    deps = {name: needed_by(step) for name, step in found.items()}
    for name, needed in deps.items():
        if unknown := needed - found.keys() - OUTSIDE:
            raise ValueError(f"{name} is made from {', '.join(sorted(unknown))}, which no step makes")
    try:
        order = TopologicalSorter({name: sorted(needed - OUTSIDE) for name, needed in sorted(deps.items())}).static_order()
        return tuple(found[name] for name in order)
    except CycleError as error:
        raise ValueError(f"tables are made from each other in a circle: {' ← '.join(error.args[1])}") from None


VIEWS = frozenset(view.name for view in serving.views())
"""What is selected from and no step makes, either."""

OUTSIDE = {"raw_reading"}
"""What steps are made from and no step makes: the raw readings are the daemon's."""


def _own_steps() -> Iterable[Step]:
    units_version = _version_of(units, *_modules_of(kernel))
    difference_version = units_version + _version_of(periods, register_differences)
    yield Step(
        "billing",
        "billing",
        "营收同步",
        "Customers, cards, reads, bills and payments that changed in the billing system, read through ODBC.",
        (),
        False,
        _billing,
    )
    yield Step("registry", "registry", "档案", "The registry's CSV files, kept in time.", (), False, _registry)
    yield Step(
        "interval_reading",
        "cleaned",
        "区间读数",
        "Cleaned intervals of every meter: raw readings through the register curve, cut at local hours and days.",
        ("raw_reading", "registry"),
        True,
        _units,
        units_version,
        units.CRITERIA,
    )
    yield Step(
        "register_month",
        "cleaned",
        "月表底差",
        "Volume of a month as the difference of the register curve between its ends.",
        ("interval_reading", "registry"),
        True,
        _register_month,
        difference_version,
    )
    yield Step(
        "register_year",
        "cleaned",
        "年表底差",
        "Volume of a year as the difference of the register curve between its ends, where a month's end in it is not known.",
        ("interval_reading", "registry", "register_month"),
        True,
        _register_year,
        difference_version,
    )
    yield Step(
        "night_level",
        "metrics",
        "夜间基线",
        "Night flow of each meter and day with the median and spread of the comparable nights before it.",
        ("interval_reading", "calendar"),
        True,
        _night_level,
        _version_of(night_levels),
        night_levels.CRITERIA,
    )
    yield Step(
        "register_bill",
        "revenue",
        "账单表底差",
        "Volume of a bill's period as the difference of the register curve between its ends, of each of its meters.",
        ("interval_reading", "registry", "billing"),
        True,
        _register_bill,
        difference_version,
    )
    yield Step(
        "month_end",
        "revenue",
        "账务月结",
        "Counts, volumes and amounts of the accounts of each month by class, kept once the month is closed.",
        ("billing", "registry", "relation", "meter_month", "bill", "bill_charge"),
        True,
        _month_end,
        _version_of(month_end),
        ("revenue.open_days",),
    )
    yield Step(
        "forecast_hour",
        "metrics",
        "预测计算",
        "Hours ahead of meters, customers and groups with their band, and how past forecasts have fitted (forecast_day).",
        ("hourly_usage", "daily_usage", "calendar", "meter_history", "relation"),
        True,
        _forecast,
        _version_of(forecast),
        forecast.CRITERIA,
    )

    yield Step(
        "delivery_day",
        "quality",
        "送达",
        "How the readings of each meter and day were delivered: when they came, battery, signal and status.",
        ("raw_reading", "registry"),
        True,
        _delivery_day,
        _version_of(deliveries),
    )
    yield Step(
        "kept_aside",
        "quality",
        "另存",
        "What the daemon keeps aside in quarantine/, counted by reason, terminal and day.",
        (),
        False,
        _kept_aside,
        _version_of(kept_aside),
    )
    yield Step(
        "gap_ledger",
        "quality",
        "缺数台账",
        "Holes in the data of each meter: when each was seen first, asked for and closed.",
        ("interval_reading", "latest_figures", "meter", "meter_history"),
        True,
        _gap_ledger,
        _version_of(gaps),
        ("gap.memory_days",),
    )


def _mart_steps() -> Iterable[Step]:
    for mart in marts.all_marts():
        is_daily = bool(mart.partitioning.rows)
        build = partial(_mart, mart)
        yield Step(mart.name, mart.group, mart.zh, mart.description, mart.deps, is_daily, build, mart.version, mart.criteria)


def _report_steps() -> Iterable[Step]:
    for name in reports.names():
        report = reports.definition(name)
        deps = tuple(dep for dep in report.deps if dep not in VIEWS)
        yield Step(f"{name}_report", "reports", report.titles["zh"], report.description, deps, False, partial(_report, name))


def needed_by(step: Step) -> set[str]:
    """The tables that a step and the checks of its table need, by name."""
    return {*step.deps, *(dep for rule in quality.rules(step.name) for dep in rule.deps)} - {step.name}


def made_from(names: Collection[str]) -> set[str]:
    """The steps whose rows are made from some tables, directly or by way of others; the tables themselves are not among them."""
    reached = set(names)
    for step in steps():
        if not reached.isdisjoint(step.deps):
            reached.add(step.name)
    return reached - set(names)


def figures() -> list[Step]:
    """The steps that touched days lead to, in order: all but those on demand."""
    return [step for step in steps() if step.group not in ON_DEMAND]


def analysis() -> list[Step]:
    """The figures that need not follow a reading within a minute, in order."""
    return [step for step in figures() if step.group not in LIVE]


def synced() -> list[Step]:
    """What a sync with billing makes: its tables, the registry that they are joined with, and all that is made from them."""
    names = {"billing", "registry", *made_from(("billing",))}
    return [step for step in steps() if step.name in names and step.group != "reports"]


def absent(connection: duckdb.DuckDBPyConnection, step: Step, made: Collection[str]) -> list[str]:
    """The tables that the step and its checks need and that no run has made yet; those of the steps `made` are there."""
    looked_for = (needed_by(step) & {other.name for other in steps()}) - {"registry", "billing", *made}
    return sorted(name for name in looked_for if not warehouse.has_table(connection, name))


def prepare(connection: duckdb.DuckDBPyConnection, unit_files: Storage | None = None) -> None:
    """What the selects need of a connection, once: names for the flags (`is_hole(flags)`, `is_clean(flags)` …), functions, and
    the tables that may be empty. `unit_files`: where intervals lie, if not beside the warehouse."""
    for flag in Flag:
        connection.execute(f"create or replace temp macro is_{str(flag.name).lower()}(flags) as flags & {flag:d} <> 0").fetchall()
    connection.execute(f"create or replace temp macro is_clean(flags) as flags & {UNCLEAN:d} = 0").fetchall()
    connection.create_function(
        "silent_after_h",
        _silent_after_h,
        ["bigint", "bigint", "varchar"],
        "double",
        null_handling=FunctionNullHandling.SPECIAL,
    )
    billing.ensure_tables(connection)
    changed_days.ensure(connection)
    rules.prepare(connection)
    macros.create(connection)
    month_end.ensure(connection)
    forecast.ensure(connection)
    empty = {
        **{name: getattr(units.EMPTY, name) for name in cleaned.KEPT_TABLES},
        "latest_reading": pl.DataFrame(schema=cleaned.LATEST),
        "register_bill": pl.DataFrame(schema=register_differences.REGISTER_BILL),
        "delivery_day": pl.DataFrame(schema=deliveries.DELIVERY_DAY),
        "kept_aside": pl.DataFrame(schema=kept_aside.KEPT_ASIDE),
        "gap_ledger": pl.DataFrame(schema=gaps.GAP_LEDGER),
        "gap_changed": pl.DataFrame(schema=gaps.GAP_CHANGED),
    }
    for name, rows in empty.items():
        if not warehouse.has_table(connection, name):
            warehouse.replace_all(connection, name, rows)
    interval_files.show(connection, unit_files)
    warehouse.drop(connection, "interval_reading", "table")  # of a version that kept the intervals as rows
    for view in (units.INTERVAL_READING, units.CLOCK_HOUR):
        connection.execute(view).fetchall()


def _silent_after_h(step_min: int | None, upload_min: int | None, link: str | None) -> float | None:
    """Hours after the last reading from which a meter counts as silent; None where no terminal reads it."""
    return None if step_min is None else silent_after_min(step_min, upload_min, is_polled=bool(link)) / 60


# --- versions -----------------------------------------------------------------------------------------------------------------


def outdated(connection: duckdb.DuckDBPyConnection, versions: rules.Versions, unit_files: Storage) -> set[str]:
    """The figures that were made by another formula, by other rules or in another zone, never, or whose files are gone, and all
    that is made from them.

    They are noted as such before they are made anew: neither a kill nor a run that makes other tables forgets them.
    """
    connection.execute("create schema if not exists state").fetchall()
    connection.execute("create table if not exists state.version (name varchar primary key, version varchar)").fetchall()
    noted = dict(connection.execute("select name, version from state.version").fetchall())
    changed = {step.name for step in figures() if noted.get(step.name) != _version(step, versions)}
    if interval_files.are_lost(connection, unit_files):
        changed.add("interval_reading")
    found = (changed | made_from(changed)) & {step.name for step in figures()}
    if found:
        connection.execute("insert or replace into state.version select unnest(?), null", [sorted(found)]).fetchall()
    return found


def note_version(connection: duckdb.DuckDBPyConnection, step: Step, versions: rules.Versions) -> None:
    """All rows of the step's table are by its present formula."""
    connection.execute("insert or replace into state.version values (?, ?)", [step.name, _version(step, versions)]).fetchall()


def _version(step: Step, versions: rules.Versions) -> str:
    """What made the step's rows: its formula, the zone in which days and months are civil ones, and the rules that it goes by."""
    return f"{step.version} {versions.zone} {versions.of(step.criteria, step.deps)}".rstrip()


def _modules_of(package: ModuleType) -> list[Path]:
    return sorted(Path(package.__path__[0]).glob("*.py"))


def _version_of(*sources: ModuleType | Path) -> str:
    """A hash of the sources' statements: comments, docstrings and layout do not count."""
    digest = sha256()
    for source in sources:
        path = source if isinstance(source, Path) else Path(str(source.__file__))
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [item for item in body if not _is_text(item)]  # type: ignore[attr-defined]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
