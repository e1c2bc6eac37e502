"""One search on one task: the searcher's contract on one side, a recorded table on the other.

The unit is one configuration advanced by one recorded step; a run that cannot be continued costs its whole length.
Budgets are counted in full runs: a full run is as many units as the task has steps. Any number of workers is
simulated: each trains one slice at a time and takes as many seconds as were recorded, or one for each step. A ``live``
search is told what a study tells: each reading when it is taken, also of a slice still under way, and its seconds.
Others see a slice's readings when it has ended, and no seconds.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice, pairwise
from typing import Any

import numpy as np
from tables import Replay

from ayar.records import Measurement, Move, Trial
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


@dataclass(frozen=True)
class _Slice:
    """A slice under way: the trial as it was put to work, what it will read, and when and as what it will end."""

    trial: Trial
    begun_s: float
    news: tuple[Measurement, ...]
    ended: bool
    last_step: int
    seconds: float

    @classmethod
    def of(cls, replay: Replay, history: History, proposal: Proposal, begun_s: float) -> _Slice:
        """The slice that a proposal asks for."""
        number = len(history) if proposal.trial is None else proposal.trial
        fresh = Trial(number, proposal.config, trial_seed(replay.problem.seed, Purpose.SEARCH, number))
        trial = fresh if proposal.trial is None else history[number]
        move = Move(number, trial.config, trial.seed, trial.curve.last_step, proposal.stop_step)
        row = replay.row(proposal.config)
        found, ended = replay.train(row, move.start_step, move.stop_step)
        taken = [replay.seconds(row, step) for step in (move.start_step, *(m.step for m in found))]
        news = tuple(replace(m, cost_s=max(b - a, 0.0)) for m, (a, b) in zip(found, pairwise(taken), strict=True))
        last_step = news[-1].step if news else replay.problem.horizon
        last_step = last_step if ended else max(last_step, move.stop_step)
        seconds = max(replay.seconds(row, last_step) - taken[0], 1e-9)
        return cls(replace(trial, target_step=move.stop_step), begun_s, news, ended, last_step, seconds)

    @property
    def units(self) -> int:
        """What it costs."""
        return max(self.last_step - self.trial.curve.last_step, 1)

    def at(self, now: float) -> Trial:
        """The trial with the readings so far, and their seconds; the last reading comes when the slice has ended."""
        early = self.news[:-1]
        arrivals = accumulate((m.cost_s for m in early), initial=self.begun_s)
        come = [m for m, when in zip(early, islice(arrivals, 1, None), strict=True) if when <= now]
        return replace(self.trial, curve=self.trial.curve.extended(come))

    def after(self, *, live: bool) -> Trial:
        """The trial when it has ended."""
        curve = self.trial.curve.extended(m if live else replace(m, cost_s=0.0) for m in self.news)
        return replace(self.trial, curve=curve, target_step=curve.last_step, ended=self.ended)


def search(
    replay: Replay,
    searcher: Any,
    full_runs: float,
    workers: int = 1,
    problem: Problem | None = None,
    *,
    live: bool = False,
) -> Run:
    """Search one task until the budget is spent or nothing is left to train; ``problem`` where it is not replay's."""
    problem = problem or replay.problem
    run, history, spent, now = Run(), History(), 0.0, 0.0
    under_way: list[tuple[float, int, _Slice]] = []  # end, order
    order = 0

    def note(until: float) -> None:
        passed = int((CHECKPOINTS[len(run.regrets) :] < until).sum())
        if passed:
            run.regrets += [_regret(replay, problem, searcher, history)] * passed
            run.seconds += [now] * passed

    while spent < full_runs:
        for *_, training in under_way if live else ():
            trial = training.at(now)
            if len(trial.curve) > len(history[trial.id].curve):
                history.put(trial)
        while len(under_way) < workers:
            start = time.perf_counter()
            proposals = searcher.propose(problem, history, 1)
            run.thinking_s.append(time.perf_counter() - start)
            if not proposals:
                break
            training = _Slice.of(replay, history, proposals[0], now)
            history.put(training.trial)
            heapq.heappush(under_way, (now + training.seconds, order, training))
            order += 1
        if not under_way:
            break
        end, _, training = heapq.heappop(under_way)
        spent += training.units / replay.problem.horizon
        note(spent - 1e-9)  # a move that ends beyond a checkpoint was not finished there
        now = end
        history.put(training.after(live=live))
    note(np.inf)
    return run


def _regret(replay: Replay, problem: Problem, searcher: Any, history: History) -> float:
    """What the searcher recommends is worth; the configuration with the least loss read, where it has no opinion."""
    if not history:
        return 1.0
    recommend = getattr(searcher, "recommend", lambda *_: None)
    recommended = recommend(problem, history) or history[int(column(history, FACTS)["loss"].argmin())]
    return float(replay.regret[replay.row(recommended.config)])
