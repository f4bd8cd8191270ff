"""`/feed/latest.csv` and `/feed/latest.json`: the latest value of every meter, for SCADA and whoever has the token.

Both show table `latest_values` of the output contract; JSON has it as entities of the Smart Data Models, whose property names and
whole numbers the header of `sql/outputs/latest_values.sql` gives, with the columns of the contract beside. The token comes in the
header `Authorization: Bearer …`, so that no log has it.
"""

import csv
import hmac
import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from urllib.parse import quote

from starlette.responses import PlainTextResponse, Response

from desk.security import Visit, page
from desk.settings import DeskSettings
from ingest_daemon.contract.headers import SQL, read_header

CONTRACT, TABLE = "v1", "latest_values"
GLOBAL_DATUMS = ("WGS84", "CGCS2000")
"""Datums whose coordinates GeoJSON takes as they are: they differ by centimetres, those of Chinese maps by hundreds of metres."""

Rows = list[dict[str, Any]]


def _feed(visit: Visit, body: Callable[[Rows, str], Response]) -> Response:
    """The rows as `body` shows them; the age of the newest stands in the headers of the answer and in the line for `body`."""
    if not visit.desk.settings[DeskSettings].feed_token:
        return PlainTextResponse("no feed: [desk] feed_token is empty\n", 404)
    if not has_token(visit):
        text = "expected the header Authorization: Bearer <[desk] feed_token>\n"
        return PlainTextResponse(text, 401, {"www-authenticate": "Bearer"})
    with visit.database() as connection:
        rows = [row._asdict() for row in connection.execute(f"select * from out_{CONTRACT}.{TABLE} order by meter")]
    now = datetime.now(UTC)
    received = max((row["received_at"] for row in rows if row["received_at"]), default=None)
    age = f"{(now - received).total_seconds():.0f}" if received else ""
    answer = body(
        rows, f"mainflow contract {CONTRACT}; table {TABLE}; made {now:%Y-%m-%dT%H:%M:%SZ}; feed age {age or 'unknown'} s"
    )
    answer.headers["feed-contract"] = CONTRACT
    if age:
        answer.headers["feed-age-seconds"] = age
    return answer


def has_token(visit: Visit) -> bool:
    """Whether the request has the token."""
    kind, _, given = visit.request.headers.get("authorization", "").partition(" ")
    token = visit.desk.settings[DeskSettings].feed_token
    return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def latest_csv(visit: Visit) -> Response:
    """A comment, the names of the columns, and a line a meter; what is not known is empty."""
    return _feed(visit, lambda rows, line: PlainTextResponse(as_csv(rows, line), media_type="text/csv"))


def latest_json(visit: Visit) -> Response:
    """A list of entities."""
    return _feed(
        visit, lambda rows, _: Response(json.dumps(as_entities(rows), ensure_ascii=False), media_type="application/json")
    )


def as_csv(rows: Iterable[Mapping[str, Any]], line: str) -> str:
    """The rows below the comment `line`."""
    header, _ = read_header(SQL / "outputs" / f"{TABLE}.sql")
    buffer = StringIO(f"# {line}\n")
    buffer.seek(0, 2)
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header["columns"])
    for row in rows:
        writer.writerow([_plain(row[name]) if row[name] is not None else "" for name in header["columns"]])
    return buffer.getvalue()


def as_entities(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """An entity of the Smart Data Models a row; what is not known is absent."""
    header, _ = read_header(SQL / "outputs" / f"{TABLE}.sql")
    entity = header["entity"]
    entities = []
    for row in rows:
        own = {name: row[column] for name, column in entity["properties"].items() if row[column] is not None}
        own |= {name: math.floor(own[name]) for name in entity["whole"] if name in own}
        if row["datum"] in GLOBAL_DATUMS and None not in (row["longitude"], row["latitude"]):
            own["location"] = {"type": "Point", "coordinates": [row["longitude"], row["latitude"]]}
        known = {name: row[name] for name in header["columns"] if row[name] is not None}
        number = f"urn:ngsi-ld:{entity['type']}:{quote(row['meter'], safe='')}"
        entities.append({"id": number, "type": entity["type"]} | {name: _plain(value) for name, value in (own | known).items()})
    return entities


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else value


routes = [page("/feed/latest.csv", latest_csv, role=None), page("/feed/latest.json", latest_json, role=None)]
