"""The one loop, with lanes: what a user of them is promised."""

import pytest

import ayar
from ayar.errors import BudgetError
from ayar.nets.deep_net import deep_net
from ayar.nets.tasks import load_task
from ayar.study import Study

SPACE = ayar.Space(
    learning_rate=ayar.Float(1e-3, 0.1, log=True),
    hidden_layers=1,
    hidden_units=ayar.Choice(8, 12),
    optimizer=ayar.Choice("adam", "sgd"),
    batch_size=32,
    iterations=9,
)


@pytest.fixture(scope="module")
def recipe():
    return deep_net(load_task("iris").data)


def tuned(recipe, **how):
    study = Study(space=SPACE, minimize="valid_error")
    study.tune(recipe, progress=False, **how)
    return study


@pytest.mark.parametrize("workers", [0, 2])
def test_each_trial_of_a_tuning_in_lanes_has_the_curve_it_has_alone(recipe, workers):
    study = tuned(recipe, trials=16, workers=workers, lanes=4, confirm=0)
    assert len(study.trials()) == 16
    for trial in study.trials():
        alone = [m for m in recipe.train(trial.config, trial.seed) if m["step"] <= trial.curve.last_step]
        assert [m.step for m in trial.curve] == [m["step"] for m in alone]
        for name in ("train_probe", "valid_loss"):
            expected = [m[name] for m in alone]
            assert [m.metrics[name] for m in trial.curve] == pytest.approx(expected, rel=1e-3, abs=1e-5, nan_ok=True)


def test_the_record_says_how_many_lanes_there_were(recipe):
    study = tuned(recipe, trials=5, workers=0, lanes=3, confirm=0)
    assert [note.body for note in study.notes("lanes")] == [{"asked": 3, "lanes": 3, "reasons": []}]
    study.tune(recipe, trials=6, workers=0, lanes=3, confirm=0, progress=False)
    assert len(study.notes("lanes")) == 1


def test_a_tuning_without_lanes_says_nothing_of_them(recipe):
    assert tuned(recipe, trials=3, workers=0, lanes="off", confirm=0).notes("lanes") == []


def test_why_a_recipe_trains_alone_is_said_once(recipe, capsys):
    class Stubborn(ayar.Recipe):
        def lanes(self, at_most=None):
            return "Its batch norm keeps statistics of its own."

    study = Study(space=SPACE, minimize="valid_error")
    stubborn = Stubborn(recipe.build, recipe.data)
    for trials in (2, 3):
        study.tune(stubborn, trials=trials, workers=0, lanes="auto", confirm=0)
    assert capsys.readouterr().err.splitlines() == [
        "Trials were trained alone. Its batch norm keeps statistics of its own."
    ]
    assert [note.body["reasons"] for note in study.notes("lanes")] == [["Its batch norm keeps statistics of its own."]]


def test_the_confirmation_runs_in_lanes_and_keeps_its_seeds(recipe):
    study = tuned(recipe, trials=8, workers=0, lanes=8, confirm=0.4)
    winner = study.winner()
    assert ayar.ScoreKind.FRESH_SEED in winner.scores
    tuned_alone = tuned(recipe, trials=8, workers=0, lanes="off", confirm=0.4)
    seeds = [{t.seed for t in s.trials() if t.purpose is ayar.Purpose.RERANK} for s in (study, tuned_alone)]
    assert seeds[0] == seeds[1]


def test_a_search_in_lanes_asks_for_no_more_trials_than_its_budget(recipe):
    assert len(tuned(recipe, trials=5, workers=0, lanes=64, confirm=0).trials()) == 5


@pytest.mark.parametrize("lanes", ["many", 0, -1, 2.5])
def test_an_unknown_number_of_lanes_is_refused(recipe, lanes):
    with pytest.raises(BudgetError, match=r"lanes=.* is unknown. Give 'auto', 'off', or how many"):
        tuned(recipe, trials=1, workers=0, lanes=lanes)
