"""The curves on the page that show why a verdict was given."""

import re

import pytest
from tests.reports.stories import SPACE

from ayar.curves import diagnose
from ayar.records import Curve, Measurement, Trial
from ayar.reports import figures
from ayar.reports.page import render
from ayar.reports.sentences import summary
from ayar.reports.tables import Story
from ayar.reports.verdicts import drawn, readings


def told(*trials):
    verdicts = {trial.id: diagnose(trial.curve, horizon=40) for trial in trials}
    return Story("digits", "valid_error", 40, SPACE, trials, verdicts=verdicts)


def trial(number, probe, valid=None):
    """A trial with these losses on the probe and, where given, on validation rows."""
    rows = [{"train_probe": float(loss), "valid_error": 0.5} for loss in probe]
    for row, loss in zip(rows, valid or [], strict=False):
        row["valid_loss"] = float(loss)
    curve = Curve(tuple(Measurement(step, 0.5, 1.0, row) for step, row in enumerate(rows)))
    return Trial(number, {"learning_rate": 0.01, "hidden_layers": 1}, number, curve=curve, target_step=40, ended=True)


SLOW = [2.3 * 0.99**k for k in range(41)]
WILD = [2.3 * 1.2**k for k in range(41)]
FAST = [0.1 + 2.2 * 0.8**k for k in range(41)]
LEARNT_BY_HEART = [1 - 0.06 * min(k, 10) + 0.02 * max(k - 10, 0) for k in range(41)]


def test_each_headline_is_shown_once_the_most_frequent_first():
    shown = readings(told(trial(0, WILD), trial(1, SLOW), trial(2, SLOW), trial(3, FAST)))

    assert [reading.title.split(": ")[1] for reading in shown] == ["too slow", "diverging", "falling well"]
    assert "1 other trial has this headline, too." in shown[0].lines


def test_the_place_on_the_curve_is_marked_and_named():
    (reading,) = readings(told(trial(0, WILD)))

    assert 'class="place"' in reading.drawing
    assert re.search(r'<text class="found"[^>]*>diverging</text>', reading.drawing)
    assert "diverging from step 0 to 40" in reading.drawing  # for those who cannot see it


def test_what_to_try_stands_beside_it():
    (reading,) = readings(told(trial(0, SLOW)))
    assert reading.moves == ["Try learning_rate = 0.1: Steps are too short: take steps 10 times longer."]


def test_trials_that_were_stopped_early_are_counted():
    story = told(trial(0, WILD[:12]), trial(1, WILD), trial(2, SLOW[:12]))
    assert summary(story) == "3 trials (3 completed; 1 stopped early) · 62 steps · 65 s of training"


def test_overfitting_is_shown_beside_the_validation_loss():
    (reading,) = readings(told(trial(0, FAST, LEARNT_BY_HEART)))

    assert reading.title == "Trial 0: overfitting"
    assert 'class="l cx beside"' in reading.drawing


@pytest.mark.parametrize("losses", [[2.3], [2.3, float("nan")], [float("inf")] * 3, [0.0] * 41])
def test_curves_of_which_little_can_be_drawn_have_a_page(losses):
    assert "</html>" in render(told(trial(0, losses), trial(1, WILD)))


def test_a_name_beside_a_late_place_stays_inside_the_picture():
    svg = drawn([(range(41), SLOW)], [figures.Place("needs more iterations", 36, 40)], "loss")
    assert 'class="found end"' in svg
