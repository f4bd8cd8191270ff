"""What the desk reads of alarms: the list by filters, one alarm now and as it was known, its neighbours and its curves."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg

from desk.database import has_table
from desk.security import Refused
from ingest_daemon.contract.alarm_codes import ALARMS
from ingest_daemon.contract.severities import SEVERITIES

AROUND = timedelta(hours=2)
"""What one looks at before and after an alarm."""

PAGE_ROWS = 100

IS_OPEN = "cleared_at is null and retracted_at is null"
STATES: Mapping[str, str] = {
    "todo": f"retracted_at is null and (({IS_OPEN}) or (acknowledged_at is null and is_told))",
    "open": IS_OPEN,
    "cleared": "cleared_at is not null and retracted_at is null",
    "unacknowledged": "acknowledged_at is null and retracted_at is null",
    "acknowledged": "acknowledged_at is not null",
    "retracted": "retracted_at is not null",
    "all": "true",
}
"""What an alarm of each state of the list fulfils; `todo` is what the ticker shows."""

BELONGING = ("region", "industry")
"""Kinds of relation that the list can be filtered by."""

FAR_KINDS = ("industry", "region", "book", "dn", "vendor", "source")
"""Kinds of relation whose meters are no neighbours in the network."""


class Filters(NamedTuple):
    """Which alarms are listed; what is empty does not matter."""

    begin: datetime | None = None
    """Raised at this time or later, ..."""
    end: datetime | None = None
    """... and before this one."""
    code: str = ""
    severity: str = ""
    state: str = "todo"
    customer: str = ""
    """Part of the customer's number, name or address, or of a meter."""
    region: str = ""
    industry: str = ""


def read_filters(query: Mapping[str, str], zone: ZoneInfo) -> Filters:
    """The filters of an address. Raises `Refused` naming a value that cannot be used."""
    choices = {"code": tuple(ALARMS), "severity": SEVERITIES, "state": tuple(STATES)}
    values: dict[str, Any] = {name: text.strip() for name in Filters._fields if (text := query.get(name, "")).strip()}
    for name, value in values.items():
        if (name in choices and value not in choices[name]) or "\0" in value:
            raise Refused(400, "wrong_value", field=name, value=value)
    times: dict[str, Any] = {name: read_time(name, values[name], zone) for name in ("begin", "end") if name in values}
    return Filters(**(values | times))


def read_time(name: str, text: str, zone: ZoneInfo) -> datetime:
    """The time that a person wrote, on the utility's clock unless he named an offset. Raises `Refused`."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(400, "wrong_value", field=name, value=text) from None


class Listed(NamedTuple):
    """One page of a list, and how many alarms it has in all."""

    rows: Sequence[Any]
    total: int


def list_alarms(connection: psycopg.Connection[Any], filters: Filters, page: int = 1) -> Listed:
    """The alarms that all filters let through, the newest first. Raises `psycopg.Error`."""
    conditions, values = [STATES[filters.state]], []
    for column in ("code", "severity"):
        if value := getattr(filters, column):
            conditions.append(f"{column} = %s")
            values.append(value)
    for condition, moment in (("raised_at >= %s", filters.begin), ("raised_at < %s", filters.end)):
        if moment:
            conditions.append(condition)
            values.append(moment)
    if filters.customer:
        found = ["meter ilike %s", "customer_no ilike %s", "customer_name ilike %s"]
        if has_table(connection, "mart.customer_search"):
            found.append("customer_no in (select customer_no from mart.customer_search where key ilike %s)")
        conditions.append(f"({' or '.join(found)})")
        values += [_containing(filters.customer)] * len(found)
    for kind in BELONGING:
        if code := getattr(filters, kind):
            conditions.append(MEMBER if has_table(connection, "mart.relation") else "false")
            values += [kind, code] if has_table(connection, "mart.relation") else []
    where = " and ".join(conditions)
    rows = connection.execute(
        f"select *, count(*) over () as total from ops.alarm as alarm where {where} "
        "order by raised_at desc, alarm_id desc limit %s offset %s",
        [*values, PAGE_ROWS, (page - 1) * PAGE_ROWS],
    ).fetchall()
    return Listed(rows, rows[0].total if rows else 0)


HELD = "(valid_from is null or valid_from <= {day}) and (valid_to is null or valid_to > {day})"
MEMBER = f"""exists (
    select from mart.relation as relation
    where relation.meter = alarm.meter and relation.kind = %s and relation.code = %s
        and {HELD.format(day="cast(alarm.raised_at as date)")}
)"""


def _containing(text: str) -> str:
    """The pattern of what contains the text, whose own signs of patterns are letters."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def choices(connection: psycopg.Connection[Any], language: str) -> dict[str, list[tuple[str, str]]]:
    """Regions and industries as codes and names, for the filters. Raises `psycopg.Error`."""
    found: dict[str, list[tuple[str, str]]] = {kind: [] for kind in BELONGING}
    if has_table(connection, "mart.relation"):
        for row in connection.execute(
            "select kind, code, min(name_zh) as zh, min(name_en) as en from mart.relation where kind = any(%s) "
            "group by kind, code order by kind, code",
            [list(BELONGING)],
        ):
            found[row.kind].append((row.code, getattr(row, language) or row.code))
    return found


# --- One alarm ------------------------------------------------------------------------------------------------------------------


def alarm(connection: psycopg.Connection[Any], alarm_id: int) -> Any:
    """The row of an alarm as it is now. Raises `Refused` where there is none."""
    row = connection.execute("select * from ops.alarm where alarm_id = %s", [alarm_id]).fetchone()
    if row is None:
        raise Refused(404, "not_found")
    return row


def history(connection: psycopg.Connection[Any], alarm_id: int) -> Sequence[Any]:
    """What was known of an alarm, from the first on."""
    query = "select * from ops.alarm_history where alarm_id = %s order by history_id"
    return connection.execute(query, [alarm_id]).fetchall()


def known_at(history: Sequence[Any], moment: datetime) -> Any | None:
    """What the history says was known at a moment; None where nothing was."""
    return next((row for row in reversed(history) if row.known_at <= moment), None)


def state_of(row: Any) -> str:
    """Of a row of alarms or of their history: retracted, cleared or open."""
    return "retracted" if row.retracted_at else "cleared" if row.cleared_at else "open"


def intervals(connection: psycopg.Connection[Any], meter: str, begin: datetime, end: datetime) -> Sequence[Any]:
    """The intervals of a meter that end within the stretch; none where none were published."""
    if not has_table(connection, "mart.interval_reading"):
        return []
    return connection.execute(
        "select interval_start, interval_end, flow_m3h, pressure_mpa from mart.intervals(%s, %s, %s) order by interval_end",
        [meter, begin, end],
    ).fetchall()


NEIGHBOURS = f"""
with shared as (
    select distinct other.meter, own.kind, own.code, own.name_zh, own.name_en
    from mart.relation as own
    join mart.relation as other using (kind, code)
    where own.meter = %(meter)s and other.meter <> %(meter)s and kind <> all(%(far)s)
        and {HELD.format(day="%(day)s").replace("valid_", "own.valid_")}
        and {HELD.format(day="%(day)s").replace("valid_", "other.valid_")}
)
"""
NEIGHBOUR_ALARMS = f"""{NEIGHBOURS}
select shared.*, alarm.alarm_id, alarm.code as alarm_code, alarm.severity, raised_at, cleared_at, retracted_at, peak_value,
    limit_value, unit, customer_name
from shared join ops.alarm as alarm using (meter)
where raised_at <= %(end)s and coalesce(cleared_at, 'infinity') >= %(begin)s and retracted_at is null
order by raised_at, alarm_id, shared.kind limit 50
"""
NEIGHBOUR_REVERSALS = f"""{NEIGHBOURS}
select shared.*, started_at, ended_at, volume_m3
from shared join mart.reverse_event using (meter)
where started_at <= %(end)s and ended_at >= %(begin)s
order by started_at, meter, shared.kind limit 50
"""


class Neighbours(NamedTuple):
    """Alarms and reversed flow near a time at meters that share a part of the network."""

    alarms: Sequence[Any]
    reversals: Sequence[Any]
    is_known: bool
    """Whether relations were published."""


def neighbours(connection: psycopg.Connection[Any], meter: str, begin: datetime, end: datetime, day: date) -> Neighbours:
    """Those of a meter on a day. Raises `psycopg.Error`."""
    if not has_table(connection, "mart.relation"):
        return Neighbours([], [], False)
    values = {"meter": meter, "far": list(FAR_KINDS), "day": day, "begin": begin, "end": end}
    reversals = connection.execute(NEIGHBOUR_REVERSALS, values).fetchall() if has_table(connection, "mart.reverse_event") else []
    return Neighbours(connection.execute(NEIGHBOUR_ALARMS, values).fetchall(), reversals, True)
