"""Every mart against cases that are data: `tests/marts/<mart>/<case as a sentence>/`.

A case has one CSV a table that the mart reads (`meter.csv`, `billing.bill.csv`, the mart itself for rows that were there
before), or `readings.csv` (and `conflicts.csv`) for the tables that the kernel makes of the meters in `meter.csv`,
`params.yaml` (`days`: touched local days; `zone`, default Asia/Shanghai) and `expect.csv`: every row of the mart
afterwards, in the columns that the case is about. An empty cell is null. A mart without a case is red. Rules are the shipped
ones, but for a file of rules that the case has (`registry.criteria.csv` …).
"""

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest
import yaml

from assets import columns, marts, rules, tables, units, warehouse
from assets.partitions import Partitions
from assets.publication import postgres_type
from assets.workbench import Workbench
from ingest_daemon.contract import headers
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.runs.run import run_touched
from tests.figures import TERMINAL, empty_warehouse, readings, terminals, unit_tables

CASES = Path(__file__).parents[1] / "marts"
FOLDERS = sorted(path for path in CASES.glob("*/*") if path.is_dir())


def insert(connection: duckdb.DuckDBPyConnection, table: str, file: Path) -> None:
    """Add the rows of a CSV file to a table, each cell as the column's type."""
    types = {name: kind for name, kind, *_ in connection.execute(f"describe {table}").fetchall()}
    header = file.read_text(encoding="utf-8").splitlines()[0].split(",")
    unknown = [name for name in header if name not in types]
    assert not unknown, f"{file}: {table} has no column {', '.join(unknown)}; it has {', '.join(types)}"
    cells = ", ".join(f'cast("{name}" as {types[name]}) as "{name}"' for name in header)
    connection.execute(
        f"insert into {table} by name select {cells} from read_csv('{file}', all_varchar = true, header = true, delim = ',')"
    ).fetchall()


def computed(case: Path, days: list[date], zone: ZoneInfo) -> units.Tables:
    """The unit tables of the case's readings; each meter's terminal has its name."""
    meters = pl.read_csv(case / "meter.csv", infer_schema=False).to_dicts()
    registry = terminals(*({**meter, "terminal": meter["meter"], "step_min": int(meter["step_min"])} for meter in meters))

    def times(name: str) -> pl.DataFrame:
        file = case / name
        frame = (
            pl.read_csv(file, infer_schema=False)
            if file.exists()
            else pl.DataFrame(schema={"terminal": pl.String, "ts": pl.String})
        )
        return frame.with_columns(
            pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_unit="us").dt.convert_time_zone("UTC")
        )

    columns = ("forward_m3", "reverse_m3", "flow_m3h", "pressure_mpa")
    parts = [
        readings(own["ts"].to_list(), terminal=meter, **{name: own[name].cast(pl.Float64).to_list() for name in columns})
        for (meter,), own in times("readings.csv").partition_by("meter", as_dict=True).items()
    ]
    return unit_tables(pl.concat(parts), days, zone, registry=registry, conflicts=times("conflicts.csv"))


def rows(connection: duckdb.DuckDBPyConnection, table: str, columns: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = connection.sql(f"select {columns} from {table} order by all").pl().to_dicts()
    return found


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9)
    return bool(found == expected)


@pytest.mark.parametrize("case", [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in FOLDERS])
def test_the_mart_of_the_case_is_what_the_case_expects(case: Path, tmp_path: Path) -> None:
    params = yaml.safe_load((case / "params.yaml").read_text(encoding="utf-8"))
    zone = ZoneInfo(params.get("zone", "Asia/Shanghai"))
    (mart,) = (mart for mart in marts.all_marts() if mart.name == case.parent.name)
    with empty_warehouse(tmp_path / "marts.duckdb", params["days"], zone) as connection:
        for file in sorted(case.glob("*.csv")):
            if file.stem.removeprefix("registry.") in rules.REPLACED_BY:
                connection.execute(f"delete from {file.stem}").fetchall()
            if file.stem not in ("expect", "readings", "conflicts"):
                insert(connection, file.stem, file)
        Partitions(tuple(params["days"]), zone).prepare(connection)
        if (case / "readings.csv").exists():
            for name, table in computed(case, params["days"], zone)._asdict().items():
                warehouse.replace_rows(connection, name, table, "day", params["days"])
        marts.build(mart, connection)

        columns = (case / "expect.csv").read_text(encoding="utf-8").splitlines()[0]
        connection.execute(f"create temp table expected as select {columns} from {mart.name} limit 0").fetchall()
        insert(connection, "expected", case / "expect.csv")
        found, expected = rows(connection, mart.name, columns), rows(connection, "expected", columns)
        assert len(found) == len(expected), f"{len(found)} rows, expected {len(expected)}: {found}"
        wrong = [
            f"row {number}, {name}: {row[name]!r}, expected {wanted[name]!r}"
            for number, (row, wanted) in enumerate(zip(found, expected, strict=True), start=1)
            for name in row
            if not same(row[name], wanted[name])
        ]
        assert not wrong, "\n".join(wrong)

        whole = rows(connection, mart.name, "*")
        marts.build(mart, connection)
        assert rows(connection, mart.name, "*") == whole, "made again, the mart is another"


def test_every_mart_has_a_case_and_every_case_a_mart() -> None:
    assert {path.parent.name for path in FOLDERS} == {mart.name for mart in marts.all_marts()}


def test_every_step_is_made_after_those_that_it_and_its_checks_are_made_from() -> None:
    order = [step.name for step in tables.steps()]
    for step in tables.steps():
        assert [
            name for name in tables.needed_by(step) if name != "raw_reading" and order.index(name) >= order.index(step.name)
        ] == []


def test_columns_of_every_mart_are_those_of_its_header_and_can_be_served(tmp_path: Path) -> None:
    with empty_warehouse(tmp_path / "marts.duckdb", [date(2025, 6, 2)], ZoneInfo("Asia/Shanghai")) as connection:
        for mart in marts.all_marts():
            described = connection.execute(f"describe ({mart.query})").fetchall()
            columns.check(mart.name, [name for name, *_ in described])
            assert all(postgres_type(mart.name, name, kind) for name, kind, *_ in described)


def test_a_statement_that_fails_leaves_the_mart_as_it_was(tmp_path: Path) -> None:
    days = [date(2025, 6, 2)]
    with empty_warehouse(tmp_path / "marts.duckdb", days, ZoneInfo("Asia/Shanghai")) as connection:
        connection.execute(
            "insert into customer (customer_no, name, meters, source) values ('C1', '一号用户', 1, 'registry')"
        ).fetchall()
        (mart,) = (mart for mart in marts.all_marts() if mart.name == "customer")
        before = rows(connection, "customer", "*")
        with pytest.raises(duckdb.Error):
            marts.build(mart._replace(query=mart.query.replace("as meters", "as no_such_column")), connection)
        assert rows(connection, "customer", "*") == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("select 1", "YAML header"),
        ("/*\nzh: [\n*/\nselect 1", "expected YAML"),
        ("/* */\nselect 1", "expected YAML with keys and values; there is None"),
    ],
)
def test_a_file_without_a_header_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bare.sql").write_text(text)
    with pytest.raises(ValueError, match=rf"bare\.sql.*{words}"):
        headers.read_header(tmp_path / "bare.sql")


@pytest.mark.parametrize(
    ("days", "months", "compared_days", "compared_months"),
    [
        (
            (date(2023, 2, 28), date(2023, 12, 31)),
            [date(2023, 2, 1), date(2023, 12, 1)],
            [
                date(2023, 2, 28),
                date(2023, 3, 1),
                date(2023, 12, 31),
                date(2024, 1, 1),
                date(2024, 2, 27),
                date(2024, 2, 28),
                date(2024, 2, 29),
                date(2024, 12, 29),
                date(2024, 12, 31),
            ],
            [date(2023, 2, 1), date(2023, 3, 1), date(2023, 12, 1), date(2024, 1, 1), date(2024, 2, 1), date(2024, 12, 1)],
        )
    ],
)
def test_what_a_day_leads_to(
    days: tuple[date, ...], months: list[date], compared_days: list[date], compared_months: list[date]
) -> None:
    partitions = Partitions(days, ZoneInfo("Asia/Shanghai"))
    assert partitions.months == months
    assert partitions.compared_days == compared_days
    assert partitions.compared_months == compared_months


def bench_of(root: Path) -> Workbench:
    """A site with one register meter, without billing and without serving."""
    site = Site(root)
    site.registry.mkdir(parents=True)
    terminals({}).write_csv(site.registry / "terminals.csv")
    return Workbench(site, "", ZoneInfo("Asia/Shanghai"), timedelta(hours=2), ParquetStore(site.raw), lambda: None, "", 0)


def status(bench: Workbench) -> dict[str, Any]:
    with warehouse.opened(bench.site.marts, "Asia/Shanghai") as connection:
        (row,) = rows(connection, "latest_figures", "*")
    return row


@pytest.mark.usefixtures("few_tables")
def test_a_late_older_reading_does_not_replace_the_newer_one(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    newer = [datetime(2025, 6, 3, 1, minute, tzinfo=UTC) for minute in (0, 15)]
    bench.store.write(readings(newer, forward_m3=[500.0, 501.0], pressure_mpa=[0.3, None]))
    run_touched(bench, "test")
    assert (status(bench)["reading_at"], status(bench)["register_m3"], status(bench)["pressure_at"]) == (
        newer[1],
        501.0,
        newer[0],
    )

    older = [datetime(2025, 6, 1, 1, minute, tzinfo=UTC) for minute in (0, 15)]
    late = readings(older, forward_m3=[100.0, 101.0], pressure_mpa=[0.2, 0.2]).with_columns(
        received_at=pl.lit(datetime(2025, 6, 9, tzinfo=UTC))
    )
    bench.store.write(late)
    assert run_touched(bench, "test").days == [date(2025, 6, 1)]
    after = status(bench)
    assert (after["reading_at"], after["register_m3"], after["pressure_at"], after["pressure_mpa"]) == (
        newer[1],
        501.0,
        newer[0],
        0.3,
    )
    assert after["meter"] == TERMINAL["meter"]
