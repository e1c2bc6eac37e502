"""One search on one task: the searcher's contract on one side, a recorded table on the other.

The unit is one configuration advanced by one recorded step; a run that cannot be continued costs its whole length.
Budgets are counted in full runs: a full run is as many units as the task has steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from tables import Replay

from ayar.records import Trial
from ayar.search import Proposal, Searcher
from ayar.search.history import FACTS, History, column
from ayar.seeds import Purpose, trial_seed

CHECKPOINTS = np.unique(np.concatenate([np.geomspace(0.1, 100, 61), [1, 2, 5, 10, 20, 50]]).round(3))
"""Budgets, in full runs, at which the recommendation is judged."""


@dataclass
class Run:
    """What one search did.

    Attributes:
        regrets: Regret of the recommendation at each checkpoint; 1 before there is any.
        thinking_s: Seconds that each call of the searcher took.
    """

    regrets: list[float] = field(default_factory=list)
    thinking_s: list[float] = field(default_factory=list)


def search(replay: Replay, searcher: Searcher, full_runs: float) -> Run:
    """Search one task until the budget is spent or nothing is left to train."""
    run, history, spent = Run(), History(), 0.0
    for trial, units in _moves(replay, searcher, history, run):
        spent += units / replay.problem.horizon
        # A move that ends beyond a checkpoint was not finished there.
        while len(run.regrets) < len(CHECKPOINTS) and CHECKPOINTS[len(run.regrets)] < spent - 1e-9:
            run.regrets.append(_regret(replay, history))
        if spent >= full_runs:
            break
        history.put(trial)
    run.regrets += [_regret(replay, history)] * (len(CHECKPOINTS) - len(run.regrets))
    return run


def _moves(replay: Replay, searcher: Searcher, history: History, run: Run) -> Iterator[tuple[Trial, int]]:
    """Trials as their moves leave them, with the units each move cost."""
    while True:
        start = time.perf_counter()
        proposals = searcher.propose(replay.problem, history, 1)
        run.thinking_s.append(time.perf_counter() - start)
        if not proposals:
            return
        yield _answer(replay, history, proposals[0])


def _answer(replay: Replay, history: Sequence[Trial], proposal: Proposal) -> tuple[Trial, int]:
    number = len(history) if proposal.trial is None else proposal.trial
    fresh = Trial(number, proposal.config, trial_seed(replay.problem.seed, Purpose.SEARCH, number))
    before = fresh if proposal.trial is None else history[number]
    start = before.curve.last_step
    news, ended = replay.train(replay.row(proposal.config), start, proposal.stop_step)
    curve = before.curve.extended(news)
    after = Trial(number, before.config, before.seed, curve=curve, target_step=proposal.stop_step, ended=ended)
    stands_at = proposal.stop_step if not ended or curve.last_step == start else curve.last_step
    return after, max(stands_at - start, 1)


def _regret(replay: Replay, history: Sequence[Trial]) -> float:
    """What the configuration with the least loss read so far is worth."""
    if not history:
        return 1.0
    recommended = history[int(column(history, FACTS)["loss"].argmin())]
    return float(replay.regret[replay.row(recommended.config)])
