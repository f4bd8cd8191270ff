"""The boards: what each shows, that every query runs on the published tables, and that the committed files are up to date."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest

import dashboards
from assets.columns import tables
from dashboards import columns, provisioning, style, thresholds, vocabulary
from dashboards.boards import customer, latest_data
from ingest_daemon.contract import schema
from tests.mart_fixture import TABLES, ZONE, mart_server

NOW = datetime.now(UTC)
TODAY = NOW.astimezone(ZoneInfo(ZONE)).date()
VARIABLES = {"search": "", "meter": "M1", "month": f"{TODAY:%Y-%m}", "day": f"{TODAY:%Y-%m-%d}", "grain": "day"}


@pytest.fixture(scope="module")
def marts() -> Iterator[psycopg.Connection]:
    with mart_server() as dsn, psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield connection


def rows(marts: psycopg.Connection, sql: str, **variables: str) -> list[dict]:
    text = dashboards.runnable(sql, VARIABLES | variables, NOW - timedelta(days=7), NOW + timedelta(minutes=1))
    return marts.execute(text).fetchall()


@pytest.mark.parametrize(("board", "panel", "sql"), dashboards.queries(), ids=lambda value: value if len(value) < 40 else "")
def test_every_query_runs_and_finds_something_of_a_meter_that_has_everything(marts, board, panel, sql):
    assert rows(marts, sql), f"{board} / {panel} found nothing"


@pytest.mark.parametrize(("board", "panel", "sql"), dashboards.queries(), ids=lambda value: value if len(value) < 40 else "")
def test_every_query_runs_with_empty_choices_and_hostile_ones(marts, board, panel, sql):
    for value in ("", "it's '; DROP TABLE mart.meter; --", "${meter}"):
        rows(marts, sql, **dict.fromkeys(VARIABLES, value))


def test_the_latest_table_has_one_row_a_meter_and_the_urgent_ones_first(marts):
    found = rows(marts, latest_data.LATEST)
    assert [row["meter"] for row in found] == ["M2", "M1", "M3"]
    assert [row["pressure_state"] for row in found] == ["below", "good", None]
    assert [row["alarms"] for row in found] == ["电池低电压 BATT, 箱门打开 DOOR, 压力越下限 P_LO", None, None]
    assert found[0]["age_s"] == pytest.approx(25 * 3600, abs=120)


def test_a_missing_value_stays_missing_and_is_not_a_zero(marts):
    silent = next(row for row in rows(marts, latest_data.LATEST) if row["meter"] == "M3")
    assert [silent[name] for name in ("pressure_mpa", "today_m3", "flow_m3h", "battery_v")] == [None] * 4
    marts.execute("BEGIN; UPDATE mart.latest_status SET today_m3 = NULL")
    total = rows(marts, panel("latest-data", "today_volume")["targets"][0]["rawSql"])
    marts.execute("ROLLBACK")
    assert total == [{"today_m3": None}]


@pytest.mark.parametrize("term", ["M2", "C2", "医院"])
def test_the_search_finds_a_meter_by_number_customer_number_and_name(marts, term):
    assert "M2" in [row["meter"] for row in rows(marts, latest_data.LATEST, search=term)]
    assert "M1" not in [row["meter"] for row in rows(marts, latest_data.LATEST, search=term)]
    choices = marts.execute(customer.METERS.replace("$__searchFilter", f"{term}%")).fetchall()
    assert "M2" in [row["__value"] for row in choices]


def test_the_tiles_count_what_they_say(marts):
    tiles = {
        key: rows(marts, panel("latest-data", key)["targets"][0]["rawSql"]) for key in ("meters", "reporting", "pressure_below")
    }
    assert tiles == {"meters": [{"meters": 3}], "reporting": [{"reporting": 2}], "pressure_below": [{"meters": 1}]}


def test_curves_are_at_the_raw_step_with_the_limit_of_the_meter(marts):
    found = rows(marts, customer.FLOW_PRESSURE)
    gaps = [after["time"] - before["time"] for before, after in pairwise(found)]
    assert min(gaps) == timedelta(minutes=15)
    assert max(gaps) > timedelta(hours=2), "the invented hole"
    assert {row["pressure_low_mpa"] for row in found} == {0.14}


def test_holes_are_drawn_open():
    for key in ("flow_pressure", "register"):
        custom = panel("customer", key)["fieldConfig"]["defaults"]["custom"]
        assert custom["spanNulls"] is False
        assert custom["insertNulls"] == thresholds.LONGEST_JOINED_GAP_MS == 7_200_000


def panel(board: str, key: str) -> dict:
    title = str(vocabulary.PANELS[key].title)
    return next(item for item in dashboards.all_boards()[board]["panels"] if item["title"] == title)


PANELS = [(name, item) for name, board in dashboards.all_boards().items() for item in board["panels"]]


@pytest.mark.parametrize(("board", "item"), PANELS, ids=lambda value: value if isinstance(value, str) else value["title"])
def test_every_panel_says_in_both_languages_what_it_shows_and_in_what_unit(board, item):
    words = next(text for text in vocabulary.PANELS.values() if str(text.title) == item["title"])
    for word in (words.title, words.description):
        assert (any("\u4e00" <= letter <= "\u9fff" for letter in word.zh) and word.en.isascii()) or "–" in word.en
    assert words.description.zh in item["description"]
    assert words.description.en in item["description"]
    assert item["fieldConfig"]["defaults"]["unit"]
    assert item["fieldConfig"]["defaults"]["noValue"] == style.MISSING
    assert item["datasource"]["uid"] == "mainflow-mart"


@pytest.mark.parametrize(("board", "item"), PANELS, ids=lambda value: value if isinstance(value, str) else value["title"])
def test_every_column_of_a_panel_has_words(marts, board, item):
    named = {override["matcher"]["options"] for override in item["fieldConfig"]["overrides"]}
    selected = set(rows(marts, item["targets"][0]["rawSql"])[0]) - {"time"}
    assert selected == named


@pytest.mark.parametrize(
    ("name", "sql", "words"),
    [
        ("volume_m3", "SELECT volume_m3 FROM mart.daily_usage", ("水量", "m³")),
        ("code", "SELECT a.code FROM ops.alarm_event AS a", ("报警", "")),
        ("code", "SELECT code FROM mart.relation", ("代码", "")),
        ("meters", "SELECT count(*) AS meters FROM mart.latest_status", ("水表数", "")),
        ("age_s", "SELECT now() - reading_at AS age_s FROM mart.latest_status", ("数据时效", "s")),
    ],
)
def test_a_columns_words_are_those_of_the_table_that_the_panel_selects_from(name, sql, words):
    found = columns.column(name, sql)
    assert (found.word.zh, found.unit) == words


@pytest.mark.parametrize(
    ("name", "sql", "words"),
    [
        ("volume_m4", "SELECT volume_m4 FROM mart.daily_usage", "volume_m4: no column of daily_usage"),
        ("reason", "SELECT reason FROM mart.no_such_table", "reason: no column of a table with a header"),
        ("code", "SELECT code FROM mart.relation JOIN ops.alarm_event", "code: relation, alarm_event give it different words"),
    ],
)
def test_an_unknown_column_is_an_error_and_not_a_text(name, sql, words):
    with pytest.raises(ValueError, match=words):
        columns.column(name, sql)


def test_boards_read_the_headers_as_the_figures_do():
    for table in tables().values():
        for name, described in table.columns.items():
            read = columns.column(name, f"FROM mart.{table.name}")
            assert (read.word.zh, read.word.en, read.unit, read.format) == (
                described.zh,
                described.en,
                described.unit,
                described.format,
            )


def test_the_tables_of_these_tests_have_the_columns_of_the_headers():
    for name, text in TABLES.items():
        named = [part.split()[0] for part in text.split(", PRIMARY KEY")[0].split(",")]
        assert named == list(tables()[name.partition(".")[2]].columns), name


@pytest.mark.parametrize(("name", "board"), dashboards.all_boards().items())
def test_a_board_is_found_by_its_file_name_and_fits_the_grid(name, board):
    assert board["uid"] == name
    assert (Path(dashboards.__file__).parent / "boards" / f"{name.replace('-', '_')}.py").exists()
    assert (board["schemaVersion"], board["refresh"], board["timezone"]) == (41, "1m", "")
    assert [item["id"] for item in board["panels"]] == list(range(1, len(board["panels"]) + 1))
    cells = [
        (x, y)
        for item in board["panels"]
        for x in range(item["gridPos"]["x"], item["gridPos"]["x"] + item["gridPos"]["w"])
        for y in range(item["gridPos"]["y"], item["gridPos"]["y"] + item["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert board["links"][0]["tags"] == board["tags"]


def test_a_row_leads_to_the_board_of_its_meter_with_the_same_period():
    for key in ("latest", "alarm_events"):
        links = [
            part["value"][0]["url"]
            for override in panel("latest-data", key)["fieldConfig"]["overrides"]
            for part in override["properties"]
            if part["id"] == "links"
        ]
        assert links
        assert set(links) == {"/d/customer?var-meter=${__data.fields.meter:percentencode}&${__url_time_range}"}
    assert "customer" in dashboards.all_boards()


def test_the_words_equal_those_of_the_reading_contract():
    assert {code: (word.zh, word.en) for code, word in vocabulary.ALARMS.items()} == {
        code: (alarm.zh, alarm.en) for code, alarm in schema.ALARMS.items()
    }
    assert tuple(vocabulary.STATES) == schema.ALARM_STATES
    assert tuple(vocabulary.ORIGINS) == schema.ALARM_ORIGINS


def test_a_macro_that_grafana_does_not_get_from_us_is_named():
    with pytest.raises(ValueError, match="__timeGroup"):
        dashboards.runnable("SELECT $__timeGroup(x, '1h')", {}, NOW, NOW)
    with pytest.raises(KeyError, match="nobody"):
        dashboards.runnable("SELECT ${nobody:sqlstring}", {}, NOW, NOW)


def test_the_committed_files_are_what_the_code_makes(tmp_path):
    made = {path.relative_to(tmp_path): path.read_text() for path in provisioning.generate(tmp_path)}
    there = {
        path.relative_to(provisioning.GENERATED): path.read_text() for path in provisioning.GENERATED.rglob("*") if path.is_file()
    }
    assert made == there, "run: python -m dashboards"
    for path, text in made.items():
        if path.suffix == ".json":
            json.loads(text)
