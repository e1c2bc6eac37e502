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
from functools import partial
from itertools import chain

import cloudpickle
import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vmap

from ayar.curves.reading import DEAD_UNITS
from ayar.nets.alone import EVALUATION_ROWS, Alone, Loss, Material, batches, seed_of, smoothed
from ayar.nets.inside import Glance, dead_share, together
from ayar.nets.optimizers import LaneOptimizer, LaneState
from ayar.nets.traced import Computation, traced

CHANNELS: Mapping[type[nn.Module], int] = {nn.Dropout1d: 3, nn.Dropout2d: 4, nn.Dropout3d: 5}
"""Dropouts of whole channels -> the dimensions of a batch of their inputs."""


Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class DropoutCall:
    """One use of a dropout in a forward pass: which of the net's, and the mask it needs."""

    dropout: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype


class Template:
    """What the nets of one kind have in common.

    Args:
        net: One of them.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        smooths: Whether the lanes' label smoothing counts; see ``ayar.nets.alone.smoothed``.

    Attributes:
        signature: Equal for nets of one kind. It tells classes, shapes and all attributes apart, by value; it means
            nothing outside this process.
        traced_width: Stacks of so many are traced: their gradients are worked out without the net's Python code.
    """

    def __init__(self, net: nn.Module, loss: Loss, smooths: bool = False) -> None:
        tensors = [*net.parameters(), *net.buffers()]
        self._net = copy.deepcopy(net, {id(tensor): _without_values(tensor) for tensor in tensors})
        self._loss = loss
        self.smooths = smooths
        self._masks = _Masks()
        replaced = {
            module: _Dropout(number, CHANNELS.get(type(module)), self._masks)
            for number, module in enumerate(filter(_is_dropout, self._net.modules()))
        }
        for path, module in list(self._net.named_modules(remove_duplicate=False)):
            if module in replaced:
                self._net.set_submodule(path, replaced[module])
        self._slots = _slots(self._net)
        self._net.train()
        self.signature = self._pickled()
        self.traced_width: int | None = None
        self._dropout_calls: dict[int, list[DropoutCall]] = {}
        self._traces: dict[torch.Size, Computation] = {}

    @property
    def has_changed(self) -> bool:
        """Whether a pass has left something behind in the net, beside its tensors."""
        self._net.train()
        return self._pickled() != self.signature

    def dropout_calls(self, tensors: Tensors, X: Tensor) -> list[DropoutCall]:
        """The uses of dropout while a net with these tensors trains on the rows of ``X``, in their order."""
        if len(X) not in self._dropout_calls:
            self._net.train()
            copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            with torch.no_grad(), self._masks.recorded() as calls:
                self._forward(copies, X)
            self._dropout_calls[len(X)] = calls
        return self._dropout_calls[len(X)]

    def gradients(
        self, trained: Tensors, others: Tensors, X: Tensor, y: Tensor, smoothing: Tensor, masks: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Gradients ``(k, n)`` and losses ``(k,)`` of k nets; the i-th has row i of everything.

        Args:
            trained: The trained parameters by name, in the order that the gradients are to have.
            others: The other tensors of the nets; a pass may change them.
            X: Their mini-batches, ``(k, batch, ...)``.
            y: The targets.
            smoothing: Of their labels, ``(k,)``.
            masks: For the dropouts, in the order in which they are used.
        """
        compute: Computation = partial(self._gradients, tuple(trained), tuple(others))
        inputs = [*trained.values(), *others.values(), X, y, smoothing, *masks]
        if len(X) == self.traced_width:
            compute = self._traced(compute, inputs, X.shape[:2])
        with torch.no_grad():
            gradients, losses = compute(*inputs)
        return gradients, losses

    def _traced(self, compute: Computation, inputs: Sequence[Tensor], shape: torch.Size) -> Computation:
        if shape not in self._traces:
            try:
                self._traces[shape] = traced(compute, inputs)
            except Exception:  # noqa: BLE001 - whatever a trace cannot follow still works without one
                self._traces[shape] = compute
        return self._traces[shape]

    def _gradients(self, trained: tuple[str, ...], others: tuple[str, ...], *inputs: Tensor) -> tuple[Tensor, Tensor]:
        self._net.train()
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in zip(trained, inputs, strict=False)}
        rest = dict(zip(others, inputs[len(trained) :], strict=False))
        X, y, smoothing, *masks = inputs[len(trained) + len(others) :]

        def of_one(own: Tensors, X: Tensor, y: Tensor, smoothing: Tensor, masks: Sequence[Tensor]) -> Tensor:
            loss = smoothed(self._loss, smoothing) if self.smooths else self._loss
            with self._masks.given(masks):
                return loss(self._forward(own, X), y)

        with torch.enable_grad():
            losses = vmap(of_one)(leaves | rest, X, y, smoothing, tuple(masks))
            # Each loss depends on its own net's row alone, so the gradient of the sum holds all gradients.
            slopes = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
        return torch.cat([slope.reshape(len(slope), -1) for slope in slopes], dim=1), losses.detach()

    def _forward(self, own: Tensors, X: Tensor) -> Tensor:
        tensors = {slot: own[name] for slot, name in self._slots.items()}
        outputs: Tensor = functional_call(self._net, tensors, (X,), tie_weights=False)
        return outputs

    def _pickled(self) -> bytes:
        pickled: bytes = cloudpickle.dumps(self._net)
        return pickled

    def outputs(self, tensors: Tensors, X: Tensor) -> Tensor:
        """What k nets say about the same rows when they aren't training: ``(k, n, ...)``."""
        self._net.eval()
        n_nets = len(next(iter(tensors.values())))
        of_all = vmap(self._forward, in_dims=(0, None))
        with torch.inference_mode():
            pieces = batches(X, max(1, EVALUATION_ROWS // n_nets))
            return torch.cat([of_all(tensors, rows) for rows in pieces], dim=1)


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
        self._smoothing = self._state.vector.new_tensor([material.smoothing(lane.config) for lane in self.lanes])
        self._shares = [_shares(lane.net) for lane in self.lanes]
        self._shapes = shapes
        self._seen: list[dict[str, float]] = []

    def epoch(self) -> list[dict[str, float]]:
        """Train one epoch; returns each lane's metrics then, in the order in which they were given."""
        sums = self.train()
        probes, valids = self._outputs(self._material.X_probe), self._outputs(self._material.X_valid)
        metrics = {
            lane: self._material.measurement(*measured)
            for lane, *measured in zip(self.lanes, sums, probes, valids, strict=True)
        }
        looks = [lane.looks for lane in self.lanes]
        self._store()
        for lane, seen, looked in zip(self.lanes, self._seen, looks, strict=False):
            if looked:
                lane.seen = seen | {DEAD_UNITS: dead_share(lane.net, self._material.last_rows)}
        return [together(metrics[lane], lane.seen) for lane in self._given]

    def train(self) -> list[float]:
        """Train one epoch of the stack alone; returns each lane's sum of its mini-batches' losses."""
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
        looking = any(lane.looks for lane in self.lanes)
        for rows, coefficients in zip(parts, optimizer.coefficients(done, len(parts)), strict=True):
            X, y = (_gathered(of_all, rows).to(totals.device) for of_all in (X_train, y_train))
            totals += self.gradients(X, y, generators)
            glance = self._glance() if looking else None
            optimizer.step(coefficients)
            if glance is not None:
                self._seen, looking = glance.told([lane.entries for lane in self.lanes]), False
        self._updates = len(parts)
        sums: list[float] = totals.tolist()
        return sums

    def _glance(self) -> Glance:
        slopes = _views(self._state.gradient, self._shapes)
        names = [name for name, shape in self._shapes.items() if len(shape) > 1]
        return Glance(self._state.gradient, [self._trained[n] for n in names], [slopes[n] for n in names])

    def generators(self) -> list[Generator]:
        """A generator for each lane that gives what torch's global one gives in its next epoch alone."""
        return [Generator().manual_seed(seed_of(lane.seed, lane.step + 1)) for lane in self.lanes]

    def gradients(self, X: Tensor, y: Tensor, generators: Sequence[Generator]) -> Tensor:
        """Leave each lane's gradient on its mini-batch with the optimizer's state; returns the losses, ``(k,)``.

        ``X`` and ``y`` have shapes ``(k, batch, ...)``.
        """
        tensors = self._trained | self._others
        calls = (
            self._template.dropout_calls({name: t[0] for name, t in tensors.items()}, X[0]) if self._shares[0] else []
        )
        masks = [_mask(call, self._shares, generators).to(X.device) for call in calls]
        gradients, losses = self._template.gradients(self._trained, self._others, X, y, self._smoothing, masks)
        self._state.gradient.copy_(gradients)
        return losses

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


def _slots(net: nn.Module) -> dict[str, str]:
    """Each place where a net keeps a tensor, with the tensor's name; tied tensors have several places.

    ``functional_call`` could tie them itself, but leaves the tensors of the call in modules that are shared.
    """
    names: dict[int, str] = {}
    slots = {}
    for path, module in net.named_modules():
        own = (module.named_parameters, module.named_buffers)
        for name, tensor in chain(*(named(recurse=False, remove_duplicate=False) for named in own)):
            slot = f"{path}.{name}" if path else name
            slots[slot] = names.setdefault(id(tensor), slot)
    return slots


class _Masks:
    """Hands the dropouts of a template their masks, or notes which they would need."""

    def __init__(self) -> None:
        self._given: Iterator[Tensor] = iter(())
        self._calls: list[DropoutCall] | None = None

    @contextmanager
    def given(self, masks: Sequence[Tensor]) -> Iterator[None]:
        self._given = iter(masks)
        yield
        self._given = iter(())

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
    """Named parameters that lie in ``vectors``, one row each."""
    parts = vectors.split([shape.numel() for shape in shapes.values()], dim=1)  # type: ignore[no-untyped-call]
    return {name: part.view(-1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def untrained(net: nn.Module) -> dict[str, Tensor]:
    """The tensors of a net that aren't trained, by name."""
    frozen = {name: p.detach() for name, p in net.named_parameters() if not p.requires_grad}
    return frozen | dict(net.named_buffers())


def _gathered(rows: Tensor, numbers: Tensor) -> Tensor:
    """The rows with these numbers, of shape ``(k, batch)``: ``(k, batch, ...)``, where the rows are."""
    return rows.index_select(0, numbers.reshape(-1)).view(*numbers.shape, *rows.shape[1:])


def _without_values(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
