"""Several metrics to make good at once, and limits that a configuration must keep.

The first metric of a study is its loss, on every curve. Further ones, and the metrics that limits speak of, are read
where a training was last measured; ``cost_s``, the seconds it took, is always known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ayar.errors import SpaceError
from ayar.records import Metric, Trial, bounded, config_key

COST = "cost_s"
"""The metric that every trial has: the seconds spent on it."""

_LIMIT = re.compile(r"\s*(<=|>=)\s*(\S+)\s*$")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A limit for a metric: ``metric <= bound``, or ``metric >= bound``.

    >>> Constraint.parse("latency_ms <= 5")
    Constraint(metric='latency_ms', bound=5.0, at_least=False)
    """

    metric: str
    bound: float
    at_least: bool = False

    @classmethod
    def parse(cls, text: str, metric: str = "") -> Constraint:
        """The constraint in words: ``"latency_ms <= 5"``, or ``"<= 5"`` where the metric is given.

        Raises:
            SpaceError: It is written in another way.
        """
        name, match = metric, _LIMIT.search(text) if isinstance(text, str) else None
        if match is not None and not metric:
            name = text[: match.start()].strip()
        if match is not None and name and (not metric or match.start() == 0):
            try:
                bound = float(match.group(2))
            except ValueError:
                bound = math.nan
            if math.isfinite(bound):
                return cls(name, bound, match.group(1) == ">=")
        shown = f"{metric}: {text!r}" if metric else repr(text)
        raise SpaceError(f"The constraint {shown} cannot be read. Write a limit such as 'latency_ms <= 5'.")

    def excess(self, value: float) -> float:
        """By how much a value breaks the limit; zero or less where it keeps it, NaN where it isn't known."""
        return self.bound - value if self.at_least else value - self.bound

    def __str__(self) -> str:
        return f"{self.metric} {'>=' if self.at_least else '<='} {self.bound:g}"


def constraints_of(given: Mapping[str, str] | Sequence[str] | None) -> tuple[Constraint, ...]:
    """Constraints as a study takes them: ``{"latency_ms": "<= 5"}`` or ``["latency_ms <= 5"]``.

    Raises:
        SpaceError: One of them cannot be read.
    """
    if isinstance(given, Mapping):
        return tuple(Constraint.parse(text, metric) for metric, text in given.items())
    return tuple(Constraint.parse(text) for text in ([given] if isinstance(given, str) else given or ()))


def objectives_of(minimize: str | Sequence[str] | None, maximize: str | Sequence[str] | None) -> tuple[Metric, ...]:
    """What is to be made good, as a study takes it: one metric, or lists of them, those to minimise first.

    >>> objectives_of(["valid_error", "seconds"], None)
    (Metric(name='valid_error', maximize=False), Metric(name='seconds', maximize=False))

    Raises:
        SpaceError: Two single metrics are given, or one of several twice.
    """
    if isinstance(minimize, str) and isinstance(maximize, str):
        raise SpaceError(
            f"Give minimize={minimize!r} or maximize={maximize!r}, not both; for both at once write "
            f"minimize=[{minimize!r}], maximize=[{maximize!r}]."
        )
    down, up = ([given] if isinstance(given, str) else [*(given or ())] for given in (minimize, maximize))
    names = [*down, *up]
    for name in names:
        if names.count(name) > 1:
            raise SpaceError(f"The metric {name!r} is named twice among the objectives: leave one out.")
    return tuple(Metric(name, maximize=place >= len(down)) for place, name in enumerate(names))


def value_of(trial: Trial, metric: str) -> float:
    """What a metric came to where the trial was last measured; NaN where it never was."""
    measured = (m for m in reversed(trial.curve.measurements) if metric in m.metrics and m.step > 0)
    values = (bounded(m.metrics[metric]) for m in measured)
    return next(values, trial.cost_s if metric == COST and trial.curve.measurements else math.nan)


def unmeasured(trial: Trial, metrics: Sequence[Metric], constraints: Sequence[Constraint]) -> list[str]:
    """Names of objectives and limits that a trial never measured: mistyped, most likely."""
    names = dict.fromkeys([*(metric.name for metric in metrics), *(limit.metric for limit in constraints)])
    measured = {name for measurement in trial.curve for name in measurement.metrics}
    return [name for name in names if name not in measured and name != COST]


@dataclass(frozen=True)
class Values:
    """A column of the history: what these metrics came to, each as a loss; NaN for what isn't known."""

    metrics: tuple[Metric, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """One number for each metric."""
        return np.dtype((np.float64, (len(self.metrics),)))

    def __call__(self, trial: Trial) -> list[float]:
        """The losses of one trial."""
        return [metric.loss(value_of(trial, metric.name)) for metric in self.metrics]


@dataclass(frozen=True)
class Excesses:
    """A column of the history: by how much each limit is broken; see ``Constraint.excess``."""

    constraints: tuple[Constraint, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """One number for each constraint."""
        return np.dtype((np.float64, (len(self.constraints),)))

    def __call__(self, trial: Trial) -> list[float]:
        """The excesses of one trial."""
        return [constraint.excess(value_of(trial, constraint.metric)) for constraint in self.constraints]


def keeps(trial: Trial, constraints: Sequence[Constraint]) -> bool:
    """Whether no limit is known to be broken."""
    return not any(constraint.excess(value_of(trial, constraint.metric)) > 0 for constraint in constraints)


def eligible(trials: Sequence[Trial], constraints: Sequence[Constraint]) -> list[Trial]:
    """The trials of configurations of which none is known to break a limit."""
    if not constraints:
        return list(trials)
    wrong = {config_key(trial.config) for trial in trials if not keeps(trial, constraints)}
    return [trial for trial in trials if config_key(trial.config) not in wrong]


def undominated(losses: np.ndarray) -> np.ndarray:
    """Which rows no other row is at least as good as in all columns and better in one; booleans, shape ``(n,)``.

    >>> undominated(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]]))
    array([ True,  True, False,  True])
    """
    free = np.ones(len(losses), dtype=bool)
    for row in range(len(losses)):
        if free[row]:
            worse = (losses >= losses[row]).all(axis=1) & (losses > losses[row]).any(axis=1)
            free &= ~worse
    return free


def hypervolume(losses: np.ndarray, reference: np.ndarray) -> float:
    """The volume between these losses and a reference point that is worse in everything; more is better.

    Args:
        losses: Shape ``(n, k)``; rows that aren't better than the reference in everything add nothing.
        reference: Shape ``(k,)``.

    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0]))
    3.0
    """
    inside = losses[(losses < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    if losses.shape[1] == 1:
        return float(reference[0] - inside.min())
    # Slices along the last axis: between two of its values the section doesn't change.
    order = inside[inside[:, -1].argsort(kind="stable")]
    ends = np.append(order[1:, -1], reference[-1])
    return float(
        sum(
            (end - row[-1]) * hypervolume(order[: number + 1, :-1], reference[:-1])
            for number, (row, end) in enumerate(zip(order, ends, strict=True))
            if end > row[-1]
        )
    )


def front(trials: Sequence[Trial], metrics: Sequence[Metric], constraints: Sequence[Constraint] = ()) -> list[Trial]:
    """The trials that no other one beats in everything, by the first metric; none that breaks a limit or broke.

    Only trials that were trained to their end count: a training that was cut short is cheap for that reason alone.
    """
    able = [t for t in trials if t.ended and math.isfinite(t.loss) and keeps(t, constraints)]
    losses = np.array([Values(tuple(metrics))(trial) for trial in able]).reshape(-1, len(metrics))
    known = np.isfinite(losses).all(axis=1)
    able, losses = [trial for trial, there in zip(able, known, strict=True) if there], losses[known]
    chosen = np.flatnonzero(undominated(losses))
    return [able[place] for place in chosen[losses[chosen, 0].argsort(kind="stable")]]
