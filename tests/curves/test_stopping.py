"""A training is stopped early for divergence beyond doubt, and for nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayar.curves.stopping import FEWEST, diverges
from ayar.records import Curve, Measurement


def curve(losses, metric="train_probe"):
    return Curve(tuple(Measurement(step, 0.1, metrics={metric: float(loss)}) for step, loss in enumerate(losses)))


RISING = 2.3 * 1.3 ** np.arange(40)


def test_a_loss_that_climbs_above_its_start_is_stopped_after_a_few_measurements():
    seen = [n for n in range(1, 41) if diverges(curve(RISING[:n]), horizon=40)]

    assert seen[0] == FEWEST
    assert diverges(curve(RISING), horizon=40).name == "diverging"


def test_a_loss_that_jumps_about_high_above_its_start_is_stopped_too():
    assert diverges(curve([1.08, 5.76, 5.91, 15.75, 36.0, 12.78, 57.39, 33.99]), horizon=40)


@pytest.mark.parametrize(
    "losses",
    [
        2.3 * 0.999 ** np.arange(40),  # slow
        np.full(40, 2.3),  # stuck
        2.3 * 0.9 ** np.arange(40) + 5 * (np.arange(40) == 20),  # one spike
        np.r_[2.3, 3.1, 2.9, 2.4, 1.9, 1.5, 1.2, np.full(30, 1.0)],  # a bad start
        2.3 + 0.02 * (-1.0) ** np.arange(40),  # trembles where it began
        [2.3, 5.0],  # too short
        [],
    ],
)
def test_no_other_curve_is_stopped(losses):
    assert not any(diverges(curve(losses[:n]), horizon=40) for n in range(len(losses) + 1))


@pytest.mark.parametrize("metric", ["valid_loss", "loss"])
def test_a_validation_loss_alone_stops_nothing(metric):
    """It may rise by overfitting, after its best value has long been measured."""
    assert diverges(curve(RISING, metric), horizon=40) is None


@pytest.mark.parametrize("last", [math.inf, 1e300])
def test_a_training_loss_that_became_infinite_is_stopped_where_only_another_one_is_judged(last):
    losses = [1.0] * 6 + [last] * 3
    found = diverges(Curve(tuple(Measurement(n, 0.5, metrics={"train_probe": y}) for n, y in enumerate(losses))))
    assert found is not None


@given(st.lists(st.floats(0.1, 100), min_size=8, max_size=30), st.sampled_from([1e-6, 0.5, 1e6]))
def test_the_unit_of_the_loss_does_not_matter(losses, factor):
    stopped = diverges(curve(losses)) is not None
    assert (diverges(curve([factor * loss for loss in losses])) is not None) is stopped
