"""The registry in force: a file that is being saved, or spoiled by a spreadsheet, never makes the fleet unknown."""

import logging
import os
import threading
import time
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest_daemon.contract.registry_belief import accept
from ingest_daemon.contract.site import Site
from ingest_daemon.terminals.directory import TerminalDirectory
from ingest_daemon.terminals.registry import Registry
from pipelines.cli.main import main
from tests.daemon_helpers import STRANGER, TERMINALS, Client, delivered, eventually, frame, make_site, minutes_ago, running

HEADER = "terminal,meter,protocol,profile,link,address,pressure_low_mpa,q4_m3h,step_min,installed_on,removed_on"
NUMBERS = [f"{number:010d}" for number in range(1, 11)]


def row(terminal: str, meter: str = "", protocol: str = "sl651", rest: str = ",,,0.14,20,15,,") -> str:
    """`rest`: the cells from `profile` on."""
    return f"{terminal},{meter or f'大户{terminal}'},{protocol},{rest}"


ROWS = [row(number) for number in NUMBERS]


def text(rows: list[str], header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of ten terminals."""
    site = Site(tmp_path / "site")
    site.registry.mkdir(parents=True)
    site.state.mkdir()
    write(site, text(ROWS))
    return site


def write(site: Site, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    (site.registry / "terminals.csv").write_bytes(data)


def looked(registry: Registry) -> Registry:
    """The registry after two looks at files that do not change."""
    registry.look()
    registry.look()
    return registry


def problems(registry: Registry) -> str:
    return "\n".join(problem.text(registry.path) for problem in registry.current.problems)


# --- a file that is being saved -------------------------------------------------------------------------------------------

WHOLE = text(ROWS).encode()
SPOILED = {
    "empty": b"",
    "only blanks": b"\n\n",
    "the line of columns alone": (HEADER + "\n").encode(),
    "half a line of columns": WHOLE[:30],
    "half": WHOLE[: len(WHOLE) // 2],
    "all but half the last line": WHOLE[:-20],
    "half, cut at the end of a line": text(ROWS[:5]).encode(),
    "a quote that is not closed": WHOLE.replace(b"\n0000000003,", b'\n"0000000003,'),
    "a workbook": b"PK\x03\x04" + bytes(range(256)) * 20,
    "zeros, as a crash leaves them": bytes(len(WHOLE)),
    "other columns": text(ROWS, HEADER.replace("terminal", "number")).encode(),
    "a column twice": text(ROWS, HEADER.replace("profile", "meter")).encode(),
}


@pytest.mark.parametrize("content", SPOILED.values(), ids=SPOILED.keys())
def test_a_file_that_is_not_whole_leaves_the_fleet_in_force_and_is_said(
    site: Site, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    health: dict[str, str] = {}
    registry = Registry(site, "sl651", health)
    assert health["registry"] == "ok"
    before = registry.terminals()
    write(site, content)
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            looked(registry)
    assert registry.terminals() is before
    assert "terminals.csv" in health["registry"]
    assert "10 terminals known before stay in force" in health["registry"]
    assert len([record for record in caplog.records if "registry" in record.message]) == 1, "once a minute, not once a look"
    write(site, WHOLE)
    assert list(looked(registry).terminals()) == NUMBERS
    assert health["registry"] == "ok"


def test_a_file_that_is_gone_for_a_while_leaves_the_fleet_in_force(site: Site) -> None:
    health: dict[str, str] = {}
    registry = Registry(site, "sl651", health)
    (site.registry / "terminals.csv").unlink()
    looked(registry)
    assert list(registry.terminals()) == NUMBERS
    assert "No such file" in health["registry"]


def test_a_state_counts_only_once_two_looks_found_it(site: Site) -> None:
    registry = Registry(site, "sl651")
    added = [*ROWS, row("0000000099"), row("0000000098")]
    write(site, text(added[:-1]))
    registry.look()
    write(site, text(added))
    registry.look()
    assert len(registry.terminals()) == 10, "it changed between the looks"
    registry.look()
    assert len(registry.terminals()) == 12


def test_no_reader_ever_sees_half_a_fleet_while_the_file_is_rewritten_slowly(site: Site) -> None:
    registry = Registry(site, "sl651")
    registry.start()
    seen, over = set(), threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(len(registry.terminals()))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3):
        with (site.registry / "terminals.csv").open("wb", buffering=0) as file:
            for start in range(0, len(WHOLE), len(WHOLE) // 4 + 1):
                file.write(WHOLE[start : start + len(WHOLE) // 4 + 1])
                time.sleep(0.3)
    write(site, text([*ROWS, row("0000000099")]))
    eventually(lambda: 11 in seen, "the reader has the new terminal")
    over.set()
    reader.join()
    registry.stop()
    assert seen == {10, 11}


def test_the_state_in_force_outlives_a_restart_on_a_file_that_is_half_written(site: Site) -> None:
    first = Registry(site, "sl651")
    first.start()
    write(site, text([*ROWS[:4], row("5", "大户0000000005"), *ROWS[5:]]))
    eventually(lambda: problems(first), "the row is refused")
    first.stop()
    write(site, WHOLE[: len(WHOLE) // 2])
    os.utime(site.registry / "terminals.csv", (1_700_000_000, 1_700_000_000))
    again = Registry(site, "sl651")
    assert sorted(again.terminals()) == NUMBERS
    assert "terminals.csv" in again.disbelief


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_form_in_which_a_spreadsheet_saves_the_file_gives_the_same_fleet(
    site: Site, encoding: str, separator: str, ending: str
) -> None:
    before = Registry(site).terminals()
    write(site, text(ROWS).replace(",", separator).replace("\n", ending).encode(encoding))
    assert Registry(site).terminals() == before
    assert before["0000000001"].meter == "大户0000000001"


def test_a_file_whose_last_line_has_no_end_is_taken_when_all_its_cells_are_there(site: Site) -> None:
    write(site, text(ROWS).rstrip("\n"))
    assert len(Registry(site).terminals()) == 10


# --- a file that loses terminals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "believed"), [(9, True), (8, True), (7, False), (1, False), (0, False)])
def test_a_file_that_loses_more_than_a_fifth_of_the_terminals_is_not_believed_until_it_is_accepted(
    site: Site, left: int, believed: bool
) -> None:
    registry = Registry(site, "sl651")
    write(site, text(ROWS[:left]))
    looked(registry)
    assert len(registry.terminals()) == (left if believed else 10)
    if not believed:
        assert f"{10 - left} of 10 terminals are gone" in registry.disbelief
        assert "mainflow registry accept" in registry.disbelief
        accept(site)
        looked(registry)
    assert (len(registry.terminals()), registry.disbelief) == (left, "")


def test_what_was_accepted_is_that_content_and_no_other(site: Site) -> None:
    registry = Registry(site, "sl651")
    write(site, text(ROWS[:5]))
    accept(site)
    write(site, text(ROWS[:4]))
    looked(registry)
    assert len(registry.terminals()) == 10
    assert "6 of 10" in registry.disbelief


def test_the_command_says_what_would_change_and_accepts_it(site: Site, tmp_path: Path) -> None:
    made = make_site(tmp_path / "other")
    path = made.registry / "terminals.csv"
    with running(made) as daemon:
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], *lines[3:], f"{STRANGER},new,,,"]) + "\n")
        code, words = eventually(lambda: (told := daemon.get("/healthz"))[1] != "ok\n" and told, "the daemon says so")
        assert code == 200, "the fleet works on"
        assert "2 of 8 terminals are gone" in words
        assert 'mainflow_healthy{part="registry"} 0' in daemon.get("/metrics")[1]
        checked = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["registry", "check", "--site", str(made.root)])
        assert checked.exit_code == 1
        for words in ("in force: 8", f"added: 1 ({STRANGER})", f"lost: 2 ({TERMINALS[0]}, {TERMINALS[1]})", "not taken over"):
            assert words in checked.output
        accepted = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["registry", "accept", "--site", str(made.root)])
        assert accepted.exit_code == 0
        eventually(lambda: daemon.get("/healthz") == (200, "ok\n"), "the daemon took it over")
        client = Client(daemon.data_port)
        client.send(frame(STRANGER, minutes_ago(1), 7.0))
        client.acknowledged(1)
        assert delivered(made)["forward_m3"].to_list() == [7.0]
    after = CliRunner().invoke(main, ["registry", "check", "--site", str(made.root)])
    assert after.exit_code == 0


# --- rows -----------------------------------------------------------------------------------------------------------------

WRONG = [
    pytest.param(row("10000001"), "terminal", ["'10000001'", "10 digits", "zeros in front"], id="zeros that Excel dropped"),
    pytest.param(row("1.00E+07"), "terminal", ["'1.00E+07'", "rounded"], id="a number that Excel rounded"),
    pytest.param(row("００００００００１１"), "terminal", ["full-width", "'0000000011'"], id="full-width digits"),
    pytest.param(row("0000000\u200b011"), "terminal", ["cannot be seen"], id="a blank of no width"),
    pytest.param(row("00000000ab"), "terminal", ["'00000000ab'", "A-F"], id="small letters, which no frame gives"),
    pytest.param(row("", "new"), "terminal", ["empty"], id="no number"),
    pytest.param(row("123456", protocol="szy206"), "terminal", ["10 digits", "SZY 206"], id="szy206"),
    pytest.param(row("0000000011", protocol="SL651"), "protocol", ["'SL651'", "allowed", "sl651"], id="no such protocol"),
    pytest.param(row("0000000011", rest="nothing,,,,,,,"), "profile", ["'nothing'", "there are"], id="no such profile"),
    pytest.param(row("new", protocol="cjt188", rest=",864123456789012,1.23457E+13,,,,,"), "address", ["rounded"], id="cjt188"),
    pytest.param(row("new", protocol="cjt188", rest=",864123456789012,123,,,,,"), "address", ["14 digits"], id="cjt188 short"),
    pytest.param(row("new", protocol="modbus_rtu", rest=",8.64123E+14,1,,,,,"), "link", ["rounded"], id="a DTU's number"),
    pytest.param(row("new", protocol="modbus_rtu", rest=",864,248,,,,,"), "address", ["1 to 247"], id="modbus_rtu"),
    pytest.param(row("new", protocol="modbus_tcp", rest=",a:502,256,,,,,"), "address", ["0 to 255"], id="modbus_tcp"),
    pytest.param(row("new", protocol="mbus", rest=",864,251,,,,,"), "address", ["1 to 250"], id="mbus"),
    pytest.param(row("0000000001", "M2"), "terminal", ["row 2 already"], id="a terminal twice"),
    pytest.param("0000000011,Wang, Li,sl651,,,,0.1,20,15,,2027-01-01", "all", ["12 cells, expected 11"], id="a comma in a name"),
]


@pytest.mark.parametrize(("line", "column", "expected"), WRONG)
def test_a_row_that_is_wrong_is_refused_alone_and_named(site: Site, line: str, column: str, expected: list[str]) -> None:
    health: dict[str, str] = {}
    registry = Registry(site, "sl651", health)
    write(site, text([*ROWS, line, row("0000000012")]))
    looked(registry)
    assert list(registry.terminals()) == [*NUMBERS, "0000000012"]
    assert registry.terminals()["0000000001"].meter == "大户0000000001"
    (problem,) = registry.current.problems
    assert (problem.row, problem.column) == (12, column)
    for words in ("terminals.csv row 12", *expected):
        assert words in problem.text(registry.path)
    assert problem.detail in health["registry"]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (row("3", "大户0000000003"), "0000000003"),
        (row("3.00E+00", "大户0000000003"), "0000000003"),
        (row("0000000003", protocol="sl"), "0000000003"),
        (row("0000000003", rest="gone,,,,,,,"), "0000000003"),
    ],
)
def test_a_terminal_whose_row_is_refused_stays_as_it_was(site: Site, line: str, number: str) -> None:
    registry = Registry(site, "sl651")
    before = registry.terminals()[number]
    write(site, text([*ROWS[:2], line, *ROWS[3:]]))
    looked(registry)
    assert registry.terminals()[number] == before
    assert sorted(registry.terminals()) == NUMBERS
    assert "row 4" in problems(registry)


def test_a_spreadsheet_that_drops_the_zeros_of_the_whole_fleet_makes_nobody_unknown(site: Site) -> None:
    registry = Registry(site, "sl651")
    write(site, text([row(str(int(number)), f"大户{number}") for number in NUMBERS]))
    looked(registry)
    assert sorted(registry.terminals()) == NUMBERS
    assert len(registry.current.problems) == 10


@pytest.mark.parametrize(
    ("cells", "column", "terminal"),
    [
        (",,,x,20,15,,", "pressure_low_mpa", (None, 20.0, 15)),
        (",,,0.14,nan,15,,", "q4_m3h", (0.14, None, 15)),
        (",,,0.14,20,0,,", "step_min", (0.14, 20.0, 15)),
        (",,,0.14,20,1.5,,", "step_min", (0.14, 20.0, 15)),
        (",,,0.14,20,5,2026/1/1,", "installed_on", (0.14, 20.0, 5)),
    ],
)
def test_a_limit_that_is_no_number_is_named_and_costs_only_itself(
    site: Site, cells: str, column: str, terminal: tuple[float | None, float | None, int]
) -> None:
    write(site, text([*ROWS, row("0000000011", rest=cells)]))
    registry = Registry(site, "sl651")
    new = registry.terminals()["0000000011"]
    assert (new.pressure_low_mpa, new.q4_m3h, new.step_min) == terminal
    assert f"row 12, {column}" in problems(registry)


def test_rows_are_read_with_their_blanks_taken_off_and_empty_ones_left_out(site: Site) -> None:
    write(site, text(["", " 0000000011 ,　M 11 , sl651,,,,0.1,20,15,2026-01-02,2026-02-03", ",,,,,,,,,,", "0000000012"]))
    registry = Registry(site, "sl651")
    first, second = registry.terminals().values()
    assert (first.meter, first.q4_m3h, first.installed_on, first.removed_on) == ("M 11", 20.0, date(2026, 1, 2), date(2026, 2, 3))
    assert (second.meter, second.limit("P_LO"), second.step_min) == ("0000000012", None, 15)
    assert registry.current.problems == ()


def test_of_two_meters_at_one_address_the_second_is_named_and_not_polled(site: Site) -> None:
    rows = [f"{name},{name},modbus_rtu,,864123456789012,1,,,,," for name in ("A", "B")]
    write(site, text(rows))
    registry = Registry(site, "sl651")
    assert "row 3, address: '1' on link 864123456789012 is A's; B is not polled" in problems(registry)
    assert TerminalDirectory(registry).links["864123456789012"].meters == {"1": "A"}


def test_a_column_of_ones_own_is_named_and_is_no_ailment(site: Site) -> None:
    health: dict[str, str] = {}
    write(site, text([line + ",note" for line in ROWS], HEADER + ",passwrd"))
    registry = Registry(site, "sl651", health)
    assert len(registry.terminals()) == 10
    assert "row 1, passwrd: unknown column" in problems(registry)
    assert health["registry"] == "ok"


def test_a_profile_that_is_being_saved_leaves_its_terminals_with_the_profile_they_had(site: Site) -> None:
    path = site.registry / "profiles" / "mine.toml"
    path.parent.mkdir()
    whole = "protocol = 'szy206'\n"
    path.write_text(whole)
    write(site, text([*ROWS, row("00000000AA", protocol="szy206", rest="mine,,,,,,,")]))
    registry = Registry(site, "sl651")
    profile = registry.current.profiles["szy206"]["00000000AA"]
    path.write_text("protocol = 'szy2")
    looked(registry)
    assert registry.current.profiles["szy206"]["00000000AA"] == profile
    assert "row 12, profile" in problems(registry)
    path.write_text(whole)
    assert problems(looked(registry)) == ""
