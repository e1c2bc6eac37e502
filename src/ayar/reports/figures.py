"""Figures as SVG text: pure functions of values. Colours and sizes of type are the style sheet's business.

A mark that belongs to a trial carries its number in ``data-t``, so that the page can light up one trial
everywhere at once. Everything that came from a user is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ayar.reports.scales import Scale, fitted, tick_label

LEVELS = 12
"""How many steps the colour scale has; the style sheet defines the classes ``c0`` ... ``c11``."""

_MOST_POINTS = 60  # per curve; a figure is some 500 dots wide


@dataclass(frozen=True, slots=True)
class Line:
    """One trial's curve. It ends where a value is not finite, with a cross at the upper edge.

    Attributes:
        level: Step of the colour scale; None for a trial without the colouring hyperparameter.
        chosen: Whether it is drawn on top and thick: the winner, or the best so far.
    """

    trial: int
    steps: Sequence[float]
    values: Sequence[float]
    level: int | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One trial in a slice plot.

    Attributes:
        places: Where it stands on the horizontal axis, each in [0, 1]; several for a per-layer hyperparameter.
        value: Its score; NaN for a trial that diverged or failed, which is drawn in a strip of its own.
    """

    trial: int
    places: Sequence[float]
    value: float
    level: int | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Interval:
    """One score with its interval: ``low <= mean <= high``."""

    name: str
    kind: str
    told: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of steps, from ``first`` to ``last``, where a curve shows something that has a name."""

    name: str
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class _Frame:
    """The drawing area inside a picture; all in SVG units, origin at the upper left."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    def x(self, place: float) -> float:
        return self.left + place * (self.width - self.left - self.right)

    def y(self, place: float) -> float:
        return self.height - self.bottom - place * (self.height - self.top - self.bottom)

    def svg(self, label: str, body: Sequence[str], css: str) -> str:
        return (
            f'<svg class="{css}" viewBox="0 0 {self.width} {self.height}" role="img" tabindex="0" '
            f'aria-label="{escape(label)}">{"".join(body)}</svg>'
        )


@dataclass(frozen=True, slots=True)
class Labels:
    """The words of a figure.

    Attributes:
        figure: What the figure shows, for those who cannot see it.
        tick: How a value on the vertical axis is written.
    """

    figure: str
    x: str
    y: str
    tick: Callable[[float], str] = tick_label


def curves(lines: Sequence[Line], x: Scale, y: Scale, labels: Labels) -> str:
    """Curves over steps; what leaves the scale is cut off at its edge."""
    frame = _Frame(width=560, height=340, left=56, right=14, top=44, bottom=46)
    body = [*_y_axis(frame, y, labels), *_x_axis(frame, x, labels.x)]
    body += [_curve(frame, x, y, line) for line in sorted(lines, key=lambda line: line.chosen)]
    return frame.svg(labels.figure, body, "plot curves")


def marked_curve(lines: Sequence[Line], places: Sequence[Place], x: Scale, y: Scale, labels: Labels) -> str:
    """One trial's curve with its places marked above it, the first one shaded; further lines are drawn dashed."""
    rows = 22
    frame = _Frame(
        width=380, height=230 + rows * len(places), left=54, right=12, top=24 + rows * len(places), bottom=42
    )
    body = [*_y_axis(frame, y, labels, most=5), *_x_axis(frame, x, labels.x, most=5)]
    for position, place in enumerate(places):
        start, stop = (frame.x(x.clipped(end)) for end in (place.first, place.last))
        start, stop = (start, stop) if stop - start > 4 else (start - 2, start + 2)
        row, fits = 34 + rows * position, start + 7.6 * len(place.name) < frame.width
        if position == 0:
            body.insert(0, _tag("rect", x=start, y=row, width=stop - start, height=frame.y(0) - row, css="place"))
        body.append(_tag("line", x1=start, x2=stop, y1=row, y2=row, css="bracket"))
        css = "found" if fits else "found end"
        body.append(_tag("text", place.name, x=start if fits else frame.x(1), y=row - 5, css=css))
    body += [_curve(frame, x, y, line, css="" if position == 0 else " beside") for position, line in enumerate(lines)]
    return frame.svg(labels.figure, body, "plot read")


def slices(
    points: Sequence[Point],
    x: Scale | Sequence[str],
    y: Scale,
    labels: Labels,
    joined: Sequence[tuple[float, float]] = (),
) -> str:
    """Score against the value of one hyperparameter, with a strip above for the trials without a score.

    Args:
        points: The trials.
        x: A numeric scale, or the names of the choices, which share the axis evenly (``category_place``).
        y: The scale of the score.
        labels: What is written.
        joined: Places on the horizontal axis with scores, to be joined by a line.
    """
    strip = any(math.isnan(point.value) for point in points)
    frame = _Frame(width=290, height=230, left=54, right=12, top=54 if strip else 34, bottom=42)
    body = [*_y_axis(frame, y, labels, most=5)]
    body += _x_axis(frame, x, labels.x, most=4) if isinstance(x, Scale) else _category_axis(frame, x, labels.x)
    if strip:
        middle = frame.top - 14
        body.append(_tag("rect", x=frame.left, y=middle - 8, width=frame.x(1) - frame.left, height=16, css="strip"))
        body.append(_tag("text", "no score", x=frame.left - 4, y=middle + 4, css="tick end"))
    if joined:
        path = _path([(frame.x(place), frame.y(y.clipped(value))) for place, value in joined], top=-1)
        body.append(f'<path class="front" d="{path}"/>')
    for point in sorted(points, key=lambda point: point.chosen):
        body.append(_point(frame, y, point))
    return frame.svg(labels.figure, body, "plot slice")


def category_place(position: int, count: int, trial: int) -> float:
    """The place of choice ``position`` among ``count`` on a slice's axis, shifted a little by trial.

    The shift is the same each time (golden-ratio steps), so that a page drawn twice is the same page.
    """
    shift = (trial * 0.6180339887) % 1 - 0.5
    return (position + 0.5 + 0.5 * shift) / count


def intervals(rows: Sequence[Interval], *, label: str) -> str:
    """Scores under each other with their intervals on one scale."""
    scale = fitted([end for row in rows for end in (row.low, row.high)], margin=0.05)
    frame = _Frame(width=560, height=44 * len(rows) + 8, left=188, right=14, top=0, bottom=0)
    body = []
    for position, row in enumerate(rows):
        y = 44 * position + 26
        x_low, x_mean, x_high = (frame.x(scale.at(value)) for value in (row.low, row.mean, row.high))
        css = "own" if row.name == "winner" else "other"
        body += [
            _tag("line", x1=frame.left, x2=frame.x(1), y1=y, y2=y, css="grid"),
            _tag("text", row.name, x=0, y=y - 3, css=f"name {css}"),
            _tag("text", row.kind, x=0, y=y + 13, css="tick"),
            _tag("line", x1=x_low, x2=x_high, y1=y, y2=y, css=f"whisker {css}"),
            _tag("circle", cx=x_mean, cy=y, r=5, css=f"mean {css}"),
            _tag("text", row.told, x=min(max(x_mean, 212), 525), y=y - 11, css="tick middle"),
        ]
    return frame.svg(label, body, "plot intervals")


def legend(scale: Scale, *, label: str) -> str:
    """The colour scale with its ticks."""
    frame = _Frame(width=300, height=40, left=10, right=10, top=0, bottom=0)
    wide = (frame.width - frame.left - frame.right) / LEVELS
    body = [
        _tag("rect", x=frame.left + k * wide, y=2, width=wide + 0.5, height=12, css=f"swatch c{k}")
        for k in range(LEVELS)
    ]
    body += [
        _tag("text", tick_label(tick), x=frame.x(scale.clipped(tick)), y=30, css="tick middle")
        for tick in scale.ticks(5)
        if -0.001 <= scale.at(tick) <= 1.001
    ]
    return frame.svg(label, body, "plot legend")


def level(scale: Scale, value: float) -> int:
    """The step of the colour scale for a value."""
    return min(LEVELS - 1, int(scale.clipped(value) * LEVELS))


def thinned(values: Sequence[float], most: int = _MOST_POINTS) -> list[int]:
    """Positions of at most about ``most`` values that keep the ends, peaks and valleys of a curve.

    The curve is cut into equal stretches; each gives its least and its largest value.

    >>> thinned([0, 0, 9, 0, 0, 0, 0, 0], most=4)
    [0, 1, 2, 7]
    """
    count = len(values)
    if count <= most:
        return list(range(count))
    kept = {0, count - 1}
    stretches = max(1, (most - 2) // 2)
    for k in range(stretches):
        inside = range(1 + k * (count - 2) // stretches, 1 + (k + 1) * (count - 2) // stretches)
        kept |= {min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)}
    return sorted(kept)


def _curve(frame: _Frame, x: Scale, y: Scale, line: Line, css: str = "") -> str:
    end = next((k for k, value in enumerate(line.values) if not math.isfinite(value)), len(line.values))
    steps, values = line.steps[:end], line.values[:end]
    places = [(frame.x(x.at(steps[k])), frame.y(y.clipped(values[k]))) for k in thinned(values)]
    css = _css("l", line.level, line.chosen) + css
    marks = ""
    if places:
        path = _path(places, top=frame.y(1))
        halo = f'<path class="halo" d="{path}"/>' if line.chosen else ""
        marks = f'{halo}<path class="{css}" data-t="{line.trial}" d="{path}"/>'
        if line.chosen:
            marks += _tag("circle", cx=places[-1][0], cy=places[-1][1], r=4, css=_css("end-dot", line.level, False))
    if end < len(line.values):
        marks += _cross(frame.x(x.at(line.steps[end])), frame.top - 6, line.trial, line.level)
    return marks


def _path(places: Sequence[tuple[float, float]], top: float) -> str:
    """A line through the places, interrupted where it runs along the upper edge: there it has left the scale.

    A single place becomes a line of no length, which round caps turn into a dot.
    """
    places = [*places, *places] if len(places) == 1 else places
    pieces = []
    for position, (px, py) in enumerate(places):
        outside = position > 0 and py <= top and places[position - 1][1] <= top
        pieces.append(f"{'M' if position == 0 or outside else 'L'}{px:.1f},{py:.1f}")
    return "".join(pieces)


def _point(frame: _Frame, y: Scale, point: Point) -> str:
    xs = [frame.x(place) for place in point.places]
    if math.isnan(point.value):
        return "".join(_cross(px, frame.top - 14, point.trial, point.level) for px in xs)
    py = frame.y(y.clipped(point.value))
    bar = ""
    if len(xs) > 1:
        bar = f'<path class="{_css("tie", point.level, False)}" d="M{min(xs):.1f},{py:.1f}H{max(xs):.1f}"/>'
    css, radius = _css("p", point.level, point.chosen), 5.5 if point.chosen else 3.2
    dots = (f'<circle class="{css}" data-t="{point.trial}" cx="{px:.1f}" cy="{py:.1f}" r="{radius}"/>' for px in xs)
    return bar + "".join(dots)


def _cross(px: float, py: float, trial: int, colour: int | None) -> str:
    css, arm = _css("x", colour, False), 3.5
    strokes = f"M{px - arm:.1f},{py - arm:.1f}l{2 * arm},{2 * arm}m0,{-2 * arm}l{-2 * arm},{2 * arm}"
    return f'<path class="{css}" data-t="{trial}" d="{strokes}"/>'


def _y_axis(frame: _Frame, scale: Scale, labels: Labels, most: int = 6) -> list[str]:
    body = [_tag("text", labels.y, x=2, y=14, css="label")]
    for tick in scale.ticks(most):
        y = frame.y(scale.at(tick))
        body.append(_tag("line", x1=frame.left, x2=frame.x(1), y1=y, y2=y, css="grid"))
        body.append(_tag("text", labels.tick(tick), x=frame.left - 6, y=y + 4, css="tick end"))
    return body


def _x_axis(frame: _Frame, scale: Scale, label: str, most: int = 6) -> list[str]:
    base = frame.y(0)
    body = [_tag("line", x1=frame.left, x2=frame.x(1), y1=base, y2=base, css="axis")]
    for position, tick in enumerate(scale.ticks(most)):
        x = frame.x(scale.at(tick))
        body.append(_tag("line", x1=x, x2=x, y1=base, y2=base + 4, css="axis"))
        body.append(
            _tag("text", tick_label(tick), x=x, y=base + 18, css="tick middle" + (" odd" if position % 2 else ""))
        )
    body.append(_tag("text", label, x=frame.x(1), y=frame.height - 6, css="label end"))
    return body


def _category_axis(frame: _Frame, names: Sequence[str], label: str) -> list[str]:
    base = frame.y(0)
    body = [_tag("line", x1=frame.left, x2=frame.x(1), y1=base, y2=base, css="axis")]
    room = max(3, int(36 / max(1, len(names))))  # characters of a name that find room
    for position, name in enumerate(names):
        short = name if len(name) <= room else name[: room - 1] + "…"
        x = frame.x((position + 0.5) / len(names))
        body.append(_tag("text", short, x=x, y=base + 18, css="tick middle"))
    body.append(_tag("text", label, x=frame.x(1), y=frame.height - 4, css="label end"))
    return body


def _css(kind: str, colour: int | None, chosen: bool) -> str:
    return f"{kind} {'cx' if colour is None else f'c{colour}'}{' chosen' if chosen else ''}"


def _tag(name: str, text: str | None = None, *, css: str = "", **attributes: float | str) -> str:
    told = "".join(
        f' {key}="{f"{value:.1f}" if isinstance(value, float) else escape(str(value))}"'
        for key, value in attributes.items()
    )
    opened = f'<{name} class="{css}"{told}'
    return f"{opened}/>" if text is None else f"{opened}>{escape(text)}</{name}>"
