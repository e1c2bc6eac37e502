import json
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.reports.stories import story

from ayar.records import Confidence, Curve, Measurement, Purpose, Score, ScoreKind, State, Trial, Verdict
from ayar.reports import tables
from ayar.reports.tables import Story
from ayar.space import Float, Space


def small(*trials, **more):
    space = Space(learning_rate=Float(1e-3, 10.0, log=True), iterations=3)
    return Story(**{"name": "s", "metric": "valid_error", "horizon": 3, "space": space, "trials": trials, **more})


def trial(number, losses, **more):
    curve = Curve(tuple(Measurement(k, loss, 1.0, {"valid_error": loss}) for k, loss in enumerate(losses)))
    return Trial(number, {"learning_rate": 0.1, "iterations": 3}, 7, curve=curve, **more)


def test_trials_on_confirmation_seeds_are_not_among_the_searched():
    told = small(trial(0, [0.9, 0.2]), trial(1, [0.9, 0.1], purpose=Purpose.FINALISE))

    assert [t.id for t in told.searched] == [0]
    assert [t.id for t in told.ranked] == [0]


def test_a_maximised_metric_is_told_in_its_own_sign():
    curve = Curve((Measurement(1, -0.8, metrics={"valid_accuracy": 0.8}),))
    told = small(Trial(0, {"learning_rate": 0.1}, 1, curve=curve), metric="valid_accuracy", maximize=True)

    assert told.score_of(told.trials[0]) == 0.8
    assert told.told(0.8) == "80.0 %"
    assert tables.metric_curve(told, told.trials[0]) == ([1], [0.8])


def test_a_metric_that_was_not_recorded_is_read_from_the_loss():
    told = small(Trial(0, {}, 1, curve=Curve((Measurement(1, -2.0),))), metric="reward", maximize=True)

    assert tables.metric_curve(told, told.trials[0]) == ([1], [2.0])


def test_the_train_probe_stands_for_the_cost():
    assert tables.cost_name(story(6)) == "train_probe"
    assert tables.cost_name(small(trial(0, [0.5]))) is None
    assert tables.cost_curve(small(trial(0, [0.5])), trial(0, [0.5])) == ([], [])


def test_rows_for_programs_are_strict_json():
    """NaN is no JSON: a trial that diverged has null in its place."""
    rows = tables.trial_rows(story(30))

    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    diverged = next(row for row in rows if row["state"] == State.DIVERGED)
    assert diverged["valid_error"] is None


def test_a_row_says_what_is_known_of_a_trial():
    told = small(trial(0, [0.9, 0.25, 0.5], ended=True))

    assert tables.trial_rows(told) == [
        {
            "trial": 0,
            "state": "completed",
            "purpose": "search",
            "seed": 7,
            "parent": None,
            "steps": 2,
            "valid_error": 0.25,
            "cost_s": 3.0,
            "verdict": None,
            "error": None,
            "config.learning_rate": 0.1,
            "config.iterations": 3,
        }
    ]


def test_a_metric_called_error_has_its_column_and_failures_one_beside_it():
    curve = Curve((Measurement(1, 0.25, metrics={"error": 0.25}),))
    told = small(Trial(0, {}, 1, curve=curve), Trial(1, {}, 1, error="no GPU"), metric="error")

    rows = tables.trial_rows(told)

    assert [(row["error"], row["failure"]) for row in rows] == [(0.25, None), (None, "no GPU")]


def test_details_and_winner_are_strict_json_too():
    told = story(30)
    number = next(t.id for t in told.trials if t.diverged)

    details = tables.trial_details(told, number)

    assert json.loads(json.dumps(details, allow_nan=False)) == details
    assert details["curve"][-1]["loss"] is None
    assert details["verdicts"][0]["name"] == "diverging"
    row = tables.winner_row(told)
    assert row["scores"]["fresh-seed"]["mean"] == 0.0183
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert tables.winner_row(replace(told, winner=None)) is None


@pytest.mark.parametrize(
    ("value", "safe"),
    [(np.float32(0.5), 0.5), (np.int64(3), 3), (-math.inf, None), ({1: {2}}, {"1": [2]}), (b"x", "b'x'"), (True, True)],
)
def test_json_safe_knows_numpy_sets_and_strangers(value, safe):
    assert tables.json_safe(value) == safe


def test_the_telling_curves_are_the_best_a_diverging_and_a_slow_one():
    told = story(80)

    first, second, third = tables.telling(told)

    assert first == told.winner.trial
    assert told.headline(told.trial(second)) == "diverging"
    assert told.headline(told.trial(third)) == "too slow"


def test_the_telling_curves_are_fewer_where_a_study_has_less_to_tell():
    assert tables.telling(small()) == []
    assert tables.telling(small(trial(0, [0.9, 0.2]), trial(1, [0.9, 0.3]))) == [0, 1]
    assert tables.telling(small(trial(0, [0.9, math.nan]))) == [0]


def test_no_trial_is_told_twice_as_telling():
    slow = (Verdict("too slow", Confidence.STRONG, "It is slow."),)
    told = small(trial(0, [0.9, 0.2]), trial(1, [0.9, 0.8]), verdicts={0: slow, 1: slow})

    assert tables.telling(told) == [0, 1]


def test_a_curve_without_a_clear_fault_is_the_last_to_be_told():
    verdicts = {
        0: (Verdict("falling well", Confidence.STRONG, "It fell."),),
        1: (Verdict("no clear fault", Confidence.WEAK, "Nothing."),),
        2: (Verdict("spikes", Confidence.WEAK, "It jumped."),),
    }
    told = small(trial(0, [0.9, 0.2]), trial(1, [0.9, 0.3]), trial(2, [0.9, 0.8]), verdicts=verdicts)

    assert tables.telling(told) == [0, 2, 1]


def test_what_never_changed_is_told_once():
    told = small(trial(0, [0.9]), replace(trial(1, [0.9]), config={"learning_rate": 0.2, "iterations": 3}))

    assert tables.fixed(told) == [("iterations", "3")]
    assert tables.fixed(small()) == []


def test_states_are_counted_in_the_order_of_a_life():
    told = small(trial(0, [0.9, math.nan]), trial(1, [0.9], ended=True), trial(2, [0.9], target_step=2))

    assert told.states == {State.RUNNING: 1, State.COMPLETED: 1, State.DIVERGED: 1}


def test_the_interval_of_a_share_stays_within_zero_and_one():
    shares = Score(ScoreKind.FRESH_SEED, 0.02, -0.03, 0.07, (0.01, 0.03))
    assert story(winner=None, percent=True).interval(shares) == (0.0, 0.07)
    assert story(winner=None, percent=False).interval(shares) == (-0.03, 0.07)


def test_of_many_trials_the_best_and_an_even_sample_are_worth_reading():
    trials = [Trial(n, {"x": n}, n, curve=Curve((Measurement(1, abs(n - 70) / 100),)), ended=True) for n in range(100)]
    assert tables.worth_reading(trials, 100) == trials
    assert [t.id for t in tables.worth_reading(trials, 10)] == [0, 20, 40, 60, 68, 69, 70, 71, 72, 80]
