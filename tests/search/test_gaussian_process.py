"""The process over configurations, against its definition and cases with a known answer."""

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern

from ayar.search.gaussian_process import Embedding, Kernel, Process, fit_kernel
from ayar.space import Choice, Float, Int, PerLayer, Space

MIXED = Space(
    rate=Float(0, 1),
    kind=Choice("a", "b", "c"),
    size=Choice(16, 32, 64, ordered=True),
    layers=Int(1, 2),
    activation=PerLayer(Choice("relu", "tanh"), layers="layers"),
    epochs=9,
)


def embedded(**changes):
    return Embedding.of(MIXED)(MIXED.encode(MIXED.complete(changes))[None])[0]


def test_any_two_values_of_an_unordered_choice_are_equally_far_apart():
    a, b, c = (embedded(kind=kind) for kind in "abc")

    assert [np.linalg.norm(x - y) for x, y in ((a, b), (b, c), (a, c))] == pytest.approx([1, 1, 1])


def test_ordered_values_keep_their_order():
    small, middle, large = (embedded(size=size) for size in (16, 32, 64))

    assert np.linalg.norm(small - large) == pytest.approx(2 * np.linalg.norm(small - middle))


def test_every_embedded_coordinate_knows_where_it_comes_from():
    assert Embedding.of(MIXED).groups.tolist() == [0, 1, 1, 1, 2, 3, 4, 4, 5, 5]


def test_the_kernel_is_matern_five_halves():
    rng = np.random.default_rng(0)
    a, b, scales = rng.random((5, 3)), rng.random((4, 3)), np.array([0.3, 1.0, 2.0])

    assert Kernel(scales, 0.5)(a, b) == pytest.approx(Matern(length_scale=scales, nu=2.5)(a, b))


def test_without_noise_the_process_goes_through_what_it_saw():
    points = np.linspace(0, 1, 6)[:, None]
    values = np.sin(5 * points[:, 0])
    mean, variance = Process.seeing(Kernel(np.array([0.4]), 1.0), points, values).predict(points)

    assert mean == pytest.approx(values, abs=1e-3)
    assert variance == pytest.approx(np.zeros(6), abs=1e-4)


def test_far_from_everything_it_knows_nothing_but_the_mean():
    process = Process.seeing(Kernel(np.array([0.01]), 0.8), np.array([[0.1], [0.3], [0.5]]), np.array([1.0, 2.0, 6.0]))

    mean, variance = process.predict(np.array([[0.9]]))
    assert process.expects(np.array([[0.9]])) == pytest.approx(mean)
    assert mean == pytest.approx([3.0], abs=1e-6)
    assert variance == pytest.approx([0.8], abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_tells_what_matters_from_what_does_not(seed):
    rng = np.random.default_rng(seed)
    points = rng.random((40, 3))
    kernel = fit_kernel(points, np.arange(3), np.sin(6 * points[:, 1]))

    assert kernel.scales[1] < min(kernel.scales[0], kernel.scales[2]) / 3
    assert kernel.share > 0.9


def test_the_fit_finds_that_noise_is_noise():
    rng = np.random.default_rng(0)

    assert fit_kernel(rng.random((60, 2)), np.arange(2), rng.normal(size=60)).share < 0.6
