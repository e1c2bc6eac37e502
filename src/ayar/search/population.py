"""Population-based training: hyperparameters change while the nets train."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from ayar.records import Configuration, State, Trial
from ayar.search.base import Problem, Proposal, Searcher
from ayar.search.evidence import violating
from ayar.search.fresh import Known, allowed, searched
from ayar.search.halving import Halving
from ayar.search.history import FACTS, PURPOSES, STATES, column
from ayar.search.quasirandom import QuasiRandom
from ayar.seeds import Purpose
from ayar.space import Float, Space

_SEARCH = PURPOSES.index(Purpose.SEARCH)
_FAILED, _DIVERGED, _RUNNING, _PAUSED, _COMPLETED = (
    STATES.index(state) for state in (State.FAILED, State.DIVERGED, State.RUNNING, State.PAUSED, State.COMPLETED)
)
_FACTORS = (0.8, 1.25)
_STEP = 0.1  # of the range of a hyperparameter that is not on a log scale
_RESAMPLED = 0.25  # how often a value is drawn anew instead
_TRIES = 16


@dataclass(frozen=True)
class Population:
    """Population-based training (Jaderberg et al., 2017, arXiv:1711.09846), asynchronous.

    So many trials train side by side and are compared at the same steps. One that is then among the worst is left
    where it is; a new trial takes its place, which begins with the state of one of the best and a configuration a
    little beside that one's. Only ``Float`` hyperparameters change: whole numbers and choices mostly shape the net. So
    what comes out is a schedule: the configurations of a trial and of those it descends from.

    A place whose trial reached the horizon is free for another, from the beginning.

    Attributes:
        base: Where the first configurations come from.
        unchanging: What searches where nothing can change on the way: final values only, a list of candidates, a
            space without a ``Float``.
        size: How many trials train side by side.
        intervals: How often they are compared until the horizon.
        share: The part of them that is among the best, and among the worst.
    """

    base: Searcher = field(default_factory=QuasiRandom)
    unchanging: Searcher = field(default_factory=Halving)
    size: int = 12
    intervals: int = 10
    share: float = 0.25

    def changes(self, space: Space) -> bool:
        """Whether there is a hyperparameter in the space that can change on the way."""
        return space.candidates is None and any(isinstance(space[name], Float) for name in space.names)

    def steps(self, horizon: int) -> tuple[int, ...]:
        """The steps at which trials are compared, the horizon last.

        >>> Population().steps(50)
        (5, 10, 15, 20, 25, 30, 35, 40, 45, 50)
        """
        return tuple(dict.fromkeys(math.ceil(horizon * part / self.intervals) for part in range(1, self.intervals + 1)))

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Up to ``n`` offspring, new trials and continuations; see ``Searcher``."""
        if not problem.sliceable or problem.horizon == 1 or not self.changes(problem.space):
            return self.unchanging.propose(problem, history, n)
        steps = self.steps(problem.horizon)
        standing = _Standing.of(problem, history, steps, self)
        proposals = self._offspring(problem, history, standing, allowed(problem, history, n))
        new = min(standing.vacant, allowed(problem, history, n) - len(proposals))
        proposals += self._beginners(problem, history, new)
        inside = (t for place in standing.waiting if problem.space.contains((t := history[place]).config))
        proposals += [Proposal(t.config, _after(steps, t), t.id) for t in islice(inside, n - len(proposals))]
        if not proposals and not standing.outstanding:  # all broke, and left nobody to descend from
            proposals = self._beginners(problem, history, allowed(problem, history, n))
        return proposals

    def _beginners(self, problem: Problem, history: Sequence[Trial], count: int) -> list[Proposal]:
        found = self.base.propose(problem, history, count) if count > 0 else []
        return [replace(proposal, stop_step=self.steps(problem.horizon)[0]) for proposal in found]

    def _offspring(
        self, problem: Problem, history: Sequence[Trial], standing: _Standing, at_most: int
    ) -> list[Proposal]:
        """Trials that take the places of those that are out, as far as one of the best is there to begin with."""
        known, first, steps = Known(history), searched(history), self.steps(problem.horizon)
        proposals: list[Proposal] = []
        for number in range(first, first + min(standing.due, at_most)):
            rng = np.random.default_rng((problem.seed, number, 8))
            drawn = (history[standing.leaders[place]] for place in rng.permutation(len(standing.leaders)))
            parent = next((trial for trial in drawn if problem.space.contains(trial.config)), None)
            if parent is None:
                break
            configs = (changed(problem.space, parent.config, rng) for _ in range(_TRIES))
            config = next((c for c in configs if c not in known), None)
            if config is None:
                break
            known.add(config)
            proposals.append(Proposal(config, _after(steps, parent), parent=parent.id))
        return proposals


def changed(space: Space, config: Configuration, rng: np.random.Generator) -> Configuration:
    """The configuration with every ``Float`` a little smaller or larger, or drawn anew."""
    new = dict(config)
    for name, value in config.items():
        entry: Any = space[name]
        if not isinstance(entry, Float):
            continue
        if rng.random() < _RESAMPLED:
            wish = entry.from_unit(float(rng.random()))
        elif entry.log:
            wish = value * _FACTORS[rng.integers(2)]
        else:
            wish = value + (entry.high - entry.low) * _STEP * (2 * rng.integers(2) - 1)
        new[name] = entry.from_unit(entry.to_unit(min(max(wish, entry.low), entry.high)))
    return new


@dataclass(frozen=True)
class _Standing:
    """Who is who in a population.

    Attributes:
        leaders: Places of paused trials that were among the best when they were last compared.
        waiting: Places of trials that are to be continued, those that are behind first.
        due: Offspring that are still to take the places of others.
        vacant: Places for trials that begin anew.
        outstanding: Whether a trial is running.
    """

    leaders: list[int]
    waiting: list[int]
    due: int
    vacant: int
    outstanding: bool

    @classmethod
    def of(cls, problem: Problem, history: Sequence[Trial], steps: tuple[int, ...], of: Population) -> _Standing:
        """The standing in a history; all of it follows from there, so none of it is remembered."""
        facts, readings = column(history, FACTS), column(history, ReadingAt(steps)).copy()
        readings[violating(problem, history)[:, None] & ~np.isnan(readings)] = np.inf
        ours, state = facts["purpose"] == _SEARCH, facts["state"]
        stands_at = np.maximum(facts["last_step"], facts["fork_step"])
        broken = (state == _FAILED) | (state == _DIVERGED) | ((state == _COMPLETED) & (stands_at < problem.horizon))
        paused = ours & (state == _PAUSED)
        level = np.searchsorted(steps, stands_at, side="right") - 1
        best, worst = np.zeros(len(facts), dtype=bool), np.zeros(len(facts), dtype=bool)
        for number in range(len(steps)):
            rivals = np.flatnonzero(ours & ~np.isnan(readings[:, number]))
            count = len(rivals)
            if count < max(of.size // 2, 2):
                continue
            rank = np.empty(count, dtype=int)
            rank[readings[rivals, number].argsort(kind="stable")] = np.arange(count)
            here = level[rivals] == number
            best[rivals] |= here & (rank < math.ceil(count * of.share))
            worst[rivals] |= here & (rank >= count - math.floor(count * of.share))
        out = int((ours & broken).sum()) + int((paused & worst).sum())
        going_on = np.flatnonzero(paused & ~worst)
        waiting = going_on[np.lexsort((going_on, stands_at[going_on]))].tolist()
        leaders = np.flatnonzero(paused & ~worst & best).tolist()
        offspring = int((ours & (facts["fork_step"] > 0)).sum())
        completed = int((ours & (state == _COMPLETED) & ~broken).sum())
        vacant = of.size + completed - (int(ours.sum()) - offspring)
        return cls(leaders, waiting, max(out - offspring, 0), max(vacant, 0), bool((ours & (state == _RUNNING)).any()))


@dataclass(frozen=True)
class ReadingAt:
    """The latest loss of a trial at each of these steps, as far as it is its own; NaN where it was not.

    Infinite where it broke on the way.
    """

    steps: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Column``."""
        return np.dtype((np.float64, (len(self.steps),)))

    def __call__(self, trial: Trial) -> list[float]:
        """See ``Column``."""
        (measured, losses), begun = trial.curve.trained_losses, bisect_right(self.steps, trial.fork_step)
        broken = trial.error is not None or trial.diverged
        height = bisect_right(self.steps, max(trial.stands_at, trial.target_step) if broken else trial.stands_at)
        row = [math.nan] * len(self.steps)
        for level in range(begun, height):
            before = bisect_right(measured, self.steps[level])
            row[level] = math.inf if broken else (losses[before - 1] if before else math.nan)
        return row


def _after(steps: tuple[int, ...], trial: Trial) -> int:
    """The next step at which a trial is compared."""
    return steps[bisect_right(steps, trial.stands_at)]
