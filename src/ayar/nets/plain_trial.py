"""One trial of the L-layer net as its numbers alone: what a lane needs, without a module.

Its first parameters, its checkpoints and its steps are those of the same trial as ``ayar.nets.alone`` trains it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ayar.nets.alone import Checkpoint, Material, seed_of, share, whole
from ayar.nets.layout import Layout
from ayar.nets.names import known
from ayar.nets.optimizers import SCHEDULES, rule_of
from ayar.nets.registry import registry
from ayar.records import Configuration


@dataclass(eq=False)
class PlainTrial:
    """Where one trial stands.

    Attributes:
        config: Its configuration.
        seed: What all its randomness follows from, together with the number of the epoch.
        sizes: Inputs, units of each hidden layer, outputs.
        layout: Where its parameters lie in a row.
        row: Their values, shape ``(layout.width,)``.
        averages: The optimizer's running averages by name, laid out alike; zeros where one is missing.
        iterations: Epochs of the whole training.
        batch_size: Rows of a mini-batch.
        updates: Mini-batches of the whole training.
        checkpoint: Where its state is saved.
        step: Epochs trained.
        updates_made: Mini-batches trained.
    """

    config: Configuration
    seed: int
    sizes: tuple[int, ...]
    layout: Layout
    row: Tensor
    iterations: int
    batch_size: int
    updates: int
    checkpoint: Checkpoint | None = None
    averages: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    updates_made: int = 0

    @classmethod
    def begun(
        cls,
        material: Material,
        n_outputs: int,
        config: Configuration,
        seed: int,
        folder: Path | None = None,
        start_step: int = 0,
    ) -> PlainTrial:
        """A trial with its first parameters, or as the folder's checkpoint at or before ``start_step`` has it.

        Raises:
            SpaceError: The configuration cannot be trained.
        """
        n_rows, n_inputs = material.X_train.shape
        infos = registry(config, n_inputs, n_outputs)
        sizes = (n_inputs, *(info.shape[0] for info in infos[::2]))
        share(config, "dropout")
        material.smoothing(config)
        rule_of(config)
        known("schedule", config.get("schedule", "constant"), SCHEDULES)
        iterations, batch_size = whole(config, "iterations", None), whole(config, "batch_size", 64)
        checkpoint = Checkpoint(folder, config, seed) if folder is not None else None
        updates = iterations * math.ceil(n_rows / batch_size)
        layout = Layout.around(sizes)
        row = layout.silent(material.X_probe, sizes, config.get("activation", "relu"))
        trial = cls(config, seed, sizes, layout, row, iterations, batch_size, updates, checkpoint)
        if not trial._restored(at_most=start_step):
            generator = torch.Generator().manual_seed(seed_of(seed, 0))
            for part, info in zip(layout.parts(row, sizes), infos, strict=True):
                part.copy_(info.sd * torch.randn(info.shape, generator=generator))
        return trial

    @property
    def n_bytes(self) -> int:
        """Of its numbers."""
        return self.row.nbytes * (1 + len(self.averages))

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is long enough ago."""
        return self.checkpoint is not None and self.checkpoint.is_due

    @property
    def is_saved(self) -> bool:
        """Whether its state could not be lost."""
        return self.checkpoint is None or self.checkpoint.saved_step >= self.step

    def save(self) -> None:
        """Write a checkpoint where there is a folder and this step has none."""
        if self.checkpoint is not None and not self.is_saved:
            zeros = torch.zeros_like(self.row)
            averages = {
                name: torch.cat([part.flatten() for part in self._parts(self.averages.get(name, zeros))])
                for name in rule_of(self.config).averages
            }
            named = dict(zip(self._names, self._parts(self.row), strict=True))
            self.checkpoint.save(named, averages, self.updates_made, self.step)

    @property
    def _names(self) -> list[str]:
        return [f"{kind}[{layer}]" for layer in range(1, len(self.sizes)) for kind in "Wb"]

    def _parts(self, row: Tensor) -> list[Tensor]:
        return self.layout.parts(row, self.sizes)

    def _restored(self, at_most: int) -> bool:
        found = self.checkpoint.restored(at_most) if self.checkpoint is not None and at_most > 0 else None
        if found is None:
            return False
        for part, name in zip(self._parts(self.row), self._names, strict=True):
            part.copy_(found.tensors[name])
        for name, average in found.averages.items():
            self.averages[name] = torch.zeros_like(self.row)
            parts = self._parts(self.averages[name])
            values = average.split([part.numel() for part in parts])  # type: ignore[no-untyped-call]
            for part, own in zip(parts, values, strict=True):
                part.copy_(own.view(part.shape))
        self.step, self.updates_made = found.step, found.updates
        return True
