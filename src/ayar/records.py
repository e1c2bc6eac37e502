"""What Ayar knows, as frozen records that check themselves when they are built.

A trial's life, every arrow an appended event::

    running --slice done--> paused --continued--> running --horizon reached, or ended by itself--> completed
    running --non-finite loss--> diverged
    running --raised, killed, hung--> failed
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeGuard

import numpy as np

from ayar.errors import ObjectiveError
from ayar.seeds import Purpose
from ayar.summary import Summary

Configuration = dict[str, Any]
"""One value for each active hyperparameter: numbers, strings, booleans, or a list of them (``PerLayer``)."""


LARGEST = 1e100
"""A metric beyond this, up or down, counts as infinite: its training has diverged, and squares would be no numbers."""


def bounded(value: float) -> float:
    """A measured value as it is reckoned with: infinite beyond ``LARGEST``; NaN stays NaN.

    >>> bounded(0.5), bounded(1e200), bounded(-1e200)
    (0.5, inf, -inf)
    """
    return math.copysign(math.inf, value) if abs(value) > LARGEST else value


def all_bounded(values: np.ndarray) -> np.ndarray:
    """Measured values, of any shape, as they are reckoned with; see ``bounded``."""
    return np.where(np.abs(values) > LARGEST, np.copysign(np.inf, values), values)


def config_key(config: Mapping[str, Any]) -> str:
    """A text that is equal for equal configurations, whatever the order of their keys.

    >>> config_key({"b": 2, "a": [1]}) == config_key({"a": (1,), "b": 2})
    True
    """
    return _encode(config)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a hyperparameter's value is a number; truths are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def training_key(config: Mapping[str, Any], seed: int) -> str:
    """A text that is equal for the same configuration with the same seed."""
    return f"{seed} {config_key(config)}"


_encode = json.JSONEncoder(sort_keys=True, default=str).encode  # made once: ``json.dumps`` makes one for each call


class State(StrEnum):
    """Where a trial stands; see the drawing at the top of this module."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one step of training gave.

    Attributes:
        step: Units of training done so far, usually epochs. 0 is the untrained net.
        loss: The number Ayar minimises; the negated metric where the study maximises, and infinite where that is
            beyond ``LARGEST``. Non-finite: diverged.
        cost_s: Seconds this step took, its evaluation included.
        metrics: Everything that was measured, as the objective named it and with its own sign.
    """

    step: int
    loss: float
    cost_s: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.step < 0:
            raise ValueError(f"A measurement's step counts from 0 (the untrained net), got {self.step}.")
        if not self.cost_s >= 0:
            raise ValueError(f"cost_s is seconds spent and cannot be {self.cost_s}.")


@dataclass(frozen=True, slots=True)
class Metric:
    """The number a study is judged by: its name, and whether more of it is better."""

    name: str
    maximize: bool = False

    def loss(self, value: float) -> float:
        """The metric's value as a loss to minimise; the same function turns a loss back into the value."""
        return -value if self.maximize else value

    def measurement(self, step: int, cost_s: float, metrics: Mapping[str, Any]) -> Measurement:
        """A measurement from what an objective reported.

        Raises:
            ObjectiveError: The metric is missing, or something isn't a number.
        """
        if self.name not in metrics:
            raise ObjectiveError(
                f"The measurement of step {step} holds {', '.join(metrics) or 'nothing'}, but the study needs "
                f"{self.name!r}. Report it under that name."
            )
        try:
            values = {key: float(value) for key, value in metrics.items()}
            return Measurement(_whole(step), self.loss(bounded(values[self.name])), float(cost_s), values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ObjectiveError(
                f"Step {step} reported {dict(metrics)} with cost_s={cost_s}: {error}. Report plain numbers."
            ) from None


def _whole(step: Any) -> int:
    number = float(step)
    if not number.is_integer():
        raise ValueError(f"steps are whole numbers, got {step}")
    return int(step)


@dataclass(frozen=True, slots=True)
class Curve:
    """The measurements of one trial, ordered by step."""

    measurements: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        steps = [m.step for m in self.measurements]
        for earlier, later in itertools.pairwise(steps):
            if later <= earlier:
                raise ValueError(f"A curve's steps must rise, got {later} after {earlier}.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Curve) and self.measurements == other.measurements

    def __hash__(self) -> int:
        return hash(self.measurements)

    def __len__(self) -> int:
        return len(self.measurements)

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.measurements)

    @property
    def last_step(self) -> int:
        """The last step measured; 0 before any."""
        return self.measurements[-1].step if self.measurements else 0

    @property
    def cost_s(self) -> float:
        """Seconds spent on all steps."""
        return math.fsum(m.cost_s for m in self.measurements)

    @property
    def least_loss(self) -> float:
        """The least finite loss after step 0; infinite without any."""
        best = self.best
        return math.inf if best is None else best.loss

    @property
    def diverged(self) -> bool:
        """Whether a loss on it is infinite or NaN."""
        return any(not math.isfinite(m.loss) for m in self.measurements)

    @property
    def steps_and_losses(self) -> tuple[Sequence[int], Sequence[float]]:
        """Of all measurements, each of length ``n``."""
        return [m.step for m in self.measurements], [m.loss for m in self.measurements]

    @property
    def trained_losses(self) -> tuple[Sequence[int], Sequence[float]]:
        """Steps and losses of the measurements after step 0."""
        steps, losses = self.steps_and_losses
        return (steps[1:], losses[1:]) if steps and steps[0] == 0 else (steps, losses)

    def summed(self) -> Summary:
        """The curve in a few numbers."""
        steps, losses = self.steps_and_losses
        _, trained = self.trained_losses
        return Summary(
            len(losses),
            steps[-1] if steps else 0,
            math.fsum([m.cost_s for m in self.measurements]),
            min(filter(math.isfinite, trained), default=math.inf),
            not all(map(math.isfinite, losses)),
            len(trained),
            trained[-1] if trained else math.nan,
        )

    @property
    def trained(self) -> tuple[Measurement, ...]:
        """The measurements after step 0: a score of the untrained net says nothing about a configuration."""
        return tuple(m for m in self.measurements if m.step > 0)

    @property
    def best(self) -> Measurement | None:
        """The trained measurement with the least finite loss, the earliest among equals; None without any."""
        finite = [m for m in self.trained if math.isfinite(m.loss)]
        return min(finite, key=lambda m: m.loss) if finite else None

    def metric(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of one metric, each of shape ``(n,)``, where it was measured. ``"loss"`` is the loss.

        Values are as they are reckoned with; see ``bounded``.

        >>> Curve((Measurement(1, 0.5, metrics={"train_probe": 2.0}), Measurement(2, 0.4))).metric("train_probe")
        (array([1]), array([2.]))
        """
        pairs = [
            (m.step, m.loss if name == "loss" else m.metrics[name])
            for m in self.measurements
            if name == "loss" or name in m.metrics
        ]
        steps, values = zip(*pairs, strict=True) if pairs else ((), ())
        return np.array(steps, dtype=int), all_bounded(np.array(values, dtype=float))

    def extended(self, more: Iterable[Measurement]) -> Curve:
        """This curve with later measurements appended."""
        new = Curve(tuple(more))
        if not self.measurements:
            return new
        if new.measurements and new.measurements[0].step <= self.last_step:
            raise ValueError(f"A curve's steps must rise, got {new.measurements[0].step} after {self.last_step}.")
        # Both parts are checked, so the whole need not be: a long curve grows step by step.
        whole = object.__new__(Curve)
        object.__setattr__(whole, "measurements", self.measurements + new.measurements)
        return whole


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a training whose configuration changes on the way: this one up to ``stop_step``."""

    stop_step: int
    config: Configuration
    seed: int


@dataclass(frozen=True, slots=True)
class Move:
    """What to do next: train ``trial`` from ``start_step`` to ``stop_step``. ``start_step`` 0 starts it.

    Attributes:
        fence: How many times the trial has passed from one process to another. Of two that hold a move of one trial,
            the one with the lower number has lost it (a fencing token).
        parent: The trial whose state at ``start_step`` this one begins with; None for one that begins anew, or goes on.
        schedule: What the trial's state comes from where its configuration is only the last of several, the first leg
            first; what follows them is ``config`` and ``seed``.
    """

    trial: int
    config: Configuration
    seed: int
    start_step: int
    stop_step: int
    purpose: Purpose = Purpose.SEARCH
    fence: int = field(default=0, compare=False)
    parent: int | None = None
    schedule: tuple[Leg, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.start_step < self.stop_step:
            raise ValueError(f"A move goes forward, got steps {self.start_step} to {self.stop_step}.")


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration trained with one seed.

    Attributes:
        id: Number of the trial in its study, from 0.
        target_step: Where its latest move is, or was, to stop; a paused trial stands there.
        ended: No move is outstanding and none can follow: the horizon is reached, or training ended by itself.
        error: Why it failed, with the last lines of its output; None otherwise.
        waste_s: Seconds spent without a measurement to show for them (failures).
        parent: The trial whose state it began with, if any; where ``fork_step`` is 0, the one whose changes of
            configuration it goes through once more, from the beginning and with its own seed.
        fork_step: The step at which it took over from its parent. Its curve begins there.
    """

    id: int
    config: Configuration
    seed: int
    purpose: Purpose = Purpose.SEARCH
    curve: Curve = Curve()
    target_step: int = 0
    ended: bool = False
    error: str | None = None
    waste_s: float = 0.0
    parent: int | None = None
    fork_step: int = 0

    @property
    def stands_at(self) -> int:
        """The step that its state is from."""
        return max(self.curve.last_step, self.fork_step)

    @property
    def diverged(self) -> bool:
        """Whether its loss became infinite or NaN."""
        return self.curve.diverged

    @property
    def state(self) -> State:
        """Where the trial stands."""
        if self.error is not None:
            return State.FAILED
        if self.diverged:
            return State.DIVERGED
        if self.ended:
            return State.COMPLETED
        return State.RUNNING if self.target_step > self.curve.last_step else State.PAUSED

    @property
    def loss(self) -> float:
        """The least loss on its curve; infinite for a failed, diverged or untrained trial."""
        return math.inf if self.error is not None or self.diverged else self.curve.least_loss

    @property
    def cost_s(self) -> float:
        """Seconds spent on it, failures included."""
        return self.curve.cost_s + self.waste_s


class Confidence(StrEnum):
    """How far the evidence lies beyond its thresholds, and how many signals agree."""

    WEAK = "weak"
    MEDIUM = "medium"
    STRONG = "strong"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One signal that speaks for a verdict: its name, its value, and the threshold it crossed."""

    signal: str
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a curve says.

    Attributes:
        name: One of ``ayar.curves.VERDICTS``: ``"falling well"``, ``"diverging"``, ``"too high"``, ...
        confidence: How sure the rule is.
        evidence: The signals it rests on; empty for ``"no clear fault"``.
        steps: First and last step of the place on the curve that shows it.
        sentence: The verdict in words a beginner understands.
    """

    name: str
    confidence: Confidence
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    steps: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Advice:
    """A next move that can be put to the test.

    Attributes:
        verdict: Name of the verdict it follows from.
        changes: Hyperparameter -> the value to try, inside the space. Empty: nothing to change.
        because: The reason in one sentence.
        widen: Hyperparameters whose wanted value lies outside the space, with that value.
        factor: The wanted value over the one before; None of 0, and of what is no number. Inside the space it may be
            less of a change than that.
    """

    verdict: str
    because: str
    changes: Configuration = field(default_factory=dict)
    widen: Configuration = field(default_factory=dict)
    factor: float | None = None

    @property
    def rule(self) -> str:
        """What its success is counted under: the verdict and the hyperparameters it moves."""
        return f"{self.verdict}: {', '.join(self.changes or self.widen)}"


class ScoreKind(StrEnum):
    """Where a score comes from. It is printed beside every score."""

    SEARCH_BEST = "search-best (optimistic)"
    RERANKED = "re-ranked"
    FRESH_SEED = "fresh-seed"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its kind and its 95 % interval, in the metric's own sign.

    Attributes:
        values: One reading per seed, shape ``(n,)``; those of failed or diverged trainings are not among them.
        low: Lower end of the 95 % interval of the mean; equals ``mean`` for fewer than two readings.
        high: Upper end.
        failed: Seeds on which the training failed or diverged. ``mean`` is that of the others, and infinitely bad
            where there are none.
    """

    kind: ScoreKind
    mean: float
    low: float
    high: float
    values: tuple[float, ...]
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better one configuration is than another, measured seed by seed; above 0 is better, always.

    Attributes:
        mean: Mean difference, in the metric's unit.
        low: Lower end of its 95 % interval.
        high: Upper end.
        pairs: Common seeds on which both gave a reading.
        p: Two-sided p value of the paired t test; None where the pairs are too few to support a claim.
    """

    mean: float
    low: float
    high: float
    pairs: int
    p: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the difference, either way, is more than luck explains (5 % level); never on too few pairs."""
        return self.p is not None and self.p <= 0.05


@dataclass(frozen=True, slots=True)
class Tie:
    """A configuration that cannot be told from the winner.

    Attributes:
        trial: The search trial it comes from; None where the search never tried it (the default).
        behind: How much better than it the winner read, on their common seeds.
        cost_s: Seconds that one training of it takes.
    """

    trial: int | None
    config: Configuration
    behind: Gain
    cost_s: float


@dataclass(frozen=True, slots=True)
class Winner:
    """The configuration chosen after confirmation on fresh seeds, with what is known of it.

    Attributes:
        trial: The search trial it comes from.
        config: Its configuration.
        stop_step: Steps to train, read from the curves; at most the horizon.
        scores: By kind; only those that exist.
        compared: Fresh-seed scores of the runner-up and of the default, by name.
        ties: The configurations that the re-ranking cannot tell from the winner, best first.
        because: Why it was taken, where others read no worse; empty where it simply read best.
        improvement: What it gains over the default on the fresh seeds; None where the default wasn't trained there.
        optimism: How much better the search's reading of it was than its fresh-seed score; None without either.
    """

    trial: int
    config: Configuration
    stop_step: int
    metric: str
    scores: Mapping[ScoreKind, Score]
    compared: Mapping[str, Score] = field(default_factory=dict)
    ties: Sequence[Tie] = ()
    because: str = ""
    improvement: Gain | None = None
    optimism: float | None = None

    @property
    def tied(self) -> list[int]:
        """Numbers of the search trials among ``ties``."""
        return [tie.trial for tie in self.ties if tie.trial is not None]
