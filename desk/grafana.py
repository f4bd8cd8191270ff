"""Log-ins are Grafana's: whoever it knows by name and password gets the role that he has in its main organisation.

Somebody whose row of `registry/access.csv` names a region has the role of that region's organisation, and sees its rows alone.
Whoever else has no place in the main organisation has no role here.
"""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, NamedTuple

from desk.security import ADMIN, OPERATOR, VIEWER

MAIN_ORGANISATION = 1
ANSWER_S = 5.0
ANSWER_BYTES = 1 << 18
ROLES = {"Viewer": VIEWER, "Editor": OPERATOR, "Admin": ADMIN}


class GrafanaAway(Exception):
    """Grafana does not answer, or not as Grafana does; the text says what came."""


class Known(NamedTuple):
    """Who logged in: the name as Grafana writes it, his role in the main organisation, None where it has none for him, and his
    role in each organisation by its name."""

    login: str
    role: str | None
    roles: Mapping[str, str | None]


def log_in(address: str, user: str, password: str) -> Known | None:
    """Who this is, None where Grafana does not know him so. Raises `GrafanaAway`."""
    token = b64encode(f"{user}:{password}".encode()).decode()
    own = _answer(f"{address.rstrip('/')}/api/user", token)
    if own is None:
        return None
    places = _answer(f"{address.rstrip('/')}/api/user/orgs", token)
    try:
        roles = {place["orgId"]: place["role"] for place in places or ()}
        role = ADMIN if own["isGrafanaAdmin"] else ROLES.get(roles.get(MAIN_ORGANISATION, ""))
        return Known(str(own["login"]), role, {str(place["name"]): ROLES.get(place["role"]) for place in places or ()})
    except (LookupError, TypeError) as error:
        raise GrafanaAway(f"{address} does not answer as Grafana does: {error!r}") from None


def _answer(url: str, token: str) -> Any:
    """The JSON of an answer; None where name and password are refused. Raises `GrafanaAway`."""
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})
    try:
        with OPENER.open(request, timeout=ANSWER_S) as answer:
            return json.loads(answer.read(ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            return None
        raise GrafanaAway(f"{url} answers {error.code}") from None
    except (OSError, ValueError, HTTPException) as error:
        raise GrafanaAway(f"{url}: {error}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A password goes to the address of the settings, and to no other."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
