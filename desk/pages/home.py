"""`/`: leads to the first page."""

from starlette.responses import RedirectResponse, Response

from desk.security import Visit, page


def home(visit: Visit) -> Response:
    """On to the alarms."""
    return RedirectResponse("/alarms", 303)


routes = [page("/", home)]
