"""The application: the routes of every page module, and what all pages share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from desk.causes import causes
from desk.pages import alarm, alarms, feed, frames, home, login, maintain, meters, reports, wall
from desk.security import CSRF_FIELD, Refused, Sessions, Visit, WithHeaders
from desk.settings import DeskSettings
from desk.throttle import Throttle
from desk.words import WORDS, word
from ingest_daemon.contract.alarm_codes import ALARMS
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.settings import Settings, SiteSettings

PAGES: tuple[ModuleType, ...] = (home, alarms, alarm, wall, frames, meters, reports, maintain, login, feed)
"""Every page module; a new one is added here."""

FOLDER = Path(__file__).parent
NO_TABLES = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName)
MISSING = "—"
"""What stands where a value is missing."""


@dataclass
class Desk:
    """What the pages share."""

    settings: Settings
    sessions: Sessions
    throttle: Throttle = field(default_factory=Throttle)

    def __post_init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("desk"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._templates.globals |= {
            "t": self.word,
            "alarm_name": self.alarm,
            "duration": self.duration,
            "language": self.language,
            "utility": self.settings[SiteSettings].utility,
        }
        self._templates.filters |= {"moment": self.moment, "number": number}

    @property
    def language(self) -> str:
        """Of every page: zh or en."""
        return self.settings[SiteSettings].language

    @property
    def boards(self) -> str:
        """The address of Grafana in links."""
        return self.settings[DeskSettings].boards

    def alarm(self, code: str) -> str:
        """The name of an alarm code; the code itself of one that is not known."""
        return str(getattr(ALARMS[code], self.language)) if code in ALARMS else code

    def causes(self) -> dict[str, str]:
        """The names of causes, by code."""
        return {code: getattr(word, self.language) for code, word in causes(self.settings.folder).items()}

    def duration(self, begin: datetime, end: datetime | None = None) -> str:
        """How long it was from one time to another, or to now, in its largest unit."""
        minutes = max(0, int(((end or datetime.now(UTC)) - begin).total_seconds() // 60))
        if minutes < 100:
            return self.word("minutes", count=minutes)
        return self.word("hours", count=minutes // 60) if minutes < 48 * 60 else self.word("days", count=minutes // 1440)

    def word(self, key: str, **values: object) -> str:
        """The expression in the site's language."""
        return word(key, self.language, **values)

    def moment(self, at: datetime | None) -> str:
        """A time on the utility's clock, to the second."""
        return f"{at.astimezone(self.settings.zone):%Y-%m-%d %H:%M:%S}" if at else MISSING

    def render(self, visit: Visit, template: str, status: int, values: Mapping[str, Any]) -> Response:
        """The page of a template. It sees the session, the pages that its user may open, and `csrf()` for its forms."""
        own = {
            "session": visit.session,
            "may": visit.may,
            "path": visit.request.url.path,
            "navigation": [
                (path, title) for module in PAGES for path, title, role in getattr(module, "navigation", ()) if visit.may(role)
            ],
            "boards": self.boards,
            "csrf": partial(csrf_field, self.sessions.csrf(visit.number)),
        }
        return HTMLResponse(self._templates.get_template(template).render(own | dict(values)), status)

    def refusal(self, visit: Visit, refused: Refused) -> Response:
        """A page that says why a request is not done."""
        values = dict(refused.values)
        if values.get("field") in WORDS:
            values["field"] = self.word(str(values["field"]))
        return visit.show("refusal.html", refused.status, reason=self.word(refused.word, **values))


def csrf_field(own: str, token: str = "") -> Markup:
    """The hidden field that every form that changes something carries. `token`: another than that of the visit."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, token or own)


def number(value: float | None, decimals: int = 3) -> str:
    """A number with separators of thousands, without zeros at its end; a dash for none."""
    if value is None:
        return MISSING
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def make_app(settings: Settings) -> ASGIApp:
    """The application of a site. Raises `SettingError`, or `OSError` where the site's state cannot be written."""
    settings[DeskSettings].check_key()
    desk = Desk(settings, Sessions(settings.folder))
    app = Starlette(
        routes=[
            *(route for module in PAGES for route in module.routes),
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
        ],
        exception_handlers={HTTPException: _http_error, psycopg.Error: _database_error, Exception: _error},
    )
    app.router.redirect_slashes = False
    app.state.desk = desk
    return WithHeaders(app)  # outside of everything, so that answers to errors have the headers, too


def _refuse(request: Request, status: int, word: str) -> Response:
    desk: Desk = request.app.state.desk
    return desk.refusal(Visit.of(request), Refused(status, word))


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _refuse(request, error.status_code, "not_found" if error.status_code == 404 else "not_allowed")


def _database_error(request: Request, error: Exception) -> Response:
    LOG.warning("desk: %s %s: %s", request.method, request.url.path, error)
    if isinstance(error, NO_TABLES):
        return _refuse(request, 503, "no_tables")
    return _refuse(request, 503, "no_database") if isinstance(error, psycopg.OperationalError) else _error(request, error)


def _error(request: Request, error: Exception) -> Response:
    LOG.error("desk: %s %s", request.method, request.url.path, exc_info=error)
    return _refuse(request, 500, "broken")
