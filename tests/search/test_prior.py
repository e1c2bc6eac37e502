"""What a person believes: it helps when right, and is forgotten when wrong."""

import numpy as np
import pytest

from ayar.records import Curve, Measurement, Trial
from ayar.search import Bayesian, Problem
from ayar.search.prior import Belief, asks_the_past, borne_out
from ayar.space import Choice, Float, Int, PerLayer, Space


def space(guess=None, confidence="medium"):
    believed = {} if guess is None else {"guess": guess, "confidence": confidence}
    return Space(**{name: Float(1e-5, 1.0, log=True, **believed) for name in "abcdef"})


def loss(config):
    """The best is at 1e-4 for each."""
    return float(np.mean([(np.log10(value) + 4) ** 2 for value in config.values()]))


def best_of(n, problem):
    history = []
    while len(history) < n:
        for proposal in Bayesian().propose(problem, history, 1):
            curve = Curve((Measurement(1, loss(proposal.config)),))
            history.append(Trial(len(history), proposal.config, 0, curve=curve, target_step=1, ended=True))
    return min(trial.loss for trial in history)


def test_a_right_guess_helps_and_a_wrong_one_is_forgotten():
    def median(believed, n):
        return np.median([best_of(n, Problem(believed, 1, seed)) for seed in range(3)])

    without = median(space(), 20)
    assert median(space(2e-4), 20) < without / 2
    assert median(space(0.3, "strong"), 22) < without * 1.5  # believed all the way it would be twenty times as much


MIXED = Space(
    rate=Float(0, 1, guess=0.2),
    kind=Choice("a", "b", "c", guess="b", confidence="strong"),
    layers=Int(1, 3),
    units=PerLayer(Int(1, 9, guess=3, confidence="weak"), layers="layers"),
)


def test_the_guess_is_where_the_search_starts():
    assert MIXED.default() == {"rate": 0.2, "kind": "b", "layers": 2, "units": [3, 3]}
    assert Space(x=Float(0, 1, guess=0.2, default=0.9)).default() == {"x": 0.9}


def test_the_belief_is_a_density_and_draws_follow_it():
    belief, rng = Belief.of(MIXED), np.random.default_rng(0)
    anywhere, drawn = MIXED.snap(rng.random((100_000, 6))), belief.draw(100_000, rng)

    assert np.exp(belief.logs(anywhere)).mean() == pytest.approx(1.0, abs=0.03)
    assert belief.logs(drawn).mean() > belief.logs(anywhere).mean() + 0.5
    assert np.mean([MIXED.decode(point)["kind"] == "b" for point in drawn[:500]]) > 0.85


def test_a_belief_counts_less_with_each_trial_and_nothing_once_refuted():
    belief = Belief.of(Space(x=Float(0, 1, guess=0.2)))
    points = np.linspace(0, 1, 20)[:, None]

    right, wrong = (points[:, 0] - 0.2) ** 2, (points[:, 0] - 0.9) ** 2
    assert belief.weight(points[:1], right[:1]) == pytest.approx(7.0)
    assert 0 < belief.weight(points, right) <= 0.5
    assert belief.weight(points, wrong) == 0


def test_a_guess_comes_back_from_its_words():
    words = MIXED.to_dict()

    assert words["kind"] == {"choice": ["a", "b", "c"], "guess": "b", "confidence": "strong"}
    assert words["rate"] == {"float": [0.0, 1.0], "guess": 0.2}
    assert Space.from_dict(words) == MIXED
    toml = 'rate = { float = [1e-5, 1.0], log = true, guess = 1e-3, confidence = "strong" }'
    assert Space.from_toml(toml).default() == {"rate": 1e-3}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"guess": 3.0}, "The guess 3.0 does not fit"),
        ({"guess": 0.5, "confidence": "high"}, "confidence is one of weak, medium, strong, got 'high'"),
        ({"confidence": "strong"}, "give guess= with it"),
    ],
)
def test_a_guess_without_sense_is_refused(more, words):
    with pytest.raises(ValueError, match=words):
        Float(0, 1, **more)


def test_what_is_borne_out_by_nothing_is_seldom_followed():
    """Expectations without meaning: half of them are given up at once, and hardly any is followed far."""
    rng = np.random.default_rng(0)
    followed = np.array([borne_out(rng.random(8), rng.random(8)) for _ in range(400)])

    assert (followed == 0).mean() > 0.5
    assert (followed > 0.5).mean() < 0.05
    assert borne_out(np.arange(8), np.arange(8.0)) > 0.75
    assert borne_out(np.arange(8), -np.arange(8.0)) == 0


def test_most_trials_never_ask_what_was_known_before():
    assert [number for number in range(60) if asks_the_past(number)] == [1, 3, 7, 11, 15, 19, 23, 33, 43, 53]


def test_the_trials_that_do_not_ask_are_those_of_a_search_that_knows_nothing():
    """So a wrong guess can cost no more than the trials that follow it."""
    history = [
        Trial(number, config, 0, curve=Curve((Measurement(1, loss(config)),)), target_step=1, ended=True)
        for number, config in enumerate(space().sample(np.random.default_rng(number)) for number in range(12))
    ]
    knowing, cold = Problem(space(0.3, "strong"), 1, 5), Problem(space(), 1, 5)

    assert Bayesian().propose(knowing, history, 1) == Bayesian().propose(cold, history, 1)
