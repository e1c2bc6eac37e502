"""Freeze and thaw: every slice goes where it is expected to improve the recommendation most for its cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ayar.records import Configuration, Trial
from ayar.search.base import Problem, Proposal, Searcher
from ayar.search.bayesian import Bayesian, first_points
from ayar.search.board import Board
from ayar.search.evidence import Evidence
from ayar.search.fresh import propose_each, searched
from ayar.search.halving import Halving
from ayar.search.pool import pool
from ayar.search.prior import Belief, follows
from ayar.search.quasirandom import QuasiRandom
from ayar.search.sources import Memory

_POOL = 320  # points that a new configuration is chosen from
_WISHES = 32
_ALONE = 20.0  # a score worse than any: what the leader is compared with where it is alone
_FEWEST = 3  # trials with readings before anything is modelled
_MOST_DIMENSIONS = 100
_CLIMBS = (1, 2, 4, 6, 99)  # rungs that a slice is valued for, whatever it ends at
_SLICE = 2  # rungs that it is given


@dataclass(frozen=True)
class Racer:
    """Asynchronous freeze-thaw search.

    Every decision is one more slice for one trial, old or new. Regressions inside the study forecast where each
    unfinished curve ends (``ayar.curves.forecast``); a Gaussian process shares that between configurations; and the
    slice goes where the expected improvement of the recommendation, the knowledge gradient (Frazier et al., 2009), is
    largest for its cost. Freeze-thaw search is due to Swersky et al. (2014, arXiv:1406.3896). A first cohort is
    trained a little without choosing: what a chosen few become says nothing about what early readings are worth.

    Outstanding slices count as if they had come out as expected, which keeps workers apart. Failed and diverged
    trials, and those that break a limit, count as bad ones. Where trainings have seconds to show, cost is counted in
    them. A person's guesses, and earlier studies, count while the trials bear them out.

    Attributes:
        base: Where the first cohort comes from, and new trials where nothing can be modelled.
        finals: What searches where trainings cannot be sliced.
        unmodelled: What searches spaces of no dimension at all, or of more than a hundred.
        cohort: How many trials the first cohort has.
        first: A trial's first slice is about this share of the horizon.
    """

    base: Searcher = field(default_factory=QuasiRandom)
    finals: Searcher = field(default_factory=Bayesian)
    unmodelled: Searcher = field(default_factory=Halving)
    cohort: int = 8
    first: float = 1 / 18

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Up to ``n`` slices; see ``Searcher``."""
        if not _races(problem):
            other = self.unmodelled if problem.sliceable and problem.horizon > 1 else self.finals
            return other.propose(problem, history, n)
        board = Board.of(problem, history, self.first)
        proposals = [
            Proposal(history[place].config, board.steps[board.first], history[place].id)
            for place in board.interrupted[:n]
        ]
        new: list[Configuration] = []
        while len(proposals) < n:
            new_value, wishes, thaw_value, row = -math.inf, None, -math.inf, None
            if board.begun >= self.cohort and len(board.places) >= _FEWEST:
                thaw_value, row = _best_thaw(board)
                new_value, wishes = _best_new(board, searched(history) + len(new))
            config = None
            if new_value >= thaw_value:
                config = self._fresh(problem, history, new, wishes)
            if config is not None:
                proposals.append(Proposal(config, _stop(board, 0, board.first)))
                new.append(config)
                board = board.with_new(config)
                continue
            if row is None and len(board.places):
                row = _best_thaw(board)[1]
            if row is None:
                break
            trial = history[int(board.places[row])]
            rung = min(max(board.targets[row] + _SLICE, board.first), len(board.steps) - 1)
            proposals.append(Proposal(trial.config, _stop(board, int(board.last_step[row]), rung), trial.id))
            board = board.with_thawed(row, rung)
        return proposals

    def recommend(self, problem: Problem, history: Sequence[Trial]) -> Trial | None:
        """The trial expected to end best, not the one with the luckiest reading; None where nothing can be said."""
        board = Board.of(problem, history, self.first) if _races(problem) else None
        if board is None or not board.inside.any():
            return None
        return history[int(board.places[np.where(board.inside, board.outlook.mean, np.inf).argmin()])]

    def _fresh(
        self,
        problem: Problem,
        history: Sequence[Trial],
        earlier: Sequence[Configuration],
        wishes: Iterable[Configuration] | None,
    ) -> Configuration | None:
        """A new configuration after those proposed earlier in the same call: the first wish that is new, if any."""
        count, begun = len(earlier) + 1, searched(history)
        if wishes is None:
            found = first_points(self.base, problem, history, count, Evidence.of(problem, history))
        else:
            found = propose_each(
                problem, history, count, lambda n, _: wishes if n - begun == len(earlier) else [earlier[n - begun]]
            )
        return next((p.config for p in found if p.config not in earlier), None)


def _races(problem: Problem) -> bool:
    return problem.sliceable and problem.horizon > 1 and 1 <= problem.space.dimensions <= _MOST_DIMENSIONS


def _stop(board: Board, start_step: int, rung: int) -> int:
    """Where a slice to a rung ends: later where it would not be worth the decision."""
    problem = board.problem
    return min(max(board.steps[rung], start_step + problem.least_slice), problem.horizon)


def _best_thaw(board: Board) -> tuple[float, int | None]:
    """The most valuable slice for an idle trial: its value for its cost, and its row."""
    rows = np.flatnonzero(board.idle)
    if not len(rows):
        return -math.inf, None
    outlook, last = board.outlook, len(board.steps) - 1
    best, second = np.partition(np.append(outlook.mean, _ALONE), 1)[:2]
    mean, variance, heights = outlook.mean[rows], outlook.variance[rows], board.targets[rows]
    # What could change the recommendation is the leader falling behind the second, or another getting ahead of it.
    gap = np.where(mean == best, mean - second, best - mean)
    values = []
    for climb in _CLIMBS:
        rung = np.minimum(heights + climb, last)
        told = np.maximum(1 / outlook.noise_at[rung] - 1 / outlook.noise_at[heights], 0)
        cost = (np.take(board.steps, rung) - board.last_step[rows]) * outlook.pace[rows]
        values.append(_gain(gap, variance, told) / cost)
    value = np.max(values, axis=0)
    return float(value.max()), int(rows[value.argmax()])


def _best_new(board: Board, number: int) -> tuple[float, Iterable[Configuration]]:
    """The most valuable first slice of the new trial of this number: its value for its cost; wishes, the best first.

    What was known before has a say in some of them; the others are chosen as if nothing were known.
    """
    problem, outlook, last = board.problem, board.outlook, len(board.steps) - 1
    space, rng = problem.space, np.random.default_rng((problem.seed, number, 3))
    leaders, told = np.argsort(outlook.mean, kind="stable")[:5], (board.points, outlook.mean)
    points = pool(space, board.points[leaders], _POOL, rng)
    belief, memory = Belief.of(space), Memory.of(space, problem.sources, *told)
    if belief is not None and not follows(number, belief.borne_out(*told)):
        belief = None
    if memory is not None and not follows(number, memory.borne_out(*told)):
        memory = None
    if belief is not None and space.candidates is None:
        points = np.concatenate([points, belief.draw(_POOL // 4, rng)])
    if memory is not None:
        points = np.concatenate([points, [space.encode(config) for config in memory.portfolio]])
    if space.size is not None:
        known = set(map(bytes, np.concatenate([board.points, board.waiting, board.broken])))
        points = points[[bytes(point) not in known for point in points]]
    if not len(points):
        return -math.inf, []
    mean, variance, pace = outlook.of_new(points)
    gap = outlook.mean.min() - mean
    values = [
        _gain(gap, variance, 1 / outlook.noise_at[rung]) / (board.steps[rung] * pace)
        for rung in {min(board.first + climb, last) for climb in (0, 2, 4, 99)}
    ]
    value = np.max(values, axis=0)
    liking = np.log(np.maximum(value, 1e-300))
    if belief is not None:
        liking += belief.weight(*told) * belief.logs(points)
    if memory is not None:
        liking -= memory.trust(*told) * memory.expects(points)
    order = np.argsort(-liking, kind="stable")[:_WISHES]
    return float(value.max()), (space.decode(points[place]) for place in order)


def _gain(gap: np.ndarray, variance: np.ndarray, told: np.ndarray | float) -> np.ndarray:
    """Expected improvement of the recommendation from learning about one trial's end.

    Args:
        gap: How far it is ahead of what it is compared with; negative for behind. The leader is compared with the
            second, the other way round.
        variance: Of its end, as far as known.
        told: What the slice tells: the inverse of a measurement's variance.
    """
    from scipy.special import ndtr

    moved = np.sqrt(np.maximum(variance - 1 / (1 / variance + told), 1e-12))
    x = gap / moved
    return np.asarray(moved * (x * ndtr(x) + np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)))
