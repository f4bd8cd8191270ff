"""Engines: the same results whatever computes them and however they are cut, and a clear error where one dies.

The cases of Ray need it: `pip install 'mainflow[region]'`, then `pytest tests/assets/test_engines.py`.
"""

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets import cleaned, engines, units, warehouse
from assets.engines import Engine, WorkerEnded
from ingest_daemon.contract.settings import SettingError
from ingest_daemon.stores import StoreAway
from pipelines.runs import run
from pipelines.runs.bench import workbench
from pipelines.settings import FigureSettings
from tests.assets.test_lateness import START, make_site

TABLES = (*units.Tables._fields, "latest_reading")

NEEDS_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'mainflow[region]'")

PROCESSES = Engine("processes", 2)
RAY = pytest.param(Engine("ray", 2), marks=NEEDS_RAY, id="ray")


def square(number: int) -> int:
    return number * number


def threads(_: int) -> int:
    return pl.thread_pool_size()


def killed_at_3(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def away_at_3(number: int) -> int:
    if number == 3:
        raise StoreAway("the archive cannot be read")
    return number


def killed_once(mark: Path) -> int:
    """Ends its process the first time."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return len(mark.name)


@pytest.mark.parametrize("engine", [Engine(), Engine("processes"), PROCESSES, Engine("processes", 9), RAY])
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


def tables_of(path: Path) -> dict[str, pl.DataFrame]:
    with warehouse.opened(path, "UTC") as connection:
        return {name: warehouse.frame(connection, f"select * from {name} order by all") for name in TABLES}


@pytest.mark.parametrize(
    ("engine", "bucket_meters", "days_at_a_time"),
    [
        (Engine(), 1000, 1),
        (Engine(), 2, 3),
        (PROCESSES, 1, 16),
        pytest.param(Engine("ray", 2), 2, 7, marks=NEEDS_RAY, id="ray"),
    ],
)
def test_tables_depend_neither_on_the_engine_nor_on_the_cut(
    engine: Engine, bucket_meters: int, days_at_a_time: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = workbench(make_site(tmp_path / "site", [number for number in range(30) if number not in (4, 5, 11)]))
    run.run_touched(bench, "test")
    before = tables_of(bench.site.marts)
    days = sorted(before["unit_day"]["day"].unique())
    assert days[0] >= date.fromisoformat(f"{START:%Y-%m-%d}") - timedelta(days=1)
    monkeypatch.setattr(cleaned, "BUCKET_METERS", bucket_meters)
    monkeypatch.setattr(cleaned, "PART_DAYS", days_at_a_time)
    monkeypatch.setattr(cleaned, "SHARED_METER_DAYS", 0)
    bench.site.marts.unlink()
    run.run_days(replace(bench, engine=engine), days, "test")
    for name, frame in tables_of(bench.site.marts).items():
        assert_frame_equal(frame, before[name], check_exact=True)
