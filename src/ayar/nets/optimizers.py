"""From a configuration to updates of the parameters.

===============  ====================================================================================
hyperparameter   meaning, and its value where the configuration has none
===============  ====================================================================================
optimizer        "sgd", "momentum", "nesterov", "rmsprop", "adam" or "adamw" ("adam")
learning_rate    alpha, its largest value over the schedule (0.001)
momentum         of the sgd family (0 for "sgd", 0.9 for "momentum" and "nesterov")
nesterov         look ahead along the momentum; for the sgd family (only "nesterov" does)
beta1, beta2     decay of Adam's averages (0.9, 0.999); beta2 is RMSprop's, too (0.99)
weight_decay     lambda, on W and never on b: an L2 term in the gradient; decoupled for "adamw" (0)
schedule         "constant", "cosine", or "step": a tenth after 1/2, a hundredth after 3/4 ("constant")
warmup           share of all updates during which the learning rate rises from 0 (0)
===============  ====================================================================================

The learning rate is set anew for each mini-batch, from the number of the update alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from ayar.errors import SpaceError

EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Coefficients:
    """The numbers of one update rule; see the table at the top of this module."""

    momentum: float = 0.0
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999


@dataclass(frozen=True, slots=True)
class Rule:
    """How a gradient becomes a step.

    Attributes:
        direction: ``direction(gradient, state, update, coefficients)`` updates ``state`` in place and returns
            what the parameters descend along; ``update`` counts from 1.
        averages: Names of the running averages in ``state``, each as long as the gradient.
        defaults: Coefficients where the configuration has none.
        decoupled: Weight decay shrinks the weights directly instead of joining the gradient.
    """

    direction: Callable[[Tensor, Mapping[str, Tensor], int, Coefficients], Tensor]
    averages: tuple[str, ...]
    defaults: Coefficients = Coefficients()
    decoupled: bool = False


def _momentum(gradient: Tensor, state: Mapping[str, Tensor], _: int, c: Coefficients) -> Tensor:
    if c.momentum == 0:
        return gradient
    velocity = state["velocity"].mul_(c.momentum).add_(gradient)
    return gradient.add(velocity, alpha=c.momentum) if c.nesterov else velocity


def _rmsprop(gradient: Tensor, state: Mapping[str, Tensor], _: int, c: Coefficients) -> Tensor:
    square = state["square"].mul_(c.beta2).addcmul_(gradient, gradient, value=1 - c.beta2)
    return gradient / square.sqrt().add_(EPSILON)


def _adam(gradient: Tensor, state: Mapping[str, Tensor], update: int, c: Coefficients) -> Tensor:
    velocity = state["velocity"].lerp_(gradient, 1 - c.beta1)
    square = state["square"].mul_(c.beta2).addcmul_(gradient, gradient, value=1 - c.beta2)
    # Both averages begin at 0; dividing by their total weight removes that bias (arXiv:1412.6980, section 3).
    root = square.div(1 - c.beta2**update).sqrt_().add_(EPSILON)
    return velocity.div(1 - c.beta1**update).div_(root)


RULES: Mapping[str, Rule] = {
    "sgd": Rule(_momentum, ("velocity",)),
    "momentum": Rule(_momentum, ("velocity",), Coefficients(momentum=0.9)),
    "nesterov": Rule(_momentum, ("velocity",), Coefficients(momentum=0.9, nesterov=True)),
    "rmsprop": Rule(_rmsprop, ("square",), Coefficients(beta2=0.99)),
    "adam": Rule(_adam, ("velocity", "square")),
    "adamw": Rule(_adam, ("velocity", "square"), decoupled=True),
}

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "step": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}
"""Name -> the factor on the learning rate, given the share of the updates after the warm-up that are done."""


class Optimizer:
    """Updates all trainable parameters of a net as one vector, which costs one small operation instead of many.

    The parameters of the net become views of ``vector``, their gradients views of ``gradient``.

    Attributes:
        vector: All trainable parameters, shape ``(n,)``.
        gradient: Their gradients, shape ``(n,)``; to be zeroed before each backward pass.
        state: The rule's running averages, each of shape ``(n,)``.
        updates: How many updates were made.
    """

    def __init__(self, net: nn.Module, config: Mapping[str, Any]) -> None:
        self.rule = RULES[known("optimizer", config.get("optimizer", "adam"), RULES)]
        self.coefficients = _coefficients(self.rule, config)
        trained = [p for p in net.parameters() if p.requires_grad]
        self.vector = torch.cat([p.detach().flatten() for p in trained])
        self.gradient = torch.zeros_like(self.vector)
        self.state = {name: torch.zeros_like(self.vector) for name in self.rule.averages}
        self.updates = 0

        decay = float(config.get("weight_decay", 0.0))
        sizes = [p.numel() for p in trained]
        parts = zip(trained, self.vector.split(sizes), self.gradient.split(sizes), strict=True)  # type: ignore[no-untyped-call]
        for parameter, values, slopes in parts:
            parameter.data = values.view(parameter.shape)
            parameter.grad = slopes.view(parameter.shape)
        self._decay = torch.cat([torch.full_like(p.data, decay if p.ndim > 1 else 0.0).flatten() for p in trained])
        self._decays = decay > 0

    def step(self, learning_rate: float) -> None:
        """Update the parameters by the gradient that the backward pass left."""
        self.updates += 1
        if self._decays and self.rule.decoupled:
            self.vector.addcmul_(self.vector, self._decay, value=-learning_rate)
        elif self._decays:
            self.gradient.addcmul_(self.vector, self._decay)
        direction = self.rule.direction(self.gradient, self.state, self.updates, self.coefficients)
        self.vector.add_(direction, alpha=-learning_rate)


def learning_rate(config: Mapping[str, Any], update: int, updates: int) -> float:
    """The learning rate of update number ``update``, counted from 0, of ``updates`` in the whole training.

    >>> learning_rate({"learning_rate": 0.5, "schedule": "step"}, update=5, updates=10)
    0.05

    Raises:
        SpaceError: The schedule is unknown.
    """
    peak = float(config.get("learning_rate", 0.001))
    schedule = SCHEDULES[known("schedule", config.get("schedule", "constant"), SCHEDULES)]
    warmup = float(config.get("warmup", 0.0)) * updates
    if update < warmup:
        return peak * min(1.0, (update + 1) / warmup)
    return peak * schedule((update - warmup) / (updates - warmup))


def known(what: str, name: Any, names: Iterable[str]) -> str:
    """``name`` if it is one of ``names``; otherwise an error that lists them and guesses which one was meant.

    >>> known("optimizer", "adma", ["adam", "sgd"])
    Traceback (most recent call last):
    ayar.errors.SpaceError: Unknown optimizer 'adma'. Known: adam, sgd. Did you mean 'adam'?
    """
    names = list(names)
    if name in names:
        return str(name)
    close = get_close_matches(str(name), names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    raise SpaceError(f"Unknown {what} {name!r}. Known: {', '.join(names)}.{guess}")


def _coefficients(rule: Rule, config: Mapping[str, Any]) -> Coefficients:
    default = rule.defaults
    return Coefficients(
        momentum=float(config.get("momentum", default.momentum)),
        nesterov=bool(config.get("nesterov", default.nesterov)),
        beta1=float(config.get("beta1", default.beta1)),
        beta2=float(config.get("beta2", default.beta2)),
    )
