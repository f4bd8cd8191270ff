"""Issued reports at the desk: who sees them, who downloads them, and that a file is as it was issued."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from ingest_daemon.contract.site import Site
from tests.desk.desk_helpers import OPERATOR, VIEWER, Served, StandInGrafana, desk_on
from tests.desk.test_maintain import words

TABLE = """
create table mart.report_ledger (report text, period text, file text, sha256 text, rows bigint, run_id text,
    exported_at timestamptz, edition integer)
"""
NAME = "daily_volume_2026-10-01_2026-10-31"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="module")
def served(site: Site, desk_dsn: str, stand_in: StandInGrafana) -> Iterator[Served]:
    with desk_on(site, dsn=desk_dsn, grafana=stand_in, language="en") as desk:
        site.reports.mkdir()
        desk.execute(TABLE)
        for name, edition in ((f"{NAME}.xlsx", 1), (f"{NAME}.csv", 1), (f"{NAME}_edition-2.xlsx", 2)):
            data = name.encode()
            (site.reports / name).write_bytes(data)
            values = f"/elsewhere/reports/{name}", sha256(data).hexdigest(), f"2026-11-0{edition} 07:00+08", edition
            desk.execute(
                "insert into mart.report_ledger values ('daily_volume', '2026-10-01…2026-10-31', %s, %s, 1, 'run-7', %s, %s)",
                *values,
            )
        yield desk
        desk.execute("drop table mart.report_ledger")


def test_every_edition_is_listed_and_operators_download_it_as_it_was_issued(served: Served) -> None:
    operator = served.browser(OPERATOR)
    seen = words(operator.get("/reports"))
    assert seen.index("Daily volume report 2026-10-01…2026-10-31 2 run-7") < seen.index("2026-10-01…2026-10-31 1 run-7")
    answer = operator.get(f"/reports/{NAME}_edition-2.xlsx")
    assert answer.content == f"{NAME}_edition-2.xlsx".encode()
    assert f'filename="{NAME}_edition-2.xlsx"' in answer.headers["Content-Disposition"]
    assert "Nothing was issued yet" in words(operator.get("/reports?report=peaks"))
    assert operator.get("/reports?report=x").status_code == 400


def test_a_viewer_sees_the_list_and_gets_no_file(served: Served) -> None:
    viewer = served.browser(VIEWER)
    page = viewer.get("/reports")
    assert f"{NAME}.csv" in page.text
    assert f'href="/reports/{NAME}' not in page.text
    assert viewer.get(f"/reports/{NAME}.csv").status_code == 403


@pytest.mark.parametrize("name", ["site.toml", "..%2Fsite.toml", "%25", "", f"{NAME[1:]}.csv"])
def test_only_files_of_the_ledger_are_given_out(served: Served, site: Site, name: str) -> None:
    (site.reports / "site.toml").write_text("secret")
    answer = served.browser(OPERATOR).get(f"/reports/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_a_file_that_was_changed_since_is_not_given_out(served: Served, site: Site) -> None:
    file: Path = site.reports / f"{NAME}.csv"
    file.write_bytes(b"other")
    answer = served.browser(OPERATOR).get(f"/reports/{NAME}.csv")
    assert answer.status_code == 409
    assert "was changed since it was issued" in words(answer)
