"""The honest winner: candidates, re-ranking on fresh seeds, and scores that say where they come from.

The best score of a search is its luckiest reading. So the best candidates, and the default beside them, are
trained again on common fresh seeds (re-rank); the chosen one, the runner-up and the default once more on further
fresh seeds that chose nothing (finalise). Only those last readings are reported as the result. Everything here
is a pure function of trials; the study does the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ayar.records import Configuration, Metric, Score, ScoreKind, Trial, Winner, config_key
from ayar.search.base import SEARCH_DATA
from ayar.search.history import FACTS, column
from ayar.seeds import Purpose
from ayar.stats import mean_interval


@dataclass(frozen=True, slots=True)
class Plan:
    """How a confirmation spends its trainings.

    Attributes:
        candidates: Search trials to re-rank.
        rerank_seeds: Common fresh seeds for each candidate and the default.
        finalise_seeds: Further fresh seeds for the chosen one.
        compares: Whether the runner-up and the default are trained on those further seeds, too.
    """

    candidates: tuple[int, ...]
    rerank_seeds: int
    finalise_seeds: int
    compares: bool

    def rounds(self, workers: int) -> int:
        """Trainings that follow one another when ``workers`` train at a time; the default's included."""
        rerank = (len(self.candidates) + 1) * self.rerank_seeds
        finalise = (3 if self.compares else 1) * self.finalise_seeds
        return math.ceil(rerank / workers) + math.ceil(finalise / workers)


# (candidates, re-rank seeds, finalise seeds, compares), richest first. Ten by four recovers most of what selection
# noise loses, and more candidates hardly help; five seeds are the fewest that support a comparison.
_SPLITS = (
    (10, 10, 10, True),
    (10, 4, 10, True),
    (10, 4, 5, True),
    (8, 4, 5, True),
    (6, 3, 5, True),
    (5, 3, 5, True),
    (4, 2, 5, True),
    (3, 2, 4, True),
    (3, 2, 3, True),
    (2, 1, 3, True),
    (2, 1, 3, False),
    (1, 1, 3, False),
)


def search_steps(trials: Sequence[Trial]) -> int:
    """Steps of training that search data consist of."""
    facts = column(trials, FACTS)
    return int(facts["last_step"][facts["data"]].sum())


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Search trials by their least loss, best first, one for each configuration; those without a loss left out."""
    best: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda t: (t.loss, t.id)):
        if trial.purpose in SEARCH_DATA and math.isfinite(trial.loss):
            best.setdefault(config_key(trial.config), trial)
    return list(best.values())


def training_cost_s(trials: Sequence[Trial], horizon: int) -> float:
    """Seconds that a whole training of a leading candidate takes, as far as the search has measured it."""
    leaders = [t for t in ranked(trials)[:10] if t.curve.last_step > 0]
    return math.fsum(t.curve.cost_s / t.curve.last_step for t in leaders) / max(len(leaders), 1) * horizon


def plan_confirmation(trials: Sequence[Trial], rounds: float, workers: int) -> Plan:
    """The richest split that takes at most ``rounds`` trainings one after the other; the poorest where none does."""
    order = [t.id for t in ranked(trials)]
    plans = [Plan(tuple(order[:top]), rerank, finalise, compares) for top, rerank, finalise, compares in _SPLITS]
    return next((plan for plan in plans if plan.rounds(workers) <= rounds), plans[-1])


@dataclass(frozen=True, slots=True)
class Standing:
    """One configuration's place after re-ranking.

    Attributes:
        losses: Loss at ``stop_step``, one for each common seed, shape ``(n,)``.
        stop_step: The step at which the mean curve is lowest.
    """

    config: Configuration
    losses: tuple[float, ...]
    stop_step: int

    @property
    def mean(self) -> float:
        """Mean loss; infinite when a seed diverged or failed, for such a configuration can't be relied on."""
        return math.fsum(self.losses) / len(self.losses)


def standings(trials: Sequence[Trial]) -> list[Standing]:
    """Re-ranked configurations, best first."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.purpose is Purpose.RERANK and (trial.ended or trial.error is not None):
            groups.setdefault(config_key(trial.config), []).append(trial)
    # Only seeds common to all that were re-ranked as often are comparable; a half re-ranked one waits.
    most = max((len(g) for g in groups.values()), default=0)
    return sorted((standing(g) for g in groups.values() if len(g) == most), key=lambda s: s.mean)


def standing(group: Sequence[Trial]) -> Standing:
    """The standing of one configuration, trained once for each of several seeds."""
    config = group[0].config
    if any(not math.isfinite(t.loss) for t in group):
        last = max(t.curve.last_step for t in group)
        return Standing(config, tuple(t.loss for t in group), max(last, 1))
    shared = sorted(set.intersection(*({m.step for m in t.curve.trained} for t in group)))
    if not shared:  # trainings that ended by themselves at different steps: each counts with its last
        lasts = [t.curve.trained[-1] for t in group]
        return Standing(config, tuple(m.loss for m in lasts), max(m.step for m in lasts))
    curves = np.array([[m.loss for m in t.curve if m.step in set(shared)] for t in group])
    position = int(np.argmin(_smooth(curves.mean(axis=0))))
    return Standing(config, tuple(curves[:, position].tolist()), shared[position])


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean of each value and its neighbours: the lowest point of a jittery curve is luck."""
    padded = np.pad(values, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3 if len(values) > 2 else values


def tied_with_best(order: Sequence[Standing]) -> list[Standing]:
    """Those whose paired difference to the best has a 95 % interval that reaches zero; the best itself left out."""
    best = np.array(order[0].losses)
    ties = []
    for other in order[1:]:
        if not math.isfinite(other.mean):
            continue
        _, low, _ = mean_interval(np.array(other.losses) - best)
        if low <= 0:
            ties.append(other)
    return ties


def score(kind: ScoreKind, losses: Sequence[float], metric: Metric) -> Score:
    """A score in the metric's own sign, from one loss for each seed."""
    values = tuple(metric.loss(loss) for loss in losses)
    mean, low, high = mean_interval(np.array(values))
    return Score(kind, mean, low, high, values)


def finalised(trials: Sequence[Trial], standing: Standing) -> list[Trial]:
    """The fresh-seed trials of a re-ranked configuration, by seed; each ended, failed or diverged."""
    key = config_key(standing.config)
    return [
        t
        for t in trials
        if t.purpose is Purpose.FINALISE
        and config_key(t.config) == key
        and (t.error is not None or t.diverged or t.curve.last_step >= standing.stop_step or t.ended)
    ]


def loss_by(trial: Trial, step: int) -> float:
    """The loss at the last step trained up to ``step``; infinite for a failed, diverged or untrained trial."""
    trained = [m for m in trial.curve.trained if m.step <= step]
    return math.inf if trial.error is not None or trial.diverged or not trained else trained[-1].loss


def fresh_losses(trials: Sequence[Trial], standing: Standing) -> list[float]:
    """Loss at the chosen step for each fresh seed; infinite where a seed diverged or failed."""
    return [loss_by(trial, standing.stop_step) for trial in finalised(trials, standing)]


def choose(trials: Sequence[Trial], metric: Metric, default: Configuration) -> Winner | None:
    """The winner as far as the trials tell; None before any finite search loss.

    Without re-ranking it is the search's best, and its only score says so.
    """
    order = ranked(trials)
    if not order:
        return None
    places = standings(trials)
    if not places or not math.isfinite(places[0].mean):
        best = order[0].curve.best
        assert best is not None
        only = score(ScoreKind.SEARCH_BEST, [best.loss], metric)
        return Winner(order[0].id, order[0].config, best.step, metric.name, {only.kind: only})

    chosen = places[0]
    by_config = {config_key(t.config): t for t in order}
    source = by_config.get(config_key(chosen.config))
    scores = {ScoreKind.RERANKED: score(ScoreKind.RERANKED, chosen.losses, metric)}
    if source is not None:
        scores[ScoreKind.SEARCH_BEST] = score(ScoreKind.SEARCH_BEST, [source.loss], metric)
    fresh = fresh_losses(trials, chosen)
    if fresh:
        scores[ScoreKind.FRESH_SEED] = score(ScoreKind.FRESH_SEED, fresh, metric)
    compared = {}
    for name, place in others(places, default).items():
        losses = fresh_losses(trials, place)
        if losses:
            compared[name] = score(ScoreKind.FRESH_SEED, losses, metric)
    tied = [by_config[config_key(s.config)].id for s in tied_with_best(places) if config_key(s.config) in by_config]
    return Winner(
        source.id if source is not None else order[0].id,
        chosen.config,
        chosen.stop_step,
        metric.name,
        scores,
        compared,
        tied,
    )


def others(places: Sequence[Standing], default: Configuration) -> dict[str, Standing]:
    """The standings that the chosen one is compared with on fresh seeds: runner-up and default, where they exist."""
    named: dict[str, Standing] = {}
    for position, place in enumerate(places[1:]):
        if config_key(place.config) == config_key(default):
            named["default"] = place
        elif position == 0:
            named["runner-up"] = place
    return named
