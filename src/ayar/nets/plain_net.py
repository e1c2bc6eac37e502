"""The L-layer net itself, as a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ayar.nets.alone import share
from ayar.nets.data import Data
from ayar.nets.dropout import dropout
from ayar.nets.registry import registry
from ayar.records import Configuration

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": nn.functional.leaky_relu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


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
        self.activation = ACTIVATIONS[config.get("activation", "relu")]
        self.dropout = share(config, "dropout")
        self.squeeze = squeeze

    def forward(self, a: Tensor) -> Tensor:
        """The outputs for the rows of ``a``."""
        for layer in range(1, self.output_layer):
            a = self.activation(nn.functional.linear(a, *self._weights(layer)))
            a = dropout(a, self.dropout, self.training)
        outputs = nn.functional.linear(a, *self._weights(self.output_layer))
        return outputs.squeeze(-1) if self.squeeze else outputs

    def hidden_outputs(self, a: Tensor) -> list[Tensor]:
        """What each hidden layer gives for the rows of ``a``, without dropout: ``(n, n[l])`` each."""
        outputs: list[Tensor] = []
        for layer in range(1, self.output_layer):
            outputs.append(self.activation(nn.functional.linear(outputs[-1] if outputs else a, *self._weights(layer))))
        return outputs

    def _weights(self, layer: int) -> tuple[Tensor, Tensor]:
        return getattr(self, f"W[{layer}]"), getattr(self, f"b[{layer}]")


def build_deep_net(config: Configuration, data: Data) -> DeepNet:
    """The L-layer net of ``config`` for the shape of ``data``."""
    is_regression = data.kind == "regression"
    n_outputs = 1 if is_regression else data.n_classes
    return DeepNet(config, data.X_train.shape[1], n_outputs, squeeze=is_regression)
