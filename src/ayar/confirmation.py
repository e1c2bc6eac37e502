"""What to train after a search: how large a share of the budget, which candidates, and which seed of which next.

Re-ranking is a contest for trainings. Each candidate gets two seeds; the rest goes, in a few rounds, to those that
may still be the best (optimal computing budget allocation: Chen et al., 2000, "Simulation Budget Allocation for
Further Enhancing the Efficiency of Ordinal Optimization"). All pure functions of trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ayar.records import Configuration, Trial, config_key
from ayar.seeds import Purpose, number_of, trial_seed
from ayar.space import Space
from ayar.stats import pooled_sd
from ayar.winner import Standing, choice, others, ranked, standings, ties_with

AUTO = "auto"
USUAL_SHARE, MOST_SHARE = 0.3, 0.5
SHARE_BY_LUCK = 0.2  # for each standard deviation of luck beyond the first; fitted with benchmarks/honesty
PROBED = 3  # leaders
LEADERS, FEWEST_LEADERS = 10, 3
ROUNDS = 5  # of allocation; more gain next to nothing, fewer keep fewer workers waiting
FIRST_SEEDS = 2
_PRIOR_FREEDOM = 4.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a confirmation spends its trainings.

    Attributes:
        candidates: Search trials to re-rank, beside the default.
        rerank: Trainings for re-ranking, the default's included.
        finalists: How many are trained on further seeds: 1 the chosen one, 2 with the default, 3 with the runner-up.
        finalise: Further fresh seeds for each of them.
        folds: Seeds that stand for the folds of one cross-validation; 0 where seeds stand for themselves.
    """

    candidates: tuple[int, ...]
    rerank: int
    finalists: int
    finalise: int
    folds: int = 0

    def rounds(self, workers: int) -> int:
        """Trainings that follow one another when ``workers`` train at a time; the default's included."""
        return math.ceil(self.rerank / workers) + math.ceil(self.finalists * self.finalise / workers)


# (trainings in all, finalists, seeds for each), richest first. Ten readings are the fewest whose interval holds for
# losses with a long tail, and five the fewest that support a comparison.
_FINALES = ((100, 3, 10), (60, 2, 10), (22, 2, 7), (16, 2, 5), (12, 2, 3), (0, 1, 3))
_MOST_RERANK = 200
_MOST_TRAININGS = _MOST_RERANK + 30
_MOST_CANDIDATES = 20
_FOR_EACH_CANDIDATE = 4  # trainings of re-ranking; with fewer candidates a good one is missed, with more it is lost


def training_cost_s(trials: Sequence[Trial], horizon: int) -> float:
    """Seconds that a whole training of a leading candidate takes, as far as the search has measured it."""
    leaders = [t for t in ranked(trials)[:LEADERS] if t.curve.last_step > 0]
    step_s = [t.curve.cost_s / (t.curve.last_step - t.fork_step) for t in leaders]
    return math.fsum(step_s) / max(len(leaders), 1) * horizon


def plan_confirmation(
    trials: Sequence[Trial],
    rounds: float,
    workers: int,
    folds: int = 0,
    default: Configuration | None = None,
    expected: Trial | None = None,
) -> Plan:
    """The richest plan that takes at most ``rounds`` trainings one after the other; the poorest where none does.

    Candidates are those with the least losses; ``expected``, which the searcher expects to end best, takes the last
    one's place where it is none of them: it may be far from its end. What was spent on probing leaders that lead no
    more is taken off the re-ranking; ``default`` is never one of them.
    """
    total = rounds * workers
    each = max(_FOR_EACH_CANDIDATE, folds)
    for least, finalists, seeds in _FINALES:
        if total < least:
            continue
        finalise = folds or seeds
        for_finale = math.ceil(finalists * finalise / workers)
        rerank = min(math.floor(rounds - for_finale) * workers, _MOST_RERANK)
        count = min(rerank // each - (1 if folds else 0), _MOST_CANDIDATES)
        if count >= 2:
            break
    order = ranked(trials)
    count = min(max(count, 1), len(order))
    candidates = order[:count]
    if expected is not None and count > 1 and all(t.config != expected.config for t in candidates):
        candidates[-1] = expected
    used = {config_key(t.config) for t in candidates} | ({config_key(default)} if default is not None else set())
    spent = sum(t.purpose is Purpose.RERANK and config_key(t.config) not in used for t in trials)
    rerank -= min(spent, PROBED * FIRST_SEEDS)
    least = (count + 1) * max(folds, 1)
    return Plan(tuple(t.id for t in candidates), max(rerank, least), finalists, finalise, folds)


def luck(trials: Sequence[Trial]) -> float | None:
    """By how much the search's readings flatter its leaders, in standard deviations; None before fresh seeds told.

    The leaders' fresh means minus the losses that made them leaders: what noise adds to merit when many are tried. The
    unit is the standard deviation of a run or that of the leaders' readings, whichever is larger. So noise that the
    leaders' distances dwarf is no luck, nor is noise that seldom makes a bad configuration look good, such as
    that of a loss with a long tail upwards.
    """
    read = {config_key(t.config): t.loss for t in ranked(trials)[:LEADERS]}
    places = [place for place in standings(trials) if math.isfinite(place.mean)]
    flattered = [place.mean - read[place.key] for place in places if place.key in read]
    noise = pooled_sd([place.losses for place in places])
    if noise is None or not flattered or len(read) < FEWEST_LEADERS:
        return None
    unit = max(noise, float(np.std([*read.values()], ddof=1)))
    return math.fsum(flattered) / len(flattered) / unit if unit else 0.0


def share_by_luck(trials: Sequence[Trial], total: float) -> float | None:
    """Share of a budget of ``total`` trainings that confirmation deserves; None before anything tells.

    The usual share where luck is up to one standard deviation, as a smaller one gains nothing (``benchmarks/honesty``);
    more, up to half, where it is more. Never more than a confirmation can use.
    """
    seen = luck(trials)
    if seen is None:
        return None
    share = USUAL_SHARE + SHARE_BY_LUCK * (seen - 1)
    return min(max(share, USUAL_SHARE), MOST_SHARE, _MOST_TRAININGS / total)


Training = tuple[Configuration, int, Purpose, int]
"""What to train outside the search: configuration, seed, purpose, last step."""


def confirm(
    plan: Plan,
    space: Space,
    study_seed: int,
    horizon: int,
    trials: Callable[[], Sequence[Trial]],
    train: Callable[[Sequence[Training], str], bool],
    *,
    at_least: int = 1,
    fit: Callable[[Sequence[Trial]], Sequence[Trial]] = lambda trials: trials,
) -> None:
    """Re-rank the candidates beside the default on common fresh seeds; finalise the leaders on further ones.

    Args:
        plan: What may be spent, on whom.
        space: The study's.
        study_seed: What seeds derive from.
        horizon: The largest step.
        trials: Gives all trials so far.
        train: Trains, with the name of the phase; False where it was told to stop.
        at_least: Trainings that can go on at a time.
        fit: Those of the trials whose configurations may win.
    """
    default = space.default()
    while more := next_rerank(known := trials(), plan, default, study_seed, at_least, fit(known)):
        wanted = [(c, trial_seed(study_seed, Purpose.RERANK, n), Purpose.RERANK, horizon) for c, n in more]
        if not train(wanted, "re-rank"):
            return
    places = standings(fit(trials()))
    if not places or not math.isfinite(places[0].mean):
        return
    chosen, _ = choice(places, fit(trials()), space)
    finalists = [chosen, *others(chosen, places, default).values()][: plan.finalists]
    seeds = [trial_seed(study_seed, Purpose.FINALISE, n) for n in range(plan.finalise)]
    train([(p.config, seed, Purpose.FINALISE, p.stop_step) for seed in seeds for p in finalists], "finalise")


def probes(trials: Sequence[Trial], default: Configuration) -> list[tuple[Configuration, int]]:
    """What to train, before the search is over, to measure luck: the default and a few leaders, for re-ranking.

    Like all functions here that say what to train: configurations with the number of the seed in its stream.
    """
    leaders = [t.config for t in ranked(trials)[:PROBED] if config_key(t.config) != config_key(default)]
    return [(config, number) for number in range(FIRST_SEEDS) for config in [default, *leaders]]


def next_rerank(
    trials: Sequence[Trial],
    plan: Plan,
    default: Configuration,
    study_seed: int,
    at_least: int = 1,
    fit: Sequence[Trial] | None = None,
) -> list[tuple[Configuration, int]]:
    """The next trainings of the re-ranking: the first seeds of all, or a round for the contenders; none at its end.

    Args:
        trials: All trials so far.
        plan: What may be spent, on whom.
        default: The space's default, which is always held against.
        study_seed: What seeds derive from.
        at_least: Trainings that can go on at a time; a round is no smaller.
        fit: Those of the trials whose configurations may win; all where None.
    """
    fit = trials if fit is None else fit
    unfit = set() if fit is trials else {config_key(t.config) for t in trials} - {config_key(t.config) for t in fit}
    by_id = {t.id: t.config for t in trials}
    wanted = [*(by_id[i] for i in plan.candidates), default]
    configs = {config_key(c): c for c in wanted if config_key(c) not in unfit}
    if not configs:
        return []
    used: dict[str, set[int]] = {key: set() for key in configs}
    for t in trials:
        if t.purpose is Purpose.RERANK and (t.ended or t.error is not None) and (key := config_key(t.config)) in used:
            used[key].add(number_of(study_seed, t.seed))
    first = min(FIRST_SEEDS, max(plan.rerank // len(configs), 1))
    opening = [(c, n) for n in range(first) for key, c in configs.items() if n not in used[key]]
    if opening:
        return opening
    places = [p for p in standings(fit) if p.key in configs and math.isfinite(p.mean)]
    left = plan.rerank - sum(map(len, used.values()))
    if plan.folds:
        given = racing(places, plan.folds)
    elif left <= 0 or len(places) < 2 or not ties_with(places[0], places):
        return []  # used up, or the best is told from all others
    else:
        size = max(math.ceil((plan.rerank - first * len(configs)) / ROUNDS), at_least)
        given = allocate(places, min(size, left))
    more = []
    for place, count in given:
        free = (n for n in range(len(used[place.key]) + count) if n not in used[place.key])
        more += [(place.config, n) for _, n in zip(range(count), free, strict=False)]
    return more


def racing(places: Sequence[Standing], folds: int) -> list[tuple[Standing, int]]:
    """All folds for the incumbent, then one more for each configuration in the race, until all folds are run.

    The forgiving rule (Bergman et al., 2024, "Don't Waste Your Time: Early Stopping Cross-Validation"): a
    configuration drops out once its mean so far is worse than the incumbent's worst fold.
    """
    if not places:
        return []
    incumbent = min(places, key=lambda p: (-len(p.losses), p.mean))
    if len(incumbent.losses) < folds:
        return [(incumbent, folds - len(incumbent.losses))]
    worst = max(incumbent.losses)
    return [(p, 1) for p in places if len(p.losses) < folds and p.mean <= worst]


def allocate(places: Sequence[Standing], count: int) -> list[tuple[Standing, int]]:
    """How ``count`` trainings are shared among contenders with at least one finite reading each, best first.

    Optimal computing budget allocation: a rival's seeds grow with (its spread / its distance from the best) squared,
    the best's with the root of the sum of the rivals' squares.
    """
    n = np.array([len(p.losses) for p in places], dtype=float)
    means = np.array([p.mean for p in places])
    own = np.array([np.var(p.losses, ddof=1) if len(p.losses) > 1 else 0.0 for p in places])
    pooled = (pooled_sd([p.losses for p in places]) or 0.0) ** 2
    variance = (_PRIOR_FREEDOM * pooled + (n - 1) * own) / (_PRIOR_FREEDOM + n - 1)
    # A gap far below the noise says nothing yet, and would draw everything to one pair.
    gap = np.maximum(means - means.min(), 0.05 * math.sqrt(pooled))
    if pooled == 0 or len(places) < 2:
        weights = np.ones(len(places))
    else:
        best = int(np.argmin(means))
        weights = variance / gap**2
        rivals = np.arange(len(places)) != best
        weights[best] = math.sqrt(variance[best] * float((weights[rivals] ** 2 / variance[rivals]).sum()))
    target = weights / weights.sum() * (n.sum() + count)
    more = np.zeros(len(places), dtype=int)
    for _ in range(count):
        more[int(np.argmax(target - n - more))] += 1
    return [(place, int(extra)) for place, extra in zip(places, more, strict=True) if extra]
