"""The course of a recheck: what the budget is spent on, and what may be concluded."""

import math
from itertools import count

import numpy as np
import pytest

from ayar.errors import NotEnoughEvidence
from ayar.recheck.confirm import Decision
from ayar.recheck.course import run
from ayar.recheck.findings import Shift, known_changes
from ayar.recheck.plan import Terms, plan
from ayar.records import Curve, Measurement, Metric, Score, ScoreKind, Trial, Winner, config_key
from ayar.seeds import Purpose
from ayar.space import Float, Space

SPACE = Space(learning_rate=Float(1e-4, 1.0, log=True), momentum=Float(0.0, 0.9))
METRIC = Metric("error")
INCUMBENT = {"learning_rate": 0.01, "momentum": 0.1}
FRESH = Score(ScoreKind.FRESH_SEED, 0.102, 0.0, 1.0, (0.10, 0.11, 0.09, 0.10, 0.11))
WINNER = Winner(0, INCUMBENT, 4, "error", {ScoreKind.FRESH_SEED: FRESH})
KEEP = (Decision.KEEP_NOT_BEATEN, Decision.KEEP_CONFIRMED)
HERE = {"data": {"content": "aa"}, "code": {"commit": "c1"}, "software": {"torch": "2.4"}, "hardware": {"cores": 2}}
NEW_TORCH = {**HERE, "software": {"torch": "2.5"}}
NEW_DATA = {**NEW_TORCH, "data": {"content": "bb"}}


def reranked():
    """Nine runners-up on two seeds each."""
    numbers = count()
    return [
        Trial(next(numbers), {**INCUMBENT, "learning_rate": 10 ** (-i / 2.5), "momentum": 0.1 * (i % 10)}, seed,
              Purpose.RERANK, Curve((Measurement(4, 0.1 + 0.001 * i * seed),)), 4, ended=True)
        for i in range(9) for seed in (1, 2)
    ]  # fmt: skip


class World:
    """Trains by a formula: ``loss(config, purpose, number)``; remembers what was trained."""

    def __init__(self, loss, best_step=lambda config: math.inf):
        self.loss, self.best_step, self.trained = loss, best_step, {}

    def __call__(self, arms, purpose, numbers):
        return [[self._trial(config, stop, purpose, n) for n in numbers] for config, stop in arms]

    def _trial(self, config, stop, purpose, number):
        key = (config_key(config), purpose, number)
        if key not in self.trained:  # what is on record isn't trained again
            self.trained[key] = self._train(config, stop, purpose, number)
        return self.trained[key]

    def _train(self, config, stop, purpose, number):
        loss = self.loss(config, purpose, number)
        best = min(self.best_step(config), stop)
        curve = Curve(tuple(Measurement(step, loss + abs(best - step) * 0.1) for step in range(1, stop + 1)))
        return Trial(len(self.trained), config, number, purpose, curve, stop, ended=True)


def wobble(config, number):
    """Noise that differs by configuration and seed, and is the same each time."""
    where = [round(1e6 * config["learning_rate"]), round(1e6 * config["momentum"]), number]
    return float(np.random.default_rng(where).standard_normal())


def check(loss, *, before=HERE, after=HERE, metric=METRIC, **terms):
    world = World(loss)
    course = plan(WINNER, [], SPACE, metric, 4, Terms(**terms))
    return run(course, world, before, after), world


# -- the plan


def test_the_budget_is_kept_and_the_best_six_are_screened():
    course = plan(WINNER, reranked(), SPACE, METRIC, 4, Terms(trainings=40))
    assert len(course.challengers) == 6
    assert course.trainings == 40


def test_a_space_without_an_alternative_is_refused():
    space = Space(momentum=0.5)
    alone = Winner(0, space.default(), 4, "error", {})
    with pytest.raises(NotEnoughEvidence, match="nothing to compare the winner with"):
        plan(alone, [], space, METRIC, 4)


def test_the_power_is_told_before_anything_is_spent():
    course = plan(WINNER, [], SPACE, METRIC, 4)
    # the fresh seeds' spread is 0.00837
    assert course.run_sd == pytest.approx(0.00837, abs=1e-5)
    assert (
        "A challenger better by 0.00837, the spread of single runs, is found with a probability of" in course.sentence
    )
    gains, shares = zip(*course.power, strict=True)
    assert gains[0] == course.run_sd
    assert shares[-1] >= 0.8


def test_the_power_of_a_study_without_fresh_seeds_is_not_known():
    course = plan(Winner(0, INCUMBENT, 4, "error", {}), [], SPACE, METRIC, 4)
    assert course.power == ()
    assert "isn't known before the first runs" in course.sentence


# -- the conclusion


def test_a_world_as_it_was_keeps_the_winner():
    found, _ = check(lambda config, purpose, n: 0.10 + (config != INCUMBENT) * 0.05 + 0.01 * wobble(config, n))
    assert found.verdict in KEEP
    assert (found.challenger, found.gain, found.pairs, found.changed) == (None, None, 0, ())
    assert found.trainings == 3 + sum(arm.seeds for arm in found.screened)
    assert found.shift is Shift.NONE
    assert found.level_shift.low < 0 < found.level_shift.high


def test_a_level_shift_alone_keeps_the_winner_and_is_reported():
    found, _ = check(lambda config, purpose, n: 0.30 + (config != INCUMBENT) * 0.05 + 0.01 * wobble(config, n))
    assert found.verdict in KEEP
    assert found.level_shift.mean == pytest.approx(0.2, abs=0.01)
    assert found.level_shift.low > 0.15
    assert found.shift is Shift.LEVEL
    assert "The level moved, the order did not" in found.sentence or found.verdict is Decision.KEEP_CONFIRMED


def test_a_better_learning_rate_replaces_the_winner():
    found, _ = check(
        lambda config, purpose, n: 0.30 - 0.1 * (config["learning_rate"] == 0.03) + 0.01 * wobble(config, n)
    )
    assert found.verdict is Decision.REPLACE
    assert found.challenger == {"learning_rate": 0.03, "momentum": 0.1}
    assert found.gain.low < 0.1 < found.gain.high
    assert (found.pairs, found.trainings) == (11, 3 + sum(arm.seeds for arm in found.screened) + 22)
    assert found.shift is Shift.BOTH
    assert (len(found.scores), found.stop_step) == (11, 4)


def test_screening_and_confirmation_use_seeds_of_different_streams():
    _, world = check(
        lambda config, purpose, n: 0.30 - 0.1 * (config["learning_rate"] == 0.03) + 0.01 * wobble(config, n)
    )
    assert {purpose for _, purpose, _ in world.trained} == {Purpose.RECHECK, Purpose.CONFIRM}


def test_luck_in_the_screening_is_not_a_gain():
    found, _ = check(
        lambda config, purpose, n: (
            0.30 - 0.1 * (config["learning_rate"] == 0.03 and purpose is Purpose.RECHECK) + 0.01 * wobble(config, n)
        )
    )
    assert found.verdict is Decision.KEEP_NOT_BEATEN
    assert found.challenger == {"learning_rate": 0.03, "momentum": 0.1}


def test_several_better_challengers_call_for_a_new_tuning():
    found, _ = check(lambda config, purpose, n: 0.30 - 0.1 * (config != INCUMBENT) + 0.001 * wobble(config, n))
    assert found.verdict is Decision.RETUNE


def test_a_winner_that_diverges_in_most_runs_has_regressed_after_three_trainings():
    found, world = check(lambda config, purpose, n: 0.1 if n == 1 else math.nan)
    assert found.verdict is Decision.REGRESSED
    assert (found.trainings, found.failures, len(world.trained)) == (3, 2, 3)


def test_a_winner_that_keeps_failing_on_fresh_seeds_has_regressed():
    def loss(config, purpose, n):
        if config == INCUMBENT and purpose is Purpose.CONFIRM and n % 2:
            return math.inf
        return 0.30 - 0.1 * (config["learning_rate"] == 0.03) + 0.05 * wobble(config, n)

    found, _ = check(loss)
    assert found.verdict is Decision.REGRESSED
    assert "trainings did. Look at their errors" in found.sentence


def test_a_single_failed_training_of_the_winner_is_set_aside():
    def loss(config, purpose, n):
        if config == INCUMBENT and purpose is Purpose.CONFIRM and n == 2:
            return math.inf
        return 0.30 - 0.1 * (config["learning_rate"] == 0.03) + 0.001 * wobble(config, n)

    found, _ = check(loss)
    assert (found.verdict, found.failures) == (Decision.REPLACE, 1)
    assert found.gain.mean == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("after", "regressed"),
    [(NEW_TORCH, True), (NEW_DATA, False), (HERE, False)],
    ids=["software only", "data too", "nothing"],
)
def test_a_drop_counts_as_a_fault_only_where_nothing_but_the_machinery_changed(after, regressed):
    found, _ = check(lambda c, p, n: 0.30 + (c != INCUMBENT) * 0.05 + 0.01 * wobble(c, n), after=after)
    assert (found.verdict is Decision.REGRESSED) is regressed


def test_where_every_challenger_fails_nothing_is_concluded():
    found, _ = check(lambda config, purpose, n: 0.1 if config == INCUMBENT else math.inf)
    assert found.verdict is Decision.INCONCLUSIVE
    assert {arm.gain for arm in found.screened} == {None}


def test_gains_and_shifts_of_a_maximised_metric_have_its_sign():
    accuracy = Metric("accuracy", maximize=True)
    stored = Score(ScoreKind.FRESH_SEED, 0.9, 0.8, 1.0, (0.9, 0.91, 0.89))
    winner = Winner(0, INCUMBENT, 4, "accuracy", {ScoreKind.FRESH_SEED: stored})
    world = World(lambda config, purpose, n: -0.7 - 0.1 * (config["learning_rate"] == 0.03) + 0.01 * wobble(config, n))
    found = run(plan(winner, [], SPACE, accuracy, 4), world, None, HERE)
    assert found.gain.mean == pytest.approx(0.1, abs=0.02)
    assert found.level_shift.mean == pytest.approx(-0.2, abs=0.02)
    assert found.level_shift.low < found.level_shift.mean < found.level_shift.high
    assert found.changed is None


def test_each_counts_with_the_loss_at_its_own_best_step():
    """A challenger that learns slower is not judged in the middle of its way."""
    world = World(
        lambda config, purpose, n: 0.3 + 0.001 * wobble(config, n),
        best_step=lambda config: 3 if config == INCUMBENT else 5,
    )
    found = run(plan(WINNER, [], SPACE, METRIC, 7), world, HERE, HERE)
    assert [arm.gain for arm in found.screened] == pytest.approx([0.0] * len(found.screened), abs=0.003)


def test_only_what_both_fingerprints_know_counts_as_a_change():
    assert known_changes(HERE, {**HERE, "code": {"commit": "c1", "source": "ff"}, "sha256": {"code": "00"}}) == []
    assert known_changes(HERE, NEW_DATA) == ["software: torch was 2.4, is 2.5", "data: content was aa, is bb"]
