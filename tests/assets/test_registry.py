"""A wrong row of the registry is refused alone, and whoever edits it is told every wrong cell at once."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ingest_daemon.contract.registry_files import FILES, SHOWN, RegistryError, load, problems_text, read

TERMINALS = """\
terminal,meter,customer_no,protocol,dn_mm,technology,q1_m3h,q2_m3h,q3_m3h,q4_m3h,digits,resolution_m3,step_min,reads,\
pressure_low_mpa,pressure_high_mpa,installed_on,removed_on
0010000001,M1,C1,sl651,100,ultrasonic,0.4,0.64,160,200,7,0.1,15,register,0.14,0.5,2020-01-31,
0010000002,M2,,sl651,,,,,,200,7,0.1,5,flow,,,,
"""
FIRST, SECOND = TERMINALS.splitlines()[1:]
CELLS = dict(zip(TERMINALS.splitlines()[0].split(","), FIRST.split(","), strict=True))
OTHERS = {
    "replacements": "meter,replaced_at,old_final_m3,new_initial_m3\nM1,2025-06-02T11:30:00+08:00,8124.0,0.3\n",
    "customers": "customer_no,name,industry,region,address\nC1,一号用户,化工,东区,一路1号\n",
    "relations": "meter,kind,code,valid_from,valid_to\nM1,network,N1,2020-01-01,\n",
    "vocabulary": "kind,code,zh,en\nnetwork,N1,城东管网,East network\n",
}

POINTS = "meter,elevation_m,latitude,longitude,datum,node,inlet_of,runs_always"
HOLIDAY = "day,kind,zh,en,festival\n2026-10-01,holiday,国庆节,National Day,\n"
SEGMENTS = "kind,code,zh,en,from_h,to_h,scope_kind,scope_code,valid_from\n"
ACCESS = "login,name,email,role,team,region,home,language,theme\n"
CATALOGUE = "standard,technology,class,dn_mm,q1_m3h,q2_m3h,q3_m3h,q4_m3h,price_cny,assumed\n"


def folder(path: Path, **files: str) -> Path:
    for name, text in {"terminals": TERMINALS, **OTHERS, **files}.items():
        (path / f"{name}.csv").write_text(text, encoding="utf-8")
    return path


def terminal(**changes: str) -> str:
    """`TERMINALS` with these cells of the first row changed."""
    return TERMINALS.replace(FIRST, ",".join({**CELLS, **changes}.values()))


def told(path: Path) -> list[str]:
    head, *problems = problems_text(read(path).problems).splitlines()
    assert "not used until they are mended" in head
    return problems


def test_a_right_registry_comes_back_typed(tmp_path: Path) -> None:
    registry = load(folder(tmp_path))
    for name, frame in registry._asdict().items():
        assert dict(frame.schema) == {key: column.dtype for key, column in FILES[name].items()}
    assert registry.terminals.select("terminal", "meter", "dn_mm", "q1_m3h", "installed_on", "removed_on").rows() == [
        ("0010000001", "M1", 100, 0.4, date(2020, 1, 31), None),
        ("0010000002", "M2", None, None, None, None),
    ]
    assert registry.replacements["replaced_at"].to_list() == [datetime(2025, 6, 2, 3, 30, tzinfo=UTC)]
    assert registry.vocabulary["zh"].to_list() == ["城东管网"]


def test_only_the_terminals_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "terminals.csv").write_text(TERMINALS)
    registry = load(tmp_path)
    assert registry.terminals.height == 2
    assert [frame.height for frame in registry[1:]] == [0] * (len(FILES) - 1)
    (tmp_path / "terminals.csv").unlink()
    with pytest.raises(RegistryError, match="absent"):
        load(tmp_path)
    (problem,) = told(tmp_path)
    assert "terminals.csv" in problem
    assert "absent" in problem
    assert "resolution_m3" in problem


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("terminals", terminal(terminal=""), ["terminals.csv row 2, terminal", "empty", "a value"]),
        ("terminals", terminal(q4_m3h=""), ["terminals.csv row 2, q4_m3h", "empty"]),
        ("terminals", terminal(q4_m3h="viel"), ["row 2, q4_m3h", "'viel'", "a number"]),
        ("terminals", terminal(q4_m3h="nan"), ["row 2, q4_m3h", "'nan'", "a number"]),
        ("terminals", terminal(pressure_low_mpa="inf"), ["row 2, pressure_low_mpa", "'inf'", "a number"]),
        ("terminals", terminal(q4_m3h="0"), ["row 2, q4_m3h", "'0'", "a number above 0"]),
        ("terminals", terminal(resolution_m3="-0.1"), ["row 2, resolution_m3", "'-0.1'", "above 0"]),
        ("terminals", terminal(step_min="0"), ["row 2, step_min", "'0'", "a whole number above 0"]),
        ("terminals", terminal(dn_mm="DN100"), ["row 2, dn_mm", "'DN100'", "a whole number"]),
        ("terminals", terminal(digits="7.5"), ["row 2, digits", "'7.5'", "a whole number"]),
        ("terminals", terminal(reads="pulse"), ["row 2, reads", "'pulse'", "register, flow"]),
        ("terminals", terminal(installed_on="31.1.2020"), ["row 2, installed_on", "'31.1.2020'", "2026-01-31"]),
        ("terminals", terminal(installed_on="2020-02-30"), ["row 2, installed_on", "'2020-02-30'", "a date"]),
        ("terminals", TERMINALS + FIRST.replace("M1", "M3") + "\n", ["rows 2, 4, terminal", "'0010000001'", "expected once"]),
        ("terminals", TERMINALS + FIRST.replace("0010000001", "9") + "\n", ["rows 2, 4, meter", "'M1'", "expected once"]),
        ("terminals", TERMINALS.replace("q4_m3h", "q5_m3h"), ["terminals.csv", "columns missing", "q4_m3h"]),
        (
            "replacements",
            OTHERS["replacements"].replace("+08:00", ""),
            ["replacements.csv row 2, replaced_at", "2026-01-31T08:00:00+08:00"],
        ),
        ("replacements", OTHERS["replacements"].replace("8124.0", ""), ["replacements.csv row 2, old_final_m3", "empty"]),
        ("replacements", OTHERS["replacements"].replace("M1", "M9"), ["replacements.csv", "M9", "not in terminals.csv"]),
        (
            "relations",
            OTHERS["relations"].replace("network", "netz"),
            ["relations.csv row 2, kind", "'netz'", "network, line, industry"],
        ),
        ("relations", OTHERS["relations"].replace("M1", "M9"), ["relations.csv", "M9", "not in terminals.csv"]),
        ("customers", OTHERS["customers"] + "C1,again,,,\n", ["customers.csv", "rows 2, 3, customer_no", "'C1'"]),
        ("customers", OTHERS["customers"].replace("一号用户", " "), ["customers.csv row 2, name", "empty"]),
        ("vocabulary", OTHERS["vocabulary"].replace(",East network", ","), ["vocabulary.csv row 2, en", "empty"]),
        ("vocabulary", "kind,code,zh,en\na,b,c,d,e,f\n", ["vocabulary.csv"]),
        (
            "vocabulary",
            OTHERS["vocabulary"] + "network,N1,甲,Other\n",
            ["vocabulary.csv rows 2, ", "network, N1", "expected once"],
        ),
        ("relations", "meter,kind,code,valid_from,valid_to\nM1,line,L1,2025-06-05,2025-06-01\n", ["row 2, valid_from, valid_to"]),
        ("points", f"{POINTS}\nM1,3,,,,,,\nM1,4,,,,,,\n", ["points.csv rows 2, 3, meter", "'M1'", "expected once"]),
        ("criteria", "name,value,valid_from\nfit.months,6,\nfit.months,9,\n", ["criteria.csv rows 2, 3", "'fit.months'"]),
        ("holidays", f"{HOLIDAY}{HOLIDAY.splitlines()[1]}\n", ["holidays.csv rows 2, 3, day", "'2026-10-01'", "expected once"]),
        (
            "segments",
            f"{SEGMENTS}tariff,peak,峰,Peak,20,6,,,\n",
            ["segments.csv row 2, from_h, to_h", "20 and 6", "from_h below to_h"],
        ),
        ("segments", f"{SEGMENTS}tariff,peak,峰,Peak,20,25,,,\n", ["segments.csv row 2, to_h", "'25'", "24"]),
        (
            "segments",
            f"{SEGMENTS}tariff,peak,峰,Peak,8,12,,,\ntariff,flat,平,Flat,11,20,,,\n",
            ["segments.csv rows 2, 3, from_h, to_h", "11 and 20", "no other segment of tariff"],
        ),
        (
            "catalogue",
            f"{CATALOGUE}2018,ultrasonic,R250,50,0.2,0.1,25,31.25,,\n",
            ["catalogue.csv row 2, q1_m3h, q2_m3h", "0.2 and 0.1", "q1_m3h below q2_m3h"],
        ),
        ("access", f"{ACCESS}anna,Anna,,boss,,,,,\n", ["access.csv row 2, role", "'boss'", "viewer, operator, admin"]),
        ("access", f"{ACCESS}anna,Anna,,viewer,kitchen,,,,\n", ["access.csv row 2, team", "'kitchen'", "dispatch, metrology"]),
        (
            "access",
            f"{ACCESS}anna,Anna,,admin,,east,,,\n",
            ["access.csv row 2, role", "'admin'", "viewer or operator where region"],
        ),
        ("access", f"{ACCESS}Admin,A,,viewer,,,,,\n", ["access.csv row 2, login", "'Admin'", "other than admin"]),
        ("access", f"{ACCESS}anna,A,,viewer,,{'东' * 17},,,\n", ["access.csv row 2, region", "at most 48 bytes"]),
        ("access", f"{ACCESS}anna,A,,viewer,,,,,\nanna,B,,viewer,,,,,\n", ["access.csv rows 2, 3, login", "expected once"]),
    ],
)
def test_every_kind_of_wrong_cell_is_named_with_file_row_and_what_was_expected(
    tmp_path: Path, file: str, text: str, named: list[str]
) -> None:
    (problem,) = told(folder(tmp_path, **{file: text}))
    assert [part for part in named if part not in problem] == []
    (of_desk,) = read(tmp_path).problems
    assert re.search("[一-鿿]", of_desk.zh) and not re.search("expected|allowed|row", of_desk.zh)


def test_every_wrong_cell_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    problems = told(
        folder(tmp_path, terminals=terminal(q4_m3h="x", step_min="y"), relations=OTHERS["relations"].replace("2020-01-01", "z"))
    )
    assert [text for text in ("q4_m3h", "step_min", "valid_from") if not any(text in problem for problem in problems)] == []
    assert len(problems) == 3


def test_a_long_list_is_cut_and_says_how_much_is_left(tmp_path: Path) -> None:
    wrong = "".join(f"9{number:09},N{number},,sl651,,,,,,x,7,0.1,15,register,,,,\n" for number in range(SHOWN + 5))
    problems = told(folder(tmp_path, terminals=TERMINALS + wrong))
    assert len(problems) == SHOWN + 1
    assert problems[-1] == "… and 5 more"


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_is_read_in_every_encoding_in_which_a_spreadsheet_saves_it(tmp_path: Path, encoding: str) -> None:
    expected = load(folder(tmp_path)).customers
    (tmp_path / "customers.csv").write_bytes(OTHERS["customers"].encode(encoding))
    assert load(tmp_path).customers.equals(expected)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "customers.csv").write_bytes(OTHERS["customers"].replace("\n", ", à,\n").encode("latin-1", "replace"))
    (problem,) = told(tmp_path)
    assert "customers.csv" in problem


def spreadsheet(text: str) -> dict[str, str]:
    """The same table as spreadsheets write it."""
    lines = text.rstrip("\n").split("\n")
    empty = "," * lines[0].count(",")
    return {
        "a byte order mark": "\ufeff" + text,
        "Windows line ends": text.replace("\n", "\r\n"),
        "quoted cells": "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines),
        "spaces around cells and names": "\n".join(", ".join(f"{cell} " for cell in line.split(",")) for line in lines),
        "emptied rows at the end": text + f"{empty}\n" * 3,
        "an emptied row between": "\n".join([*lines[:2], empty, *lines[2:]]),
        "empty lines at the end": text + "\n\n",
        "empty columns at the end": "\n".join(line + ",," for line in lines),
        "columns of one's own": "\n".join(
            line + (",remark" if number == 0 else ",see file") for number, line in enumerate(lines)
        ),
        "no line end at the end": text.rstrip("\n"),
        "columns in another order": "\n".join(",".join(line.split(",")[::-1]) for line in lines),
    }


@pytest.mark.parametrize("quirk", spreadsheet(TERMINALS))
def test_what_spreadsheets_do_to_a_file_is_accepted(tmp_path: Path, quirk: str) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "quirk").mkdir()
    plain = load(folder(tmp_path / "plain"))
    spoilt = load(
        folder(
            tmp_path / "quirk", **{name: spreadsheet(text)[quirk] for name, text in {"terminals": TERMINALS, **OTHERS}.items()}
        )
    )
    for name in FILES:
        assert getattr(spoilt, name).equals(getattr(plain, name)), name


def test_rows_keep_the_number_that_the_spreadsheet_shows(tmp_path: Path) -> None:
    empty = "," * TERMINALS.splitlines()[0].count(",")
    lines = TERMINALS.splitlines()
    text = "\n".join([lines[0], empty, lines[1], empty, lines[2].replace("flow", "pulse")])
    (problem,) = told(folder(tmp_path, terminals=text))
    assert "row 5, reads" in problem


def test_a_nul_character_in_a_cell_is_left_out_and_named(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        customers="customer_no,name,industry,region,address\nC1,Mi\0ll Ltd\0\0,,,\nC2,Dye works,,,\n",
        terminals=terminal(meter="M1\0"),
    )
    content = read(path)
    assert content.rows.customers["name"].to_list() == ["Mill Ltd", "Dye works"]
    assert content.rows.terminals["meter"].to_list() == ["M1", "M2"]
    assert told(path) == [
        f"{path}/terminals.csv row 2, meter: NUL characters are left out",
        f"{path}/customers.csv row 2, name: NUL characters are left out",
    ]


def test_a_file_that_ends_in_nul_characters_is_not_whole(tmp_path: Path) -> None:
    path = folder(tmp_path, customers="customer_no,name,industry,region,address\nC1,Mill,,,\n\0\0\0\0")
    assert "customers" in read(path).unread


def test_identifiers_in_full_width_are_those_in_half_width_and_names_stay(tmp_path: Path) -> None:
    rows = read(
        folder(
            tmp_path,
            terminals=terminal(meter="Ｍ－１", customer_no="Ｃ１"),
            customers="customer_no,name,industry,region,address\nＣ１,南城（集团）,,,\n",
            replacements="",
            relations="",
        )
    ).rows
    assert rows.terminals.select("meter", "customer_no").row(0) == ("M-1", "C1")
    assert rows.customers.select("customer_no", "name").row(0) == ("C1", "南城（集团）")
