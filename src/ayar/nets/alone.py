"""One trial that trains by itself: what an epoch is, what is measured, and what a checkpoint holds.

However a trial is trained, alone or in a lane, it is these epochs that it goes through.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ayar.checkpoints import left_by
from ayar.curves.reading import DEAD_UNITS
from ayar.errors import DataError, SpaceError
from ayar.nets import parameters
from ayar.nets.dropout import masks_of
from ayar.nets.inside import ROWS, Glance, dead_share, is_looked_at, together
from ayar.nets.metrics import OfEach
from ayar.nets.optimizers import Optimizer, learning_rates
from ayar.records import Configuration, training_key

CHECKPOINT = "checkpoint.safetensors"
EVALUATION_ROWS = 4096  # bounds the memory of an evaluation
DRAWN_BYTES = 2**26  # of training rows are put in order at a time
SAVE_EVERY_S = 5.0
SAVE_SHARE = 0.05  # of the time may go into saving, however large the net
TRAINING = "training/"  # begins the names of those tensors in a checkpoint that are not the net's

Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, eq=False)
class Material:
    """What every trial of a recipe trains on and is measured by, on the device.

    Attributes:
        X_train: Inputs of the training rows; they and their targets stay in main memory, or in the file that they are
            mapped from, where they are too many for the device.
        y_train: Their targets.
        X_probe: Training rows for the train probe, the same for every trial.
        y_probe: Their targets.
        X_valid: Inputs of the validation rows.
        y_valid: Their targets.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        metrics: Name -> ``metric(outputs, targets) -> float``, of the validation set.
        precision: Of products of float32 matrices, as ``torch.set_float32_matmul_precision`` takes it.
    """

    X_train: Tensor
    y_train: Tensor
    X_probe: Tensor
    y_probe: Tensor
    X_valid: Tensor
    y_valid: Tensor
    loss: Loss
    metrics: Mapping[str, Metric]
    precision: str = "highest"

    @contextmanager
    def multiplied(self) -> Iterator[None]:
        """Inside, matrices are multiplied in this precision; afterwards as before."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    @property
    def device(self) -> torch.device:
        """Where trials train."""
        return self.X_probe.device

    def smoothing(self, config: Configuration) -> float:
        """The share of each target that ``label_smoothing`` spreads over all classes; 0 for a loss of one's own."""
        return share(config, "label_smoothing") if self.loss is nn.functional.cross_entropy else 0.0

    @cached_property
    def last_rows(self) -> Tensor:
        """The last inputs that a net is measured by; its hidden units are to answer to them."""
        return torch.cat([self.X_probe, self.X_valid])[-ROWS:]

    def measurement(self, train_loss: float, probe_outputs: Tensor, valid_outputs: Tensor) -> dict[str, float]:
        """The metrics of one step; all NaN where a loss is not finite.

        Args:
            train_loss: Sum of the epoch's losses, to see whether one of them was not finite; 0 before training.
            probe_outputs: What the net says about ``X_probe``.
            valid_outputs: What the net says about ``X_valid``.
        """
        probe_loss, valid_loss = self.loss(probe_outputs, self.y_probe), self.loss(valid_outputs, self.y_valid)
        return self.of_each([train_loss], [float(probe_loss)], [float(valid_loss)], valid_outputs.unsqueeze(0))[0]

    def of_each(
        self, train_losses: Sequence[float], probe_losses: Sequence[float], valid_losses: Sequence[float], valid: Tensor
    ) -> list[dict[str, float]]:
        """The same for several nets whose losses are known already; ``valid`` are their outputs, ``(k, n, ...)``."""
        several = {name: metric for name, metric in self.metrics.items() if isinstance(metric, OfEach)}
        quick = {name: metric.of_each(valid, self.y_valid).tolist() for name, metric in several.items()}
        found = []
        for net, losses in enumerate(zip(train_losses, probe_losses, valid_losses, strict=True)):
            own = {"train_probe": losses[1], "valid_loss": losses[2]}
            if all(map(math.isfinite, losses)):
                for name, metric in self.metrics.items():
                    own[name] = quick[name][net] if name in quick else float(metric(valid[net], self.y_valid))
            else:
                own = dict.fromkeys([*own, *self.metrics], math.nan)
            found.append(own)
        return found


class Alone:
    """One trial's training.

    Attributes:
        config: Its configuration.
        seed: What all its randomness follows from, together with the number of the epoch.
        net: The net as it is after ``step`` epochs.
        optimizer: Holds the net's trainable parameters as one vector.
        iterations: Epochs of the whole training.
        batch_size: Rows of a mini-batch.
        updates: Mini-batches of the whole training.
        step: Epochs trained.
        seen: What was seen inside the net and not yet told, by metric; see ``ayar.nets.inside``.
    """

    def __init__(
        self, net: nn.Module, config: Configuration, seed: int, material: Material, folder: Path | None = None
    ) -> None:
        self.config = config
        self.seed = seed
        self.iterations, self.batch_size = whole(config, "iterations", None), whole(config, "batch_size", 64)
        self.updates = self.iterations * math.ceil(len(material.X_train) / self.batch_size)
        self.net = net
        self.optimizer = Optimizer(net, config)
        self.step = 0
        self.seen: dict[str, float] = {}
        self._material = material
        self._loss = smoothed(material.loss, material.smoothing(config))
        self._checkpoint = Checkpoint(folder, config, seed) if folder is not None else None

    def restore(self, at_most: int) -> None:
        """Go on from the folder's checkpoint, where there is a usable one at or before step ``at_most``."""
        found = self._checkpoint.restored(at_most) if self._checkpoint and at_most > 0 else None
        if found is not None:
            self.net.load_state_dict(found.tensors)
            for name, average in self.optimizer.state.items():
                average.copy_(found.averages[name])
            self.optimizer.updates, self.step = found.updates, found.step

    def copied(self) -> Alone:
        """The same training with a net and an optimizer of its own, and no folder."""
        copied = Alone(copy.deepcopy(self.net), self.config, self.seed, self._material)
        for name, average in self.optimizer.state.items():
            copied.optimizer.state[name].copy_(average)
        copied.optimizer.updates, copied.step = self.optimizer.updates, self.step
        return copied

    def epoch(self) -> float:
        """Train one epoch; returns the sum of its mini-batches' losses."""
        X_train, y_train = self._material.X_train, self._material.y_train
        self.net.train()
        rates = learning_rates(self.config, self.optimizer.updates, self.updates // self.iterations, self.updates)
        epoch = self.seed, self.step + 1
        with self._material.multiplied(), random_numbers_of(*epoch), masks_of(*epoch):
            total = torch.zeros((), dtype=self.optimizer.vector.dtype, device=self.optimizer.vector.device)
            drawn = _drawn(X_train, y_train, torch.randperm(len(X_train)), self.batch_size, total.device)
            self.seen, looking = {}, self.looks
            for (X, y), rate in zip(drawn, rates.tolist(), strict=True):
                total += self.gradient_of(X, y)
                glance = self._glance() if looking else None
                self.optimizer.step(rate)
                if glance is not None:
                    (self.seen,), looking = glance.told([self.entries]), False
        if self.seen:
            self.seen[DEAD_UNITS] = dead_share(self.net, self._material.last_rows)
        self.step += 1
        return float(total)

    @property
    def looks(self) -> bool:
        """Whether the next epoch is one to look inside."""
        return is_looked_at(self.step + 1, self.iterations)

    @property
    def entries(self) -> list[int]:
        """Of each of its net's weights W[l]."""
        return [W.numel() for W in self._weights]

    @cached_property
    def _weights(self) -> list[Tensor]:
        return [p for p in self.net.parameters() if p.requires_grad and p.ndim > 1]

    def _glance(self) -> Glance:
        weights = self._weights
        slopes = [W.grad.unsqueeze(0) for W in weights if W.grad is not None]
        return Glance(self.optimizer.gradient.unsqueeze(0), [W.data.unsqueeze(0) for W in weights], slopes)

    def gradient_of(self, X: Tensor, y: Tensor) -> Tensor:
        """Leave with the optimizer the gradient of the loss on one mini-batch; returns the loss."""
        self.optimizer.gradient.zero_()
        loss = self._loss(self.net(X), y)
        torch.autograd.backward(loss)
        return loss.detach()

    def measure(self, train_loss: float) -> dict[str, float]:
        """The metrics at this step; ``train_loss`` as in ``Material.measurement``."""
        material = self._material
        with material.multiplied():
            outputs = evaluate(self.net, material.X_probe), evaluate(self.net, material.X_valid)
        return together(material.measurement(train_loss, *outputs), self.seen)

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint is to be written now, in mid-training."""
        return self._checkpoint is not None and self._checkpoint.is_due

    def save(self, *, when_due: bool = False) -> None:
        """Write a checkpoint where there is a folder and this step has none; ``when_due``: only every few seconds."""
        checkpoint = self._checkpoint
        if checkpoint and self.step > checkpoint.saved_step and (checkpoint.is_due or not when_due):
            checkpoint.save(self.net.state_dict(), self.optimizer.state, self.optimizer.updates, self.step)


class Checkpoint:
    """The state of one trial's training in its folder: parameters, optimizer state, step and seed.

    Nothing of the random generators is kept: they are seeded anew each epoch.
    """

    def __init__(self, folder: Path, config: Configuration, seed: int) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / CHECKPOINT
        self.config = config
        self.seed = seed
        self.saved_step = 0
        self._next_save_s = time.monotonic() + SAVE_EVERY_S

    @property
    def is_due(self) -> bool:
        """Whether the last save is long enough ago."""
        return time.monotonic() >= self._next_save_s

    def save(self, tensors: Mapping[str, Tensor], averages: Mapping[str, Tensor], updates: int, step: int) -> None:
        """Write the state; do nothing when the folder was removed meanwhile."""
        if not self.path.parent.is_dir():
            return
        began_s = time.monotonic()
        numbers = {"updates": updates, "step": step, "seed": self.seed}
        state = {**averages, **{name: torch.tensor(number) for name, number in numbers.items()}}
        parameters.save(self.path, {**tensors, **{f"{TRAINING}{name}": t for name, t in state.items()}}, self.config)
        self.saved_step = step
        ended_s = time.monotonic()
        self._next_save_s = ended_s + max(SAVE_EVERY_S, (ended_s - began_s) / SAVE_SHARE)

    def restored(self, at_most: int) -> Restored | None:
        """The saved state; None where none is usable."""
        try:
            tensors, config = parameters.load(self.path)
        except DataError:
            return None
        if f"{TRAINING}step" not in tensors:
            return None
        step, seed, updates = (int(tensors.pop(f"{TRAINING}{name}")) for name in ("step", "seed", "updates"))
        wanted = training_key(self.config, self.seed), left_by(self.path.parent)
        if step > at_most or training_key(config, seed) not in wanted:
            return None
        self.saved_step = step
        averages = {name[len(TRAINING) :]: t for name, t in tensors.items() if name.startswith(TRAINING)}
        return Restored(of_net(tensors), averages, updates, step)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a checkpoint holds.

    Attributes:
        tensors: The net's, by name.
        averages: The optimizer's running averages, by name.
        updates: Mini-batches trained.
        step: Epochs trained.
    """

    tensors: Mapping[str, Tensor]
    averages: Mapping[str, Tensor]
    updates: int
    step: int


def of_net(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those tensors of a checkpoint that are the net's."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(TRAINING)}


def seed_of(seed: int, epoch: int) -> int:
    """The number that seeds torch's random numbers in this epoch; epoch 0 draws the first parameters."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])


@contextmanager
def random_numbers_of(seed: int, epoch: int) -> Iterator[None]:
    """Inside, torch's global random numbers follow from ``(seed, epoch)``; afterwards they go on as before."""
    number = seed_of(seed, epoch)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.default_generator.manual_seed(number)
        torch.cuda.manual_seed_all(number) if torch.cuda.is_available() else None
        yield


def evaluate(net: nn.Module, X: Tensor) -> Tensor:
    """What the net says about the rows of ``X`` when it isn't training."""
    net.eval()
    with torch.inference_mode():
        return torch.cat([net(rows) for rows in batches(X, EVALUATION_ROWS)])


def smoothed(loss: Loss, smoothing: float | Tensor) -> Loss:
    """Cross-entropy with targets of which the share ``smoothing`` is spread over all classes (arXiv:1512.00567).

    That of ``torch.nn.functional.cross_entropy(..., label_smoothing=)``, of which ``vmap`` needs the share as a tensor.
    """
    if isinstance(smoothing, float) and smoothing == 0:
        return loss

    def of_both(outputs: Tensor, y: Tensor) -> Tensor:
        spread = -nn.functional.log_softmax(outputs, dim=1).mean()
        return (1 - smoothing) * loss(outputs, y) + smoothing * spread

    return of_both


def _drawn(X: Tensor, y: Tensor, order: Tensor, size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Mini-batches of ``size`` rows in this order, on the device.

    As many rows at a time are copied as ``DRAWN_BYTES`` hold, so the data may be larger than the memory.
    """
    rows_bytes = max(1, X.nbytes // len(X))
    chunk = max(1, DRAWN_BYTES // (rows_bytes * size)) * size
    for rows in batches(order, chunk):
        there = rows.to(X.device)
        yield from zip(batches(X[there].to(device), size), batches(y[there].to(device), size), strict=True)


def batches(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    """Consecutive pieces of ``size`` rows; the last may be shorter."""
    return rows.split(size)  # type: ignore[no-untyped-call, no-any-return]


def share(config: Mapping[str, Any], name: str) -> float:
    """A number in [0, 1) from the configuration, 0 where it has none.

    Raises:
        SpaceError: It is something else.
    """
    value = float(config.get(name, 0.0))
    if not 0 <= value < 1:
        raise SpaceError(f"{name} is a share and must lie in [0, 1), got {value}.")
    return value


def whole(config: Mapping[str, Any], name: str, default: int | None) -> int:
    """A whole number of at least 1 from the configuration.

    Raises:
        SpaceError: It has none, or it is something else.
    """
    value = config.get(name, default)
    if value is None:
        raise SpaceError(f"The configuration has no {name}. Add it to the space, say {name}=50.")
    if not isinstance(value, Integral) or value < 1:
        raise SpaceError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return int(value)
