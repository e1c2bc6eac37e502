"""Forecasts of where curves end."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayar.curves.forecast import forecast, ladder


@given(st.integers(1, 5000))
def test_a_ladder_rises_from_the_first_step_to_the_horizon_by_a_factor_of_two_at_most(horizon):
    rungs = ladder(horizon)
    assert rungs[0] == 1
    assert rungs[-1] == horizon
    assert all(low < high <= 2 * low for low, high in itertools.pairwise(rungs))


def _curves(n=40, rungs=8, *, early_tells=True, seed=0):
    """Curves whose ends are known; early readings either foretell them or are drawn apart from them."""
    rng = np.random.default_rng(seed)
    ends = rng.uniform(0.1, 0.5, n)
    starts = ends if early_tells else rng.permutation(ends)
    share = np.linspace(0, 1, rungs)
    return 0.4 * (1 - share) + starts[:, None] * (1 - share) + ends[:, None] * share, ends


def _cut(curves, heights):
    return np.where(np.arange(curves.shape[1]) <= np.asarray(heights)[:, None], curves, np.nan)


def test_a_curve_at_the_horizon_is_forecast_where_it_stands():
    curves, ends = _curves()
    told = forecast(curves)
    assert told.mean.argsort().tolist() == ends.argsort().tolist()
    assert told.noise.max() < 0.01


def test_noise_shrinks_as_a_curve_climbs():
    noise = forecast(_curves()[0]).noise_at
    assert (np.diff(noise) < 0).all()


def test_early_readings_that_foretold_nothing_count_for_nothing():
    heights = [7] * 80 + [0] * 20
    telling = forecast(_cut(_curves(100, early_tells=True)[0], heights))
    idle = forecast(_cut(_curves(100, early_tells=False)[0], heights))
    assert idle.noise_at[0] > 5 * telling.noise_at[0]


def test_of_two_curves_at_one_height_and_loss_the_one_that_falls_is_forecast_lower():
    curves, _ = _curves()
    pair = np.array([[0.9, 0.8, 0.6, np.nan], [0.62, 0.61, 0.6, np.nan]])
    told = forecast(np.vstack([pair, curves[:, ::2]]))
    assert told.mean[0] < told.mean[1]


def test_a_hopeless_curve_is_not_forecast_to_end_best_where_the_worse_of_the_good_ones_overtook_the_better():
    """Good curves change places from one rung to the next; those at chance level have not got there yet."""
    losses = np.full((15, 6), np.nan)
    losses[:5, 0], losses[:5, 1] = np.linspace(0.10, 0.14, 5), np.linspace(0.099, 0.07, 5)
    losses[5:, 0] = 0.9
    told = forecast(losses).mean
    assert told.argmin() < 5


def test_calm_low_rungs_do_not_make_the_unseen_ones_certain():
    """Two hundred curves with hardly a change between the first rungs say nothing of what comes far later."""
    rng = np.random.default_rng(0)
    flat = np.full((200, 8), np.nan)
    flat[:, 0] = rng.uniform(0.5, 0.7, 200)
    flat[:, 1] = flat[:, 0] - 0.001
    assert np.sqrt(forecast(flat).noise_at[1]) > 0.5


@given(st.floats(1e-3, 1e3), st.floats(-10, 10), st.integers(0, 100))
def test_neither_the_unit_nor_the_zero_of_a_loss_matters(scale, shift, seed):
    curves = _cut(_curves(12, 5, seed=seed)[0], np.random.default_rng(seed).integers(0, 5, 12))
    told, other = forecast(curves), forecast(curves * scale + shift)
    assert other.mean == pytest.approx(told.mean, rel=1e-3, abs=1e-3)
    assert other.noise == pytest.approx(told.noise, rel=1e-2)


def test_a_single_reading_and_equal_ones_and_an_explosion_are_forecast_too():
    for losses in ([[0.3, np.nan]], [[0.3, 0.3], [0.3, 0.3]], [[0.3, 0.2], [1e30, 1e29], [0.4, np.nan]]):
        told = forecast(np.array(losses))
        assert np.isfinite(told.mean).all()
        assert (told.noise > 0).all()
