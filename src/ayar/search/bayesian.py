"""New configurations from a model of what the trials so far say about the space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from ayar.goals import Excesses
from ayar.records import Configuration, Trial
from ayar.search.base import Problem, Proposal, Searcher
from ayar.search.evidence import Evidence, milestone, spread, telling, warped
from ayar.search.fresh import propose_each, searched
from ayar.search.gaussian_process import Embedding, Kernel, Process, fit_kernel
from ayar.search.history import column
from ayar.search.pool import near, pool
from ayar.search.prior import Belief, asks_the_past
from ayar.search.quasirandom import QuasiRandom
from ayar.search.sources import Memory
from ayar.space import Space

_FEWEST = 5  # trials before anything is modelled
_POOL = 512  # points that a new configuration is chosen from
_MODELLED = 160  # trials that the model sees
_FITTED = 96  # trials that its length scales are fitted to
_BROKEN = 32  # broken trials that the model sees
_MOST_DIMENSIONS = 100
_TRUSTED = 0.3  # as far as an earlier study must be believed for its best to be tried first


@dataclass(frozen=True)
class Bayesian:
    """Gaussian process search: new configurations where the improvement expected of them is largest.

    The process sees the losses on a log scale that is finest near the best; no outlier pulls at it. Failed and
    diverged trials are the worst. Outstanding ones count as what the process fears of them, which keeps workers apart.
    Beyond some hundred trials it sees the best and a part of the others, so that a move takes the same time however
    many there are. The expected improvement is weighed by the chance that the limits are kept (Gardner et al., 2014),
    each of which has a process of its own. A person's guesses, and what earlier studies lead
    to expect, count as far as the trials bear them out.

    Attributes:
        base: Where the first configurations come from, and every ``explore``-th one later.
        explore: One of how many stays unmodelled, so that a wrong model costs a bounded factor.
    """

    base: QuasiRandom = field(default_factory=QuasiRandom)
    explore: int = 10

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """``n`` new configurations; see ``Searcher``."""
        if not self.models(problem.space):
            return self.base.propose(problem, history, n)
        evidence, first = Evidence.of(problem, history), searched(history)
        if len(evidence.told) < _FEWEST:
            return first_points(self.base, problem, history, n, evidence)
        model = cache(lambda informed: Model.of(problem, evidence, history, informed=informed))
        even = self.base.propose(problem, history, n) if -first % self.explore < n else []

        def guess(number: int, earlier: list[Configuration]) -> Iterable[Configuration]:
            if number % self.explore == 0:
                return [even[number - first].config] if number - first < len(even) else []
            return model(asks_the_past(number)).guesses(earlier, np.random.default_rng((problem.seed, number, 2)))

        return propose_each(problem, history, n, guess)

    @staticmethod
    def models(space: Space) -> bool:
        """Whether the space is one that it can make a model of."""
        return 1 <= space.dimensions <= _MOST_DIMENSIONS


def first_points(
    base: Searcher, problem: Problem, history: Sequence[Trial], n: int, evidence: Evidence
) -> list[Proposal]:
    """The base's points; every other one where a person or an earlier study says that it is good."""
    even, first, space = base.propose(problem, history, n), searched(history), problem.space
    known = evidence.points[evidence.told], evidence.judged
    belief, memory = Belief.of(space), Memory.of(space, problem.sources, *known)
    trusted = memory is not None and memory.trust(*known) > _TRUSTED
    believed = belief is not None and belief.weight(*known) > 0

    def guess(number: int, earlier: list[Configuration]) -> Iterator[Configuration]:  # noqa: ARG001
        if asks_the_past(number) and memory is not None and trusted:
            yield from memory.portfolio[number // 3 :]
        if asks_the_past(number) and belief is not None and believed:
            yield space.decode(belief.draw(1, np.random.default_rng((problem.seed, number, 7)))[0])
        if number - first < len(even):
            yield even[number - first].config

    return propose_each(problem, history, n, guess)


@dataclass(frozen=True)
class Limit:
    """How likely a limit is kept, by a Gaussian process of what is left until it breaks."""

    process: Process
    zero: float

    @classmethod
    def of(cls, embedding: Embedding, points: np.ndarray, excesses: np.ndarray) -> Limit:
        """From points of the unit cube and what was found there, shape ``(n,)``."""
        centre, spread_of = float(np.median(excesses)), float(np.abs(excesses - np.median(excesses)).mean()) or 1.0
        scaled = ((excesses - centre) / spread_of).clip(-4, 4)
        seen = embedding(points)
        early = milestone(len(points), 4)
        kernel = fit_kernel(seen[:early][-_FITTED:], embedding.groups, scaled[:early][-_FITTED:])
        return cls(Process.seeing(kernel, seen, scaled), float(np.clip(-centre / spread_of, -4, 4)))

    def log_chance(self, points: np.ndarray) -> np.ndarray:
        """Logarithm of the chance that it is kept at embedded points, shape ``(m,)``."""
        from scipy.special import log_ndtr

        mean, variance = self.process.predict(points)
        return np.asarray(log_ndtr((self.zero - mean) / np.sqrt(variance)))


@dataclass(frozen=True)
class Model:
    """What a Gaussian process makes of the evidence.

    Attributes:
        points: What it has seen, the told and the broken, in the unit cube.
        scores: What it saw there; less is better.
        outstanding: Points of running trials.
        best: Points of the five best.
        keeping: Which of ``points`` break no limit.
        limits: Of what is constrained.
        belief: What a person believes, where somebody does, and how much it still counts.
        memory: What earlier studies expect, where there are any, and how far that is followed.
    """

    space: Space
    embedding: Embedding
    kernel: Kernel
    points: np.ndarray
    scores: np.ndarray
    outstanding: np.ndarray
    best: np.ndarray
    keeping: np.ndarray
    limits: tuple[Limit, ...] = ()
    belief: tuple[Belief, float] | None = None
    memory: tuple[Memory, float] | None = None

    @classmethod
    def of(cls, problem: Problem, evidence: Evidence, history: Sequence[Trial], *, informed: bool = True) -> Model:
        """The model of the evidence in a history; ``informed`` by what was known before it, where anything was."""
        space, told, embedding = problem.space, evidence.told, Embedding.of(problem.space)
        known = evidence.points[told], evidence.judged
        remembered = Memory.of(space, problem.sources, *known) if informed else None
        trust = 0.0 if remembered is None else remembered.trust(evidence.points[told], evidence.judged)
        memory = None if remembered is None or trust == 0 else (remembered, trust)

        def surprise(scores: np.ndarray, points: np.ndarray) -> np.ndarray:
            """What earlier studies did not lead to expect."""
            return scores if memory is None else scores - memory[1] * memory[0].expects(points)

        # The kernel is fitted anew only at some counts, so that most moves find it remembered.
        early = told[: milestone(len(told), 4)]
        fitted = early[telling(evidence.losses[early], _FITTED)]
        unexpected = surprise(warped(evidence.losses[fitted]), evidence.points[fitted])
        kernel = fit_kernel(embedding(evidence.points[fitted]), embedding.groups, unexpected)
        seen = told[telling(evidence.losses[told], _MODELLED)]
        broken = evidence.broken[spread(len(evidence.broken), _BROKEN)]
        losses = np.concatenate([evidence.losses[seen], np.full(len(broken), np.inf)])
        places = np.concatenate([seen, broken])
        points, keeping = evidence.points[places], ~evidence.violating[places]
        belief, limits = Belief.of(space) if informed else None, []
        if problem.constraints:
            excesses = column(history, Excesses(problem.constraints))
            for number in range(len(problem.constraints)):
                known = told[np.isfinite(excesses[told, number])]
                known = known[spread(len(known), _MODELLED)]
                if len(known) >= 2:
                    limits.append(Limit.of(embedding, evidence.points[known], excesses[known, number]))
        return cls(
            space,
            embedding,
            kernel,
            points,
            surprise(warped(losses), points),
            evidence.points[evidence.outstanding[-_MODELLED:]],
            points[np.argsort(np.where(keeping, losses, np.inf), kind="stable")[:5]],
            keeping,
            tuple(limits),
            None if belief is None else (belief, belief.weight(evidence.points[told], evidence.judged)),
            memory,
        )

    def process(self, more: Sequence[Configuration] = ()) -> Process:
        """The process that takes outstanding trials, and ``more``, to be worse than expected by one deviation."""
        seen = self.embedding(self.points)
        process = Process.seeing(self.kernel, seen, self.scores)
        outstanding = np.concatenate([self.outstanding, *(self.space.encode(config)[None] for config in more)])
        if not len(outstanding):
            return process
        waiting = self.embedding(outstanding)
        mean, variance = process.predict(waiting)
        believed = np.append(self.scores, mean + np.sqrt(variance))
        return Process.seeing(self.kernel, np.concatenate([seen, waiting]), believed, sure=len(waiting))

    def predict(self, process: Process, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the score at points of the unit cube, what earlier studies expect included."""
        mean, variance = process.predict(self.embedding(points))
        return (mean if self.memory is None else mean + self.memory[1] * self.memory[0].expects(points)), variance

    def guesses(self, outstanding: Sequence[Configuration], rng: np.random.Generator) -> Iterator[Configuration]:
        """Configurations, the most promising first."""
        process = self.process(outstanding)
        means = self.predict(process, self.points)[0]
        best = means[self.keeping].min() if self.keeping.any() else None

        def value(points: np.ndarray) -> np.ndarray:
            embedded, chances = self.embedding(points), np.zeros(len(points))
            if self.belief is not None:
                chances += self.belief[1] * self.belief[0].logs(points)
            for limit in self.limits:
                chances += limit.log_chance(embedded)
            if best is None:  # first of all, keep the limits
                return chances
            mean, variance = self.predict(process, points)
            return np.asarray(chances + log_improvement(best - mean, np.sqrt(variance)))

        points = pool(self.space, self.best, _POOL, rng)
        if self.belief is not None and self.belief[1] > 0 and self.space.candidates is None:
            points = np.concatenate([points, self.belief[0].draw(_POOL // 4, rng)])
        values = value(points)
        if self.space.candidates is None:
            for width in (0.05, 0.02):
                top = points[np.argsort(-values, kind="stable")[:4]]
                more = near(self.space, top, 64, width, rng)
                points, values = np.concatenate([points, more]), np.concatenate([values, value(more)])
        for place in np.argsort(-values, kind="stable"):
            yield self.space.decode(points[place])


def log_improvement(gap: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Logarithm of the expected improvement, without underflow (Ament et al., 2023, arXiv:2310.20708)."""
    from scipy.special import log_ndtr

    x = gap / sd
    # phi(x) + x Phi(x) = phi(x) (1 + x Phi(x) / phi(x)); the bracket goes to 1 / x^2 far below zero
    log_density = -0.5 * x * x - 0.5 * math.log(2 * math.pi)
    bracket = 1 + x * np.exp(np.minimum(log_ndtr(x) - log_density, 700.0))
    bracket = np.where(x < -30, 1 / np.maximum(x * x, 1.0), bracket)
    return np.asarray(np.log(sd) + log_density + np.log(np.maximum(bracket, 1e-300)))
