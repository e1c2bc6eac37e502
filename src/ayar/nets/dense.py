"""k plain nets of one layout as one batched computation: forward and backward pass without autograd.

All tensors are allocated once. What a mini-batch does is a list of calls on them, made once for each number of rows,
so that a step costs Python no more than walking through that list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from ayar.nets.elementwise import elementwise
from ayar.nets.inside import ROWS, constant, share
from ayar.nets.layout import Layout, rows_for
from ayar.nets.measured import Call
from ayar.nets.optimizers import LaneState
from ayar.nets.products import affine, product

Activated = tuple[list[Call], Callable[..., Call]]
_aten = torch.ops.aten
LEAK = 0.01  # slope of leaky_relu below 0


class Forward:
    """The forward pass of k nets, as calls on tensors allocated here.

    Hidden layers have shape ``(k, rows, n[l])``. The outputs have shape ``(k, outputs, rows)``: what a loss does for
    each row goes over the outputs, and going over the last dimension would cost several times as much.

    Args:
        layout: Of each lane's row.
        vector: Parameters, shape ``(k, layout.width)``.
        activations: Name for each lane.
        inputs: Shape ``(k, rows, inputs)``.
        drops: Multiply by ``factors`` after each activation.

    Attributes:
        read: What each layer reads: the inputs, and then each hidden layer's numbers, after dropout.
        outputs: Of the nets.
        factors: What dropout multiplies each hidden layer by; empty without.
        slopes: For each hidden layer and run of lanes, what makes the backward call of the activation.
        calls: What fills ``outputs``.
    """

    def __init__(
        self, layout: Layout, vector: Tensor, activations: Sequence[str], inputs: Tensor, drops: bool = False
    ) -> None:
        k, rows = inputs.shape[:2]
        self.read = [inputs]
        self.factors: list[Tensor] = []
        self.slopes: list[list[tuple[slice, Callable[..., Call]]]] = []
        self.calls: list[Call] = []
        *hidden, (W, b) = zip(layout.weights(vector), layout.biases(vector), strict=True)
        for V, c in hidden:
            a = vector.new_empty(k, rows, V.shape[1])
            self.calls += affine(c, self.read[-1], V.mT, a)
            self.slopes.append([])
            for name, lanes in runs(activations):
                calls, slope = ACTIVATIONS[name](a[lanes])
                self.calls += calls
                self.slopes[-1].append((lanes, slope))
            if drops:
                self.factors.append(torch.empty_like(a))
                a, activated = torch.empty_like(a), a
                self.calls.append(partial(torch.mul, activated, self.factors[-1], out=a))
            self.read.append(a)
        self.outputs = vector.new_empty(k, W.shape[1], rows)
        self.calls += affine(b.mT, W, self.read[-1].mT, self.outputs)

    def run(self) -> None:
        """Fill ``outputs``."""
        for call in self.calls:
            call()


class Step:
    """Forward and backward pass of k nets over mini-batches of ``rows`` rows.

    Args:
        layout: Of each lane's row.
        state: Of the k lanes: the backward pass reads their parameters and leaves their gradients.
        configs: Of the k lanes, for activation, dropout and label smoothing.
        X: Training rows, shape ``(n, inputs)``.
        y: Class numbers int64, or real targets for mean squared error instead of cross-entropy; shape ``(n,)``.
        n_classes: How many classes there are; 0 for real targets.
        rows: Of a mini-batch.

    Attributes:
        calls: What a mini-batch takes once it is drawn.
    """

    def __init__(
        self,
        layout: Layout,
        state: LaneState,
        configs: Sequence[Mapping[str, Any]],
        X: Tensor,
        y: Tensor,
        n_classes: int,
        rows: int,
    ) -> None:
        k, drawn = len(configs), rows_for(rows)
        self.rows = rows
        self._X, self._y = X, y
        self._inputs = state.vector.new_empty(k * drawn, X.shape[1])
        self._targets = y.new_empty(k * drawn, device=state.vector.device)
        self._drawn = (self._inputs, self._targets)
        if X.device != self._inputs.device:  # rows that are too many for the device stay where they are
            self._drawn = (X.new_empty(self._inputs.shape), y.new_empty(k * drawn))
        activations = [config.get("activation", "relu") for config in configs]
        drops = any(config.get("dropout", 0.0) > 0 for config in configs)
        self._forward = Forward(layout, state.vector, activations, self._inputs.view(k, drawn, -1), drops)
        self._errors = state.vector.new_zeros(k, 1, drawn)

        z = self._forward.outputs
        slope = torch.empty_like(z)
        self._own_class = state.vector.new_empty(k, drawn)
        self._every_class = state.vector.new_empty(k, 1, 1)
        self._n_classes = n_classes
        smoothing = [config.get("label_smoothing", 0.0) for config in configs]
        self.smooth(smoothing)
        loss = self._cross_entropy(z, slope, any(smoothing)) if n_classes else self._squared_error(z, slope)
        self.calls = [*self._forward.calls, *loss, *self._slopes(layout, state, slope)]

    def run(self, index: Tensor, factors: Sequence[Tensor] = ()) -> None:
        """Leave the gradients of the mini-batch with the rows ``index``, shape ``(k * rows_for(rows),)``.

        ``factors`` are those of dropout for each hidden layer, of shape ``(k, rows_for(rows), n[l])``.
        """
        self.draw(index, factors)
        for call in self.calls:
            call()

    def draw(self, index: Tensor, factors: Sequence[Tensor] = ()) -> None:
        """Lay out the mini-batch for ``calls``; see ``run``."""
        torch.index_select(self._X, 0, index, out=self._drawn[0])
        torch.index_select(self._y, 0, index, out=self._drawn[1])
        if self._drawn[0] is not self._inputs:
            self._inputs.copy_(self._drawn[0])
            self._targets.copy_(self._drawn[1])
        for ours, drawn in zip(self._forward.factors, factors, strict=True):
            ours.copy_(drawn)

    def smooth(self, smoothing: Sequence[float]) -> None:
        """Set the lanes' label smoothing, none where there was none in ``configs``.

        A target is ``1 - smoothing`` for the row's class, and ``smoothing / n_classes`` for each class more.
        """
        shares = self._own_class.new_tensor(smoothing).unsqueeze(1)
        self._own_class.copy_((shares - 1) / self.rows)
        self._every_class[:, 0] = shares / (max(self._n_classes, 1) * self.rows)

    def take_errors(self) -> Tensor:
        """A number for each lane, finite where all losses were since the last time."""
        errors = self._errors[..., : self.rows].sum((1, 2))
        self._errors.zero_()
        return errors

    def _cross_entropy(self, z: Tensor, slope: Tensor, smooths: bool) -> list[Call]:
        """Calls that make ``slope`` the derivative of the mean loss by z: ``(softmax(z) - targets) / rows``."""
        k, n_outputs, drawn = z.shape
        of_row = torch.empty_like(self._errors)
        firsts = torch.arange(k * drawn, device=z.device)
        firsts += firsts // drawn * ((n_outputs - 1) * drawn)  # where each row's slope by the first output lies
        calls: list[Call] = [
            partial(torch.sum, z, 1, keepdim=True, out=of_row),
            partial(self._errors.add_, of_row),
            partial(torch.amax, z, 1, keepdim=True, out=of_row),
            partial(torch.sub, z, of_row, out=slope),
            elementwise("exp", slope, slope),
            partial(torch.sum, slope, 1, keepdim=True, out=of_row),
            partial(of_row.mul_, self.rows),
            partial(slope.div_, of_row),
            partial(torch.add, firsts, self._targets, alpha=drawn, out=self._targets),
            partial(slope.view(-1).scatter_add_, 0, self._targets, self._own_class.view(-1)),
        ]
        if smooths:
            calls.append(partial(slope[:, : self._n_classes].sub_, self._every_class))
        return calls

    def _squared_error(self, z: Tensor, slope: Tensor) -> list[Call]:
        """Calls that make ``slope`` the derivative of the mean loss by z: ``2 (z - targets) / rows``."""
        return [
            partial(torch.sub, z, self._targets.view(z.shape), out=slope),
            partial(self._errors.addcmul_, slope, slope),
            partial(slope.mul_, 2 / self.rows),
        ]

    def _slopes(self, layout: Layout, state: LaneState, slope: Tensor) -> list[Call]:
        """Calls that turn the slope by the outputs into the slopes by all parameters."""
        calls: list[Call] = []
        weights = layout.weights(state.vector)
        dWs, dbs = layout.weights(state.gradient), layout.biases(state.gradient)
        last = len(weights) - 1
        across = slope  # shape (k, n[l], rows): how outputs lie, and how a layer's slope is multiplied
        for layer in range(last, -1, -1):
            heard, read = across[..., : self.rows], self._forward.read[layer][:, : self.rows]
            calls += product(heard, read, dWs[layer]) if layer == last else product(read.mT, heard.mT, dWs[layer].mT)
            calls.append(partial(torch.sum, heard, 2, keepdim=True, out=dbs[layer].mT))
            if layer > 0:
                below = torch.empty_like(self._forward.read[layer])
                calls += product(across.mT, weights[layer], below)
                if self._forward.factors:
                    calls.append(partial(below.mul_, self._forward.factors[layer - 1]))
                calls += [backward(slope=below[lanes]) for lanes, backward in self._forward.slopes[layer - 1]]
                across = below.mT
        return calls


class Evaluation:
    """What k nets say about fixed rows, without dropout, computed ``CHUNK`` rows at a time.

    Args:
        layout: Of each lane's row.
        vector: Parameters, shape ``(k, layout.width)``.
        activations: Name for each lane.
        X: The rows, shape ``(n, inputs)``.
    """

    CHUNK = ROWS  # so that the numbers of a layer stay in the cache

    def __init__(self, layout: Layout, vector: Tensor, activations: Sequence[str], X: Tensor) -> None:
        self._X = X
        self._chunk = X.new_zeros(min(self.CHUNK, rows_for(len(X))), X.shape[1])
        self._forward = Forward(layout, vector, activations, self._chunk.expand(len(vector), *self._chunk.shape))
        self._outputs = vector.new_empty(len(vector), layout.sizes[-1], len(X))

    def run(self) -> Tensor:
        """The outputs, shape ``(k, outputs, n)``, until the next run."""
        for start in range(0, len(self._X), len(self._chunk)):
            rows = self._X[start : start + len(self._chunk)]
            self._chunk[: len(rows)] = rows
            self._forward.run()
            self._outputs[..., start : start + len(rows)] = self._forward.outputs[..., : len(rows)]
        return self._outputs

    def dead_shares(self, sizes: Mapping[int, Sequence[int]]) -> dict[int, float]:
        """For nets by number, with layers of these sizes, the share of the hidden units with one and the same output.

        Asked after ``run``, for the last ``CHUNK`` rows: those before the last ones still lie in the chunk.
        """
        rows = min(len(self._X), len(self._chunk))
        dead = [constant(layer[:, :rows]).cpu() for layer in self._forward.read[1:]] if sizes else []
        return {
            net: share([layer[net, :n] for layer, n in zip(dead, own[1:-1], strict=True)]) for net, own in sizes.items()
        }


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


def _relu(a: Tensor) -> Activated:
    return [partial(torch.relu_, a)], partial(_through, _aten.threshold_backward.grad_input, a, 0)


def _leaky_relu(a: Tensor) -> Activated:
    backward = partial(_through, _aten.leaky_relu_backward.grad_input, a, LEAK, True)  # True: a is g(z), not z
    return [partial(_aten.leaky_relu_, a, LEAK)], backward


def _tanh(a: Tensor) -> Activated:
    return [elementwise("tanh", a, a)], partial(_through, _aten.tanh_backward.grad_input, a)


def _sigmoid(a: Tensor) -> Activated:
    return [partial(torch.sigmoid_, a)], partial(_through, _aten.sigmoid_backward.grad_input, a)


def _gelu(a: Tensor) -> Activated:
    z = torch.empty_like(a)  # its slope follows from what goes in; that of the others from what comes out
    forward: list[Call] = [partial(z.copy_, a), partial(_aten.gelu.out, z, out=a)]
    return forward, partial(_through, _aten.gelu_backward.grad_input, z)


def _through(backward: Callable[..., object], a: Tensor, *constants: float, slope: Tensor) -> Call:
    return partial(backward, slope, a, *constants, grad_input=slope)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Activated]] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
}
"""Name -> for a tensor, the calls that turn z in it into g(z); and what makes the call that turns, in ``slope``, the
slope by g(z) into the slope by z."""
