"""Several objectives and limits: what is learned of them, against cases with a known answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayar.goals import Constraint, front, hypervolume, keeps, undominated
from ayar.records import Curve, Measurement, Metric, Trial
from ayar.search import Bayesian, CmaEs, Halving, Hyperband, Pareto, Problem, QuasiRandom, Tpe
from ayar.space import Float, Space

PLANE = Space(x=Float(0, 1), y=Float(0, 1))
TWO = (Metric("error"), Metric("size"))


def trial(number, config, metrics, ended=True):
    curve = Curve((Measurement(1, metrics["error"], 1.0, metrics),))
    return Trial(number, config, number, curve=curve, target_step=1, ended=ended)


def searched(searcher, problem, measure, n):
    history = []
    while len(history) < n:
        for proposal in searcher.propose(problem, history, 1):
            history.append(trial(len(history), proposal.config, measure(proposal.config)))
    return history


def traded(config):
    """Along x error is traded for size; y should be 0.3 for both."""
    away = 2 * (config["y"] - 0.3) ** 2
    return {"error": config["x"] ** 2 + away, "size": (1 - config["x"]) ** 2 + away}


@pytest.mark.parametrize("seed", range(2))
def test_the_front_comes_closer_to_the_true_one_than_with_points_spread_evenly(seed):
    problem = Problem(PLANE, 1, seed, objectives=TWO)
    volumes = [
        hypervolume(
            np.array(
                [
                    [m.metrics["error"], m.metrics["size"]]
                    for t in searched(searcher, problem, traded, 40)
                    for m in t.curve
                ]
            ),
            np.array([1.0, 1.0]),
        )
        for searcher in (Pareto(), QuasiRandom())
    ]

    assert 5 / 6 > volumes[0] > volumes[1] + 0.02  # the whole under the true front is 5/6


def limited(config):
    """The error falls with x, and beyond 0.5 the latency is too large."""
    return {"error": 1 - config["x"] + (config["y"] - 0.3) ** 2, "latency_ms": 10 * config["x"]}


LIMIT = (Constraint("latency_ms", 5.0),)


@pytest.mark.parametrize(("searcher", "best"), [(Bayesian(), 0.85), (Tpe(), 0.88), (CmaEs(), 0.95)])
def test_a_limit_is_learned(searcher, best):
    """A fifth of the space keeps the limit; the best of it lies at its edge."""
    limit = (Constraint("latency_ms", 2.0),)
    late = searched(searcher, Problem(PLANE, 1, 3, constraints=limit), limited, 60)[30:]

    assert np.mean([keeps(t, limit) for t in late]) > 0.4
    assert min(t.loss for t in late if keeps(t, limit)) < best


def test_where_nothing_keeps_the_limit_yet_it_is_looked_for_first():
    tight = (Constraint("latency_ms", 0.5),)
    history = searched(Bayesian(), Problem(PLANE, 1, 3, constraints=tight), limited, 20)

    assert any(keeps(t, tight) for t in history)


@pytest.mark.parametrize("searcher", [Halving(), Hyperband()])
def test_a_trial_that_breaks_a_limit_is_not_continued(searcher):
    problem = Problem(PLANE, 9, constraints=LIMIT)
    history = [
        Trial(
            number,
            {"x": number / 10, "y": 0.5},
            number,
            curve=Curve((Measurement(1, 1 - number / 10, 1.0, {"latency_ms": number}),)),
            target_step=1,
        )
        for number in range(9)
    ]

    continued = [proposal.trial for proposal in searcher.propose(problem, history, 3) if proposal.trial is not None]
    assert continued == [5, 4, 3]


@pytest.mark.parametrize("searcher", [Halving(), Hyperband()])
def test_a_trial_outside_a_narrowed_space_is_not_continued(searcher):
    narrowed = Problem(Space(x=Float(0, 0.35), y=Float(0, 1)), 9)
    history = [
        Trial(i, {"x": i / 10, "y": 0.5}, i, curve=Curve((Measurement(1, 1 - i / 10),)), target_step=1)
        for i in range(9)
    ]

    continued = [p.trial for p in searcher.propose(narrowed, history, 3) if p.trial is not None]
    assert set(continued) <= {0, 1, 2, 3}


def test_a_limit_is_read_from_words():
    assert Constraint.parse("accuracy >= 0.9") == Constraint("accuracy", 0.9, at_least=True)
    assert Constraint.parse("<= 5", "latency_ms") == Constraint("latency_ms", 5.0)
    assert str(Constraint.parse("latency_ms<=5")) == "latency_ms <= 5"


@pytest.mark.parametrize(("text", "metric"), [("latency_ms < 5", ""), ("<= 5", ""), ("<= five", "a"), ("b <= 5", "a")])
def test_another_way_to_write_a_limit_is_refused(text, metric):
    with pytest.raises(ValueError, match=r"cannot be read\. Write a limit such as 'latency_ms <= 5'"):
        Constraint.parse(text, metric)


def test_the_front_holds_whole_trainings_that_keep_the_limits():
    history = [
        trial(0, {}, {"error": 0.1, "size": 9.0}),
        trial(1, {}, {"error": 0.2, "size": 2.0}),
        trial(2, {}, {"error": 0.3, "size": 3.0}),
        trial(3, {}, {"error": 0.4, "size": 1.0}),
        trial(4, {}, {"error": 0.05, "size": 0.5}, ended=False),
        trial(5, {}, {"error": 0.01}),
        Trial(6, {}, 6, curve=Curve((Measurement(1, 0.0, 1.0, {"size": 0.0}),)), ended=True, error="killed"),
    ]

    assert [t.id for t in front(history, TWO)] == [0, 1, 3]
    assert [t.id for t in front(history, TWO, [Constraint("size", 5.0)])] == [1, 3]


grids = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=8)


@given(rows=grids)
def test_the_hypervolume_counts_the_cells_below_the_reference(rows):
    losses = np.array(rows, dtype=float)
    corners = np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)
    covered = [(losses <= corner).all(axis=1).any() for corner in corners]

    assert hypervolume(losses, np.full(3, 4.0)) == sum(covered)


@given(rows=grids)
def test_the_undominated_are_those_that_nobody_beats(rows):
    losses = np.array(rows, dtype=float)
    expected = [not any((a <= b).all() and (a < b).any() for a in losses) for b in losses]

    assert undominated(losses).tolist() == expected
