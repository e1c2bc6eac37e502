"""Rechecks of real studies, end to end: worlds that stayed, moved, or broke."""

import math
import sys
import zlib

import numpy as np
import pytest

import ayar
from ayar.errors import BudgetError, NotInLedger
from ayar.recheck.confirm import Decision
from ayar.records import State
from ayar.seeds import Purpose
from ayar.study import Study

SPACE = ayar.Space(x=ayar.Float(0.0, 1.0), learning_rate=ayar.Float(1e-4, 1.0, log=True), iterations=6)
KEEP = {Decision.KEEP_CONFIRMED, Decision.KEEP_NOT_BEATEN, Decision.BETTER_NOT_WORTH}


def world(best=-2.0, *, level=0.0, until=None):
    """A training whose best learning rate is ``10 ** best``; each seed brings luck, some of it the configuration's own.

    It stops itself, as Ctrl-C would, at the training number ``until``.
    """
    begun = []

    def train(config, seed):
        begun.append(seed)
        if until is not None and len(begun) > until:
            raise KeyboardInterrupt
        own = np.random.default_rng([seed, zlib.crc32(str(sorted(config.items())).encode())])
        luck = 0.03 * np.random.default_rng(seed).standard_normal() + 0.02 * own.standard_normal()
        distance = abs(config["x"] - 0.3) + (math.log10(config["learning_rate"]) - best) ** 2
        for step in range(1, 7):
            yield {"error": level + distance + 1 / step + luck}

    return train


def tuned(store=None, seed=0):
    """A tuned study, the same one each time: the searcher is one whose moves don't depend on what steps take."""
    study = Study(store, space=SPACE, minimize="error", seed=seed, searcher="bayesian")
    study.tune(world(), trials=40, workers=0, progress=False)
    return study


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_unchanged_world_keeps_the_winner(seed):
    assert tuned(seed=seed).recheck(world(), workers=0, progress=False).verdict in KEEP


def test_a_level_shift_alone_keeps_the_winner():
    found = tuned().recheck(world(level=1.0), workers=0, progress=False)
    assert found.verdict in KEEP
    assert found.level_shift.low > 0.5


@pytest.mark.parametrize("best", [-3.0, -1.0])
def test_a_world_whose_optimum_moved_calls_for_another_configuration(best):
    study = tuned()
    found = study.recheck(world(best), workers=0, progress=False)
    assert found.verdict in {Decision.REPLACE, Decision.RETUNE}
    moved = math.log10(found.challenger["learning_rate"] / found.incumbent["learning_rate"])
    assert math.copysign(1, moved) == math.copysign(1, best + 2)
    assert found.gain.low > 0


def test_every_training_is_on_record_and_within_the_budget():
    study = tuned()
    before = len(study.trials())
    found = study.recheck(world(-1.0), trainings=30, workers=0, progress=False)
    made = study.trials()[before:]
    assert len(made) == found.trainings <= 30
    assert {t.purpose for t in made} == {Purpose.RECHECK, Purpose.CONFIRM}
    assert {t.state for t in made} <= {State.COMPLETED, State.PAUSED}


def test_the_outcome_is_appended_as_a_note(tmp_path):
    study = tuned(tmp_path / "a.db")
    found = study.recheck(world(), workers=0, progress=False)
    study.close()
    (note,) = Study(tmp_path / "a.db").notes("recheck")
    assert note.body["verdict"] == found.verdict
    assert note.body["incumbent"] == found.incumbent
    assert note.body["trainings"] == found.trainings


def test_a_second_recheck_uses_seeds_that_no_training_used_before():
    study = tuned()
    study.recheck(world(-1.0), workers=0, progress=False)
    used = {t.seed for t in study.trials()}
    count = len(study.trials())
    study.recheck(world(-1.0), workers=0, progress=False)
    assert not used & {t.seed for t in study.trials()[count:]}


def test_a_recheck_leaves_the_search_and_the_winner_as_they_were():
    study = tuned()
    winner = study.winner()
    study.recheck(world(-1.0), workers=0, progress=False)
    assert study.winner() == winner
    assert study.recommend().purpose is Purpose.SEARCH


def test_a_stopped_recheck_goes_on_where_it_stood(tmp_path):
    whole = tuned().recheck(world(-1.0), workers=0, progress=False)
    study = tuned(tmp_path / "b.db")
    searched = len(study.trials())
    with pytest.raises(KeyboardInterrupt):
        study.recheck(world(-1.0, until=8), workers=0, progress=False)
    assert len(study.trials()) > searched + 5
    study.close()
    study = Study(tmp_path / "b.db")
    assert study.recheck(world(-1.0), workers=0, progress=False) == whole
    assert len(study.trials()) == searched + whole.trainings


def test_worker_processes_give_what_one_process_gives():
    alone = tuned().recheck(world(-1.0), trainings=20, workers=0, progress=False)
    assert tuned().recheck(world(-1.0), trainings=20, workers=2, progress=False) == alone


def test_a_winner_that_fails_today_has_regressed():
    def broken(config, seed):
        raise RuntimeError("no such device")
        yield {}

    study = tuned()
    found = study.recheck(broken, workers=0, progress=False)
    assert (found.verdict, found.trainings) == (Decision.REGRESSED, 3)


def test_the_plan_and_its_power_are_told_before_the_first_training(capsys):
    tuned().recheck(world(), workers=0)
    assert "is found with a probability of" in " ".join(capsys.readouterr().err.split())


def test_a_study_without_a_winner_cannot_be_rechecked():
    with pytest.raises(NotInLedger, match=r"no winner to check yet\. Tune first"):
        Study(space=SPACE, minimize="error").recheck(world(), workers=0)


def test_too_small_a_budget_is_refused_before_anything_is_written():
    study = tuned()
    count = len(study.trials())
    with pytest.raises(BudgetError, match="Give at least 12"):
        study.recheck(world(), trainings=10, workers=0)
    assert (len(study.trials()), study.notes("recheck begun")) == (count, [])


# -- every form of objective

LINE = "import sys, json; print(json.dumps(dict(error=abs(float(sys.argv[1]) - 0.3) + int(sys.argv[2]) % 7 / 1000)))"


def number(config, seed):
    return abs(config["x"] - 0.3) + seed % 7 / 1000


def steps(config, seed, folder):
    for step in range(1, 4):
        (folder / "state").write_text(str(step))
        yield {"step": step, "error": abs(config["x"] - 0.3) + 1 / step + seed % 7 / 1000}


@pytest.mark.parametrize(
    ("objective", "horizon"),
    [(number, 1), (steps, 3), ([sys.executable, "-c", LINE, "{x}", "{seed}"], 1)],
    ids=["function", "generator with a folder", "command"],
)
def test_every_form_of_objective_can_be_rechecked(objective, horizon):
    study = Study(space=ayar.Space(x=ayar.Float(0.0, 1.0)), minimize="error", horizon=horizon)
    study.tune(objective, trials=6, workers=0, progress=False)
    found = study.recheck(objective, trainings=14, workers=0, progress=False)
    assert found.trainings <= 14
    assert {arm.gain is None for arm in found.screened} == {False}


def test_a_recipe_is_rechecked_in_lanes():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    recipe = ayar.deep_net(ayar.Data(X[:60], y[:60], X[60:], y[60:], n_classes=2))
    space = ayar.Space(
        learning_rate=ayar.Float(1e-3, 0.3, log=True), hidden_layers=1, hidden_units=4, optimizer="adam", iterations=2
    )
    study = Study(space=space, minimize="valid_error")
    study.tune(recipe, trials=4, workers=0, progress=False)
    count = len(study.trials())
    found = study.recheck(recipe, trainings=14, workers=0, progress=False)
    assert len(study.trials()) - count == found.trainings
    (profile,) = study.notes("data profile")
    assert profile.body["rows"] == study.notes("fingerprint")[-1].body["data"]["rows"] == 60
