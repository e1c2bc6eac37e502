"""New configurations from a model of what the trials so far say about the space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ayar.records import Configuration, State, Trial
from ayar.search.base import SEARCH_DATA, Problem, Proposal
from ayar.search.fresh import Known, allowed, propose_fresh, searched
from ayar.search.gaussian_process import Embedding, Process, fit_kernel
from ayar.search.quasirandom import QuasiRandom
from ayar.seeds import Purpose
from ayar.space import Space

_FEWEST = 8  # trials before anything is modelled
_POOL = 512  # points that a new configuration is chosen from
_MODELLED = 200  # trials that the model sees
_FITTED = 100  # trials that its length scales are fitted to
_MOST_DIMENSIONS = 100
_BROKEN = (State.FAILED, State.DIVERGED)


@dataclass(frozen=True)
class Bayesian:
    """Gaussian process search: new configurations where the improvement expected of them is largest.

    Trials are compared at the latest step that at least eight of them got to, as in BOHB (Falkner et al., 2018,
    arXiv:1807.01774). The process sees the normal scores of their order, so no outlier pulls at it and a loss may
    have any scale. Failed and diverged trials are the worst; outstanding ones count as average, which keeps workers
    apart.

    Attributes:
        base: Where the first configurations come from, and every ``explore``-th one later.
        explore: One of how many stays unmodelled, so that a wrong model costs a bounded factor.
    """

    base: QuasiRandom = field(default_factory=QuasiRandom)
    explore: int = 4

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """``n`` new configurations; see ``Searcher``."""
        history, proposals = list(history), []
        for _ in range(allowed(problem, history, n)):
            found = self._one(problem, history)
            if not found:
                break
            proposals += found
            number = max((trial.id for trial in history), default=-1) + 1
            history.append(Trial(number, found[0].config, 0, target_step=problem.horizon))
        return proposals

    def _one(self, problem: Problem, history: list[Trial]) -> list[Proposal]:
        entrants = [trial for trial in history if _counts(trial, problem.space)]
        told = sum(map(_sound, entrants))
        number = searched(history)
        modelled = 1 <= problem.space.dimensions <= _MOST_DIMENSIONS and told >= _FEWEST
        if not modelled or number % self.explore == 0:
            return self.base.propose(problem, history, 1)
        guesses = self._guesses(problem, entrants, number)
        known = Known(history)
        guess = next((config for config in guesses if config not in known), guesses[0])
        return propose_fresh(problem, history, [guess])

    def _guesses(self, problem: Problem, entrants: list[Trial], number: int) -> list[Configuration]:
        """Configurations of the pool, the most promising first."""
        space, embedding = problem.space, Embedding.of(problem.space)
        rng = np.random.default_rng((problem.seed, number, 2))
        seen = _seen(entrants)
        outstanding = [t for t in entrants if t.state is State.RUNNING and not t.curve.trained][-_MODELLED:]
        points = np.array([space.encode(trial.config) for trial in seen + outstanding])
        scores = np.append(_normal_scores(len(seen)), np.zeros(len(outstanding)))
        embedded = embedding(points)
        fitted = _spread(len(seen), _FITTED)
        kernel = fit_kernel(embedded[fitted], embedding.groups, scores[fitted])
        process = Process.seeing(kernel, embedded, scores)
        pool = _pool(space, points[:5], rng)
        mean, variance = process.predict(embedding(pool))
        best = min(process.predict(embedded)[0].min(), mean.max())
        order = np.argsort(-_log_improvement(best - mean, np.sqrt(variance)), kind="stable")
        return [space.decode(pool[index]) for index in order[:64]]


def _pool(space: Space, best: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Points to choose from: half of them anywhere, half near the best."""
    half = _POOL // 2
    if (points := space.candidate_points) is not None:
        if len(points) <= _POOL:
            return np.asarray(points)
        distance = ((points[:, None] - best) ** 2).sum(axis=2).min(axis=1)
        chosen = np.union1d(distance.argsort(kind="stable")[:half], rng.permutation(len(points))[:half])
        return np.asarray(points[chosen])
    centre = best[rng.integers(len(best), size=half)]
    moved = rng.random(centre.shape) < max(0.2, 2 / space.dimensions)
    near = np.where(moved, centre + rng.normal(0, 0.15, centre.shape), centre).clip(0, 1)
    return np.concatenate([rng.random((half, space.dimensions)), near])


def _counts(trial: Trial, space: Space) -> bool:
    """Whether a trial is search data that lies in the space; an attempt by hand may lie outside."""
    return trial.purpose is Purpose.SEARCH or (trial.purpose in SEARCH_DATA and space.contains(trial.config))


def _sound(trial: Trial) -> bool:
    return bool(trial.curve.trained) and trial.state not in _BROKEN


def _seen(entrants: Sequence[Trial]) -> list[Trial]:
    """The trials that the model compares, the best first; a part of them where there are many."""
    steps = sorted((trial.curve.last_step for trial in entrants if _sound(trial)), reverse=True)
    level = steps[_FEWEST - 1]
    compared = [trial for trial in entrants if _sound(trial) and trial.curve.last_step >= level]
    order = sorted(compared, key=lambda trial: (_loss_until(trial, level), trial.id))
    order += [trial for trial in entrants if trial.state in _BROKEN]
    return [order[place] for place in _spread(len(order), _MODELLED)]


def _loss_until(trial: Trial, step: int) -> float:
    return min(m.loss for m in trial.curve.trained if m.step <= step or m is trial.curve.trained[0])


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of the places up to ``count``: the first half of them, then evenly spread ones.

    >>> _spread(3, 4), _spread(9, 4)
    ([0, 1, 2], [0, 1, 2, 8])
    """
    if count <= most:
        return list(range(count))
    half = most // 2
    return [*range(half), *np.linspace(half, count - 1, most - half).astype(int).tolist()]


def _normal_scores(count: int) -> np.ndarray:
    """What the places of an order would be if they were drawn from a normal distribution, shape ``(count,)``."""
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(count) + 0.5) / count))


def _log_improvement(gap: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Logarithm of the expected improvement, without underflow (Ament et al., 2023, arXiv:2310.20708)."""
    from scipy.special import log_ndtr

    x = gap / sd
    # phi(x) + x Phi(x) = phi(x) (1 + x Phi(x) / phi(x)); the bracket goes to 1 / x^2 far below zero
    log_density = -0.5 * x * x - 0.5 * math.log(2 * math.pi)
    bracket = 1 + x * np.exp(np.minimum(log_ndtr(x) - log_density, 700.0))
    bracket = np.where(x < -30, 1 / np.maximum(x * x, 1.0), bracket)
    return np.asarray(np.log(sd) + log_density + np.log(np.maximum(bracket, 1e-300)))
