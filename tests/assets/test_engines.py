"""Engines: the same results whatever computes them and however they are cut, and a clear error where one dies.

The cases of Ray need it: `pip install 'mainflow[region]'`, then `pytest tests/assets/test_engines.py`.
"""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets import calendar, cleaned, engines, interval_files, tables, units, warehouse
from assets.engines import Engine, WorkerEnded
from ingest_daemon.contract.schema import READING
from ingest_daemon.contract.settings import SettingError, Settings
from ingest_daemon.stores import StoreAway
from ingest_daemon.stores.storage import LocalStorage
from pipelines.runs import run
from pipelines.runs.bench import workbench
from pipelines.settings import FigureSettings, load
from tests.engine_work import away_at_3, head_killed_at_3, killed_at_3, killed_once, square, threads
from tests.site_helpers import make_site

ROME = ZoneInfo("Europe/Rome")

TABLES = (*units.Tables._fields, "latest_reading")

NEEDS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'mainflow[region]'")

PROCESSES = Engine("processes", 2)
RAY = pytest.param(Engine("ray", 2), marks=NEEDS_RAY, id="ray")


@pytest.mark.parametrize("engine", [Engine(), Engine("processes"), PROCESSES, RAY])
def test_results_come_in_the_order_of_the_parts(engine: Engine) -> None:
    assert list(engine.results(square, range(9))) == [0, 1, 4, 9, 16, 25, 36, 49, 64]


@pytest.mark.parametrize("engine", [PROCESSES, RAY])
def test_a_worker_computes_with_one_thread_and_its_failure_is_the_callers(engine: Engine) -> None:
    assert list(engine.results(threads, range(2))) == [1, 1]
    with pytest.raises(StoreAway, match="the archive cannot be read"):
        list(engine.results(away_at_3, range(6)))


def test_parts_are_taken_a_little_ahead_of_the_reader() -> None:
    taken: list[int] = []

    def parts() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = PROCESSES.results(square, parts())
    assert next(results) == 0
    assert len(taken) == PROCESSES.workers + engines.AHEAD


def test_a_worker_process_that_is_killed_is_told_with_what_to_do() -> None:
    with pytest.raises(WorkerEnded, match=r"worker process ended .* days stay waiting; .* fewer \[figures\] workers"):
        list(PROCESSES.results(killed_at_3, range(6)))


@NEEDS_RAY
def test_ray_computes_a_part_again_whose_worker_was_killed(tmp_path: Path) -> None:
    marks = [tmp_path / "a", tmp_path / "bb", tmp_path / "ccc"]
    assert list(Engine("ray", 2).results(killed_once, marks)) == [1, 2, 3]


@NEEDS_RAY
@pytest.mark.timeout(600)
def test_a_ray_that_lost_its_head_is_told_in_one_sentence() -> None:
    with pytest.raises(WorkerEnded, match=r"Ray \(started here\) (failed|ended).*: the days stay waiting; .*") as raised:
        list(Engine("ray", 2).results(head_killed_at_3, range(20)))
    assert "\n" not in str(raised.value)


def test_a_ray_cluster_that_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(WorkerEnded, match=rf"Ray \(127\.0\.0\.1:{port}\) does not answer within 10 s .*: the days stay waiting"):
        list(Engine("ray", 2, f"127.0.0.1:{port}").results(square, range(3)))


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"ray_address": "head"}, r"\[figures\] ray_address = 'head': expected auto, host:port, ray://host:port, or nothing"),
        ({"ray_address": "http://head:80"}, r"\[figures\] ray_address = 'http://head:80': expected auto"),
        pytest.param(
            {"engine": "ray"},
            r"\[figures\] engine = 'ray': Ray is not installed: pip install 'mainflow\[region\]'",
            marks=pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed"),
        ),
    ],
)
def test_a_wrong_engine_is_named_at_start(values: dict[str, str], error: str) -> None:
    with pytest.raises(SettingError, match=error):
        FigureSettings(**values)


@pytest.mark.parametrize("address", ["", "auto", "head:6379", "10.0.0.1:6379", "ray://head:10001", "[::1]:6379"])
def test_addresses_of_ray(address: str) -> None:
    assert FigureSettings(ray_address=address).chosen_engine.ray_address == address


DAYS = 10
SEED = 20250325
FIRST = datetime(2025, 3, 25, tzinfo=ROME)
"""The clock of Rome changes on 30 March."""


def make_fleet(folder: Path, seed: int) -> Settings:
    """Eight meters with holes, falls, spikes, one at 0; a terminal passes from one meter to another, and one is swapped."""
    random = np.random.default_rng(seed)
    change = (FIRST + timedelta(days=int(random.integers(2, DAYS - 2)), hours=int(random.integers(0, 24)))).isoformat()
    terminals = [{"terminal": f"{910 + number}", "meter": f"M{(number * 5) % 7}"} for number in range(7)]
    terminals[2] |= {"valid_to": change}
    terminals += [
        {"terminal": "912", "meter": "M8", "valid_from": change},
        {"terminal": "900", "meter": terminals[4]["meter"], "valid_from": change},
    ]
    terminals[4] |= {"valid_to": change}
    parts = []
    for number in (-10, *range(7)):
        step = int(random.choice([15, 60]))
        count = DAYS * 24 * 60 // step
        at = [FIRST.astimezone(UTC) + timedelta(minutes=step * place) for place in range(1, count + 1)]
        volume = random.choice([0.0, 0.5, 3.0, 40.0], count, p=[0.3, 0.3, 0.3, 0.1]) * (number != 3)
        register = (number != 3) * 5_000 + np.cumsum(volume)
        register[random.integers(0, count)] += random.choice([0, 100_000, -3_000])
        register[int(random.integers(count // 2, count)) :] -= random.choice([0, 0.2, 4_000])
        kept = random.random(count) > 0.02
        begin = int(random.integers(0, count))
        kept[begin : begin + int(random.integers(0, 30))] = False
        rows = pl.DataFrame({"ts": at, "forward_m3": np.maximum(np.round(register, 1), 0), "pressure_mpa": 0.3 + volume / 1e3})
        rows = rows.with_columns(reverse_m3=np.cumsum(random.random(count) < 0.02) / 2)
        parts.append(
            rows.filter(pl.Series(kept)).with_columns(terminal=pl.lit(f"{910 + number}"), battery_v=pl.lit(3.0 + number))
        )
    readings = pl.concat(parts).with_columns(
        channel=pl.lit("tcp"), stream=pl.lit("data"), frame=pl.int_range(pl.len()), received_at="ts"
    )
    settings = make_site(folder, terminals, full(readings), "Europe/Rome")
    (settings.folder.quarantine).mkdir(exist_ok=True)
    conflict = {"terminal": "911", "ts": f"{readings.filter(pl.col('terminal') == '911')['ts'][5]:%Y-%m-%dT%H:%M:%S.%fZ}"}
    (settings.folder.quarantine / "CONFLICT.jsonl").write_text(json.dumps(conflict) + "\n")
    return settings


def full(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with every column of a reading."""
    absent = [pl.lit(None).alias(name) for name in READING if name not in rows.columns]
    return rows.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in READING.items())


LAST = FIRST.date() + timedelta(days=DAYS)


def made(settings: Settings) -> dict[str, pl.DataFrame]:
    """The tables of all days, as the site's settings have them computed."""
    current = run.Run(workbench(load(settings.folder.root)), calendar.days_between(FIRST.date(), LAST), "test")
    with current.opened() as connection:
        for step in tables.figures():
            if step.name in ("registry", "interval_reading"):
                current.make(connection, step)
        return {name: warehouse.frame(connection, f"select * from {name} order by all") for name in TABLES}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, pl.DataFrame]]:
    """A site, and its tables as this process makes them, uncut."""
    settings = make_fleet(tmp_path_factory.mktemp("fleet") / "site", SEED)
    return settings, made(settings)


@pytest.mark.parametrize(
    ("engine", "bucket_meters", "part_days"),
    [
        ("local", 3, 1),
        ("local", 1, 4),
        ("processes", 2, 16),
        pytest.param("ray", 2, 3, marks=NEEDS_RAY),
    ],
)
def test_tables_depend_neither_on_the_engine_nor_on_the_cut(
    engine: str,
    bucket_meters: int,
    part_days: int,
    fleet: tuple[Settings, dict[str, pl.DataFrame]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, expected = fleet
    monkeypatch.setattr(cleaned, "BUCKET_METERS", bucket_meters)
    monkeypatch.setattr(cleaned, "PART_DAYS", part_days)
    monkeypatch.setattr(cleaned, "SHARED_METER_DAYS", 0)
    monkeypatch.setenv("MAINFLOW_FIGURES_ENGINE", engine)
    monkeypatch.setenv("MAINFLOW_FIGURES_WORKERS", "2")
    for name, frame in made(settings).items():
        assert frame.height, name
        assert_frame_equal(frame, expected[name], check_exact=True)
    buckets = {path.parent.name for path in settings.folder.units.glob("*/*/unit_interval.parquet")}
    assert len(buckets) == -(-8 // bucket_meters), "files of no other cut are left"


def test_a_run_that_fails_leaves_the_rows_of_before(
    fleet: tuple[Settings, dict[str, pl.DataFrame]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, expected = fleet
    write = interval_files.write

    def full_disk(folder: Path, day: date, bucket: str, own: units.Tables) -> int:
        if bucket == "002-of-003":
            raise OSError(28, "No space left on device")
        return write(folder, day, bucket, own)

    monkeypatch.setattr(cleaned, "BUCKET_METERS", 3)
    monkeypatch.setattr(interval_files, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        made(settings)
    with warehouse.opened(settings.folder.marts, "UTC") as connection:
        for name in cleaned.KEPT_TABLES:
            assert_frame_equal(warehouse.frame(connection, f"select * from {name} order by all"), expected[name])


def test_a_worker_that_does_not_see_the_site_computes_nothing(
    fleet: tuple[Settings, dict[str, pl.DataFrame]], tmp_path: Path
) -> None:
    settings, _ = fleet
    bench = workbench(settings)
    with warehouse.opened(bench.site.marts, "UTC") as connection:
        run.prepare_selects(bench, connection)
        (part,) = cleaned.parts(bench.store, connection, [FIRST.date()])
    elsewhere = cleaned.Work(
        bench.store, LocalStorage(tmp_path / "units"), bench.zone, bench.max_hole, part.spans, part.spans, {}
    )
    with pytest.raises(StoreAway, match=r"does not see .*units: a worker needs the site's folder, or the lake, at this path"):
        elsewhere.compute(part)
