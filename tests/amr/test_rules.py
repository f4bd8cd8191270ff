"""The parts of the import that need no daemon: units, zones and signs, numbers of terminals, the map, the tables' columns."""

import json
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from ingest_daemon.amr import conversion
from ingest_daemon.amr.numbers import allocate
from ingest_daemon.amr.settings import AmrSettings, SourceSettings
from ingest_daemon.amr.tables import ALARM, READING
from ingest_daemon.contract.registry_files import read
from ingest_daemon.contract.settings import SettingError, read_section
from ingest_daemon.contract.site import Site
from tests.amr_helpers import DDL, amr_site, map_tags, write_registry
from tests.chain import COMMAND

ROW = {**dict.fromkeys(READING), "row_id": "1", "tag": "A", "read_at": "2026-07-01 08:00:00"}


@pytest.mark.parametrize(
    ("settings", "zone", "row", "expected"),
    [
        ({}, "Asia/Shanghai", {"forward_volume": "1,234.5"}, {"ts": "2026-07-01T00:00:00", "forward_m3": 1234.5}),
        (
            {"volume_unit": "L"},
            "UTC",
            {"forward_volume": "1234567", "reverse_volume": "1"},
            {"forward_m3": 1234.567, "reverse_m3": 0.001},
        ),
        ({"volume_factor": 10.0}, "UTC", {"forward_volume": "12.3"}, {"forward_m3": 123.0}),
        ({"volume_unit": "L", "volume_factor": 0.1}, "UTC", {"forward_volume": "123"}, {"forward_m3": 0.0123}),
        ({"flow_unit": "L/s", "flow_factor": -1.0}, "UTC", {"flow": "-2.5"}, {"flow_m3h": 9.0}),
        ({"pressure_unit": "kPa"}, "UTC", {"pressure": "310"}, {"pressure_mpa": 0.31}),
        ({"pressure_unit": "bar", "pressure_factor": 2.0}, "UTC", {"pressure": "1.5"}, {"pressure_mpa": 0.3}),
        (
            {},
            "Asia/Shanghai",
            {"read_at": "2026-07-01T08:00:00.250+05:30", "flow": "1"},
            {"ts": "2026-07-01T02:30:00", "flow_m3h": 1.0},
        ),
        ({}, "Asia/Shanghai", {"read_at": "2026-07-01 08:00:00Z", "flow": "1"}, {"ts": "2026-07-01T08:00:00"}),
        ({}, "Europe/Rome", {"read_at": "2026-03-29 02:30:00", "flow": "1"}, "read_at is 2026-03-29 02:30:00; expected a time"),
        ({}, "Europe/Rome", {"read_at": "2026-10-25 02:30:00", "flow": "1"}, "has once"),
        ({}, "UTC", {"read_at": "2026-07-01", "flow": "1"}, "read_at is 2026-07-01; expected a time"),
        ({}, "UTC", {"tag": "ＦＴ１", "flow": "0"}, {"tag": "FT1", "flow_m3h": 0.0, "pressure_mpa": None, "forward_m3": None}),
        ({}, "UTC", {"flow": "1e999"}, "flow is 1e999; expected a number"),
        ({}, "UTC", {"status_word": "7", "signal_level": "21"}, {"status": 7, "signal": 21}),
    ],
)
def test_units_factors_signs_and_zones_are_those_of_the_source(
    settings: dict[str, object], zone: str, row: dict[str, str], expected: dict[str, object] | str
) -> None:
    source = SourceSettings(name="v", connection="x", **settings)  # type: ignore[arg-type]
    rows = pl.DataFrame([{**ROW, **row}], schema=dict.fromkeys(READING, pl.String()))
    found = conversion.readings(rows, source, zone)
    if isinstance(expected, str):
        assert found.rows.is_empty() and expected in found.refused["reason"][0]
    else:
        (got,) = found.rows.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S")).to_dicts()
        assert {name: got[name] for name in expected} == expected


def test_a_thousand_calls_at_once_get_a_thousand_numbers_and_none_comes_again(tmp_path: Path) -> None:
    site = amr_site(tmp_path, [], terminals=2)
    other = subprocess.Popen([*COMMAND, "amr", "allocate", "--site", str(site.root), "300"], stdout=subprocess.PIPE, text=True)
    begin = threading.Barrier(50)

    def twenty(_: int) -> list[str]:
        begin.wait(60)
        return [number for _ in range(20) for number in allocate(site, 1, "v02")]

    with ThreadPoolExecutor(50) as callers:
        given = [number for part in callers.map(twenty, range(50)) for number in part]
    printed = other.communicate()[0].split()
    assert len(given) == 1000 and len(printed) == 300
    assert len({*given, *printed, "AMR0000001", "AMR0000002"}) == 1302  # the registry has two already


def test_a_torn_line_is_passed_over_a_damaged_one_is_told_and_an_older_ledger_gives_no_number_of_the_registry(
    tmp_path: Path,
) -> None:
    site = amr_site(tmp_path, [], terminals=9)
    ledger = site.state / "amr" / "terminals.jsonl"
    assert allocate(site, 2) == ["AMR0000010", "AMR0000011"]
    with ledger.open("a") as file:
        file.write('{"first": 12, "la')
    assert allocate(site, 1) == ["AMR0000012"]
    ledger.unlink()
    map_tags(site, [("x", "AMR0000040")])
    assert allocate(site, 1, "v02") == ["AMR0000041"]
    assert json.loads(ledger.read_text())["source"] == "v02"
    ledger.write_text("nonsense\n")
    with pytest.raises(ValueError, match="so that no number is given twice"):
        allocate(site, 1)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("a", "AMR0000001"), ("a", "AMR0000002")], "rows 2, 3, source, tag, valid_from"),
        ([("a", "AMR0000001", "", "2026-03-02"), ("a", "AMR0000002", "2026-03-01")], "rows 2, 3, source, tag"),
        ([("a", "AMR0000001"), ("b", "AMR0000001")], "rows 2, 3, terminal"),
        ([("a", "AMR0000009")], "row 2, terminal: 'AMR0000009' is not in terminals.csv with source amr"),
        ([("a", "0010000001")], "row 2, terminal: '0010000001' is not in terminals.csv with source amr"),
        ([("a", "AMR0000001", "2026-03-02", "2026-03-01")], "row 2, valid_from, valid_to"),
        ([("a", "AMR0000001", "", "2026-03-01"), ("a", "AMR0000002", "2026-03-01"), ("b", "AMR0000001", "2026-03-01")], ""),
    ],
)
def test_a_tag_is_one_terminal_and_a_terminal_one_tag_at_any_time(
    tmp_path: Path, rows: list[tuple[str, ...]], problem: str
) -> None:
    site = amr_site(tmp_path, [], terminals=2, tags=rows)
    problems = [str(found) for found in read(site.registry).problems]
    assert [problem in text for text in problems] == ([True] if problem else [])


def test_a_code_of_the_map_must_be_one_that_terminals_may_raise(tmp_path: Path) -> None:
    site = amr_site(tmp_path, [])
    write_registry(site, "amr_alarms", [{"source": "v", "code": "1", "alarm": "NO_DATA"}])
    (found,) = read(site.registry).problems
    assert "row 2, alarm: 'NO_DATA', allowed: BATT" in str(found) and "OTHER" in str(found)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({}, "connection: empty"),
        ({"name": "a b"}, "name: expected 1 to 30 letters"),
        ({"volume_unit": "hectolitre"}, "row 1: volume_unit = 'hectolitre': allowed: m3, L"),
        ({"flow_factor": 0}, "flow_factor = 0.0: expected a number other than 0"),
        ({"zone": "Shanghai"}, "zone = 'Shanghai': not an IANA time zone"),
        ({"reading_table": "a; drop table b"}, "reading_table"),
        ({"periodmin": 5}, "periodmin is unknown; allowed: name, connection"),
        ({"batch": 0}, "batch = 0: expected a number of at least 1"),
    ],
)
def test_a_wrong_source_is_named_at_the_start_with_what_is_allowed_and_without_its_connection(
    row: dict[str, object], named: str
) -> None:
    whole = {"name": "v02", **({"connection": "PWD=geheim"} if row else {}), **row}
    with pytest.raises(SettingError) as error:
        read_section(AmrSettings, "amr", {"amr": {"sources": [whole]}})
    assert named in str(error.value) and "geheim" not in str(error.value)


def test_no_port_no_link_and_no_other_terminal_may_speak_the_protocol_of_imports(tmp_path: Path) -> None:
    from ingest_daemon.reception.settings import PROTOCOLS, DaemonSettings
    from ingest_daemon.terminals.registry import Registry

    assert "amr" not in PROTOCOLS
    with pytest.raises(SettingError, match="allowed: cjt188"):
        read_section(DaemonSettings, "daemon", {"daemon": {"data_protocol": "amr"}})
    site = Site(tmp_path)
    site.registry.mkdir()
    (site.registry / "terminals.csv").write_text("terminal,meter,protocol,link\nAMR0000001,M1,amr,DTU1\nAMR0000002,M2,amr,\n")
    assert set(Registry(site).terminals()) == {"AMR0000002"}


def test_the_tables_have_the_same_columns_in_every_database_and_are_those_that_are_read_and_drawn() -> None:
    made = {
        path.name: {
            table: tuple(re.findall(r"^    (\w+) ", body, re.MULTILINE))
            for table, body in re.findall(
                r"create table (\w+) \((.*?)^\);", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
            )
        }
        for path in sorted(DDL.glob("*.sql"))
    }
    assert list(made) == ["mysql.sql", "postgresql.sql", "sqlite.sql", "sqlserver.sql"]
    assert all(tables == {"amr_reading": READING, "amr_alarm": ALARM} for tables in made.values())
    comments = {re.search(r"\A(?:--.*\n)+", path.read_text(encoding="utf-8")) for path in DDL.glob("*.sql")}
    assert len({found.group() for found in comments if found}) == 1
    for page in ("amr.md", "data-flow.md"):
        text = (DDL.parents[1] / "docs" / page).read_text(encoding="utf-8")
        assert "amr_reading, amr_alarm" in text, f"{page}: the drawing has the names of the tables"
