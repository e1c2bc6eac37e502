"""Importance finds what made the difference, and says nothing where the trials do not tell."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from ayar.errors import MissingExtra, NotEnoughEvidence
from ayar.intuition import importance
from ayar.intuition.findings import findings
from ayar.intuition.response import good_range
from ayar.records import Curve, Measurement, Trial
from ayar.space import Choice, Float, Int, PerLayer, Space

SPACE = Space(
    learning_rate=Float(1e-4, 1.0, log=True),
    hidden_layers=Int(1, 3),
    hidden_units=PerLayer(Int(8, 64), layers="hidden_layers"),
    activation=Choice("relu", "tanh"),
    iterations=50,
)


def trials_of(function, n, space=SPACE, seed=0):
    """``n`` random trials whose loss is ``function(config)``."""
    rng = np.random.default_rng(seed)
    configs = [space.sample(rng) for _ in range(n)]
    return [
        Trial(i, config, i, curve=Curve((Measurement(1, function(config)),)), target_step=1, ended=True)
        for i, config in enumerate(configs)
    ]


def ask(trials, space=SPACE, resamples=20):
    return importance(trials, space, rng=np.random.default_rng(1), resamples=resamples)


def off_best_rate(config):
    return abs(math.log10(config["learning_rate"]) + 2)


def test_the_only_hyperparameter_that_matters_comes_first():
    found = ask(trials_of(off_best_rate, 60))

    assert found[0].name == "learning_rate"
    assert found[0].share > 0.8
    assert found[0].first == 1.0
    assert found[0].low <= found[0].share <= found[0].high


def test_a_trial_that_began_with_another_ones_state_says_nothing_about_its_own_values():
    """Its loss is mostly its parent's work; here it even contradicts what trials from the beginning show."""
    anew = trials_of(off_best_rate, 40)
    heirs = [
        replace(trial, id=40 + trial.id, parent=0, fork_step=1, curve=Curve((Measurement(2, trial.loss),)))
        for trial in trials_of(lambda config: float(config["activation"] == "relu"), 40, seed=1)
    ]
    assert ask(anew + heirs) == ask(anew)
    with pytest.raises(NotEnoughEvidence, match=r"^0 finished trials"):
        ask(heirs)
    assert good_range(anew + heirs, SPACE, "learning_rate") == good_range(anew, SPACE, "learning_rate")
    assert findings(anew + heirs, SPACE, horizon=50) == findings(anew, SPACE, horizon=50)


def test_a_trial_outside_the_space_is_left_out():
    """A person may try values beyond a range, and a space may be narrowed; what lies inside still tells."""
    inside = trials_of(off_best_rate, 40)
    beyond = replace(inside[0], id=40, config={**inside[0].config, "learning_rate": 3.0})
    assert ask([*inside, beyond]) == ask(inside)


def test_shares_add_up_to_one_and_fixed_values_have_none():
    found = ask(trials_of(off_best_rate, 60))

    assert sum(each.share for each in found) == pytest.approx(1.0)
    assert sum(each.good_share for each in found) == pytest.approx(1.0)
    assert {each.name for each in found} == {"learning_rate", "hidden_layers", "hidden_units", "activation"}


def test_known_shares_are_recovered():
    """For 2x + y, x and y uniform, the variances are as 4 to 1."""
    space = Space(x=Float(0, 1), y=Float(0, 1))
    shares = {each.name: each.share for each in ask(trials_of(lambda c: 2 * c["x"] + c["y"], 300, space), space)}

    assert shares["x"] == pytest.approx(0.8, abs=0.06)


def test_diverged_trials_rank_last_and_the_good_region_tells_the_rest():
    """Beyond 0.1 everything diverges; among the trials that train, the activation decides."""

    def function(config):
        return math.inf if config["learning_rate"] > 0.1 else 1.0 + (config["activation"] == "tanh")

    space = Space(learning_rate=Float(1e-2, 1.0, log=True), activation=Choice("relu", "tanh"))
    found = {each.name: each for each in ask(trials_of(function, 80, space), space)}

    assert found["learning_rate"].share > 0.5
    assert found["learning_rate"].good_share < 0.1


def test_layers_are_judged_together():
    found = ask(trials_of(lambda config: sum(config["hidden_units"]) / len(config["hidden_units"]), 80))

    assert found[0].name == "hidden_units"
    assert found[0].active == 80


def test_pure_noise_is_refused():
    noise = np.random.default_rng(3)

    with pytest.raises(NotEnoughEvidence, match="too noisy"):
        ask(trials_of(lambda config: noise.normal(), 60))


@pytest.mark.parametrize("n", [0, 1, 9])
def test_a_few_trials_are_refused(n):
    with pytest.raises(NotEnoughEvidence, match=f"{n} finished trials"):
        ask(trials_of(off_best_rate, n))


def test_equal_losses_are_refused():
    with pytest.raises(NotEnoughEvidence):
        ask(trials_of(lambda config: 1.0, 20))


def test_running_trials_are_left_out():
    running = [Trial(99, SPACE.default(), 0, target_step=5)]
    trials = trials_of(off_best_rate, 40)

    assert ask(trials + running) == ask(trials)


def test_a_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)  # Python's own way to say: not importable

    with pytest.raises(MissingExtra, match=r"pip install 'ayar\[torch\]'"):
        ask(trials_of(off_best_rate, 20))
