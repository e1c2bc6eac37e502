"""Signals describe a curve's shape and nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ayar.curves.signals import signals, thin, trailing_median

STEPS = np.arange(101)
FALLING = 0.95**STEPS


def test_a_monotone_curve_has_no_drawdown_and_unit_variation():
    found = signals(STEPS, FALLING)

    assert (found.drawdown, found.spikes, found.nonfinite_step) == (0.0, (), None)
    assert found.tvr == pytest.approx(1.0)
    assert max(found.noise, found.regress) < 0.01


def test_t90_is_the_share_of_steps_that_nine_tenths_of_the_fall_took():
    """A straight line falls nine tenths at nine tenths of its length; its end level is the median of a tenth."""
    found = signals(STEPS, 1.0 - STEPS / 100)

    assert found.t90 == pytest.approx(0.9 * 0.955 + 0.02, abs=0.011)  # two steps of lag by the trailing median


def test_gain_at_the_end_is_measured_in_standard_errors():
    """The same late gain counts for much on a clean curve and for little on a noisy one."""
    slope = 1.0 - 0.9 * (1 - 0.97**STEPS)
    noisy = slope + 0.05 * np.random.default_rng(0).normal(size=101)

    assert signals(STEPS, slope).gain_end > 0.005
    assert signals(STEPS, slope).gain_end_z > 10
    assert signals(STEPS, noisy).gain_end_z < 3


def test_drawdown_and_its_place_are_read_off():
    """A loss that falls from 1 to 0, climbs to one half and stays there has lost half of its fall."""
    values = np.interp(STEPS, [0, 40, 60, 100], [1.0, 0.0, 0.5, 0.5])
    found = signals(STEPS, values)

    assert found.drawdown == pytest.approx(0.5, abs=0.03)
    assert found.drawdown_steps == (40, 60)
    assert found.regress == pytest.approx(0.5, abs=0.03)


def test_a_single_spike_is_reported_and_left_out_of_the_swings():
    """One accident says little about the learning rate; three are the way the run goes."""
    once, thrice = FALLING.copy(), FALLING.copy()
    once[50] += 2.0
    thrice[[30, 50, 70]] += 2.0

    assert signals(STEPS, once).spikes == (50,)
    assert signals(STEPS, once).drawdown == 0.0
    assert signals(STEPS, thrice).spikes == (30, 50, 70)
    assert signals(STEPS, thrice).drawdown > 1


def test_a_step_up_that_stays_is_no_spike():
    values = FALLING + np.where(STEPS > 50, 0.5, 0.0)

    assert signals(STEPS, values).spikes == ()


def test_a_net_that_jumped_and_died_has_lost_all_of_its_fall():
    """One step of a huge learning rate: a loss of 1e12 for a moment, then a constant above the start."""
    found = signals(STEPS, np.r_[2.0, 1e12, np.full(99, 5.0)])

    assert found.regress >= 1
    assert found.drawdown > 1


def test_the_part_before_a_nonfinite_value_is_described():
    values = np.append(FALLING, [math.nan, 1.0])

    found = signals(np.arange(103), values)

    assert found.nonfinite_step == 101
    assert found.points == 101


@pytest.mark.parametrize("values", [[], [1.0], [math.inf], [2.0] * 40, [3.0, 2.0, 1.5, 1.2, 1.1], [0.0, 0.0, 1e-310]])
def test_odd_curves_have_signals_too(values):
    """Empty, one point, infinite, constant, short, and next to nothing."""
    found = signals(np.arange(len(values)), np.array(values))

    assert not math.isnan(found.tvr + found.drawdown + found.gain_end + found.t90 + found.regress + found.noise)


@settings(deadline=None, max_examples=200)
@given(arrays(float, st.integers(0, 130), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_no_curve_crashes_or_warns(values):
    found = signals(np.arange(len(values)), values)

    assert 0 <= found.t90 <= 1
    assert found.tvr >= 1
    assert found.drawdown >= 0


@settings(deadline=None, max_examples=60)
@given(
    arrays(float, st.integers(8, 120), elements=st.floats(0.0, 10.0, width=16)),
    st.sampled_from([2.0**-30, 0.25, 64.0, 2.0**40]),
)
def test_a_scaled_loss_has_the_same_signals(values, factor):
    """The unit of the loss says nothing; powers of two are exact in floating point."""
    steps = np.arange(len(values))
    one, other = signals(steps, values), signals(steps, values * factor)

    assert other.end == one.end * factor
    names = ("gain_end", "drawdown", "drawdown_steps", "regress", "tvr", "t90", "noise", "spikes", "moved")
    assert [getattr(other, name) for name in names] == [getattr(one, name) for name in names]


def test_an_offset_changes_no_signal():
    noisy = FALLING + 0.02 * np.random.default_rng(1).normal(size=101)
    one, other = signals(STEPS, noisy), signals(STEPS, noisy + 3.0)

    for name in ("gain_end", "gain_end_z", "drawdown", "regress", "tvr", "t90", "noise"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9)


def test_thinning_keeps_about_a_hundred_points_and_both_ends():
    steps, values = thin(np.arange(1000), np.arange(1000.0))

    assert len(steps) == 101
    assert (steps[0], steps[-1]) == (0, 999)
    assert (steps == values).all()


def test_logging_twice_as_often_is_thinned_away():
    steps, _ = thin(np.arange(0, 201), np.zeros(201))

    assert steps.tolist() == list(range(0, 201, 2))


def test_trailing_median_looks_back_only():
    assert trailing_median(np.array([9.0, 1.0, 2.0, 3.0, 100.0]), 3).tolist() == [9.0, 9.0, 2.0, 2.0, 3.0]
