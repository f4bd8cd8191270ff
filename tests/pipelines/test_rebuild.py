"""A warehouse that is lost, torn or spoilt, an archive with a flipped bit, another zone: said, and made again."""

import random
import shutil
from pathlib import Path

import pytest

from assets import warehouse
from assets.warehouse import WarehouseBroken
from ingest_daemon.contract.settings import SiteSettings
from ingest_daemon.stores import StoreAway
from ingest_daemon.stores.parquet import ParquetStore
from pipelines import settings
from pipelines.runs import run
from pipelines.runs.bench import workbench
from tests.assets.test_lateness import START, computed, day_of_readings, make_site
from tests.chain import assert_same_tables, mainflow, tables


@pytest.mark.usefixtures("few_tables")
def test_a_lost_warehouse_is_made_again_with_all_its_days(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 40)
    bench.site.marts.unlink()
    run.run_touched(bench, "test")
    assert_same_tables(before, tables(bench.site.marts))


@pytest.mark.usefixtures("few_tables")
@pytest.mark.parametrize("case", ["empty", "of other bytes", "cut in half", "with a byte flipped"])
def test_a_warehouse_is_told_and_rebuilt_that_is(case: str, tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 5)
    content = bytearray(bench.site.marts.read_bytes())
    if case == "with a byte flipped":
        for place in range(0x3000 + 100, len(content), 4096):
            content[place] ^= 0xFF
    bench.site.marts.write_bytes(
        {"empty": b"", "of other bytes": b"x" * 9000, "cut in half": content[: len(content) // 2]}.get(case, content)
    )
    bench.store.write(day_of_readings(4))
    with pytest.raises(WarehouseBroken, match="mainflow rebuild --site"):
        run.run_touched(bench, "test")
    refused = mainflow("run", "--site", bench.site.root, check=False)
    assert refused.returncode == 2
    assert "mainflow rebuild --site" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    run.rebuild(bench)
    assert_same_tables(before, tables(bench.site.marts))
    assert list(bench.site.root.glob("marts.duckdb.2*")), "the old file is kept"


@pytest.mark.usefixtures("few_tables")
def test_a_file_of_intervals_that_is_spoilt_is_told(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 3)
    file = sorted(bench.site.units.glob("*/*/unit_interval.parquet"))[1]
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(WarehouseBroken, match="mainflow rebuild --site"), warehouse.opened(bench.site.marts, "UTC") as connection:
        connection.execute("select sum(len(flags)) from unit_interval").fetchall()
    run.rebuild(bench)
    assert_same_tables(before, tables(bench.site.marts))


@pytest.mark.usefixtures("few_tables")
def test_a_warehouse_that_another_program_holds_is_not_called_damaged(tmp_path: Path) -> None:
    bench, _ = computed(tmp_path / "site", 1)
    with warehouse.opened(bench.site.marts, "UTC"):
        told = mainflow("run", "--site", bench.site.root, "--days", "2025-01-01", check=False)
    assert "open in another program" in told.stdout


def test_every_flipped_bit_of_the_archive_is_found(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", [0, 1]).folder
    store = ParquetStore(site.raw)
    (file,) = (site.raw / "readings" / "day=2025-01-01").iterdir()
    content, chance = file.read_bytes(), random.Random(1)
    assert store.damaged() == []
    for _ in range(200):
        spoilt = bytearray(content)
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        file.write_bytes(spoilt)
        with pytest.raises(StoreAway, match=file.name.replace(".", r"\.") + ".*mainflow journal replay"):
            ParquetStore(site.raw).read(START, START)
    assert store.damaged() == [f"{file.parent.name}/{file.name}"]
    told = mainflow("doctor", "--site", site.root, "--deep", check=False)
    assert told.returncode == 1
    assert "damaged: day=2025-01-01/" in told.stdout


def test_a_lost_file_of_the_archive_blanks_no_figure(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 3)
    (file,) = (bench.site.raw / "readings" / "day=2025-01-02").iterdir()
    apart = file.rename(tmp_path / "apart")
    bench.store.write(day_of_readings(2))  # touches the neighbour of the day whose file is lost
    refused = mainflow("run", "--site", bench.site.root, check=False)
    assert refused.returncode == 3
    assert "day=2025-01-02: 00000001" in refused.stdout
    told = mainflow("doctor", "--site", bench.site.root, check=False)
    assert told.returncode == 1
    assert "files of the Parquet archive are missing" in " ".join(told.stdout.split())
    assert_same_tables(before, tables(bench.site.marts))
    apart.rename(file)
    assert run.run_touched(bench, "test").days
    assert_same_tables(before, tables(bench.site.marts))


@pytest.mark.usefixtures("few_tables")
def test_files_of_before_without_a_checksum_are_read(tmp_path: Path) -> None:
    bench, before = computed(tmp_path / "site", 3)
    for file in bench.site.raw.glob("readings/*/*.parquet"):
        file.rename(file.with_name(f"{file.name.split('-')[0]}.parquet"))
    shutil.rmtree(bench.site.raw / "counts")
    bench.site.marts.unlink()
    run.run_touched(bench, "test")
    assert_same_tables(before, tables(bench.site.marts))


@pytest.mark.usefixtures("few_tables")
def test_another_zone_makes_everything_anew(tmp_path: Path) -> None:
    bench, _ = computed(tmp_path / "moved", 5)
    file = bench.site.settings
    file.write_text(file.read_text().replace("zone = 'UTC'", "zone = 'Asia/Shanghai'"))
    moved = workbench(settings.load(bench.site.root))
    run.run_touched(moved, "test")
    shutil.copytree(bench.site.root, tmp_path / "fresh")
    fresh = workbench(settings.load(tmp_path / "fresh"))
    assert settings.load(fresh.site.root)[SiteSettings].zone == "Asia/Shanghai"
    run.rebuild(fresh)
    assert_same_tables(tables(fresh.site.marts), tables(moved.site.marts))
