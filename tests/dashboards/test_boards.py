"""The boards: what each says and where it leads, alarms on a real PostgreSQL, and that the committed files are up to date.

What every query finds is tried on the marts of the demo: `test_on_demo.py`.
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

import dashboards
from assets.columns import tables
from dashboards import Json, Links, board, columns, functions, provisioning, ticker, vocabulary
from dashboards.alarm_columns import alarm_words
from dashboards.boards.alarms import alarm_query, alarm_statistics, alarms
from ingest_daemon.contract import alarm_codes, alarm_ledger
from ingest_daemon.contract.severities import SEVERITIES
from tests.mart_fixture import TABLES, ZONE, mart_server

NOW = datetime.now(UTC)
VARIABLES = {"meter": "M1", "customer": "", **dict.fromkeys(("alarm_code", "region", "state", "severity"), "all")}
BOARDS = {language: dashboards.all_boards(language) for language in vocabulary.LANGUAGES}


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


def panel(uid: str, title: str) -> dict:
    return next(item for item in dashboards.panels_of(BOARDS["zh"][uid]) if item["title"] == title)


def test_holes_are_drawn_open():
    curves = [item for made in BOARDS["zh"].values() for item in dashboards.panels_of(made) if item["type"] == "timeseries"]
    assert len(curves) > 5
    for item in curves:
        custom = item["fieldConfig"]["defaults"]["custom"]
        assert custom["spanNulls"] is False, item["title"]


def chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


@pytest.mark.parametrize("uid", BOARDS["zh"])
def test_every_panel_says_what_it_shows_in_both_languages(uid):
    zh, en = (dashboards.panels_of(BOARDS[language][uid]) for language in ("zh", "en"))
    assert [item["type"] for item in zh] == [item["type"] for item in en]
    assert len({item["title"] for item in zh}) == len(zh), "two panels of one title"
    for chinese_one, english_one in zip(zh, en, strict=True):
        assert chinese(chinese_one["title"] + chinese_one["description"]), chinese_one["title"]
        for word in (english_one["title"], english_one["description"]):
            assert word and not chinese(word), word
        assert chinese_one["description"]


@pytest.mark.parametrize("uid", BOARDS["zh"])
def test_a_panel_of_figures_has_a_unit_and_a_sign_for_what_is_missing(uid):
    for item in dashboards.panels_of(BOARDS["zh"][uid]):
        if item["type"] in ("text", "geomap"):
            continue
        assert item["fieldConfig"]["defaults"].get("unit"), item["title"]
        assert item["fieldConfig"]["defaults"]["noValue"], item["title"]
        assert item["datasource"]["uid"] == "mainflow-mart"


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


@pytest.mark.parametrize("uid", BOARDS["zh"])
def test_a_board_lies_in_the_folder_of_its_group_and_fits_the_grid(uid):
    made = BOARDS["zh"][uid]
    assert made["uid"] == uid
    assert (Path(dashboards.__file__).parent / "boards" / dashboards.group_of(made) / f"{uid.replace('-', '_')}.py").exists()
    assert (made["schemaVersion"], made["timezone"], made["editable"]) == (41, "", False)
    placed = [each for item in made["panels"] for each in (item, *item.get("panels", []))]
    assert sorted(item["id"] for item in placed) == list(range(1, len(placed) + 1))
    for items in (made["panels"], *(item["panels"] for item in made["panels"] if item.get("panels"))):
        cells = [
            (x, y)
            for item in items
            for x in range(item["gridPos"]["x"], item["gridPos"]["x"] + item["gridPos"]["w"])
            for y in range(item["gridPos"]["y"], item["gridPos"]["y"] + item["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) == 23


# --- where everything leads ---------------------------------------------------------------------------------------------------


def addresses(made: Json) -> Iterator[tuple[str, str, set[str]]]:
    """(panel, address, columns of its row) of every link of a board's panels."""
    for item in dashboards.panels_of(made):
        if item["type"] == "text":
            for address in re.findall(r"\]\(([^)]+)\)", item["options"]["content"]):
                yield item["title"], address, set()
        named = {override["matcher"]["options"] for override in item.get("fieldConfig", {}).get("overrides", [])}
        for override in item.get("fieldConfig", {}).get("overrides", []):
            for part in override["properties"]:
                if part["id"] == "links":
                    for link in part["value"]:
                        yield item["title"], link["url"], named


def variables_of(made: Json) -> set[str]:
    return {variable["name"] for variable in made["templating"]["list"]}


@pytest.mark.parametrize("uid", BOARDS["zh"])
def test_every_link_leads_to_a_board_that_takes_what_it_is_given(uid):
    made = BOARDS["zh"][uid]
    for title, address, named in addresses(made):
        fields = set(re.findall(r"\$\{__data\.fields\.(\w+)", address))
        assert fields <= named, f"{uid}, {title}: {address} needs columns that the row lacks"
        passed = set(re.findall(r"\$\{(\w+):queryparam\}", address))
        assert passed <= variables_of(made), f"{uid}, {title}: {address} passes on what the board does not have"
        if not address.startswith("/d/"):
            assert address.startswith(("${desk:raw}", "/profile", "https://", "docs/")), address
            continue
        target = address.removeprefix("/d/").partition("?")[0]
        if target == "${__data.fields.leads_to}":
            continue  # each line of the revenue indicators leads to a board of its own: test_revenue
        assert target in BOARDS["zh"], f"{uid}, {title}: no board {target}"
        given = {name.removeprefix("var-") for name in re.findall(r"var-\w+", address)} | passed
        assert given <= variables_of(BOARDS["zh"][target]), f"{uid}, {title}: {target} does not know {given}"


def test_every_function_and_figure_is_at_most_three_clicks_from_home_and_from_each_role():
    lists = {tag: {uid for uid, made in BOARDS["zh"].items() if tag in made["tags"]} for tag in _tags()}

    def next_to(uid: str) -> set[str]:
        made = BOARDS["zh"][uid]
        shown = {address.removeprefix("/d/").partition("?")[0] for _, address, _ in addresses(made) if address.startswith("/d/")}
        shown &= set(BOARDS["zh"])
        return shown.union(*(lists[tag] for link in made["links"] for tag in link["tags"]))

    places = [function.place.partition("?")[0] for menu in functions.MENUS for function in menu.functions]
    places += [place for _, _, place in functions.FIGURES]
    for start in (uid for uid, made in BOARDS["zh"].items() if dashboards.group_of(made) == board.OVERVIEW):
        clicks, waiting = {start: 0}, deque([start])
        while waiting:
            here = waiting.popleft()
            for there in next_to(here) - clicks.keys():
                clicks[there] = clicks[here] + 1
                waiting.append(there)
        far = {place: clicks.get(place) for place in places if not place.startswith(("/", "desk:")) and clicks.get(place, 9) > 3}
        assert far == {}, start
        assert set(clicks) == set(BOARDS["zh"]), "a board that nothing leads to"


def test_home_lists_every_function_with_its_period_and_choices():
    listed = {address for _, address, _ in addresses(BOARDS["zh"]["home"])}
    assert {functions.href(function.place) for menu in functions.MENUS for function in menu.functions} <= listed


def test_the_page_of_functions_is_what_the_code_makes():
    page = Path(dashboards.__file__).parent.parent / "docs" / "functions.md"
    assert page.read_text(encoding="utf-8") == functions.page(), "run: python -m dashboards"


def test_links_on_top_keep_period_and_choices():
    for made in BOARDS["zh"].values():
        assert all(link["keepTime"] and link["includeVars"] and link["tags"] for link in made["links"])
        titles = [link["title"] for link in made["links"]]
        assert titles == [str(title) for name, title in dashboards.groups().items() if name != board.HELP]


def _tags() -> set[str]:
    return {tag for made in BOARDS["zh"].values() for tag in made["tags"]}


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
    "path", sorted(provisioning.GENERATED.rglob("boards/*/*.json")), ids=lambda path: f"{path.parts[-4]}-{path.stem}"
)
def test_every_board_that_is_committed_has_the_ticker_on_top(marts, path):
    first = json.loads(path.read_text())["panels"][0]
    with vocabulary.spoken(path.parts[-4]):
        assert first["title"] == str(ticker.WORDS.title)
    assert first["gridPos"]["y"] == 0
    shown = rows(marts, first["targets"][0]["rawSql"])
    assert [(row["state"], row["code"], row["customer"], row["measured_value"]) for row in shown] == [
        ("open", "DOOR", "市人民医院 · M2", None),
        ("open", "P_LO", "市人民医院 · M2", "0.121 MPa"),
        ("cleared", "P_LO", "第一纺织厂 · M1", "0.130 MPa"),
    ], "what the desk's settings say for viewers: no maintenance"
    links = [part for override in first["fieldConfig"]["overrides"] for part in override["properties"] if part["id"] == "links"]
    assert [link["value"][0]["url"] for link in links] == ["${desk:raw}/alarms/${__data.fields.alarm_id}"]


def test_links_of_a_board_lead_to_the_desk_of_the_site():
    for made in dashboards.all_boards("zh", Links("https://desk.example")).values():
        (desk,) = [variable for variable in made["templating"]["list"] if variable["name"] == "desk"]
        assert (desk["query"], desk["hide"]) == ("https://desk.example", 2)


def test_open_alarms_stand_with_the_most_pressing_first(marts):
    found = rows(marts, panel("alarms", "当前报警")["targets"][0]["rawSql"])
    assert [(row["severity"], row["code"], row["state"], row["value_limit"]) for row in found] == [
        ("warning", "DOOR", "open", None),
        ("warning", "P_LO", "open", "0.121 / 0.140 MPa"),
        ("maintenance", "BATT", "open", "3.21 / 3.30 V"),
    ]
    assert int(found[1]["to_ms"]) - int(found[1]["from_ms"]) == 4 * 3_600_000
    counts = [rows(marts, alarms.OPEN + which)[0]["alarms"] for _, which, _ in alarms.TILES]
    assert counts == [0, 2, 1, 3]


FILTERS = [
    ({}, {"DOOR", "P_LO M1", "P_LO M2", "BATT"}),
    ({"alarm_code": "P_LO"}, {"P_LO M1", "P_LO M2"}),
    ({"customer": "医院"}, {"DOOR", "P_LO M2", "BATT"}),
    ({"customer": "M1"}, {"P_LO M1"}),
    ({"region": "城东"}, {"P_LO M1"}),
    ({"state": "open"}, {"DOOR", "P_LO M2", "BATT"}),
    ({"state": "cleared"}, {"P_LO M1"}),
    ({"state": "acknowledged"}, set()),
    ({"severity": "maintenance"}, {"BATT"}),
    ({"alarm_code": "P_LO", "customer": "医院", "region": "城西", "state": "open", "severity": "warning"}, {"P_LO M2"}),
    ({"alarm_code": "P_LO", "severity": "maintenance"}, set()),
    ({"state": "retracted"}, set()),
]


@pytest.mark.parametrize(("chosen", "expected"), FILTERS, ids=[" ".join(chosen.values()) for chosen, _ in FILTERS])
def test_filters_of_the_search_go_together(marts, chosen, expected):
    found = {
        f"{row['code']} {row['meter']}" if row["code"] == "P_LO" else row["code"]
        for row in rows(marts, alarm_query.FOUND, **chosen)
    }
    assert found == expected
    counted = rows(marts, alarm_statistics.by("a.code", "kind"), **chosen)
    assert sum(row["times"] for row in counted) == len(expected)


def test_statistics_count_what_is_open_and_how_long_it_took(marts):
    marts.execute("BEGIN")
    marts.execute(
        "UPDATE ops.alarm SET acknowledged_at = first_seen_at + interval '12 min', cause = '检修施工' WHERE meter = 'M1'"
    )
    by_code = {row["kind"]: row for row in rows(marts, alarm_statistics.by("a.code", "kind"))}
    by_region = {row["region_name"]: row["times"] for row in rows(marts, alarm_statistics.by("c.region", "region_name"))}
    shares = rows(marts, alarm_statistics.pareto("a.code", "kind"))
    months = rows(marts, alarm_statistics.by(alarm_statistics.MONTH, "month"))
    marts.execute("UPDATE ops.alarm SET retracted_at = now() WHERE code = 'DOOR'")
    without = {row["kind"] for row in rows(marts, alarm_statistics.by("a.code", "kind"))}
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
    (row,) = rows(marts, board.alarms_of_meter(alarm_words("code"))["target"]["rawSql"])
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
