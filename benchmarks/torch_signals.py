"""Measure what watching a net from inside costs; writes ``results/torch_signals.json``.

Small nets and mini-batches are the hardest case: there is little work for the signals to hide behind. Epochs with and
without the signals take turns, so that whatever else the machine does falls on both alike.
"""

from __future__ import annotations

import json
import platform
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ayar.integrations.torch_signals import TorchSignals

ROWS, BATCH, EPOCHS = 1200, 64, 60


def epoch(
    net: nn.Module, optimizer: torch.optim.Optimizer, X: torch.Tensor, y: torch.Tensor, watch: TorchSignals | None
):
    """Processor seconds for one epoch, its measurement on 512 rows included."""
    start = time.process_time()
    for rows in torch.randperm(len(X)).split(BATCH):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
        optimizer.step() if watch is None else watch.step(optimizer)
    with torch.no_grad():
        float(nn.functional.cross_entropy(net(X[:512]), y[:512]))
    if watch is not None:
        watch.metrics()
    return time.process_time() - start


def cost(widths: list[int], optimizer_class: type[torch.optim.Optimizer]) -> dict[str, float]:
    """By how many percent the signals lengthen an epoch: of the sums, and the quartiles of the pairs."""
    torch.manual_seed(0)
    X, y = torch.randn(ROWS, widths[0]), torch.randint(0, widths[-1], (ROWS,))
    layers = [part for n_in, n_out in pairwise(widths) for part in (nn.Linear(n_in, n_out), nn.ReLU())]
    net = nn.Sequential(*layers[:-1])
    optimizer = optimizer_class(net.parameters(), lr=1e-3)
    watch, seconds = TorchSignals(net, X[:128]), []
    for _ in range(EPOCHS):
        seconds += [(epoch(net, optimizer, X, y, None), epoch(net, optimizer, X, y, watch))]
    plain, watched = np.array(seconds[5:]).T
    trimmed = [
        np.sort(part)[: int(0.9 * len(part))].mean() for part in (plain, watched)
    ]  # without the machine's hiccups
    return {
        "milliseconds an epoch": round(1000 * float(trimmed[0]), 2),
        "percent more, trimmed means": round(100 * float(trimmed[1] / trimmed[0] - 1), 2),
        "percent more, medians": round(100 * float(np.median(watched) / np.median(plain) - 1), 2),
    }


def main() -> None:
    """Measure three nets and write the result."""
    torch.set_num_threads(1)
    nets = {
        "64-256-256-10, Adam": cost([64, 256, 256, 10], torch.optim.Adam),
        "64-64-10, SGD": cost([64, 64, 10], torch.optim.SGD),
        "64-512-512-512-10, Adam": cost([64, 512, 512, 512, 10], torch.optim.Adam),
    }
    result = {
        "rows, batch size": [ROWS, BATCH],
        "epochs of each kind": EPOCHS,
        "nets": nets,
        "machine": f"{platform.machine()}, 1 thread; Python {platform.python_version()}, torch {torch.__version__}",
    }
    Path(__file__).with_name("results").joinpath("torch_signals.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
