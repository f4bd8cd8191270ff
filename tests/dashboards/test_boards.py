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
from dashboards import Links, columns, provisioning, style, thresholds, vocabulary
from dashboards.boards import alarms, customer, latest_data
from ingest_daemon.contract import alarm_codes, alarm_ledger
from ingest_daemon.contract.severities import SEVERITIES
from tests.mart_fixture import TABLES, ZONE, mart_server

NOW = datetime.now(UTC)
TODAY = NOW.astimezone(ZoneInfo(ZONE)).date()
VARIABLES = {"search": "", "meter": "M1", "month": f"{TODAY:%Y-%m}", "day": f"{TODAY:%Y-%m-%d}", "grain": "day"}
VARIABLES |= {"customer": "", "code": "all", "region": "all", "state": "all", "severity": "all"}


@pytest.fixture(scope="module")
def marts() -> Iterator[psycopg.Connection]:
    with mart_server() as dsn, psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield connection


def rows(marts: psycopg.Connection, sql: str, **variables: str) -> list[dict]:
    now = datetime.now(UTC)  # not that of the import: the invented alarms are of minutes ago
    text = dashboards.runnable(
        sql, VARIABLES | {"__timezone": ZONE} | variables, now - timedelta(days=7), now + timedelta(minutes=1)
    )
    return marts.execute(text).fetchall()


@pytest.mark.parametrize(("board", "panel", "sql"), dashboards.queries(), ids=lambda value: value if len(value) < 40 else "")
def test_every_query_runs_and_finds_something_of_a_meter_that_has_everything(marts, board, panel, sql):
    assert rows(marts, sql), f"{board} / {panel} found nothing"


@pytest.mark.parametrize(("board", "panel", "sql"), dashboards.queries(), ids=lambda value: value if len(value) < 40 else "")
def test_every_query_runs_with_empty_choices_and_hostile_ones(marts, board, panel, sql):
    for value in ("", "it's '; DROP TABLE mart.meter; --", "${meter}"):
        rows(marts, sql, **dict.fromkeys(VARIABLES, value))


def test_the_latest_table_has_one_row_a_meter_and_the_urgent_ones_first(marts):
    found = rows(marts, latest_data.latest())
    assert [row["meter"] for row in found] == ["M2", "M1", "M3"]
    assert [row["pressure_state"] for row in found] == ["below", "good", None]
    assert [row["alarms"] for row in found] == ["电池低电压, 箱门打开, 压力越下限", None, None]
    assert found[0]["age_s"] == pytest.approx(25 * 3600, abs=120)


def test_a_missing_value_stays_missing_and_is_not_a_zero(marts):
    silent = next(row for row in rows(marts, latest_data.latest()) if row["meter"] == "M3")
    assert [silent[name] for name in ("pressure_mpa", "today_m3", "flow_m3h", "battery_v")] == [None] * 4
    marts.execute("BEGIN; UPDATE mart.latest_status SET today_m3 = NULL")
    total = rows(marts, panel("latest-data", "today_volume")["targets"][0]["rawSql"])
    marts.execute("ROLLBACK")
    assert total == [{"today_m3": None}]


@pytest.mark.parametrize("term", ["M2", "C2", "医院"])
def test_the_search_finds_a_meter_by_number_customer_number_and_name(marts, term):
    assert "M2" in [row["meter"] for row in rows(marts, latest_data.latest(), search=term)]
    assert "M1" not in [row["meter"] for row in rows(marts, latest_data.latest(), search=term)]
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
def test_every_panel_says_what_it_shows_and_in_what_unit(board, item):
    words = next(text for text in vocabulary.PANELS.values() if str(text.title) == item["title"])
    for word in (words.title, words.description):
        assert (any("\u4e00" <= letter <= "\u9fff" for letter in word.zh) and word.en.isascii()) or "–" in word.en
    assert words.description.zh == item["description"]
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
    links = [
        part["value"][0]["url"]
        for override in panel("latest-data", "latest")["fieldConfig"]["overrides"]
        for part in override["properties"]
        if part["id"] == "links"
    ]
    assert links
    assert set(links) == {"/d/customer?var-meter=${__data.fields.meter:percentencode}&${__url_time_range}"}
    assert "customer" in dashboards.all_boards()


def test_the_words_of_alarms_are_those_of_their_headers():
    assert {code: (alarm.word.zh, alarm.word.en, alarm.severity, alarm.unit) for code, alarm in vocabulary.ALARMS.items()} == {
        code: (alarm.zh, alarm.en, alarm.severity, alarm.unit) for code, alarm in alarm_codes.ALARMS.items()
    }
    assert tuple(reversed(vocabulary.SEVERITIES)) == SEVERITIES
    assert tuple(vocabulary.ORIGINS) == (alarm_codes.DEVICE, alarm_codes.SERVER, alarm_ledger.BOTH)


def texts(value: object) -> Iterator[str]:
    """Every text of a board that a person sees: not queries, codes or links."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key not in ("rawSql", "query", "definition", "url", "uid", "tags", "value") or (
                key == "value" and isinstance(part, str | list)
            ):
                yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("name", dashboards.all_boards())
def test_an_english_board_has_no_chinese_letter(name):
    board = dashboards.all_boards("en")[name]
    assert not [text for text in texts(board) if any("\u4e00" <= letter <= "\u9fff" for letter in text)]
    assert board["title"] != dashboards.all_boards("zh")[name]["title"]


# --- alarms -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted(provisioning.GENERATED.rglob("boards/*.json")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_every_board_that_is_committed_has_the_ticker_on_top(marts, path):
    first = json.loads(path.read_text())["panels"][0]
    with vocabulary.spoken(path.parts[-3]):
        assert first["title"] == str(vocabulary.PANELS["ticker"].title)
    assert first["gridPos"]["y"] == 0
    shown = rows(marts, first["targets"][0]["rawSql"])
    assert [(row["state"], row["code"], row["customer"], row["measured_value"]) for row in shown] == [
        ("open", "DOOR", "市人民医院 · M2", None),
        ("open", "P_LO", "市人民医院 · M2", "0.121 MPa"),
        ("cleared", "P_LO", "第一纺织厂 · M1", "0.130 MPa"),
    ], "what the desk's settings say for viewers: no maintenance"
    links = [part for override in first["fieldConfig"]["overrides"] for part in override["properties"] if part["id"] == "links"]
    assert [link["value"][0]["url"] for link in links] == ["${desk:raw}/alarms/${__data.fields.alarm_id}"]


def test_a_point_of_a_curve_leads_to_the_frames_that_it_comes_from():
    for key in ("flow_pressure", "register"):
        links = [
            part["value"][0]["url"]
            for override in panel("customer", key)["fieldConfig"]["overrides"]
            for part in override["properties"]
            if part["id"] == "links"
        ]
        assert links and set(links) == {"${desk:raw}/frames?meter=${meter:percentencode}&at=${__value.time}"}


def test_links_of_a_board_lead_to_the_desk_of_the_site():
    for board in dashboards.all_boards("zh", Links("https://desk.example")).values():
        (desk,) = [variable for variable in board["templating"]["list"] if variable["name"] == "desk"]
        assert (desk["query"], desk["hide"]) == ("https://desk.example", 2)


def test_open_alarms_stand_with_the_most_pressing_first(marts):
    found = rows(marts, panel("alarms", "alarms_active")["targets"][0]["rawSql"])
    assert [(row["severity"], row["code"], row["state"], row["measured_value"], row["measured_limit"]) for row in found] == [
        ("warning", "DOOR", "open", None, None),
        ("warning", "P_LO", "open", "0.121 MPa", "0.140 MPa"),
        ("maintenance", "BATT", "open", "3.21 V", "3.30 V"),
    ]
    assert int(found[1]["to_ms"]) - int(found[1]["from_ms"]) == 4 * 3_600_000
    counts = [rows(marts, alarms.OPEN + which)[0]["alarms"] for which, _ in alarms.TILES.values()]
    assert counts == [0, 2, 1, 3]


FILTERS = [
    ({}, {"DOOR", "P_LO M1", "P_LO M2", "BATT"}),
    ({"code": "P_LO"}, {"P_LO M1", "P_LO M2"}),
    ({"customer": "医院"}, {"DOOR", "P_LO M2", "BATT"}),
    ({"customer": "M1"}, {"P_LO M1"}),
    ({"region": "城东"}, {"P_LO M1"}),
    ({"state": "open"}, {"DOOR", "P_LO M2", "BATT"}),
    ({"state": "cleared"}, {"P_LO M1"}),
    ({"state": "acknowledged"}, set()),
    ({"severity": "maintenance"}, {"BATT"}),
    ({"code": "P_LO", "customer": "医院", "region": "城西", "state": "open", "severity": "warning"}, {"P_LO M2"}),
    ({"code": "P_LO", "severity": "maintenance"}, set()),
    ({"state": "retracted"}, set()),
]


@pytest.mark.parametrize(("chosen", "expected"), FILTERS, ids=[" ".join(chosen.values()) for chosen, _ in FILTERS])
def test_filters_of_the_search_go_together(marts, chosen, expected):
    found = {
        f"{row['code']} {row['meter']}" if row["code"] == "P_LO" else row["code"] for row in rows(marts, alarms.FOUND, **chosen)
    }
    assert found == expected
    counted = rows(marts, alarms.by("a.code", "kind"), **chosen)
    assert sum(row["times"] for row in counted) == len(expected)


def test_statistics_count_what_is_open_and_how_long_it_took(marts):
    marts.execute("BEGIN")
    marts.execute(
        "UPDATE ops.alarm SET acknowledged_at = first_seen_at + interval '12 min', cause = '检修施工' WHERE meter = 'M1'"
    )
    by_code = {row["kind"]: row for row in rows(marts, alarms.by("a.code", "kind"))}
    by_region = {row["region_name"]: row["times"] for row in rows(marts, alarms.by("c.region", "region_name"))}
    shares = rows(marts, alarms.pareto("a.code", "kind"))
    months = rows(marts, alarms.by(alarms.MONTH, "month"))
    marts.execute("UPDATE ops.alarm SET retracted_at = now() WHERE code = 'DOOR'")
    without = {row["kind"] for row in rows(marts, alarms.by("a.code", "kind"))}
    marts.execute("ROLLBACK")
    assert {key: by_code["P_LO"][key] for key in ("times", "still_open")} == {"times": 2, "still_open": 1}
    assert by_code["P_LO"]["minutes_open"] == pytest.approx(60)
    assert by_code["P_LO"]["minutes_to_acknowledge"] == pytest.approx(12)
    assert by_code["BATT"]["minutes_open"] is None
    assert by_region == {"城西": 3, "城东": 1}
    assert [(row["kind"], row["times"], row["share_so_far"]) for row in shares] == [
        ("P_LO", 2, 0.5),
        ("BATT", 1, 0.75),
        ("DOOR", 1, 1),
    ]
    assert sum(row["times"] for row in months) == 4
    assert "DOOR" not in without


def test_curves_of_a_meter_show_when_its_alarms_held(marts):
    (annotation,) = dashboards.all_boards()["customer"]["annotations"]["list"]
    (row,) = rows(marts, annotation["target"]["rawSql"])
    assert row["text"] == "压力越下限"
    assert row["timeend"] - row["time"] == timedelta(hours=1)


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
