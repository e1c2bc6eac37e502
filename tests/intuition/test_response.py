"""A good range is what the best trials had in common, with their number."""

import math

import pytest

from ayar.errors import NotEnoughEvidence, SpaceError
from ayar.intuition import good_range
from ayar.records import Curve, Measurement, Trial
from ayar.space import Choice, Float, Int, PerLayer, Space

SPACE = Space(
    x=Float(0.0, 1.0),
    activation=Choice("relu", "tanh"),
    layers=Int(1, 2),
    units=PerLayer(Int(1, 9), layers="layers"),
    iterations=5,
)


def trials(n):
    """Trial i has x = i / n and loss (x - 0.5)^2; every third diverged."""
    for i in range(n):
        config = {"x": i / n, "activation": "relu" if i % 2 else "tanh", "layers": 2, "units": [3, 7]}
        loss = math.inf if i % 3 == 0 else (i / n - 0.5) ** 2
        yield Trial(i, config, i, curve=Curve((Measurement(1, loss),)), target_step=1, ended=True)


def test_the_range_of_the_best_quarter_is_given():
    """Of 40 trials that did not diverge the best ten lie around one half."""
    found = good_range(list(trials(60)), SPACE, "x")

    assert (found.low, found.high) == (pytest.approx(23 / 60), pytest.approx(37 / 60))
    assert (found.trials, found.of) == (10, 40)
    assert abs(found.values[0] - 0.5) == min(abs(value - 0.5) for value in found.values)


def test_words_are_counted():
    found = good_range(list(trials(60)), SPACE, "activation")

    assert (found.low, found.high) == (None, None)
    assert found.counts == {"relu": 6, "tanh": 4}


def test_every_layer_counts():
    found = good_range(list(trials(60)), SPACE, "units")

    assert (found.low, found.high, found.trials) == (3, 7, 10)


def test_fewer_than_five_good_trials_are_refused():
    with pytest.raises(NotEnoughEvidence, match="4 of the best quarter of 16 trials"):
        good_range(list(trials(24)), SPACE, "x")


def test_a_fixed_value_has_no_range():
    with pytest.raises(NotEnoughEvidence, match="fixed at 5"):
        good_range(list(trials(60)), SPACE, "iterations")


def test_an_unknown_name_is_refused():
    with pytest.raises(SpaceError, match="depth"):
        good_range(list(trials(60)), SPACE, "depth")
