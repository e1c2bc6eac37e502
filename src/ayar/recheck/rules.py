"""Analytic rules: how hyperparameters follow when batch size, data size or width changes.

A rule holds under assumptions that nobody has checked in the world at hand, so what it gives is a challenger to be
trained like any other, and never a truth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from ayar.curves.advice import ROLES
from ayar.records import Configuration, config_key, is_number
from ayar.space import Float, Int, Space

Change = tuple[float, float]
"""A size as it was when the winner was found, and as it is today."""

SIZES = ("batch_size", "rows", "width")
"""What rules know of; ``rows`` are those of the training set. Other names in ``ROLES`` mean the same."""

HORIZON_EXPONENT = 0.3
_MOST = 3
_ADAPTIVE, _PLAIN = ("adam", "rms", "lamb", "lion"), ("sgd", "momentum", "nesterov")

Factors = dict[str, float]


def rescaled(config: Configuration, space: Space, changed: Mapping[str, Change]) -> list[tuple[Configuration, str]]:
    """The configuration as the rules rescale it, each with the rule's name; empty where no rule applies.

    - Batch size times k: the learning rate times k for SGD (Goyal et al. 2017, arXiv 1706.02677); for Adam and its
      like times the square root of k, with ``1 - beta`` times k where that stays below 1, epsilon divided by the
      root (Malladi et al. 2022, arXiv 2205.10287), and weight decay times the root, so that the time scale
      1 / (learning rate x weight decay) counts epochs as before (Wang & Aitchison 2024, arXiv 2405.13698).
    - Training rows times r, epochs as before: weight decay divided by r (the same), or the learning rate times
      ``r ** -0.3`` for the longer horizon (the form of Bjorck et al. 2024, arXiv 2409.19913).
    - Width times w: the learning rate divided by w for Adam and its like (Yang et al. 2022, arXiv 2203.03466), weight
      decay times w.

    Values are kept inside the space.

    >>> space = Space(learning_rate=Float(1e-4, 1.0, log=True), optimizer="sgd")
    >>> rescaled({"learning_rate": 0.01, "optimizer": "sgd"}, space, {"batch_size": (32, 128)})
    [({'learning_rate': 0.04, 'optimizer': 'sgd'}, 'rule: batch size x 4, linear')]
    """
    adaptive = _is_adaptive(config)
    families: list[list[tuple[Factors, str]]] = []
    for size, ratio in _ratios(changed).items():
        if size == "batch_size":
            families.append(_for_batch_size(config, ratio, adaptive))
        elif size == "rows":
            families.append(_for_rows(ratio))
        elif adaptive is not False:
            families.append([({"learning_rate": 1 / ratio, "weight_decay": ratio}, f"width x {ratio:.3g}")])
    found: dict[str, tuple[Configuration, str]] = {}
    for moves in itertools.product(*families):
        factors: Factors = {}
        for move, _ in moves:
            for role, factor in move.items():
                factors[role] = factors.get(role, 1.0) * factor
        moved = _moved(config, space, factors)
        found.setdefault(config_key(moved), (moved, f"rule: {', and '.join(name for _, name in moves)}"))
    found.pop(config_key(config), None)
    return list(found.values())[:_MOST]


def at_or_near(entry: Float | Int, value: float) -> float:
    """The value of a range, or of its grid, that lies next to ``value``, with at most four digits."""
    target = min(max(float(f"{value:.4g}"), entry.low), entry.high)
    if isinstance(entry, Int):
        return entry.from_unit(entry.to_unit(round(target)))
    return target if entry.size is None else entry.from_unit(entry.to_unit(target))


def _ratios(changed: Mapping[str, Change]) -> dict[str, float]:
    """By how much each size that rules know of was multiplied."""
    alias = dict.fromkeys(ROLES["batch_size"], "batch_size") | dict.fromkeys(ROLES["hidden_units"], "width")
    ratios: dict[str, float] = {}
    for name, (was, now) in changed.items():
        size = alias.get(name, name)
        if size in SIZES and was > 0 and now > 0 and was != now:
            ratios.setdefault(size, now / was)
    return ratios


def _is_adaptive(config: Configuration) -> bool | None:
    """Whether the optimizer is of Adam's kind; None where the configuration doesn't say."""
    name = str(config.get("optimizer", "")).lower()
    if any(part in name for part in _ADAPTIVE):
        return True
    return False if any(part in name for part in _PLAIN) else None


def _for_batch_size(config: Configuration, ratio: float, adaptive: bool | None) -> list[tuple[Factors, str]]:
    root, told = math.sqrt(ratio), f"batch size x {ratio:.3g}"
    rules: list[tuple[Factors, str]] = []
    if adaptive is not False:
        inner = {
            name: ratio for name in ("beta1", "beta2") if is_number(config.get(name)) and ratio * (1 - config[name]) < 1
        }
        rules.append(
            (
                {"learning_rate": root, "weight_decay": root, "eps": 1 / root, "epsilon": 1 / root, **inner},
                f"{told}, root",
            )
        )
    if adaptive is not True:
        rules.append(({"learning_rate": ratio}, f"{told}, linear"))
    return rules


def _for_rows(ratio: float) -> list[tuple[Factors, str]]:
    told = f"rows x {ratio:.3g}"
    return [
        ({"weight_decay": 1 / ratio}, f"{told}, weight decay"),
        ({"learning_rate": ratio**-HORIZON_EXPONENT}, f"{told}, learning rate"),
    ]


def _moved(config: Configuration, space: Space, factors: Factors) -> Configuration:
    """The configuration with these roles multiplied, as far as it and the space have them."""
    moved = dict(config)
    for role, factor in factors.items():
        name = next((n for n in ROLES.get(role, (role,)) if n in config and n in space), None)
        entry = space[name] if name is not None else None
        if name is None or not isinstance(entry, Float | Int) or not is_number(config[name]):
            continue
        value = 1 - factor * (1 - config[name]) if role.startswith("beta") else factor * config[name]
        moved[name] = at_or_near(entry, value)
    return moved
