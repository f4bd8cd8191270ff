"""Who asks, whether he may, and whether it was he: sessions in a signed cookie, roles, CSRF tokens, headers.

A page module makes its routes with `page` (reads) and `action` (changes something): both look at the role, and `action` at the
CSRF token as well, so that no module can forget it.
"""

import hmac
import json
import secrets
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import psycopg
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from desk.database import connected
from ingest_daemon.contract.files import rebuilt_json, replace_file, write_json
from ingest_daemon.contract.http import BODY_BYTES
from ingest_daemon.contract.registry_files import ACCESS_ROLES
from ingest_daemon.contract.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from desk.app import Desk

VIEWER, OPERATOR, ADMIN = ROLES = ACCESS_ROLES
"""From the least rights: reads, acknowledges, maintains."""

COOKIE, LOGIN_COOKIE = "mainflow_desk", "mainflow_desk_login"
CSRF_FIELD = "csrf"
KEY_BYTES = 32
MOST_ENDED = 10_000
FORM_FIELDS, FORM_FILES = 2000, 20
UPLOAD_BYTES = 1 << 24
"""The longest form of all; with `BODY_BYTES` where no file is sent."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Refused(Exception):
    """A request that is not done; `word`: key of the words that say why."""

    def __init__(self, status: int, word: str, **values: object) -> None:
        super().__init__(f"{status} {word} {values}")
        self.status, self.word, self.values = status, word, values


class Session(NamedTuple):
    """Who logged in, with his role, until when (seconds since 1970); `number` is the session's own.

    `region`: the only one that he sees; empty: all.
    """

    user: str
    role: str
    number: str
    until_s: int
    region: str = ""

    def may(self, role: str) -> bool:
        """Whether the role is his or below his."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Sessions:
    """Signs and reads the sessions of a site. Those that were logged out before their time are kept until then."""

    def __init__(self, site: Site) -> None:
        """Raises `OSError`."""
        self._key = signing_key(site)
        self._lock = threading.Lock()
        self._noted = site.state / "desk-ended.json"
        self._ended = rebuilt_json(self._noted, _ended, "who logged out is not known any more") or {}

    def sealed(self, session: Session) -> str:
        """The session as a cookie's value."""
        body = urlsafe_b64encode(json.dumps(session, ensure_ascii=False).encode()).decode()
        return f"{body}.{self._signature('session', body)}"

    def opened(self, text: str) -> Session | None:
        """The session of a cookie's value; None where it is forged, over, or logged out."""
        body, _, signature = text.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature("session", body).encode()):
            return None
        session = Session(*json.loads(urlsafe_b64decode(body)))
        return session if time.time() < session.until_s and session.number not in self._ended else None

    def end(self, session: Session) -> None:
        """Let nobody use it again, also after another start. Raises `OSError`."""
        with self._lock:
            now = time.time()
            self._ended = {number: until_s for number, until_s in self._ended.items() if until_s > now}
            if len(self._ended) < MOST_ENDED:
                self._ended[session.number] = session.until_s
            write_json(self._noted, self._ended, durable=False, private=True)

    def csrf(self, number: str) -> str:
        """The token that a form of the session carries."""
        return self._signature("csrf", number)

    def _signature(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), sha256).hexdigest()


def _ended(content: Any) -> dict[str, int]:
    return {str(number): int(until_s) for number, until_s in content.items()}


def signing_key(site: Site) -> bytes:
    """The key of the site's sessions, made at the first call; who removes its file ends every session. Raises `OSError`."""
    path = site.state / "desk-key"
    if not (path.is_file() and path.stat().st_size == KEY_BYTES):
        site.state.mkdir(parents=True, exist_ok=True)
        replace_file(path, [secrets.token_bytes(KEY_BYTES)], private=True)
    return path.read_bytes()


@dataclass(frozen=True)
class Visit:
    """A request with all that a page needs to answer it."""

    desk: "Desk"
    request: Request
    session: Session | None
    form: FormData
    number: str
    """What the CSRF token is bound to: the session's, or before log-in that of a cookie of its own."""

    @classmethod
    def of(cls, request: Request) -> "Visit":
        """The visit of a request whose form was not read."""
        desk: Desk = request.app.state.desk
        session = desk.sessions.opened(request.cookies.get(COOKIE, ""))
        number = session.number if session else request.cookies.get(LOGIN_COOKIE, "")
        return cls(desk, request, session, FormData(), number)

    @property
    def user(self) -> str:
        """Login name; of pages that need a role."""
        assert self.session is not None
        return self.session.user

    @property
    def region(self) -> str:
        """The only one that the visitor sees; empty: all."""
        return self.session.region if self.session else ""

    def may(self, role: str) -> bool:
        """Whether the visitor has the role."""
        return self.session is not None and self.session.may(role)

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    def text(self, name: str, longest: int = 1000) -> str:
        """A field of the form, stripped, without NUL, which PostgreSQL refuses. Raises `Refused` where it is longer."""
        value = self.form.get(name)
        text = value.replace("\0", "").strip() if isinstance(value, str) else ""
        if len(text) > longest:
            raise Refused(400, "too_long", field=name, most=longest)
        return text

    @contextmanager
    def database(self) -> "Iterator[psycopg.Connection[Any]]":
        """See `desk.database.connected`."""
        with connected(self.desk.settings, self.region) as connection:
            yield connection

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page, or a part of one, from `templates/`."""
        return self.desk.render(self, template, status, values)


Page = Callable[[Visit], Response]


def page(path: str, answer: Page, *, role: str | None = VIEWER, otherwise: Callable[[Visit], bool] | None = None) -> Route:
    """The route of a page that only reads. `role`: who may see it at least; None: everyone.

    `otherwise`: what lets a visit in that has not the role.
    """
    return Route(path, _endpoint(answer, role, 0, otherwise), methods=["GET"])


def action(path: str, answer: Page, *, role: str | None = OPERATOR, body_bytes: int = BODY_BYTES) -> Route:
    """The route of a form that changes something: of its own session, and of the role at least.

    `body_bytes`: the longest form; with files at most `UPLOAD_BYTES`.
    """
    return Route(path, _endpoint(answer, role, body_bytes), methods=["POST"])


def _endpoint(
    answer: Page, role: str | None, body_bytes: int, otherwise: Callable[[Visit], bool] | None = None
) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        visit = Visit.of(request)
        needed = None if otherwise and otherwise(visit) else role
        if needed and visit.session is None:
            return _to_login(request)
        try:
            if needed:
                require(visit, needed)
            if body_bytes:
                visit = replace(visit, form=await _form(request, body_bytes))
                csrf(visit)
            return await run_in_threadpool(answer, visit)
        except Refused as refused:
            return visit.desk.refusal(visit, refused)

    return endpoint


async def _form(request: Request, most: int) -> FormData:
    """The form that was sent, of so many bytes at most. Raises `Refused` for what is none."""
    if int(request.headers.get("content-length", "0")) > most:
        raise Refused(413, "form_too_long", most=most)
    try:
        return await request.form(max_fields=FORM_FIELDS, max_files=FORM_FILES)
    except HTTPException:
        raise Refused(400, "no_form") from None


def require(visit: Visit, role: str) -> None:
    """Raises `Refused` where the visitor has not the role."""
    if not visit.may(role):
        raise Refused(403, "needs_role", role=visit.desk.word(role))


def csrf(visit: Visit) -> None:
    """Raises `Refused` where the form is not one that the desk gave to his session."""
    token = visit.form.get(CSRF_FIELD)
    wanted = visit.desk.sessions.csrf(visit.number)
    if not visit.number or not isinstance(token, str) or not hmac.compare_digest(token.encode(), wanted.encode()):
        raise Refused(403, "foreign_form")
    if visit.request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "foreign_form")


def local_path(text: str) -> str:
    """The path, where it is one of the desk's own; else the first page."""
    is_own = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if is_own else "/"


def _to_login(request: Request) -> Response:
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"hx-redirect": "/login"})
    if request.method != "GET":
        return RedirectResponse("/login", 303)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(here, safe='')}", 303)


class WithHeaders:
    """Adds the headers that browsers guard the pages by; pages are not stored."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_file = scope.get("path", "").startswith("/static/")
        more = HEADERS | {"cache-control": "max-age=3600" if is_file else "no-store"}
        added = [(name.encode(), value.encode()) for name, value in more.items()]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, send_with_headers)
