"""`/alarms/<number>`: one alarm, what was known of it when, and what happened around it."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from desk import chart
from desk.alarms import AROUND, alarm, history, intervals, known_at, neighbours, read_time, state_of
from desk.arrivals import arrivals, known_then, terminals_of
from desk.pages.alarms import LONGEST_NOTE, read_cause
from desk.security import OPERATOR, Refused, Visit, action, page
from ingest_daemon.contract.alarm_ledger import annotate


def show(visit: Visit) -> Response:
    """The page. `known`: the time whose knowledge is shown beside that of now."""
    alarm_id, zone = visit.request.path_params["alarm_id"], visit.desk.settings.zone
    asked = visit.query.get("known", "").strip()
    moment = read_time("known", asked, zone) if asked else None
    with visit.database() as connection:
        row = alarm(connection, alarm_id)
        course = history(connection, alarm_id)
        begin, end = row.raised_at - AROUND, row.raised_at + AROUND
        read = intervals(connection, row.meter, begin, end)
        terminals = terminals_of(connection, row.meter, row.raised_at) if moment else []
        near = neighbours(connection, row.meter, begin, end, row.raised_at.astimezone(zone).date())
    then = known_at(course, moment) if moment else None
    shown, is_told = read, True
    if moment:
        came = arrivals(visit.desk.settings, terminals, begin - AROUND, end + AROUND)
        is_told = bool(came)
        shown = known_then(read, came, moment) if came else [each for each in read if each.interval_end <= moment]
    until = row.cleared_at or row.retracted_at or datetime.now(UTC)
    panels = [
        chart.panel(
            curve,
            begin=begin,
            end=end,
            held=(row.raised_at, until),
            limit=row.limit_value if row.unit == curve.unit else None,
            zone=zone,
        )
        for curve in chart.curves(shown)
    ]
    return visit.show(
        "alarm.html",
        alarm=row,
        course=course,
        moment=moment,
        then=then,
        state_of=state_of,
        panels=panels,
        is_told=is_told,
        late=sum(each.interval_end <= moment for each in read) - len(shown) if moment and is_told else 0,
        chart=chart,
        near=near,
        causes=visit.desk.causes(),
        is_done="done" in visit.query,
        **_links(visit, row, begin, end),
    )


def _links(visit: Visit, row: Any, begin: datetime, end: datetime) -> dict[str, Any]:
    """To the board of the meter at the time of the alarm, and to its frames."""
    stretch = {"from": int(begin.timestamp() * 1000), "to": int(end.timestamp() * 1000)}
    board = f"{visit.desk.boards}/d/recall?{urlencode({'var-meter': row.meter, **stretch})}"
    frames = f"/frames?{urlencode({'meter': row.meter, 'at': row.raised_at.astimezone(UTC).isoformat(timespec='seconds')})}"
    return {"board": board, "frames": frames}


def correct(visit: Visit) -> Response:
    """Give an acknowledged alarm another cause and note."""
    alarm_id = visit.request.path_params["alarm_id"]
    cause, note = read_cause(visit), visit.text("note", LONGEST_NOTE)
    with visit.database() as connection:
        alarm(connection, alarm_id)
        if not annotate(connection, alarm_id, visit.user, cause, note):
            raise Refused(409, "acknowledge_first")
    return RedirectResponse(f"/alarms/{alarm_id}", 303)


routes = [
    page("/alarms/{alarm_id:int}", show),
    action("/alarms/{alarm_id:int}/note", correct, role=OPERATOR),
]
