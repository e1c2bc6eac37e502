"""Simulated worlds whose truth is known: what a configuration is worth, and how a training's reading strays from it.

A configuration is six numbers in [0, 1]; its true loss is their sum, scaled so that random configurations differ with a
standard deviation of 1. A reading adds noise with a standard deviation of ``ratio``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ayar.space import Float, Space

NAMES = tuple(f"u{i}" for i in range(6))
SPACE = Space(**{name: Float(0.0, 1.0) for name in NAMES})
Noise = Callable[[np.random.Generator, dict], float]


def truth(config: dict) -> float:
    """The true loss of a configuration: the mean of all readings it could give."""
    return math.sqrt(2) * sum(config[name] - 0.5 for name in NAMES)


@dataclass(frozen=True)
class World:
    """One kind of noise.

    Attributes:
        noise: One draw with mean 0; standard deviation 1, on average over configurations.
        fails: Chance that a training fails, by configuration.
    """

    name: str
    noise: Noise
    fails: Callable[[dict], float] = lambda _: 0.0

    def reading(self, config: dict, seed: int, ratio: float) -> float:
        """The loss that a training shows; infinite where it failed. The same for the same configuration and seed."""
        rng = np.random.default_rng([seed, *(int(1e9 * config[name]) for name in NAMES)])
        if rng.random() < self.fails(config):
            return math.inf
        return truth(config) + ratio * self.noise(rng, config)


def _unequal(rng: np.random.Generator, config: dict) -> float:
    return float(rng.normal()) * (0.25 + 1.5 * config["u1"])


WORLDS = (
    World("Gaussian", lambda rng, _: float(rng.normal())),
    World("heavy-tailed", lambda rng, _: float(rng.standard_t(3)) / math.sqrt(3)),
    World("skewed", lambda rng, _: float(rng.exponential()) - 1.0),
    World("failing", lambda rng, _: float(rng.normal()), lambda config: 0.5 if config["u0"] < 0.1 else 0.03),
    World("unequal noise", _unequal),
)
"""t with 3 degrees of freedom; exponential, skewness 2; half of the trainings fail in a tenth of the space, beside the
best values, and 3 % elsewhere; noise of 0.25 to 1.75, by the configuration."""

VERY_SKEWED = World("log-normal", lambda rng, _: float(rng.lognormal() - math.exp(0.5)) / 2.161)
"""Skewness 6.2: beyond what an interval from ten readings can hold; reported, not counted."""

NULL = World("null", lambda rng, config: float(rng.normal()) - truth(config))
"""All configurations are equal (at a noise of 1)."""
