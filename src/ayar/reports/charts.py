"""Which figures a story needs: what is drawn, on which scales, and the caption that says what was left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ayar.goals import value_of
from ayar.records import Metric, Score, State, Trial
from ayar.reports import figures, tables, words
from ayar.reports.scales import Scale, fitted, tick_label
from ayar.reports.tables import Story
from ayar.space import Choice, Float, Int, PerLayer

_MOST_CURVES = 150
_MOST_POINTS = 400
_FEW = 6  # distinct whole numbers that share an axis as categories
_DECADES = 5  # the most a log scale of curves spans; below that lies noise

_Curves = Callable[[Story, Trial], tuple[list[int], list[float]]]


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure on one or two scales, by name of the scale; the first is shown first."""

    title: str
    drawings: dict[str, str]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Colours:
    """One hyperparameter seen as colour."""

    name: str
    scale: Scale

    def level(self, trial: Trial) -> int | None:
        """The step of the colour scale for a trial; None where it has no number there."""
        value = trial.config.get(self.name, math.nan)
        return figures.level(self.scale, value) if _is_number(value) else None

    def legend(self) -> str:
        """The scale as a picture."""
        return figures.legend(self.scale, label=f"Colour scale: {words.spelled(self.name)}")


def colours(story: Story) -> Colours | None:
    """The learning rate as colour, or else the first hyperparameter on a log scale, or else the first number.

    None where no hyperparameter's numbers differ between the trials.
    """
    varied = {
        name: values
        for name in story.space.names
        if len(set(values := [t.config[name] for t in story.searched if _is_number(t.config.get(name))])) > 1
    }
    names = sorted(varied, key=lambda name: (name != "learning_rate", not _is_log(story, name)))
    if not names:
        return None
    log = _is_log(story, names[0])
    return Colours(names[0], fitted(varied[names[0]], log=log, margin=0))


def cost_charts(story: Story, colour: Colours | None) -> list[Chart]:
    """The cost J and the tuned metric against the step, for the searched trials."""
    trials, metric = drawn(story), words.spelled(story.metric)
    charts = []
    if name := tables.cost_name(story):
        lines = _lines(story, trials, tables.cost_curve, colour)
        charts.append(_curves_chart(lines, f"Cost J ({words.spelled(name)})", "J", falling=True))
    charts.append(
        _curves_chart(
            _lines(story, trials, tables.metric_curve, colour),
            metric.capitalize(),
            metric,
            falling=not story.maximize,
            tick=_tick(story),
            caption=_curves_caption(story),
        )
    )
    return [chart for chart in charts if chart.drawings]


def slice_charts(story: Story, colour: Colours | None) -> list[Chart]:
    """One plot per hyperparameter whose value differs between trials: its value against the best score."""
    shown = placed(story)
    return [chart for name in story.space.names if (chart := _slice_chart(story, shown, name, colour)) is not None]


def front_charts(story: Story, colour: Colours | None) -> list[Chart]:
    """Of several objectives: the first one against each other one, the front joined by a line."""
    return [chart for metric in story.objectives[1:] if (chart := _front_chart(story, metric, colour)) is not None]


def _front_chart(story: Story, other: Metric, colour: Colours | None) -> Chart | None:
    first, on_front = story.objectives[0], {trial.id for trial in story.front}
    pairs = {
        t.id: (t, value_of(t, other.name), value_of(t, first.name))
        for t in placed(story)
        if t.ended or t.id in on_front
    }
    known = [each for each in pairs.values() if all(map(math.isfinite, each[1:]))]
    if not known:
        return None
    x, y = (
        fitted(values, log=_spans(values), margin=0.06) for values in zip(*(each[1:] for each in known), strict=True)
    )
    points = [
        figures.Point(t.id, [x.at(a)], b, colour.level(t) if colour else None, chosen=t.id in on_front)
        for t, a, b in known
    ]
    joined = sorted((x.at(a), b) for t, a, b in known if t.id in on_front) if len(story.objectives) == 2 else []
    names = words.spelled(first.name), words.spelled(other.name)
    labels = figures.Labels(f"{names[0]} against {names[1]}, the front marked", names[1], names[0])
    return Chart(f"{names[0]} against {names[1]}", {"only": figures.slices(points, x, y, labels, joined)})


def _spans(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) > 20 * min(values)


def slice_caption(story: Story) -> str:
    """What the slice plots show."""
    ended = _ended(story)
    better = "higher" if story.maximize else "lower"
    told = f"Each dot is a trial at the best {words.spelled(story.metric)} of its curve; {better} is better."
    if any(not math.isfinite(t.loss) for t in ended):
        told += " Crosses in the strip on top are trials that diverged or failed."
    if len(ended) > _MOST_POINTS:
        told += f" {_MOST_POINTS} of {len(ended):,} trials are drawn: the best and an even sample of the others."
    return told


def score_chart(story: Story) -> str:
    """The winner's scores and what they are compared with, on one scale; empty without a finite score."""
    rows = [_interval(story, name, score) for name, score in _scores(story) if math.isfinite(score.mean)]
    label = f"{words.spelled(story.metric)}: scores with their 95 % intervals"
    return figures.intervals(rows, label=label) if rows else ""


def _scores(story: Story) -> list[tuple[str, Score]]:
    return tables.scores(story.winner) if story.winner is not None else []


def _interval(story: Story, name: str, score: Score) -> figures.Interval:
    low, high = (end if math.isfinite(end) else score.mean for end in story.interval(score))
    return figures.Interval(name, score.kind.value, story.told(score.mean), score.mean, low, high)


def _lines(story: Story, trials: Sequence[Trial], read: _Curves, colour: Colours | None) -> list[figures.Line]:
    best = tables.best(story)
    read_all = [(trial, *read(story, trial)) for trial in trials]
    return [
        figures.Line(trial.id, steps, values, colour.level(trial) if colour else None, chosen=trial is best)
        for trial, steps, values in read_all
        if steps
    ]


def _curves_chart(
    lines: Sequence[figures.Line],
    title: str,
    y_label: str,
    *,
    falling: bool,
    tick: Callable[[float], str] = tick_label,
    caption: str = "",
) -> Chart:
    x = Scale(0, max([1, *(line.steps[-1] for line in lines)]))
    drawings = {
        name: figures.curves(
            lines,
            x,
            y,
            figures.Labels(
                figure=f"{title} against step, {name} scale, {words.plural(len(lines), 'trial')}",
                x="step",
                y=f"{y_label}, {name} scale",
                tick=tick,
            ),
        )
        for name, y in _value_scales(lines, falling=falling).items()
    }
    return Chart(title, drawings, caption)


def _value_scales(lines: Sequence[figures.Line], *, falling: bool) -> dict[str, Scale]:
    """Scales that show the curves of interest: a few that explode do not press the others flat."""
    finite = [value for line in lines for value in line.values if math.isfinite(value)]
    if not finite:
        return {}
    low, high = min(finite), max(finite)
    typical = [
        value
        for line in lines
        if all(math.isfinite(value) for value in line.values)
        for value in (line.values[0], line.values[-1])
    ] or finite
    typical.sort()
    if falling:
        upper = typical[int(0.95 * (len(typical) - 1))]
        high = min(high, upper + 0.2 * (upper - low)) if upper > low else high
    else:
        lower = typical[int(0.05 * (len(typical) - 1))]
        low = max(low, lower - 0.2 * (high - lower)) if lower < high else low
    scales = {"linear": fitted([low, high])}
    positive = [value for value in finite if 0 < value <= high]
    if falling and low >= 0 and positive and high > 3 * min(positive):
        floor = max(min(positive), high / 10**_DECADES)
        return {"log": fitted([floor, high], log=True), **scales}
    return scales


def _slice_chart(story: Story, trials: Sequence[Trial], name: str, colour: Colours | None) -> Chart | None:
    values = [trial.config[name] for trial in trials if name in trial.config]
    flat = [each for value in values for each in _several(value)]
    if len({repr(value) for value in values}) < 2:
        return None
    continuous = _is_continuous(story, name, flat)
    x = fitted(flat, log=_is_log(story, name)) if continuous else _categories(story, name, flat)
    best = tables.best(story)
    points = [
        figures.Point(
            trial.id,
            [_place(x, each, trial) for each in _several(trial.config[name])],
            story.score_of(trial),
            colour.level(trial) if colour else None,
            chosen=best is not None and trial.id == best.id,
        )
        for trial in trials
        if name in trial.config and _several(trial.config[name])
    ]
    drawing = figures.slices(
        points,
        x,
        _score_scale(story, [point.value for point in points]),
        figures.Labels(
            figure=f"{words.spelled(story.metric)} against {words.spelled(name)}",
            x="log scale" if isinstance(x, Scale) and x.log else "",
            y=words.spelled(story.metric),
            tick=_tick(story),
        ),
    )
    return Chart(words.spelled(name), {"only": drawing})


def _tick(story: Story) -> Callable[[float], str]:
    return (lambda value: f"{words.number(100 * value, 3)} %") if story.in_percent else tick_label


def _is_continuous(story: Story, name: str, values: Sequence[Any]) -> bool:
    """Whether values stand on a numeric scale; a few whole numbers read better as categories."""
    if _choices(story, name) or not all(_is_number(value) for value in values):
        return False
    return len(set(values)) > _FEW or not all(isinstance(value, int) for value in values)


def _score_scale(story: Story, scores: Iterable[float]) -> Scale:
    finite = [score for score in scores if math.isfinite(score)]
    log = not story.maximize and bool(finite) and min(finite) > 0 and max(finite) > 4 * min(finite)
    return fitted(finite, log=log, margin=0.06)


def _place(x: Scale | list[str], value: Any, trial: Trial) -> float:
    if isinstance(x, Scale):
        return x.clipped(value)
    return figures.category_place(x.index(words.setting(value)), len(x), trial.id)


def _categories(story: Story, name: str, values: Sequence[Any]) -> list[str]:
    """The values that occur as names: in the order of the choices, numbers rising, unknown ones after them."""
    declared = [words.setting(value) for value in _choices(story, name)]
    if all(_is_number(value) for value in values):
        values = sorted(values)
    seen = list(dict.fromkeys(words.setting(value) for value in values))
    return [v for v in declared if v in seen] + [v for v in seen if v not in declared]


def drawn(story: Story) -> list[Trial]:
    """The trials whose curves are drawn: the best, the most telling, and an even sample of the others."""
    return _spread([trial for trial in story.searched if len(trial.curve)], _MOST_CURVES, always=_important(story))


def placed(story: Story) -> list[Trial]:
    """The trials that stand in the slice plots, those that diverged or failed among them."""
    return _spread(_ended(story), _MOST_POINTS, always=_important(story))


def _ended(story: Story) -> list[Trial]:
    return [t for t in story.searched if math.isfinite(t.loss) or t.state in (State.DIVERGED, State.FAILED)]


def _curves_caption(story: Story) -> str:
    known = sum(len(trial.curve) > 0 for trial in story.searched)
    told = f"{words.plural(known, 'curve')}."
    if known > _MOST_CURVES:
        told = f"{_MOST_CURVES} of {known:,} curves are drawn: the best, the most telling, and an even sample."
    if any(trial.diverged for trial in drawn(story)):
        told += " A cross at the upper edge marks the step at which a trial diverged."
    return told


def _important(story: Story) -> list[int]:
    """Trials that are drawn however many there are."""
    return [*tables.telling(story), *(trial.id for trial in (*story.ranked[:20], *story.front))]


def _spread(trials: Sequence[Trial], most: int, always: Sequence[int]) -> list[Trial]:
    """At most ``most`` trials: those in ``always`` and an even sample of the rest, in their order."""
    if len(trials) <= most:
        return list(trials)
    kept = set(always)
    rest = [trial.id for trial in trials if trial.id not in kept]
    room = most - len(trials) + len(rest)
    kept |= {rest[k * len(rest) // room] for k in range(room)}
    return [trial for trial in trials if trial.id in kept]


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _element(story: Story, name: str) -> Any:
    """What the space says of a hyperparameter; of one layer's value where it has one for each layer."""
    hyperparameter = story.space[name]
    return hyperparameter.element if isinstance(hyperparameter, PerLayer) else hyperparameter


def _is_log(story: Story, name: str) -> bool:
    element = _element(story, name)
    return isinstance(element, (Float, Int)) and element.log


def _choices(story: Story, name: str) -> Sequence[Any]:
    element = _element(story, name)
    return element.choices if isinstance(element, Choice) else ()
