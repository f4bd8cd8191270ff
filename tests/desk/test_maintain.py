"""The registry's files in the desk: what is sent is held against what is there, applied whole or not at all, and undone."""

import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import requests

from desk.spreadsheets import download_xlsx
from ingest_daemon.contract.registry_files import FILES, RELATION_KINDS, load
from ingest_daemon.contract.site import Site
from tests.daemon_helpers import environment_number
from tests.desk.desk_helpers import ADMIN, OPERATOR, Browser, Served, StandInGrafana, desk_on
from tests.desk.test_words import CHINESE, words_of

SECRET = "5172"
TERMINALS = f"""\
terminal,meter,customer_no,protocol,dn_mm,technology,q1_m3h,q2_m3h,q3_m3h,q4_m3h,digits,resolution_m3,step_min,reads,\
pressure_low_mpa,pressure_high_mpa,installed_on,removed_on,password,remark
0010000001,M1,C1,sl651,100,ultrasonic,0.4,0.64,160,200,7,0.1,15,register,0.14,0.5,2020-01-31,,{SECRET},by the gate
0010000002,M2,C2,sl651,,,,,,200,7,0.1,5,flow,,,,,,
"""
CUSTOMERS = "customer_no,name,industry,region,address\nC1,第一纺织厂,textile,E,一路1号\nC2,第二化工厂,chemical,W,\n"
RELATIONS = "meter,kind,code,valid_from,valid_to\nM1,network,N1,2020-01-01,\nM2,network,N1,,\n"
SIGNS = {"Grafana", "MPa", "csv", "CSV", "XLSX", "UTF", "GBK", "netz", *RELATION_KINDS}
START = {"terminals": TERMINALS, "customers": CUSTOMERS, "relations": RELATIONS}


@pytest.fixture(scope="module")
def maintained(tmp_path_factory: pytest.TempPathFactory, desk_dsn: str, stand_in: StandInGrafana) -> Iterator[Served]:
    """A desk in English: what it says is looked for in these tests."""
    with desk_on(Site(tmp_path_factory.mktemp("maintained")), dsn=desk_dsn, grafana=stand_in, language="en") as served:
        yield served


@pytest.fixture
def served(maintained: Served) -> Served:
    """The same with the files of the beginning, and no history."""
    for path in maintained.site.registry.glob("*.csv"):
        path.unlink()
    for file, text in START.items():
        (maintained.site.registry / f"{file}.csv").write_text(text, encoding="utf-8")
    maintained.execute("truncate ops.registry_change, ops.registry_draft")
    return maintained


@pytest.fixture
def admin(served: Served) -> Browser:
    return served.browser(ADMIN)


def path(served: Served, file: str) -> Path:
    return served.site.registry / f"{file}.csv"


def words(answer: requests.Response) -> str:
    """What a reader of the page sees."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.text)))


def send(browser: Browser, file: str, content: bytes | str, name: str = "") -> requests.Response:
    """Upload; gives the preview."""
    browser.get(f"/maintain/{file}")
    data = content if isinstance(content, bytes) else content.encode()
    return browser.post(f"/maintain/{file}/upload", {}, files={"upload": (name or f"{file}.csv", data)})


def apply(browser: Browser, preview: requests.Response, **fields: str) -> requests.Response:
    found = re.search(r'action="([^"]+/apply)"', preview.text)
    assert found, words(preview)
    return browser.post(found[1], fields)


def workbook(rows: list[list[Any]], *, merged: str = "") -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    if merged:
        sheet.merge_cells(merged)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def cells(text: str) -> list[list[Any]]:
    return [line.split(",") for line in text.splitlines()]


def test_right_rows_are_shown_first_and_applied_as_a_whole(served: Served, admin: Browser) -> None:
    before = path(served, "customers").read_bytes()
    path(served, "customers").chmod(0o664)
    preview = send(admin, "customers", CUSTOMERS.replace("一路1号", "二路2号").replace("C2,第二化工厂", "C3,第三食品厂"))
    seen = words(preview)
    assert preview.status_code == 200
    assert "changed 1 gone 1 added 1" in seen
    assert "address 一路1号 → 二路2号" in seen
    assert path(served, "customers").read_bytes() == before
    assert apply(admin, preview).status_code == 422, "half of the rows would go"
    assert apply(admin, preview, meant="yes").status_code == 200
    assert load(served.site.registry).customers.rows() == [
        ("C1", "第一纺织厂", "textile", "E", "二路2号"),
        ("C3", "第三食品厂", "chemical", "W", None),
    ]
    assert path(served, "customers").stat().st_mode & 0o777 == 0o664, "colleagues who edit it on a share still can"
    (change, outside) = served.rows("select * from ops.registry_change order by change_id desc")
    assert change[3:5] == (ADMIN, "upload")
    assert outside[3:5] == (None, "outside")


def test_a_wrong_id_is_refused_with_its_row_and_nothing_is_applied(served: Served, admin: Browser) -> None:
    before = path(served, "relations").read_bytes()
    preview = send(admin, "relations", RELATIONS + "M1,line,L1,,\nM77,line,L1,,\nM1,netz,L2,,\n")
    seen = words(preview)
    assert "relations.csv 5 meter 'M77' is not in terminals.csv" in seen
    assert "relations.csv 6 kind 'netz', allowed: network" in seen
    assert "/apply" not in preview.text
    draft = preview.url.removeprefix(served.url)
    refused = admin.post(f"{draft}/apply", {"meant": "yes"})
    assert refused.status_code == 422
    assert "nothing was changed" in words(refused)
    assert path(served, "relations").read_bytes() == before
    assert served.rows("select * from ops.registry_change") == []


def test_what_only_the_daemon_finds_wrong_is_refused_too(admin: Browser) -> None:
    seen = words(send(admin, "terminals", TERMINALS.replace("sl651", "sl999").replace("0010000002", "10000002")))
    assert "terminals.csv 2 protocol 'sl999' is unknown; allowed: " in seen
    assert "terminals.csv 3 protocol 'sl999'" in seen
    seen = words(send(admin, "terminals", TERMINALS.replace("0010000002", "10000002")))
    assert "terminals.csv 3 terminal '10000002', expected 10 digits" in seen
    assert "dropped zeros" in seen


def test_of_two_who_apply_at_once_the_second_is_told_who_was_faster(served: Served, admin: Browser) -> None:
    served.grafana.roles["adam"] = "Admin"
    adam = served.browser("adam")
    mine, his = send(admin, "customers", CUSTOMERS + "C3,三,,,\n"), send(adam, "customers", CUSTOMERS + "C4,四,,,\n")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(apply, (admin, adam), (mine, his)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    told = words(next(answer for answer in answers if answer.status_code == 409))
    first, number = (ADMIN, "C3") if answers[0].status_code == 200 else ("adam", "C4")
    assert re.search(rf"Not applied: the file was changed by {first} at \d{{4}}-", told)
    assert load(served.site.registry).customers["customer_no"].to_list() == ["C1", "C2", number]


def test_where_the_history_cannot_be_kept_the_file_stays_as_it_was(served: Served, admin: Browser) -> None:
    before = path(served, "customers").read_bytes()
    preview = send(admin, "customers", CUSTOMERS + "C3,三,,,\n")
    served.execute("create function ops.fail() returns trigger language plpgsql as $$ begin raise exception 'full'; end $$")
    served.execute(
        "create constraint trigger fail after insert on ops.registry_change deferrable initially deferred "
        "for each row execute function ops.fail()"
    )
    try:
        assert apply(admin, preview).status_code == 500
    finally:
        served.execute("drop function ops.fail cascade")
    assert path(served, "customers").read_bytes() == before
    assert served.rows("select * from ops.registry_change") == []
    assert apply(admin, preview).status_code == 200, "the draft is still there"


def test_a_file_that_was_changed_beside_the_desk_is_not_overwritten(served: Served, admin: Browser) -> None:
    preview = send(admin, "customers", CUSTOMERS + "C3,三,,,\n")
    path(served, "customers").write_text(CUSTOMERS + "C9,九,,,\n", encoding="utf-8")
    told = apply(admin, preview)
    assert told.status_code == 409
    assert "changed by somebody beside the desk at" in words(told)
    assert "C9" in path(served, "customers").read_text(encoding="utf-8")


def test_who_edits_an_old_download_is_told_whose_change_it_would_take_back(served: Served, admin: Browser) -> None:
    old = admin.get("/maintain/customers/download.csv")
    name = re.search(r'filename="([^"]+)"', old.headers["content-disposition"])
    assert name
    apply(admin, send(admin, "customers", CUSTOMERS + "C3,三,,,\n"))
    preview = send(admin, "customers", old.content.replace("纺织厂".encode(), "毛纺厂".encode()), name[1])
    assert f"made from an older version: {ADMIN} changed the file" in words(preview)
    assert apply(admin, preview).status_code == 422
    assert load(served.site.registry).customers.height == 3
    assert apply(admin, preview, meant="yes").status_code == 200
    assert load(served.site.registry).customers["name"].to_list() == ["第一毛纺厂", "第二化工厂"]


def test_a_change_is_taken_back_until_the_file_changes_again(served: Served, admin: Browser) -> None:
    apply(admin, send(admin, "customers", CUSTOMERS.replace("第一", "新一")))
    (change,) = served.rows("select max(change_id) from ops.registry_change")
    page = admin.get("/maintain/customers")
    assert f'name="change_id" value="{change[0]}"' in page.text
    preview = admin.post("/maintain/customers/undo", {"change_id": str(change[0])})
    assert "name 新一纺织厂 → 第一纺织厂" in words(preview)
    assert apply(admin, preview).status_code == 200
    assert load(served.site.registry).customers["name"].to_list() == ["第一纺织厂", "第二化工厂"]
    ((kind, undoes, by),) = served.rows("select kind, undoes, changed_by from ops.registry_change order by 1 desc limit 1")
    assert (kind, undoes, by) == ("upload", None, ADMIN)
    assert served.rows("select undoes from ops.registry_change where kind = 'undo'") == [change]
    refused = admin.post("/maintain/customers/undo", {"change_id": str(change[0])})
    assert refused.status_code == 409
    assert f"changed by {ADMIN}" in words(refused)
    assert "→" in words(admin.get(f"/maintain/customers/change/{change[0]}"))


def test_a_file_that_was_not_there_goes_again_when_its_first_rows_are_taken_back(served: Served, admin: Browser) -> None:
    apply(admin, send(admin, "vocabulary", "kind,code,zh,en\nnetwork,N1,城东,East\n"))
    assert path(served, "vocabulary").exists()
    (change,) = served.rows("select max(change_id) from ops.registry_change")
    preview = admin.post("/maintain/vocabulary/undo", {"change_id": str(change[0])})
    assert "gone 1" in words(preview)
    apply(admin, preview, meant="yes")
    assert not path(served, "vocabulary").exists()


FORMS = {
    "UTF-8": CUSTOMERS.encode() + "C3,第三食品厂,,,\n".encode(),
    "GBK with semicolons": (CUSTOMERS + "C3,第三食品厂,,,\n").replace(",", ";").encode("gbk"),
    "UTF-16 with tabs": (CUSTOMERS + "C3,第三食品厂,,,\n").replace(",", "\t").encode("utf-16"),
    "XLSX with empty rows": workbook([*cells(CUSTOMERS), [], [None] * 5, ["C3", "第三食品厂"], [], []]),
    "XLSX with numbers and columns behind": workbook(
        [[*cells(CUSTOMERS)[0], None, None], *cells(CUSTOMERS)[1:], ["C3", "第三食品厂"]]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_which_a_spreadsheet_saves_a_table_is_read(served: Served, admin: Browser, form: str) -> None:
    preview = send(admin, "customers", FORMS[form], "客户.xlsx" if "XLSX" in form else "客户.csv")
    assert "changed 0 gone 0 added 1" in words(preview), words(preview)
    apply(admin, preview)
    assert load(served.site.registry).customers["name"].to_list() == ["第一纺织厂", "第二化工厂", "第三食品厂"]


def test_a_cell_merged_downwards_holds_for_each_row(served: Served, admin: Browser) -> None:
    rows = [*cells(RELATIONS)[:1], ["M1", "line", "L1", None, None], ["M2", None, "L2"], *cells(RELATIONS)[1:]]
    apply(admin, send(admin, "relations", workbook(rows, merged="B2:B3")))
    assert [row[:3] for row in load(served.site.registry).relations.rows()][:2] == [("M1", "line", "L1"), ("M2", "line", "L2")]


HEAD = cells(CUSTOMERS)[0]
WRONG = {
    "a formula in XLSX": (workbook([HEAD, ["C1", "=A2&A3"]]), "customers.csv 2 name '=A2&A3' is a formula, expected a value"),
    "a formula in CSV": (CUSTOMERS + "C3,=HYPERLINK(1),,,\n", "customers.csv 4 name '=HYPERLINK(1)' is a formula"),
    "an error": (workbook([HEAD, ["C1", "#N/A"]]), "customers.csv 2 name the cell has the error #N/A"),
    "merged columns": (workbook([HEAD, ["C1", "一", "", "", ""]], merged="B2:C2"), "B2:C2 are merged cells; unmerge them"),
    "a long number": (workbook([HEAD, [12345678901234567, "一"]]), "2 customer_no a number of more than 15 digits"),
    "a missing column": (CUSTOMERS.replace(",address", ",addr"), "columns missing that the file has: address"),
    "a column twice": (CUSTOMERS.replace("address", "name"), "column name is there twice"),
    "no table": (b"%PDF-1.4 \xff\xfe\x00", "This cannot be read as a table"),
    "half a workbook": (workbook([HEAD])[:300], "not a workbook that can be read"),
    "an old workbook": (b"\xd0\xcf\x11\xe0rest", "save it as .xlsx or as CSV"),
    "nothing": (b"", "the file is empty"),
    "a quote": (CUSTOMERS + 'C3,"三,,,\n', "a quote is opened and not closed"),
    "a row twice": (CUSTOMERS + "C1,again,,,\n", "customers.csv 2, 4 customer_no 'C1', expected once"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_taken_is_refused_with_its_place(served: Served, admin: Browser, case: str) -> None:
    content, expected = WRONG[case]
    answer = send(admin, "customers", content)
    assert expected in words(answer)
    assert "/apply" not in answer.text
    assert path(served, "customers").read_text(encoding="utf-8") == CUSTOMERS


def test_passwords_are_never_shown_and_stay_where_they_are_not_changed(served: Served, admin: Browser) -> None:
    shown = [admin.get("/maintain/terminals"), csv := admin.get("/maintain/terminals/download.csv")]
    book = admin.get("/maintain/terminals/download.xlsx")
    assert "••••" in csv.text
    sent = openpyxl.load_workbook(io.BytesIO(book.content))
    sheet = sent.active
    assert sheet is not None and "••••" in [cell.value for cell in sheet[2]]
    columns = [cell.value for cell in sheet[1]]
    sheet.cell(2, columns.index("q4_m3h") + 1).value = "210"
    target = io.BytesIO()
    sent.save(target)
    shown.append(preview := send(admin, "terminals", target.getvalue()))
    assert "changed 1 gone 0 added 0" in words(preview)
    shown.append(apply(admin, preview))
    rows = load(served.site.registry).terminals
    assert rows.select("q4_m3h", "password").rows() == [(210.0, SECRET), (200.0, None)]
    assert "by the gate" in path(served, "terminals").read_text(encoding="utf-8"), "a column of one's own"
    shown.append(preview := send(admin, "terminals", csv.text.replace("••••", "9998")))
    assert "password •••• → ••••" in words(preview)
    shown.append(apply(admin, preview))
    shown += [
        admin.get(f"/maintain/terminals/change/{number}")
        for (number,) in served.rows("select change_id from ops.registry_change")
    ]
    assert [answer.url for answer in shown if SECRET in answer.text or "9998" in answer.text] == []
    assert SECRET not in served.log
    stranger = send(admin, "terminals", csv.text.replace("0010000001,M1", "0010000009,M1"))
    assert "password •••• stands for no known password" in words(stranger)


def test_many_terminals_go_only_when_somebody_says_that_it_is_meant(served: Served, admin: Browser) -> None:
    preview = send(admin, "terminals", "\n".join(TERMINALS.splitlines()[:2]) + "\n")
    assert "1 terminals would be gone: 0010000002" in words(preview)
    assert apply(admin, preview).status_code == 422
    assert apply(admin, preview, meant="yes").status_code == 200
    from ingest_daemon.terminals.registry import Registry

    assert list(Registry(served.site).terminals()) == ["0010000001"]


def test_a_download_holds_no_formula_and_comes_back_unchanged(served: Served, admin: Browser) -> None:
    path(served, "customers").write_text(CUSTOMERS + "C3,+8613800000000,,,-1\nC4,@home,,,-a\n", encoding="utf-8")
    sheet = admin.get("/maintain/customers/download.csv")
    assert sheet.content.startswith(b"\xef\xbb\xbf")
    assert ["C3", "+8613800000000", "", "", "-1"] in cells(sheet.text)
    assert ["C4", "'@home", "", "", "'-a"] in cells(sheet.text)
    for kind in ("csv", "xlsx"):
        back = admin.get(f"/maintain/customers/download.{kind}")
        assert "Nothing would change" in words(send(admin, "customers", back.content, f"customers.{kind}"))


def test_columns_without_a_name_keep_their_place(served: Served, admin: Browser) -> None:
    text = "customer_no,,name,,industry,region,address\nC1,x,一,y,textile,E,\n"
    path(served, "customers").write_text(text, encoding="utf-8")
    assert cells(admin.get("/maintain/customers/download.csv").content.decode("utf-8-sig")) == cells(text)


def test_only_an_administrator_maintains(served: Served) -> None:
    operator = served.browser(OPERATOR)
    assert operator.get("/maintain").status_code == 403
    answer = operator.post("/maintain/customers/upload", {}, files={"upload": ("customers.csv", CUSTOMERS.encode())})
    assert answer.status_code == 403
    assert "/maintain" not in operator.get("/alarms").text


def test_pages_of_every_file_are_there_and_others_are_not(served: Served, admin: Browser) -> None:
    seen = words(admin.get("/maintain"))
    assert [file for file in FILES if f"{file}.csv" not in seen] == []
    assert [file for file in FILES if admin.get(f"/maintain/{file}").status_code != 200] == []
    for wrong in ("/maintain/..%2Fsite", "/maintain/site", "/maintain/customers/download.exe", "/maintain/customers/draft/x"):
        assert admin.get(wrong).status_code == 404
    assert "name" in admin.get("/maintain/criteria/shipped.csv").text


def test_chinese_pages_are_chinese_and_english_ones_english(desk: Served, served: Served) -> None:
    for file, text in START.items():
        (desk.site.registry / f"{file}.csv").write_text(text, encoding="utf-8")
    anna, english = desk.browser(ADMIN), served.browser(ADMIN)
    names = {word for file, columns in FILES.items() for name in (file, *columns) for word in re.findall("[A-Za-z]{2,}", name)}
    names |= {value for columns in FILES.values() for column in columns.values() for value in column.allowed}
    wrong = RELATIONS.replace("M1,network", "M77,netz")
    for path in ("/maintain", "/maintain/terminals", "/frames", "/frames?meter=M0", "relations"):
        pages = [send(one, path, wrong) if path in FILES else one.get(path) for one in (anna, english)]
        chinese, other = (words_of(page.text) for page in pages)
        assert CHINESE.findall(other) == [], path
        found = set(re.findall(r"[A-Za-z]{2,}", re.sub(r"'[^']*'|\d{4}-\d\d-\d\dT\S+|allowed:.*", " ", chinese)))
        assert CHINESE.search(chinese) and found - names - SIGNS == set(), path


def test_a_long_file_is_held_against_another_and_shown_in_pages(served: Served, admin: Browser, record_property: Any) -> None:
    """`MAINFLOW_TEST_ROWS=5000` is the file of a large utility."""
    count = environment_number("MAINFLOW_TEST_ROWS", 600)
    first = TERMINALS.splitlines()[1]
    many = [first.replace("0010000001,M1", f"{number:010},M{number}") for number in range(1, count + 1)]
    head = TERMINALS.splitlines()[0]
    path(served, "terminals").write_text("\n".join([head, *many]) + "\n", encoding="utf-8")
    changed = [line.replace(",200,7,", ",205,7,") if number % 2 else line for number, line in enumerate(many)]
    preview = send(admin, "terminals", download_xlsx("terminals", head.split(","), cells("\n".join(changed))))
    assert f"changed {count // 2} gone 0 added 0" in words(preview)
    assert f"1–200 of {count // 2}" in words(preview)
    last = admin.get(preview.url.removeprefix(served.url) + f"?from={count // 2 - 1}")
    assert f"{count:010}" in words(last)
    seconds = sum(answer.elapsed.total_seconds() for answer in (*preview.history, preview))
    record_property("summary", f"desk: XLSX of {count:,} terminals uploaded and shown in {seconds:.1f} s")
    assert apply(admin, preview).status_code == 200
    assert load(served.site.registry).terminals["q4_m3h"].sum() == count / 2 * 405
