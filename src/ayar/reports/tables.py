"""What a report tells: the story of one study, and its rows for people, for CSV and for JSON."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from ayar.goals import Constraint, value_of
from ayar.intuition.findings import Finding
from ayar.lineage import schedule_of
from ayar.recheck.history import Event
from ayar.records import Advice, Leg, Metric, Score, ScoreKind, State, Trial, Verdict, Winner
from ayar.reports import words
from ayar.seeds import Purpose

if TYPE_CHECKING:
    from ayar.space import Space

_COST_NAMES = ("train_probe", "train_loss", "training_loss", "loss")
_ENOUGH = 20  # trials that show which metrics an objective yields
_TEACHING = (
    "diverging",
    "diverged",
    "too slow",
    "overfitting",
    "fast but ends higher",
    "needs more iterations",
    "too high",
)
_SILENT = ("no clear fault", "")
_CHOSEN_BY_SEARCH = (Purpose.SEARCH, Purpose.ATTEMPT)


@dataclass(frozen=True)
class Story:
    """Everything a report needs to know about one study.

    Attributes:
        metric: Name of the metric that is tuned, as the objective yields it.
        maximize: Whether more of it is better. All scores are told in the metric's own sign.
        unread: The losses of the searched trials that are not among ``trials``: a large study is told by a few.
        verdicts: By trial number, the headline first.
        advice: What to do next, in words or as an ``Advice``.
        tried: By rule of advice, how often its moves helped and how often they were tried.
        findings: What the trials show together.
        parameters: One row per W[l] and b[l] of the winner: ``name``, ``shape``, ``count``, ``bytes``,
            ``initialisation``, ``decided_by``. Empty where they are unknown.
        environment: Groups of the fingerprint: ``{"software": {"python": "3.12", ...}, ...}``.
        notes: The record of special events, test openings among them: ``time``, ``purpose``, ``count``, ``reason``.
        history: What became of the winners: confirmed, rechecked, replaced; oldest first.
        facts: What is known of the data: rows, columns, classes, split hash.
        percent: Whether the metric reads best in percent; None lets its name and values decide.
        store: Where the ledger lies.
        report: Where the report lies.
        objectives: What is made good at once, where it is more than one metric.
        constraints: Limits that a configuration has to keep.
        front: Of several objectives: the trials that no other one beats in all of them.
    """

    name: str
    metric: str
    horizon: int
    space: Space
    trials: tuple[Trial, ...] = ()
    maximize: bool = False
    winner: Winner | None = None
    verdicts: Mapping[int, tuple[Verdict, ...]] = field(default_factory=dict)
    advice: Sequence[Advice | str] = ()
    tried: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    parameters: Sequence[Mapping[str, Any]] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[Mapping[str, Any]] = ()
    history: Sequence[Event] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    percent: bool | None = None
    store: str | None = None
    report: str | None = None
    objectives: tuple[Metric, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    front: tuple[Trial, ...] = ()
    unread: Sequence[float] = ()

    @cached_property
    def searched(self) -> tuple[Trial, ...]:
        """The trials that the search and a person's attempts made; those on confirmation seeds are left out."""
        return tuple(trial for trial in self.trials if trial.purpose in _CHOSEN_BY_SEARCH)

    @cached_property
    def best_first(self) -> tuple[Trial, ...]:
        """All trials, the best first, those without a score last."""
        return tuple(sorted(self.trials, key=lambda trial: (trial.loss, trial.id)))

    @cached_property
    def ranked(self) -> tuple[Trial, ...]:
        """The searched trials with a finite score, best first."""
        return tuple(t for t in self.best_first if t.purpose in _CHOSEN_BY_SEARCH and math.isfinite(t.loss))

    @cached_property
    def in_percent(self) -> bool:
        """Whether scores are told in percent."""
        if self.percent is not None:
            return self.percent
        sign = -1 if self.maximize else 1
        scores = [self.score_of(trial) for trial in self.trials] + [sign * loss for loss in self.unread]
        return words.is_share(self.metric, scores)

    @property
    def scored(self) -> int:
        """How many searched trials have a finite score, those that were not read among them."""
        return len(self.ranked) + len(self.unread)

    @cached_property
    def states(self) -> dict[State, int]:
        """How many trials stand where, in the order of a trial's life."""
        count = Counter(trial.state for trial in self.trials)
        return {state: count[state] for state in State if count[state]}

    @property
    def steps(self) -> int:
        """Steps of training in all trials."""
        return sum(max(trial.curve.last_step - trial.fork_step, 0) for trial in self.trials)

    @property
    def cost_s(self) -> float:
        """Seconds of training in all trials."""
        return math.fsum(trial.cost_s for trial in self.trials)

    def score_of(self, trial: Trial) -> float:
        """A trial's best score in the metric's own sign; NaN where it has none."""
        if not math.isfinite(trial.loss):
            return math.nan
        return -trial.loss if self.maximize else trial.loss

    def told(self, value: float) -> str:
        """A score in words: percent where that reads best."""
        return words.percent(value) if self.in_percent else words.number(value)

    def difference(self, value: float) -> str:
        """A difference of two scores in words: points, hundredths of a share, where scores are told in percent."""
        return f"{words.number(100 * value, 3)} points" if self.in_percent else words.number(value, 3)

    def interval(self, score: Score) -> tuple[float, float]:
        """The ends of a score's interval; of a share within 0 and 1, for no error lies beyond."""
        if self.in_percent:
            return max(score.low, 0.0), min(score.high, 1.0)
        return score.low, score.high

    def headline(self, trial: Trial) -> str:
        """The first verdict on a trial, or what stopped it; empty where nobody judged it."""
        verdicts = self.verdicts.get(trial.id, ())
        if verdicts:
            return verdicts[0].name
        return trial.state.value if trial.state in (State.DIVERGED, State.FAILED) else ""

    def trial(self, number: int) -> Trial:
        """The trial with this number; KeyError without one."""
        return self._by_id[number]

    @cached_property
    def _by_id(self) -> dict[int, Trial]:
        return {trial.id: trial for trial in self.trials}


def scores(winner: Winner) -> list[tuple[str, Score]]:
    """The winner's scores and those it is compared with, each under its name; the most trustworthy first."""
    kinds = (ScoreKind.FRESH_SEED, ScoreKind.TEST, ScoreKind.RERANKED, ScoreKind.SEARCH_BEST)
    own = [("winner", winner.scores[kind]) for kind in kinds if kind in winner.scores]
    return own + list(winner.compared.items())


def metric_curve(story: Story, trial: Trial) -> tuple[list[int], list[float]]:
    """Steps and values of the tuned metric in its own sign; the loss stands in where it was not recorded."""
    sign = -1 if story.maximize else 1
    pairs = [(m.step, float(m.metrics.get(story.metric, sign * m.loss))) for m in trial.curve]
    return [step for step, _ in pairs], [value for _, value in pairs]


def cost_name(story: Story) -> str | None:
    """The metric that stands for the cost J on training data; None where none was recorded."""
    ends = islice((trial.curve.measurements[-1] for trial in story.searched if len(trial.curve)), _ENOUGH)
    seen = {name for measurement in ends for name in measurement.metrics} - {story.metric}
    losses = sorted(name for name in seen if name.endswith("loss"))
    return next((name for name in (*_COST_NAMES, *losses) if name in seen), None)


def cost_curve(story: Story, trial: Trial) -> tuple[list[int], list[float]]:
    """Steps and values of the cost J; empty where it was not recorded."""
    name = cost_name(story)
    pairs = [(m.step, float(m.metrics[name])) for m in trial.curve if name in m.metrics] if name else []
    return [step for step, _ in pairs], [value for _, value in pairs]


def worth_reading(trials: Sequence[Trial], most: int) -> list[Trial]:
    """At most ``most`` of them, by number: half are the best of the search, half lie evenly among the others."""
    if len(trials) <= most:
        return list(trials)
    searched = [t for t in trials if t.purpose in _CHOSEN_BY_SEARCH]
    best = heapq.nsmallest(most // 2, searched, key=lambda t: (t.loss, t.id))
    others = [trials[number * len(trials) // (most - len(best))] for number in range(most - len(best))]
    return sorted({t.id: t for t in (*best, *others)}.values(), key=lambda t: t.id)


def telling(story: Story, most: int = 3) -> list[int]:
    """Numbers of the trials whose curves teach most: the best, one that diverges, one that is slow or overfits.

    Where the study has no such trial, one with another verdict takes its place, and at last the next best.
    """

    def teaches(trial: Trial) -> tuple[int, int]:
        headline = story.headline(trial)
        place = _TEACHING.index(headline) if headline in _TEACHING else len(_TEACHING)
        return place + (headline in _SILENT), -trial.curve.last_step  # of two alike, the longer curve

    leader = best(story)
    chosen = [] if leader is None else [leader]
    judged = (trial for trial in story.searched if trial.id in story.verdicts or not story.verdicts)
    readable = [trial for trial in judged if len(trial.curve) > 1 and trial.error is None]
    readable.sort(key=teaches)
    for trial in readable:
        if story.headline(trial) not in {story.headline(other) for other in chosen}:
            chosen.append(trial)
    chosen += [trial for trial in story.ranked if trial not in chosen]
    return [trial.id for trial in chosen[:most]]


def best(story: Story) -> Trial | None:
    """The winner's trial, or the best so far; None where nothing has a score."""
    if story.winner is not None and story.winner.trial in {trial.id for trial in story.trials}:
        return story.trial(story.winner.trial)
    return story.ranked[0] if story.ranked else None


def schedule(story: Story, number: int) -> tuple[Leg, ...]:
    """The configurations that a trial's state was trained with before its own; empty for most trials."""
    return schedule_of(story.trial(number), story.trial) if number in {trial.id for trial in story.trials} else ()


def configuration_rows(story: Story, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A configuration as names and values, in the order of the space."""
    order = [name for name in story.space.names if name in config]
    return [(name, words.setting(config[name])) for name in order + [n for n in config if n not in order]]


def fixed(story: Story) -> list[tuple[str, str]]:
    """The hyperparameters that have one and the same value in every searched trial, with that value."""
    seen = {name: {repr(t.config.get(name)) for t in story.searched} for name in story.space.names}
    shared = [name for name in story.space.names if len(seen[name]) == 1 and name in story.searched[0].config]
    return configuration_rows(story, {name: story.searched[0].config[name] for name in shared})


def trial_rows(story: Story) -> list[dict[str, Any]]:
    """One flat, JSON-safe row per trial, for programs: what cannot be a JSON number (NaN, infinity) is None.

    Why a trial failed stands in ``error``, or in ``failure`` where the study's metric is called ``error``.
    """
    why = "failure" if story.metric == "error" else "error"
    return [
        {
            "trial": trial.id,
            "state": trial.state.value,
            "purpose": trial.purpose.value,
            "seed": trial.seed,
            "parent": trial.parent,
            "steps": trial.curve.last_step,
            story.metric: json_safe(story.score_of(trial)),
            "cost_s": json_safe(trial.cost_s),
            "verdict": story.headline(trial) or None,
            why: trial.error,
            **{f"config.{name}": json_safe(value) for name, value in trial.config.items()},
        }
        for trial in story.trials
    ]


def trial_details(story: Story, number: int) -> dict[str, Any]:
    """The curve and the verdicts of one trial, JSON-safe."""
    curve = [{"step": m.step, "cost_s": m.cost_s, "loss": m.loss, **dict(m.metrics)} for m in story.trial(number).curve]
    verdicts = [asdict(verdict) for verdict in story.verdicts.get(number, ())]
    return {"curve": json_safe(curve), "verdicts": json_safe(verdicts)}


def winner_row(story: Story) -> dict[str, Any] | None:
    """The winner with its scores by kind, JSON-safe; None before there is one."""
    winner = story.winner
    if winner is None:
        return None
    row = {
        "trial": winner.trial,
        "config": winner.config,
        "stop_step": winner.stop_step,
        "schedule": [asdict(leg) for leg in schedule(story, winner.trial)],
        "metric": winner.metric,
        "scores": {kind.value: asdict(score) for kind, score in winner.scores.items()},
        "compared": {name: asdict(score) for name, score in winner.compared.items()},
        "tied": winner.tied,
        "ties": [asdict(tie) for tie in winner.ties],
        "because": winner.because,
        "improvement": None
        if winner.improvement is None
        else {**asdict(winner.improvement), "significant": winner.improvement.significant},
        "optimism": winner.optimism,
        "test_openings": list(story.notes),
    }
    return dict(json_safe(row))


def json_safe(value: Any) -> Any:
    """The same value in JSON's words: non-finite numbers become None, NumPy scalars plain ones.

    >>> json_safe({"loss": float("nan"), "units": (64, 32)})
    {'loss': None, 'units': [64, 32]}
    """
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_safe(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_safe(each) for each in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value)


def front_rows(story: Story) -> tuple[list[str], list[list[str]]]:
    """Of several objectives: the head and the rows of their front, each trial with what they came to and its values."""
    head = ["trial", *(words.spelled(metric.name) for metric in story.objectives)]
    same = dict(fixed(story))
    rows = []
    for trial in story.front:
        values = [words.number(value_of(trial, metric.name), 4) for metric in story.objectives]
        settings = words.configuration({name: value for name, value in trial.config.items() if name not in same})
        rows.append([str(trial.id), *values, settings])
    return [*head, "configuration"], rows
