"""The statistics of a recheck: literals, independent oracles, and simulated worlds whose truth is known."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.recheck.confirm import (
    LOOKS,
    Decision,
    Outcome,
    best_of,
    confirm,
    decide,
    look_at,
    margin,
    p_value,
    shift,
    upper_bound,
)

WORLDS = 3000
SPREAD = 2 * math.sqrt(0.05 * 0.95 / WORLDS)  # two standard errors of a simulated rate of 5 %
NONE = np.empty(0)


# -- simulated worlds: one incumbent, six challengers, runs on the same seed correlated by 0.5


def gauss(rng, shape):
    return rng.standard_normal(shape)


def heavy_tailed(rng, shape):
    return rng.standard_t(3, shape) / math.sqrt(3)


def skewed(rng, shape):
    return rng.exponential(size=shape) - 1


def alarms(noise, *, gain=0.0, arms=6, noisy=1.0, reuse=False, worlds=WORLDS, seed=0):
    """Share of worlds in which the screened challenger is proven better; the first is better by ``gain``."""
    rng = np.random.default_rng(seed)
    scale = np.ones(arms)
    scale[-1] = noisy
    proven = 0
    for _ in range(worlds):
        incumbent = noise(rng, 3)  # what the seed shares cancels in a pair, so only the private halves are drawn
        screened = [math.sqrt(0.5) * (scale[a] * noise(rng, 3) - incumbent) + gain * (a == 0) for a in range(arms)]
        best = best_of(screened)
        if best is None:
            continue

        def draw(numbers, best=best, screened=screened):
            fresh = scale[best] * noise(rng, len(numbers)) - noise(rng, len(numbers))
            gains = math.sqrt(0.5) * fresh + gain * (best == 0)
            if reuse and numbers.start == 0:
                gains[:3] = screened[best]
            return gains

        outcome, _ = confirm(draw)
        proven += outcome is Outcome.BETTER
    return proven / worlds


@pytest.mark.parametrize(
    ("noise", "noisy"),
    [(gauss, 1.0), (gauss, 6.0), (heavy_tailed, 1.0), (skewed, 1.0)],
    ids=["normal", "one arm six times noisier", "heavy tails", "skewed"],
)
def test_in_a_world_where_all_are_equal_at_most_one_recheck_in_twenty_raises_an_alarm(noise, noisy):
    assert alarms(noise, noisy=noisy) <= 0.05 + SPREAD


def test_reusing_the_screening_seeds_in_the_confirmation_would_raise_too_many_alarms():
    """The promise above can be broken, and this is how."""
    assert alarms(gauss, reuse=True) > 0.05 + SPREAD


@pytest.mark.parametrize(("gain", "power"), [(1.0, 0.63), (1.5, 0.95), (2.0, 0.995)])
def test_power_is_what_the_design_measured(gain, power):
    assert alarms(gauss, gain=gain, worlds=1500) == pytest.approx(power, abs=0.04)


@pytest.mark.parametrize("looks", [LOOKS[:1], LOOKS[:2], LOOKS], ids=lambda looks: f"{looks[-1].pairs} pairs")
def test_the_stated_resolution_is_the_gain_seen_four_times_out_of_five(looks):
    rng = np.random.default_rng(1)
    gain = looks[-1].resolution
    seen = sum(
        confirm(lambda numbers: gain + rng.standard_normal(len(numbers)), looks)[0] is Outcome.BETTER
        for _ in range(WORLDS)
    )
    assert seen / WORLDS == pytest.approx(0.80, abs=0.02)


def test_a_challenger_better_by_the_margin_is_seldom_called_beaten():
    """Keep-confirmed claims that every gain is below the margin; here one of five equals it."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(WORLDS):
        screened = [0.1 * rng.standard_normal(3) + (0.5 if a == 0 else -1.0) for a in range(5)]
        wrong += decide(screened, None, Outcome.NOT_BETTER, NONE, 0.5, False) is Decision.KEEP_CONFIRMED
    assert wrong / WORLDS <= 0.05 / 5 + 2 * math.sqrt(0.01 / WORLDS)


# -- independent oracles


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-50, 50), min_size=4, max_size=10).filter(lambda d: len(set(d)) > 1))
def test_the_p_value_is_students(gains):
    expected = scipy.stats.ttest_1samp(gains, 0, alternative="greater").pvalue
    assert p_value(gains) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_the_shift_has_welchs_interval():
    before, now = [0.10, 0.12, 0.11, 0.14, 0.09], [0.20, 0.26, 0.21]
    expected = scipy.stats.ttest_ind(now, before, equal_var=False).confidence_interval(0.95)
    moved = shift(before, now)
    assert (moved.low, moved.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert moved.mean == pytest.approx(0.111333, abs=1e-6)


def test_a_shift_from_a_single_reading_has_no_interval():
    moved = shift([1.0], [3.0, 3.5])
    assert (moved.mean, moved.low, moved.high) == (2.25, -math.inf, math.inf)


# -- looks


@pytest.mark.parametrize(
    ("gains", "outcome"),
    [
        ([1.0, 1.1, 0.9, 1.0], Outcome.BETTER),
        ([-1.0, -1.1, -0.9, -1.0], Outcome.NOT_BETTER),
        ([1.0, -1.0, 0.5, -0.4], Outcome.NOT_BETTER),  # t = 0.06: hopeless
        ([1.0, -0.5, 1.0, 0.3], Outcome.OPEN),
        ([1.0, 1.0, 1.0, math.nan], Outcome.NOT_BETTER),
        ([5.0, 5.0, 5.0, -math.inf], Outcome.NOT_BETTER),
    ],
)
def test_a_look_at_four_pairs(gains, outcome):
    assert look_at(gains, 0.0175) is outcome


@pytest.mark.parametrize(
    ("gain", "outcome", "pairs"),
    [(0.1, Outcome.BETTER, 7), (0.0, Outcome.NOT_BETTER, 4), (-0.1, Outcome.NOT_BETTER, 4)],
)
def test_gains_that_are_all_alike_count_by_their_sign(gain, outcome, pairs):
    """Without spread there is no t; seven like signs in a row have a chance of 1 in 128, four only of 1 in 16."""
    said, gains = confirm(lambda numbers: [gain] * len(numbers))
    assert (said, len(gains)) == (outcome, pairs)


def test_round_off_between_equal_gains_is_no_evidence():
    assert p_value(0.3 + np.array([0.0, 1e-16, -1e-16, 0.0])) == 0.0625


def test_every_pair_is_drawn_once():
    drawn = []
    pattern = [1.0, -0.5, 1.0, 0.3]

    def draw(numbers):
        drawn.extend(numbers)
        return [pattern[n % 4] for n in numbers]

    outcome, gains = confirm(draw)
    assert drawn == list(range(len(gains)))
    assert outcome is not Outcome.OPEN


def test_a_confirmation_that_the_budget_cuts_off_stays_open():
    pattern = [1.0, -0.5, 1.0, 0.3]
    assert confirm(lambda numbers: [pattern[n] for n in numbers], LOOKS[:1])[0] is Outcome.OPEN


def test_the_levels_of_the_looks_add_up_to_five_percent():
    assert math.fsum(look.level for look in LOOKS) == pytest.approx(0.05)


# -- screening, margin, decision


def test_the_best_challenger_has_the_largest_mean_gain_and_no_failure():
    screened = [np.array([0.1, 0.2, 0.0]), np.array([9.0, 9.0, -math.inf]), np.array([0.3, 0.2, 0.1])]
    assert best_of(screened) == 2


def test_nobody_goes_on_where_no_mean_gain_is_above_zero():
    assert best_of([np.array([0.1, -0.1, 0.0]), np.array([-1.0, -1.0, -1.0])]) is None
    assert best_of([]) is None


@pytest.mark.parametrize(("sd", "level", "least"), [(0.2, 1.0, 0.1), (0.0, -4.0, 0.004), (None, 4.0, 0.004)])
def test_the_margin_is_half_a_spread_or_a_thousandth_of_the_level(sd, level, least):
    assert margin(sd, level) == pytest.approx(least)


BETTER = np.array([0.5, 0.6, 0.55, 0.45])
WORSE = np.array([-0.50, -0.51, -0.52])
VAGUE = np.array([0.3, -0.3, 0.1])


@pytest.mark.parametrize(
    ("screened", "best", "outcome", "confirmed", "worth", "edge", "decision"),
    [
        ([BETTER[:3], WORSE], 0, Outcome.BETTER, BETTER, 0.1, False, Decision.REPLACE),
        ([BETTER[:3], WORSE], 0, Outcome.BETTER, BETTER, 0.1, True, Decision.RETUNE),
        ([BETTER[:3], BETTER[:3] - 0.1], 0, Outcome.BETTER, BETTER, 0.1, False, Decision.RETUNE),
        ([BETTER[:3], WORSE], 0, Outcome.BETTER, BETTER, 0.9, True, Decision.BETTER_NOT_WORTH),
        ([VAGUE, WORSE], 0, Outcome.OPEN, VAGUE, 0.1, False, Decision.INCONCLUSIVE),
        ([VAGUE, WORSE], 0, Outcome.NOT_BETTER, VAGUE, 0.1, False, Decision.KEEP_NOT_BEATEN),
        ([WORSE, WORSE - 0.2], None, Outcome.NOT_BETTER, NONE, 0.1, False, Decision.KEEP_CONFIRMED),
        ([WORSE, np.array([-math.inf] * 3)], None, Outcome.NOT_BETTER, NONE, 0.1, False, Decision.KEEP_CONFIRMED),
        ([np.array([-math.inf] * 3)], None, Outcome.NOT_BETTER, NONE, 0.1, False, Decision.INCONCLUSIVE),
    ],
)
def test_the_decision(screened, best, outcome, confirmed, worth, edge, decision):
    assert decide(screened, best, outcome, confirmed, worth, edge) is decision


def test_three_like_gains_bound_nothing():
    """Quantised metrics often give equal differences; three of them are no proof of a spread of zero."""
    assert upper_bound([-0.1, -0.1, -0.1], 0.01) == math.inf
