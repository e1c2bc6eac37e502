"""What a study's trials show together is said with its numbers, and not said of trials that show nothing."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from ayar.intuition import findings
from ayar.intuition.findings import at_least
from ayar.records import Confidence, Curve, Measurement, Trial, Verdict
from ayar.seeds import Purpose
from ayar.space import Choice, Float, Int, Space

SPACE = Space(
    learning_rate=Float(1e-4, 1.0, log=True),
    width=Int(8, 64, log=True),
    momentum=Float(0.0, 0.99),
    dropout=Float(0.0, 0.6),
    batch_size=Choice(16, 32, 64, ordered=True),
    activation=Choice("relu", "tanh"),
    iterations=20,
)


def study(n, loss, *, space=SPACE, seed=0, curve=None):
    """``n`` trials of random configurations; ``loss(config, rng)`` gives the last loss, of one or all steps."""
    rng = np.random.default_rng(seed)
    trials = []
    for i in range(n):
        config = space.sample(rng)
        last = loss(config, rng)
        steps = [last] if curve is None else curve(last)
        line = Curve(tuple(Measurement(step, float(y)) for step, y in enumerate(steps, 1)))
        trials.append(Trial(i, config, i, curve=line, target_step=len(steps), ended=True))
    return trials


def chance(config, rng):
    return rng.random()


def found(trials, space=SPACE, **more):
    return {finding.name: finding for finding in findings(trials, space, horizon=20, **more)}


def test_a_study_that_shows_nothing_is_told_of_an_edge_in_one_of_twenty_at_most():
    alarms = sum("best values at the edge" in found(study(60, chance, seed=seed)) for seed in range(200))

    assert alarms <= 14  # 5 % of 200, and two standard errors


@pytest.mark.parametrize(
    ("name", "loss", "widen"),
    [
        ("learning_rate", lambda c: -math.log(c["learning_rate"]), 10.0),
        ("learning_rate", lambda c: math.log(c["learning_rate"]), 1e-5),
        ("width", lambda c: -c["width"], 640),
        ("width", lambda c: c["width"], 1),
        ("batch_size", lambda c: -c["batch_size"] + 0.01 * c["dropout"], 128),
    ],
)
def test_best_values_at_the_edge_ask_for_a_wider_range(name, loss, widen):
    finding = found(study(120, lambda config, rng: loss(config)))["best values at the edge"]

    assert finding.widen == {name: pytest.approx(widen)}
    assert name in finding.sentence


@pytest.mark.parametrize("name", ["momentum", "dropout"])
@pytest.mark.parametrize("sign", [1, -1])
def test_natural_bounds_are_no_edges(name, sign):
    """No dropout is below 0, no momentum reaches 1; but a dropout may well exceed 0.6."""
    said = found(study(120, lambda config, rng: sign * config[name]))

    assert ("best values at the edge" in said) is (name == "dropout" and sign == -1)


def test_few_trials_say_nothing_about_edges():
    assert "best values at the edge" not in found(study(20, lambda c, rng: -c["learning_rate"]))


def test_where_a_search_looks_mostly_at_an_edge_its_best_trials_lie_there_by_themselves():
    """Concentration of the search is no evidence for the edge."""
    narrow = Space(**{**{n: SPACE[n] for n in SPACE.names}, "learning_rate": Float(0.5, 1.0, log=True)})

    assert "best values at the edge" not in found(study(120, chance, space=narrow))


def walled(config, rng):
    rate = config["learning_rate"]
    return math.inf if rate > 0.1 else -math.log(rate) + 0.1 * rng.random()


def test_a_wall_of_divergence_is_told_from_a_range_that_ends_too_soon():
    said = found(study(120, walled))

    assert "warm-up" in said["wall of divergence"].sentence
    assert "best values at the edge" not in said


def test_a_finite_loss_that_is_called_diverging_counts_as_divergence():
    trials = study(120, lambda c, rng: 50.0 if c["learning_rate"] > 0.1 else -math.log(c["learning_rate"]))
    bad = Verdict("diverging", Confidence.STRONG, "It climbs.")

    assert "wall of divergence" not in found(trials)
    assert "wall of divergence" in found(trials, verdicts={t.id: [bad] for t in trials if t.loss == 50.0})


def test_failing_trials_are_counted_with_their_most_frequent_reason():
    trials = study(30, chance)
    failed = [
        Trial(100 + i, SPACE.default(), i, error="Traceback ...\nMemoryError: out of memory", ended=True)
        for i in range(3)
    ]

    assert found(trials + failed)["failing trials"].sentence == (
        "3 of 33 trials failed, 3 of them with: MemoryError: out of memory"
    )
    assert "failing trials" not in found(trials + failed[:1])


def test_the_reason_of_a_failure_is_its_error_not_the_end_of_its_traceback():
    error = "KeyError: 'momentum'\n  File \"train.py\", line 3, in train\n    config['momentum']\n    ~~~~~~^^^^^^"
    space = Space(optimizer=Choice("sgd", "adam"), momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}))
    failed = [Trial(i, {"optimizer": "adam"}, i, error=error, ended=True) for i in range(3)]
    assert found(failed, space=space)["failing trials"].sentence == (
        "3 of 3 trials failed, 3 of them with: KeyError: 'momentum'. Where momentum is inactive, configurations "
        "lack it: read it with config.get('momentum')."
    )


def test_curves_that_are_the_same_whatever_the_values_are_told_from_four_trials_on():
    """The training, or the command, does not use what it is given."""
    alike = study(4, lambda config, rng: 0.5, curve=lambda last: [last, last / 2])
    assert found(alike)["no difference"].sentence.startswith("All 4 trials measured exactly the same")
    assert "{learning_rate}" in found(alike)["no difference"].sentence
    assert "no difference" not in found(alike[:3])
    assert "no difference" not in found([*alike, *study(1, chance, seed=5)])


@pytest.mark.parametrize(("steps", "said"), [(1, "look for NaN"), (9, "let learning_rate take smaller values")])
def test_a_study_in_which_all_diverge_says_where_to_look(steps, said):
    trials = study(3, lambda config, rng: math.nan, curve=lambda last: [1.0] * (steps - 1) + [last])
    assert said in found(trials)["nothing but divergence"].sentence
    assert "nothing but divergence" not in found([*trials, *study(1, chance)])


def test_a_best_trial_that_stands_alone_is_told():
    alone = study(40, chance)
    lucky = Trial(99, SPACE.default(), 99, curve=Curve((Measurement(1, -5.0),)), target_step=1, ended=True)

    assert "few points in the good region" in found([*alone, lucky])
    assert "few points in the good region" not in found(study(40, lambda c, rng: rng.random() ** 3))


def test_leaders_that_still_gain_at_the_end_need_more_iterations():
    steps = np.arange(1, 21)

    still = study(40, chance, curve=lambda last: last + 1 - steps / 20)
    settled = study(40, chance, curve=lambda last: last + 0.5**steps)
    assert "more than 20 iterations" in found(still)["too few iterations"].sentence
    assert "too few iterations" not in found(settled)


def test_a_small_validation_set_cannot_tell_leaders_apart():
    """At an error of 5 %, 200 rows show differences from 4.4 points on, 200,000 from 0.14 points on."""
    trials = study(40, lambda c, rng: 0.05 + 0.05 * rng.random())

    assert "about 4.4 points" in found(trials, validation_rows=200)["validation too small"].sentence
    assert "validation too small" not in found(trials, validation_rows=200_000)
    assert "validation too small" not in found(trials)


def test_an_accuracy_is_read_mirrored():
    trials = study(40, lambda c, rng: -0.95 + 0.05 * rng.random())

    assert "about 4.4 points" in found(trials, validation_rows=200)["validation too small"].sentence


def test_trials_on_confirmation_seeds_are_left_out():
    trials = [
        Trial(t.id, t.config, t.seed, Purpose.RERANK, t.curve, t.target_step, ended=True)
        for t in study(120, lambda c, rng: -c["learning_rate"])
    ]

    assert findings(trials, SPACE, horizon=20) == []
    assert findings([], SPACE, horizon=20) == []


def test_the_binomial_tail_agrees_with_scipy():
    for hits, n, p in [(0, 5, 0.1), (4, 10, 0.1), (10, 10, 0.5), (3, 12, 0.37)]:
        assert at_least(hits, n, p) == pytest.approx(binom.sf(hits - 1, n, p))


def by_rate_alone(config, rng):
    return (math.log10(config["learning_rate"]) + 2) ** 2 + 0.1 * rng.random()


def test_hyperparameters_that_make_no_difference_are_named():
    finding = found(study(300, by_rate_alone))["values that do not matter"]

    idle = finding.sentence.split(" made no difference")[0].split(", ")
    assert "learning_rate" not in idle
    assert {"momentum", "activation", "batch_size"} & set(idle)
    assert finding.evidence[0].value <= 0.05


def test_few_trials_do_not_say_that_a_value_does_not_matter():
    assert "values that do not matter" not in found(study(50, by_rate_alone))


def test_what_matters_only_a_little_is_seldom_called_idle():
    """The dropout accounts for an eighth of the differences here: it may be missed in one study of twenty."""

    def loss(config, rng):
        return by_rate_alone(config, rng) + 2 * config["dropout"]

    named = [found(study(120, loss, seed=seed)).get("values that do not matter") for seed in range(40)]
    assert sum("dropout" in finding.sentence for finding in named if finding) <= 4


def test_where_nothing_shows_nothing_is_called_idle():
    called = ["values that do not matter" in found(study(200, chance, seed=seed)) for seed in range(20)]
    assert sum(called) <= 4


def test_a_range_of_which_much_diverges_is_to_end_sooner():
    def loss(config, rng):
        return math.inf if config["learning_rate"] > 0.1 else by_rate_alone(config, rng)

    finding = found(study(100, loss))["range of wild values"]
    end = float(finding.sentence.split("range near ")[1].rstrip("."))
    assert 0.05 < end <= 0.1


def test_scattered_failures_of_training_do_not_blame_the_learning_rate():
    trials = study(100, lambda c, rng: math.inf if rng.random() < 0.4 else rng.random())
    assert "range of wild values" not in found(trials)
