"""The course of a recheck: replay the incumbent, screen challengers, confirm the best of them, decide.

Old scores prove nothing about today, so the incumbent is trained again beside every challenger: on the same data,
with the same seeds, up to the same horizon. Each then counts with the loss at its own best step, which is read
from the screening and stays fixed in the confirmation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ayar.errors import BudgetError, NotEnoughEvidence
from ayar.recheck import confirm
from ayar.recheck.challengers import Challenger, at_edge, challengers
from ayar.recheck.confirm import LOOKS, Decision, Estimate, Look, Outcome
from ayar.recheck.fingerprint import changes
from ayar.records import Configuration, Metric, ScoreKind, Trial, Winner
from ayar.seeds import Purpose
from ayar.space import Space
from ayar.stats import pooled_sd
from ayar.winner import Standing, loss_by, standing, standings

SCREEN_SEEDS = 3
_MOST_CHALLENGERS = 6
_WANTED_CHALLENGERS = 3  # fewer would leave a direction out; rather look at fewer pairs
_ALARM = 3.0  # standard deviations of a run by which a worse level, without new data or code, is a fault

Arm = tuple[Configuration, int]
"""A configuration and the last step to train it to."""

Train = Callable[[Sequence[Arm], Purpose, range], list[list[Trial]]]
"""Trains every arm with the seeds of these numbers in a recheck's own part of the stream, what is on record left
out; gives each arm's trials by seed."""

Fingerprint = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Course:
    """What a recheck is going to do, settled before it starts.

    Attributes:
        incumbent: The winner's configuration.
        stop_step: The winner's steps; its level is compared there.
        fresh: The winner's stored fresh-seed losses.
        challengers: The configurations to screen.
        looks: Looks of the confirmation that the budget allows.
        run_sd: Standard deviation of a run's loss, from the stored fresh seeds; None where unknown.
        pair_sd: Standard deviation of a paired gain, as far as the stored runs tell; None where unknown.
        space: The study's.
        metric: The study's.
        horizon: The study's; all train up to it in the screening.
    """

    incumbent: Configuration
    stop_step: int
    fresh: tuple[float, ...]
    challengers: tuple[Challenger, ...]
    looks: tuple[Look, ...]
    run_sd: float | None
    pair_sd: float | None
    space: Space
    metric: Metric
    horizon: int

    @property
    def trainings(self) -> int:
        """The most trainings it can cost."""
        return SCREEN_SEEDS * (len(self.challengers) + 1) + 2 * self.looks[-1].pairs

    @property
    def sentence(self) -> str:
        """Cost and power, in words, before anything is spent."""
        power = "How small a gain it can see isn't known before the first runs."
        if self.pair_sd is not None:
            seen = self.looks[-1].resolution * self.pair_sd
            power = f"A gain of {seen:.3g} is seen with 80 % probability, once the screening lets it through."
        return (
            f"At most {self.trainings} trainings: {len(self.challengers)} challengers and the winner on "
            f"{SCREEN_SEEDS} seeds each, then up to {self.looks[-1].pairs} fresh pairs. {power}"
        )

    def to_dict(self) -> dict[str, Any]:
        """What tells this course from another, in JSON-safe values."""
        return {
            "incumbent": self.incumbent,
            "challengers": [{"config": c.config, "origin": c.origin} for c in self.challengers],
            "looks": [look.pairs for look in self.looks],
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True)
class Screened:
    """A challenger after screening; ``gain`` is its mean paired gain, None where a training failed."""

    config: Configuration
    origin: str
    gain: float | None


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
        margin: The least gain worth a change.
        resolution: The gain that would have been seen with 80 % probability; None where unknown.
        level_shift: The incumbent's score today minus its stored fresh-seed score, in the metric's own sign; None
            where either is missing.
        changed: What differs from the fingerprint stored with the winner; None where none was stored.
        screened: All challengers with what the screening said.
    """

    verdict: Decision
    sentence: str
    incumbent: Configuration
    challenger: Configuration | None
    gain: Estimate | None
    pairs: int
    trainings: int
    margin: float
    resolution: float | None
    level_shift: Estimate | None
    changed: tuple[str, ...] | None
    screened: tuple[Screened, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON-safe values; an end that an interval hasn't becomes None."""
        return {name: _json_safe(value) for name, value in asdict(self).items()}


def plan(winner: Winner, trials: Sequence[Trial], space: Space, metric: Metric, horizon: int, trainings: int) -> Course:
    """Settle a recheck of at most ``trainings`` trainings.

    Raises:
        BudgetError: The confirmation couldn't reach its first look.
        NotEnoughEvidence: The space holds nothing to compare the winner with.
    """
    stored = winner.scores.get(ScoreKind.FRESH_SEED)
    fresh = tuple(metric.loss(v) for v in stored.values) if stored is not None else ()
    places = standings(trials)
    run_sd = pooled_sd([fresh]) if fresh and all(map(math.isfinite, fresh)) else None
    found = challengers(winner.config, places, space, run_sd)
    if not found:
        raise NotEnoughEvidence(
            "There is nothing to compare the winner with: no runner-up, no default and no other learning rate "
            "in this space. Widen the space and tune again."
        )
    count, looks = _shares(trainings, len(found))
    pair_sd = _stored_pair_sd(places, run_sd)
    arms = tuple(found[:count])
    return Course(winner.config, winner.stop_step, fresh, arms, looks, run_sd, pair_sd, space, metric, horizon)


def _shares(trainings: int, available: int) -> tuple[int, tuple[Look, ...]]:
    """How many challengers to screen, and the looks that the rest of the budget allows."""
    for most in range(len(LOOKS), 0, -1):
        room = (trainings - 2 * LOOKS[most - 1].pairs) // SCREEN_SEEDS - 1
        count = min(room, available, _MOST_CHALLENGERS)
        if count >= min(_WANTED_CHALLENGERS, available) or (most == 1 and count >= 1):
            return count, LOOKS[:most]
    least = 2 * SCREEN_SEEDS + 2 * LOOKS[0].pairs
    raise BudgetError(
        f"trainings={trainings} can't settle anything: one challenger and the winner on {SCREEN_SEEDS} seeds, then "
        f"{LOOKS[0].pairs} fresh pairs take {least}. Give at least {least}; 40 are a good number."
    )


def _stored_pair_sd(places: Sequence[Standing], run_sd: float | None) -> float | None:
    """Spread of a paired gain over the best; of the typical runner-up, for poor ones differ more.

    Without pairs on record: that of unrelated runs, the worst that common seeds can do.
    """
    finite = [np.array(p.losses) for p in places if math.isfinite(p.mean) and len(p.losses) > 1]
    spreads = [float((other - finite[0]).std(ddof=1)) for other in finite[1:]]
    unpaired = None if run_sd is None else math.sqrt(2) * run_sd
    return float(np.median(spreads)) if spreads else unpaired


def run(course: Course, train: Train, before: Fingerprint | None, after: Fingerprint) -> Recheck:
    """Go through the course: replay, screen, confirm, decide.

    Args:
        course: What ``plan`` gave.
        train: Trains, and writes down.
        before: The fingerprint stored with the winner, if there is one.
        after: Today's.
    """
    horizon, seeds = course.horizon, range(SCREEN_SEEDS)
    (replay,) = train([(course.incumbent, horizon)], Purpose.RECHECK, seeds)
    home = standing(replay)
    now = [loss_by(trial, course.stop_step) for trial in replay]
    found = _Findings(course, home, now, before, after)
    fault = found.fault()
    if fault is not None:
        return found.recheck(Decision.REGRESSED, fault)

    groups = train([(c.config, horizon) for c in course.challengers], Purpose.RECHECK, seeds)
    places = [standing(group) for group in groups]
    screened = [np.array(home.losses) - np.array(place.losses) for place in places]
    best = confirm.best_of(screened)
    outcome, confirmed = Outcome.NOT_BETTER, np.empty(0)
    if best is not None:
        arms = [(course.incumbent, home.stop_step), (places[best].config, places[best].stop_step)]

        def draw(numbers: range) -> list[float]:
            pairs = zip(*train(arms, Purpose.CONFIRM, numbers), strict=True)
            return [loss_by(ours, arms[0][1]) - loss_by(theirs, arms[1][1]) for ours, theirs in pairs]

        outcome, confirmed = confirm.confirm(draw, course.looks)
    found = replace(found, screened=screened, best=best, confirmed=confirmed)
    if np.isnan(confirmed).any() or (confirmed == math.inf).any():
        return found.recheck(Decision.REGRESSED, "The winner diverged or failed on a fresh seed of today's runs.")
    edge = best is not None and at_edge(course.challengers[best].config, course.incumbent, course.space)
    decision = confirm.decide(screened, best, outcome, confirmed, found.margin, edge)
    return found.recheck(decision, found.words(decision))


@dataclass(frozen=True, slots=True)
class _Findings:
    """What is known so far of a recheck under way."""

    course: Course
    home: Standing
    now: Sequence[float]
    before: Fingerprint | None
    after: Fingerprint
    screened: Sequence[np.ndarray] = ()
    best: int | None = None
    confirmed: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def margin(self) -> float:
        """The least gain worth a change; 0 where the incumbent has no level to compare with."""
        if not math.isfinite(self.home.mean):
            return 0.0
        groups = [self.home.losses] if self.course.run_sd is None else [self.course.fresh, self.home.losses]
        return confirm.margin(pooled_sd(groups), self.home.mean)

    @property
    def loss_shift(self) -> Estimate | None:
        """How far the incumbent's loss moved since its score was stored."""
        readings = [*self.course.fresh, *self.now]
        if not self.course.fresh or not all(map(math.isfinite, readings)):
            return None
        return confirm.shift(self.course.fresh, self.now)

    @property
    def level_shift(self) -> Estimate | None:
        """The same in the metric's own sign."""
        moved = self.loss_shift
        if moved is None or not self.course.metric.maximize:
            return moved
        return Estimate(-moved.mean, -moved.high, -moved.low)

    @property
    def resolution(self) -> float | None:
        """The gain that the confirmation finds with 80 % probability, from the spread seen today."""
        finite = [d for d in self.screened if np.isfinite(d).all()]
        if len(self.confirmed) > 1 and np.isfinite(self.confirmed).all():
            finite = [self.confirmed]
        spread = pooled_sd(finite)
        if spread is None:
            return None
        round_off = 1e-12 * abs(self.home.mean)
        return self.course.looks[-1].resolution * spread if spread > round_off else 0.0

    def fault(self) -> str | None:
        """Why the replay calls for a repair before any comparison; None where it doesn't."""
        if not math.isfinite(self.home.mean):
            return (
                "The winner diverges or fails in today's world, where it used to train. Look at the errors of its "
                "trainings and at what changed; then tune again."
            )
        moved, spread = self.loss_shift, self.course.run_sd
        if moved is None or not spread or moved.mean <= _ALARM * spread or not self._only_machinery_changed():
            return None
        return (
            f"The winner's score is worse by {moved.mean:.3g}, more than {_ALARM:.0f} standard deviations of a run, "
            "although data and code are as they were. Find the fault in what changed before comparing anything."
        )

    def _only_machinery_changed(self) -> bool:
        """Whether data and code are known to be the same, while hardware or software isn't."""
        if self.before is None:
            return False
        known = all(_shared(self.before, self.after, group) for group in ("data", "code"))
        moved = {line.partition(":")[0] for line in known_changes(self.before, self.after)}
        return known and bool(moved) and not moved & {"data", "code"}

    def words(self, decision: Decision) -> str:
        """The conclusion in words."""
        resolution, count = self.resolution, len(self.screened)
        seen = "" if resolution is None else f" A gain of {resolution:.3g} would have been seen with about 80 %."
        if self.best is None or not np.isfinite(self.confirmed).all():
            gain = ""
        else:
            origin = self.course.challengers[self.best].origin
            got = confirm.estimate(self.confirmed)
            interval = f"{got.low:.3g} to {got.high:.3g}"
            gain = f"{origin}: gain {got.mean:.3g}, {interval}, on {len(self.confirmed)} fresh pairs"
        match decision:
            case Decision.REPLACE:
                return f"Another configuration is better today ({gain}). Replace the winner by it."
            case Decision.RETUNE:
                return (
                    f"Another configuration is better today ({gain}), and what else was seen says that better ones "
                    "still are likely. Tune again, starting from it."
                )
            case Decision.BETTER_NOT_WORTH:
                return f"Another configuration is better ({gain}), but by less than {self.margin:.3g}. Keep the winner."
            case Decision.KEEP_CONFIRMED:
                return f"None of {count} challengers is better by {self.margin:.3g} or more. Keep the winner."
            case Decision.INCONCLUSIVE if gain:
                return f"A challenger may be better ({gain}), but the budget ended first. Allow more trainings."
            case Decision.INCONCLUSIVE:
                return "Every challenger diverged or failed, so nothing was compared. Look at their errors."
        return f"None of {count} challengers was shown to be better. Keep the winner.{seen}"

    def recheck(self, decision: Decision, sentence: str) -> Recheck:
        """The record of it all."""
        pairs, best, arms = len(self.confirmed), self.best, self.course.challengers[: len(self.screened)]
        means = [float(d.mean()) if np.isfinite(d).all() else None for d in self.screened]
        return Recheck(
            verdict=decision,
            sentence=sentence,
            incumbent=self.course.incumbent,
            challenger=None if best is None else arms[best].config,
            gain=confirm.estimate(self.confirmed) if pairs and np.isfinite(self.confirmed).all() else None,
            pairs=pairs,
            trainings=SCREEN_SEEDS * (len(arms) + 1) + 2 * pairs,
            margin=self.margin,
            resolution=self.resolution,
            level_shift=self.level_shift,
            changed=None if self.before is None else tuple(known_changes(self.before, self.after)),
            screened=tuple(Screened(a.config, a.origin, gain) for a, gain in zip(arms, means, strict=True)),
        )


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


def _json_safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
