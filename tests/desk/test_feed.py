"""SCADA polls the latest values with a token: what came, how old it is, in the words of the contract and of the data models."""

import csv
import io
from collections.abc import Iterator

import psycopg
import pytest
import requests

from assets import outputs
from desk.pages.feed import as_entities
from desk.settings import DeskSettings
from ingest_daemon.contract.settings import SettingError
from ingest_daemon.contract.site import Site
from tests.desk.desk_helpers import VIEWER, Served, StandInGrafana, desk_on
from tests.mart_fixture import ZONE

AS_IF_PUBLISHED = f"""
create schema out_v1;
set local search_path to mart;
create view out_v1.latest_values as {outputs.outputs()["latest_values"].select(ZONE)}
"""
"""The view over the invented table of latest values, which publication makes over the computed ones."""

TOKEN = "scada0123456789token"


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory, desk_dsn: str, stand_in: StandInGrafana) -> Iterator[Served]:
    """A desk whose feed is open, over the views of the contract."""
    with psycopg.connect(desk_dsn) as connection:
        connection.execute(AS_IF_PUBLISHED)
        outputs.let_read(connection)
    with desk_on(Site(tmp_path_factory.mktemp("fed")), dsn=desk_dsn, grafana=stand_in, more=f"feed_token = '{TOKEN}'") as served:
        yield served


def get(desk: Served, path: str, token: str | None = TOKEN) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.get(f"{desk.url}/feed/{path}", headers=headers, timeout=30)


def test_the_csv_has_the_contracts_columns_a_line_a_meter_and_the_age_of_the_feed(fed: Served) -> None:
    answer = get(fed, "latest.csv")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    comment, _, body = answer.text.partition("\n")
    assert comment.startswith("# mainflow contract v1; table latest_values; made 2")
    assert comment.endswith(f"; feed age {answer.headers['feed-age-seconds']} s")
    rows = list(csv.DictReader(io.StringIO(body)))
    assert list(rows[0]) == list(outputs.outputs()["latest_values"].columns)
    known = fed.rows("select meter, flow_m3h, pressure_mpa from mart.latest_status order by meter")
    found = [(row["meter"], *(float(row[name]) if row[name] else None for name in ("flow_m3h", "pressure_mpa"))) for row in rows]
    assert found == known
    assert {row["meter"]: row["silent"] for row in rows}["M3"] == "true"


def test_the_json_is_a_list_of_water_consumption_observed(fed: Served) -> None:
    answer = get(fed, "latest.json")
    assert answer.headers["feed-contract"] == "v1" and int(answer.headers["feed-age-seconds"]) >= 0
    entities = answer.json()
    registers = dict(fed.rows("select meter, register_m3 from mart.latest_status"))
    assert {entity["name"] for entity in entities} == registers.keys()
    for entity in entities:
        assert entity["type"] == "WaterConsumptionObserved"
        assert entity["id"] == f"urn:ngsi-ld:WaterConsumptionObserved:{entity['name']}"
        assert None not in entity.values()
        register = registers[entity["name"]]
        assert entity.get("waterConsumption") == (None if register is None else int(register)), "cubic metres, whole"
        assert ("dateObserved" in entity) == ("age_s" in entity)


ROW = dict.fromkeys(outputs.outputs()["latest_values"].columns) | {"meter": "东 1", "latitude": 29.9, "longitude": 121.5}


@pytest.mark.parametrize(("datum", "is_located"), [("WGS84", True), ("CGCS2000", True), ("GCJ02", False), (None, False)])
def test_only_coordinates_that_geojson_takes_as_they_are_become_a_location(datum: str | None, is_located: bool) -> None:
    (entity,) = as_entities([ROW | {"datum": datum}])
    assert entity["id"] == "urn:ngsi-ld:WaterConsumptionObserved:%E4%B8%9C%201"
    assert entity.get("location") == ({"type": "Point", "coordinates": [121.5, 29.9]} if is_located else None)


@pytest.mark.parametrize("path", ["latest.csv", "latest.json"])
def test_without_the_token_nobody_gets_the_feed_and_no_log_has_it(fed: Served, desk: Served, path: str) -> None:
    for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1]):
        answer = get(fed, path, token)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert requests.get(f"{fed.url}/feed/{path}?token={TOKEN}", timeout=30).status_code == 401
    assert fed.browser(VIEWER).get(f"/feed/{path}").status_code == 401, "a log-in is no token"
    assert get(desk, path).status_code == 404, "no token is set"
    assert get(fed, path).status_code == 200
    assert TOKEN not in fed.log


@pytest.mark.parametrize("token", ["short", "has blanks and such", "ümläute0123456789"])
def test_a_token_that_could_be_guessed_is_refused_at_the_start(token: str) -> None:
    with pytest.raises(SettingError, match=r"\[desk\] feed_token: expected at least 16 letters and digits"):
        DeskSettings(feed_token=token).check_key()
