"""The forecast: its band holds four of five hours of real meters, and Spring Festival is a class of its own."""

from datetime import date

import numpy as np
import pytest

from assets.forecast import Array, Days, Model
from tests.forecast_trial import fits, plain_days, real_volumes, shipped_rules

RULES = shipped_rules()
FESTIVAL_DAYS = 22


@pytest.mark.parametrize(("name", "last"), [("bwdf-dma", date(2023, 2, 28)), ("daiad-amr", date(2017, 4, 30))])
def test_on_real_meters_the_band_holds_four_of_five_hours_of_a_month_and_beats_last_week(name: str, last: date) -> None:
    _, volumes, days = real_volumes(name)
    end = days.position[last] + 3
    first = end - RULES.window - 30
    own = Days(days.days[first:end], days.weekday[first:end], days.festival[first:end], {})
    own = own._replace(position={day: position for position, day in enumerate(own.days)})
    fit = max(fits(volumes[:, first:end], own, RULES), key=lambda fit: fit.month)
    assert fit.share_in_range >= 0.8
    assert 0.75 <= fit.coverage <= 0.85
    assert fit.relative_pinball < 0.7


def years_with_festivals() -> tuple[Array, Days]:
    """A meter that uses 10 m³ an hour and 2 during both Spring Festivals, a year apart; and one that began after the first."""
    days = plain_days(date(2024, 1, 1), 470)
    starts = (60, 60 + 355)
    festival = tuple(
        next((position - start for start in starts if -7 <= position - start < FESTIVAL_DAYS - 7), None)
        for position in range(470)
    )
    flow = np.where([offset is None for offset in festival], 10, 2)
    noise = np.random.default_rng(7).normal(0, 0.2, (2, 470, 24))
    volumes = (flow[None, :, None] + noise).astype(np.float32)
    volumes[1, :120] = np.nan
    return volumes, days._replace(festival=festival)


def test_spring_festival_is_learnt_from_the_year_before_and_else_its_band_is_wider() -> None:
    volumes, days = years_with_festivals()
    model = Model(volumes, days, RULES)
    band, usual = model.forecast(60 + 355)[0], model.forecast(60 + 355 - 20)[0]
    assert np.allclose(band.middle[0], 2, atol=0.5), "the year before had this festival"
    assert np.all((band.low[1] <= 6) & (band.high[1] >= 14)), "nobody knows what this meter does"
    assert np.all(usual.high - usual.low < 2)
    after = model.forecast(465)[0]
    assert np.allclose(after.middle, 10, atol=0.5), "the festival is no sample of a plain day"


def test_hours_that_are_not_known_are_no_zeros_and_a_meter_that_stopped_has_no_forecast() -> None:
    volumes, days = years_with_festivals()
    volumes[0, :, 8:12] = np.nan
    volumes[1, 250:] = np.nan
    band = Model(volumes, days, RULES).forecast(300)[0]
    assert np.isnan(band.middle[0, 8:12]).all()
    assert np.isfinite(band.middle[0, 12:]).all()
    assert np.isnan(band.middle[1]).all()


@pytest.mark.parametrize("position", range(90, 170, 5))
def test_a_score_hangs_on_the_days_of_its_window_only_however_many_are_at_hand(position: int) -> None:
    volumes, days = years_with_festivals()
    first = position - RULES.window
    own = Days(days.days[first:], days.weekday[first:], days.festival[first:], {})
    with_all, with_window = Model(volumes, days, RULES).score(position), Model(volumes[:, first:], own, RULES).score(RULES.window)
    assert all(np.array_equal(with_all[name], with_window[name]) for name in with_all)
    assert with_all["hours"].max() == 24
