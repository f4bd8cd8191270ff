"""`/frames`: the frames behind the readings of a meter at a time, and what was kept aside then."""

from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from desk import frames
from desk.alarms import read_time
from desk.arrivals import has_seen, terminals_of
from desk.security import VIEWER, Refused, Visit, page
from ingest_daemon import operations
from ingest_daemon.contract.log import LOG
from ingest_daemon.stores import StoreAway

LONGEST = 200
EPOCH_MS = 10**11
"""Numbers from here on are milliseconds since 1970, as boards give times."""


def frame_page(visit: Visit) -> Response:
    """The readings near the time, the frame of the nearest or of the chosen one, and what was kept aside."""
    meter, at, settings = visit.query.get("meter", "")[:LONGEST], _time(visit, "at"), visit.desk.settings
    chosen = _chosen(visit)
    if not meter:
        return visit.show("frames.html", meter="", at=None, asked=None)
    at = at or datetime.now(UTC)
    with visit.database() as connection:
        terminals = terminals_of(connection, meter, at)
        words = connection.execute("select distinct reason, reason_zh, reason_en from mart.quarantine").fetchall()
    trouble, rows = "", []
    try:
        rows = frames.readings(settings, terminals, at)
    except StoreAway as error:
        LOG.warning("desk: frames of %s: %s", meter, error)
        trouble = visit.desk.word("store_away")
    reading = next((row for row in rows if (row.stream, row.frame) == chosen), None) or frames.nearest(rows, at)
    if chosen is None and reading:
        chosen = reading.stream, reading.frame
    aside = frames.kept_aside(settings, terminals, at, visit.desk.language)
    own = {(row.stream, row.frame) for row in rows} | {(frame.stream, frame.position) for frame in aside}
    if visit.region and chosen and chosen not in own:
        raise Refused(404, "not_found")
    return visit.show(
        "frames.html",
        meter=meter,
        at=at,
        asked=at.astimezone(settings.zone).strftime("%Y-%m-%dT%H:%M"),
        terminals=terminals,
        rows=rows,
        reading=reading,
        chosen=chosen,
        frame=frames.frame_at(settings, *chosen, visit.desk.language) if chosen else None,
        aside=aside,
        reasons={row.reason: row.reason_zh if visit.desk.language == "zh" else row.reason_en for row in words},
        received=_received,
        trouble=trouble,
    )


def arrivals(visit: Visit) -> Response:
    """Every arrival of one reading: a part of the page that comes later, for the journal has to be searched."""
    terminal, at, stored = visit.query.get("terminal", "")[:LONGEST], _time(visit, "at"), _time(visit, "received")
    if not terminal or at is None or stored is None:
        raise Refused(400, "wrong_value", field="at", value=visit.query.get("at", ""))
    with visit.database() as connection:
        if visit.region and not has_seen(connection, terminal, at):
            raise Refused(404, "not_found")
    until = stored + frames.LATER
    found = frames.arrivals(visit.desk.settings, terminal, at, until)
    return visit.show("frame_arrivals.html", arrivals=list(found.iter_rows(named=True)), until=until)


def _time(visit: Visit, name: str) -> datetime | None:
    """A time of the address: ISO 8601, on the utility's clock without an offset, or milliseconds since 1970.

    Raises `Refused` for what is none.
    """
    text = visit.query.get(name, "").strip().replace(" ", "+")[:LONGEST]
    if not text:
        return None
    try:
        if text.isascii() and text.isdecimal() and int(text[:20]) >= EPOCH_MS:
            return datetime.fromtimestamp(int(text[:20]) / 1000, UTC)
        moment = read_time(name, text, visit.desk.settings.zone)
        moment - timedelta(days=2), moment + timedelta(days=2)  # times at the end of the calendar
    except (ValueError, OverflowError, OSError):
        raise Refused(400, "wrong_value", field=name, value=text) from None
    return moment


def _chosen(visit: Visit) -> tuple[str, int] | None:
    """Stream and position of the frame that the address names. Raises `Refused`."""
    stream, frame = visit.query.get("stream", ""), visit.query.get("frame", "")
    if not stream and not frame:
        return None
    if stream.rpartition("/")[2] not in operations.STREAMS or not (frame.isascii() and frame.isdecimal() and len(frame) < 19):
        raise Refused(400, "wrong_value", field="frame", value=f"{stream} {frame}"[:LONGEST])
    return stream, int(frame)


def _received(received_us: int) -> datetime:
    return datetime.fromtimestamp(received_us / 1e6, UTC)


navigation = [("/frames", "frames", VIEWER)]
routes = [page("/frames", frame_page), page("/frames/arrivals", arrivals)]
