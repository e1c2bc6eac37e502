"""One suite of promises for every searcher. A new one is tested by adding its name to SEARCHERS."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.records import Curve, Measurement, State, Trial, config_key
from ayar.search import SEARCHERS, Problem
from ayar.search.history import History
from ayar.seeds import Purpose, trial_seed
from ayar.space import Choice, Float, Int, PerLayer, Space

HORIZON = 9

SPACES = {
    "flat": Space(learning_rate=Float(1e-4, 1.0, log=True), batch_size=Choice(16, 32, 64, ordered=True), epochs=9),
    "conditional": Space(
        optimizer=Choice("sgd", "adam"),
        momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
        nesterov=Choice(False, True, when={"optimizer": "sgd"}),
        beta=Float(0.8, 0.999, when={"optimizer": "adam"}),
    ),
    "per layer": Space(
        layers=Int(1, 3), units=PerLayer(Int(4, 64, log=True), layers="layers"), dropout=Float(0.0, 0.5, step=0.1)
    ),
    "candidates": Space(
        candidates=[{"rate": 0.1 * i, "kind": kind} for i in range(1, 7) for kind in ("a", "b")],
        rate=Float(0.0, 1.0),
        kind=Choice("a", "b"),
    ),
    "tiny": Space(kind=Choice("a", "b", "c"), layers=Int(1, 2)),
    "single": Space(rate=0.1),
}
RANDOM_SPACES = ["flat", "conditional", "per layer"]

every_searcher = pytest.mark.parametrize("searcher", sorted(SEARCHERS))
every_space = pytest.mark.parametrize("space", sorted(SPACES))


class Study:
    """A study's bookkeeping in miniature: it starts what is proposed, and answers as its workers come."""

    def __init__(self, searcher, problem):
        self.searcher = SEARCHERS[searcher]()
        self.problem = problem
        self.history = []
        self.kept = History()  # the same, with its columns kept from move to move; replays go without
        self.log = []  # (history before, n, proposals)

    def ask(self, n):
        before = list(self.history)
        proposals = self.searcher.propose(self.problem, self.kept, n)
        self.log.append((before, n, proposals))
        assert len(proposals) <= n
        for proposal in proposals:
            self._start(proposal)
        return proposals

    def _start(self, proposal):
        assert self.problem.space.contains(proposal.config)
        if proposal.trial is None:
            known = {config_key(t.config) for t in self.history}
            assert config_key(proposal.config) not in known, "proposed twice"
            trial_id = len(self.history)
            self.history.append(None)
        else:
            trial_id = proposal.trial
            assert self.history[trial_id].state is State.PAUSED
            assert self.history[trial_id].config == proposal.config
        seed = trial_seed(self.problem.seed, Purpose.SEARCH, trial_id)
        trial = self.history[trial_id] or Trial(trial_id, proposal.config, seed)
        if proposal.parent is not None:
            parent = self.history[proposal.parent]
            assert parent.state is State.PAUSED
            trial = replace(trial, parent=parent.id, fork_step=parent.stands_at)
        assert trial.stands_at < proposal.stop_step <= self.problem.horizon
        self.history[trial_id] = replace(trial, target_step=proposal.stop_step)
        self.kept.put(self.history[trial_id])

    @property
    def running(self):
        return [trial for trial in self.history if trial.state is State.RUNNING]

    def answer(self, trial, fate="done"):
        """The outcome of the outstanding move; ``fate`` is done, partly, diverged, failed or ended."""
        start, stop = trial.stands_at, trial.target_step
        loss = int.from_bytes(config_key(trial.config).encode()) % 997 / 997
        if fate in ("partly", "failed", "ended"):
            stop = (start + stop) // 2
        news = [Measurement(step, loss + 1 / step) for step in range(start + 1, stop + 1)]
        if fate == "diverged":
            news[-1] = Measurement(stop, float("nan"))
        self.history[trial.id] = replace(
            trial,
            curve=trial.curve.extended(news),
            ended=fate == "ended" or (fate != "partly" and stop == self.problem.horizon),
            error="killed" if fate == "failed" else None,
        )
        self.kept.put(self.history[trial.id])


def trained(searcher, space, n, seed=0):
    """A study of ``n`` asked moves, each answered before the next."""
    study = Study(searcher, Problem(SPACES[space], HORIZON, seed))
    for _ in range(n):
        study.ask(1)
        for trial in study.running:
            study.answer(trial)
    return study


@every_searcher
@every_space
def test_the_same_history_and_seed_give_the_same_moves(searcher, space):
    first, again = trained(searcher, space, 8), trained(searcher, space, 8)

    assert [proposals for _, _, proposals in first.log] == [proposals for _, _, proposals in again.log]


@every_searcher
@every_space
def test_the_history_is_left_as_it_was(searcher, space):
    study = trained(searcher, space, 8)
    before = copy.deepcopy(study.history)

    study.searcher.propose(study.problem, study.history, 4)

    assert study.history == before


@every_searcher
@pytest.mark.parametrize("space", RANDOM_SPACES)
def test_another_seed_gives_other_moves(searcher, space):
    first, other = trained(searcher, space, 8, seed=1), trained(searcher, space, 8, seed=2)

    assert [proposals for _, _, proposals in first.log] != [proposals for _, _, proposals in other.log]


@every_searcher
@every_space
def test_asking_for_several_is_the_same_as_asking_several_times(searcher, space):
    at_once = Study(searcher, Problem(SPACES[space], HORIZON, 3))
    one_by_one = Study(searcher, Problem(SPACES[space], HORIZON, 3))

    assert at_once.ask(5) == [proposal for _ in range(5) for proposal in one_by_one.ask(1)]


@pytest.mark.parametrize("searcher", sorted(set(SEARCHERS) - {"grid"}))
@pytest.mark.parametrize("space", ["flat", "conditional", "per layer", "candidates"])
def test_the_first_move_measures_the_default(searcher, space):
    study = Study(searcher, Problem(SPACES[space], HORIZON, 5))

    assert study.ask(3)[0].config == SPACES[space].default()


@every_searcher
def test_the_default_tried_by_hand_is_not_tried_again(searcher):
    space = SPACES["flat"]
    by_hand = Trial(0, space.default(), 1, Purpose.ATTEMPT, Curve((Measurement(9, 0.5),)), 9, ended=True)

    proposals = SEARCHERS[searcher]().propose(Problem(space, HORIZON), [by_hand], 4)

    assert len(proposals) == 4
    assert by_hand.config not in [proposal.config for proposal in proposals]
    assert None is proposals[0].trial


@every_searcher
def test_confirmation_data_does_not_move_the_search(searcher):
    study = trained(searcher, "flat", 6)
    outside = [
        Trial(100 + i, SPACES["flat"].sample(np.random.default_rng(i)), i, purpose, Curve((Measurement(9, 0.0),)), 9)
        for i, purpose in enumerate(set(Purpose) - {Purpose.SEARCH, Purpose.ATTEMPT})
    ]

    propose = study.searcher.propose
    assert propose(study.problem, [*study.history, *outside], 3) == propose(study.problem, study.history, 3)


@every_searcher
@pytest.mark.parametrize("space", ["candidates", "tiny", "single"])
@pytest.mark.parametrize("sliceable", [True, False])
def test_a_finite_space_ends_cleanly_with_its_best_at_the_horizon(searcher, space, sliceable):
    study = Study(searcher, Problem(SPACES[space], HORIZON, 4, sliceable))
    while study.ask(2):
        for trial in study.running:
            study.answer(trial)

    keys = {config_key(trial.config) for trial in study.history}
    assert len(keys) == len(study.history) == SPACES[space].size
    best = min(study.history, key=lambda trial: trial.loss)
    assert best.curve.last_step == HORIZON


@every_searcher
@every_space
def test_a_limit_of_trials_is_kept_and_the_best_of_them_gets_to_the_horizon(searcher, space):
    study = Study(searcher, Problem(SPACES[space], HORIZON, 4, max_trials=4))
    while study.ask(3):
        for trial in study.running:
            study.answer(trial)

    assert len(study.history) == min(4, SPACES[space].size or 4)
    assert min(study.history, key=lambda trial: trial.loss).curve.last_step == HORIZON


@every_searcher
@pytest.mark.parametrize("space", ["flat", "tiny"])
def test_a_training_that_cannot_be_sliced_goes_to_the_horizon_at_once(searcher, space):
    study = Study(searcher, Problem(SPACES[space], HORIZON, sliceable=False))

    assert {proposal.stop_step for proposal in study.ask(4)} == {HORIZON}


@every_searcher
@every_space
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_any_number_of_workers_may_be_out_and_any_of_them_may_break(searcher, space, data):
    """The promises that ``Study`` checks hold under any schedule; a replay without caches gives the same moves."""
    study = Study(searcher, Problem(SPACES[space], HORIZON, data.draw(st.integers(0, 99))))
    exhausted = False
    for _ in range(data.draw(st.integers(1, 30))):
        n = data.draw(st.integers(1, 4))
        if study.running and (exhausted or data.draw(st.booleans())):
            trial = data.draw(st.sampled_from(study.running))
            study.answer(trial, data.draw(st.sampled_from(["done", "done", "partly", "diverged", "failed", "ended"])))
            exhausted = False
        else:
            exhausted = not study.ask(n)
            if exhausted and not study.running:
                assert len(study.history) == (SPACES[space].size or 15)  # 15: what a grid has of "flat"
                break

    for before, n, proposals in study.log:
        assert SEARCHERS[searcher]().propose(study.problem, before, n) == proposals


@every_searcher
def test_a_space_of_many_dimensions_is_no_obstacle(searcher):
    wide = Space(layers=22000, units=PerLayer(Choice("a", "b"), layers="layers"), rate=Float(0, 1))

    proposals = SEARCHERS[searcher]().propose(Problem(wide, HORIZON), [], 2)

    assert [len(proposal.config["units"]) for proposal in proposals] == [22000, 22000]
