"""`/alarms`: the open alarms."""

from starlette.responses import Response

from desk.security import VIEWER, Visit, page


def list_alarms(visit: Visit) -> Response:
    """The list."""
    with visit.database() as connection:
        rows = connection.execute(
            "select alarm_id, raised_at, meter, code from ops.alarm order by raised_at desc limit 500"
        ).fetchall()
    return visit.show("alarms.html", rows=rows)


navigation = [("/alarms", "alarms", VIEWER)]
routes = [page("/alarms", list_alarms)]
