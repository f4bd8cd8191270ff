"""Every mart against cases that are data: `tests/marts/<mart>/<case as a sentence>/`.

A case has one CSV a table that the mart reads (`meter.csv`, `billing.bill.csv`, the mart itself for rows that were there
before), `params.yaml` (`days`: touched local days; `zone`, default Asia/Shanghai) and `expect.csv`: every row of the mart
afterwards, in the columns that the case is about. An empty cell is null. A mart without a case is red.
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

from assets import cleaning, marts, tables, warehouse
from assets.publication import TYPES
from assets.workbench import Workbench
from ingest_daemon.contract.site import Site
from ingest_daemon.stores.parquet import ParquetStore
from pipelines.run import run_touched
from tests.figures import TERMINAL, empty_warehouse, readings, terminals

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
            if file.name != "expect.csv":
                insert(connection, file.stem, file)
        tables.prepare(connection, marts.Partitions(tuple(params["days"]), zone), every_bill=False)
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


def test_every_mart_is_made_after_those_it_is_made_from() -> None:
    order = [mart.name for mart in marts.all_marts()]
    for mart in marts.all_marts():
        assert [name for name in mart.deps if name in order and order.index(name) > order.index(mart.name)] == []


def test_columns_of_every_mart_are_those_of_the_contract_and_can_be_served(tmp_path: Path) -> None:
    contract = (Path(__file__).parents[2] / "docs" / "data-flow.md").read_text(encoding="utf-8")
    listed = {}
    for line in contract.split("## Marts")[1].split("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 2 and cells[0].startswith("`"):
            # Remarks in brackets, as in "grain (`day`, `month`)", are no columns.
            plain = "".join(part.split(")", 1)[-1] for part in cells[1].split("("))
            listed[cells[0].strip("`")] = [name.strip() for name in plain.split(",")]
    assert list(cleaning.INTERVAL) == listed["interval_reading"]
    with empty_warehouse(tmp_path / "marts.duckdb", [date(2025, 6, 2)], ZoneInfo("Asia/Shanghai")) as connection:
        for mart in marts.all_marts():
            described = connection.execute(f"describe {mart.name}").fetchall()
            assert [name for name, *_ in described] == listed[mart.name], mart.name
            assert {kind for _, kind, *_ in described} <= set(TYPES), mart.name
            assert set(mart.grain) <= {name for name, *_ in described}, mart.name


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


def test_a_file_without_a_header_is_named(tmp_path: Path) -> None:
    (tmp_path / "bare.sql").write_text("select 1")
    with pytest.raises(ValueError, match=r"bare\.sql.*YAML header"):
        marts.read_header(tmp_path / "bare.sql")


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
                date(2024, 2, 28),
                date(2024, 2, 29),
                date(2024, 12, 31),
            ],
            [date(2023, 2, 1), date(2023, 3, 1), date(2023, 12, 1), date(2024, 1, 1), date(2024, 2, 1), date(2024, 12, 1)],
        )
    ],
)
def test_what_a_day_leads_to(
    days: tuple[date, ...], months: list[date], compared_days: list[date], compared_months: list[date]
) -> None:
    partitions = marts.Partitions(days, ZoneInfo("Asia/Shanghai"))
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
        (row,) = rows(connection, "latest_status", "*")
    return row


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
