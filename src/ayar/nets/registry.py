"""The registry of the L-layer net: its parameters W[l], b[l], and how they begin.

It follows from the configuration and the data's width alone; the net itself is built from it, so the two cannot
disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any

from ayar.errors import SpaceError
from ayar.nets.names import known

BEGINNINGS = {"relu": "He", "leaky_relu": "He", "gelu": "He", "tanh": "Glorot", "sigmoid": "Glorot"}
"""Activation -> whose normal distribution the layers before it begin with."""


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One parameter array of a net.

    Attributes:
        name: ``"W[1]"`` is the weight matrix into the first hidden layer, ``"b[1]"`` its bias.
        shape: For W[l]: ``(n[l], n[l-1])``; for b[l]: ``(n[l],)``.
        sd: Standard deviation of the normal distribution it is drawn from; 0 for zeros, NaN where unknown.
        initialisation: The same in words.
        decided_by: The hyperparameters that its existence, its shape or its initialisation follow from.
        item_bytes: Bytes per entry.
    """

    name: str
    shape: tuple[int, ...]
    sd: float
    initialisation: str
    decided_by: tuple[str, ...]
    item_bytes: int = 4

    @property
    def count(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Memory of the values alone; gradients and optimizer state come on top."""
        return self.count * self.item_bytes


def hidden_units(config: Mapping[str, Any]) -> list[int]:
    """Units of each hidden layer, n[1] ... n[L]. A single number stands for every layer.

    >>> hidden_units({"hidden_layers": 3, "hidden_units": 64})
    [64, 64, 64]

    Raises:
        SpaceError: Their number is not ``hidden_layers``, or one is no positive whole number.
    """
    units = config.get("hidden_units", 128)
    if not isinstance(units, list | tuple):
        units = [units] * int(config.get("hidden_layers", 2))
    if len(units) != config.get("hidden_layers", len(units)):
        raise SpaceError(
            f"hidden_units={list(units)} has {len(units)} layers, but hidden_layers={config['hidden_layers']}. "
            "Give one number for each hidden layer, or a single number for all."
        )
    if not all(isinstance(n, Integral) and int(n) >= 1 for n in units):
        raise SpaceError(f"hidden_units={list(units)}: each layer needs a whole number of units, at least 1.")
    return [int(n) for n in units]


def registry(config: Mapping[str, Any], n_inputs: int, n_outputs: int) -> list[ParameterInfo]:
    """Every W[l] and b[l] of the L-layer net, from input to output, without training or building it.

    Layers before a relu, leaky_relu or gelu begin with He's normal distribution, sd = sqrt(2 / n[l-1])
    (He et al. 2015, arXiv:1502.01852, eq. 10); layers before tanh or sigmoid and the linear output with
    Glorot's, sd = sqrt(2 / (n[l-1] + n[l])) (Glorot and Bengio 2010, eq. 12); biases with zeros.

    >>> [(p.name, p.shape) for p in registry({"hidden_layers": 1, "hidden_units": [5]}, 4, 3)]
    [('W[1]', (5, 4)), ('b[1]', (5,)), ('W[2]', (3, 5)), ('b[2]', (3,))]
    """
    sizes = [n_inputs, *hidden_units(config), n_outputs]
    activation = known("activation", config.get("activation", "relu"), BEGINNINGS)
    infos = []
    for layer, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        is_output = layer == len(sizes) - 1
        is_glorot = is_output or BEGINNINGS[activation] == "Glorot"
        sd = math.sqrt(2 / (n_in + n_out)) if is_glorot else math.sqrt(2 / n_in)
        how = f"{'Glorot' if is_glorot else 'He'} normal, sd {sd:.2g}"
        decided_by = ("hidden_layers", "hidden_units", *(() if is_output else ("activation",)))
        infos.append(ParameterInfo(f"W[{layer}]", (n_out, n_in), sd, how, decided_by))
        bias_by = ("hidden_layers",) if is_output else ("hidden_layers", "hidden_units")
        infos.append(ParameterInfo(f"b[{layer}]", (n_out,), 0.0, "zeros", bias_by))
    return infos
