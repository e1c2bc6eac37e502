"""Earlier studies: they help when they are alike, and are not followed when they are not."""

import math

import numpy as np
import pytest

from ayar.errors import NotEnoughEvidence
from ayar.records import Curve, Measurement, Trial
from ayar.search import Bayesian, Problem, QuasiRandom
from ayar.search.sources import Memory, check_source, fitted, from_dict, source_of, to_dict
from ayar.space import Choice, Float, Space

SPACE = Space(**{name: Float(1e-5, 1.0, log=True) for name in "abcde"})


def loss(config, shift=0.0):
    return float(np.mean([(np.log10(config[name]) + 4 + shift) ** 2 for name in "abcde"]))


def trial(number, config, value):
    curve = Curve(() if value is None else (Measurement(1, value),))
    return Trial(number, config, 0, curve=curve, target_step=1, ended=True, error="x" if value is None else None)


def earlier(sign=1.0, shift=0.2):
    """A study of a like task, whose losses have another scale."""
    found = QuasiRandom().propose(Problem(SPACE, 1, 99), [], 60)
    return source_of(
        "earlier", [trial(i, p.config, 500 + sign * 7 * loss(p.config, shift)) for i, p in enumerate(found)]
    )


def best_of(n, sources, seed):
    problem, history = Problem(SPACE, 1, seed, sources=sources), []
    while len(history) < n:
        for proposal in Bayesian().propose(problem, history, 1):
            history.append(trial(len(history), proposal.config, loss(proposal.config)))
    return min(t.loss for t in history)


def test_a_study_of_a_like_task_helps_and_one_that_says_the_opposite_is_not_followed():
    def median(sources, n):
        return np.median([best_of(n, sources, seed) for seed in range(3)])

    assert median((earlier(),), 6) < median((), 6) / 2

    assert median((earlier(sign=-1.0),), 18) < 1.0  # where it points to, losses are 5 and more


def test_the_best_of_an_earlier_study_comes_right_after_the_default():
    source = earlier()
    best = min(source.trials, key=lambda each: each[1])[0]

    default, first, *_ = Bayesian().propose(Problem(SPACE, 1, 0, sources=(source,)), [], 3)
    assert default.config == SPACE.default()
    assert loss(first.config, 0.2) <= 2 * loss(best, 0.2)


def test_what_the_spaces_do_not_share_is_left_out():
    other = Space(a=Float(1e-5, 1.0, log=True), b=Float(1e-5, 1.0, log=True), kind=Choice("x", "y"))
    memory = Memory.of(other, (earlier(),))

    assert all(set(config) == {"a", "b", "kind"} for config in memory.portfolio)
    low, high = (other.encode({"a": a, "b": a, "kind": "x"})[None] for a in (1e-4, 0.5))
    assert memory.expects(low) < memory.expects(high)


def test_a_source_too_small_to_tell_anything_is_none():
    few = source_of("few", [trial(i, SPACE.default(), 0.5) for i in range(9)])  # one configuration

    assert Memory.of(SPACE, (few,)) is None


def test_a_source_that_cannot_say_anything_is_refused_with_the_reason():
    check_source(SPACE, earlier())
    with pytest.raises(NotEnoughEvidence, match="no hyperparameter: it has a, b, c, d, e, this one rate"):
        check_source(Space(rate=Float(0, 1)), earlier())
    few = source_of("few", [trial(i, {"a": 0.1 * (i + 1)}, 0.5) for i in range(4)])
    with pytest.raises(NotEnoughEvidence, match="few has 4 configurations"):
        check_source(SPACE, few)


def test_a_source_comes_back_from_json():
    source = source_of("s", [trial(0, {"a": 0.1}, 0.5), trial(1, {"a": 0.2}, None)])

    again = from_dict(to_dict(source))
    assert (again.name, again.trials) == (source.name, source.trials)
    assert source.trials == (({"a": 0.1}, 0.5), ({"a": 0.2}, math.inf))


@pytest.mark.parametrize(("sign", "low", "high"), [(1.0, 0.7, 1.0), (-1.0, 0.0, 0.1)])
def test_trust_is_how_well_it_puts_the_trials_in_order(sign, low, high):
    memory = Memory.of(SPACE, (earlier(),))
    configs = [p.config for p in QuasiRandom().propose(Problem(SPACE, 1, 5), [], 10)]
    points = np.array([SPACE.encode(config) for config in configs])

    assert low <= memory.trust(points, np.array([sign * loss(config) for config in configs])) <= high


def test_of_several_studies_those_count_that_put_the_trials_in_the_right_order():
    """One is right, one says the opposite, one is about something else."""
    configs = [p.config for p in QuasiRandom().propose(Problem(SPACE, 1, 5), [], 20)]
    points = np.array([SPACE.encode(config) for config in configs])
    losses = np.array([loss(config) for config in configs])
    luck = np.random.default_rng(0)
    other = source_of("other", [trial(i, config, luck.random()) for i, config in enumerate(configs)])
    sources = (earlier(sign=-1.0), earlier(), other)

    def order(memory):
        return np.corrcoef(memory.expects(points).argsort().argsort(), losses.argsort().argsort())[0, 1]

    assert order(Memory.of(SPACE, sources)) < 0.5
    weighed = Memory.of(SPACE, sources, points[:10], losses[:10])
    assert order(weighed) > 0.9
    assert weighed.trust(points[:10], losses[:10]) > 0.5


def test_a_study_that_shares_one_hyperparameter_speaks_about_that_one_alone():
    """Wherever the others lie, its opinion of ``a`` is the same."""
    narrow = Space(a=Float(1e-5, 1.0, log=True))
    configs = [p.config for p in QuasiRandom().propose(Problem(narrow, 1, 3), [], 20)]
    source = source_of("narrow", [trial(i, c, (np.log10(c["a"]) + 4) ** 2) for i, c in enumerate(configs)])
    memory = Memory.of(SPACE, (source,))

    points = np.random.default_rng(0).random((50, 5))
    points[:, SPACE.names.index("a")] = 0.2
    assert np.ptp(memory.expects(points)) < 1e-9
    assert memory.expects(points)[0] < memory.expects(points + 0.6)[0]


def test_a_configuration_that_does_not_fit_becomes_the_nearest_that_does():
    small = Space(a=Float(0.1, 0.2), kind=Choice("x", "y"))
    listed = Space(candidates=[{"a": 0.1}, {"a": 0.5}, {"a": 0.9}], a=Float(0.0, 1.0))

    assert fitted(small, {"a": 0.9, "kind": "y", "b": 3}) == {"a": 0.2, "kind": "y"}
    assert fitted(listed, {"a": 0.55}) == {"a": 0.5}
    assert fitted(small, {"kind": "z"}) is None
