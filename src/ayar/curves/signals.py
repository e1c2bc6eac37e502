"""Numbers that describe the shape of one cost curve, whatever its unit.

Every signal is a ratio of differences of the loss, so a loss times a positive constant, or plus one, has the same
signals. A curve is first thinned to about 100 points, because its total variation grows with their number; what
a shorter curve would have at 100 points is extrapolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

POINTS = 101
"""A curve is read at this many evenly spaced steps, at most."""

RESOLUTION = 1e-5
"""A loss that moves by less than this share of its size moves no more than single precision's rounding."""


@dataclass(frozen=True, slots=True)
class Signals:
    """The shape of one curve. ``fall`` below is the loss at its first step less the least smoothed loss.

    Only ``nonfinite_step`` looks at the whole curve; the rest describes the part before it.

    Attributes:
        points: Finite points that were read, after thinning.
        steps: First and last of their steps.
        nonfinite_step: The first step whose value is infinite or NaN; None without one.
        moved: Whether the loss moved by more than rounding.
        gain_end: Share of the net fall gained in the last tenth of the steps; 0 without a net fall.
        gain_end_z: That gain in standard errors.
        drawdown: Worst rise above the best value so far, as a share of the fall; infinite if it only rose. A spike
            that is the only one does not count, here and in ``tvr``.
        drawdown_steps: Where that rise begins and where it is worst.
        swing: Worst rise above the best value so far within the last quarter of the steps, as a share of the fall.
        regress: What was lost again at the end, as a share of the fall; from 1 on it ends no lower than it began.
        tvr: Total variation over net change, at 100 points: 1 is monotone, 3 goes up and down a lot.
        t90: Share of the steps after which nine tenths of the net fall were reached; 1 if it did not fall.
        noise: Spread of neighbouring points in the last fifth, as a share of the fall.
        span: Largest less least value over the first one, of a loss that is nowhere negative; infinite of any other.
        left: ``end`` over the first value, of a loss that is nowhere negative; 1 of any other.
        end: Median of the last tenth, in the unit of the loss.
        end_error: Standard error of ``end``, in the unit of the loss.
        spikes: Steps at which the loss jumped and soon came back.
    """

    points: int = 0
    steps: tuple[int, int] = (0, 0)
    nonfinite_step: int | None = None
    moved: bool = False
    gain_end: float = 0.0
    gain_end_z: float = 0.0
    drawdown: float = 0.0
    drawdown_steps: tuple[int, int] = (0, 0)
    swing: float = 0.0
    regress: float = 0.0
    tvr: float = 1.0
    t90: float = 1.0
    noise: float = 0.0
    span: float = math.inf
    left: float = 1.0
    end: float = math.nan
    end_error: float = 0.0
    spikes: tuple[int, ...] = ()


def signals(steps: np.ndarray, values: np.ndarray) -> Signals:
    """The signals of a curve given by rising ``steps`` and its ``values``, both ``(n,)``; any n, any values.

    >>> falling = signals(np.arange(101), 0.9 ** np.arange(101))
    >>> round(falling.t90, 2), falling.drawdown, round(falling.tvr, 2)
    (0.24, 0.0, 1.0)
    """
    bad = np.flatnonzero(~np.isfinite(values))
    nonfinite_step = int(steps[bad[0]]) if len(bad) else None
    finite = bad[0] if len(bad) else len(values)
    steps, values = thin(steps[:finite], values[:finite])
    n = len(values)
    if n == 0:
        return Signals(nonfinite_step=nonfinite_step)

    scale = float(np.abs(values).max()) or 1.0  # differences of huge losses would overflow without it
    y = values / scale
    smooth = trailing_median(y, max(3, n // 20))
    tenth = min(max(3, n // 10), max(1, n // 2))
    end, before = float(np.median(y[-tenth:])), float(np.median(y[-2 * tenth : -tenth] if n > 1 else y))
    fall, net = float(y[0] - smooth.min()), float(y[0] - end)
    is_level = y.min() >= 0 and y[0] > 1e-9
    error, noise = _median_error(y[-2 * tenth :], tenth), _noise(y[-max(3, n // 5) :])
    jumps = _jumps(y, max(6 * noise, 0.05 * fall))
    calm = _without(y, jumps)

    above = calm - np.minimum.accumulate(calm)
    worst = int(np.argmax(above))
    best = int(np.argmin(calm[: worst + 1]))
    detour = max(0.0, float(np.abs(np.diff(calm)).sum()) - abs(float(calm[0] - calm[-1])))
    reached = np.flatnonzero(smooth <= y[0] - 0.9 * net) if net > 0 else np.array([], dtype=int)
    return Signals(
        points=n,
        steps=(int(steps[0]), int(steps[-1])),
        nonfinite_step=nonfinite_step,
        moved=bool(np.ptp(y) > RESOLUTION),
        # Short curves need more than a tenth of their points for a median; the gain stays that of one tenth.
        gain_end=_ratio(before - end, net) * min(1.0, n / 10 / tenth) if net > 0 else 0.0,
        gain_end_z=_ratio(before - end, math.sqrt(2) * error),
        drawdown=_ratio(float(above[worst]), fall),
        drawdown_steps=(int(steps[best]), int(steps[worst])),
        swing=_ratio(float(above[-max(3, n // 4) :].max()), fall),
        regress=_ratio(end - float(smooth.min()), fall),
        tvr=1 + _ratio(detour, abs(net)) * POINTS / n,
        t90=float((steps[reached[0]] - steps[0]) / (steps[-1] - steps[0])) if len(reached) and n > 1 else 1.0,
        noise=_ratio(noise, fall),
        span=float(np.ptp(y) / y[0]) if is_level else math.inf,
        left=end / float(y[0]) if is_level else 1.0,
        end=end * scale,
        end_error=error * scale,
        spikes=tuple(int(steps[start + np.argmax(y[start:stop])]) for start, stop in jumps),
    )


def thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points nearest to ``POINTS`` evenly spaced steps; the curve itself where it has no more."""
    if len(steps) <= POINTS:
        return steps, values
    wanted = np.linspace(steps[0], steps[-1], POINTS)
    after = np.clip(np.searchsorted(steps, wanted), 1, len(steps) - 1)
    nearest = np.unique(after - (wanted - steps[after - 1] < steps[after] - wanted))
    return steps[nearest], values[nearest]


def trailing_median(y: np.ndarray, width: int) -> np.ndarray:
    """The median of each value and the ``width - 1`` before it, shape ``(n,)``; the first value is repeated."""
    padded = np.concatenate([np.full(width - 1, y[0]), y])
    return np.asarray(np.median(sliding_window_view(padded, width), axis=1))


def _ratio(part: float, whole: float) -> float:
    """``part / whole`` with a nothing of nothing being 0 and a something of nothing infinite."""
    if part == 0:
        return 0.0
    return part / whole if whole > 0 else math.copysign(math.inf, part)


def _noise(tail: np.ndarray) -> float:
    """Standard deviation of the points about their course, from the median absolute move between neighbours."""
    if len(tail) < 3:
        return 0.0
    moves = np.diff(tail)
    return 1.4826 * float(np.median(np.abs(moves - np.median(moves)))) / math.sqrt(2)


def _median_error(tail: np.ndarray, count: int) -> float:
    """Standard error of the median of ``count`` points, from the scatter of ``tail`` about its own line.

    Neighbouring points resemble one another, so ``count`` is divided by the correlation time of a first-order
    autoregression.
    """
    if len(tail) < 4:
        return 0.0
    x = np.arange(len(tail)) - (len(tail) - 1) / 2
    rest = tail - tail.mean() - x * (x @ tail) / (x @ x)
    variance = float(rest @ rest) / (len(tail) - 2)
    if variance <= 1e-24:
        return 0.0
    correlation = min(max(float(rest[1:] @ rest[:-1] / (rest @ rest)), 0.0), 0.8)
    return 1.2533 * math.sqrt(variance / count * (1 + correlation) / (1 - correlation))


def _jumps(y: np.ndarray, height: float) -> list[tuple[int, int]]:
    """Stretches ``start:stop`` up to a twentieth of the curve long, ``height`` above the median before them."""
    width = max(3, len(y) // 20)
    if len(y) <= 2 * width or height <= 0:
        return []
    limit = trailing_median(y, width)[:-1] + height
    jumps, start = [], 1
    while len(above := np.flatnonzero(y[start:] > limit[start - 1 :])):
        start += int(above[0])
        back = np.flatnonzero(y[start : start + width + 1] <= limit[start - 1])
        if len(back):
            jumps.append((start, start + int(back[0])))
        start += int(back[0]) if len(back) else width
    return jumps


def _without(y: np.ndarray, jumps: list[tuple[int, int]]) -> np.ndarray:
    """The curve without a jump that is its only one: an accident. Several are the way it goes."""
    if len(jumps) != 1:
        return y
    (start, stop), calm = jumps[0], y.copy()
    calm[start:stop] = y[start - 1]
    return calm
