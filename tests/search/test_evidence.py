"""What the model-based searchers take from a history."""

import math

import numpy as np
import pytest

from ayar.records import Curve, Measurement, Trial
from ayar.search import Problem
from ayar.search.evidence import Evidence, telling, warped
from ayar.seeds import Purpose
from ayar.space import Float, Space

SPACE = Space(x=Float(0, 1))


def trial(number, x, losses=(), **more):
    curve = Curve(tuple(Measurement(step, loss) for step, loss in enumerate(losses, start=1)))
    return Trial(number, {"x": x}, number, curve=curve, target_step=more.pop("target", len(losses)), **more)


def test_trials_are_told_apart_by_what_they_can_say():
    history = [
        trial(0, 0.1, [0.5]),
        trial(1, 0.2, [math.nan]),
        trial(2, 0.3, [0.4], error="killed"),
        trial(3, 0.4, target=1),
        trial(4, 1.5, [0.3]),  # the space was narrowed since
        trial(5, 1.5, [0.2], purpose=Purpose.ATTEMPT),  # somebody looked what happens there
        trial(6, 0.5, [0.1], purpose=Purpose.RERANK),
    ]

    evidence = Evidence.of(Problem(SPACE, 9), history)
    assert evidence.told.tolist() == [0, 4]
    assert evidence.broken.tolist() == [1, 2]
    assert evidence.outstanding.tolist() == [3]


def test_trials_are_compared_at_the_latest_step_that_eight_of_them_got_to():
    history = [trial(i, i / 10, [0.5, 0.9, 0.1][: 1 + (i > 1) + (i > 7)]) for i in range(10)]

    evidence = Evidence.of(Problem(SPACE, 9), history)
    assert evidence.told.tolist() == [2, 3, 4, 5, 6, 7, 8, 9]  # two steps, not the third
    assert evidence.losses[evidence.told].tolist() == [0.5] * 8


def test_scores_do_not_depend_on_the_unit_of_the_loss_and_no_outlier_pulls_at_them():
    losses = np.random.default_rng(0).normal(size=30)
    wild = losses.copy()
    wild[losses.argmax()] = 1e30

    assert warped(losses * 1e5 - 7) == pytest.approx(warped(losses))
    assert warped(wild) == pytest.approx(warped(losses))
    assert (np.argsort(warped(losses)) == np.argsort(losses)).all()


def test_two_trials_of_nearly_the_same_good_loss_get_nearly_the_same_score():
    losses = np.array([1.0, 1.0001, 2.0, 3.0, 4.0, 5.0, 6.0, math.inf])
    first, second, third, *_, last = warped(losses)

    assert 0 < second - first < 0.001
    assert third - second > 0.3
    assert math.isfinite(last)


def test_the_telling_ones_are_the_best_and_a_spread_of_the_others():
    losses = np.arange(100.0)[::-1]

    assert telling(losses, 200).tolist() == list(range(100))
    chosen = telling(losses, 10)
    assert len(chosen) == 10
    assert chosen.tolist()[-5:] == [95, 96, 97, 98, 99]
    assert chosen[0] == 0
