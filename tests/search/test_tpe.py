"""What is particular to the tree-structured Parzen estimator."""

import math

import numpy as np
import pytest
from scipy.stats import truncnorm

from ayar.records import Curve, Measurement, Trial
from ayar.search import Problem, QuasiRandom, Tpe
from ayar.search.tpe import Density
from ayar.space import Choice, Float, Space

SPACE = Space(x=Float(0, 1), kind=Choice("a", "b"), y=Float(0, 1, when={"kind": "b"}))


def loss(config):
    return (config["x"] - 0.7) ** 2 + 0.2 * (config["kind"] == "a") + (config.get("y", 0.5) - 0.2) ** 2


def searched(searcher, problem, n):
    history = []
    while len(history) < n:
        for proposal in searcher.propose(problem, history, 1):
            curve = Curve((Measurement(1, loss(proposal.config)),))
            history.append(Trial(len(history), proposal.config, 0, curve=curve, target_step=1, ended=True))
    return history


@pytest.mark.parametrize("seed", range(3))
def test_its_later_trials_are_far_better_than_points_spread_evenly(seed):
    found, even = (
        np.mean([trial.loss for trial in searched(searcher, Problem(SPACE, 1, seed), 60)[30:]])
        for searcher in (Tpe(), QuasiRandom())
    )

    assert found < even / 2


def test_a_component_is_a_normal_density_cut_off_at_the_ends_of_the_axis():
    space = Space(x=Float(0, 1))
    density = Density.at(space, np.array([[0.1]]))
    queries = np.array([[0.05], [0.6]])

    low, high = (0 - 0.1) / density.width, (1 - 0.1) / density.width
    component = truncnorm(low, high, loc=0.1, scale=density.width).pdf(queries[:, 0])
    assert density.logs(queries) == pytest.approx(np.log((component + 1) / 2))  # half of the weight is uniform


def test_every_density_adds_up_to_one():
    rng = np.random.default_rng(0)
    density = Density.at(SPACE, SPACE.snap(rng.random((7, 3))))
    queries = SPACE.snap(rng.random((200_000, 3)))

    assert np.exp(density.logs(queries)).mean() == pytest.approx(1.0, abs=0.01)


def test_what_is_inactive_says_nothing():
    with_a = np.array([SPACE.encode({"x": 0.5, "kind": "a"})])
    density = Density.at(SPACE, with_a)
    high, low = (np.array([SPACE.encode({"x": 0.5, "kind": "b", "y": y})]) for y in (0.9, 0.1))

    assert density.logs(high) == pytest.approx(density.logs(low))
    assert math.isfinite(density.logs(high)[0])


def test_draws_lie_where_the_points_are():
    density = Density.at(SPACE, np.repeat([SPACE.encode({"x": 0.2, "kind": "b", "y": 0.9})], 50, axis=0))
    draws = density.draw(500, np.random.default_rng(1))

    assert np.mean(np.abs(draws[:, 0] - 0.2) < 0.3) > 0.85
    assert np.mean(draws[:, 1] > 0.5) > 0.8
