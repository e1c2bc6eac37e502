"""Looking inside nets while they train: their gradients, their updates, and the units that no longer answer.

A recipe looks ten times in a whole training, at the first mini-batch of an epoch and at the net after it. That is
seldom enough to cost next to nothing, and often enough for ``ayar.curves`` to tell vanishing gradients and dead units.
Alone or in lanes, a trial is looked at in the same epochs, on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ayar.curves.faults import GRADIENT_NORM, GRADIENT_RATIO
from ayar.curves.reading import UPDATE_RATIO

LOOKS = 10
"""In a whole training."""

ROWS = 128
"""That units are asked to answer to."""

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_looked_at(epoch: int, iterations: int) -> bool:
    """Whether this epoch, counted from 1, of a training with so many is one to look at.

    >>> [epoch for epoch in range(1, 51) if is_looked_at(epoch, 50)][:3]
    [5, 10, 15]
    """
    return epoch % max(1, iterations // LOOKS) == 0


class Glance:
    """One mini-batch of k nets, between the backward pass and the update; row i of everything is the i-th net's.

    Args:
        gradient: All gradients, shape ``(k, n)``.
        weights: What W[1], W[2], ... consist of, in one tensor or several: ``(k, ...)``; about to be updated in place.
        slopes: The gradient of each W[l], ``(k, ...)``.
    """

    def __init__(self, gradient: Tensor, weights: Sequence[Tensor], slopes: Sequence[Tensor]) -> None:
        self._weights = weights
        self._before = [W.clone() for W in weights]
        self._norms = [_norm(gradient), *map(_norm, slopes)]

    def told(self, entries: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        """What is seen of each net by metric, asked after the update.

        Args:
            entries: For each net the entries of each W[l].
        """
        moves = [W - before for W, before in zip(self._weights, self._before, strict=True)]
        norms = torch.stack([*self._norms, *map(_norm, moves), *map(_norm, self._before)]).double().cpu().numpy()
        first = len(self._norms)
        squares = np.square(norms[first:]).reshape(2, len(moves), norms.shape[1])
        with np.errstate(all="ignore"):  # of a net that diverges, or has no W[l]
            moved, before = squares.sum(axis=1)
            update = np.sqrt(moved / before)
            slopes = norms[1:first].T / np.sqrt(entries)
            if 1 < len(moves) < 6:  # a third of the layers is one, and that its own median
                ratio = slopes[:, 0] / slopes[:, -1]
            else:
                ratio = first_to_last(torch.from_numpy(slopes)).numpy()
        columns = (norms[0].tolist(), ratio.tolist(), update.tolist())
        names = (GRADIENT_NORM, GRADIENT_RATIO, UPDATE_RATIO)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


@runtime_checkable
class HasHiddenOutputs(Protocol):
    """A net that can say what its hidden units give."""

    def hidden_outputs(self, a: Tensor) -> list[Tensor]:
        """What each hidden layer gives for the rows of ``a``, without dropout: ``(rows, units)`` each."""
        ...


def first_to_last(slopes: Tensor) -> Tensor:
    """The median over the first third of the layers over that of the last third.

    Args:
        slopes: Root-mean-square gradient of each W[l], shape ``(..., layers)``.

    Returns:
        Shape ``(...)``; NaN for a single layer.
    """
    layers = slopes.shape[-1]
    third = max(layers // 3, 1)
    if layers < 2:
        return torch.full(slopes.shape[:-1], math.nan, device=slopes.device)
    return slopes[..., :third].median(dim=-1).values / slopes[..., -third:].median(dim=-1).values


def dead_share(net: nn.Module, probe: Tensor) -> float:
    """Share of the hidden units that give one and the same output for every row of ``probe``; NaN without any.

    A hidden unit is an input of a linear or convolutional layer other than the first; of a convolution, one channel.
    A net without such layers can say it itself: see ``HasHiddenOutputs``.
    """
    if isinstance(net, HasHiddenOutputs):
        with torch.no_grad():
            return share([*map(constant, net.hidden_outputs(probe))])
    inputs: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, given: tuple[Any, ...]) -> None:
        inputs.setdefault(layer, given[0])

    layers = [m for m in net.modules() if isinstance(m, _WEIGHTED)]
    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    training = net.training
    try:
        with torch.no_grad():
            net.eval()(probe)
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return share([constant(_by_unit(layer, x)) for layer, x in list(inputs.items())[1:]])


def constant(outputs: Tensor) -> Tensor:
    """Which units do not vary over the rows: ``(..., rows, units)`` to ``(..., units)``."""
    low, high = outputs.amin(dim=-2), outputs.amax(dim=-2)  # aminmax takes many times as long
    return high - low <= 1e-6 * high.maximum(-low)  # the larger of both in size


def together(measurement: dict[str, float], seen: dict[str, float]) -> dict[str, float]:
    """A measurement with what was seen inside the net, as far as that is finite; ``seen`` is emptied.

    Of a training that has diverged the measurement stands alone: NaN throughout.
    """
    told = {name: value for name, value in seen.items() if math.isfinite(value)}
    seen.clear()
    return measurement if any(map(math.isnan, measurement.values())) else measurement | told


def share(dead: Sequence[Tensor]) -> float:
    """The share of all units, over the layers; NaN without any."""
    units = sum(layer.numel() for layer in dead)
    return sum(int(layer.sum()) for layer in dead) / units if units else math.nan


def _by_unit(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer's input as ``(rows, units)``: the last axis are the units, or a convolution's channels."""
    return x.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1).T


def _norm(tensor: Tensor) -> Tensor:
    """The norm of each row, shape ``(k,)``."""
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.ndim)))
    return norm
