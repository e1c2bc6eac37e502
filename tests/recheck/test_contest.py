"""The contest of a recheck in simulated worlds whose truth is known, through the code that decides."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.errors import BudgetError
from ayar.recheck.confirm import Outcome
from ayar.recheck.contest import contest, design, power

WORLDS = 2000
SPREAD = 2 * math.sqrt(0.05 * 0.95 / WORLDS)  # two standard errors of a simulated rate of 5 %
PLAN = design(40, 6)


# -- the budget


@settings(deadline=None, max_examples=100)
@given(st.integers(12, 300), st.integers(1, 12))
def test_a_design_keeps_its_budget_and_can_prove_something(trainings, available):
    plan = design(trainings, available)
    assert plan.trainings <= trainings
    assert 1 <= plan.challengers <= min(available, 6)
    assert plan.looks[-1].pairs >= 4


@settings(deadline=None, max_examples=50)
@given(st.integers(12, 299), st.integers(1, 12))
def test_more_trainings_never_screen_fewer(trainings, available):
    assert design(trainings + 1, available).challengers >= design(trainings, available).challengers


@pytest.mark.parametrize("trainings", [-1, 0, 11])
def test_a_budget_that_cannot_reach_four_pairs_is_refused(trainings):
    with pytest.raises(BudgetError, match=rf"trainings={trainings} can't settle anything.*Give at least 12"):
        design(trainings, 6)


# -- simulated worlds: one incumbent, six challengers; what a seed shares cancels in a pair, so it isn't drawn


def gauss(rng, shape):
    return rng.standard_normal(shape)


def heavy_tailed(rng, shape):
    return rng.standard_t(3, shape) / math.sqrt(3)


def skewed(rng, shape):
    return rng.exponential(size=shape) - 1


def failing(rng, shape):
    return np.where(rng.random(shape) < 0.05, math.inf, rng.standard_normal(shape))


def read(table, arms, numbers):
    return [table[arm, numbers.start : numbers.stop] for arm in arms]


def alarms(noise, *, gain=0.0, noisy=1.0, reuse=False, seed=0):
    """Share of worlds in which the challenger is proven better; the first one is, by ``gain`` single-run spreads."""
    rng = np.random.default_rng(seed)
    proven = 0
    for _ in range(WORLDS):
        tables = math.sqrt(0.5) * noise(rng, (2, 7, 11))
        tables[:, 6] *= noisy
        tables[:, 1] -= gain
        fresh = tables[0] if reuse else tables[1]
        proven += contest(PLAN, partial(read, tables[0]), partial(read, fresh)).outcome is Outcome.BETTER
    return proven / WORLDS


@pytest.mark.parametrize(
    ("noise", "noisy"),
    [(gauss, 1.0), (gauss, 6.0), (heavy_tailed, 1.0), (skewed, 1.0), (failing, 1.0)],
    ids=["normal", "one six times noisier", "heavy tails", "skewed", "failing"],
)
def test_in_a_world_where_all_are_equal_at_most_one_recheck_in_twenty_raises_an_alarm(noise, noisy):
    assert alarms(noise, noisy=noisy) <= 0.05 + SPREAD


def test_reusing_the_screening_seeds_in_the_confirmation_would_raise_too_many_alarms():
    """The promise above can be broken, and this is how."""
    assert alarms(gauss, reuse=True) > 0.05 + SPREAD


def test_a_challenger_better_by_the_spread_of_a_run_is_found_seven_times_out_of_ten():
    assert alarms(gauss, gain=1.0) >= 0.70


def test_the_stated_power_is_that_of_the_contest():
    assert power(PLAN, 1.0, 0.5, worlds=1000) == pytest.approx(alarms(gauss, gain=1.0), abs=0.05)


def test_shared_seeds_raise_the_power():
    assert power(PLAN, 0.7, 0.8) > power(PLAN, 0.7, 0.0) + 0.2


def test_each_round_leaves_out_the_worst_and_only_the_best_is_confirmed():
    asked = []

    def losses(arms, numbers):
        asked.append((list(arms), numbers))
        return [np.array([arm + 0.01 * ((7 * n + arm) % 3) for n in numbers]) * -1.0 for arm in arms]

    result = contest(PLAN, losses, losses)
    assert asked[:2] == [([0], range(3)), ([1, 2, 3, 4, 5, 6], range(1))]
    assert [(sorted(arms), seeds) for arms, seeds in asked[2:5]] == [
        ([3, 4, 5, 6], range(2)),
        ([4, 5, 6], range(3)),
        ([5, 6], range(4)),
    ]
    assert asked[5:] == [([0, 6], range(5)), ([0, 6], range(5, 11))]
    assert result.seeds == (1, 1, 2, 3, 4, 4)
    assert (result.best, result.outcome) == (5, Outcome.BETTER)


def test_where_nobody_looks_better_nothing_is_confirmed():
    def losses(arms, numbers):
        return [np.array([4.0 * arm + 0.1 * n for n in numbers]) for arm in arms]

    result = contest(PLAN, losses, None)
    assert (result.best, result.outcome, len(result.confirmed)) == (None, Outcome.NOT_BETTER, 0)
