"""Meter fit of twenty labelled meters, from their readings to the proposals, and what noise of the register changes."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from assets import warehouse
from pipelines.runs.bench import workbench
from pipelines.runs.run import run_touched
from tests.site_helpers import make_site, series

ZONE = ZoneInfo("Asia/Shanghai")
FIRST, DAYS = date(2026, 3, 1), 31
STEP = timedelta(hours=1)

DN150_B = {"dn_mm": 150, "technology": "woltmann", "q1_m3h": 4.5, "q2_m3h": 30, "q3_m3h": 150, "q4_m3h": 300}
DN100_U = {"dn_mm": 100, "technology": "ultrasonic", "q1_m3h": 0.5, "q2_m3h": 0.8, "q3_m3h": 100, "q4_m3h": 125}
DN50_R = {"dn_mm": 50, "technology": "rotary", "q1_m3h": 0.25, "q2_m3h": 0.4, "q3_m3h": 25, "q4_m3h": 31.25}

PLANTS: list[tuple[str, dict[str, Any], list[float]]] = [
    # label, sizes, flow by hour of the day (repeated); the registers resolve 0.1 m³ in an hour
    *[("over", DN150_B, [1.0 * k] * 8 + [8.0 + k] * 10 + [20.0] * 6) for k in range(1, 7)],
    ("over", DN150_B, [0.0] * 12 + [6.0] * 12),
    ("over", DN150_B, [2.0] * 23 + [60.0]),
    *[("under", DN50_R, [6.0] * 20 + [26.0 + k] * 4) for k in range(4)],
    ("under", DN50_R, [2.0] * 23 + [40.0]),
    ("under", DN100_U, [40.0] * 23 + [110.0]),
    *[("fit", DN100_U, [5.0 + 3 * k] * 12 + [30.0 + 5 * k] * 12) for k in range(5)],
    ("fit", DN50_R, [0.0] * 10 + [12.0] * 14),
]


def proposals(root: Path, noise: float = 0.0) -> tuple[dict[str, str], pl.DataFrame]:
    """Classes by meter, and the rows of `meter_resize`; `noise`: share of the resolution by which readings go up and down."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=ZONE)
    readings, terminals = [], []
    for place, (_, sizes, flows) in enumerate(PLANTS):
        number = f"{place:03}"
        terminals.append({"terminal": number, "meter": f"M{number}", **sizes})
        readings.append(series(number, start, 24 * DAYS + 1, STEP, lambda i, flows=flows: flows[(i - 1) % 24]))  # type: ignore[misc]
    frame = pl.concat(readings)
    wobble = (pl.int_range(pl.len()).hash(seed=1) % 3).cast(pl.Float64) - 1
    frame = frame.with_columns(forward_m3=(pl.col("forward_m3") + 0.1 * noise * wobble).cum_max().over("terminal"))
    settings = make_site(root, terminals, frame)
    run_touched(workbench(settings), "test")
    with warehouse.opened(settings.folder.marts, str(ZONE)) as connection:
        fit = warehouse.frame(connection, "select meter, fit_class from meter_fit where month = '2026-03-01'")
        return dict(fit.iter_rows()), warehouse.frame(connection, "select * from meter_resize")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], pl.DataFrame]:
    return proposals(tmp_path_factory.mktemp("fit") / "site")


def test_every_labelled_meter_is_judged_right(judged: tuple[dict[str, str], pl.DataFrame]) -> None:
    assert len(PLANTS) == 20
    assert judged[0] == {f"M{place:03}": label for place, (label, *_) in enumerate(PLANTS)}


def test_a_meter_that_does_not_fit_has_candidates_and_each_that_passes_covers_the_peak(
    judged: tuple[dict[str, str], pl.DataFrame],
) -> None:
    classes, rows = judged
    assert set(rows["meter"]) == {meter for meter, label in classes.items() if label != "fit"}
    passing = rows.filter("passes")
    assert set(passing["meter"]) == set(rows["meter"])
    assert passing["head_room"].min() >= 1.3 - 1e-9  # type: ignore[operator]
    assert passing.filter(pl.col("fit_class") == "over")["saving_m3_year"].min() > 0  # type: ignore[operator]
    assert passing.filter(pl.col("fit_class") == "under")["q3_m3h"].min() > 25  # type: ignore[operator]


def test_noise_of_the_registers_resolution_changes_no_class_and_no_order(
    tmp_path: Path, judged: tuple[dict[str, str], pl.DataFrame]
) -> None:
    classes, rows = proposals(tmp_path / "site", noise=0.5)
    assert classes == judged[0]

    def ranking(proposed: pl.DataFrame) -> list[str]:
        best = (
            proposed.filter(pl.col("passes") & (pl.col("fit_class") == "over"))
            .group_by("meter")
            .agg(pl.col("saving_m3_year").max())
        )
        return best.sort("saving_m3_year", descending=True)["meter"].to_list()

    assert ranking(rows) == ranking(judged[1])
