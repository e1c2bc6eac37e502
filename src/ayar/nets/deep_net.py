"""The L-layer net as a recipe.

===============  ======================================================================================
hyperparameter   meaning, and its value where the configuration has none
===============  ======================================================================================
hidden_layers    L, hidden layers; 0 is a linear model (2)
hidden_units     n[1] ... n[L] as a list, or one number for every layer (128)
activation       "relu", "leaky_relu", "gelu", "tanh" or "sigmoid", of the hidden layers ("relu")
dropout          share of hidden units silenced in each training pass (0)
===============  ======================================================================================

and those of ``ayar.nets.optimizers``, ``batch_size`` (64) and ``iterations``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ayar.errors import SpaceError
from ayar.nets.dropout import dropout
from ayar.nets.parameters import ACTIVATIONS, registry
from ayar.nets.recipe import Recipe
from ayar.nets.tasks import Data
from ayar.records import Configuration
from ayar.space import Choice, Float, Int, PerLayer, Space


class DeepNet(nn.Module):
    """``a[l] = dropout(g(W[l] a[l-1] + b[l]))`` for l = 1 ... L, then a linear output layer.

    Inputs have shape ``(n, n_inputs)``. Outputs: logits ``(n, n_outputs)``, or ``(n,)`` where ``squeeze``.
    """

    def __init__(self, config: Mapping[str, Any], n_inputs: int, n_outputs: int, squeeze: bool = False) -> None:
        super().__init__()
        infos = registry(config, n_inputs, n_outputs)
        for info in infos:
            self.register_parameter(info.name, nn.Parameter(info.sd * torch.randn(info.shape)))
        self.output_layer = len(infos) // 2
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[config.get("activation", "relu")]
        self.dropout = _share(config, "dropout")
        self.squeeze = squeeze

    def forward(self, a: Tensor) -> Tensor:
        """The outputs for the rows of ``a``."""
        for layer in range(1, self.output_layer):
            a = self.activation(nn.functional.linear(a, *self._weights(layer)))
            a = dropout(a, self.dropout, self.training)
        outputs = nn.functional.linear(a, *self._weights(self.output_layer))
        return outputs.squeeze(-1) if self.squeeze else outputs

    def _weights(self, layer: int) -> tuple[Tensor, Tensor]:
        return getattr(self, f"W[{layer}]"), getattr(self, f"b[{layer}]")


def build_deep_net(config: Configuration, data: Data) -> DeepNet:
    """The L-layer net of ``config`` for the shape of ``data``."""
    is_regression = data.kind == "regression"
    n_outputs = 1 if is_regression else data.n_classes
    return DeepNet(config, data.X_train.shape[1], n_outputs, squeeze=is_regression)


def deep_net(data: Data | Callable[[], Data]) -> Recipe:
    """The L-layer net on ``data``, as a recipe that Ayar can train."""
    return Recipe(build_deep_net, data)


def default_space(data: Data) -> Space:
    """What is worth tuning of the L-layer net on ``data``, beginning with a configuration that is strong already.

    The ranges are the same for every task; the defaults follow the size of the data. Few rows ask for small batches
    and many iterations, so that a training still holds enough updates; the more numbers an epoch goes through, the
    narrower the net and the fewer the iterations, so that one training stays a matter of seconds.
    """
    n_rows, n_numbers = len(data.X_train), data.X_train.size
    return Space(
        learning_rate=Float(3e-4, 0.3, log=True, default=2e-3),
        hidden_layers=Int(1, 4, default=2),
        hidden_units=PerLayer(Int(32, 512, log=True, default=256 if n_numbers < 1e7 else 128), layers="hidden_layers"),
        activation=Choice("relu", "tanh", "sigmoid"),
        optimizer=Choice("adam", "nesterov", "sgd"),
        momentum=Float(0.5, 0.99, default=0.9, when={"optimizer": ["nesterov", "sgd"]}),
        batch_size=Choice(
            16, 32, 64, 128, 256, ordered=True, default=16 if n_rows < 500 else 64 if n_rows < 5000 else 128
        ),
        weight_decay=Float(1e-6, 1e-2, log=True, default=1e-5),
        dropout=Float(0.0, 0.6, default=0.3 if data.kind == "classification" else 0.1),
        schedule=Choice("cosine", "constant"),
        iterations=200 if n_rows < 500 else 50 if n_numbers < 1e6 else 20,
    )


def _share(config: Mapping[str, Any], name: str) -> float:
    value = float(config.get(name, 0.0))
    if not 0 <= value < 1:
        raise SpaceError(f"{name} is a share and must lie in [0, 1), got {value}.")
    return value
