"""The history with its columns says what its trials say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayar.records import Curve, Measurement, State, Trial
from ayar.search.halving import LossesAt
from ayar.search.history import FACTS, PURPOSES, STATES, History, Points, column
from ayar.seeds import Purpose
from ayar.space import Choice, Float, Int, Space

SPACE = Space(rate=Float(1e-3, 1.0, log=True), units=Int(1, 8), kind=Choice("a", "b"))
ASKED = (FACTS, Points(SPACE), LossesAt((1, 3, 9)))


@st.composite
def trials(draw, number):
    """A trial that may be in any state, and may have a configuration that the space cannot place."""
    steps = draw(st.integers(0, 4))
    losses = draw(st.lists(st.sampled_from([0.1, 0.5, 2.0, math.nan, math.inf]), min_size=steps, max_size=steps))
    curve = Curve(
        tuple(Measurement(step, loss, 0.5) for step, loss in enumerate(losses, start=draw(st.integers(0, 1))))
    )
    config = {"rate": draw(st.sampled_from([0.01, 0.1, 5.0, -1.0])), "units": 3, "kind": draw(st.sampled_from("abc"))}
    return Trial(
        number,
        config,
        number,
        draw(st.sampled_from(Purpose)),
        curve,
        draw(st.integers(curve.last_step, 9)),
        draw(st.booleans()),
        draw(st.sampled_from([None, "killed"])),
    )


def assert_alike(history, plain):
    for asked in ASKED:
        kept, anew = column(history, asked), column(plain, asked)
        assert kept.shape == anew.shape
        for name in kept.dtype.names or [...]:  # NumPy finds no NaN equal inside structured arrays
            np.testing.assert_array_equal(kept[name], anew[name])


@given(data=st.data())
def test_columns_kept_from_change_to_change_are_those_made_anew(data):
    history, plain = History(), []
    for _ in range(data.draw(st.integers(0, 8))):
        number = data.draw(st.integers(0, len(plain)))
        trial = data.draw(trials(number))
        plain[number : number + 1] = [trial]
        history.put(trial)
        if data.draw(st.booleans()):
            assert_alike(history, plain)

    assert list(history) == plain
    assert_alike(history, plain)


@given(trial=trials(7))
def test_the_facts_are_what_the_trial_says_of_itself(trial):
    (facts,) = column([trial], FACTS)

    assert STATES[facts["state"]] is trial.state
    assert PURPOSES[facts["purpose"]] is trial.purpose
    assert facts["loss"] == trial.loss
    assert facts["cost_s"] == trial.cost_s
    assert (facts["id"], facts["last_step"], facts["readings"]) == (7, trial.curve.last_step, len(trial.curve.trained))


def test_points_beyond_the_range_lie_beyond_the_cube_and_what_has_no_place_is_nan():
    rows = column(
        [Trial(i, {"rate": rate, "units": 1, "kind": "a"}, i) for i, rate in enumerate([1e3, -1.0])], Points(SPACE)
    )

    assert rows[0] == pytest.approx([2.0, 1 / 16, 0.25])
    assert np.isnan(rows[1]).all()


def test_a_column_cannot_be_written_to():
    history = History([Trial(0, SPACE.default(), 0)])

    with pytest.raises(ValueError, match="read-only"):
        history.column(FACTS)["loss"] = 0.0


def test_trials_are_found_by_number_and_by_configuration():
    first, second = Trial(4, {"rate": 0.1}, 1), Trial(9, {"rate": 0.2}, 2)
    again = Trial(11, {"rate": 0.1}, 3, Purpose.RERANK)
    history = History([first, second, again])

    assert history.numbered(9) is second
    assert history.numbered(5) is None
    assert history.of({"rate": 0.1}) == [first, again]
    assert history.started[Purpose.SEARCH] == 2
    assert [trial.state for trial in history] == [State.PAUSED] * 3
