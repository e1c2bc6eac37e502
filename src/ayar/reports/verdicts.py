"""The curves a report shows with the place marked that speaks for their verdict: one trial for each verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ayar.curves.advice import advise
from ayar.records import Confidence, Trial, Verdict
from ayar.reports import figures, sentences, tables, words
from ayar.reports.scales import Scale, fitted
from ayar.reports.tables import Story

_MOST = 8
_MOST_PLACES = 3
_VALIDATION = "valid_loss"
_BY_THE_GAP = ("overfitting", "underfitting", "broken pipeline")  # what shows beside the validation loss only


@dataclass(frozen=True, slots=True)
class Reading:
    """One trial's curve as it was read.

    Attributes:
        trial: Its number.
        title: Which trial, and its headline.
        drawing: The curve with its places marked, as SVG.
        lines: What is seen, in sentences; then how many other trials show it.
        moves: What to try.
    """

    trial: int
    title: str
    drawing: str
    lines: list[str]
    moves: list[str]


def readings(story: Story) -> list[Reading]:
    """For each headline that was given, the trial that shows it best; the headline most often given comes first."""
    by_name: dict[str, list[Trial]] = {}
    for trial in story.searched:
        found = story.verdicts.get(trial.id, ())
        if found and found[0].evidence and any(math.isfinite(m.loss) for m in trial.curve):
            by_name.setdefault(found[0].name, []).append(trial)
    order = sorted(by_name.items(), key=lambda item: -len(item[1]))
    return [_reading(story, name, trials) for name, trials in order[:_MOST]]


def _reading(story: Story, name: str, trials: Sequence[Trial]) -> Reading:
    trial = min(trials, key=lambda t: (-_confidence(story, t), -t.curve.last_step, t.loss, t.id))
    found = story.verdicts[trial.id]
    others = len(trials) - 1
    lines = [f"{verdict.name.capitalize()} ({verdict.confidence.value}): {verdict.sentence}" for verdict in found]
    if others:
        lines.append(f"{words.plural(others, 'other trial')} {'has' if others == 1 else 'have'} this headline, too.")
    moves = advise(found, trial.config, story.space)
    told = [f"{sentences.advised(move)}{sentences.hit_rate(story, move)}" for move in moves[:2]]
    return Reading(trial.id, f"Trial {trial.id}: {name}", marked(story, trial, found), lines, told)


def _confidence(story: Story, trial: Trial) -> int:
    return list(Confidence).index(story.verdicts[trial.id][0].confidence)


def marked(story: Story, trial: Trial, verdicts: Sequence[Verdict]) -> str:
    """The trial's cost curve as SVG, with the places of its verdicts."""
    read = tables.cost_curve(story, trial)
    name = tables.cost_name(story) if read[0] else None
    curves = [read if name else tables.metric_curve(story, trial)]
    if name and any(verdict.name in _BY_THE_GAP for verdict in verdicts):
        pairs = [(m.step, m.metrics[_VALIDATION]) for m in trial.curve if _VALIDATION in m.metrics]
        curves += [([step for step, _ in pairs], [value for _, value in pairs])] if pairs else []
    label = words.spelled(name or story.metric) + (f", dashed: {words.spelled(_VALIDATION)}" if curves[1:] else "")
    places = [figures.Place(v.name, *v.steps) for v in verdicts if v.evidence][:_MOST_PLACES]
    return drawn(curves, places, label, trial=trial.id)


def drawn(
    curves: Sequence[tuple[Sequence[float], Sequence[float]]],
    places: Sequence[figures.Place],
    label: str,
    *,
    trial: int = 0,
) -> str:
    """Curves as steps and values, the first one read, with places marked; as SVG."""
    finite = [value for _, values in curves for value in values if math.isfinite(value)]
    start = next((value for value in curves[0][1] if math.isfinite(value)), 0.0)
    high = min(max(finite, default=1.0), 10 * start) if start > 0 else max(finite, default=1.0)
    low = min(finite, default=0.0)
    y = fitted([low, high], log=low > 0 and high > 5 * low)
    x = Scale(0, max([1, *(steps[-1] for steps, _ in curves if len(steps))]))
    lines = [figures.Line(trial, steps, values) for steps, values in curves]
    told = ", ".join(f"{place.name} from step {place.first:g} to {place.last:g}" for place in places)
    figure = f"{label} against step" + (f"; {told}" if told else "")
    return figures.marked_curve(lines, places, x, y, figures.Labels(figure, "step", label + (", log" if y.log else "")))
