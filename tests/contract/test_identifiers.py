"""What a name in the registry may be: daemon and figures take the same ones, and no other leads anywhere it should not."""

import csv
import io
import logging
from pathlib import Path

import pytest

from ingest_daemon.contract.identifiers import is_identifier
from ingest_daemon.contract.log import LOG
from ingest_daemon.contract.registry_files import read
from ingest_daemon.contract.site import Site
from ingest_daemon.terminals.profiles import path_of
from ingest_daemon.terminals.registry import Registry
from tests.figures import TERMINAL

TAKEN = ["M1", "M-001", "示例-1", "一号大户（东区）", "DN100/2", "A.b_c:3", "Büro 7", "٣", "x" * 64]
REFUSED = {
    "a way out of the folder": "../../x",
    "a way out further in": "a/../../x",
    "an absolute path": "/etc/passwd",
    "a quote of SQL": "a'b",
    "a double quote": 'a"b',
    "a formula": "=cmd()",
    "a formula of another kind": "+1",
    "a command of DDE": "-2+3|cmd",
    "a formula of Lotus": "@SUM(A1)",
    "a tag": "<script>alert(1)</script>",
    "a line end": "a\nb",
    "a carriage return": "a\rb",
    "a control sequence": "a\x1b[31mb",
    "a percent escape": "%00",
    "a backslash": "a\\b",
    "a word of a shell": "$(id)",
    "a placeholder": "${meter}",
    "a field of line protocol": "a,b=1 2",
    "text that runs backwards": "a\u202eb",
    "a blank that cannot be seen": "a\u200bb",
    "a blank at the end that is none of ours": "a\u00ad",
    "too long": "x" * 65,
}


def written(site: Site, *meters: str) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, [*TERMINAL, "q1_m3h", "q2_m3h", "q3_m3h", *MORE])
    table.writeheader()
    for number, meter in enumerate(meters, 1):
        table.writerow({**TERMINAL, "terminal": f"{number:010}", "meter": meter})
    (site.registry / "terminals.csv").write_text(text.getvalue(), encoding="utf-8", newline="")


MORE = ("pressure_low_mpa", "pressure_high_mpa", "installed_on", "removed_on")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.registry.mkdir()
    site.state.mkdir()
    return site


def test_names_as_utilities_give_them_are_taken_by_daemon_and_figures(site: Site) -> None:
    written(site, *TAKEN)
    assert read(site.registry).problems == []
    registry = Registry(site)
    assert registry.current.problems == ()
    assert [terminal.meter for terminal in registry.terminals().values()] == read(site.registry).rows.terminals["meter"].to_list()


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_a_name_that_could_be_something_else_is_refused_alone_by_both_and_shown_harmlessly(site: Site, name: str) -> None:
    assert not is_identifier(name)
    written(site, "M1", name, "M3")
    content, registry = read(site.registry), Registry(site)
    assert content.rows.terminals["meter"].to_list() == ["M1", "M3"]
    assert [terminal.meter for terminal in registry.terminals().values()] == ["M1", "M3"]
    (problem,), (own,) = content.problems, registry.current.problems
    for text in (str(problem), own.text(registry.path)):
        assert "row 3" in text and "meter" in text and "expected an identifier: 1 to 64 letters, digits" in text
        assert text.isprintable()


@pytest.mark.parametrize(
    ("file", "line", "column"),
    [
        ("customers", "=1,n,,,", "customer_no"),
        ("customers", "C1,n,<b>,,", "industry"),
        ("relations", "M1,network,../N,,", "code"),
        ("vocabulary", "network,a'b,z,e", "code"),
    ],
)
def test_codes_and_customers_have_the_same_alphabet(site: Site, file: str, line: str, column: str) -> None:
    written(site, "M1")
    heads = {"customers": "customer_no,name,industry,region,address", "relations": "meter,kind,code,valid_from,valid_to"}
    (site.registry / f"{file}.csv").write_text(f"{heads.get(file, 'kind,code,zh,en')}\n{line}\n")
    (problem,) = read(site.registry).problems
    assert f"{file}.csv row 2, {column}" in str(problem) and "expected an identifier" in str(problem)


@pytest.mark.parametrize("name", ["../terminals", "/etc/x", "a/b", "..", "."])
def test_a_profile_is_never_read_from_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "profiles" / "a").mkdir(parents=True)
    for path in ("terminals.toml", "profiles/a/b.toml"):
        (tmp_path / path).write_text("protocol = 'sl651'")
    with pytest.raises(ValueError, match="is unknown; there are"):
        path_of(name, tmp_path / "profiles")


def test_a_log_line_is_one_line_without_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mainflow"):
        LOG.warning("link %s: %s", "864\n2026-01-01 INFO all is well", "\x1b]0;title\x07 东方化工\u202e")
    assert caplog.messages == ["link 864\\n2026-01-01 INFO all is well: \\x1b]0;title\\x07 东方化工\\u202e"]
