"""Trials of any user's net as lanes of one computation, through ``torch.func``.

Each lane is an ordinary trial, as it is when it trains alone. For an epoch, the lanes whose nets are of one kind are
stacked and train together; then each has its own again. So lanes come and go freely, and a kind that cannot be
stacked, or is slower so, trains alone at no loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ayar.nets.alone import Alone, Material, random_numbers_of
from ayar.nets.stacked import Stack, Template, untrained
from ayar.records import Configuration

Begin = Callable[[Configuration, int, Path | None, int], Alone]
LaneStep = tuple[int, int, Mapping[str, float]]

SLOTS = 4
"""Lanes until two nets of one kind have met, for which a calibration can tell."""

WIDEST = 64
CALIBRATION_S = 0.02  # at least, for each width tried
ENOUGH = 6  # calls, of which one should be free of other programs' disturbance
PATIENCE_S = 0.5  # for them, where each is long
WORTH = 0.9  # twice as many lanes must take at most this share of the time per lane
TRACED_AFTER_S = 2.0  # of training a kind: about what tracing it takes, so at worst that time is doubled
FUTILE = 3  # kinds for which lanes don't pay; then they aren't tried for others


class FuncLanes:
    """Trials of one recipe in training; ``ayar.run.lanes.Lanes`` says what the methods do.

    Args:
        begin: Makes a trial: ``begin(config, seed, folder, start_step)``.
        material: What the trials train on.
        at_most: Lanes that can be loaded at the same time; None for what a calibration finds best.
    """

    def __init__(self, begin: Begin, material: Material, at_most: int | None = None) -> None:
        self._begin = begin
        self._material = material
        self._at_most = at_most
        self._lanes: dict[int, _Lane] = {}  # whose turn is next comes first
        self._kinds: dict[tuple[object, ...], Kind] = {}

    @property
    def reasons(self) -> list[str]:
        """Why nets of some kinds train alone, one sentence for each reason."""
        return list(dict.fromkeys(kind.reason for kind in self._kinds.values() if kind.reason))

    @property
    def free(self) -> int:
        """How many more trials can be loaded now."""
        return max(0, self._slots - len(self._lanes))

    @property
    def held(self) -> frozenset[int]:
        """None: a paused trial is saved at once."""
        return frozenset()

    @property
    def _slots(self) -> int:
        if self._at_most is not None:
            return self._at_most
        widths = [kind.width for kind in self._kinds.values() if kind.width]
        widest = max(widths, default=1)
        return widest if widest > 1 else SLOTS if len(widths) < FUTILE else 1

    def load(
        self, trial: int, config: Configuration, seed: int, folder: Path | None, start_step: int, stop_step: int
    ) -> None:
        """Give ``trial`` a lane."""
        training = self._begin(config, seed, folder, start_step)
        kind = Kind(training, self._material, self._at_most)
        kind = self._kinds.setdefault(kind.key, kind)
        self._lanes[trial] = _Lane(training, kind, start_step, min(stop_step, training.iterations))

    def advance(self) -> list[LaneStep]:
        """Train the next lane, and with it those of its kind that pay, for one epoch."""
        moving = {trial: lane for trial, lane in self._lanes.items() if not lane.stands}
        if not moving:
            return []
        kind = next(iter(moving.values())).kind
        try:
            with self._material.multiplied():
                return self._epoch(kind, {trial: lane for trial, lane in moving.items() if lane.kind is kind})
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error

    def unload(self, trial: int) -> None:
        """Save the lane's state and free the lane."""
        lane = self._lanes.pop(trial)
        if not lane.diverged:
            lane.training.save()

    def close(self) -> None:
        """Nothing is held."""

    def _epoch(self, kind: Kind, lanes: Mapping[int, _Lane]) -> list[LaneStep]:
        fresh = [lane for lane in lanes.values() if lane.training.step == lane.start == 0]
        begun = {id(lane): lane.training.measure(0.0) for lane in fresh}
        metrics = kind.epoch([lane.training for lane in lanes.values()])
        steps: list[LaneStep] = []
        for (trial, lane), measured in zip(lanes.items(), metrics, strict=False):
            self._lanes[trial] = self._lanes.pop(trial)  # to the end
            if id(lane) in begun:
                steps.append((trial, 0, begun[id(lane)]))
            if lane.training.step > lane.start:
                steps.append((trial, lane.training.step, measured))
            lane.diverged = math.isnan(measured["valid_loss"])
            if not lane.diverged:
                lane.training.save(when_due=True)
        return steps


@dataclass(slots=True)
class _Lane:
    """One trial; see ``FuncLanes.load``."""

    training: Alone
    kind: Kind
    start: int
    stop: int
    diverged: bool = False

    @property
    def stands(self) -> bool:
        """Whether it has nothing left to train."""
        return self.diverged or self.training.step >= self.stop


class Kind:
    """Nets that can be stacked, trained with mini-batches of one size.

    Args:
        training: One of them.
        material: What they train on.
        width: How many to train together, where that is not to be measured.

    Attributes:
        key: Equal for two trainings of one kind.
        width: How many to train together, 1 for each alone; None before two of them have met.
        reason: Why they train alone, where they do.
    """

    def __init__(self, training: Alone, material: Material, width: int | None = None) -> None:
        self.width: int | None = None
        self.reason: str | None = None
        self._material = material
        self._given_width = width
        self._name = type(training.net).__name__
        self._spent_s = 0.0  # on full stacks
        self._seconds: dict[int, float] = {}  # of a mini-batch's gradients, by the number of lanes
        self.key: tuple[object, ...] = (self,)
        try:
            smooths = material.smoothing(training.config) > 0
            self._template = Template(training.net, material.loss, smooths)
        except Exception as error:  # noqa: BLE001 - copying may run the user's code
            self._train_alone(f"cannot be copied and compared: {_brief(error)}")
        else:
            self.key = (self._template.signature, training.batch_size, smooths)

    def epoch(self, trainings: Sequence[Alone]) -> list[dict[str, float]]:
        """Train one epoch of the first of ``trainings``, as many as pay together; the metrics of each of those."""
        if self.width is None and len(trainings) > 1:
            self._choose_width(trainings)
        together = trainings[: self.width]
        if not self._pays(len(together)):
            return [trainings[0].measure(trainings[0].epoch())]
        try:
            return self._together(together)
        except torch.OutOfMemoryError:
            self.width = len(together) // 2
        except Exception as error:  # noqa: BLE001 - the user's code; alone it works, or says what is wrong
            self._train_alone(f"fails in lanes: {_brief(error)}")
        return self.epoch(trainings)

    def _together(self, trainings: Sequence[Alone]) -> list[dict[str, float]]:
        began = time.perf_counter()
        metrics = Stack(self._template, trainings, self._material).epoch()
        if len(trainings) == self.width:
            self._spent_s += time.perf_counter() - began
            if self._spent_s > TRACED_AFTER_S:
                self._template.traced_width = self.width
        return metrics

    def _pays(self, n: int) -> bool:
        """Whether ``n`` together take less time than one after the other."""
        if n == 1 or self._given_width is not None:
            return n > 1
        widths = sorted(self._seconds)
        seconds = np.interp(n, widths, [self._seconds[k] for k in widths])
        return bool(seconds < n * self._seconds[1])

    def _choose_width(self, trainings: Sequence[Alone]) -> None:
        """Look whether lanes do what each does alone; if so, take the width that needs the least time per lane."""
        size = trainings[0].batch_size
        device = self._material.device
        batch = self._material.X_train[:size].to(device), self._material.y_train[:size].to(device)
        alone, seconds = _alone(trainings[-1], *batch)
        try:
            stack, gradients = self._prepared(trainings, 2, *batch)
            gradients()
            if not _equal(stack.row(trainings[-1]), alone):
                self._train_alone("gets other gradients in lanes, so it may draw numbers or keep values of its own")
                return
            if self._template.has_changed:
                self._train_alone("keeps values of its own, beside its tensors, from one pass to the next")
                return
            if self._given_width is None:
                self._measure(trainings, batch, seconds)
        except Exception as error:  # noqa: BLE001 - the user's code, where vmap may not follow it
            self._train_alone(f"cannot train in lanes: {_brief(error)}")
            return
        self.width = self._given_width or min(self._seconds, key=lambda k: self._seconds[k] / k)
        if self.width == 1:
            widest = max(self._seconds)
            times = self._seconds[widest] / seconds
            self._train_alone(f"is no faster in lanes: {widest} of them take {times:.1f} times as long as one")

    def _measure(self, trainings: Sequence[Alone], batch: tuple[Tensor, Tensor], alone: float) -> None:
        """Time wider and wider stacks, until one brings no more or doesn't fit."""
        self._seconds[1] = alone
        for k in (2**n for n in range(1, WIDEST.bit_length())):
            try:
                self._seconds[k] = _fastest(self._prepared(trainings, k, *batch)[1])
            except torch.OutOfMemoryError:
                return
            if k > 2 and self._seconds[k] > WORTH * 2 * self._seconds[k // 2]:
                return

    def _prepared(self, trainings: Sequence[Alone], k: int, X: Tensor, y: Tensor) -> tuple[Stack, Callable[[], object]]:
        """A stack of ``k`` lanes, the last of ``trainings`` among them, and what computes its gradients."""
        stack = Stack(self._template, [*islice(cycle(reversed(trainings)), k)], self._material)
        Xs, ys = (t.expand(k, *t.shape).contiguous() for t in (X, y))
        return stack, partial(stack.gradients, Xs, ys, stack.generators())

    def _train_alone(self, why: str) -> None:
        self.width = 1
        self.reason = f"{self._name} trains alone: it {why}."


def _alone(training: Alone, X: Tensor, y: Tensor) -> tuple[tuple[Tensor, dict[str, Tensor]], float]:
    """The gradient and the untrained tensors after one mini-batch, and its seconds."""
    training = training.copied()
    training.net.train()
    with random_numbers_of(training.seed, training.step + 1):
        training.gradient_of(X, y)
        gradient = training.optimizer.gradient.clone()
        others = {name: tensor.clone() for name, tensor in untrained(training.net).items()}
        return (gradient, others), _fastest(partial(training.gradient_of, X, y))


def _equal(a: tuple[Tensor, dict[str, Tensor]], b: tuple[Tensor, dict[str, Tensor]]) -> bool:
    """Whether gradients and untrained tensors agree but for rounding."""
    pairs = [(a[0], b[0]), *((a[1][name], b[1][name]) for name in a[1])]
    return all(_close(x, y) for x, y in pairs)


def _close(x: Tensor, y: Tensor) -> bool:
    if not x.is_floating_point():
        return torch.equal(x, y)
    tolerance = math.sqrt(torch.finfo(x.dtype).eps)
    scale = float(y.nan_to_num().abs().max()) if y.numel() else 0.0
    return torch.allclose(x, y, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of a few calls, after one that does not count."""
    call()
    taken: list[float] = []
    while sum(taken) < CALIBRATION_S or (len(taken) < ENOUGH and sum(taken) < PATIENCE_S):
        began = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _brief(error: Exception) -> str:
    """The first sentence of an error."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0].split('. ')[0]}".rstrip(": .")
