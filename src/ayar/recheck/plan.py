"""The plan of a recheck: who is compared, what it costs at most, and how small a gain it can see."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ayar.errors import NotEnoughEvidence
from ayar.recheck import confirm
from ayar.recheck.challengers import Challenger, Record, challengers
from ayar.recheck.confirm import ERROR
from ayar.recheck.contest import Design, design, power
from ayar.recheck.rules import Change
from ayar.records import Configuration, Metric, ScoreKind, Trial, Winner
from ayar.seeds import Purpose
from ayar.space import Space
from ayar.stats import pooled_sd
from ayar.winner import Standing, standings

_MEASURABLE_S = 1e-3
_FRESH = (Purpose.RERANK, Purpose.FINALISE)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a recheck is asked for.

    Attributes:
        trainings: The most trainings to spend.
        error: The share of rechecks that may replace a winner which nothing beats.
        margin: The least gain worth a change, in the metric's unit; None for half the spread of a run.
        changed: Sizes that changed since the winner was found: name -> (old, new).
        now: Values that every configuration has today, whatever it had.
        important: Hyperparameters, the most important first; empty where nobody knows.
        replay_only: Whether to stop after the replay where that shows no shift.
    """

    trainings: int = 40
    error: float = ERROR
    margin: float | None = None
    changed: Mapping[str, Change] = field(default_factory=dict)
    now: Configuration = field(default_factory=dict)
    important: Sequence[str] = ()
    replay_only: bool = False


@dataclass(frozen=True, slots=True)
class Course:
    """What a recheck is going to do, settled before it starts.

    Attributes:
        incumbent: The winner's configuration, as it is trained today.
        stop_step: The winner's steps; its level is compared there.
        fresh: The winner's stored fresh-seed losses.
        step_s: Seconds that a step of the winner took, on record; None where unknown.
        challengers: The configurations to screen.
        design: How the trainings are spent.
        run_sd: Standard deviation of a run's loss, from the stored fresh seeds; None where unknown.
        correlation: Of two configurations' losses on the same seed, as far as stored runs tell; None where unknown.
        power: Gains in the metric's unit, each with the probability that a challenger better by it is found.
        old_means: Stored mean losses of the challengers, where they were re-ranked; else NaN.
        space: The study's.
        metric: The study's.
        horizon: The study's; all train up to it in the screening.
        terms: What was asked for.
    """

    incumbent: Configuration
    stop_step: int
    fresh: tuple[float, ...]
    step_s: float | None
    challengers: tuple[Challenger, ...]
    design: Design
    run_sd: float | None
    correlation: float | None
    power: tuple[tuple[float, float], ...]
    old_means: tuple[float, ...]
    space: Space
    metric: Metric
    horizon: int
    terms: Terms

    @property
    def trainings(self) -> int:
        """The most trainings it can cost."""
        return self.design.trainings

    @property
    def sentence(self) -> str:
        """Cost and power, in words, before anything is spent."""
        told = "How small a gain it can see isn't known before the first runs."
        if self.power:
            shares = " and ".join(f"one by {gain:.3g} with {share:.0%}" for gain, share in self.power[1:])
            gain, share = self.power[0]
            told = (
                f"A challenger better by {gain:.3g}, the spread of single runs, is found with a probability of "
                f"{share:.0%}{', ' + shares if shares else ''}."
            )
        count = len(self.challengers)
        return (
            f"At most {self.trainings} trainings: the winner and {count} challenger{'s' * (count > 1)} on common "
            f"seeds, then up to {self.design.looks[-1].pairs} fresh pairs with the best of them. {told} "
            f"Where nothing beats the winner, a replacement is called for in at most {self.terms.error:.2g} "
            "of rechecks."
        )

    def to_dict(self) -> dict[str, Any]:
        """What tells this course from another, in JSON-safe values."""
        return {
            "incumbent": self.incumbent,
            "challengers": [{"config": c.config, "origin": c.origin} for c in self.challengers],
            "rounds": [[each.challengers, each.seeds] for each in self.design.rounds],
            "looks": [[look.pairs, look.level] for look in self.design.looks],
            "replay only": self.terms.replay_only,
            "sentence": self.sentence,
        }


def plan(
    winner: Winner,
    trials: Sequence[Trial],
    space: Space,
    metric: Metric,
    horizon: int,
    terms: Terms = Terms(),
) -> Course:
    """Settle a recheck.

    Args:
        winner: Who is checked; its fresh-seed scores count as its level.
        trials: All of the study's.
        space: The study's.
        metric: The study's.
        horizon: The study's.
        terms: What is asked for.

    Raises:
        BudgetError: The confirmation couldn't reach its first look.
        NotEnoughEvidence: The space holds nothing to compare the winner with.
    """
    stored = winner.scores.get(ScoreKind.FRESH_SEED)
    fresh = tuple(metric.loss(v) for v in stored.values) if stored is not None else ()
    places = standings(trials)
    run_sd = pooled_sd([[v for v in fresh if math.isfinite(v)]])
    record = Record(trials, places, terms.important, run_sd, terms.changed)
    found = challengers(winner.config, space, record)
    if not found:
        raise NotEnoughEvidence(
            "There is nothing to compare the winner with: no runner-up, no default and no other value in this "
            "space. Widen the space and tune again."
        )
    layout = design(terms.trainings, len(found), terms.error)
    arms = [Challenger({**c.config, **terms.now}, c.origin, c.far) for c in found[: layout.challengers]]
    correlation = confirm.same_seed_correlation([_table(places)])
    known = {id(c): next((p.mean for p in places if p.config == c.config), math.nan) for c in found}
    return Course(
        incumbent={**winner.config, **terms.now},
        stop_step=winner.stop_step,
        fresh=fresh,
        step_s=seconds_per_step([t for t in trials if t.purpose in _FRESH and t.config == winner.config]),
        challengers=tuple(arms),
        design=layout,
        run_sd=run_sd,
        correlation=correlation,
        power=_power(layout, run_sd, correlation),
        old_means=tuple(known[id(c)] for c in found[: layout.challengers]),
        space=space,
        metric=metric,
        horizon=horizon,
        terms=terms,
    )


def _table(places: Sequence[Standing]) -> np.ndarray:
    """Losses of the better half of the re-ranked configurations by seed; poor ones differ more than good ones.

    Contenders were given more seeds than others; those that all of the half have count.
    """
    finite = [p.losses for p in places if math.isfinite(p.mean)]
    half = finite[: max(2, len(finite) // 2)]
    return np.array([losses[: min(map(len, half))] for losses in half])


def _power(layout: Design, run_sd: float | None, correlation: float | None) -> tuple[tuple[float, float], ...]:
    """The power at a gain of one run's spread and, if that is below 80 %, the least gain with as much."""
    if not run_sd:
        return ()
    shares = []
    for gain in (1.0, 1.25, 1.5, 2.0, 3.0, 5.0):
        share = power(layout, gain, correlation or 0.0)
        shares.append((gain * run_sd, share))
        if share >= 0.8:
            break
    return (shares[0], shares[-1]) if len(shares) > 1 else (shares[0],)


def seconds_per_step(trials: Sequence[Trial]) -> float | None:
    """Seconds of a step as a quiet machine takes them: their tenth percentile.

    None where that is below a millisecond, too little to compare machines by. The first step of each training is
    left out where there are others, for it includes starting up.
    """
    costs = [m.cost_s for t in trials for m in t.curve.trained[1:]]
    fast = float(np.quantile(costs or [m.cost_s for t in trials for m in t.curve.trained] or [0.0], 0.1))
    return fast if fast >= _MEASURABLE_S else None
