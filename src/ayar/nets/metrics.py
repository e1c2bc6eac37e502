"""The usual metrics of a validation set, of one net or of many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class OfEach(Protocol):
    """A metric that many nets are measured by in one call."""

    def __call__(self, outputs: Tensor, y: Tensor) -> float:
        """Of one net, from outputs of shape ``(n, ...)``."""
        ...

    def of_each(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The metric of k nets, shape ``(k,)``, from outputs of shape ``(k, n, ...)`` and the same targets for all."""
        ...


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """The share of wrong labels.

    >>> import torch
    >>> ErrorRate()(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """

    def __call__(self, outputs: Tensor, y: Tensor) -> float:
        """Of one net."""
        return float(self.of_each(outputs.unsqueeze(0), y))

    def of_each(self, outputs: Tensor, y: Tensor) -> Tensor:
        """See ``OfEach``."""
        return (outputs.argmax(-1) != y).double().mean(-1)


@dataclass(frozen=True, slots=True)
class RootMeanSquare:
    """The root-mean-square error, in units of which the targets' are ``unit``."""

    unit: float

    def __call__(self, outputs: Tensor, y: Tensor) -> float:
        """Of one net."""
        return float(self.of_each(outputs.unsqueeze(0), y))

    def of_each(self, outputs: Tensor, y: Tensor) -> Tensor:
        """See ``OfEach``."""
        return self.unit * (outputs - y).double().square().mean(-1).sqrt()
