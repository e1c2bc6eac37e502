"""The honest winner: candidates, their standings on fresh seeds, and scores that say where they come from.

The best score of a search is its luckiest reading. So the best candidates, and the default beside them, are
trained again on common fresh seeds (re-rank); the chosen one, the default and the runner-up once more on further
fresh seeds that chose nothing (finalise). Only those last readings are reported as the result. Everything here
is a pure function of trials; ``confirmation`` says what to train, the study trains it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ayar.errors import SpaceError
from ayar.records import Configuration, Gain, Metric, Score, ScoreKind, Tie, Trial, Winner, config_key
from ayar.search.base import SEARCH_DATA
from ayar.search.history import FACTS, column
from ayar.seeds import Purpose
from ayar.space import Space
from ayar.stats import FEWEST_PAIRS, Contrast, contrasts, holm, paired_interval, paired_test, score_interval

CHEAPER = 1.25  # a training that takes so many times as long is dearer ...
WORTH_S = 1.0  # ... if it takes so many seconds longer; below, a clock measures chance
NEAR_FAILURE = 0.1  # of the unit cube's diagonal: so near to a failed configuration it stands at an edge

Interval = Callable[[np.ndarray], tuple[float, float, float]]
"""Mean and ends of the 95 % interval of readings, shape ``(n,)``."""


def search_steps(trials: Sequence[Trial]) -> int:
    """Steps of training that search data consist of."""
    facts = column(trials, FACTS)
    own = np.maximum(facts["last_step"] - facts["fork_step"], 0)
    return int(own[facts["data"]].sum())


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Search trials by their least loss, best first, one for each configuration; those without a loss left out."""
    best: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda t: (t.loss, t.id)):
        if trial.purpose in SEARCH_DATA and math.isfinite(trial.loss):
            best.setdefault(config_key(trial.config), trial)
    return list(best.values())


@dataclass(frozen=True, slots=True)
class Standing:
    """One configuration's place after re-ranking.

    Attributes:
        losses: Loss at ``stop_step``, one for each of the first seeds of the stream, shape ``(n,)``.
        stop_step: The step at which the mean curve is lowest.
        cost_s: Seconds that a training up to ``stop_step`` takes.
    """

    config: Configuration
    losses: tuple[float, ...]
    stop_step: int
    cost_s: float = 0.0

    @property
    def mean(self) -> float:
        """Mean loss; infinite when a seed diverged or failed, for such a configuration can't be relied on."""
        return math.fsum(self.losses) / len(self.losses)

    @property
    def key(self) -> str:
        """What tells its configuration from others."""
        return config_key(self.config)


def standings(trials: Sequence[Trial]) -> list[Standing]:
    """Re-ranked configurations, best first.

    Contenders have more seeds than those that fell behind, and begin with the same ones. A configuration with one
    seed waits as long as others have two: one reading is luck.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda t: t.id):
        if trial.purpose is Purpose.RERANK and (trial.ended or trial.error is not None):
            groups.setdefault(config_key(trial.config), []).append(trial)
    most = max((len(g) for g in groups.values()), default=0)
    return sorted((standing(g) for g in groups.values() if len(g) >= min(2, most)), key=lambda s: s.mean)


def standing(group: Sequence[Trial]) -> Standing:
    """The standing of one configuration, trained once for each of several seeds."""
    config = group[0].config
    if any(not math.isfinite(t.loss) for t in group):
        last = max(t.curve.last_step for t in group)
        return Standing(config, tuple(t.loss for t in group), max(last, 1))
    step_s = float(np.median([t.curve.cost_s / t.curve.last_step for t in group]))
    shared = sorted(set.intersection(*({m.step for m in t.curve.trained} for t in group)))
    if not shared:  # trainings that ended by themselves at different steps: each counts with its last
        lasts = [t.curve.trained[-1] for t in group]
        last = max(m.step for m in lasts)
        return Standing(config, tuple(m.loss for m in lasts), last, step_s * last)
    curves = np.array([[m.loss for m in t.curve if m.step in set(shared)] for t in group])
    position = int(np.argmin(_smooth(curves.mean(axis=0))))
    return Standing(config, tuple(curves[:, position].tolist()), shared[position], step_s * shared[position])


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean of each value and its neighbours: the lowest point of a jittery curve is luck."""
    padded = np.pad(values, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3 if len(values) > 2 else values


def gaps(reference: Standing, others: Sequence[Standing]) -> list[Contrast]:
    """By how much each of the others read worse than the reference on the seeds they share; all of them finite."""
    return contrasts([np.subtract(*zip(*zip(o.losses, reference.losses, strict=False), strict=True)) for o in others])


def choice(places: Sequence[Standing], trials: Sequence[Trial], space: Space) -> tuple[Standing, str]:
    """The one to take of the re-ranked configurations, and why where it isn't simply the one that read best.

    Among those within one standard error of the best, none of which can be said to be better (the rule of Breiman et
    al., 1984, "Classification and Regression Trees", section 3.4.3), the cheaper is taken; then one that does not
    stand beside configurations that diverged or failed; then the lower mean; then the one nearer to the default.
    """
    best = places[0]
    finite = [p for p in places[1:] if math.isfinite(p.mean)]
    close = [best, *(p for p, gap in zip(finite, gaps(best, finite), strict=True) if gap.mean <= gap.error < math.inf)]
    if len(close) == 1:
        return best, ""
    least_s = min(p.cost_s for p in close)
    failed = _points([t.config for t in trials if t.purpose is Purpose.SEARCH and (t.error or t.diverged)], space)
    home = _points([space.default()], space)

    def grounds(place: Standing) -> tuple[bool, bool, float, float]:
        dear = place.cost_s > max(CHEAPER * least_s, least_s + WORTH_S)
        return dear, _distance(place, failed, space) < NEAR_FAILURE, place.mean, _distance(place, home, space)

    chosen = min(close, key=grounds)
    reasons = ("cheaper", "farther from failures", "", "nearer to the default")
    first = next((i for i, (a, b) in enumerate(zip(grounds(chosen), grounds(best), strict=True)) if a != b), 2)
    return chosen, "" if chosen is best else reasons[first]


def _points(configs: Sequence[Configuration], space: Space) -> np.ndarray:
    """Those of the configurations that lie in the space, as points of the unit cube, shape ``(n, dimensions)``."""
    points = []
    for config in configs:
        try:
            points.append(space.encode(config))
        except SpaceError:  # added from elsewhere, or tried by hand beyond a range
            continue
    return np.array(points).reshape(len(points), space.dimensions)


def _distance(place: Standing, points: np.ndarray, space: Space) -> float:
    """To the nearest of ``points``, as a share of the unit cube's diagonal; infinite without any."""
    own = _points([place.config], space)
    if not len(own) or not len(points):
        return math.inf
    return float(np.sqrt(((points - own) ** 2).mean(axis=1)).min())


def ties_with(chosen: Standing, places: Sequence[Standing]) -> list[tuple[Standing, Contrast]]:
    """The configurations that can't be told from the chosen one, with what their pairs say; best first.

    A tie is a paired difference whose p value, raised for the number of comparisons (Holm), exceeds 0.05.
    """
    rivals = [p for p in places if p.key != chosen.key and math.isfinite(p.mean)]
    found = gaps(chosen, rivals)
    adjusted = holm([gap.p for gap in found])
    return [(p, gap) for p, gap, value in zip(rivals, found, adjusted, strict=True) if value > 0.05]


def score(kind: ScoreKind, losses: Sequence[float], metric: Metric, interval: Interval = score_interval) -> Score:
    """A score in the metric's own sign, from one loss for each seed; infinite for a failed training."""
    values = tuple(metric.loss(loss) for loss in losses if math.isfinite(loss))
    failed = len(losses) - len(values)
    if not values:
        nothing = metric.loss(math.inf)
        return Score(kind, nothing, nothing, nothing, (), failed)
    return Score(kind, *interval(np.array(values)), values, failed)


def gain(own: Sequence[float], other: Sequence[float]) -> Gain | None:
    """What the configuration with the losses ``own`` gains over the one with ``other``, on their common seeds."""
    pairs = [(a, b) for a, b in zip(own, other, strict=False) if math.isfinite(a) and math.isfinite(b)]
    if not pairs:
        return None
    mine, theirs = np.array(pairs).T
    p = paired_test(theirs, mine) if len(pairs) >= FEWEST_PAIRS else None
    return Gain(*paired_interval(theirs, mine), len(pairs), p)


def finalised(trials: Sequence[Trial], standing: Standing) -> list[Trial]:
    """The fresh-seed trials of a re-ranked configuration, by seed; each ended, failed or diverged."""
    return [
        t
        for t in trials
        if t.purpose is Purpose.FINALISE
        and config_key(t.config) == standing.key
        and (t.error is not None or t.diverged or t.curve.last_step >= standing.stop_step or t.ended)
    ]


def loss_by(trial: Trial, step: int) -> float:
    """The loss at the last step trained up to ``step``; infinite for a failed, diverged or untrained trial."""
    trained = [m for m in trial.curve.trained if m.step <= step]
    return math.inf if trial.error is not None or trial.diverged or not trained else trained[-1].loss


def fresh_losses(trials: Sequence[Trial], standing: Standing) -> dict[int, float]:
    """Loss at the chosen step by fresh seed; infinite where a seed diverged or failed."""
    return {trial.seed: loss_by(trial, standing.stop_step) for trial in finalised(trials, standing)}


def choose(trials: Sequence[Trial], metric: Metric, space: Space, interval: Interval = score_interval) -> Winner | None:
    """The winner as far as the trials tell; None before any finite search loss.

    Without re-ranking it is the search's best, and its only score says so. ``interval`` is that of the scores on
    fresh seeds.
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

    chosen, because = choice(places, trials, space)
    by_config = {config_key(t.config): t for t in order}
    source = by_config.get(chosen.key)
    scores = {ScoreKind.RERANKED: score(ScoreKind.RERANKED, chosen.losses, metric, interval)}
    if source is not None:
        scores[ScoreKind.SEARCH_BEST] = score(ScoreKind.SEARCH_BEST, [source.loss], metric)
    fresh = fresh_losses(trials, chosen)
    if fresh:
        scores[ScoreKind.FRESH_SEED] = score(ScoreKind.FRESH_SEED, [*fresh.values()], metric, interval)
    compared, improvement = {}, None
    for name, place in others(chosen, places, space.default()).items():
        losses = fresh_losses(trials, place)
        if losses:
            compared[name] = score(ScoreKind.FRESH_SEED, [*losses.values()], metric, interval)
        if name == "default":
            common = [seed for seed in fresh if seed in losses]
            improvement = gain([fresh[s] for s in common], [losses[s] for s in common])
    return Winner(
        source.id if source is not None else order[0].id,
        chosen.config,
        chosen.stop_step,
        metric.name,
        scores,
        compared,
        [_tie(place, gap, by_config) for place, gap in ties_with(chosen, places)],
        because,
        improvement,
        _optimism(scores, metric),
    )


def _tie(place: Standing, gap: Contrast, by_config: dict[str, Trial]) -> Tie:
    source = by_config.get(place.key)
    behind = Gain(gap.mean, *gap.interval(), len(place.losses))
    return Tie(None if source is None else source.id, place.config, behind, place.cost_s)


def _optimism(scores: dict[ScoreKind, Score], metric: Metric) -> float | None:
    search, fresh = scores.get(ScoreKind.SEARCH_BEST), scores.get(ScoreKind.FRESH_SEED)
    if search is None or fresh is None or not fresh.values:
        return None
    return metric.loss(fresh.mean) - metric.loss(search.mean)


def others(chosen: Standing, places: Sequence[Standing], default: Configuration) -> dict[str, Standing]:
    """The standings that the chosen one is compared with on fresh seeds: default and runner-up, where they exist."""
    rivals = [place for place in places if place.key != chosen.key]
    named = {"runner-up": rivals[0]} if rivals else {}
    home = next((place for place in rivals if place.key == config_key(default)), None)
    if home is None:
        return named
    return {"default": home} if rivals[0] is home else {"default": home, **named}
