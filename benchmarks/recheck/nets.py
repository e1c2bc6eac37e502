"""Small real nets, many at once: one hidden layer, SGD with momentum, trained as one batched computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

MOMENTUM = 0.9
EPOCHS = 20
VALID = 600
_TOGETHER = 260  # nets in one batch of the computation; more only spill the cache


@dataclass(frozen=True)
class World:
    """What a training happens in.

    Attributes:
        rows: Training rows used.
        noise: Share of training labels replaced by random ones.
        valid_noise: The same for validation rows: it lifts everybody's error and changes no order.
        batch: Batch size.
        width: Hidden units.
        rotated: Whether the inputs are turned by a random rotation.
        bf16: Whether parameters and activations are kept in bfloat16.
    """

    rows: int = 1000
    noise: float = 0.0
    valid_noise: float = 0.0
    batch: int = 32
    width: int = 32
    rotated: bool = False
    bf16: bool = False

    def but(self, **changes: object) -> World:
        """The same but for these."""
        return replace(self, **changes)  # type: ignore[arg-type]


class Task:
    """Data of a world."""

    def __init__(self, X: np.ndarray, y: np.ndarray, world: World) -> None:
        rng = np.random.default_rng(0)
        order = rng.permutation(len(X))
        X = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-6)
        if world.rotated:
            X = X @ np.linalg.qr(rng.standard_normal((X.shape[1], X.shape[1])))[0]
        self.classes = int(y.max()) + 1
        valid, train = order[:VALID], order[VALID : VALID + world.rows]
        labels = y.copy()
        for part, share in ((train, world.noise), (valid, world.valid_noise)):
            wrong = part[rng.random(len(part)) < share]
            labels[wrong] = rng.integers(0, self.classes, len(wrong))
        as_input, as_label = (lambda i: torch.tensor(X[i], dtype=torch.float32)), (lambda i: torch.tensor(labels[i]))
        self.X, self.y = as_input(train), as_label(train)
        self.X_valid, self.y_valid = as_input(valid), as_label(valid)
        self.world = world


def train(task: Task, configs: Sequence[dict[str, float]], seeds: Sequence[int]) -> np.ndarray:
    """Validation error of each configuration with its seed after the last epoch, shape ``(n,)``; infinite: diverged.

    A seed decides first parameters and the order of rows, whatever the configuration.
    """
    parts = range(0, len(configs), _TOGETHER)
    return np.concatenate([_train(task, configs[i : i + _TOGETHER], seeds[i : i + _TOGETHER]) for i in parts])


def _train(task: Task, configs: Sequence[dict[str, float]], seeds: Sequence[int]) -> np.ndarray:
    world, n = task.world, len(configs)
    rows, inputs = task.X.shape
    kept = (lambda t: t.bfloat16().float()) if world.bf16 else (lambda t: t)
    rngs = [np.random.default_rng(seed) for seed in seeds]

    def first(fan_in: int, fan_out: int) -> torch.Tensor:
        drawn = np.stack([rng.standard_normal((fan_in, fan_out)) for rng in rngs])
        return kept(torch.tensor(drawn, dtype=torch.float32) * (2 / fan_in) ** 0.5)

    W = [
        first(inputs, world.width),
        torch.zeros(n, 1, world.width),
        first(world.width, task.classes),
        torch.zeros(n, 1, task.classes),
    ]
    speed = [torch.zeros_like(w) for w in W]
    rate = torch.tensor([c["learning_rate"] for c in configs], dtype=torch.float32)[:, None, None]
    decay = torch.tensor([c["weight_decay"] for c in configs], dtype=torch.float32)[:, None, None]
    batch = min(world.batch, rows)
    for _ in range(EPOCHS):
        order = torch.tensor(np.stack([rng.permutation(rows) for rng in rngs]))
        for start in range(0, rows - batch + 1, batch):
            chosen = order[:, start : start + batch]
            X, y = task.X[chosen], task.y[chosen]
            hidden = kept(torch.relu(torch.baddbmm(W[1], X, W[0])))
            out = torch.softmax(torch.baddbmm(W[3], hidden, W[2]), dim=2)
            out.scatter_add_(2, y[:, :, None], torch.full_like(out[:, :, :1], -1.0))
            out = kept(out / batch)
            back = torch.bmm(out, W[2].transpose(1, 2)) * (hidden > 0)
            gradients = [
                torch.bmm(X.transpose(1, 2), back) + decay * W[0],
                back.sum(dim=1, keepdim=True),
                torch.bmm(hidden.transpose(1, 2), out) + decay * W[2],
                out.sum(dim=1, keepdim=True),
            ]
            for k, gradient in enumerate(gradients):
                speed[k].mul_(MOMENTUM).add_(gradient)
                W[k] = kept(W[k] - rate * speed[k])
    hidden = torch.relu(torch.matmul(task.X_valid, W[0]) + W[1])
    out = torch.matmul(hidden, W[2]) + W[3]
    error = (out.argmax(dim=2) != task.y_valid).float().mean(dim=1).double()
    error[~torch.isfinite(out).all(dim=2).all(dim=1)] = torch.inf
    return error.numpy()
