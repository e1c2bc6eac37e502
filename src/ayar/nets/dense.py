"""k plain nets of one shape as one batched computation: forward, backward and update without autograd.

All tensors are allocated once. What a mini-batch does is a list of calls on them, made once for each number of rows,
so that a step costs Python no more than walking through that list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import Tensor

from ayar.nets.dropout import threshold

Call = Callable[[], object]
_aten = torch.ops.aten
_softmax = _aten._softmax.out  # noqa: SLF001 - the public one allocates its result
ALIGNMENT = 32
"""Each lane has its numbers in multiples of so many: two vector registers' worth, the stride of PyTorch's loops. So
none are the remainder of a loop, where the last bit may differ, and what trains beside a lane changes no bit of it."""


@dataclass(frozen=True)
class Layout:
    """Where the parameters of a net with these layers lie in a lane's row: first all W[l], then all b[l].

    Attributes:
        sizes: Inputs, units of each hidden layer, outputs.
    """

    sizes: tuple[int, ...]

    @property
    def n_weights(self) -> int:
        """Columns that hold an entry of some W[l]."""
        return sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def width(self) -> int:
        """Columns of the row."""
        return aligned(self.n_weights + sum(self.sizes[1:]))

    def weights(self, rows: Tensor) -> list[Tensor]:
        """Views of W[1], W[2], ... in rows of shape ``(k, width)``: ``(k, n[l], n[l-1])`` each."""
        return self._views(rows, 0, [(n_out, n_in) for n_in, n_out in pairwise(self.sizes)])

    def biases(self, rows: Tensor) -> list[Tensor]:
        """Views of b[1], b[2], ... in rows of shape ``(k, width)``: ``(k, 1, n[l])`` each."""
        return self._views(rows, self.n_weights, [(1, n_out) for n_out in self.sizes[1:]])

    def positions(self) -> Tensor:
        """The column of each entry of W[1], b[1], W[2], b[2], ..., the order in which a net lists its parameters."""
        columns = torch.arange(self.width).unsqueeze(0)
        pairs = zip(self.weights(columns), self.biases(columns), strict=True)
        return torch.cat([part.flatten() for pair in pairs for part in pair])

    @staticmethod
    def _views(rows: Tensor, start: int, shapes: list[tuple[int, int]]) -> list[Tensor]:
        views = []
        for n_out, n_in in shapes:
            views.append(rows[:, start : start + n_out * n_in].view(len(rows), n_out, n_in))
            start += n_out * n_in
        return views


def aligned(n: int) -> int:
    """The next multiple of ``ALIGNMENT``."""
    return -(-n // ALIGNMENT) * ALIGNMENT


def runs(values: Sequence[Any]) -> list[tuple[Any, slice]]:
    """Runs of equal values, each with where it lies.

    >>> runs(["tanh", "relu", "relu"])
    [('tanh', slice(0, 1, None)), ('relu', slice(1, 3, None))]
    """
    found, start = [], 0
    for value, group in groupby(values):
        stop = start + len(list(group))
        found.append((value, slice(start, stop)))
        start = stop
    return found


class Step:
    """Forward and backward pass of k nets over ``rows`` rows each, as calls on tensors allocated here.

    Args:
        layout: Of each lane's row.
        vector: Parameters, shape ``(k, width)``.
        gradient: Where the backward pass leaves the gradients, shape ``(k, width)``.
        configs: Of the k lanes, for activation and dropout.
        table: Training rows: inputs, then targets (one-hot, or one real number), shape ``(n, inputs + outputs)``.
        rows: Of a mini-batch.
        errors: Sums up, over all steps, what is finite where the losses are, shape ``(k, >= rows, outputs)``.
        is_regression: Mean squared error instead of cross-entropy.
    """

    def __init__(
        self,
        layout: Layout,
        vector: Tensor,
        gradient: Tensor,
        configs: Sequence[Mapping[str, Any]],
        table: Tensor,
        rows: int,
        errors: Tensor,
        is_regression: bool,
    ) -> None:
        k = len(configs)
        self._table = table
        self._batch = vector.new_empty(k * rows, table.shape[1])
        batch = self._batch.view(k, rows, -1)
        self._errors = errors[:, :rows]
        self._activations = runs([config.get("activation", "relu") for config in configs])
        shares = [float(config.get("dropout", 0.0)) for config in configs]
        self._drops = any(shares)
        self._thresholds = torch.tensor([threshold(s) for s in shares], dtype=torch.int16).view(k, 1)
        self._scales = vector.new_tensor([1 / (1 - s) for s in shares]).view(k, 1)
        self._thresholds = self._thresholds.to(vector.device)
        self._masks: list[tuple[Tensor, Tensor]] = []

        inputs, targets = batch[..., : layout.sizes[0]], batch[..., layout.sizes[0] :]
        weights, biases = layout.weights(vector), layout.biases(vector)
        slopes = [layout.weights(gradient), layout.biases(gradient)]
        forward: list[Call] = []
        backward: list[Call] = []
        h = slope_below = inputs
        for layer, (W, b, dW, db) in enumerate(zip(weights, biases, *slopes, strict=True)):
            is_output = layer == len(weights) - 1
            n = rows * W.shape[1]
            z = Units(vector, rows, W.shape[1], n if is_output else aligned(n))  # softmax wants no gaps, nor needs them
            dz, out, ahead, behind = self._loss(z, targets, is_regression) if is_output else self._hidden(z)
            forward += [partial(torch.baddbmm, b, h, W.mT, out=z.matrices), *ahead]
            here = [
                *behind,
                partial(torch.bmm, dz.matrices.mT, h, out=dW),
                partial(torch.sum, dz.matrices, 1, keepdim=True, out=db),
            ]
            if layer > 0:
                here.append(partial(torch.bmm, dz.matrices, W, out=slope_below))
            backward = here + backward
            h, slope_below = out.matrices, dz.matrices
        self._calls = [*forward, *backward]

    def run(self, index: Tensor, bits: Sequence[Tensor] = ()) -> None:
        """Leave the gradients of the mini-batch with the rows ``index``, shape ``(k * rows,)``.

        ``bits`` are those of dropout for each hidden layer, of shape ``(k, aligned(rows * n[l]))``.
        """
        torch.index_select(self._table, 0, index, out=self._batch)
        for drawn, (keep, factor) in zip(bits, self._masks, strict=True):
            torch.ge(drawn, self._thresholds, out=keep)
            torch.mul(keep, self._scales, out=factor)
        for call in self._calls:
            call()

    def _hidden(self, z: Units) -> tuple[Units, Units, list[Call], list[Call]]:
        """Slope, outputs, and the calls forward and backward of a hidden layer with inputs ``z``."""
        dz = z.alike()
        forward: list[Call] = []
        backward: list[Call] = []
        for name, lanes in self._activations:
            ahead, behind = ACTIVATE[name](z.flat[lanes], dz.flat[lanes])
            forward += ahead
            backward += behind
        if not self._drops:
            return dz, z, forward, backward
        out, factor = z.alike(), z.alike()
        self._masks.append((torch.empty_like(factor.flat, dtype=torch.bool), factor.flat))
        drop, drop_slope = partial(torch.mul, z.flat, factor.flat, out=out.flat), partial(dz.flat.mul_, factor.flat)
        return dz, out, [*forward, drop], [drop_slope, *backward]

    def _loss(self, z: Units, targets: Tensor, is_regression: bool) -> tuple[Units, Units, list[Call], list[Call]]:
        """As ``_hidden``, of the output layer: its slope is the derivative of the mean loss by ``z``."""
        dz, rows = z.alike(), targets.shape[1]
        if is_regression:
            backward = [
                partial(torch.sub, z.matrices, targets, out=dz.matrices),
                partial(self._errors.addcmul_, dz.matrices, dz.matrices),
            ]
        else:
            backward = [
                partial(self._errors.addcmul_, z.matrices, targets),
                partial(_softmax, z.matrices, 2, False, out=dz.matrices),
                partial(dz.matrices.sub_, targets),
            ]
        return dz, z, [], [*backward, partial(dz.flat.mul_, (2 if is_regression else 1) / rows)]


class Units:
    """One number for each unit of a layer, row and lane.

    Attributes:
        flat: Shape ``(k, stride)``, for what is done to each number by itself.
        matrices: A view of the numbers in use, shape ``(k, rows, n)``.
    """

    def __init__(self, like: Tensor, rows: int, n: int, stride: int) -> None:
        self.flat = like.new_zeros(len(like), stride)
        self.matrices = self.flat[:, : rows * n].view(-1, rows, n)

    def alike(self) -> Units:
        """Another of the same shape."""
        return Units(self.flat, *self.matrices.shape[1:], self.flat.shape[1])


def _relu(z: Tensor, dz: Tensor) -> tuple[list[Call], list[Call]]:
    return [partial(torch.relu_, z)], [partial(_aten.threshold_backward.grad_input, dz, z, 0, grad_input=dz)]


def _leaky_relu(z: Tensor, dz: Tensor) -> tuple[list[Call], list[Call]]:
    slope = 0.01
    backward = partial(_aten.leaky_relu_backward.grad_input, dz, z, slope, True, grad_input=dz)
    return [partial(_aten.leaky_relu_, z, slope)], [backward]


def _tanh(z: Tensor, dz: Tensor) -> tuple[list[Call], list[Call]]:
    return [partial(torch.tanh_, z)], [partial(_aten.tanh_backward.grad_input, dz, z, grad_input=dz)]


def _sigmoid(z: Tensor, dz: Tensor) -> tuple[list[Call], list[Call]]:
    return [partial(torch.sigmoid_, z)], [partial(_aten.sigmoid_backward.grad_input, dz, z, grad_input=dz)]


def _gelu(z: Tensor, dz: Tensor) -> tuple[list[Call], list[Call]]:
    before = torch.empty_like(z)  # its slope needs what went in; that of the others follows from what came out
    forward = [partial(before.copy_, z), partial(_aten.gelu.out, before, out=z)]
    return forward, [partial(_aten.gelu_backward.grad_input, dz, before, grad_input=dz)]


ACTIVATE: Mapping[str, Callable[[Tensor, Tensor], tuple[list[Call], list[Call]]]] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
}
"""Name -> calls that turn ``z`` into ``g(z)`` in place, and then the slope by ``g(z)`` in ``dz`` into that by ``z``."""


def outputs(layout: Layout, vector: Tensor, activations: Sequence[str], X: Tensor) -> Tensor:
    """What k nets say about the rows of ``X``, without dropout: shape ``(k, n, outputs)``."""
    h = X.expand(len(vector), *X.shape)
    for layer, (W, b) in enumerate(zip(layout.weights(vector), layout.biases(vector), strict=True), start=1):
        z = Units(vector, len(X), W.shape[1], aligned(len(X) * W.shape[1]))
        h = torch.baddbmm(b, h, W.mT, out=z.matrices)
        if layer < len(layout.sizes) - 1:
            for name, lanes in runs(activations):
                for call in ACTIVATE[name](z.flat[lanes], z.flat[lanes])[0]:
                    call()
    return h
