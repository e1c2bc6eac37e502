"""Population-based training with real trainings: what a trial takes over from another one, and what is kept of it."""

import json
import math
import shutil
import sys

import cloudpickle
import numpy as np
import pytest

from ayar import Study
from ayar.checkpoints import sign
from ayar.curves import diagnose
from ayar.errors import ObjectiveError
from ayar.records import training_key
from ayar.search.base import SEARCH_DATA
from ayar.space import Float, Int, Space

HORIZON = 10
SPACE = Space(rate=Float(1e-3, 1.0, log=True))


@pytest.fixture(autouse=True)
def sent_by_value():
    """Workers cannot import test modules."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def stepped(x, rate, step):
    """One step of a training whose best rate falls with the steps."""
    return x * (1 - 0.5 * math.exp(-abs(math.log(rate / (0.3 * 0.6**step)))))


def train(config, seed, folder):
    path = folder / "state.json"
    step, x = json.loads(path.read_text()) if path.exists() else (0, 1.0)
    while step < HORIZON:
        x, step = stepped(x, config["rate"], step), step + 1
        path.write_text(json.dumps([step, x]))
        yield {"loss": x, "step": step}


def forgetful(config, seed, folder):
    for step in range(HORIZON):
        yield {"loss": config["rate"] + 1 / (1 + step), "step": step + 1}


def replayed(trial, trials, upto):
    """The losses of a trial after each step, by its lineage alone, from the first step on."""
    rates, at = [], trial
    while at.parent is not None:
        fork = at.fork_step or None
        if fork is not None:
            rates.append((fork, at.config["rate"]))
        at = trials[at.parent]
    changes, rate, x, losses = dict(rates), at.config["rate"], 1.0, {}
    for step in range(upto):
        rate = changes.get(step, rate)
        x = stepped(x, rate, step)
        losses[step + 1] = x
    return losses


def assert_every_curve_follows_from_its_lineage(trials):
    for trial in trials:
        expected = replayed(trial, trials, HORIZON)
        for measurement in trial.curve:
            assert measurement.loss == pytest.approx(expected[measurement.step], rel=1e-12), trial.id


def searched(study):
    return [(t.config, t.seed, t.parent, t.fork_step) for t in study.trials() if t.purpose in SEARCH_DATA]


def test_offspring_go_on_from_their_parents_state_and_the_winner_is_a_schedule_that_is_trained_again(tmp_path):
    """In two processes; what the state ought to be is worked out from the lineage alone."""
    study = Study(tmp_path / "a.db", space=SPACE, minimize="loss", horizon=HORIZON, searcher="population")

    winner = study.tune(train, steps=150, workers=2, progress=False, confirm=0.2)

    trials = study.trials()
    assert sum(t.fork_step > 0 for t in trials) > 5
    assert_every_curve_follows_from_its_lineage(trials)
    assert trials[winner.trial].fork_step > 0
    again = [t for t in trials if t.purpose not in SEARCH_DATA and t.parent == winner.trial]
    assert again
    # The winner's own search training may have been paused before the horizon; those on fresh seeds never are.
    at_the_horizon = replayed(trials[winner.trial], trials, HORIZON)[HORIZON]
    assert [(t.stands_at, t.loss) for t in again] == [(HORIZON, pytest.approx(at_the_horizon))] * len(again)
    constant = min(stepped_through(rate) for rate in np.geomspace(1e-3, 1.0, 200))
    assert max(t.loss for t in again) < constant


def stepped_through(rate):
    x = 1.0
    for step in range(HORIZON):
        x = stepped(x, rate, step)
    return x


def test_a_population_that_is_resumed_makes_the_same_moves_even_if_its_files_are_gone(tmp_path):
    whole = Study(space=SPACE, minimize="loss", horizon=HORIZON, searcher="population", seed=1)
    whole.tune(train, steps=90, workers=0, progress=False, confirm=0)

    path = tmp_path / "a.db"
    for steps in (50, 90):
        with Study(path, space=SPACE, minimize="loss", horizon=HORIZON, searcher="population", seed=1) as study:
            study.tune(train, steps=steps, workers=0, progress=False, confirm=0)
            parts = searched(study)
            assert_every_curve_follows_from_its_lineage(study.trials())
            shutil.rmtree(study.folder)

    assert parts == searched(whole)


def test_a_move_says_where_to_begin_for_a_loop_of_ones_own():
    study = Study(space=SPACE, minimize="loss", horizon=HORIZON, searcher="population")
    states, forks = {}, []
    for _ in range(60):
        (move,) = study.ask()
        if move.parent is not None:
            forks.append(move)
            states[move.trial] = states[move.parent]
        x = states.get(move.trial, 1.0)
        for step in range(move.start_step, move.stop_step):
            x = stepped(x, move.config["rate"], step)
        states[move.trial] = x
        study.tell(move, x)

    assert forks
    assert all(move.start_step == move.schedule[-1].stop_step > 0 for move in forks)
    assert_every_curve_follows_from_its_lineage(study.trials())


def test_the_doctor_reads_the_curve_of_offspring_from_the_beginning_of_their_training():
    """All follow one falling curve, whatever their configurations. A late part by itself looks slow."""
    study = Study(space=SPACE, minimize="loss", horizon=60, searcher="population")
    for _ in range(40):
        (move,) = study.ask()
        steps = range(move.start_step + 1, move.stop_step + 1)
        study.tell(move, [{"step": s, "loss": 2 * math.exp(-s / 8) + 0.01 * math.sin(7 * s)} for s in steps])

    late = [t for t in study.trials() if t.fork_step >= 6 and len(t.curve) >= 12]
    assert late
    for trial in late:
        assert [v.name for v in study.diagnose(trial.id)[trial.id]] == ["no clear fault"]
        assert [v.name for v in diagnose(trial.curve, horizon=60)] != ["no clear fault"]


def test_a_training_without_a_folder_is_refused_in_words():
    def plain(config, seed):
        yield {"loss": config["rate"]}

    study = Study(space=SPACE, minimize="loss", horizon=HORIZON, searcher="population")
    with pytest.raises(ObjectiveError, match=r"this generator keeps none.*folder"):
        study.tune(plain, steps=20, workers=0, progress=False)


def test_a_training_that_saves_nothing_is_refused_in_words():
    study = Study(space=SPACE, minimize="loss", horizon=HORIZON, searcher="population")
    with pytest.raises(ObjectiveError, match=r"has left nothing in its folder.*Save its state"):
        study.tune(forgetful, steps=200, workers=0, progress=False)


def test_recipes_hand_over_nets_whatever_lanes_are_asked_for(tmp_path):
    """Each child's curve is that of a net that is trained by hand: its parent's way to the fork, then its own."""
    pytest.importorskip("torch")
    from ayar.nets.deep_net import deep_net
    from ayar.nets.tasks import Data

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    data = Data(X[:40], (X[:40, 0] > 0).astype(np.int64), X[40:], (X[40:, 0] > 0).astype(np.int64), "classification", 2)
    rate = Float(1e-3, 1e-1, log=True)
    space = Space(learning_rate=rate, hidden_units=Int(4, 5), optimizer="adam", batch_size=64, iterations=3)
    study = Study(space=space, minimize="valid_loss", searcher="population", seed=2)
    study.tune(deep_net(data), steps=30, workers=0, progress=False, confirm=0, lanes=4, doctor="off")

    trials = study.trials()
    children = [t for t in trials if t.fork_step > 0 and len(t.curve) and trials[t.parent].parent is None]
    assert children
    for child in children:
        parent, folder = trials[child.parent], tmp_path / str(child.id)
        before = deep_net(data).train(parent.config, parent.seed, folder, 0)
        for measured in before:
            if measured["step"] == child.fork_step:
                break
        before.close()
        sign(folder, training_key(parent.config, parent.seed))
        after = next(iter(deep_net(data).train(child.config, child.seed, folder, child.fork_step)))
        first = child.curve.measurements[0]
        assert (first.step, first.loss) == (after["step"], pytest.approx(after["valid_loss"], rel=1e-5))
