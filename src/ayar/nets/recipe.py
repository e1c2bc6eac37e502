"""A training described by parts: build, data, loss, metrics."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ayar.errors import ObjectiveError
from ayar.folds import Folds
from ayar.nets import parameters
from ayar.nets.alone import CHECKPOINT, TRAINING, Alone, Loss, Material, Metric, evaluate, of_net, random_numbers_of
from ayar.nets.data import Data
from ayar.nets.func_lanes import FuncLanes
from ayar.nets.lanes import DenseLanes
from ayar.nets.metrics import ErrorRate, RootMeanSquare
from ayar.nets.names import known
from ayar.nets.plain_net import build_deep_net
from ayar.nets.plain_trial import PlainTrial
from ayar.nets.split_lanes import SplitLanes
from ayar.nets.splits import Splits
from ayar.records import Configuration

PRECISIONS = ("highest", "high", "medium")
PROBE_ROWS = 512
SHARE_FOR_DATA = 0.3  # of a GPU's free memory


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
        splits: Where trials are to be confirmed on splits of their own, ``task.splits``; None: all train on ``data``.
        precision: Of products of float32 matrices: ``"highest"``, or ``"high"`` and ``"medium"`` for what the device
            multiplies quicker in TF32 and in bfloat16; see ``torch.set_float32_matmul_precision``. What is not the
            highest stands in the study's fingerprint, for a curve is then another one.
    """

    build: Callable[[Configuration, Data], nn.Module]
    data: Data | Callable[[], Data]
    loss: Loss | None = None
    metrics: Mapping[str, Metric] | None = None
    dtype: torch.dtype = torch.float32
    device: str = "auto"
    splits: Splits | None = None
    precision: str = "highest"

    def __post_init__(self) -> None:
        if not isinstance(self.data, Data) and not callable(self.data):
            raise ObjectiveError(
                f"A recipe's data is a Data, or a function that returns one, not {type(self.data).__name__}. "
                "Of a task, hand in task.data."
            )
        known("precision", self.precision, PRECISIONS)

    def __getstate__(self) -> dict[str, object]:
        """Without what was loaded from it: another process loads its own."""
        return {field.name: self.__dict__[field.name] for field in fields(self)}

    def train(
        self, config: Configuration, seed: int, folder: Path | str | None = None, start_step: int = 0
    ) -> Iterator[dict[str, float]]:
        """Train ``config`` epoch by epoch; each ``next`` trains one more and yields what it gave.

        Yields ``{"step", "train_probe", "valid_loss", ...metrics}``: step 0, the untrained net, and then steps
        ``start_step + 1`` to ``config["iterations"]``; at ten of them also what ``ayar.nets.inside`` sees.
        ``train_probe`` is the loss on at most 512 training rows, the same for every trial and evaluated like the
        validation set, without dropout. A step whose loss is not finite gives NaN throughout and is the last.

        All randomness of epoch e derives from ``(seed, e)``, so trials can take turns in one process, and a
        trial that is resumed goes on bit for bit as if it had never paused. ``folder`` makes resuming quick:
        the state is saved there when the generator is closed, with the last step, and every five seconds or so
        of training in between. Without a usable checkpoint at or before ``start_step`` the missing steps are
        trained again in silence.

        Raises:
            SpaceError: The configuration has no ``iterations``, or an unknown optimizer, schedule or activation.
        """
        trial = self.begin(config, seed, folder, start_step)
        try:
            if start_step == 0:
                yield {"step": 0, **trial.measure(0.0)}
            while trial.step < trial.iterations:
                train_loss = trial.epoch()
                if trial.step <= start_step:
                    continue
                measurement = {"step": trial.step, **trial.measure(train_loss)}
                if trial.step == trial.iterations:
                    trial.save()
                yield measurement
                if math.isnan(measurement["valid_loss"]):
                    return
                trial.save(when_due=True)
        except GeneratorExit:
            trial.save()
            raise

    def lanes(self, at_most: int | None = None) -> DenseLanes | FuncLanes | SplitLanes:
        """Empty lanes, in which many trials train as one computation; see ``ayar.run.lanes.HasLanes.lanes``."""
        if self.splits is None:
            return self._lanes(self.material, at_most)
        shared = self._lanes(self.material, at_most)
        return SplitLanes(self.splits, shared, lambda seed: self._lanes(self._material_of(seed), at_most), at_most)

    def _lanes(self, material: Material, at_most: int | None) -> DenseLanes | FuncLanes:
        if self.build is build_deep_net and self.loss is None:
            n_outputs = self._data.n_classes or 1
            return DenseLanes(partial(PlainTrial.begun, material, n_outputs), material, at_most)
        return FuncLanes(self.begin, material, at_most)

    def begin(self, config: Configuration, seed: int, folder: Path | str | None = None, start_step: int = 0) -> Alone:
        """A trial of this recipe with its first parameters, or as the folder's checkpoint has it: see ``train``."""
        with random_numbers_of(seed, 0):
            net = self._built(config)
        trial = Alone(net, config, seed, self._material_of(seed), Path(folder) if folder is not None else None)
        trial.restore(at_most=start_step)
        return trial

    @cached_property
    def material(self) -> Material:
        """What the trials of this recipe train on and are measured by, on the device; the search's, with ``splits``."""
        return self._material(self._data)

    def _material_of(self, seed: int) -> Material:
        """The material of the trial with this seed."""
        key = self.splits.key(seed) if self.splits is not None else None
        if self.splits is None or key is None:
            return self.material
        if key not in self._materials:
            self._materials[key] = self._material(self.splits(seed))
        return self._materials[key]

    @cached_property
    def _materials(self) -> dict[Hashable, Material]:
        return {}

    def _material(self, data: Data) -> Material:
        there = self._device if _fits(data.X_train, self._device) else "cpu"
        X_train, y_train = self._tensor(data.X_train, there), self._tensor(data.y_train, there)
        probe = _probe_rows(len(X_train))
        return Material(
            X_train,
            y_train,
            X_train[probe].to(self._device),
            y_train[probe].to(self._device),
            self._tensor(data.X_valid),
            self._tensor(data.y_valid),
            self._loss,
            self._metrics(data),
            self.precision,
        )

    @property
    def folds(self) -> Folds | None:
        """How seeds decide on the split of a trial; None where all share one."""
        return None if self.splits is None else self.splits.folds

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
        net.load_state_dict(of_net(tensors))
        seed = tensors.get(f"{TRAINING}seed")
        scaling = (self._data if self.splits is None or seed is None else self.splits(int(seed))).scaling
        outputs = evaluate(net, self._tensor(scaling.inputs(X)))
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

    def _metrics(self, data: Data) -> Mapping[str, Metric]:
        if self.metrics is not None:
            return self.metrics
        if data.kind == "classification":
            return {"valid_error": ErrorRate()}
        return {"valid_error": RootMeanSquare(data.scaling.y_sd)}

    def _tensor(self, array: np.ndarray, device: str | None = None) -> Tensor:
        """The array on the device; where it is mapped from a file and needs no conversion, that file's own pages."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes into data
            tensor = torch.as_tensor(array, device=device or self._device)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor.long()


def _fits(rows: np.ndarray, device: str) -> bool:
    """Whether rows may lie on the device and leave most of its memory to the trials."""
    return not device.startswith("cuda") or rows.nbytes < SHARE_FOR_DATA * torch.cuda.mem_get_info(device)[0]


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
