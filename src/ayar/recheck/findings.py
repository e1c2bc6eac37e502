"""What a recheck found: the record that is kept, and its conclusion in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from ayar.recheck import confirm
from ayar.recheck.confirm import Decision, Estimate, Outcome, counted
from ayar.recheck.contest import Result
from ayar.recheck.fingerprint import changes
from ayar.recheck.plan import Course
from ayar.records import Configuration
from ayar.stats import pooled_sd
from ayar.winner import Standing

_ALARM = 3.0  # standard deviations of a run by which a worse level, without new data or code, is a fault
_SLOWER = 1.25  # a step that takes so many times as long, or as short, counts as a change
_FAILING = 1 / 3  # a larger share of failed trainings makes the winner useless

Fingerprint = Mapping[str, Mapping[str, Any]]


class Shift(StrEnum):
    """What moved: the scores of all, or their order. Only a new order calls for other hyperparameters."""

    NONE = "none seen"
    LEVEL = "level"
    RANKING = "ranking"
    BOTH = "level and ranking"


@dataclass(frozen=True, slots=True)
class Screened:
    """A challenger after screening.

    Attributes:
        gain: Its mean paired gain on the seeds that it shares with the incumbent; None where a training failed.
        seeds: On how many seeds it was trained.
    """

    config: Configuration
    origin: str
    gain: float | None
    seeds: int = 0


@dataclass(frozen=True, slots=True)
class Recheck:
    """What a recheck found. Gains are in the metric's unit; above 0, the challenger is better.

    Attributes:
        verdict: The conclusion.
        sentence: The conclusion in words.
        incumbent: The winner's configuration.
        challenger: The configuration that went on to confirmation; None if none did.
        gain: Its gain on the fresh pairs, with a 95 % t interval; None without finite pairs.
        pairs: Fresh pairs trained.
        trainings: Trainings used, all included.
        failures: Trainings of the incumbent that failed or diverged.
        margin: The least gain worth a change.
        error: The share of rechecks that may replace a winner which nothing beats.
        resolution: The gain that would have been seen with 80 % probability; None where unknown.
        correlation: Of two configurations' scores on the same seed; the nearer to 1, the smaller a gain can be
            seen. None where unknown.
        shift: Whether the scores of all moved, their order, both, or neither as far as was seen.
        level_shift: The incumbent's score today minus its stored fresh-seed score, in the metric's own sign; None
            where either is missing.
        others_shift: The mean shift of challengers that had a stored score, in the metric's own sign; None
            without any.
        step_s: Seconds that a step of the incumbent takes today; None where unknown.
        changed: What differs from the fingerprint stored with the winner; None where none was stored.
        screened: All challengers with what the screening said.
        stop_step: Steps to train the challenger; None if none went on.
        scores: The challenger's scores on the fresh seeds, in the metric's own sign.
    """

    verdict: Decision
    sentence: str
    incumbent: Configuration
    challenger: Configuration | None
    gain: Estimate | None
    pairs: int
    trainings: int
    failures: int
    margin: float
    error: float
    resolution: float | None
    correlation: float | None
    shift: Shift
    level_shift: Estimate | None
    others_shift: float | None
    step_s: float | None
    changed: tuple[str, ...] | None
    screened: tuple[Screened, ...]
    stop_step: int | None = None
    scores: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON-safe values; an end that an interval hasn't becomes None."""
        return {name: _json_safe(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known so far of a recheck under way.

    Attributes:
        course: What it is going to do.
        home: The incumbent's standing in the screening.
        now: The incumbent's losses at the stored winner's step, one for each screening seed.
        step_s: Seconds that a step of the incumbent takes today.
        before: The fingerprint stored with the winner.
        after: Today's.
        result: What the contest gave; None before it.
        places: Standings of the arms in the screening.
        fought: Losses of the two arms in the confirmation.
    """

    course: Course
    home: Standing
    now: Sequence[float]
    step_s: float | None
    before: Fingerprint | None
    after: Fingerprint
    result: Result | None = None
    places: Mapping[int, Standing] = field(default_factory=dict)
    fought: Mapping[int, Sequence[float]] = field(default_factory=dict)

    def with_result(
        self, result: Result, places: Mapping[int, Standing], fought: Mapping[int, Sequence[float]]
    ) -> Findings:
        """The same after the contest."""
        return replace(self, result=result, places=places, fought=fought)

    @property
    def losses(self) -> list[float]:
        """Every loss of the incumbent today."""
        return [*self.home.losses, *self.fought.get(0, ())]

    @property
    def confirmed(self) -> np.ndarray:
        """Gains of the pairs that count."""
        return np.empty(0) if self.result is None else counted(self.result.confirmed)

    @property
    def margin(self) -> float:
        """The least gain worth a change; 0 where the incumbent has no level to compare with."""
        if self.course.terms.margin is not None:
            return self.course.terms.margin
        finite = _finite(self.home.losses)
        if not finite:
            return 0.0
        return confirm.margin(pooled_sd([_finite(self.course.fresh), finite]), float(np.mean(finite)))

    @property
    def loss_shift(self) -> Estimate | None:
        """How far the incumbent's loss moved since its score was stored."""
        old, new = _finite(self.course.fresh), _finite(self.now)
        return confirm.shift(old, new) if old and new else None

    @property
    def is_settled(self) -> bool:
        """Whether the replay alone says that the level is as it was: within a 99 % interval, with a stored score."""
        old, new = _finite(self.course.fresh), _finite(self.now)
        if not old or len(new) < len(self.now):
            return False
        moved = confirm.shift(old, new, level=0.99)
        return moved.low <= 0 <= moved.high

    @property
    def shift(self) -> Shift:
        """What moved."""
        moved = self.loss_shift
        level = moved is not None and not moved.low <= 0 <= moved.high
        ranking = self.result is not None and self.result.outcome is Outcome.BETTER
        return (Shift.BOTH if level else Shift.RANKING) if ranking else (Shift.LEVEL if level else Shift.NONE)

    @property
    def others_shift(self) -> float | None:
        """How far the losses of challengers with a stored score moved, on average."""
        pairs = [(self.places[i + 1].mean, old) for i, old in enumerate(self.course.old_means) if i + 1 in self.places]
        moved = [new - old for new, old in pairs if math.isfinite(new - old)]
        return float(np.mean(moved)) if moved else None

    @property
    def resolution(self) -> float | None:
        """The gain that the confirmation finds with 80 % probability, from the spread seen today."""
        groups = [] if self.result is None else [counted(d) for d in self.result.screened]
        if len(self.confirmed) > 1:
            groups = [self.confirmed]
        spread = pooled_sd([d for d in groups if np.isfinite(d).all()])
        if spread is None:
            return None
        round_off = 1e-12 * abs(float(np.mean(_finite(self.home.losses))))
        return confirm.resolution(self.course.design.looks) * spread if spread > round_off else 0.0

    @property
    def correlation(self) -> float | None:
        """Of losses on the same seed: as stored where nothing better is known, else as seen today."""
        n = len(self.home.losses)
        longest = [place.losses[:n] for place in self.places.values() if len(place.losses) >= n]
        tables = [np.array(list(self.fought.values())), np.array(longest)]
        seen = confirm.same_seed_correlation([t for t in tables if t.ndim == 2 and np.isfinite(t).all()])
        return self.course.correlation if seen is None else seen

    def fault(self) -> str | None:
        """Why the incumbent's trainings call for a repair before any comparison; None where they don't."""
        losses = self.losses
        failed = len(losses) - len(_finite(losses))
        if failed == len(losses) or (failed > 1 and failed > _FAILING * len(losses)):
            return (
                f"The winner diverges or fails today: {failed} of {len(losses)} trainings did. Look at their errors "
                "and at what changed; then tune again."
            )
        moved, spread = self.loss_shift, self.course.run_sd
        if moved is None or not spread or moved.mean <= _ALARM * spread or moved.low <= 0:
            return None
        if not self._only_machinery_changed():
            return None
        return (
            f"The winner's score is worse by {moved.mean:.3g}, more than {_ALARM:.0f} standard deviations of a run, "
            "although data and code are as they were. Find the fault in what changed before comparing anything."
        )

    def _only_machinery_changed(self) -> bool:
        """Whether data and code are known to be the same, while hardware or software isn't."""
        if self.before is None or self.course.terms.changed:
            return False
        known = all(_shared(self.before, self.after, group) for group in ("data", "code"))
        moved = {line.partition(":")[0] for line in known_changes(self.before, self.after)}
        return known and bool(moved) and not moved & {"data", "code"}

    def as_before(self) -> str:
        """The conclusion where the replay alone settled it."""
        return "The winner's score is as it was, and nothing that changed could make another better. Keep the winner."

    def words(self, decision: Decision) -> str:
        """The conclusion in words."""
        resolution, count = self.resolution, len(self.course.challengers)
        seen = "" if resolution is None else f" A gain of {resolution:.3g} would have been seen with about 80 %."
        gain = self._gain_in_words()
        match decision:
            case Decision.REPLACE:
                return f"Another configuration is better today ({gain}). Replace the winner by it."
            case Decision.RETUNE:
                return (
                    f"Another configuration is better today ({gain}), and what else was seen says that better ones "
                    "still are likely. Tune again, starting from it."
                )
            case Decision.BETTER_NOT_WORTH:
                return (
                    f"Another configuration is better ({gain}), but not surely enough by {self.margin:.3g} or more. "
                    "Keep the winner."
                )
            case Decision.KEEP_CONFIRMED:
                none = "The one challenger is not" if count == 1 else f"None of {count} challengers is"
                return f"{none} better by {self.margin:.3g} or more. Keep the winner."
            case Decision.INCONCLUSIVE if gain:
                return f"A challenger may be better ({gain}), but the budget ended first. Allow more trainings."
            case Decision.INCONCLUSIVE:
                return "Every challenger diverged or failed, so nothing was compared. Look at their errors."
        level = " The level moved, the order did not: no other values are called for." * (self.shift is Shift.LEVEL)
        none = "The one challenger was not" if count == 1 else f"None of {count} challengers was"
        return f"{none} shown to be better.{level} Keep the winner.{seen}"

    def _gain_in_words(self) -> str:
        if self.result is None or self.result.best is None or not self._has_gain:
            return ""
        origin, got = self.course.challengers[self.result.best].origin, confirm.estimate(self.confirmed)
        return f"{origin}: gain {got.mean:.3g}, {got.low:.3g} to {got.high:.3g}, on {len(self.confirmed)} fresh pairs"

    @property
    def _has_gain(self) -> bool:
        return len(self.confirmed) > 0 and bool(np.isfinite(self.confirmed).all())

    def recheck(self, decision: Decision, sentence: str) -> Recheck:
        """The record of it all."""
        result, metric = self.result, self.course.metric
        screened, seeds = ((), ()) if result is None else (result.screened, result.seeds)
        best = None if result is None else result.best
        pairs = 0 if result is None else len(result.confirmed)
        losses = self.losses
        moved = self.loss_shift
        if moved is not None and metric.maximize:
            moved = Estimate(-moved.mean, -moved.high, -moved.low)
        others = self.others_shift
        return Recheck(
            verdict=decision,
            sentence=sentence,
            incumbent=self.course.incumbent,
            challenger=None if best is None else self.course.challengers[best].config,
            gain=confirm.estimate(self.confirmed) if self._has_gain else None,
            pairs=pairs,
            trainings=len(self.home.losses) + sum(seeds) + 2 * pairs,
            failures=len(losses) - len(_finite(losses)),
            margin=self.margin,
            error=self.course.terms.error,
            resolution=self.resolution,
            correlation=self.correlation,
            shift=self.shift,
            level_shift=moved,
            others_shift=None if others is None else metric.loss(others),
            step_s=self.step_s,
            changed=self._changes(),
            screened=tuple(
                Screened(arm.config, arm.origin, _or_none(confirm.mean_gain(d)), count)
                for arm, d, count in zip(self.course.challengers, screened, seeds, strict=False)
            ),
            stop_step=None if best is None else self.places[best + 1].stop_step,
            scores=() if best is None else tuple(metric.loss(v) for v in self.fought.get(best + 1, ())),
        )

    def _changes(self) -> tuple[str, ...] | None:
        """What changed since the winner was stored, told by the user and by the fingerprint; None if nobody knows."""
        told = [f"size: {name} was {was:g}, is {now:g}" for name, (was, now) in self.course.terms.changed.items()]
        if self.before is None:
            return tuple(told) or None
        told += known_changes(self.before, self.after)
        was, now = self.course.step_s, self.step_s
        if was and now and not 1 / _SLOWER < now / was < _SLOWER:
            told.append(f"throughput: a step took {was:.2g} s, takes {now:.2g} s")
        return tuple(told)


def known_changes(before: Fingerprint, after: Fingerprint) -> list[str]:
    """What differs between two fingerprints among the things that both know, one line each.

    >>> known_changes({"data": {}, "software": {"torch": "2.4"}}, {"data": {"content": "1f"}, "software": {}})
    []
    """
    groups = {*before, *after} - {"sha256"}
    old = {g: {k: before[g][k] for k in _shared(before, after, g)} for g in groups}
    new = {g: {k: after[g][k] for k in _shared(before, after, g)} for g in groups}
    return changes(old, new)


def _shared(before: Fingerprint, after: Fingerprint, group: str) -> set[str]:
    return set(before.get(group, ())) & set(after.get(group, ()))


def _finite(losses: Sequence[float]) -> list[float]:
    return [float(loss) for loss in losses if math.isfinite(loss)]


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json_safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
