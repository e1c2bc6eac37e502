"""The history as a freeze-thaw search sees it: how far trials got, and where they are expected to end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ayar.curves.forecast import Forecast, forecast, ladder
from ayar.records import Configuration, State, Trial
from ayar.search.base import Problem
from ayar.search.evidence import milestone, spread, telling, violating
from ayar.search.gaussian_process import Embedding, Kernel, fit_kernel
from ayar.search.history import FACTS, PURPOSES, STATES, Points, column
from ayar.search.posterior import Posterior, Spread
from ayar.seeds import Purpose

_CURVES = 400  # curves that are forecast
_MODELLED = 96  # trials that the process sees one by one
_FITTED = 80  # trials that its length scales are fitted to
_BROKEN = 16  # broken trials that it sees
_FEARED = (0.9, 0.5)  # a broken trial counts as this quantile of the others' ends, with this variance
_LEAST_FITTED = 4  # with fewer, length scales are what they usually are
_RATED = 5  # trials whose seconds are known, before cost is counted in seconds
_EDGE = 1e-9
_INSTANT = 0.02  # seconds; quicker steps count as if they took as long
_PAUSED, _RUNNING, _FAILED, _DIVERGED = (
    STATES.index(s) for s in (State.PAUSED, State.RUNNING, State.FAILED, State.DIVERGED)
)
_SEARCH = PURPOSES.index(Purpose.SEARCH)
_LASTING = ("curves", "embedding", "embedded", "kernel", "measured", "paces")  # of a board, whatever is outstanding


@dataclass(frozen=True)
class LeastBy:
    """The least loss of a trial up to each of some steps, NaN where it has not got so far.

    A training that ended by itself stands where it ended on all later steps.
    """

    steps: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Column``."""
        return np.dtype((np.float64, (len(self.steps),)))

    def __call__(self, trial: Trial) -> Any:
        """See ``Column``."""
        steps, losses = trial.curve.trained_losses
        if not steps:
            return np.nan
        least = np.minimum.accumulate(losses)
        places = np.searchsorted(steps, self.steps, side="right") - 1
        reached = (places >= 0) & (trial.ended | (np.array(self.steps) <= steps[-1]))
        return np.where(reached, least[places], np.nan)


@dataclass(frozen=True)
class Board:
    """Arrays with one row for each sound trial, and what else is outstanding. "Sound" trials have readings.

    Attributes:
        problem: What is searched.
        steps: The ladder of steps at which curves are compared.
        first: The rung where a new trial's first slice ends.
        places: Of the sound trials in the history.
        points: Of the sound trials in the unit cube.
        losses: Their least losses by each rung, NaN beyond where they are.
        last_step: The steps that they are at.
        rates: Seconds that a step of theirs takes; 0 where nobody told.
        inside: Whether they lie in the space, which may have been narrowed since.
        idle: Whether they wait to be continued, and lie in the space.
        targets: The rungs that they stand on, or are on the way to.
        broken: Points of the latest trials that failed, diverged or break a limit.
        waiting: Points of outstanding new trials.
        early: Points of the earliest trials, for the length scales.
        early_losses: Their least losses a rung before the end of a first slice, which never change.
        interrupted: Places of idle trials without a reading.
    """

    problem: Problem
    steps: tuple[int, ...]
    first: int
    places: np.ndarray
    points: np.ndarray
    losses: np.ndarray
    last_step: np.ndarray
    rates: np.ndarray
    inside: np.ndarray
    idle: np.ndarray
    targets: np.ndarray
    broken: np.ndarray
    waiting: np.ndarray
    early: np.ndarray
    early_losses: np.ndarray
    interrupted: tuple[int, ...]

    @classmethod
    def of(cls, problem: Problem, history: Sequence[Trial], first: float) -> Board:
        """The board for a history; a first slice is about the share ``first`` of the horizon."""
        steps = ladder(problem.horizon)
        start = int(np.abs(np.log(np.array(steps) / (problem.horizon * first))).argmin())
        facts, points = column(history, FACTS), column(history, Points(problem.space))
        losses = column(history, LeastBy(steps))
        usable = facts["data"] & np.isfinite(points).all(axis=1)
        broken = np.isin(facts["state"], (_FAILED, _DIVERGED)) | violating(problem, history)
        running = facts["state"] == _RUNNING
        read = np.isfinite(losses).any(axis=1)
        inside = np.all((points >= -_EDGE) & (points <= 1 + _EDGE), axis=1)
        idle = (facts["state"] == _PAUSED) & (facts["purpose"] == _SEARCH) & inside
        places = np.flatnonzero(usable & read & ~broken)
        early_losses = losses[:, max(start - 1, 0)]
        early = _earliest(early_losses, places)
        places = places[_worth_reading(losses[places])]
        reached = np.where(running, facts["target_step"], facts["last_step"])[places]
        return cls(
            problem,
            steps,
            start,
            places,
            points[places],
            losses[places],
            facts["last_step"][places],
            facts["cost_s"][places] / np.maximum(facts["last_step"][places], 1),
            inside[places],
            idle[places],
            np.maximum(np.searchsorted(steps, reached, side="right") - 1, 0),
            points[usable & broken][-_BROKEN:],
            points[usable & ~read & running][-_MODELLED:],
            points[early],
            early_losses[early],
            tuple(np.flatnonzero(idle & ~broken & ~read).tolist()),
        )

    @property
    def begun(self) -> int:
        """How many trials have readings or are on the way to them."""
        return len(self.places) + len(self.waiting)

    def with_new(self, config: Configuration) -> Board:
        """The board with one more new trial outstanding."""
        point = self.problem.space.encode(config)[None]
        return self._known_to(replace(self, waiting=np.concatenate([self.waiting, point])), "noise", "known")

    def with_thawed(self, row: int, rung: int) -> Board:
        """The board with one more sound trial on its way to a rung."""
        idle, targets = self.idle.copy(), self.targets.copy()
        idle[row], targets[row] = False, rung
        return self._known_to(replace(self, idle=idle, targets=targets))

    def _known_to(self, board: Board, *more: str) -> Board:
        """``board``, which differs in what is outstanding; what that does not change isn't worked out again."""
        board.__dict__.update({name: self.__dict__[name] for name in (*_LASTING, *more) if name in self.__dict__})
        return board

    @cached_property
    def curves(self) -> Forecast:
        """What each sound trial's own curve says."""
        return forecast(self.losses)

    @cached_property
    def embedding(self) -> Embedding:
        """How points of the cube become points whose distances mean something."""
        return Embedding.of(self.problem.space)

    @cached_property
    def embedded(self) -> np.ndarray:
        """The sound trials' points, embedded."""
        return self.embedding(self.points)

    @cached_property
    def kernel(self) -> Kernel:
        """Correlations between configurations, from where the earliest trials stood after their first slices."""
        if len(self.early) < _LEAST_FITTED:
            count = self.points.shape[1]
            return Kernel(np.full(len(self.embedding.groups), 0.5 * math.sqrt(max(count, 1))), 1.0)
        return fit_kernel(self.embedding(self.early), self.embedding.groups, _normal_scores(self.early_losses))

    @cached_property
    def paces(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Each trial's seconds for a step relative to the middle, and coefficients that predict their logarithm."""
        return _paces(self.rates, self.embedded)

    @cached_property
    def measured(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, Spread]:
        """What the process sees: rows of sound trials; points and ends of those and of the broken; how ends differ."""
        ends = self.curves.mean
        seen = telling(ends, _MODELLED)
        feared, doubt = np.quantile(ends, _FEARED[0]), _FEARED[1]
        points = np.concatenate([self.embedded[seen], self.embedding(self.broken)])
        values = np.concatenate([ends[seen], np.full(len(self.broken), feared)])
        doubts = np.concatenate([self.curves.noise[seen], np.full(len(self.broken), doubt)])
        return seen, points, values, Spread.of(self.kernel(points, points), values, doubts, _least_variance(ends))

    @cached_property
    def noise(self) -> np.ndarray:
        """What each sound trial's curve leaves unsure, once outstanding slices have come out as expected."""
        return np.asarray(self.curves.noise_at[np.maximum(self.targets, self.curves.heights)])

    @cached_property
    def known(self) -> tuple[np.ndarray, Posterior]:
        """What the process knows without the new trials that are outstanding, from measurements with such variances."""
        seen, points, values, spread = self.measured
        doubts = np.concatenate([self.noise[seen], np.full(len(self.broken), _FEARED[1])])
        return doubts, Posterior.joining(self.kernel, points, values, doubts, spread)

    @cached_property
    def outlook(self) -> Outlook:
        """Where all trials are expected to end."""
        return Outlook.of(self)


@dataclass(frozen=True)
class Outlook:
    """Where trials are expected to end, as scores; see ``ayar.curves.forecast``.

    Attributes:
        mean: Of each sound trial, shape ``(n,)``.
        variance: Of that, once what is outstanding has come in, shape ``(n,)``.
        noise_at: Variance of what a curve that stands on each rung tells, shape ``(rungs,)``.
        pace: Seconds for a step of each sound trial, relative to the usual; 1 where nobody told.
    """

    mean: np.ndarray
    variance: np.ndarray
    noise_at: np.ndarray
    pace: np.ndarray
    _posterior: Posterior
    _embedding: Embedding
    _pacing: np.ndarray | None

    @classmethod
    def of(cls, board: Board) -> Outlook:
        """The outlook from a board with at least one sound trial."""
        curves, embedded = board.curves, board.embedded
        seen, points, values, spread = board.measured
        noise, ends, (doubts, posterior) = board.noise, curves.mean, board.known
        kernel = board.kernel
        if len(board.waiting):
            waiting = board.embedding(board.waiting)
            expected = posterior.at(waiting)[0]
            points, values = np.concatenate([points, waiting]), np.concatenate([values, expected])
            doubts = np.concatenate([doubts, np.full(len(waiting), curves.noise_at[board.first])])
            posterior = Posterior.joining(kernel, points, values, doubts, spread)
        mean, variance = np.empty(len(ends)), np.empty(len(ends))
        mean[seen], variance[seen] = posterior.mean[: len(seen)], posterior.variance[: len(seen)]
        unseen = np.delete(np.arange(len(ends)), seen)
        prior, width = posterior.at(embedded[unseen])
        variance[unseen] = 1 / (1 / width + 1 / noise[unseen])
        mean[unseen] = variance[unseen] * (prior / width + ends[unseen] / noise[unseen])
        pace, pacing = board.paces
        return cls(mean, variance, curves.noise_at, pace, posterior, board.embedding, pacing)

    def of_new(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, variance and pace of new trials at points of the unit cube, each of shape ``(m,)``."""
        embedded = self._embedding(points)
        pace = np.ones(len(points)) if self._pacing is None else _counted(self._pacing[0] + embedded @ self._pacing[1:])
        return *self._posterior.at(embedded), pace


def _worth_reading(losses: np.ndarray) -> np.ndarray:
    """Rows to forecast: all, or where there are many those that got furthest, and the best and some of the others."""
    count, rungs = losses.shape
    if count <= _CURVES:
        return np.arange(count)
    heights = rungs - 1 - np.isfinite(losses)[:, ::-1].argmax(axis=1)
    least = losses[np.arange(count), heights]
    wanted = _CURVES // 2
    level = np.partition(heights, count - wanted)[count - wanted]
    far, edge = np.flatnonzero(heights > level), np.flatnonzero(heights == level)
    far = np.concatenate([far, edge[np.argpartition(least[edge], wanted - len(far) - 1)[: wanted - len(far)]]])
    others = np.delete(np.arange(count), far)
    chosen = np.concatenate([far, others[telling(least[others], _CURVES - wanted)]])
    return np.asarray(np.sort(chosen))


def _earliest(first_losses: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places of some of the earliest trials that have ended a first slice.

    Which ones changes only at some counts, so that a fit to them is remembered from move to move.
    """
    there = places[np.isfinite(first_losses[places])]
    count = milestone(len(there), 2)
    return np.asarray(there[:count][spread(count, _FITTED)])


def _normal_scores(losses: np.ndarray) -> np.ndarray:
    """What the places of losses in their order would be if they were normally distributed, shape ``(n,)``."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(losses) - 0.5) / len(losses)))


def _least_variance(ends: np.ndarray) -> float:
    """So much must ends differ that the best of so many is nothing unheard of."""
    from scipy.special import ndtri

    return float(((np.median(ends) - ends.min()) / ndtri(1 - 0.5 / max(len(ends), 2))) ** 2)


def _paces(rates: np.ndarray, embedded: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Each trial's seconds for a step relative to the middle, and coefficients that predict their logarithm."""
    known = rates > 0
    if known.sum() < _RATED:
        return np.ones(len(rates)), None
    taken = np.maximum(rates[known], _INSTANT)
    logs = np.log(taken / np.median(taken))
    inputs = np.column_stack([np.ones(len(logs)), embedded[known]])
    ridge = np.diag(np.append(1e-3, np.full(embedded.shape[1], 1.0)))
    pacing = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ logs)
    predicted = pacing[0] + embedded @ pacing[1:]
    predicted[known] = logs
    return _counted(predicted), pacing


def _counted(logs: np.ndarray) -> np.ndarray:
    """Paces as they count: in powers of two, so that a clock's jitter does not decide what a study does next."""
    return np.asarray(2.0 ** np.fix(np.clip(logs, -3, 3) / np.log(2)))
