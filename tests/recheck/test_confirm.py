"""The statistics of a recheck: literals, independent oracles, and simulated worlds whose truth is known."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.recheck.confirm import (
    Decision,
    Look,
    Outcome,
    confirm,
    decide,
    is_behind,
    look_at,
    looks_at,
    margin,
    p_value,
    paired,
    resolution,
    same_seed_correlation,
    shift,
    upper_bound,
)

WORLDS = 3000
NONE = np.empty(0)
FULL = looks_at(11)


@pytest.mark.parametrize("pairs", [4, 7, 11, 20])
def test_the_stated_resolution_is_the_gain_seen_four_times_out_of_five(pairs):
    rng = np.random.default_rng(1)
    looks = looks_at(pairs)
    gain = resolution(looks)
    seen = sum(
        confirm(lambda numbers: gain + rng.standard_normal(len(numbers)), looks)[0] is Outcome.BETTER
        for _ in range(WORLDS)
    )
    assert seen / WORLDS == pytest.approx(0.80, abs=0.04)


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


@pytest.mark.parametrize("unit", [1e-130, 1e90])
def test_what_is_concluded_minds_no_unit(unit):
    before, now = unit * np.array([0.10, 0.12, 0.11, 0.14, 0.09]), unit * np.array([0.20, 0.26, 0.21])
    moved, plain = shift(before, now), shift(before / unit, now / unit)
    assert (moved.low / unit, moved.high / unit) == pytest.approx((plain.low, plain.high), rel=1e-9)
    gains = np.array([0.3, 0.3, 0.4, 0.2, 0.3, 0.4, 0.1, 0.3])
    assert p_value(unit * gains) == pytest.approx(p_value(gains), rel=1e-9)
    assert look_at(unit * gains, 0.04) is look_at(gains, 0.04) is Outcome.BETTER


@pytest.mark.parametrize("smallest", [1e-170, 5e-324])
def test_gains_whose_squares_are_zero_are_judged_all_the_same(smallest):
    assert p_value([smallest, 3 * smallest, 2 * smallest, 4 * smallest]) < 0.05


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
        ([1.0, 1.1, 0.9, math.nan], Outcome.OPEN),  # where the incumbent failed nothing is compared
        ([math.nan, 1.0, 1.1, 0.9, 1.0], Outcome.BETTER),
        ([5.0, 5.0, 5.0, -math.inf], Outcome.NOT_BETTER),
    ],
)
def test_a_look_at_four_pairs(gains, outcome):
    assert look_at(gains, 0.0175) is outcome


@pytest.mark.parametrize(
    ("gain", "outcome", "pairs"),
    [(0.1, Outcome.BETTER, 11), (0.0, Outcome.NOT_BETTER, 5), (-0.1, Outcome.NOT_BETTER, 5)],
)
def test_gains_that_are_all_alike_count_by_their_sign(gain, outcome, pairs):
    """Without spread there is no t; eleven like signs in a row have a chance of 1 in 2048, five only of 1 in 32."""
    said, gains = confirm(lambda numbers: [gain] * len(numbers), FULL)
    assert (said, len(gains)) == (outcome, pairs)


def test_round_off_between_equal_gains_is_no_evidence():
    assert p_value(0.3 + np.array([0.0, 1e-16, -1e-16, 0.0])) == 0.0625


def test_every_pair_is_drawn_once():
    drawn = []
    pattern = [1.0, -0.5, 1.0, 0.3]

    def draw(numbers):
        drawn.extend(numbers)
        return [pattern[n % 4] for n in numbers]

    outcome, gains = confirm(draw, FULL)
    assert drawn == list(range(len(gains)))
    assert outcome is not Outcome.OPEN


def test_a_confirmation_by_too_few_pairs_stays_open():
    pattern = [1.0, -0.5, 1.0, 0.3]
    assert confirm(lambda numbers: [pattern[n] for n in numbers], looks_at(4))[0] is Outcome.OPEN


@given(st.integers(4, 60), st.floats(0.001, 0.2))
def test_the_levels_of_the_looks_add_up_to_less_than_the_error(pairs, error):
    looks = looks_at(pairs, error)
    assert 0.8 * error < math.fsum(look.level for look in looks) < error
    assert looks[-1].pairs == pairs
    assert all(look.pairs >= 4 for look in looks)


def test_few_pairs_have_a_single_look():
    assert looks_at(7) == (Look(7, pytest.approx(0.0425)),)


# -- pairs and seeds


def test_a_pair_counts_where_the_incumbent_trained():
    gains = paired([0.5, math.inf, 0.5, math.inf], [0.25, 0.25, math.inf, math.nan])
    assert gains.tolist() == pytest.approx([0.25, math.nan, -math.inf, math.nan], nan_ok=True)


def test_the_same_seed_correlation_is_the_share_of_variance_that_seeds_share():
    rng = np.random.default_rng(0)
    tables = [
        math.sqrt(0.3) * rng.standard_normal(8) + math.sqrt(0.7) * rng.standard_normal((5, 8)) + np.arange(5)[:, None]
        for _ in range(400)
    ]
    assert same_seed_correlation(tables) == pytest.approx(0.3, abs=0.03)
    assert same_seed_correlation([np.zeros((1, 5)), np.ones((3, 1))]) is None


# -- screening, margin, decision


def test_who_is_behind_by_less_than_a_standard_error_may_still_be_the_better_one():
    """Pairs spread by 2 here, so the mean of four has a standard error of 1."""
    spread = np.array([3**0.5, 3**0.5, -(3**0.5), -(3**0.5)])
    assert not is_behind(spread - 0.9, [spread, spread - 9])
    assert is_behind(spread - 1.1, [spread, spread - 9])


def test_who_failed_or_never_differs_is_not_confirmed():
    assert is_behind(np.array([9.0, -math.inf]), [np.array([1.0, 2.0])])
    assert is_behind(np.zeros(3), [np.zeros(3)])
    assert not is_behind(np.full(3, 0.1), [np.full(3, 0.1)])


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
        ([BETTER[:3], WORSE], 0, Outcome.BETTER, BETTER, 0.51, True, Decision.BETTER_NOT_WORTH),
        ([VAGUE, WORSE], 0, Outcome.OPEN, VAGUE, 0.1, False, Decision.INCONCLUSIVE),
        ([VAGUE, WORSE], 0, Outcome.NOT_BETTER, VAGUE, 0.1, False, Decision.KEEP_NOT_BEATEN),
        ([WORSE, WORSE - 0.2], None, Outcome.NOT_BETTER, NONE, 0.1, False, Decision.KEEP_CONFIRMED),
        ([WORSE, np.array([-math.inf] * 3)], None, Outcome.NOT_BETTER, NONE, 0.1, False, Decision.KEEP_CONFIRMED),
        ([np.array([-math.inf] * 3)], None, Outcome.NOT_BETTER, NONE, 0.1, False, Decision.INCONCLUSIVE),
    ],
)
def test_a_winner_gives_way_only_to_what_is_better_beyond_doubt_and_worth_it(
    screened, best, outcome, confirmed, worth, edge, decision
):
    assert decide(screened, best, outcome, confirmed, worth, edge) is decision


def test_three_like_gains_bound_nothing():
    """Quantised metrics often give equal differences; three of them are no proof of a spread of zero."""
    assert upper_bound([-0.1, -0.1, -0.1], 0.01) == math.inf
