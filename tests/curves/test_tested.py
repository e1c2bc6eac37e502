"""Advice becomes a trial with the same seed, and what came of it is counted for its rule."""

import math

import pytest

import ayar
from ayar.curves.tested import Outcome, hit_rates
from ayar.errors import NotInLedger
from ayar.records import Advice
from ayar.reports.sentences import hit_rate
from ayar.seeds import Purpose

SPACE = ayar.Space(learning_rate=ayar.Float(1e-4, 10.0, log=True), iterations=ayar.Int(10, 40))


def train(config, seed):
    """Gradient descent on w^2 / 2 from 1: slow for small rates, diverging above 2. The seed is told, too."""
    w = 1.0
    for _ in range(config["iterations"] + 1):
        loss = w * w / 2
        yield {"train_probe": loss, "valid_loss": loss + 0.1, "error": loss, "seed": seed}
        w -= config["learning_rate"] * w


@pytest.fixture
def study():
    with ayar.Study(space=SPACE, minimize="error", horizon=40) as study:
        yield study


def test_a_slow_trial_is_followed_by_a_faster_one_with_the_same_seed(study):
    slow = study.attempt(train, learning_rate=0.003, iterations=40)
    found = study.follow(train, slow.id)
    faster = study.trials()[found.attempt]

    assert found.rule == "too slow: learning_rate"
    assert faster.config["learning_rate"] > slow.config["learning_rate"]
    assert (faster.seed, faster.purpose) == (slow.seed, Purpose.ATTEMPT)
    assert found.helped
    assert (found.before, found.after) == (slow.loss, faster.loss)


def test_the_outcome_is_on_record_once(study):
    slow = study.attempt(train, learning_rate=0.003, iterations=40)
    first, again = study.follow(train, slow.id), study.follow(train, slow.id)

    assert first == again
    assert [note.body for note in study.notes("advice tried")] == [first.to_dict()]
    assert study.story().tried == {"too slow: learning_rate": (1, 1)}


def test_a_diverged_trial_is_followed_to_the_horizon(study):
    wild = study.add({"learning_rate": 5.0, "iterations": 40}, [{"step": 3, "error": math.nan}])
    found = study.follow(train, wild.id)

    assert found.rule == "diverging: learning_rate"
    assert found.before == math.inf
    assert found.helped
    assert study.trials()[found.attempt].curve.last_step == 40


def test_a_paused_trial_is_followed_as_far_as_it_went(study):
    rows = [{"step": k, "error": 1 / (k + 1), "train_probe": 1 - 0.001 * k} for k in range(12)]
    paused = study.add({"learning_rate": 0.001, "iterations": 40}, rows, ended=False)
    found = study.follow(train, paused.id)

    assert study.trials()[found.attempt].curve.last_step == 11


def test_advice_that_hurts_is_counted_as_such(study):
    good = study.attempt(train, learning_rate=0.5, iterations=40)
    found = study.follow(train, good.id, Advice("too slow", "A guess.", {"learning_rate": 3.0}))

    assert not found.helped
    assert study.story().tried == {"too slow: learning_rate": (0, 1)}


def test_a_trial_without_advice_is_refused(study):
    good = study.attempt(train, learning_rate=0.5, iterations=10)
    with pytest.raises(NotInLedger, match="no advice on trial 0 to try inside the space"):
        study.follow(train, good.id, Advice("too slow", "A guess.", widen={"learning_rate": 30.0}))
    with pytest.raises(NotInLedger, match="no trial 7"):
        study.follow(train, 7)


def test_every_advice_shows_the_hit_rate_of_its_rule(study):
    advice = Advice("too slow", "Steps are too short.", {"learning_rate": 0.03})
    outcomes = [Outcome(advice.rule, 0, k, 1.0, after).to_dict() for k, after in enumerate([0.5, 0.9, 1.1, 0.2])]

    assert hit_rates(outcomes) == {"too slow: learning_rate": (3, 4)}
    assert hit_rate(study.story(tried=hit_rates(outcomes)), advice) == " (Helped in 3 of 4.)"
    assert hit_rate(study.story(), advice) == ""


def test_an_infinite_loss_is_written_as_none():
    told = Outcome("diverging: lr", 0, 1, math.inf, 0.5).to_dict()

    assert (told["before"], told["after"], told["helped"]) == (None, 0.5, True)
