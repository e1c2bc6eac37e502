"""What is particular to the Gaussian process search."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm

from ayar.records import Curve, Measurement, Trial
from ayar.search import Bayesian, Halving, Problem, QuasiRandom
from ayar.search.bayesian import log_improvement
from ayar.seeds import Purpose
from ayar.space import Choice, Float, Space

PLANE = Space(x=Float(0, 1), y=Float(0, 1), kind=Choice("a", "b", "c"))


def bowl(config):
    return (config["x"] - 0.7) ** 2 + (config["y"] - 0.2) ** 2 + 0.1 * (config["kind"] != "b")


def searched(searcher, problem, n, loss=bowl, at_a_time=1):
    history = []
    while len(history) < n:
        for proposal in searcher.propose(problem, history, at_a_time):
            number = len(history)
            value = loss(proposal.config)
            broken = {"error": "out of memory"} if value is None else {}
            curve = Curve() if value is None else Curve((Measurement(1, value),))
            history.append(Trial(number, proposal.config, number, curve=curve, target_step=1, ended=True, **broken))
    return history


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("at_a_time", [1, 4])
def test_it_comes_closer_to_the_best_than_points_spread_evenly(seed, at_a_time):
    problem = Problem(PLANE, 1, seed)
    found, even = (
        min(trial.loss for trial in searched(searcher, problem, 40, at_a_time=at_a_time))
        for searcher in (Bayesian(), QuasiRandom())
    )

    assert found < even / 2
    assert found < 0.005


def test_the_scale_of_the_loss_does_not_matter():
    problem = Problem(PLANE, 1, 3)
    plain = searched(Bayesian(), problem, 25)
    bent = searched(Bayesian(), problem, 25, loss=lambda config: 2.0**90 * bowl(config))

    assert [trial.config for trial in plain] == [trial.config for trial in bent]


def test_the_first_configurations_are_spread_evenly():
    problem = Problem(PLANE, 1, 3)

    configs = [trial.config for trial in searched(Bayesian(), problem, 5)]
    assert configs == [proposal.config for proposal in QuasiRandom().propose(problem, [], 5)]


def test_one_of_ten_stays_unmodelled():
    problem = Problem(PLANE, 1, 3)
    history = searched(Bayesian(), problem, 33)

    for number in range(8, 33):
        evenly = QuasiRandom().propose(problem, history[:number], 1)[0].config
        assert (history[number].config == evenly) == (number % 10 == 0)


def test_where_trainings_fail_it_goes_less_and_less():
    history = searched(Bayesian(), Problem(PLANE, 1, 1), 40, loss=lambda c: None if c["x"] > 0.5 else bowl(c))
    modelled = [trial for trial in history[20:] if trial.id % 10]

    assert np.mean([trial.error is not None for trial in modelled]) < 0.25


def test_outstanding_trainings_keep_others_away():
    problem = Problem(PLANE, 1, 2)
    history = searched(Bayesian(), problem, 12)

    points = [PLANE.encode(proposal.config) for proposal in Bayesian().propose(problem, history, 4)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(points, 2)) > 0.02


def test_an_attempt_outside_the_space_does_not_disturb():
    problem = Problem(PLANE, 1, 2)
    history = searched(Bayesian(), problem, 13)
    outside = Trial(13, {"x": 7.0, "y": 0.0, "kind": "b"}, 1, Purpose.ATTEMPT, Curve((Measurement(1, 0.0),)), 1, True)

    assert Bayesian().propose(problem, [*history, outside], 3) == Bayesian().propose(problem, history, 3)


def test_halving_can_stand_on_it():
    problem = Problem(PLANE, 9, 1)
    history = [
        Trial(i, proposal.config, i, curve=Curve((Measurement(1, bowl(proposal.config)),)), target_step=1, ended=True)
        for i, proposal in enumerate(QuasiRandom().propose(problem, [], 9))
    ]

    (proposal,) = Halving(base=Bayesian()).propose(problem, history, 1)
    assert proposal.config == Bayesian().propose(problem, history, 1)[0].config
    assert proposal.stop_step == 1


@pytest.mark.parametrize("gap", [-2.0, -0.1, 0.0, 0.5, 3.0])
def test_the_expected_improvement_is_the_textbook_one(gap):
    sd = 0.3
    expected = gap * norm.cdf(gap / sd) + sd * norm.pdf(gap / sd)

    assert log_improvement(np.array([gap]), np.array([sd]))[0] == pytest.approx(math.log(expected), rel=1e-6)


def test_improvements_too_small_for_a_float_are_still_told_apart():
    less, more = log_improvement(np.array([-100.0, -90.0]), np.array([1.0, 1.0]))

    assert -math.inf < less < more
