"""How much of the learning rate is left at a step, as far as a configuration says it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ayar.curves.advice import ROLES

LEFT: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
    "step": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
}
"""By schedule: the share of the largest learning rate that is left after a share of the training."""


def rate_left(config: Mapping[str, Any], step: int, horizon: int) -> float | None:
    """The learning rate at a step as a share of its largest value; None where the configuration doesn't say.

    A whole training are the configuration's iterations, or else ``horizon``.

    >>> rate_left({"schedule": "cosine", "iterations": 40}, 40, 100), rate_left({"lr": 0.1}, 40, 100)
    (0.0, None)
    """
    schedule = next((config[name] for name in ROLES["schedule"] if name in config), None)
    left = LEFT.get(schedule) if isinstance(schedule, str) else None
    if left is None:
        return None
    whole = next((config[name] for name in ROLES["iterations"] if name in config), horizon)
    return left(min(step / whole, 1.0)) if isinstance(whole, int) and whole > 0 else None
