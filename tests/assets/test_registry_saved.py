"""The registry while it is being saved: nobody is ended by a file that is not whole, or not meant so."""

import logging
import os
import time
from pathlib import Path

import polars as pl
import pytest

from assets import registry_history
from assets.workbench import Workbench
from ingest_daemon.contract import registry_files as registry
from ingest_daemon.contract.registry_belief import accept
from ingest_daemon.contract.registry_schema import read_csv
from ingest_daemon.contract.schema import READING
from pipelines.runs.bench import workbench
from pipelines.runs.run import take_over_registry
from tests.site_helpers import make_site

METERS = [f"M{number}" for number in range(10)]


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A site of ten meters, whose registry was taken over, with a relation."""
    terminals = [{"terminal": f"{number:010}", "meter": meter} for number, meter in enumerate(METERS)]
    bench = workbench(make_site(tmp_path / "site", terminals, pl.DataFrame(schema=READING)))
    (bench.site.registry / "relations.csv").write_text("meter,kind,code,valid_from,valid_to\nM1,network,N1,,\n")
    take_over_registry(bench)
    return bench


def in_force(bench: Workbench) -> list[str]:
    spans = registry_history.current(bench.site.registry_history)["span"]
    return sorted(spans.filter(pl.col("valid_to").is_null())["meter"])


def relations(bench: Workbench) -> int:
    rows = registry_history.current(bench.site.registry_history)["relations"]
    return rows.filter(pl.col("valid_to").is_null()).height


def settled(path: Path) -> None:
    """As if it had been saved long ago."""
    for changed in (path, path.parent):
        os.utime(changed, (1_700_000_000, 1_700_000_000))


def test_figures_end_meters_only_as_far_as_the_daemon_believes_the_file_or_somebody_accepts_it(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    path = bench.site.registry / "terminals.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:6]) + "\n")
    settled(path)
    with caplog.at_level(logging.WARNING):
        take_over_registry(bench)
    assert in_force(bench) == METERS
    assert "5 of 10 terminals are gone" in caplog.text and "mainflow registry accept" in caplog.text
    accept(bench.site)
    take_over_registry(bench)
    assert in_force(bench) == METERS[:5]


@pytest.mark.parametrize("state", ["the last line is not there yet", "the file of relations is gone for a moment"])
def test_a_save_that_goes_on_is_waited_for_and_ends_nobody(bench: Workbench, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    path = bench.site.registry / ("terminals.csv" if "line" in state else "relations.csv")
    whole = path.read_bytes()
    if "line" in state:
        path.write_bytes(b"\n".join(whole.split(b"\n")[:-2]) + b"\n")
    else:
        path.unlink()
    waited = []

    def saved(seconds: float) -> None:
        waited.append(seconds)
        path.write_bytes(whole)
        settled(path)

    monkeypatch.setattr(registry_history.time, "sleep", saved)
    take_over_registry(bench)
    assert waited
    assert (in_force(bench), relations(bench)) == (METERS, 1)


def test_a_file_that_stays_shorter_is_taken_over_once_it_is_settled(bench: Workbench) -> None:
    path = bench.site.registry / "terminals.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    began_s = time.monotonic()
    take_over_registry(bench)
    assert in_force(bench) == METERS[:-1]
    assert time.monotonic() - began_s >= registry_history.LOOK_S, "it waited until the save was over"


def test_a_file_that_cannot_be_opened_just_now_leaves_its_rows_in_force(bench: Workbench) -> None:
    path = bench.site.registry / "relations.csv"
    path.unlink()
    path.mkdir()  # as a share answers while a spreadsheet has the file
    take_over_registry(bench)
    assert relations(bench) == 1
    assert any("relations.csv" in str(problem) for problem in registry.read(bench.site.registry).problems)


def test_what_a_spreadsheet_leaves_beside_the_files_is_not_read(bench: Workbench) -> None:
    for name in ("~$terminals.csv", ".~lock.terminals.csv#", "terminals.csv.tmp", "8A3F1000", "terminals (2).csv"):
        (bench.site.registry / name).write_bytes(b"\x05User\0\0")
    assert registry.read(bench.site.registry).problems == []


PLAIN = "terminal,meter,customer_no\n1,M1,甲\n2,M2,乙\n"
FORMS = {
    "full-width commas": PLAIN.replace(",", "，"),
    "full-width semicolons": PLAIN.replace(",", "；"),
    "Excel's word for the separator": "sep=;\n" + PLAIN.replace(",", ";"),
    "the same in quotes": '"sep=\t"\n' + PLAIN.replace(",", "\t"),
    "quotes around everything": "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in PLAIN.splitlines()),
}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_further_forms_of_a_spreadsheet_are_the_same_table(form: str, encoding: str) -> None:
    assert read_csv(form.replace("\n", "\r\n").encode(encoding)) == read_csv(PLAIN.encode())


def test_a_cell_beyond_all_measure_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="field larger than field limit"):
        read_csv(f"terminal,meter\n1,{'x' * 200_000}\n".encode())
