import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayar.records import Curve, Measurement, Trial
from ayar.search import Population, Problem
from ayar.search.population import changed
from ayar.seeds import Purpose
from ayar.space import Choice, Float, Int, Space

SPACE = Space(rate=Float(1e-4, 1.0, log=True), momentum=Float(0.0, 0.9), layers=Int(1, 4), kind=Choice("a", "b"))
PROBLEM = Problem(SPACE, horizon=20, seed=3)


def members(losses, step=2):
    """Paused trials with these losses at a step at which trials are compared."""
    rng = np.random.default_rng(0)
    return [
        Trial(number, SPACE.sample(rng), number, Purpose.SEARCH, Curve((Measurement(step, loss),)), step)
        for number, loss in enumerate(losses)
    ]


def test_the_worst_quarter_is_replaced_by_offspring_of_the_best_quarter():
    """Twelve trials with losses 0 to 11: three offspring of trials 0 to 2 come; 9 to 11 are not continued."""
    history = members(range(12))

    proposals = Population().propose(PROBLEM, history, 20)

    assert [p.parent for p in proposals[:3]] == [p.parent for p in proposals if p.parent is not None]
    assert {p.parent for p in proposals[:3]} <= {0, 1, 2}
    assert {p.stop_step for p in proposals} == {4}
    assert [p.trial for p in proposals[3:]] == list(range(9))


def test_only_numbers_that_do_not_shape_the_net_change():
    history = members(range(12))

    for proposal in Population().propose(PROBLEM, history, 3):
        parent = history[proposal.parent].config
        assert (proposal.config["layers"], proposal.config["kind"]) == (parent["layers"], parent["kind"])
        assert proposal.config["rate"] != parent["rate"]


def test_who_was_replaced_once_is_not_replaced_again():
    history = members(range(12))
    child = Trial(12, SPACE.default(), 12, Purpose.SEARCH, Curve(), 4, parent=0, fork_step=2)

    proposals = Population().propose(PROBLEM, [*history, child], 20)

    assert sum(proposal.parent is not None for proposal in proposals) == 2


def test_equal_trials_are_not_all_the_worst():
    proposals = Population().propose(PROBLEM, members([0.5] * 12), 20)

    assert sum(proposal.trial is not None for proposal in proposals) == 9


def test_a_diverged_trial_is_replaced():
    history = [*members(range(11)), *members([math.nan])]
    history[11] = Trial(11, history[11].config, 11, curve=Curve((Measurement(2, math.nan),)), target_step=2)

    proposals = Population().propose(PROBLEM, history, 20)

    assert sum(proposal.parent is not None for proposal in proposals) == 3  # of it, and of trials 9 and 10
    assert {proposal.trial for proposal in proposals if proposal.parent is None} == set(range(9))


@pytest.mark.parametrize(
    "problem",
    [Problem(Space(layers=Int(1, 9)), 20), Problem(SPACE, 20, sliceable=False), Problem(SPACE, 1)],
)
def test_where_nothing_can_change_on_the_way_another_searcher_takes_over(problem):
    population = Population()

    assert population.propose(problem, [], 3) == population.unchanging.propose(problem, [], 3)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_changed_configuration_lies_in_the_space(seed):
    rng = np.random.default_rng(seed)

    assert SPACE.contains(changed(SPACE, SPACE.sample(rng), rng))
