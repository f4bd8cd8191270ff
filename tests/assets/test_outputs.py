"""Other systems get what the contract promises: whole, in its version, as files, views and EPANET's input."""

import csv
import io
import json
import re
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import jsonschema
import polars as pl
import psycopg
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner
from psycopg import errors

from assets import epanet, output_files, outputs
from assets.output_files import due
from assets.outputs import VERSION, breaks, page, schema, write_contract
from ingest_daemon.contract.site import Site
from pipelines.cli.main import main
from pipelines.processes.postgres import embedded
from pipelines.runs.outputs import OutputFailed, write_outputs
from tests.cases.figure_site import BILLING, FigureSite, csv_text, readings

ZONE = ZoneInfo("Asia/Shanghai")
DAY, CUT_OFF = date(2025, 6, 8), date(2025, 6, 10)
LOOKED_AT = ("hourly_usage", "hourly_pressure", "daily_usage", "latest_figures", "meter", "meter_history", "calendar", "cycle")
POINTS = [
    # meter, node; the others have the same place
    ("M1", "J1"),
    ("M2", "J2"),
    ("M8", "J1"),
]
CARDS = """
insert into meter_card values
    ('M1', 'C1', 100, 'B1', '2020-01-01', null, '2025-06-01'), ('M2', 'C2', 100, 'B1', '2020-01-01', null, '2025-06-01'),
    ('M3', 'C3', 100, 'B1', '2020-01-01', null, '2025-06-01'), ('M4', 'C4', 100, 'B1', '2020-01-01', null, '2025-06-01'),
    ('M5', 'C5', 50, 'B1', '2020-01-01', null, '2025-06-01'), ('M6', 'C6', 50, 'B1', '2020-01-01', '2025-06-09', '2025-06-01'),
    ('M7', 'C7', 50, 'B1', '2025-06-10', null, '2025-06-01'), ('M9', 'C9', 100, 'B1', '2020-01-01', null, '2025-06-01'),
    ('M10', 'C10', 50, null, '2020-01-01', null, '2025-06-01'), ('M8', 'C8', 100, 'B2', '2020-01-01', null, '2025-06-01');
insert into bill values
    ('B1', 'C1', 'M1', '2025-04-10', '2025-05-10', '100', null, null, '450', 'actual', '2025-05-11'),
    ('B8', 'C8', 'M8', '2025-04-20', '2025-05-20', '100', null, null, '450', 'actual', '2025-05-21');
"""


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2025-06-{text}").replace(tzinfo=ZONE)


def passed(moment: datetime) -> float:
    """What a meter has passed since the month began: in some hours more than in others."""
    hours, minutes = divmod((moment - at("01")) / timedelta(minutes=1), 60)
    return sum(4 + hour % 24 % 5 for hour in range(int(hours))) + (4 + hours % 24 % 5) * minutes / 60


DAYS_VOLUME = passed(at("02"))


def store(site: FigureSite, meter: int, begin: str, end: str) -> None:
    """Hourly readings of a meter from a local time on to another; its register began the month at 1000 m³ times its number."""
    start = at(begin)
    times = [start + timedelta(hours=hour) for hour in range(int((at(end) - start) / timedelta(hours=1)) + 1)]
    frame = readings(times, [1000 * meter + passed(moment) for moment in times], f"000000000{meter}")
    site.store(frame.with_columns(pressure_mpa=0.3))


class Made(NamedTuple):
    """The site whose outputs were written once, and the string with which a reader connects."""

    site: FigureSite
    reader: str

    @property
    def folder(self) -> Path:
        return self.site.site.outputs / VERSION


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Meters that are read at the cut-off (1, 8), silent over it (2), or since (3), read shortly before (4), by hand (5),
    replaced in the silence (9)."""
    folder = tmp_path_factory.mktemp("outputs") / "site"
    with embedded(Site(folder), 0) as dsn:
        site = FigureSite(folder, serving_dsn=dsn, looked_at=LOOKED_AT)
        site.register(*({"terminal": f"000000000{n}", "meter": f"M{n}", "customer_no": f"C{n}"} for n in (1, 2, 3, 4, 8, 9)))
        place = {"latitude": "29.86", "longitude": "121.55", "elevation_m": "5.5", "datum": "CGCS2000"}
        place |= {"inlet_of": "", "runs_always": ""}
        site.write("points", csv_text(["meter", "node", *place], [{"meter": m, "node": n, **place} for m, n in POINTS]))
        site.replace(
            {"meter": "M9", "replaced_at": "2025-06-10T02:00:00+08:00", "old_final_m3": "9300", "new_initial_m3": "9290"}
        )
        site.bill(BILLING + CARDS)
        for meter, begin, end in (
            (1, "07T22:00", "11T02:00"),
            (2, "07T22:00", "09T20:00"),
            (2, "10T04:00", "11T02:00"),
            (3, "07T22:00", "09T12:00"),
            (4, "07T22:50", "09T23:50"),
            (4, "10T06:00", "11T02:00"),
            (8, "07T22:00", "11T02:00"),
            (9, "07T22:00", "09T20:00"),
            (9, "10T04:00", "11T02:00"),
        ):
            store(site, meter, begin, end)
        site.sync()
        site.run()
        write_outputs(site.bench, days=(DAY, CUT_OFF))
        yield Made(site, json.loads((site.site.state / "postgres.json").read_text())["reader_dsn"])
        site.close()


def consumed(folder: Path, table: str, key: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """What a consumer reads that knows `docs/outputs.md` and nothing else: the manifest, and the rows of the edition in force."""
    place = folder / table / key
    manifest = json.loads((place / "manifest.json").read_text())
    text = (place / f"edition={manifest['edition']}" / f"{table}.csv").read_text()
    comment, _, body = text.partition("\n")
    assert comment.startswith(f"# mainflow contract {manifest['contract']}; table {table}; ")
    return manifest, list(csv.DictReader(io.StringIO(body)))


def billed(made: Made, cut_off: date = CUT_OFF) -> list[dict[str, str]]:
    (file,) = (made.folder / "billing_reads" / f"cut_off={cut_off}").glob("edition=*/*.csv")
    return list(csv.DictReader(io.StringIO(file.read_bytes().decode("gb18030"))))


# --- the contract -------------------------------------------------------------------------------------------------------------


def test_the_contract_in_the_docs_is_that_of_the_headers() -> None:
    pages = {path.stem: path.read_text() for path in outputs.PAGES.glob("*.json")}
    assert pages == {name: page(output) for name, output in outputs.outputs().items()}, "run python -m assets.outputs"


def test_what_consumers_of_version_1_rely_on_is_there() -> None:
    relied_on = {
        "daily_volumes": "meter customer_no day volume_m3 reverse_m3 flow_max_m3h flow_min_m3h coverage complete clean",
        "hourly_volumes": "meter day hour_start volume_m3 reverse_m3 coverage clean",
        "network_demands": "node day hour_start volume_m3 meters meters_known",
        "pressure_points": "meter node latitude longitude datum elevation_m located pressure_mpa pressure_at head_m",
        "billing_reads": "cut_off meter customer_no book_no cycle_start read_at register_m3 kind method",
        "latest_values": "meter reading_at age_s silent register_m3 reverse_m3 flow_m3h pressure_mpa pressure_at today_m3",
    }
    known = outputs.outputs()
    for table, columns in relied_on.items():
        assert list(known[table].columns)[: len(columns.split())] == columns.split(), table


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("del properties['volume_m3']", "columns"),
        ("properties['volume_m3'] = {**properties['volume_m3'], 'type': 'string'}", "volume_m3 type"),
        ("properties['volume_m3'] = {**properties['volume_m3'], 'x-unit': 'L'}", "volume_m3 x-unit"),
        ("properties['day'] = properties.pop('day')", "columns"),
        ("now['x-grain'] = ['meter']", "x-grain"),
        ("now['x-files'] = ['csv']", "no file parquet"),
        ("properties['more'] = properties['day']", ""),
        ("properties['volume_m3'] = {**properties['volume_m3'], 'description': 'clearer'}", ""),
    ],
)
def test_a_change_that_breaks_consumers_is_found_and_one_that_adds_is_none(change: str, found: str) -> None:
    before, now = (json.loads(page(outputs.outputs()["daily_volumes"])) for _ in range(2))
    exec(change, {"now": now, "properties": now["properties"]})
    reasons = breaks(before, now)
    assert bool(reasons) == bool(found) and found in " ".join(reasons)


def test_a_broken_version_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    write_contract(tmp_path)
    path = tmp_path / "daily_volumes.json"
    promised = json.loads(path.read_text())
    promised["properties"]["pressure_mpa"] = promised["properties"]["volume_m3"]
    path.write_text(json.dumps(promised))
    with pytest.raises(ValueError, match=r"contract v1 would break(?s:.*)daily_volumes: columns .*pressure_mpa"):
        write_contract(tmp_path)
    assert json.loads(path.read_text()) == promised


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("cut: day", "cut: week", "daily.sql: expected .*cut 'week'"),
        ("{type: day}", "{type: date}", "daily.sql: column day: expected type of text, .*; there is 'date'"),
        ("grain: [meter, day]", "grain: [meter, hour]", "daily.sql: hour: expected columns that are listed: meter, "),
        ("volume_m3: {type", "volume: {type", "column volume has no zh"),
        ("cut: day", "cut: day\nlayouts: {}", "daily.sql: expected .*layouts"),
    ],
)
def test_a_wrong_header_is_an_error_that_names_file_and_column(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = outputs.outputs()["daily_volumes"].path.read_text()
    assert old in text
    (tmp_path / "daily.sql").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=words):
        outputs.read(tmp_path / "daily.sql")


@pytest.mark.parametrize(
    ("table", "days", "expected"),
    [
        ("daily_volumes", None, ("2025-05-07", "2025-06-11")),
        ("daily_volumes", ("2025-06-01", "2025-06-30"), ("2025-06-01", "2025-06-11")),
        ("billing_reads", None, ("2025-06-05", "2025-06-12")),
        ("billing_reads", ("2024-01-01", "2025-07-01"), ("2024-01-01", "2025-06-12")),
        ("meters", ("2025-01-01", "2025-01-02"), ("2025-06-12", "2025-06-12")),
    ],
)
def test_days_that_are_over_are_due_and_whole_tables_are_of_today(table: str, days: Any, expected: tuple[str, str]) -> None:
    asked = days and tuple(map(date.fromisoformat, days))
    assert due(outputs.outputs()[table], date(2025, 6, 12), asked) == tuple(map(date.fromisoformat, expected))


# --- files --------------------------------------------------------------------------------------------------------------------


def test_a_consumer_reads_a_day_by_the_contract_alone(made: Made) -> None:
    manifest, rows = consumed(made.folder, "daily_volumes", f"day={DAY}")
    assert (manifest["contract"], manifest["table"], manifest["day"], manifest["rows"]) == ("v1", "daily_volumes", str(DAY), 6)
    promised = json.loads((outputs.PAGES / "daily_volumes.json").read_text())
    assert list(rows[0]) == list(promised["properties"])
    assert rows[0] == {
        "meter": "M1",
        "customer_no": "C1",
        "day": str(DAY),
        "volume_m3": str(float(DAYS_VOLUME)),
        "reverse_m3": "",
        "flow_max_m3h": "8.0",
        "flow_min_m3h": "4.0",
        "coverage": "1.0",
        "complete": "true",
        "clean": "true",
    }
    known = {row["meter"]: row["volume_m3"] for row in rows}
    assert known.pop("M4"), "it is read ten minutes before each hour"
    assert {meter: float(text) for meter, text in known.items()} == dict.fromkeys(("M1", "M2", "M3", "M8", "M9"), DAYS_VOLUME)
    _, later = consumed(made.folder, "daily_volumes", f"day={DAY + timedelta(days=1)}")
    assert {row["meter"]: (row["volume_m3"], row["complete"]) for row in later}["M3"] == ("", "false"), "missing is not 0"


@pytest.mark.parametrize(
    "table", ["daily_volumes", "hourly_volumes", "hourly_pressures", "network_demands", "pressure_points", "meters"]
)
def test_parquet_names_its_version_and_each_row_keeps_the_schema_that_is_published(made: Made, table: str) -> None:
    (place,) = sorted((made.folder / table).iterdir())[:1]
    (file,) = place.glob(f"edition=1/{table}.parquet")
    assert pq.read_schema(file).metadata[b"mainflow.contract"] == b"v1"
    rows = json.loads(
        duckdb.sql(
            f"select to_json(list(rows)) from (select * from read_parquet('{file}', hive_partitioning = false)) as rows"
        ).fetchall()[0][0]
    )
    assert rows
    promised = schema(outputs.outputs()[table]) | {"additionalProperties": False}
    for row in rows:
        jsonschema.validate(row, promised)


def test_late_data_make_a_further_edition_and_what_was_issued_stays(tmp_path: Path) -> None:
    site = FigureSite(tmp_path / "site", looked_at=("hourly_usage", "daily_usage"))
    site.register()
    store(site, 1, "07T22:00", "08T12:00")
    store(site, 1, "08T20:00", "09T02:00")
    site.run()
    folder, key = site.site.outputs / VERSION, f"day={DAY}"

    def written() -> dict[str, bytes]:
        files = [file.file for file in write_outputs(site.bench, ["hourly_volumes"], (DAY, DAY))]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    first = written()
    assert written() == first, "the same figures give no edition"
    store(site, 1, "08T13:00", "08T19:00")
    site.run()
    second = written()
    assert {name.split("/")[2] for name in second} == {"edition=2"}
    assert {name: (folder / name).read_bytes() for name in first} == first
    manifest, rows = consumed(folder, "hourly_volumes", key)
    assert (manifest["edition"], len(rows)) == (2, 24)
    assert site.values("select distinct edition from report_ledger where report = 'out_v1.hourly_volumes' order by 1") == [1, 2]
    (folder / "hourly_volumes" / key / "manifest.json").write_text("{")
    assert {name.split("/")[2] for name in written()} == {"edition=3"}, "no file that may have been taken is written anew"


def test_one_output_that_fails_stops_no_other_and_an_unknown_one_is_named(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: output_files.Drop) -> bytes:
        raise ValueError("a value does not fit")

    monkeypatch.setitem(output_files.WRITERS, "inp", fail)  # type: ignore[index]
    day = DAY - timedelta(days=1)
    with pytest.raises(OutputFailed, match="network_demands: a value does not fit"):
        write_outputs(made.site.bench, days=(day, day))
    assert consumed(made.folder, "hourly_volumes", f"day={day}")[1]
    with pytest.raises(OutputFailed, match="no output 'nothing'; there are: billing_reads, "):
        write_outputs(made.site.bench, ["nothing"])


def test_the_command_writes_what_is_named(made: Made) -> None:
    done = CliRunner().invoke(main, ["out", "--site", str(made.site.site.root), "network_demands", "--days", f"{DAY}..{DAY}"])
    assert done.exit_code == 0, done.output
    assert done.output.count("network_demands.") == 3 and "daily_volumes" not in done.output


# --- billing reads ------------------------------------------------------------------------------------------------------------


def test_every_due_meter_is_in_the_billing_file_once_actual_near_the_cut_off_and_else_estimated(made: Made) -> None:
    rows = {row["METER_NO"]: row for row in billed(made)}
    assert list(rows) == ["M1", "M2", "M3", "M4", "M5", "M9"]
    shown = {meter: (row["READ_AT"][5:16], row["REGISTER"], row["FLAG"], row["METHOD"]) for meter, row in rows.items()}
    between = 2000 + (passed(at("09T20:00")) + passed(at("10T04:00"))) / 2
    assert shown == {
        "M1": ("06-10 00:00", f"{1000 + passed(at('10')):.3f}", "A", "curve"),
        "M2": ("06-10 00:00", f"{between:.3f}", "E", "between"),
        "M3": ("06-09 12:00", f"{3000 + passed(at('09T12:00')):.3f}", "E", "last"),
        "M4": ("06-09 23:50", f"{4000 + passed(at('09T23:50')):.3f}", "A", "near"),
        "M5": ("", "", "E", "none"),
        "M9": ("06-09 20:00", f"{9000 + passed(at('09T20:00')):.3f}", "E", "last"),
    }


def test_books_are_read_at_cut_offs_of_their_own_also_after_their_last_bill_and_a_card_without_a_book_at_the_months_end(
    made: Made,
) -> None:
    write_outputs(made.site.bench, ["billing_reads"], (date(2025, 5, 1), date(2025, 8, 15)))
    found = {key.name.split("=")[1]: key for key in (made.folder / "billing_reads").iterdir()}
    meters = {cut_off: {row["METER_NO"] for row in billed(made, date.fromisoformat(cut_off))} for cut_off in found}
    first, second, loose = {"M1", "M2", "M3", "M4", "M5", "M9"}, {"M8"}, {"M10"}
    assert meters == {
        **{f"2025-0{month}-01": loose for month in (5, 6, 7, 8)},
        "2025-05-10": first | {"M6"},
        "2025-06-10": first,
        **{f"2025-0{month}-10": first | {"M7"} for month in (7, 8)},
        **{f"2025-0{month}-20": second for month in (5, 6, 7)},
    }


def test_each_line_of_the_fixed_width_file_has_the_layouts_fields_at_their_places(made: Made) -> None:
    (file,) = (made.folder / "billing_reads" / f"cut_off={CUT_OFF}").glob("edition=*/*.txt")
    fields = outputs.outputs()["billing_reads"].layout["fields"]
    lines = file.read_bytes().split(b"\r\n")[:-1]
    assert {len(line) for line in lines} == {sum(field["width"] for field in fields)}
    for line, row in zip(lines, billed(made), strict=True):
        start = 0
        for field in fields:
            assert line[start : start + field["width"]].decode("gb18030").strip() == row[field["name"]]
            start += field["width"]


# --- views --------------------------------------------------------------------------------------------------------------------


def test_a_reader_sees_the_views_of_the_contract_and_nothing_else(made: Made) -> None:
    with psycopg.connect(made.reader, autocommit=True) as reader:
        for output in outputs.served():
            found = reader.execute(f"select * from out_v1.{output.name}")
            assert [column.name for column in found.description or ()] == list(output.columns)
        volumes = reader.execute(
            "select meter, volume_m3 from out_v1.daily_volumes where day = %s order by meter", [DAY]
        ).fetchall()
        _, rows = consumed(made.folder, "daily_volumes", f"day={DAY}")
        assert volumes == [(row["meter"], pytest.approx(float(row["volume_m3"]), rel=1e-12)) for row in rows]
        located = reader.execute("select meter, node, elevation_m, located from out_v1.pressure_points order by meter").fetchall()
        assert located == [
            ("M1", "J1", 5.5, True),
            ("M2", "J2", 5.5, True),
            ("M3", None, None, False),
            ("M4", None, None, False),
            ("M8", "J1", 5.5, True),
            ("M9", None, None, False),
        ]
        for query in ("select * from mart.daily_usage", "select * from ops.latest_reading", "create table out_v1.mine (a int)"):
            with pytest.raises(errors.InsufficientPrivilege):
                reader.execute(query)


# --- EPANET -------------------------------------------------------------------------------------------------------------------

MODEL = """[JUNCTIONS]
J1 5
J2 5
[RESERVOIRS]
R 60
[PIPES]
P1 R J1 100 300 120 0 Open
P2 J1 J2 100 300 120 0 Open
{fragment}
[OPTIONS]
UNITS CMH
HEADLOSS H-W
[TIMES]
DURATION 24:00
PATTERN TIMESTEP 1:00
[END]
"""


def test_epanet_takes_the_fragment_without_a_warning_and_its_demands_are_the_volume_of_the_day(
    made: Made, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wntr  # type: ignore[import-untyped]
    fragment = (made.folder / "network_demands" / f"day={DAY}" / "edition=1" / "network_demands.inp").read_text()
    path = tmp_path / "model.inp"
    path.write_text(MODEL.format(fragment=fragment))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = wntr.network.WaterNetworkModel(str(path))
    for node, meters in (("J1", 2), ("J2", 1)):
        (demand,) = network.get_node(node).demand_timeseries_list
        multipliers = list(demand.pattern.multipliers)
        assert len(multipliers) == 24
        mean_m3h = demand.base_value * 3600 * sum(multipliers) / 24
        assert mean_m3h * 24 == pytest.approx(meters * DAYS_VOLUME, rel=1e-3)
        hours = [demand.base_value * 3600 * multiplier for multiplier in multipliers]
        assert hours == pytest.approx([meters * (4 + hour % 5) for hour in range(24)], rel=1e-3)


def test_a_node_that_is_not_known_all_day_or_that_epanet_cannot_name_is_left_out_and_named(made: Made) -> None:
    place = made.folder / "network_demands" / f"day={DAY + timedelta(days=1)}" / "edition=1"
    text = (place / "network_demands.inp").read_text()
    assert re.search(r"^; J2 .*left out: .* 4 of 24 hours are not known$", text, re.MULTILINE)
    assert "\nJ2 " not in text and "\nJ1 " in text
    start = datetime(2025, 6, 8, tzinfo=UTC)
    rows = pl.DataFrame({"node": ["J 1", "J3"], "hour_start": [start, start], "volume_m3": [1.0, 0.0]})
    lines = epanet.demands(rows, "x").decode().splitlines()
    assert [line for line in lines if line.startswith("; J 1 ")] and "J3 0.000000 MF_J3" in lines


def test_calibration_pressures_count_hours_from_the_local_midnight(made: Made) -> None:
    place = made.folder / "hourly_pressures" / f"day={DAY}" / "edition=1"
    lines = [line.split() for line in (place / "hourly_pressures.dat").read_text().splitlines() if not line.startswith(";")]
    assert {node for node, _, _ in lines} == {"J1", "J2"}
    assert [float(hour) for node, hour, _ in lines if node == "J2"] == list(range(24))
    assert {pressure for _, _, pressure in lines} == {f"{0.3e6 / 9806.65:.3f}"}
