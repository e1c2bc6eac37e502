"""A training described by parts: build, data, loss, metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ayar.errors import DataError, ObjectiveError, SpaceError
from ayar.nets import parameters
from ayar.nets.optimizers import Optimizer, learning_rate
from ayar.nets.tasks import Data
from ayar.records import Configuration, config_key

CHECKPOINT = "checkpoint.safetensors"
PROBE_ROWS = 512
EVALUATION_ROWS = 4096  # bounds the memory of an evaluation
SAVE_EVERY_S = 5.0
SAVE_SHARE = 0.05  # of the time may go into saving, however large the net
TRAINING = "training/"  # begins the names of those tensors in a checkpoint that are not the net's

Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, eq=False)
class Recipe:
    """A training that Ayar runs itself.

    Attributes:
        build: Makes the net: ``build(config, data) -> torch.nn.Module``, called with torch's random numbers
            seeded by the trial, so that equal seeds begin with equal parameters.
        data: A ``Data``, or a function without arguments that returns one; it is then called once per process.
        loss: ``loss(outputs, targets) -> scalar tensor``, minimised over mini-batches. Cross-entropy for
            classification, mean squared error for regression where it is None.
        metrics: Name -> ``metric(outputs, targets) -> float`` over the whole validation set, as tensors. Where it
            is None: ``valid_error``, the share of wrong labels, or for regression the root-mean-square error
            in the target's units.
        dtype: Of parameters, inputs and real targets.
        device: Where to train; ``"auto"`` is the GPU where there is one.
    """

    build: Callable[[Configuration, Data], nn.Module]
    data: Data | Callable[[], Data]
    loss: Loss | None = None
    metrics: Mapping[str, Metric] | None = None
    dtype: torch.dtype = torch.float32
    device: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.data, Data) and not callable(self.data):
            raise ObjectiveError(
                f"A recipe's data is a Data, or a function that returns one, not {type(self.data).__name__}. "
                "Of a task, hand in task.data."
            )

    def train(
        self, config: Configuration, seed: int, folder: Path | str | None = None, start_step: int = 0
    ) -> Iterator[dict[str, float]]:
        """Train ``config`` epoch by epoch; each ``next`` trains one more and yields what it gave.

        Yields ``{"step", "train_probe", "valid_loss", ...metrics}``: step 0, the untrained net, and then steps
        ``start_step + 1`` to ``config["iterations"]``. ``train_probe`` is the loss on at most 512 training rows,
        the same for every trial and evaluated like the validation set, without dropout. A step whose loss is
        not finite gives NaN throughout and is the last.

        All randomness of epoch e derives from ``(seed, e)``, so trials can take turns in one process, and a
        trial that is resumed goes on bit for bit as if it had never paused. ``folder`` makes resuming quick:
        the state is saved there when the generator is closed, with the last step, and every five seconds or so
        of training in between. Without a usable checkpoint at or before ``start_step`` the missing steps are
        trained again in silence.

        Raises:
            SpaceError: The configuration has no ``iterations``, or an unknown optimizer, schedule or activation.
        """
        iterations, batch_size = _whole(config, "iterations", None), _whole(config, "batch_size", 64)
        data, device, loss, metrics = self._data, self._device, self._loss, self._metrics
        X_train, y_train = self._tensor(data.X_train), self._tensor(data.y_train)
        X_valid, y_valid = self._tensor(data.X_valid), self._tensor(data.y_valid)
        X_probe, y_probe = X_train[probe := _probe_rows(len(X_train))], y_train[probe]
        batches = math.ceil(len(X_train) / batch_size)

        def measure(step: int, train_loss: float) -> dict[str, float]:
            outputs = _evaluate(net, X_valid)
            losses = {
                "train_probe": float(loss(_evaluate(net, X_probe), y_probe)),
                "valid_loss": float(loss(outputs, y_valid)),
            }
            if not all(map(math.isfinite, (train_loss, *losses.values()))):
                return {"step": step, **dict.fromkeys([*losses, *metrics], math.nan)}
            return {
                "step": step,
                **losses,
                **{name: float(f(outputs, y_valid)) for name, f in metrics.items()},
            }

        with _random_numbers_of(seed, 0):
            net = self._built(config)
        optimizer = Optimizer(net, config)
        checkpoint = _Checkpoint(Path(folder), config, seed) if folder is not None else None
        done = checkpoint.restore(net, optimizer, start_step) if checkpoint and start_step > 0 else 0

        try:
            if start_step == 0:
                yield measure(0, 0.0)
            for step in range(done + 1, iterations + 1):
                net.train()
                with _random_numbers_of(seed, step):
                    total = torch.zeros((), dtype=self.dtype, device=device)
                    order = torch.randperm(len(X_train)).to(device)
                    for X, y in zip(
                        _batches(X_train[order], batch_size), _batches(y_train[order], batch_size), strict=True
                    ):
                        optimizer.gradient.zero_()
                        batch_loss = loss(net(X), y)
                        torch.autograd.backward(batch_loss)
                        optimizer.step(learning_rate(config, optimizer.updates, iterations * batches))
                        total += batch_loss.detach()
                done = step
                if step <= start_step:
                    continue
                measurement = measure(step, float(total))
                if checkpoint and step == iterations:
                    checkpoint.save(net, optimizer, step)
                yield measurement
                if math.isnan(measurement["valid_loss"]):
                    return
                if checkpoint and checkpoint.is_due and step < iterations:
                    checkpoint.save(net, optimizer, step)
        except GeneratorExit:
            if checkpoint and done > checkpoint.saved_step:
                checkpoint.save(net, optimizer, done)
            raise

    @property
    def data_hash(self) -> str | None:
        """What tells the data apart from other data, for fingerprints; None where nobody knows."""
        return self._data.content_hash

    def predict(self, folder: Path | str, X: np.ndarray) -> np.ndarray:
        """What the net trained in ``folder`` says about the rows of ``X``, in the units of the data's source.

        Returns logits of shape ``(n, n_classes)`` for classification, values of shape ``(n,)`` in the target's
        units for regression.

        Raises:
            DataError: ``folder`` holds no trained net.
        """
        tensors, config = parameters.load(Path(folder) / CHECKPOINT)
        net = self._built(config)
        net.load_state_dict(_of_net(tensors))
        scaling = self._data.scaling
        outputs = _evaluate(net, self._tensor(scaling.inputs(X)))
        return scaling.outputs(outputs.cpu().numpy())

    def _built(self, config: Configuration) -> nn.Module:
        net = self.build(config, self._data)
        if not isinstance(net, nn.Module):
            raise ObjectiveError(f"build must return a torch.nn.Module, got {type(net).__name__}.")
        return net.to(self._device, self.dtype)

    @cached_property
    def _data(self) -> Data:
        return self.data() if callable(self.data) else self.data

    @property
    def _device(self) -> str:
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.device

    @property
    def _loss(self) -> Loss:
        if self.loss is not None:
            return self.loss
        return nn.functional.cross_entropy if self._data.kind == "classification" else _mean_squared_error

    @property
    def _metrics(self) -> Mapping[str, Metric]:
        if self.metrics is not None:
            return self.metrics
        if self._data.kind == "classification":
            return {"valid_error": lambda outputs, y: float((outputs.argmax(-1) != y).double().mean())}
        y_sd = self._data.scaling.y_sd
        return {"valid_error": lambda outputs, y: y_sd * float((outputs - y).double().square().mean().sqrt())}

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.as_tensor(array, device=self._device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor.long()


class _Checkpoint:
    """The state of one trial's training in its folder: parameters, optimizer state, step and seed.

    Nothing of the random generators is kept: they are seeded anew each epoch.
    """

    def __init__(self, folder: Path, config: Configuration, seed: int) -> None:
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

    def save(self, net: nn.Module, optimizer: Optimizer, step: int) -> None:
        """Write the state; do nothing when the folder was removed meanwhile."""
        if not self.path.parent.is_dir():
            return
        began_s = time.monotonic()
        state = {
            **optimizer.state,
            "updates": torch.tensor(optimizer.updates),
            "step": torch.tensor(step),
            "seed": torch.tensor(self.seed),
        }
        tensors = {**net.state_dict(), **{f"{TRAINING}{name}": t for name, t in state.items()}}
        parameters.save(self.path, tensors, self.config)
        self.saved_step = step
        ended_s = time.monotonic()
        self._next_save_s = ended_s + max(SAVE_EVERY_S, (ended_s - began_s) / SAVE_SHARE)

    def restore(self, net: nn.Module, optimizer: Optimizer, at_most: int) -> int:
        """Put the saved state into place and return its step; 0, changing nothing, where none is usable."""
        try:
            tensors, config = parameters.load(self.path)
        except DataError:
            return 0
        if f"{TRAINING}step" not in tensors:
            return 0
        step, seed = int(tensors[f"{TRAINING}step"]), int(tensors[f"{TRAINING}seed"])
        if step > at_most or seed != self.seed or config_key(config) != config_key(self.config):
            return 0
        net.load_state_dict(_of_net(tensors))
        for name, average in optimizer.state.items():
            average.copy_(tensors[f"{TRAINING}{name}"])
        optimizer.updates = int(tensors[f"{TRAINING}updates"])
        self.saved_step = step
        return step


def _of_net(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(TRAINING)}


@contextmanager
def _random_numbers_of(seed: int, epoch: int) -> Iterator[None]:
    """Inside, torch's global random numbers follow from ``(seed, epoch)``; afterwards they go on as before."""
    number = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(number)
        torch.cuda.manual_seed_all(number) if torch.cuda.is_available() else None
        yield


def _evaluate(net: nn.Module, X: Tensor) -> Tensor:
    net.eval()
    with torch.inference_mode():
        return torch.cat([net(rows) for rows in _batches(X, EVALUATION_ROWS)])


def _batches(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    """Consecutive pieces of ``size`` rows; the last may be shorter."""
    return rows.split(size)  # type: ignore[no-untyped-call, no-any-return]


def _mean_squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    if outputs.shape != y.shape:
        raise ObjectiveError(
            f"The net's outputs have shape {tuple(outputs.shape)}, the targets {tuple(y.shape)}. "
            "Regression needs equal shapes: squeeze the net's last dimension."
        )
    return nn.functional.mse_loss(outputs, y)


def _probe_rows(n_rows: int) -> Tensor:
    """Rows of the train probe: the same for every trial on the same data."""
    rows = np.random.default_rng(0).permutation(n_rows)[:PROBE_ROWS]
    return torch.from_numpy(np.sort(rows))


def _whole(config: Mapping[str, Any], name: str, default: int | None) -> int:
    value = config.get(name, default)
    if value is None:
        raise SpaceError(f"The configuration has no {name}. Add it to the space, say {name}=50.")
    if not isinstance(value, Integral) or value < 1:
        raise SpaceError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return int(value)
