"""`/wall`: the alarms on a screen that nobody touches, with a ticker and a sound. `/ticker`: what that shows to whom."""

import hmac
from datetime import UTC, datetime
from typing import Any

from starlette.responses import RedirectResponse, Response

from desk import ticker
from desk.security import ADMIN, ROLES, VIEWER, Refused, Visit, action, page
from desk.settings import DeskSettings
from desk.ticker import LEAST_S, MOST_S, Setting
from ingest_daemon.contract.alarm_codes import ALARMS
from ingest_daemon.contract.severities import SEVERITIES


def wall(visit: Visit) -> Response:
    """The whole screen; its list comes from `/wall/alarms` every few seconds."""
    return visit.show("wall.html", key=visit.query.get("key", ""), **_alarms(visit))


def alarms(visit: Visit) -> Response:
    """The list alone."""
    return visit.show("wall_alarms.html", key=visit.query.get("key", ""), **_alarms(visit))


def _alarms(visit: Visit) -> dict[str, Any]:
    role = visit.session.role if visit.session else VIEWER
    with visit.database() as connection:
        rows = ticker.rows(connection, role)
        seconds = ticker.settings(connection)[role].seconds
    newest = max((row.alarm_id for row in rows), default=0)
    return {"rows": rows, "seconds": seconds, "newest": newest, "now": datetime.now(UTC), "total": rows[0].total if rows else 0}


def has_key(visit: Visit) -> bool:
    """Whether the address has the key of the settings: a screen without a keyboard needs no log-in then."""
    key = visit.desk.settings[DeskSettings].wall_key
    return bool(key) and hmac.compare_digest(visit.query.get("key", "").encode(), key.encode())


def settings(visit: Visit) -> Response:
    """What the ticker shows to each role, and who changed that."""
    with visit.database() as connection:
        known = ticker.settings(connection)
        changes = ticker.changes(connection)
    return visit.show(
        "ticker.html",
        settings=known,
        changes=changes,
        codes=sorted(ALARMS, key=visit.desk.alarm),
        severities=SEVERITIES,
        least=LEAST_S,
        most=MOST_S,
    )


def set_ticker(visit: Visit) -> Response:
    """Change what a role's ticker shows."""
    role = visit.text("role")
    if role not in ROLES:
        raise Refused(400, "wrong_value", field="role", value=role)
    with visit.database() as connection:
        ticker.change(connection, role, _setting(visit), visit.user)
    return RedirectResponse("/ticker", 303)


def _setting(visit: Visit) -> Setting:
    """Of the form. Raises `Refused`."""
    codes, severities = ([str(value) for value in visit.form.getlist(name)] for name in ("code", "severity"))
    for name, values, allowed in (("code", codes, ALARMS), ("severity", severities, SEVERITIES)):
        if wrong := [value for value in values if value not in allowed]:
            raise Refused(400, "wrong_value", field=name, value=wrong[0])
    if not severities:
        raise Refused(400, "choose_severity")
    text = visit.text("seconds")
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and LEAST_S <= int(text) <= MOST_S):
        raise Refused(400, "wrong_seconds", least=LEAST_S, most=MOST_S)
    return Setting(
        tuple(code for code in ALARMS if code in codes), tuple(name for name in SEVERITIES if name in severities), int(text)
    )


navigation = [("/wall", "wall", VIEWER), ("/ticker", "ticker", ADMIN)]
routes = [
    page("/wall", wall, otherwise=has_key),
    page("/wall/alarms", alarms, otherwise=has_key),
    page("/ticker", settings, role=ADMIN),
    action("/ticker", set_ticker, role=ADMIN),
]
