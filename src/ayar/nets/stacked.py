"""Nets of one kind as one computation: stacked parameters under ``torch.func.vmap``.

Nets are of one kind where they are equal but for the values of their tensors and the shares of their dropouts. Each
has a generator of its own, from which dropout draws what PyTorch would draw for that net alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cloudpickle
import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vmap

from ayar.nets.alone import EVALUATION_ROWS, Alone, Loss, Material, batches, seed_of
from ayar.nets.optimizers import LaneOptimizer, LaneState

CHANNELS: Mapping[type[nn.Module], int] = {nn.Dropout1d: 3, nn.Dropout2d: 4, nn.Dropout3d: 5}
"""Dropouts of whole channels -> the dimensions of a batch of their inputs."""


@dataclass(frozen=True, slots=True)
class DropoutCall:
    """One use of a dropout in a forward pass: which of the net's, and the mask it needs."""

    dropout: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype


class Template:
    """What the nets of one kind have in common.

    Attributes:
        signature: Equal for nets of one kind. It tells classes, shapes and all attributes apart, by value; it means
            nothing outside this process.
    """

    def __init__(self, net: nn.Module) -> None:
        tensors = [*net.parameters(), *net.buffers()]
        self._net = copy.deepcopy(net, {id(tensor): _without_values(tensor) for tensor in tensors})
        self._masks = _Masks()
        replaced = {
            module: _Dropout(number, CHANNELS.get(type(module)), self._masks)
            for number, module in enumerate(filter(_is_dropout, self._net.modules()))
        }
        for path, module in list(self._net.named_modules(remove_duplicate=False)):
            if module in replaced:
                self._net.set_submodule(path, replaced[module])
        self.signature: bytes = cloudpickle.dumps(self._net)

    def dropout_calls(self, tensors: Mapping[str, Tensor], X: Tensor) -> list[DropoutCall]:
        """The uses of dropout while a net with these tensors trains on the rows of ``X``, in their order."""
        self._net.train()
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        with torch.no_grad(), self._masks.recorded() as calls:
            functional_call(self._net, copies, (X,))
        return calls

    def losses(
        self, tensors: Mapping[str, Tensor], X: Tensor, y: Tensor, masks: Sequence[Tensor], loss: Loss
    ) -> Tensor:
        """The losses ``(k,)`` of k nets; the i-th has row i of its tensors, mini-batch and dropout masks."""
        self._net.train()

        def of_one(own: dict[str, Tensor], X: Tensor, y: Tensor, masks: Sequence[Tensor]) -> Tensor:
            with self._masks.given(masks):
                return loss(functional_call(self._net, own, (X,)), y)

        return vmap(of_one)(dict(tensors), X, y, tuple(masks))

    def outputs(self, tensors: Mapping[str, Tensor], X: Tensor) -> Tensor:
        """What k nets say about the same rows when they aren't training: ``(k, n, ...)``."""
        self._net.eval()
        n_nets = len(next(iter(tensors.values())))
        of_all = vmap(lambda own, X: functional_call(self._net, own, (X,)), in_dims=(0, None))
        with torch.inference_mode():
            pieces = batches(X, max(1, EVALUATION_ROWS // n_nets))
            return torch.cat([of_all(dict(tensors), rows) for rows in pieces], dim=1)


class Stack:
    """Lanes of one kind side by side for an epoch: row i of each tensor is lane i's.

    The lanes themselves change only when the epoch is through, so one that fails midway has changed nothing.

    Attributes:
        lanes: In the order of their rows.
    """

    def __init__(self, template: Template, lanes: Sequence[Alone], material: Material) -> None:
        self._given = list(lanes)
        self.lanes = sorted(lanes, key=lambda lane: lane.optimizer.rule.is_adaptive)
        self._template = template
        self._material = material
        trained = {name: p for name, p in self.lanes[0].net.named_parameters() if p.requires_grad}
        self._order, shapes = _weights_first(trained)
        self._state = LaneState(*(self._rows(name)[:, self._order] for name in LaneState.__slots__))
        self._trained = _views(self._state.vector, shapes)
        others = [untrained(lane.net) for lane in self.lanes]
        self._others = {name: torch.stack([own[name] for own in others]) for name in others[0]}
        self._shares = [_shares(lane.net) for lane in self.lanes]
        self._calls: dict[int, list[DropoutCall]] = {}

    def epoch(self) -> list[dict[str, float]]:
        """Train one epoch; returns each lane's metrics then, in the order in which they were given."""
        sums = self._train()
        probes, valids = self._outputs(self._material.X_probe), self._outputs(self._material.X_valid)
        metrics = {
            lane: self._material.measurement(*measured)
            for lane, *measured in zip(self.lanes, sums, probes, valids, strict=True)
        }
        self._store()
        return [metrics[lane] for lane in self._given]

    def _train(self) -> list[float]:
        """Each lane's sum of its mini-batches' losses."""
        X_train, y_train = self._material.X_train, self._material.y_train
        generators = self.generators()
        orders = torch.stack([torch.randperm(len(X_train), generator=g) for g in generators]).to(X_train.device)
        parts = orders.split(self.lanes[0].batch_size, dim=1)  # type: ignore[no-untyped-call]
        decayed = sum(p[0].numel() for p in self._trained.values() if p[0].ndim > 1)
        optimizer = LaneOptimizer(
            [lane.config for lane in self.lanes], [lane.updates for lane in self.lanes], self._state, decayed
        )
        done = [lane.optimizer.updates for lane in self.lanes]
        totals = self._state.vector.new_zeros(len(self.lanes))
        for rows, coefficients in zip(parts, optimizer.coefficients(done, len(parts)), strict=True):
            totals += self.gradients(_gathered(X_train, rows), _gathered(y_train, rows), generators)
            optimizer.step(coefficients)
        self._updates = len(parts)
        sums: list[float] = totals.tolist()
        return sums

    def generators(self) -> list[Generator]:
        """A generator for each lane that gives what torch's global one gives in its next epoch alone."""
        return [Generator().manual_seed(seed_of(lane.seed, lane.step + 1)) for lane in self.lanes]

    def gradients(self, X: Tensor, y: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Leave each lane's gradient on its mini-batch in ``self.gradient``; returns the losses, ``(k,)``.

        ``X`` and ``y`` have shapes ``(k, batch, ...)``.
        """
        masks = [_mask(call, self._shares, generators).to(X.device) for call in self._dropout_calls(X[0])]
        losses = self._template.losses(self._trained | self._others, X, y, masks, self._material.loss)
        # Each loss depends on its own lane's row alone, so the gradient of the sum holds all gradients.
        slopes = torch.autograd.grad(losses.sum(), list(self._trained.values()), materialize_grads=True)
        torch.cat([s.reshape(len(s), -1) for s in slopes], dim=1, out=self._state.gradient)
        return losses.detach()

    def row(self, lane: Alone) -> tuple[Tensor, dict[str, Tensor]]:
        """A lane's gradient, in the order its optimizer has it, and its untrained tensors."""
        i = self.lanes.index(lane)
        gradient = torch.empty_like(lane.optimizer.gradient)
        gradient[self._order] = self._state.gradient[i]
        return gradient, {name: tensor[i] for name, tensor in self._others.items()}

    def _outputs(self, X: Tensor) -> Tensor:
        return self._template.outputs(self._trained | self._others, X)

    def _rows(self, name: str) -> Tensor:
        """The lanes' parameters, gradients or averages; zeros where a lane has none."""
        of_lane = [{"vector": lane.optimizer.vector, **lane.optimizer.state} for lane in self.lanes]
        return torch.stack([own.get(name, torch.zeros_like(own["vector"])) for own in of_lane])

    def _dropout_calls(self, X: Tensor) -> list[DropoutCall]:
        if len(X) not in self._calls:
            first = {name: tensor[0] for name, tensor in (self._trained | self._others).items()}
            self._calls[len(X)] = self._template.dropout_calls(first, X)
        return self._calls[len(X)]

    def _store(self) -> None:
        """Hand the lanes what they have become."""
        for i, lane in enumerate(self.lanes):
            lane.optimizer.vector[self._order] = self._state.vector[i]
            for name, average in lane.optimizer.state.items():
                average[self._order] = getattr(self._state, name)[i]
            for name, tensor in untrained(lane.net).items():
                tensor.copy_(self._others[name][i])
            lane.optimizer.updates += self._updates
            lane.step += 1


class _Masks:
    """Hands the dropouts of a template their masks, or notes which they would need."""

    def __init__(self) -> None:
        self._given: Iterator[Tensor] = iter(())
        self._calls: list[DropoutCall] | None = None

    @contextmanager
    def given(self, masks: Sequence[Tensor]) -> Iterator[None]:
        self._given = iter(masks)
        yield

    @contextmanager
    def recorded(self) -> Iterator[list[DropoutCall]]:
        calls: list[DropoutCall] = []
        self._calls = calls
        try:
            yield calls
        finally:
            self._calls = None

    def apply(self, a: Tensor, dropout: int, dimensions: int | None) -> Tensor:
        if self._calls is None:
            return a * next(self._given)
        if dimensions not in (None, a.ndim):
            raise ValueError(f"a dropout of channels takes {dimensions} dimensions, got {a.ndim}")
        like = torch.empty_like(a) if dimensions is None else a.new_empty(*a.shape[:2], *[1] * (a.ndim - 2))
        self._calls.append(DropoutCall(dropout, tuple(like.shape), like.stride(), a.dtype))
        return a


class _Dropout(nn.Module):
    """Stands in a template for a dropout of any share."""

    def __init__(self, number: int, dimensions: int | None, masks: _Masks) -> None:
        super().__init__()
        self.number = number
        self.dimensions = dimensions
        self.masks = masks

    def forward(self, a: Tensor) -> Tensor:
        return self.masks.apply(a, self.number, self.dimensions) if self.training else a


def _is_dropout(module: nn.Module) -> bool:
    """Whether a template can replace it: torch's own, and not one that overwrites its input."""
    return (type(module) is nn.Dropout or type(module) in CHANNELS) and not module.inplace


def _shares(net: nn.Module) -> list[float]:
    """Of the dropouts that a template replaces, in their order."""
    return [float(module.p) for module in net.modules() if _is_dropout(module)]  # type: ignore[arg-type]


def _mask(call: DropoutCall, shares: Sequence[Sequence[float]], generators: Sequence[Generator]) -> Tensor:
    """The masks ``(k, *call.shape)`` of one call, drawn as ``torch.nn.functional.dropout`` draws them on a CPU."""
    masks = torch.empty_strided(
        (len(shares), *call.shape), (math.prod(call.shape), *call.strides), dtype=call.dtype, device="cpu"
    )
    for mask, own, generator in zip(masks, shares, generators, strict=True):
        share = own[call.dropout]
        if share in (0.0, 1.0):
            mask.fill_(1.0 - share)
        else:
            mask.bernoulli_(1 - share, generator=generator).div_(1 - share)
    return masks


def _weights_first(trained: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, torch.Size]]:
    """Where the entries of the optimizer's vector go so that those that decay come first, and the shapes then."""
    ends = np.cumsum([p.numel() for p in trained.values()])
    places = {
        name: torch.arange(end - p.numel(), end) for (name, p), end in zip(trained.items(), ends.tolist(), strict=True)
    }
    names = sorted(trained, key=lambda name: trained[name].ndim <= 1)
    return torch.cat([places[name] for name in names]), {name: trained[name].shape for name in names}


def _views(vectors: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Named parameters that share the memory of ``vectors``, one row each."""
    parts = vectors.split([shape.numel() for shape in shapes.values()], dim=1)  # type: ignore[no-untyped-call]
    return {
        name: part.view(-1, *shape).detach().requires_grad_()
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def untrained(net: nn.Module) -> dict[str, Tensor]:
    """The tensors of a net that aren't trained, by name."""
    frozen = {name: p.detach() for name, p in net.named_parameters() if not p.requires_grad}
    return frozen | dict(net.named_buffers())


def _gathered(rows: Tensor, numbers: Tensor) -> Tensor:
    """The rows with these numbers, of shape ``(k, batch)``: ``(k, batch, ...)``."""
    return rows.index_select(0, numbers.reshape(-1)).view(*numbers.shape, *rows.shape[1:])


def _without_values(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
