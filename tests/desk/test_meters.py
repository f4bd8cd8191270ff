"""Meters to change: who proposes, approves and reports, and what came of it."""

import re
from collections.abc import Iterator

import pytest
import requests

from ingest_daemon.contract.site import Site
from tests.desk.desk_helpers import ADMIN, OPERATOR, VIEWER, Browser, Served, StandInGrafana, desk_on
from tests.desk.test_maintain import words

TABLES = """
create table mart.meter_resize (
    meter text, candidate text, passes boolean, reason text, saving_m3_year double precision, saving_cny_year double precision,
    payback_years double precision, fit_class text, head_room double precision, price_cny double precision
);
create table mart.replacement_effect (
    meter text, replaced_on date, side text, days_complete bigint, volume_day_m3 double precision,
    volume_below_q1 double precision,
    volume_below_q2 double precision, time_above_q3 double precision, flow_max_m3h double precision,
    realised_m3_year double precision, dn_mm bigint, technology text
);
create table mart.criterion (name text, valid_from date, value double precision);
insert into mart.criterion values ('fit.least_days', '0001-01-01', 30);
insert into mart.meter_resize values
    ('M1', 'DN50 ultrasonic R400', true, null, 900, 4500, 1.2, 'over', 1.4, 5400),
    ('M1', 'DN80 ultrasonic R400', true, null, 700, 3500, 2.0, 'over', 3.1, 7000),
    ('M1', 'DN40 ultrasonic R400', false, 'peak_above_q3', 990, 5000, 0.9, 'over', 0.8, 4500),
    ('M2', 'DN65 ultrasonic R400', true, null, 300, 1500, 4.1, 'under', 1.5, 6200),
    ('M3', 'DN65 ultrasonic R400', false, 'no_gain', 0, 0, null, 'over', 1.5, 6200);
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, desk_dsn: str, stand_in: StandInGrafana) -> Iterator[Served]:
    with desk_on(Site(tmp_path_factory.mktemp("meters")), dsn=desk_dsn, grafana=stand_in, language="en") as desk:
        desk.execute(TABLES)
        yield desk
        desk.execute("drop table mart.meter_resize, mart.replacement_effect, mart.criterion")


@pytest.fixture
def fresh(served: Served) -> Served:
    served.execute("truncate ops.meter_change; truncate mart.replacement_effect")
    return served


def take(browser: Browser, meter: str, step: str, **fields: str) -> requests.Response:
    """A step from the page as it is now."""
    page = browser.get(f"/meters/{meter}")
    seen = re.search(r'name="seen" value="(\d+)"', page.text)
    assert seen
    return browser.post("/meters", {"meter": meter, "step": step, "seen": seen[1], **fields})


def test_the_list_has_what_passes_with_the_shortest_payback_and_its_state(fresh: Served) -> None:
    viewer = fresh.browser(VIEWER)
    seen = words(viewer.get("/meters"))
    assert re.search(r"M1 第一纺织厂 DN150 electromagnetic too large DN50 ultrasonic R400 900 4,500 1.2 not looked at", seen)
    assert "M2" in seen and "M3" not in seen
    take(fresh.browser(OPERATOR), "M1", "proposed", candidate="DN80 ultrasonic R400")
    assert "DN80 ultrasonic R400 700 3,500 2 proposed olga" in words(viewer.get("/meters?state=proposed"))
    assert "M1" not in words(viewer.get("/meters?state=open"))
    assert viewer.get("/meters?state=x").status_code == 400


def test_a_meter_goes_from_proposal_to_its_effect_and_every_step_has_its_author(fresh: Served) -> None:
    olga, anna = fresh.browser(OPERATOR), fresh.browser(ADMIN)
    assert take(olga, "M1", "proposed", candidate="DN50 ultrasonic R400", note="pit is dry").status_code == 200
    assert take(olga, "M1", "approved").status_code == 403
    assert take(olga, "M1", "proposed", note="spare part is there").status_code == 200
    assert take(anna, "M1", "approved", note="budget 2026").status_code == 200
    assert take(olga, "M1", "done", done_on="2026-05-03").status_code == 200
    page = words(olga.get("/meters/M1"))
    assert "enter the new meter in terminals.csv" in page
    assert [row[:3] for row in fresh.rows("select state, changed_by, note from ops.meter_change order by change_id")] == [
        ("proposed", "olga", "pit is dry"),
        ("proposed", "olga", "spare part is there"),
        ("approved", "anna", "budget 2026"),
        ("done", "olga", None),
    ]
    fresh.execute(
        "insert into mart.replacement_effect values "
        "('M1', '2026-05-04', 'before', 88, 96.0, 0.4, 0.6, 0, 20, null, 150, 'electromagnetic'), "
        "('M1', '2026-05-04', 'after', 29, 99.5, 0.02, 0.1, 0, 20, null, 50, 'ultrasonic')"
    )
    waits = words(olga.get("/meters/M1"))
    assert "Changed on 2026-05-04; 29 complete days since. Both sides are compared once each has 30" in waits
    assert "99.5" not in waits
    fresh.execute("update mart.replacement_effect set days_complete = 30, realised_m3_year = 1277.5 where side = 'after'")
    known = words(olga.get("/meters/M1"))
    assert "Before 88 96 40 % 60 % 0 % 20 DN150 electromagnetic" in known
    assert "promised was 900: 1,278" in known
    with pytest.raises(Exception, match="rows are only added"):
        fresh.execute("update ops.meter_change set note = 'x'")


def test_of_two_who_decide_at_once_the_second_is_told(fresh: Served) -> None:
    olga, anna = fresh.browser(OPERATOR), fresh.browser(ADMIN)
    take(olga, "M2", "proposed", candidate="DN65 ultrasonic R400")
    page = anna.get("/meters/M2")
    seen = re.search(r'name="seen" value="(\d+)"', page.text)
    assert seen
    fields = {"meter": "M2", "seen": seen[1]}
    assert anna.post("/meters", {**fields, "step": "approved"}).status_code == 200
    told = anna.post("/meters", {**fields, "step": "rejected"})
    assert told.status_code == 409
    assert re.search(r"Not done: anna made it approved at \d{4}-", words(told))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"step": "proposed", "candidate": "DN40 ultrasonic R400"}, 409),  # does not pass
        ({"step": "proposed", "candidate": "'; drop table ops.meter_change; --"}, 409),
        ({"step": "done", "done_on": "2026-05-03"}, 409),  # nobody approved it
        ({"step": "<b>"}, 409),
        ({"step": "proposed", "seen": "x"}, 400),
        ({"step": "proposed", "candidate": "DN50 ultrasonic R400", "note": "x" * 1001}, 400),
    ],
)
def test_a_step_that_does_not_lead_on_is_refused(fresh: Served, fields: dict[str, str], status: int) -> None:
    assert take(fresh.browser(ADMIN), "M1", **fields).status_code == status  # type: ignore[arg-type]
    assert fresh.rows("select * from ops.meter_change") == []


def test_who_only_looks_takes_no_step_and_markup_stays_text(fresh: Served) -> None:
    vera, olga = fresh.browser(VIEWER), fresh.browser(OPERATOR)
    assert "<button name" not in vera.get("/meters/M1").text
    assert take(vera, "M1", "proposed", candidate="DN50 ultrasonic R400").status_code == 403
    take(olga, "M1", "proposed", candidate="DN50 ultrasonic R400", note="<script>alert(1)</script>")
    assert "<script>alert" not in vera.get("/meters/M1").text
    assert take(olga, "M1", "proposed").status_code == 400, "an empty note"
    assert vera.get("/meters/M99").status_code == 404
