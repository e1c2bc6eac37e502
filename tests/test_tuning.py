"""The one loop, with lanes: what a user of them is promised."""

import time
from dataclasses import asdict

import pytest

import ayar
from ayar.asking import ask
from ayar.budget import Budget
from ayar.errors import BudgetError
from ayar.nets.deep_net import deep_net
from ayar.nets.tasks import load_task
from ayar.seeds import Purpose, trial_seed
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


def test_the_first_move_is_out_before_the_second_is_thought_of(recipe, monkeypatch):
    asked = []

    def spy(book, searcher, problem, n, **more):
        asked.append((n, len(book.outstanding())))
        return ask(book, searcher, problem, n, **more)

    monkeypatch.setattr("ayar.tuning.ask", spy)
    tuned(recipe, trials=4, workers=3, lanes="off", confirm=0)
    assert asked[:2] == [(1, 0), (2, 1)]


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


def climbs(waits_s=0.0):
    """A training whose loss grows, without end, where the rate is above 0.5; then it waits longer from step to step."""

    def train(config, seed):
        grows = config["rate"] > 0.5
        for step in range(41):
            time.sleep(waits_s * max(step - 7, 0) if grows else 0)
            loss = (1.2 if grows else 0.9) ** step
            yield {"step": step, "loss": loss, "train_probe": loss}

    return train


def climbing(store=None, searcher="random"):
    space = ayar.Space(rate=ayar.Float(0.0, 1.0))
    return Study(store, space=space, minimize="loss", horizon=40, searcher=searcher)


@pytest.mark.parametrize(("workers", "waits_s"), [(0, 0.0), (2, 0.05)])  # a worker hears of it a little later
def test_a_trial_that_diverges_is_stopped(workers, waits_s):
    study = climbing()
    study.tune(climbs(waits_s), trials=8, workers=workers, confirm=0, progress=False)
    wild = [t for t in study.trials() if t.config["rate"] > 0.5]
    assert wild
    assert all(t.state is ayar.State.COMPLETED and 6 <= t.curve.last_step < 40 for t in wild)
    assert {t.curve.last_step for t in study.trials() if t not in wild} == {40}


def test_nothing_is_stopped_where_the_doctor_is_off():
    study = climbing()
    study.tune(climbs(), trials=3, workers=0, confirm=0, progress=False, doctor="off")
    assert {t.curve.last_step for t in study.trials()} == {40}


def test_a_search_that_listens_goes_on_from_its_ledger_with_the_same_moves(tmp_path):
    whole, store = climbing(searcher="bayesian"), tmp_path / "parts.db"
    whole.tune(climbs(), trials=14, workers=0, confirm=0, progress=False)
    for trials in (3, 9, 14):
        with climbing(store, "bayesian") as study:
            study.tune(climbs(), trials=trials, workers=0, confirm=0, progress=False)
            parts = study.trials()
    assert [(t.config, t.curve.last_step) for t in parts] == [(t.config, t.curve.last_step) for t in whole.trials()]


@pytest.mark.parametrize(("doctor", "last_step"), [("listen", 13), ("advise", 40)])
def test_a_trial_that_diverges_is_not_asked_to_go_on(doctor, last_step):
    study = Study(space=ayar.Space(rate=0.9), minimize="loss", horizon=40, searcher="halving")
    while moves := study.ask(doctor=doctor):
        (move,) = moves
        steps = range(move.start_step + (move.start_step > 0), move.stop_step + 1)
        study.tell(move, [{"step": step, "loss": 1.3**step, "train_probe": 1.3**step} for step in steps])
    (trial,) = study.trials()
    assert trial.curve.last_step == last_step
    assert trial.state is ayar.State.COMPLETED


@pytest.mark.parametrize(("confirm", "expected"), [(0.3, 4), (0.0, 0)])
def test_lanes_that_the_search_leaves_empty_train_fresh_seeds_of_its_leaders(recipe, confirm, expected, monkeypatch):
    """The first seed of the confirmation, which is left out here; none where there is to be no confirmation."""
    monkeypatch.setattr("ayar.tuning.Tuning.confirm", lambda *_: None)
    monkeypatch.setattr("ayar.tuning.Thinking.least_slice", lambda *_: 1)  # by the clock it may be a whole training
    study = tuned(recipe, trials=12, workers=0, lanes=6, confirm=confirm)
    extra = [trial for trial in study.trials() if trial.purpose is Purpose.RERANK]
    assert len(extra) >= expected
    assert bool(extra) == (expected > 0)
    assert {trial.seed for trial in extra} <= {trial_seed(0, Purpose.RERANK, 0)}
    assert all(trial.curve.last_step == 9 for trial in extra)
    tried = [trial.config for trial in study.trials() if trial.purpose is Purpose.SEARCH]
    assert all(trial.config in tried for trial in extra)


def test_a_search_in_parts_counts_the_time_that_its_trials_did_not_cost():
    """Trials that cost nothing: all of the time goes by in thinking, and by the first part it is used up."""
    study = Study(space=ayar.Space(rate=ayar.Float(0.0, 1.0)), minimize="loss", searcher="random")
    budget = Budget(minutes=0.5 / 60, confirm=0.0)
    with study._workshop().opened(lambda config, seed: config["rate"]) as tuning:
        tuning.search(budget, workers=1)
        started = len(study.trials())
        tuning.search(budget, workers=1)
    assert started > 1
    assert len(study.trials()) == started


@pytest.mark.parametrize(("kind", "measured_anew"), [("noise", 0), ("luck", 0), (None, 1)])
def test_luck_that_a_ledger_holds_is_not_measured_again_under_whichever_name(kind, measured_anew):
    study = Study(space=ayar.Space(x=ayar.Float(0.0, 1.0)), minimize="loss", searcher="random")
    if kind is not None:
        study.note(kind, {"budget": asdict(Budget(None, 60, None)), "share": 0.3})
    study.tune(lambda config, seed: config["x"] + seed % 7 / 10, trials=60, workers=0, progress=False)
    assert len(study.notes("luck")) - (kind == "luck") == measured_anew
