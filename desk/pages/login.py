"""Log-in by Grafana's names and passwords, and log-out."""

import math
import secrets
import time

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from desk.grafana import GrafanaAway, log_in
from desk.security import ADMIN, COOKIE, LOGIN_COOKIE, VIEWER, Refused, Session, Visit, action, local_path, page
from desk.settings import DeskSettings
from ingest_daemon.contract.log import LOG, RateLimitedLog
from ingest_daemon.contract.regions import organisation
from ingest_daemon.contract.registry_files import RegistryError, read_people

LOGIN_S = 3600
"""Seconds that a log-in page can be used."""
LONGEST = 200

_LIMITED = RateLimitedLog()


def login_page(visit: Visit) -> Response:
    """The form; who has logged in goes on to where he wanted."""
    wanted = local_path(visit.query.get("next", "/"))
    return RedirectResponse(wanted, 303) if visit.session else _form(visit, wanted)


def _form(visit: Visit, wanted: str, status: int = 200, trouble: str = "", user: str = "") -> Response:
    number = secrets.token_urlsafe(24)
    token = visit.desk.sessions.csrf(number)
    answer = visit.show("login.html", status, wanted=wanted, trouble=trouble, typed=user, token=token)
    _set_cookie(visit, answer, LOGIN_COOKIE, number, LOGIN_S)
    return answer


def enter(visit: Visit) -> Response:
    """Ask Grafana; a session for whom it knows, else the form again with the reason."""
    desk = visit.desk
    wanted = local_path(visit.text("next"))
    user, password = visit.text("user"), _password(visit)
    address = client_address(visit.request, desk.settings[DeskSettings].proxy)
    if not user or not password or len(user) > LONGEST or ":" in user:
        return _form(visit, wanted, 401, desk.word("wrong_login"), user[:LONGEST])
    wait_s = desk.throttle.wait_s(user, address)
    if wait_s:
        return _form(visit, wanted, 429, desk.word("wait", seconds=math.ceil(wait_s)), user)
    try:
        known = log_in(desk.settings[DeskSettings].grafana, user, password)
    except GrafanaAway as error:
        _LIMITED.warn("log-in", f"nobody can log in: {error}")
        return _form(visit, wanted, 503, desk.word("grafana_away"), user)
    if known is None:
        desk.throttle.fail(user, address)
        LOG.warning("desk: log-in of %s from %s refused", user, address)
        return _form(visit, wanted, 401, desk.word("wrong_login"), user)
    desk.throttle.succeed(user, address)
    region = _region(visit, known.login)
    role = known.roles.get(organisation(region)) if region else known.role
    if role is None or (region and role == ADMIN):
        return _form(visit, wanted, 403, desk.word("no_role"), user)
    hours = desk.settings[DeskSettings].session_h
    session = Session(known.login, role, secrets.token_urlsafe(24), int(time.time() + hours * 3600), region)
    LOG.info("desk: %s logged in from %s as %s, region: %s", session.user, address, session.role, session.region or "all")
    answer = RedirectResponse(wanted, 303)
    _set_cookie(visit, answer, COOKIE, desk.sessions.sealed(session), int(hours * 3600))
    answer.delete_cookie(LOGIN_COOKIE)
    return answer


def _region(visit: Visit, login: str) -> str:
    """The region of who logged in, empty where he sees all; of a file that cannot be read nobody of a region has a role."""
    try:
        people = read_people(visit.desk.settings.folder.registry).people
    except RegistryError as error:
        _LIMITED.warn("people", f"nobody of a region can log in: {error}")
        return ""
    return next((person.region for person in people if person.login.lower() == login.lower()), "")


def _password(visit: Visit) -> str:
    """As it was typed: blanks may be part of it."""
    value = visit.form.get("password")
    return value if isinstance(value, str) and len(value) <= LONGEST else ""


def leave(visit: Visit) -> Response:
    """End the session, also for a copy of its cookie."""
    if visit.session is None:
        raise Refused(403, "foreign_form")
    visit.desk.sessions.end(visit.session)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def client_address(request: Request, proxy: str) -> str:
    """Where a request comes from; of one through the proxy of the settings, what that says."""
    address = request.client.host if request.client else ""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return forwarded[:64] if proxy and address == proxy and forwarded else address


def _set_cookie(visit: Visit, answer: Response, name: str, value: str, seconds: int) -> None:
    is_secure = visit.desk.settings[DeskSettings].is_secure
    answer.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=is_secure)


routes = [
    page("/login", login_page, role=None),
    action("/login", enter, role=None),
    action("/logout", leave, role=VIEWER),
]
