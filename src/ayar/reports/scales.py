"""Scales: from a value to its place on an axis, with ticks a person would have chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ayar.reports.words import number

_STEPS = (1, 2, 2.5, 5, 10)
_HUGE = 1e100  # far beyond every loss worth drawing, and its square is still a float
_EQUAL = 1e-9  # a relative spread below this is rounding


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic scale from ``low`` to ``high``, ``low < high``; ``low > 0`` where it is logarithmic."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a finite value: 0 at ``low``, 1 at ``high``, beyond them outside [0, 1].

        >>> Scale(0.01, 1, log=True).at(0.1)
        0.5
        """
        if self.log:
            if value <= 0:
                return -math.inf
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def clipped(self, value: float) -> float:
        """The place of a value, moved to the nearer end where it lies outside."""
        return min(1.0, max(0.0, self.at(value)))

    def ticks(self, most: int = 6) -> list[float]:
        """At most about ``most`` round values within the scale, rising.

        >>> Scale(0, 50).ticks(), Scale(1e-4, 1, log=True).ticks()
        ([0.0, 10.0, 20.0, 30.0, 40.0, 50.0], [0.0001, 0.001, 0.01, 0.1, 1.0])
        """
        if not self.log:
            return _linear_ticks(self.low, self.high, most)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        decades = list(range(first, last + 1))
        if len(decades) >= 3:
            stride = math.ceil(len(decades) / most)
            return [10.0**k for k in decades if (k - first) % stride == 0]
        for factors in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
            ticks = [f * 10.0**k for k in range(first - 1, last + 1) for f in factors]
            inside = [tick for tick in ticks if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]
            if min(3, most) <= len(inside) <= most or len(inside) == len(factors) + 1 == 2:
                return inside
        return _linear_ticks(self.low, self.high, max(2, most - 2))


def fitted(values: Sequence[float], *, log: bool = False, margin: float = 0.04) -> Scale:
    """A scale that holds all finite values between -1e100 and 1e100, with a margin at both ends.

    Equal values stand in its middle. It is linear where a value is not positive.
    """
    finite = [min(_HUGE, max(-_HUGE, value)) for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if log and low > 0:
        low, high = max(low, 1 / _HUGE), max(high, 1 / _HUGE)
        spread = math.log10(high / low)
        pad = 10 ** (margin * spread if spread > _EQUAL else 0.1)
        return Scale(low / pad, high * pad, log=True)
    spread, size = high - low, max(abs(low), abs(high), 1 / _HUGE)
    pad = margin * spread if spread > _EQUAL * size else 0.5 * (abs(high) if abs(high) > 1 / _HUGE else 1.0)
    return Scale(low - pad, high + pad)


def tick_label(value: float) -> str:
    """A tick in few characters.

    >>> [tick_label(x) for x in (0.001, 0.25, 30.0, 1e-6, 20000.0)]
    ['0.001', '0.25', '30', '1e-6', '20k']
    """
    if 10_000 <= abs(value) < 1e6:
        return f"{number(value / 1000, 3)}k"
    return number(value, 3)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _STEPS if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(k * step, digits) + 0.0 for k in range(first, last + 1)]
