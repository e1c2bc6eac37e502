"""Several objectives: configurations that trade one against another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ayar.goals import Values, undominated
from ayar.records import Configuration, State, Trial
from ayar.search.base import Problem, Proposal
from ayar.search.bayesian import Bayesian, Model
from ayar.search.evidence import Evidence
from ayar.search.fresh import propose_each
from ayar.search.history import FACTS, STATES, column

_FEWEST = 6  # trials before anything is modelled
_AUGMENTED = 0.05
_LEAST_SPAN = 1e-9  # of what all trials span; a front that spans less is level
_ENDED = STATES.index(State.COMPLETED)


@dataclass(frozen=True)
class Pareto:
    """ParEGO (Knowles, 2006): each move goes for one way to weigh the objectives, and the moves go through all ways.

    The objectives, scaled to what their front spans, are joined by an augmented Chebyshev norm with random weights;
    a Gaussian process of the result, as in ``Bayesian``, says where it can improve. Every trial is trained to the
    horizon: what was cut short would be cheap for that reason alone. With one objective it is ``Bayesian``.

    Attributes:
        base: What searches where there is one objective, and begins where there are several.
    """

    base: Bayesian = field(default_factory=Bayesian)

    def propose(self, problem: Problem, history: Sequence[Trial], n: int) -> list[Proposal]:
        """``n`` new configurations; see ``Searcher``."""
        if len(problem.objectives) < 2 or not self.base.models(problem.space):
            return self.base.propose(problem, history, n)
        evidence, losses = Evidence.of(problem, history), column(history, Values(problem.objectives))
        told = np.intersect1d(evidence.told, np.flatnonzero(column(history, FACTS)["state"] == _ENDED))
        told = told[np.isfinite(losses[told]).all(axis=1)]
        if len(told) < _FEWEST:
            return self.base.base.propose(problem, history, n)

        def guess(number: int, earlier: list[Configuration]) -> Iterable[Configuration]:
            rng = np.random.default_rng((problem.seed, number, 6))
            joined = np.full(len(losses), np.inf)
            joined[told] = chebyshev(losses[told], rng.dirichlet(np.ones(losses.shape[1])))
            model = Model.of(problem, replace(evidence, told=told, losses=joined), history)
            return model.guesses(earlier, rng)

        return propose_each(problem, history, n, guess)


def chebyshev(losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Several losses joined to one, shape ``(n,)``; each is scaled so that their front spans 1."""
    best = losses[undominated(losses)]
    low, span, widest = best.min(axis=0), np.ptp(best, axis=0), np.ptp(losses, axis=0)
    span = np.where(span > _LEAST_SPAN * widest, span, widest)
    weighted = weights * (losses - low) / np.where(span > 0, span, 1.0)
    return np.asarray(weighted.max(axis=1) + _AUGMENTED * weighted.sum(axis=1))
