"""`/alarms`: the alarms by filters, to be acknowledged one or many at a time."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from desk.alarms import BELONGING, PAGE_ROWS, STATES, Filters, choices, list_alarms, read_filters, state_of
from desk.causes import causes
from desk.security import OPERATOR, VIEWER, Refused, Visit, action, local_path, page
from ingest_daemon.contract.alarm_codes import ALARMS
from ingest_daemon.contract.alarm_ledger import acknowledge
from ingest_daemon.contract.severities import SEVERITIES

MOST_AT_ONCE = 500
LONGEST_NOTE = 1000
LAST_PAGE = 1_000_000


def alarms(visit: Visit) -> Response:
    """The list with its filters; after an acknowledgement also what became of it."""
    filters, number = _asked(visit)
    with visit.database() as connection:
        listed = list_alarms(connection, filters, number)
        belonging = choices(connection, visit.desk.language)
        done = _outcomes(visit, connection)
    return visit.show(
        "alarms.html",
        filters=filters,
        given=visit.query,
        states=STATES,
        severities=SEVERITIES,
        codes=sorted(ALARMS, key=visit.desk.alarm),
        belonging={kind: belonging[kind] for kind in BELONGING},
        done=done,
        causes=visit.desk.causes(),
        pages=-(-listed.total // PAGE_ROWS),
        number=number,
        here=_address(visit, number),
        address=lambda number: _address(visit, number),
        **_rows(visit, listed.rows, listed.total),
    )


def rows(visit: Visit) -> Response:
    """The rows alone, which the list asks for again and again."""
    filters, number = _asked(visit)
    with visit.database() as connection:
        listed = list_alarms(connection, filters, number)
    return visit.show("alarm_rows.html", **_rows(visit, listed.rows, listed.total))


def _rows(visit: Visit, rows: Sequence[Any], total: int) -> dict[str, Any]:
    return {"rows": rows, "total": total, "state_of": state_of, "query": urlencode(_query(visit))}


def _asked(visit: Visit) -> tuple[Filters, int]:
    """Filters and page. Raises `Refused`."""
    text = visit.query.get("page", "1")
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= LAST_PAGE):
        raise Refused(400, "wrong_value", field="page", value=text)
    return read_filters(visit.query, visit.desk.settings.zone), int(text)


def _query(visit: Visit) -> dict[str, str]:
    """The filters of this address as they were given."""
    return {name: visit.query[name] for name in (*Filters._fields, "page") if visit.query.get(name)}


def _address(visit: Visit, number: int) -> str:
    return f"/alarms?{urlencode(_query(visit) | {'page': number})}"


def _outcomes(visit: Visit, connection: Any) -> Sequence[Any]:
    """The alarms that were just acknowledged, with who did so and when: another may have been faster."""
    return connection.execute(  # type: ignore[no-any-return]
        "select alarm_id, code, meter, acknowledged_by, acknowledged_at from ops.alarm "
        "where alarm_id = any(%s) and acknowledged_at is not null order by alarm_id",
        [read_ids(visit.query.get("done", "").split(","))],
    ).fetchall()


def read_ids(texts: Sequence[str]) -> list[int]:
    """Numbers of alarms. Raises `Refused` for what is none, or for too many."""
    texts = [text for text in texts if text]
    if wrong := [text for text in texts if not (text.isascii() and text.isdecimal() and len(text) < 19)]:
        raise Refused(400, "wrong_value", field="alarm", value=wrong[0])
    if len(texts) > MOST_AT_ONCE:
        raise Refused(400, "too_many", most=MOST_AT_ONCE)
    return [int(text) for text in texts]


def read_cause(visit: Visit) -> str:
    """The cause of a form. Raises `Refused` for one that the list has not."""
    cause = visit.text("cause")
    if cause not in causes(visit.desk.settings.folder):
        raise Refused(400, "choose_cause")
    return cause


def acknowledge_alarms(visit: Visit) -> Response:
    """Acknowledge what was ticked, and go back to where it was; that page shows who was first."""
    ids = read_ids([str(value) for value in visit.form.getlist("alarm")])
    if not ids:
        raise Refused(400, "choose_alarm")
    cause, note = read_cause(visit), visit.text("note", LONGEST_NOTE)
    with visit.database() as connection:
        found = acknowledge(connection, ids, visit.user, cause, note)
    back = local_path(visit.text("back", 4000) or "/alarms")
    done = ",".join(str(each.alarm_id) for each in found)
    return RedirectResponse(f"{back}{'&' if '?' in back else '?'}{urlencode({'done': done})}", 303)


navigation = [("/alarms", "alarms", VIEWER)]
routes = [
    page("/alarms", alarms),
    page("/alarms/rows", rows),
    action("/alarms/acknowledge", acknowledge_alarms, role=OPERATOR),
]
