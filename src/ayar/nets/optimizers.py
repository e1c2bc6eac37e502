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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ayar.nets.elementwise import elementwise
from ayar.nets.measured import Call
from ayar.nets.names import known

EPSILON = 1e-8
LARGE = 2**14  # numbers of a lane, from which on an update of its own is worth a call
NEVER = 1e9  # a step after which no correction of bias is left


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

    @property
    def is_adaptive(self) -> bool:
        """Whether each parameter's step is divided by the size of its own gradients."""
        return "square" in self.averages


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

SCHEDULES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "constant": np.ones_like,
    "step": lambda done: np.where(done < 0.5, 1.0, np.where(done < 0.75, 0.1, 0.01)),
    "cosine": lambda done: 0.5 * (1 + np.cos(np.pi * done)),
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
        self.rule = rule_of(config)
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


@dataclass(frozen=True, slots=True)
class LaneState:
    """What the optimizer keeps of k lanes, one row each; all tensors have shape ``(k, n)``.

    Attributes:
        vector: The parameters.
        gradient: Their gradients. An update may overwrite them.
        velocity: First running average, in the rows whose rule has one.
        square: Second running average, in the rows whose rule has one.
    """

    vector: Tensor
    gradient: Tensor
    velocity: Tensor
    square: Tensor


class LaneOptimizer:
    """Updates k lanes side by side, each by its own rule with its own coefficients, as ``Optimizer`` updates one.

    Two formulas serve all rules; the rows of one formula must lie together, so sort lanes by ``is_adaptive``.
    With the coefficients c of ``coefficients``, for the sgd family ::

        velocity = c[2] velocity + gradient;  vector += c[3] velocity + c[4] gradient

    and for Adam and RMSprop (Adam without a first average or a correction of bias) ::

        velocity += c[2] (gradient - velocity);  square += c[3] (gradient^2 - square)
        vector += c[5] velocity / (sqrt(square) + c[4])

    Before that, weight decay adds ``c[0] W`` to the gradient and, where decoupled, ``c[1] W`` to the weights.

    Args:
        configs: Of the k lanes.
        totals: Updates of each lane's whole training.
        state: Parameters, gradients and averages, updated in place.
        decayed: Weight decay acts on so many columns, the first ones.

    Attributes:
        calls: What an update takes once its coefficients are set.
    """

    N_COEFFICIENTS = 6

    def __init__(
        self, configs: Sequence[Mapping[str, Any]], totals: Sequence[int], state: LaneState, decayed: int
    ) -> None:
        self._configs = configs
        self._totals = totals
        self._rules = [rule_of(config) for config in configs]
        self._n_plain = sum(not rule.is_adaptive for rule in self._rules)
        assert not any(rule.is_adaptive for rule in self._rules[: self._n_plain]), "lanes are sorted by is_adaptive"
        own = [_coefficients(rule, config) for rule, config in zip(self._rules, configs, strict=True)]
        self._momentum = np.array([c.momentum for c in own])
        self._nesterov = np.array([c.nesterov for c in own])
        # RMSprop is Adam without a first average, and without the correction of its bias.
        self._corrects = np.array(["velocity" in rule.averages for rule in self._rules])
        self._beta1 = np.where(self._corrects, [c.beta1 for c in own], 0.0)
        self._beta2 = np.array([c.beta2 for c in own])
        self._decoupled = np.array([rule.decoupled for rule in self._rules])
        self._weight_decay = np.array([float(config.get("weight_decay", 0.0)) for config in configs])
        self._now = state.vector.new_empty(self.N_COEFFICIENTS, len(configs), 1)
        self.calls = [*self._decay(state, decayed), *self._descend(state)]

    def coefficients(self, updates: Sequence[int], n: int) -> Tensor:
        """Coefficients of the next ``n`` updates of lanes that made so many already: ``(n, 6, k, 1)``."""
        done = np.array(updates, dtype=np.float64)
        rates = _rates(self._configs, done, n, self._totals)
        table = np.zeros((n, self.N_COEFFICIENTS, len(done)))
        table[:, 0] = np.where(self._decoupled, 0.0, self._weight_decay)
        table[:, 1] = np.where(self._decoupled, -rates * self._weight_decay, 0.0)
        plain, adaptive = slice(self._n_plain), slice(self._n_plain, None)

        momentum, ahead = self._momentum[plain], self._nesterov[plain]
        table[:, 2, plain] = momentum
        table[:, 3, plain] = -rates[:, plain] * np.where(ahead, momentum, 1.0)
        table[:, 4, plain] = -rates[:, plain] * ahead

        beta1, beta2, corrects = self._beta1[adaptive], self._beta2[adaptive], self._corrects[adaptive]
        update = done[adaptive] + np.arange(1.0, n + 1)[:, None]
        correct1 = np.where(corrects, 1 - beta1**update, 1.0)
        correct2 = np.where(corrects, np.sqrt(1 - beta2**update), 1.0)
        table[:, 2, adaptive] = 1 - beta1
        table[:, 3, adaptive] = 1 - beta2
        table[:, 4, adaptive] = EPSILON * correct2
        table[:, 5, adaptive] = -rates[:, adaptive] * correct2 / correct1
        return torch.from_numpy(table).to(self._now).unsqueeze(-1)

    def step(self, coefficients: Tensor) -> None:
        """Make one update with its coefficients, of shape ``(6, k, 1)``."""
        self.set(coefficients)
        for call in self.calls:
            call()

    def set(self, coefficients: Tensor) -> None:
        """Take an update's coefficients for ``calls``."""
        self._now.copy_(coefficients)

    def _decay(self, state: LaneState, decayed: int) -> list[Call]:
        weights, slopes = state.vector[:, :decayed], state.gradient[:, :decayed]
        decays = self._weight_decay > 0
        calls: list[Call] = []
        if (decays & ~self._decoupled).any():
            calls.append(partial(slopes.addcmul_, weights, self._now[0]))
        if (decays & self._decoupled).any():
            calls.append(partial(weights.addcmul_, weights, self._now[1]))
        return calls

    def _descend(self, state: LaneState) -> list[Call]:
        calls: list[Call] = []
        n = self._n_plain
        w, g, v, c = state.vector[:n], state.gradient[:n], state.velocity[:n], self._now[:, :n]
        if self._momentum[:n].any():
            calls += [partial(torch.addcmul, g, v, c[2], out=v), partial(w.addcmul_, v, c[3])]
            if self._nesterov[:n].any():
                calls.append(partial(w.addcmul_, g, c[4]))
        elif n:
            calls += [partial(torch.add, c[3], c[4], out=c[5]), partial(w.addcmul_, g, c[5])]
        if n < len(self._rules):
            w, g, v, s = (t[n:] for t in (state.vector, state.gradient, state.velocity, state.square))
            c = self._now[:, n:]
            if w.shape[1] >= LARGE and not w.is_cuda:
                return [*calls, self._one_by_one(n, w, g, v, s)]
            calls += [
                partial(v.lerp_, g, c[2]),
                partial(g.mul_, g),
                partial(s.lerp_, g, c[3]),
                elementwise("sqrt", s, g),
                partial(g.add_, c[4]),
                partial(torch.div, v, g, out=g),
                partial(w.addcmul_, g, c[5]),
            ]
        return calls

    def _one_by_one(self, first: int, *rows: Tensor) -> Call:
        """What makes PyTorch's own update of each adaptive lane, which goes through its numbers once instead of often.

        Its corrections of bias are none after very many steps: ours are in the coefficients. ``torch.optim.adam.adam``
        calls the same, and takes some microseconds more for it.
        """
        lanes = [[[each] for each in of_lane] for of_lane in zip(*(row.unbind() for row in rows), strict=True)]
        never = torch.tensor(NEVER)
        betas = list(zip(self._beta1[first:].tolist(), self._beta2[first:].tolist(), strict=True))

        def update() -> None:
            small, rates = self._now[4:6, first:, 0].tolist()
            for (w, g, v, s), (beta1, beta2), eps, rate in zip(lanes, betas, small, rates, strict=True):
                torch._fused_adam_(
                    w,
                    g,
                    v,
                    s,
                    [],
                    [never],
                    lr=-rate,
                    beta1=beta1,
                    beta2=beta2,
                    weight_decay=0.0,
                    eps=eps,
                    amsgrad=False,
                    maximize=False,
                )

        return update


def rule_of(config: Mapping[str, Any]) -> Rule:
    """The rule by which a configuration updates its parameters.

    Raises:
        SpaceError: The optimizer is unknown.
    """
    return RULES[known("optimizer", config.get("optimizer", "adam"), RULES)]


def learning_rate(config: Mapping[str, Any], update: int, updates: int) -> float:
    """The learning rate of update number ``update``, counted from 0, of ``updates`` in the whole training.

    >>> learning_rate({"learning_rate": 0.5, "schedule": "step"}, update=5, updates=10)
    0.05

    Raises:
        SpaceError: The schedule is unknown.
    """
    return float(learning_rates(config, update, 1, updates)[0])


def learning_rates(config: Mapping[str, Any], first: int, n: int, updates: int) -> np.ndarray:
    """The learning rates of ``n`` updates from number ``first`` on, float64; see ``learning_rate``."""
    return _rates([config], np.array([first], dtype=np.float64), n, [updates])[:, 0]


def _rates(configs: Sequence[Mapping[str, Any]], first: np.ndarray, n: int, updates: Sequence[int]) -> np.ndarray:
    """The learning rates of ``n`` updates of each lane, shape ``(n, k)``; ``first`` and ``updates`` for each lane."""
    peak = np.array([float(config.get("learning_rate", 0.001)) for config in configs])
    total = np.array(updates, dtype=np.float64)
    warmup = np.array([float(config.get("warmup", 0.0)) for config in configs]) * total
    update = first + np.arange(n)[:, None]
    done = (update - warmup) / np.maximum(total - warmup, 1)
    names = np.array([known("schedule", config.get("schedule", "constant"), SCHEDULES) for config in configs])
    rates = np.empty_like(done)
    for name in np.unique(names):
        rates[:, names == name] = SCHEDULES[name](done[:, names == name])
    rising = update < warmup
    if rising.any():
        rates = np.where(rising, np.minimum(1.0, (update + 1) / np.maximum(warmup, 1e-300)), rates)
    return peak * rates


def _coefficients(rule: Rule, config: Mapping[str, Any]) -> Coefficients:
    default = rule.defaults
    return Coefficients(
        momentum=float(config.get("momentum", default.momentum)),
        nesterov=bool(config.get("nesterov", default.nesterov)),
        beta1=float(config.get("beta1", default.beta1)),
        beta2=float(config.get("beta2", default.beta2)),
    )
