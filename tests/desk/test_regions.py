"""Somebody of a region sees, finds and acknowledges at the desk what its meters have, and nothing else."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from assets import rights
from desk.security import COOKIE
from pipelines.processes import region_roles
from tests.desk.conftest import Alarms
from tests.desk.desk_helpers import ADMIN, KEY, Browser, Served

RITA, VIC, WIM, ALBA = "rita", "vic", "wim", "alba"
PEOPLE = "login,name,email,role,team,region,home,language,theme\n" + "".join(
    f"{login},{login},,{role},,{region},,,\n"
    for login, role, region in (
        (RITA, "operator", "east"),
        (VIC, "viewer", "east"),
        (WIM, "operator", "west"),
        (ALBA, "viewer", "east"),
    )
)

MARTS = """
create table mart.meter_history (meter text, terminal text, valid_from timestamptz, valid_to timestamptz);
create table mart.quarantine (meter text, reason text, reason_zh text, reason_en text);
insert into mart.meter_history values ('M1', '0001', null, null), ('M2', '0002', null, null);
"""


@pytest.fixture(scope="module")
def limited(desk: Served) -> Iterator[Served]:
    """The desk with people of two regions."""
    with psycopg.connect(desk.dsn) as connection:
        connection.execute(sql.SQL(region_roles.SHARED))
        connection.execute(MARTS)
        tables = connection.execute("select relname from pg_class where relnamespace = 'mart'::regnamespace").fetchall()
        rights.limit(connection, {name for (name,) in tables})
    (desk.site.registry / "access.csv").write_text(PEOPLE)
    roles = {RITA: ("Mainflow east", "Editor"), VIC: ("Mainflow east", "Viewer"), WIM: ("Mainflow west", "Editor")}
    desk.grafana.regions = roles | {ALBA: ("Mainflow west", "Viewer")}
    yield desk
    desk.grafana.regions = {}
    desk.execute("drop table mart.meter_history, mart.quarantine")
    (desk.site.registry / "access.csv").unlink()


@pytest.mark.parametrize(
    "path", ["/alarms?state=all", "/alarms/rows?state=all", "/alarms?state=all&customer=M", "/wall", "/wall/alarms"]
)
def test_lists_have_the_alarms_of_ones_own_region(limited: Served, alarms: Alarms, path: str) -> None:
    east, west, everybody = (limited.browser(user).get(path).text for user in (RITA, WIM, ADMIN))
    assert "第一纺织厂" in east and "市人民医院" not in east
    assert "市人民医院" in west and "第一纺织厂" not in west
    assert "第一纺织厂" in everybody and "市人民医院" in everybody


def test_nothing_of_another_region_is_found(limited: Served, alarms: Alarms) -> None:
    rita = limited.browser(RITA)
    for path in ("/alarms?state=all&customer=市人民", "/alarms?state=all&region=west"):
        assert "市人民医院" not in rita.get(path).text
    assert 'value="west"' not in rita.get("/alarms").text and 'value="west"' in limited.browser(ADMIN).get("/alarms").text
    assert [rita.get(f"/alarms/{number}").status_code for number in (alarms.low, alarms.battery)] == [200, 404]
    assert "M2" not in rita.get(f"/alarms/{alarms.low}").text
    for meter, terminal, statuses in (("M1", "0001", [200, 404, 200]), ("M2", "0002", [200, 404, 404])):
        frames = f"/frames?meter={meter}&at=2026-01-01T08:00"
        arrivals = f"/frames/arrivals?terminal={terminal}&at=2026-01-01T08:00&received=2026-01-01T08:01"
        pages = [rita.get(path) for path in (frames, f"{frames}&stream=data&frame=0", arrivals)]
        assert [page.status_code for page in pages] == statuses
        assert (terminal in pages[0].text) == (terminal == "0001")
    for path in ("/maintain", "/maintain/access", "/maintain/terminals/download.csv", "/ticker"):
        assert rita.get(path).status_code == 403


def test_one_acknowledges_the_alarms_of_ones_own_region_alone(limited: Served, alarms: Alarms) -> None:
    rita = limited.browser(RITA)
    rita.get("/alarms")
    rita.post("/alarms/acknowledge", {"alarm": [alarms.low, alarms.battery], "cause": "network"})
    assert rita.post(f"/alarms/{alarms.battery}/note", {"cause": "network"}).status_code == 404
    query = "select alarm_id, changed_by from ops.alarm_history where event = 'acknowledged'"
    assert limited.rows(query) == [(alarms.low, RITA)]
    vic = limited.browser(VIC)
    vic.get("/alarms")
    assert vic.post("/alarms/acknowledge", {"alarm": alarms.low, "cause": "network"}).status_code == 403


def test_who_is_of_another_organisation_than_his_region_has_no_role(limited: Served) -> None:
    browser = Browser(limited.url)
    assert browser.log_in(ALBA).status_code == 403 and COOKIE not in browser.session.cookies


def test_the_key_of_the_wall_shows_the_whole_utility(limited: Served, alarms: Alarms) -> None:
    assert "市人民医院" in Browser(limited.url).get(f"/wall?key={KEY}").text
