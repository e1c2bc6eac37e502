"""Rungs and promotions, computed by hand."""

import math

import pytest

from ayar.records import Curve, Measurement, Trial
from ayar.search import Grid, Halving, Problem, Proposal, Random
from ayar.seeds import Purpose
from ayar.space import Float, Int, Space

SPACE = Space(rate=Float(0.0, 1.0))
PROBLEM = Problem(SPACE, horizon=9)  # rungs 1, 3, 9


def trial(number, losses, target=None, **more):
    """A trial with these losses at steps 1, 2, ...; paused there unless ``target`` lies further on."""
    curve = Curve(tuple(Measurement(step, loss) for step, loss in enumerate(losses, start=1)))
    return Trial(number, {"rate": number / 100}, number, curve=curve, target_step=target or len(losses), **more)


def continued(history, n=9, problem=PROBLEM, searcher=None):
    """Trial and stop step of the continuations among ``n`` proposals."""
    proposals = (searcher or Halving()).propose(problem, history, n)
    return [(proposal.trial, proposal.stop_step) for proposal in proposals if proposal.trial is not None]


@pytest.mark.parametrize(
    ("searcher", "horizon", "rungs"),
    [
        (Halving(), 81, (3, 9, 27, 81)),
        (Halving(), 50, (1, 5, 16, 50)),
        (Halving(), 10, (1, 3, 10)),
        (Halving(), 2, (2,)),
        (Halving(), 1, (1,)),
        (Halving(min_step=9), 81, (9, 27, 81)),
        (Halving(min_step=10), 81, (27, 81)),
        (Halving(min_step=100), 81, (81,)),
        (Halving(eta=2), 20, (2, 5, 10, 20)),
        (Halving(eta=2, min_step=1), 20, (1, 2, 5, 10, 20)),
    ],
)
def test_the_rungs_are_fractions_of_the_horizon(searcher, horizon, rungs):
    assert searcher.rungs(horizon) == rungs


@pytest.mark.parametrize("wrong", [{"eta": 1}, {"min_step": 0}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"at least 2, got 1|got min_step=0"):
        Halving(**wrong)


def test_a_new_trial_is_trained_to_the_first_rung():
    assert Halving().propose(PROBLEM, [], 1) == [Proposal({"rate": 0.5}, stop_step=1)]


def test_one_of_three_is_continued():
    two = [trial(0, [0.3]), trial(1, [0.1])]

    assert continued(two) == []
    assert continued([*two, trial(2, [0.2])]) == [(1, 3)]


def test_among_equals_the_earliest_is_continued():
    assert continued([trial(i, [0.5]) for i in range(6)]) == [(0, 3), (1, 3)]


def test_the_highest_rung_comes_first_and_the_better_before_the_worse():
    history = [
        *(trial(i, [0.9, 0.8, loss]) for i, loss in enumerate([0.5, 0.3, 0.4])),
        *(trial(i, [loss]) for i, loss in enumerate([0.2, 0.95, 0.1, 0.97, 0.98, 0.99], start=3)),
    ]

    # rung 3: the best of three is 1; rung 1: nine reached it, the best three are 5, 3 and 0, which has moved on
    assert continued(history) == [(1, 9), (5, 3), (3, 3)]
    assert continued(history, n=2) == [(1, 9), (5, 3)]


def test_a_promotion_under_way_counts_on_its_rung():
    history = [trial(0, [0.1], target=3), trial(1, [0.2]), trial(2, [0.3])]

    assert continued(history) == []


def test_a_first_slice_under_way_does_not_count_yet():
    history = [trial(0, [], target=1), trial(1, [0.2]), trial(2, [0.3])]

    assert continued(history) == []


def test_the_loss_at_a_rung_is_the_least_until_then_and_not_that_of_the_untrained_net():
    curves = {0: [(0, 0.01), (1, 0.5), (2, 0.2), (3, 0.9)], 1: [(1, 0.6), (2, 0.6), (3, 0.3)], 2: [(3, 0.4)]}
    history = [
        Trial(i, {"rate": i / 10}, i, curve=Curve(tuple(Measurement(*m) for m in curve)), target_step=3)
        for i, curve in curves.items()
    ]

    assert continued(history) == [(0, 9)]


@pytest.mark.parametrize(
    "broken",
    [
        trial(0, [0.1], target=3, error="killed"),
        trial(0, [0.1, math.nan], target=3),
        trial(0, [], target=1, error="raised"),
        trial(0, [math.inf]),
    ],
)
def test_a_broken_trial_counts_as_the_worst_and_is_never_continued(broken):
    history = [broken, trial(1, [0.2])]

    assert continued(history) == []
    assert continued([*history, trial(2, [0.3])]) == [(1, 3)]


def test_when_all_broke_nothing_is_continued():
    history = [trial(i, [math.nan]) for i in range(9)]

    assert continued(history) == []
    assert len(Halving().propose(PROBLEM, history, 2)) == 2


def test_a_training_that_ended_by_itself_stands_on_the_rung_it_was_on_the_way_to():
    history = [trial(0, [0.3, 0.1], target=3, ended=True), *(trial(i, [0.9, 0.9, 0.2]) for i in (1, 2))]

    # 0 is the best of three on rung 3 and has nothing left to train
    assert continued(history) == []


def test_an_attempt_by_hand_counts_but_is_not_continued():
    by_hand = trial(0, [0.1], purpose=Purpose.ATTEMPT)

    assert continued([by_hand, trial(1, [0.2]), trial(2, [0.3])]) == []
    assert continued([by_hand, *(trial(i, [0.1 + i / 100]) for i in range(1, 6))]) == [(1, 3)]


def test_confirmation_runs_do_not_count():
    history = [trial(0, [0.2]), trial(1, [0.3]), trial(2, [0.9], purpose=Purpose.RERANK)]

    assert continued(history) == []


def test_a_trial_paused_between_rungs_goes_on_to_the_next_rung():
    assert continued([trial(0, [0.3, 0.2]), trial(1, [0.4]), trial(2, [0.5])]) == [(0, 3)]


def test_a_trial_paused_before_the_first_rung_is_brought_there():
    history = [trial(0, [0.3]), trial(1, [0.5, 0.4])]

    assert continued(history, problem=Problem(SPACE, horizon=90), n=3) == [(0, 3), (1, 3)]


def test_a_small_space_ends_with_its_best_at_the_horizon():
    """Four configurations: two of four, then one of two, go on once there is nothing new to try."""
    problem = Problem(Space(rate=Int(1, 4)), horizon=9)
    history = [Trial(i, {"rate": i}, i, curve=Curve((Measurement(1, i / 10),)), target_step=1) for i in range(1, 5)]
    searcher = Halving()

    assert continued(history, problem=problem) == [(1, 3), (2, 3)]

    for i in (0, 1):
        curve = history[i].curve.extended([Measurement(3, 0.09 - i / 100)])
        history[i] = Trial(i + 1, {"rate": i + 1}, i, curve=curve, target_step=3)
    assert continued(history, problem=problem) == [(2, 9)]

    curve = history[1].curve.extended([Measurement(9, 0.05)])
    history[1] = Trial(2, {"rate": 2}, 1, curve=curve, target_step=9, ended=True)
    assert searcher.propose(problem, history, 5) == []


@pytest.mark.parametrize("base", [Random(), Grid()])
def test_new_configurations_come_from_the_base(base):
    proposals = Halving(base=base).propose(PROBLEM, [], 3)

    assert [p.config for p in proposals] == [p.config for p in base.propose(PROBLEM, [], 3)]
    assert {p.stop_step for p in proposals} == {1}


@pytest.mark.parametrize("problem", [Problem(SPACE, horizon=1), Problem(SPACE, horizon=9, sliceable=False)])
def test_without_slices_it_is_the_base(problem):
    base = Random()

    assert Halving(base=base).propose(problem, [], 3) == base.propose(problem, [], 3)
