"""A report prints and computes: right figures in real cells, blank where nothing is known, same figures same bytes."""

import csv
import hashlib
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import openpyxl  # type: ignore[import-untyped]
import pytest

from assets import reports, units
from assets.reports import Issued, export, record
from tests.figures import terminals, typed

FIRST, LAST = date(2026, 10, 1), date(2026, 10, 4)
ZONE = ZoneInfo("Asia/Shanghai")
UTILITY = "南城自来水 & Söhne"

METERS = [
    # meter, customer_no, customer_name, dn_mm, installed_on, removed_on, source; one read by hand has no row
    ("M1", "C2", "南城纺织印染厂", 150, None, None, "smart"),
    ("M2", "C1", "=SUM(A1:A9)", 80, None, None, "smart"),
    ("M3", None, None, None, date(2026, 10, 3), None, "smart"),
    ("M9", "C9", "gone before", 50, None, date(2026, 9, 30), "amr"),
    ("M8", "C1", "by hand", 50, None, None, "manual"),
]
DAYS = [
    # meter, day, volume_m3, coverage, complete
    ("M1", date(2026, 9, 30), 999.0, 1.0, True),
    ("M1", date(2026, 10, 1), 100.25, 1.0, True),
    ("M1", date(2026, 10, 2), 0.0, 1.0, True),
    ("M1", date(2026, 10, 3), 50.5, 0.5, False),
    ("M2", date(2026, 10, 1), 7.0, 1.0, True),
    ("M2", date(2026, 10, 4), None, 0.25, False),
]


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "create table meter (meter text, customer_no text, customer_name text, dn_mm int, installed_on date, "
            "removed_on date, source text)"
        )
        connection.executemany("insert into meter values (?, ?, ?, ?, ?, ?, ?)", METERS).fetchall()
        connection.execute("create table daily_usage (meter text, day date, volume_m3 double, coverage double, complete boolean)")
        connection.executemany("insert into daily_usage values (?, ?, ?, ?, ?)", DAYS).fetchall()
        connection.execute(
            "create table meter_history (meter text, customer_no text, customer_name text, dn_mm int, "
            "first_day date, last_day date, source text)"
        )
        connection.register("empty_days", units.EMPTY.unit_day)
        connection.execute("create table unit_day as select * from empty_days")
        connection.execute("create schema registry")
        for name in ("terminals", "replacements"):
            connection.register("incoming", typed(name, []))
            connection.execute(f"create table registry.{name} as select * from incoming")
        yield connection


def written(
    warehouse: duckdb.DuckDBPyConnection,
    folder: Path,
    first: date = FIRST,
    last: date = LAST,
    run_id: str = "run-7",
    language: str = "zh",
) -> list[Issued]:
    return export(
        "daily_volume",
        first,
        last,
        warehouse=warehouse,
        folder=folder,
        utility=UTILITY,
        language=language,
        run_id=run_id,
        zone=ZONE,
    )


def sheet_of(warehouse: duckdb.DuckDBPyConnection, folder: Path, language: str = "zh") -> Any:
    return openpyxl.load_workbook(written(warehouse, folder, language=language)[0].file).active


def test_the_workbook_has_a_row_a_meter_a_column_a_day_and_totals(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    cells = [[cell.value for cell in row] for row in sheet_of(warehouse, tmp_path).iter_rows(min_row=3)]
    days = [datetime(2026, 10, day) for day in (1, 2, 3, 4)]
    assert cells[0] == ["客户编号", "客户名称", "水表", "口径 mm", *days, "合计", "完整天数", "覆盖率"]
    assert cells[1:] == [
        ["C1", "=SUM(A1:A9)", "M2", 80, 7, None, None, None, 7, 1, (1 + 0.25) / 4],
        ["C2", "南城纺织印染厂", "M1", 150, 100.25, 0, 50.5, None, 150.75, 2, 2.5 / 4],
        [None, None, "M3", None, None, None, None, None, None, 0, 0],
        ["总计", None, None, None, 107.25, 0, 50.5, None, 157.75, 3, pytest.approx(3.75 / 10)],
    ]


def test_numbers_are_numbers_dates_are_dates_and_text_is_never_a_formula(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    sheet = sheet_of(warehouse, tmp_path)
    assert (sheet["E3"].data_type, sheet["E3"].number_format) == ("d", "mm-dd")
    assert (sheet["E5"].data_type, sheet["E5"].number_format) == ("n", "#,##0.0")
    assert (sheet["K5"].number_format, sheet["D5"].number_format) == ("0.0%", "0")
    assert sheet["B4"].data_type == "s"


def test_incomplete_days_are_marked_and_complete_ones_are_not(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    sheet = sheet_of(warehouse, tmp_path)
    grey = "FF7F7F7F"
    looks = {cell: (sheet[cell].font.i, sheet[cell].font.color.rgb == grey) for cell in ("E5", "F5", "G5")}
    assert looks == {"E5": (False, False), "F5": (False, False), "G5": (True, True)}
    assert "不完整" in sheet["A2"].value


def test_the_title_and_the_paper_name_utility_period_and_run(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    sheet = sheet_of(warehouse, tmp_path)
    assert UTILITY in sheet["A1"].value
    assert "日用水量报表" in sheet["A1"].value
    assert "2026-10-01 至 2026-10-04" in sheet["A2"].value
    assert "m³" in sheet["A2"].value
    assert (sheet.page_setup.orientation, int(sheet.page_setup.paperSize)) == ("landscape", 9)
    assert (sheet.sheet_properties.pageSetUpPr.fitToPage, int(sheet.page_setup.fitToHeight)) == (True, 0)
    assert (sheet.print_title_rows, sheet.freeze_panes) == ("$3:$3", "E4")
    with zipfile.ZipFile(written(warehouse, tmp_path)[0].file) as book:
        text = book.read("xl/worksheets/sheet1.xml").decode()
    assert "南城自来水 &amp;&amp; Söhne" in text
    assert "2026-10-01 – 2026-10-04" in text
    assert "run-7" in text


def test_a_workbook_is_in_the_language_of_the_site_and_in_no_other(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    def texts(language: str) -> str:
        record(warehouse, written(warehouse, tmp_path / language, language=language))
        warehouse.execute("update daily_usage set volume_m3 = volume_m3 + 1")
        file = written(warehouse, tmp_path / language, language=language)[0].file
        warehouse.execute("delete from report_ledger")
        sheets = openpyxl.load_workbook(file).worksheets
        cells = [cell.value for sheet in sheets for row in sheet.iter_rows() for cell in row if isinstance(cell.value, str)]
        pages = [str(part) for sheet in sheets for part in (sheet.oddHeader.center.text, sheet.oddFooter.left.text)]
        own = {UTILITY, *(str(value) for meter in METERS for value in meter)}
        text = "\n".join([*(cell for cell in cells if cell not in own), *pages, *(sheet.title for sheet in sheets)])
        return text.replace(UTILITY, "")

    chinese, english = texts("zh"), texts("en")
    assert {"日用水量报表", "更正", "合计", "总计", "口径 mm", "覆盖率", "现值"} <= set(chinese.split("\n"))
    assert {"Daily volume report", "Changes", "Total", "All meters", "Size mm", "Coverage", "Now"} <= set(english.split("\n"))
    assert not re.search(r"[\u4e00-\u9fff]", english)
    assert not re.search(r"\b(Total|Daily|Unit|Edition|Run|Coverage)\b", chinese)


def test_the_csv_opens_in_excel_and_has_a_row_a_meter_and_day(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    file = written(warehouse, tmp_path)[1].file
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.reader(text))
    assert rows[0] == ["meter", "customer_no", "customer_name", "day", "volume_m3", "coverage", "complete"]
    assert [row[0] for row in rows[1:]] == ["M2"] * 4 + ["M1"] * 4 + ["M3"] * 2
    assert rows[5] == ["M1", "C2", "南城纺织印染厂", "2026-10-01", "100.25", "1.0", "true"]
    assert rows[8] == ["M1", "C2", "南城纺织印染厂", "2026-10-04", "", "0.0", "false"]


def test_the_same_figures_give_the_same_bytes_and_the_checksum_is_the_files(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    first, second = written(warehouse, tmp_path / "a"), written(warehouse, tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.file.read_bytes() == other.file.read_bytes()
        assert one.sha256 == other.sha256 == hashlib.sha256(one.file.read_bytes()).hexdigest()
    with zipfile.ZipFile(first[0].file) as book:
        assert {info.date_time for info in book.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"2026-10-04T00:00:00Z" in book.read("docProps/core.xml")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "daily_volume_2026-10-01_2026-10-04.csv",
        "daily_volume_2026-10-01_2026-10-04.xlsx",
    ]


def issued(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def ledger(warehouse: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    query = "select file, edition, sha256, run_id from report_ledger order by edition, file"
    return [(Path(file).name, *rest) for file, *rest in warehouse.execute(query).fetchall()]


STEM = "daily_volume_2026-10-01_2026-10-04"


def test_a_report_of_the_same_figures_is_not_issued_again(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    record(warehouse, written(warehouse, tmp_path))
    before, noted, written_at = (
        issued(tmp_path),
        ledger(warehouse),
        [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())],
    )
    record(warehouse, written(warehouse, tmp_path, run_id="run-8"))
    assert (issued(tmp_path), ledger(warehouse)) == (before, noted)
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())] == written_at  # not written again
    (tmp_path / f"{STEM}.xlsx").unlink()
    record(warehouse, written(warehouse, tmp_path, run_id="run-9"))
    assert (issued(tmp_path), ledger(warehouse)) == (before, noted)


def test_a_restated_report_stands_beside_the_issued_one_and_lists_what_changed(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    record(warehouse, written(warehouse, tmp_path))
    before = issued(tmp_path)
    warehouse.execute("update daily_usage set volume_m3 = 60.5, complete = true where meter = 'M1' and day = '2026-10-03'")
    for run in ("run-8", "run-9"):
        record(warehouse, written(warehouse, tmp_path, run_id=run))
    after = issued(tmp_path)
    assert sorted(after) == [f"{STEM}.csv", f"{STEM}.xlsx", f"{STEM}_edition-2.csv", f"{STEM}_edition-2.xlsx"]
    assert {name: after[name] for name in before} == before
    assert ledger(warehouse) == [
        (name, int("edition-2" in name) + 1, hashlib.sha256(data).hexdigest(), "run-8" if "edition-2" in name else "run-7")
        for name, data in after.items()
    ]
    lines = list(csv.DictReader((tmp_path / f"{STEM}_edition-2.csv").open(encoding="utf-8-sig", newline="")))
    assert {(line["edition"], line["restates_edition"]) for line in lines} == {("2", "1")}
    book = openpyxl.load_workbook(tmp_path / f"{STEM}_edition-2.xlsx")
    assert "第 2 版，更正第 1 版" in book.worksheets[0]["A2"].value
    changes = [[cell.value for cell in row] for row in book.worksheets[1].iter_rows(min_row=4)]
    assert changes == [
        ["M1", "2026-10-03", "complete", "false", "true"],
        ["M1", "2026-10-03", "volume_m3", "50.5", "60.5"],
    ]
    assert len(openpyxl.load_workbook(tmp_path / f"{STEM}.xlsx").worksheets) == 1

    warehouse.execute("update daily_usage set volume_m3 = 50.5, complete = false where meter = 'M1' and day = '2026-10-03'")
    third = written(warehouse, tmp_path)
    assert {report.edition for report in third} == {3}


def test_a_file_that_the_ledger_does_not_know_is_not_overwritten(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    written(warehouse, tmp_path)  # cut off before it was noted
    before = issued(tmp_path)
    assert {report.edition for report in written(warehouse, tmp_path)} == {1}
    warehouse.execute("delete from daily_usage")
    assert {report.edition for report in written(warehouse, tmp_path)} == {2}
    assert {name: data for name, data in issued(tmp_path).items() if name in before} == before


def test_the_ledger_of_an_earlier_version_is_carried_on(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    record(warehouse, written(warehouse, tmp_path))
    for column in ("edition", "figures_sha256"):
        warehouse.execute(f"alter table report_ledger drop column {column}")
    record(warehouse, written(warehouse, tmp_path, run_id="run-8"))
    assert [row[:2] for row in ledger(warehouse)] == [(f"{STEM}.csv", 1), (f"{STEM}.xlsx", 1)]
    warehouse.execute("delete from daily_usage")
    record(warehouse, written(warehouse, tmp_path, run_id="run-8"))
    assert [row[1] for row in ledger(warehouse)] == [1, 1, 2, 2]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\t=1", "\r=1", "\n=1", "＝1", '=HYPERLINK("http://x/"&A1,"open")'])
def test_no_text_of_the_csv_is_a_formula_and_numbers_stay_numbers(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, name: str
) -> None:
    warehouse.execute("update meter set customer_name = ?, customer_no = ? where meter = 'M1'", [name, name])
    warehouse.execute("update daily_usage set volume_m3 = -3.5 where meter = 'M1'")
    with written(warehouse, tmp_path)[1].file.open(encoding="utf-8-sig", newline="") as text:
        rows = [row for row in csv.DictReader(text) if row["meter"] == "M1"]
    assert {(row["customer_no"], row["customer_name"]) for row in rows} == {("'" + name, "'" + name)}
    assert [row["volume_m3"] for row in rows] == ["-3.5", "-3.5", "-3.5", ""]


def test_the_total_of_a_meter_is_the_difference_of_its_register(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """M1's curve is known at both ends, M2's at the first only."""
    insert = "insert into unit_day by name select ? as meter, ?::date as day, ?::timestamptz as first_at, ?::bigint as first_ul, "
    insert += "?::timestamptz as last_at, ?::bigint as last_ul, ?::bigint as between_nl, 0 as replaced_count"
    litre = 10**6
    for meter, day, last, first_l, last_l in (
        ("M1", 1, "2026-10-02 00:00+08", 0, 100_250),
        ("M1", 4, "2026-10-05 00:00+08", 400_000, 450_000),
        ("M2", 1, "2026-10-02 00:00+08", 0, 7_000),
    ):
        first_ul, last_ul = first_l * litre, last_l * litre
        row = [meter, f"2026-10-0{day}", f"2026-10-0{day} 00:00+08", first_ul, last, last_ul, (last_ul - first_ul) * 1000]
        warehouse.execute(insert, row)
    warehouse.register("incoming", terminals({"meter": "M1"}, {"meter": "M2"}))
    warehouse.execute("insert into registry.terminals by name select * from incoming")
    cells = [[cell.value for cell in row] for row in sheet_of(warehouse, tmp_path).iter_rows(min_row=4)]
    assert [(row[2], row[8]) for row in cells] == [("M2", 7), ("M1", 450), ("M3", None), (None, 457)]


def test_a_period_without_any_data_is_blank_and_not_an_error(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    book = openpyxl.load_workbook(written(warehouse, tmp_path, date(2020, 2, 1), date(2020, 2, 29))[0].file)
    last = [cell.value for cell in list(book.active.iter_rows())[-1]]
    assert last[4:] == [None] * 30 + [0, 0]
    warehouse.execute("delete from meter").fetchall()
    empty, _ = written(warehouse, tmp_path)
    assert empty.rows == 0
    assert openpyxl.load_workbook(empty.file).active.max_row == 4


def test_the_ledger_has_a_row_a_file(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    for _ in range(2):
        record(warehouse, written(warehouse, tmp_path))
    noted = warehouse.execute(
        "select report, period, file, rows, run_id, exported_at is not null from report_ledger order by file"
    ).fetchall()
    name = "daily_volume_2026-10-01_2026-10-04"
    assert noted == [
        ("daily_volume", "2026-10-01…2026-10-04", str(tmp_path / f"{name}.csv"), 10, "run-7", True),
        ("daily_volume", "2026-10-01…2026-10-04", str(tmp_path / f"{name}.xlsx"), 3, "run-7", True),
    ]


@pytest.mark.parametrize(
    ("name", "first", "last", "words"),
    [
        ("mothly", FIRST, LAST, "no report 'mothly'; there are: .*daily_volume"),
        ("daily_volume", LAST, FIRST, "2026-10-04 is after .*2026-10-01"),
    ],
)
def test_a_wrong_request_is_explained(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, name: str, first: date, last: date, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        export(name, first, last, warehouse=warehouse, folder=tmp_path, utility="", language="zh", run_id="", zone=ZONE)


def test_every_report_is_found_by_its_file() -> None:
    assert "daily_volume" in reports.names()


def test_an_office_program_opens_the_workbook_and_prints_it_as_wide_as_the_page(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("no soffice on PATH (Debian: apt-get install libreoffice-calc-nogui)")
    file = written(warehouse, tmp_path, date(2026, 10, 1), date(2026, 10, 31))[0].file
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    subprocess.run(
        [office, profile, "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path), str(file)], check=True, timeout=120
    )
    pdf = file.with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type/Page\n") + pdf.count(b"/Type/Page/") == 1
