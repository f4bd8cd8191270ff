"""A word that is renamed at the desk shows with the next run; what was issued stays as it was."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg

from pipelines.runs import run
from pipelines.runs.bench import workbench
from pipelines.runs.export import export_report
from tests.assets.test_lateness import START, make_site
from tests.chain import published
from tests.desk.desk_helpers import ADMIN, StandInGrafana, desk_on
from tests.desk.test_maintain import apply, send, words

CUSTOMERS = "customer_no,name,industry,region,address\n示例客户,第一纺织厂,textile,,\n"
VOCABULARY = "kind,code,zh,en\nindustry,textile,纺织业,Textiles\n"


def test_a_renamed_word_shows_with_the_next_run_and_issued_reports_stay(
    tmp_path: Path, dsn: str, stand_in: StandInGrafana
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("create role mainflow_desk login")
    settings, day = make_site(tmp_path / "site", [0, 1]), START.date() + timedelta(days=1)
    site = settings.folder
    bench = replace(workbench(settings), serving_dsn=lambda: dsn)
    for file, text in (("customers", CUSTOMERS), ("vocabulary", VOCABULARY)):
        (site.registry / f"{file}.csv").write_text(text, encoding="utf-8")
    terminals = (site.registry / "terminals.csv").read_bytes()
    run.run_touched(bench, "test")
    assert published(dsn, "customer")["industry_name"].to_list() == ["纺织业 Textiles"]
    issued = {path: path.read_bytes() for report in export_report(bench, "daily_volume", (day, day)) for path in [report.file]}
    with desk_on(site, dsn=dsn, grafana=stand_in, language="en") as served:
        anna = served.browser(ADMIN)
        renamed = send(anna, "vocabulary", VOCABULARY.replace("纺织业", "纺织服装业"))
        assert "zh 纺织业 → 纺织服装业" in words(renamed)
        apply(anna, renamed)
        apply(anna, send(anna, "customers", CUSTOMERS.replace("第一纺织厂", "东方纺织厂")))
    run.run_touched(bench, "test")
    assert published(dsn, "customer").select("name", "industry_name").rows() == [("东方纺织厂", "纺织服装业 Textiles")]
    later = [report.file for report in export_report(bench, "daily_volume", (day, day))]
    assert {path: path.read_bytes() for path in issued} == issued
    (csv,) = [path for path in later if path.suffix == ".csv"]
    assert csv not in issued
    assert "东方纺织厂" in csv.read_text(encoding="utf-8-sig")
    assert (site.registry / "terminals.csv").read_bytes() == terminals
