"""Earlier studies as a source: what was good there is tried first, and believed as far as it bears out here.

Only the order of an earlier study's trials is used, so it may have had another metric, other data or another net; and
only the hyperparameters that both spaces have. Pure functions for any searcher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ayar.errors import NotEnoughEvidence, SpaceError
from ayar.records import Configuration, State, Trial, config_key
from ayar.search.base import SEARCH_DATA, Source
from ayar.search.evidence import telling, warped
from ayar.search.gaussian_process import Embedding, Process, fit_kernel
from ayar.search.prior import borne_out
from ayar.space import Space

_MOST = 128  # trials that are kept of a study
_LEADERS = 8  # of each source, that the portfolio is chosen from
_FEWEST = 5  # trials that a source needs to have
_OUTGROWN = 10  # trials, from where on a source counts less with each


def source_of(name: str, trials: Sequence[Trial]) -> Source:
    """What a study leaves behind for others: its telling trials, a configuration once.

    Trials that were cut short stand with the loss they had; failed and diverged ones are the worst.
    """
    best: dict[str, Trial] = {}
    for trial in trials:
        known = best.get(config_key(trial.config))
        if (
            trial.purpose in SEARCH_DATA
            and trial.state is not State.RUNNING
            and (known is None or trial.loss < known.loss)
        ):
            best[config_key(trial.config)] = trial
    chosen = [*best.values()]
    losses = np.array([trial.loss for trial in chosen])
    kept = [chosen[place] for place in telling(losses, _MOST)]
    return Source(name, tuple((t.config, t.loss) for t in kept))


def fitted(space: Space, config: Configuration) -> Configuration | None:
    """A configuration of another study in this space: what it doesn't say is the default; None if it can't be.

    Numbers beyond a range become its end; where there are candidates, it is the nearest of them.
    """
    known = {name: value for name, value in config.items() if name in space}
    try:
        whole = {**space.default(), **known} if space.candidates else space.complete(known, outside=True)
        return space.decode(space.snap(space.encode(whole, outside=True)[None])[0])
    except SpaceError:
        return None


def check_source(space: Space, source: Source) -> None:
    """Raise where a source has nothing to say about a space.

    Raises:
        NotEnoughEvidence: It has too few trials, or none that fits, or no hyperparameter of this space.
    """
    there = sorted({name for config, _ in source.trials for name in config})
    if there and not set(there) & set(space.names):
        raise NotEnoughEvidence(
            f"{source.name} says nothing about this study, for they share no hyperparameter: it has "
            f"{', '.join(there)}, this one {', '.join(space.names)}. Leave it out, or name the same ones alike."
        )
    if len(known := _known(space, source)) < _FEWEST:
        raise NotEnoughEvidence(
            f"{source.name} has {len(known)} configurations with a place in this study's space; {_FEWEST} are needed "
            "to learn from it. Leave it out, or let it search on."
        )


def _known(space: Space, source: Source) -> list[tuple[Configuration, float]]:
    """The source's trials as they fit in the space."""
    return [(config, loss) for given, loss in source.trials if (config := fitted(space, given)) is not None]


@dataclass(frozen=True)
class _Earlier:
    """One source, as a process over the coordinates of this space's cube that it says something about."""

    spoken: np.ndarray
    embedding: Embedding
    process: Process

    def expects(self, points: np.ndarray) -> np.ndarray:
        """Scores expected at points of the whole cube, shape ``(m,)``."""
        return self.process.expects(self.embedding(points[:, self.spoken]))


@dataclass(frozen=True)
class Memory:
    """All sources of a search, as one expectation of scores over its space.

    Attributes:
        portfolio: Configurations to try first, one after the other.
    """

    portfolio: tuple[Configuration, ...]
    _earlier: tuple[_Earlier, ...]
    _weights: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        space: Space,
        sources: Sequence[Source],
        points: np.ndarray | None = None,
        losses: np.ndarray | None = None,
    ) -> Memory | None:
        """The memory that sources make; None where they have too few trials that fit in the space.

        With trials, at ``points`` of the unit cube with their ``losses``, each source counts as far as they bear it
        out, as in ranking-weighted ensembles (Feurer et al., 2018, arXiv:1802.02219); otherwise all count alike.
        """
        memory = _memory(_Same(space), tuple(sources)) if sources else None
        return memory if memory is None or points is None or losses is None else memory.weighed(points, losses)

    def weighed(self, points: np.ndarray, losses: np.ndarray) -> Memory:
        """With each source as far as these trials bear it out; with all alike where they bear out none."""
        count = len(self._earlier)
        agreed = np.array([borne_out(each.expects(points), losses, count) for each in self._earlier])
        return replace(self, _weights=agreed / agreed.sum()) if agreed.any() else self

    def expects(self, points: np.ndarray) -> np.ndarray:
        """Scores expected at points of the unit cube, shape ``(m,)``: the mean over sources; less is better."""
        weights = np.ones(len(self._earlier)) if self._weights is None else self._weights
        counted = [(earlier, weight) for earlier, weight in zip(self._earlier, weights, strict=True) if weight > 0]
        told = [earlier.expects(points) for earlier, _ in counted]
        return np.asarray(np.average(told, axis=0, weights=[weight for _, weight in counted]))

    def borne_out(self, points: np.ndarray, losses: np.ndarray) -> float:
        """How far these trials bear its expectation out, from 0 to 1."""
        return borne_out(self.expects(points), losses)

    def trust(self, points: np.ndarray, losses: np.ndarray) -> float:
        """How far to follow its expectation, from 0 to 1.

        As far as these trials bear it out; and less with each, which say more about this task than it can.
        """
        return self.borne_out(points, losses) * min(1.0, _OUTGROWN / max(len(losses), 1))


class _Same:
    """A space as a key: the same object, not an equal one."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.space is self.space

    def __hash__(self) -> int:
        return id(self.space)


@lru_cache(maxsize=8)
def _memory(of: _Same, sources: tuple[Source, ...]) -> Memory | None:
    space, levels = of.space, np.array(Embedding.of(of.space).levels)
    earlier: list[_Earlier] = []
    leaders: dict[str, Configuration] = {}
    for source in sources:
        known = _known(space, source)
        names = {name for given, _ in source.trials for name in given}
        spoken = np.flatnonzero(np.concatenate([[name in names] * space.width(name) for name in space.names]))
        if len(known) < _FEWEST or not len(spoken):
            continue
        losses = np.array([loss for _, loss in known])
        embedding = Embedding(tuple(levels[spoken].tolist()))
        points = embedding(np.array([space.encode(config) for config, _ in known])[:, spoken])
        scores = warped(losses)
        process = Process.seeing(fit_kernel(points, embedding.groups, scores), points, scores)
        earlier.append(_Earlier(spoken, embedding, process))
        for place in np.argsort(losses, kind="stable")[:_LEADERS]:
            leaders.setdefault(config_key(known[place][0]), known[place][0])
    if not earlier:
        return None
    configs = [*leaders.values()]
    points = np.array([space.encode(config) for config in configs])
    table = np.array([each.expects(points) for each in earlier])
    return Memory(tuple(configs[place] for place in greedy(table)), tuple(earlier))


def greedy(table: np.ndarray) -> list[int]:
    """Columns in the order in which each next one lowers the mean, over rows, of the best so far most.

    >>> greedy(np.array([[0.0, 9.0, 1.0], [9.0, 0.0, 2.0]]))
    [2, 1, 0]
    """
    best, order, left = np.full(len(table), np.inf), [], list(range(table.shape[1]))
    while left:
        chosen = min(left, key=lambda column: (float(np.minimum(best, table[:, column]).mean()), column))
        order.append(chosen)
        left.remove(chosen)
        best = np.minimum(best, table[:, chosen])
    return order


def to_dict(source: Source) -> dict[str, Any]:
    """A source as JSON can write it."""
    return {
        "name": source.name,
        "trials": [[config, loss if math.isfinite(loss) else None] for config, loss in source.trials],
    }


def from_dict(words: dict[str, Any]) -> Source:
    """The source that ``to_dict`` wrote."""
    return Source(
        words["name"], tuple((config, math.inf if loss is None else loss) for config, loss in words["trials"])
    )
