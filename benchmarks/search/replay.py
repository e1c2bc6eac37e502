"""One search on one task: the searcher's contract on one side, a recorded table on the other.

The unit is one configuration advanced by one recorded step; a run that cannot be continued costs its whole length.
Budgets are counted in full runs: a full run is as many units as the task has steps. Any number of workers is
simulated: each trains one slice at a time and takes as many seconds as were recorded, or one for each step.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tables import Replay

from ayar.records import Move, Trial
from ayar.search import Problem, Proposal
from ayar.search.history import FACTS, History, column
from ayar.seeds import Purpose, trial_seed

CHECKPOINTS = np.unique(np.concatenate([np.geomspace(0.1, 100, 61), [1, 2, 5, 10, 20, 50]]).round(3))
"""Budgets, in full runs, at which the recommendation is judged."""


@dataclass
class Run:
    """What one search did.

    Attributes:
        regrets: Regret of the recommendation at each checkpoint; 1 before there is any.
        seconds: Simulated seconds that had passed by then.
        thinking_s: Seconds that each call of the searcher took.
    """

    regrets: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    thinking_s: list[float] = field(default_factory=list)


def search(replay: Replay, searcher: Any, full_runs: float, workers: int = 1, problem: Problem | None = None) -> Run:
    """Search one task until the budget is spent or nothing is left to train; ``problem`` where it is not replay's."""
    problem = problem or replay.problem
    run, history, spent, now = Run(), History(), 0.0, 0.0
    under_way: list[tuple[float, int, int, Trial]] = []  # end, order, units, the trial as it is then
    order = 0

    def note(until: float) -> None:
        passed = int((CHECKPOINTS[len(run.regrets) :] < until).sum())
        if passed:
            run.regrets += [_regret(replay, problem, searcher, history)] * passed
            run.seconds += [now] * passed

    while spent < full_runs:
        while len(under_way) < workers:
            start = time.perf_counter()
            proposals = searcher.propose(problem, history, 1)
            run.thinking_s.append(time.perf_counter() - start)
            if not proposals:
                break
            before, after, units, seconds = _begun(replay, history, proposals[0])
            history.put(before)
            heapq.heappush(under_way, (now + seconds, order, units, after))
            order += 1
        if not under_way:
            break
        end, _, units, trial = heapq.heappop(under_way)
        spent += units / replay.problem.horizon
        note(spent - 1e-9)  # a move that ends beyond a checkpoint was not finished there
        now = end
        history.put(trial)
    note(np.inf)
    return run


def _begun(replay: Replay, history: History, proposal: Proposal) -> tuple[Trial, Trial, int, float]:
    """The trial while its slice is trained and after that, the units that it costs, and its seconds."""
    number = len(history) if proposal.trial is None else proposal.trial
    fresh = Trial(number, proposal.config, trial_seed(replay.problem.seed, Purpose.SEARCH, number))
    trial = fresh if proposal.trial is None else history[number]
    move = Move(number, trial.config, trial.seed, trial.curve.last_step, proposal.stop_step)
    row = replay.row(proposal.config)
    news, ended = replay.train(row, move.start_step, move.stop_step)
    curve = trial.curve.extended(news)
    stands_at = curve.last_step if ended and news else max(move.stop_step, curve.last_step)
    if not news:
        stands_at = replay.problem.horizon
    after = replace(trial, curve=curve, target_step=curve.last_step, ended=ended)
    seconds = replay.seconds(row, stands_at) - replay.seconds(row, move.start_step)
    return replace(trial, target_step=move.stop_step), after, max(stands_at - move.start_step, 1), max(seconds, 1e-9)


def _regret(replay: Replay, problem: Problem, searcher: Any, history: History) -> float:
    """What the searcher recommends is worth; the configuration with the least loss read, where it has no opinion."""
    if not history:
        return 1.0
    recommend = getattr(searcher, "recommend", lambda *_: None)
    recommended = recommend(problem, history) or history[int(column(history, FACTS)["loss"].argmin())]
    return float(replay.regret[replay.row(recommended.config)])
