"""From a configuration to an optimizer and a learning rate for each update.

===============  =========================================================================================
hyperparameter   meaning, and its value where the configuration has none
===============  =========================================================================================
optimizer        "sgd", "momentum", "nesterov", "rmsprop", "adam" or "adamw" ("adam")
learning_rate    alpha, its largest value over the schedule (0.001)
momentum         of the sgd family (0 for "sgd", 0.9 for "momentum" and "nesterov")
nesterov         look ahead along the momentum; of "sgd" and "momentum" (False)
beta1, beta2     decay of Adam's and AdamW's averages (0.9, 0.999); beta2 is also RMSprop's decay (0.99)
weight_decay     lambda on weights, never on biases: L2 added to the gradient; decoupled for "adamw" (0)
schedule         "constant", "step" (a tenth after half, a hundredth after three quarters), "cosine" ("constant")
warmup           share of all updates during which the learning rate rises from 0 (0)
===============  =========================================================================================

The learning rate is set before each mini-batch update, from the update's number alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from ayar.errors import SpaceError

Groups = list[dict[str, Any]]


def _sgd(momentum: float, nesterov: bool) -> Callable[[Groups, Mapping[str, Any]], torch.optim.Optimizer]:
    def make(groups: Groups, config: Mapping[str, Any]) -> torch.optim.Optimizer:
        mu = float(config.get("momentum", momentum))
        look_ahead = mu > 0 and bool(config.get("nesterov", nesterov))
        return torch.optim.SGD(groups, momentum=mu, nesterov=look_ahead, fused=True)

    return make


def _rmsprop(groups: Groups, config: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, alpha=float(config.get("beta2", 0.99)), foreach=True)


def _adam(kind: type[torch.optim.Adam]) -> Callable[[Groups, Mapping[str, Any]], torch.optim.Optimizer]:
    def make(groups: Groups, config: Mapping[str, Any]) -> torch.optim.Optimizer:
        betas = (float(config.get("beta1", 0.9)), float(config.get("beta2", 0.999)))
        return kind(groups, betas=betas, fused=True)

    return make


OPTIMIZERS: Mapping[str, Callable[[Groups, Mapping[str, Any]], torch.optim.Optimizer]] = {
    "sgd": _sgd(momentum=0.0, nesterov=False),
    "momentum": _sgd(momentum=0.9, nesterov=False),
    "nesterov": _sgd(momentum=0.9, nesterov=True),
    "rmsprop": _rmsprop,
    "adam": _adam(torch.optim.Adam),
    "adamw": _adam(torch.optim.AdamW),
}

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "step": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}
"""Name -> the factor on the learning rate, given the share of the updates after the warm-up already made."""


def named(what: str, name: Any, known: Iterable[str]) -> str:
    """``name`` if it is one of ``known``; otherwise an error that lists them and guesses which one was meant.

    >>> named("optimizer", "adma", ["adam", "sgd"])
    Traceback (most recent call last):
    ayar.errors.SpaceError: Unknown optimizer 'adma'. Known: adam, sgd. Did you mean 'adam'?
    """
    known = list(known)
    if name in known:
        return str(name)
    close = get_close_matches(str(name), known, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    raise SpaceError(f"Unknown {what} {name!r}. Known: {', '.join(known)}.{guess}")


def make_optimizer(net: nn.Module, config: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer that ``config`` asks for, over the parameters of ``net``.

    Weight decay acts on parameters of two or more dimensions (W), not on biases and other vectors (b).

    Raises:
        SpaceError: The optimizer is unknown.
    """
    name = named("optimizer", config.get("optimizer", "adam"), OPTIMIZERS)
    trained = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in trained if p.ndim >= 2],
            "weight_decay": float(config.get("weight_decay", 0.0)),
        },
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[name]([group for group in groups if group["params"]], config)


def learning_rate(config: Mapping[str, Any], update: int, updates: int) -> float:
    """The learning rate of update number ``update``, counted from 0, of ``updates`` in the whole training.

    >>> learning_rate({"learning_rate": 0.1, "schedule": "step"}, update=5, updates=10)
    0.01

    Raises:
        SpaceError: The schedule is unknown.
    """
    peak = float(config.get("learning_rate", 0.001))
    schedule = SCHEDULES[named("schedule", config.get("schedule", "constant"), SCHEDULES)]
    warmup = float(config.get("warmup", 0.0)) * updates
    if update < warmup:
        return peak * min(1.0, (update + 1) / warmup)
    return peak * schedule((update - warmup) / (updates - warmup))
