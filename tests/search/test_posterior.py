"""What configurations and curves say together."""

import numpy as np
import pytest

from ayar.search.gaussian_process import Kernel
from ayar.search.posterior import Posterior, Spread

KERNEL = Kernel(np.array([0.3, 0.5]), share=0.8)


def _seen(n=12, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.random((n, 2))
    return points, np.sin(3 * points[:, 0]) + points[:, 1], rng.uniform(0.01, 0.5, n)


def _joined(points, ends, noise, least=0.0):
    return Posterior.joining(KERNEL, points, ends, noise, Spread.of(KERNEL(points, points), ends, noise, least))


def test_a_posterior_is_the_posterior_of_a_gaussian_process():
    """Against the textbook formula, with a plain inverse."""
    points, ends, noise = _seen()
    posterior = _joined(points, ends, noise)
    explained, own = posterior._explained, posterior._own
    prior = explained * KERNEL(points, points) + own * np.eye(12)
    inverse = np.linalg.inv(prior + np.diag(noise))
    middle = np.ones(12) @ inverse @ ends / (np.ones(12) @ inverse @ np.ones(12))
    assert posterior.mean == pytest.approx(middle + prior @ inverse @ (ends - middle), abs=1e-4)
    assert posterior.variance == pytest.approx(np.diag(prior - prior @ inverse @ prior), abs=1e-4)
    new = np.array([[0.2, 0.9], [0.7, 0.1]])
    cross = explained * KERNEL(new, points)
    mean, variance = posterior.at(new)
    assert mean == pytest.approx(middle + cross @ inverse @ (ends - middle), abs=1e-4)
    assert variance == pytest.approx(explained + own - np.diag(cross @ inverse @ cross.T), abs=1e-4)


def test_a_precise_measurement_is_believed_and_a_vague_one_gives_way_to_its_neighbours():
    points = np.array([[0.5, 0.5], [0.5, 0.5], [0.51, 0.5], [0.9, 0.1], [0.1, 0.9]])
    ends = np.array([0.0, 2.0, 0.0, 1.0, 0.5])
    posterior = _joined(points, ends, np.array([0.001, 5.0, 0.001, 0.001, 0.001]))
    assert abs(posterior.mean[0]) < 0.1
    assert posterior.mean[1] < 0.6


def test_ends_differ_by_no_less_than_is_said():
    points, _, noise = _seen()
    posterior = _joined(points, np.zeros(12), noise, least=4.0)
    assert posterior._explained + posterior._own == pytest.approx(4.0)
