"""What is trained: a sound configuration, sixteen faults of it at three severities, sound variants, single moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

THIRD = 10**0.5
"""The factor called 3 below: half a decade, so that moves of one run are other runs of the grid."""

RATES = tuple(10 ** (k / 2) for k in range(-10, 4))
"""Learning rates of a sweep, from 1e-5 to 30."""

ITERATIONS, BATCH, UNITS, DECAY = 240, 32, 32, 1e-4

KINDS = 11
"""Faults that a workload gets: the two of the learning rate and, in turn, some of the others."""


@dataclass(frozen=True)
class Config:
    """Everything that decides a run but its seed.

    Attributes:
        optimizer: ``"sgd"`` (with momentum) or ``"adam"``; weight decay is decoupled in both.
        schedule: A name in ``SCHEDULES``.
        iterations: Updates; the schedule is stretched over them.
        clip: Largest norm of the gradient.
        first_weights: Factor on the usual initial weights.
        first_biases: What the hidden units' biases begin with.
        input_scale: Factor on the standardised inputs.
        rows: Training examples; 0 for all.
        label_noise: Share of wrong labels, or a noise of so many standard deviations on a target.
    """

    optimizer: str
    learning_rate: float
    schedule: str = "constant"
    iterations: int = ITERATIONS
    batch_size: int = BATCH
    hidden_units: int = UNITS
    weight_decay: float = DECAY
    dropout: float = 0.0
    momentum: float = 0.9
    clip: float = math.inf
    first_weights: float = 1.0
    first_biases: float = 0.0
    input_scale: float = 1.0
    rows: int = 0
    label_noise: float = 0.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda x: 0.5 + 0.5 * math.cos(math.pi * x),
    "restarts": lambda x: 0.5 + 0.5 * math.cos(math.pi * (3 * x % 1)),
    "drop": lambda x: 1.0 if x < 0.65 else 0.1,
    "warm-up": lambda x: min(1.0, x / 0.1) * (0.5 + 0.5 * math.cos(math.pi * x)),
    "over at 20 %": lambda x: max(0.0, 1 - x / 0.2),
    "over at 10 %": lambda x: max(0.0, 1 - x / 0.1),
    "over at 5 %": lambda x: max(0.0, 1 - x / 0.05),
}
"""Learning rate over its peak, from the share of the iterations that is done."""


@dataclass(frozen=True)
class Run:
    """One configuration in the set and why it is there.

    Attributes:
        role: ``"fault"``, ``"control"`` or ``"sweep"``.
        kind: Which fault, or which sound variant.
        severity: 1 to 3 for faults.
    """

    role: str
    kind: str
    severity: int
    config: Config


def sweep() -> list[Run]:
    """Both optimisers, a constant and a decaying learning rate, at every rate."""
    pairs = [(o, s) for o in ("sgd", "adam") for s in ("constant", "cosine")]
    return [Run("sweep", f"{o} {s}", 0, Config(o, rate, s)) for o, s in pairs for rate in RATES]


def faults(base: Config, turn: int, *, scalable: bool, rectified: bool) -> list[Run]:
    """One thing wrong with ``base`` at a time; ``turn`` says where to begin with what not every workload gets.

    Not every net has inputs to scale or units that can fall silent.
    """
    rate = base.learning_rate
    changes: dict[str, list[dict[str, object]]] = {
        "learning rate too low": [{"learning_rate": rate / 10 ** (k / 2)} for k in (2, 3, 4)],
        "learning rate too high": [{"learning_rate": rate * 10 ** (k / 2)} for k in (2, 3, 4)],
        "too few iterations": [{"iterations": base.iterations // k} for k in (4, 8, 16)],
        "mini-batches too small": [{"batch_size": k} for k in (4, 2, 1)],
        "weight decay too strong": [{"weight_decay": k / rate} for k in (0.003, 0.01, 0.03)],
        "dropout too strong": [{"dropout": k} for k in (0.5, 0.7, 0.9)],
        "too few units": [{"hidden_units": k} for k in (4, 2, 1)],
        "too few examples": [{"rows": k} for k in (128, 64, 32)],
        "wrong labels": [{"label_noise": k} for k in (0.2, 0.4, 0.6)],
        "first weights too small": [{"first_weights": k} for k in (0.3, 0.1, 0.03)],
        "first weights too large": [{"first_weights": k} for k in (3.0, 6.0, 12.0)],
        "momentum too high": [{"momentum": k} for k in (0.97, 0.99, 0.997)],
        "decays too early": [{"schedule": f"over at {k} %"} for k in (20, 10, 5)],
    }
    if base.optimizer == "sgd":
        changes["gradient clipped too hard"] = [{"clip": k} for k in (0.1, 0.01, 0.001)]
    if scalable:
        changes["inputs not scaled"] = [{"input_scale": k} for k in (10.0, 30.0, 100.0)]
    if rectified:
        changes["silent units"] = [{"first_biases": -k} for k in (1.0, 3.0, 10.0)]
    kinds = list(changes)
    rest = kinds[2:]
    chosen = kinds[:2] + [rest[(5 * turn + k) % len(rest)] for k in range(KINDS - 2)]
    return [
        Run("fault", kind, i + 1, replace(base, **change))  # type: ignore[arg-type]
        for kind in chosen
        for i, change in enumerate(changes[kind])
    ]


def controls(base: Config, best: dict[tuple[str, str], float]) -> list[Run]:
    """Sound runs, among them those that look odd: restarts, a late drop, a large step that does not settle."""
    found = [Run("control", f"best {o} {s}", 0, Config(o, rate, s)) for (o, s), rate in best.items()]
    for o in ("sgd", "adam"):
        constant, cosine = best[o, "constant"], best[o, "cosine"]
        found += [
            Run("control", f"{o} warm restarts", 0, Config(o, cosine, "restarts")),
            Run("control", f"{o} late gain", 0, Config(o, constant * THIRD, "drop")),
            Run("control", f"{o} warm-up", 0, Config(o, cosine, "warm-up")),
            Run("control", f"{o} large batch", 0, Config(o, constant * THIRD, batch_size=256, momentum=0.9)),
        ]
    rate = best["sgd", "constant"]
    plain = Config("sgd", 10 * rate, batch_size=256, momentum=0.0)
    found += [
        Run("control", "edge of stability", 0, plain),
        Run("control", "edge of stability, longer steps", 0, replace(plain, learning_rate=10 * THIRD * rate)),
        Run("control", "some dropout", 0, replace(base, dropout=0.1)),
        Run("control", "some weight decay", 0, replace(base, weight_decay=1e-3)),
        Run("control", "twice the units", 0, replace(base, hidden_units=2 * UNITS)),
        Run("control", "twice the iterations", 0, replace(base, iterations=2 * ITERATIONS)),
    ]
    return found


def moves(c: Config) -> dict[str, Config]:
    """Every single move that is tried on a run; ``"mend"``, the way back to the sound one, is another run already."""
    tried = {
        "learning_rate x 3": replace(c, learning_rate=c.learning_rate * THIRD),
        "learning_rate / 3": replace(c, learning_rate=c.learning_rate / THIRD),
        "learning_rate x 10": replace(c, learning_rate=c.learning_rate * 10),
        "learning_rate / 10": replace(c, learning_rate=c.learning_rate / 10),
        "iterations x 2": replace(c, iterations=c.iterations * 2),
        "iterations / 2": replace(c, iterations=c.iterations // 2),
        "weight_decay up": replace(c, weight_decay=c.weight_decay * 10),
        "dropout up": replace(c, dropout=min(c.dropout + 0.2, 0.9)),
        "batch_size up": replace(c, batch_size=c.batch_size * 4),
        "hidden_units up": replace(c, hidden_units=c.hidden_units * 2),
        "schedule decay": replace(c, schedule="cosine"),
        "clip": replace(c, clip=1.0 if math.isinf(c.clip) else 10 * c.clip),
    }
    if c.weight_decay > 1e-3:
        tried["weight_decay down"] = replace(c, weight_decay=c.weight_decay / 10)
    if c.dropout > 0:
        tried["dropout down"] = replace(c, dropout=round(c.dropout / 3, 3))
    if c.momentum > 0.9:
        tried["momentum down"] = replace(c, momentum=round(1 - 3 * (1 - c.momentum), 4))
    if c.batch_size >= 8:
        tried["batch_size down"] = replace(c, batch_size=c.batch_size // 4)
    return {name: config for name, config in tried.items() if config != c}
