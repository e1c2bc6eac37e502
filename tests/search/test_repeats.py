"""The recommendation by posterior mean, against numerical integration, and against the truth where that is known."""

import numpy as np
import pytest
from scipy.stats import norm

from ayar import Study
from ayar.records import Curve, Measurement, Trial
from ayar.search.repeats import posterior_means, steadiest
from ayar.space import Float, Space


def read(config, loss, number, step=1):
    return Trial(number, {"x": config}, number, curve=Curve((Measurement(step, loss),)), target_step=step, ended=True)


def test_repeats_that_differ_by_next_to_nothing_leave_the_means_as_they_are():
    means = np.array([3.0, 1.0, 2.0, 4.0, 5.0])
    assert posterior_means(means, np.array([2, 2, 1, 1, 1]), 1e-170).tolist() == means.tolist()


def test_posterior_means_are_those_of_numerical_integration():
    means, counts, noise = np.array([0.1, 0.14, 0.2, 0.3, 0.9]), np.array([1, 4, 2, 1, 1]), 0.05
    best = means[:4]
    spread = best.var(ddof=1) - (noise**2 / counts[:4]).mean()
    grid = np.linspace(-1, 2, 60_001)
    prior = norm.pdf(grid, best.mean(), spread**0.5)

    for mean, count, found in zip(means, counts, posterior_means(means, counts, noise), strict=True):
        density = prior * norm.pdf(mean, grid, noise / count**0.5)
        assert found == pytest.approx((grid * density).sum() / density.sum(), abs=1e-6)


def test_with_repeats_the_recommended_configuration_is_better_than_the_luckiest_reading():
    """20 configurations, the eight that read best are read three times more; what they are worth is known."""
    rng, gain = np.random.default_rng(0), []
    for _ in range(200):
        worth = rng.normal(0, 1, 20)
        first = worth + rng.normal(0, 1, 20)
        trials = [read(x, first[x], x) for x in range(20)]
        for x in np.argsort(first)[:8]:
            trials += [read(int(x), worth[x] + rng.normal(), len(trials) + k) for k in range(3)]
        luckiest = min(trials, key=lambda t: t.loss).config["x"]
        gain.append(worth[luckiest] - worth[steadiest(trials).config["x"]])

    assert np.mean(gain) > 3 * np.std(gain) / len(gain) ** 0.5 > 0


def test_without_repeats_there_is_no_opinion():
    assert steadiest([read(x, 0.1 * x, x) for x in range(9)]) is None


def test_shorter_trainings_are_not_compared_with_longer_ones():
    longer = [read(1, 0.5 + 0.01 * k, k, step=9) for k in range(5)]

    assert steadiest([*longer, read(2, 0.1, 9, step=3)]).config == {"x": 1}


def test_a_study_recommends_by_the_mean_once_configurations_are_read_with_several_seeds():
    study = Study(space=Space(x=Float(0, 1)), minimize="loss", searcher="random")
    for x, losses in {0.1: [0.2, 0.21, 0.19, 0.22], 0.2: [0.12, 0.35, 0.3, 0.33], 0.3: [0.5], 0.4: [0.6]}.items():
        for seed, loss in enumerate(losses):
            study.add({"x": x}, [{"step": 1, "loss": loss}], seed=seed)

    assert study.recommend().config == {"x": 0.1}
