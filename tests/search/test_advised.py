"""The doctor's moves as candidates of a search."""

import pytest

from ayar.curves import diagnose
from ayar.errors import BudgetError
from ayar.records import Curve, Measurement, Trial
from ayar.search.advised import Advised, Doctor, moves
from ayar.search.base import Problem, Proposal
from ayar.search.random_search import Random
from ayar.seeds import Purpose
from ayar.space import Float, Space

SPACE = Space(learning_rate=Float(1e-4, 1.0, log=True), weight_decay=Float(0.0, 1.0))
PROBLEM = Problem(SPACE, horizon=40)


def trial(number, rate, factor, purpose=Purpose.SEARCH):
    """A trial whose loss is multiplied by ``factor`` with each step."""
    losses = [2.3 * factor**step for step in range(41)]
    curve = Curve(tuple(Measurement(s, loss, metrics={"train_probe": loss}) for s, loss in enumerate(losses)))
    return Trial(number, {"learning_rate": rate, "weight_decay": 0.0}, number, purpose, curve, 40, ended=True)


SLOW, SLOWER, WILD = trial(0, 0.01, 0.99), trial(1, 0.002, 0.995), trial(2, 0.5, 1.3)


def test_the_best_trials_moves_come_first():
    assert diagnose(SLOW.curve)[0].name == "too slow"
    rates = [config["learning_rate"] for config in moves(PROBLEM, [WILD, SLOWER, SLOW])]
    assert rates == [0.1, 0.02, 0.05]


def test_confirmation_trials_are_not_read():
    assert list(moves(PROBLEM, [trial(0, 0.01, 0.99, Purpose.RERANK)])) == []


def test_a_move_beyond_the_space_is_not_proposed():
    narrow = Space(learning_rate=Float(1e-4, 0.01, log=True), weight_decay=Float(0.0, 1.0))
    assert list(moves(Problem(narrow, horizon=40), [SLOW])) == []


def test_every_fourth_new_trial_is_a_move():
    history = [SLOW, SLOWER]
    proposals = Advised(Random()).propose(PROBLEM, history, 6)
    plain = Random().propose(PROBLEM, history, 6)

    moved = [place for place, (ours, theirs) in enumerate(zip(proposals, plain, strict=True)) if ours != theirs]
    assert moved == [1, 5]  # the 4th and the 8th trial
    assert [proposals[place].config["learning_rate"] for place in moved] == [0.1, 0.02]


def test_continuations_are_left_alone():
    class Continues:
        def propose(self, problem, history, n):
            return [Proposal(SLOW.config, 40, trial=0)]

    assert Advised(Continues(), every=1).propose(PROBLEM, [SLOW], 1) == [Proposal(SLOW.config, 40, trial=0)]


def test_trials_that_begin_where_another_stands_are_left_alone():
    class Evolves:
        def propose(self, problem, history, n):
            return [Proposal(SLOWER.config, 40, parent=0)]

    assert Advised(Evolves(), every=1).propose(PROBLEM, [SLOW], 1) == [Proposal(SLOWER.config, 40, parent=0)]


def test_a_move_that_was_tried_is_not_proposed_again():
    tried = trial(2, 0.1, 0.9)
    (proposal,) = Advised(Random(), every=1).propose(PROBLEM, [SLOW, tried], 1)
    assert proposal.config["learning_rate"] != 0.1


def test_an_unknown_doctor_is_refused():
    with pytest.raises(BudgetError, match=r"is unknown\. Give one of: listen, stop, advise, off"):
        Doctor.named("maybe")
