"""How much faster nets of one's own train in lanes than one after the other.

    OMP_NUM_THREADS=1 python benchmarks/lanes_of_user_nets.py [REPEATS] > benchmarks/results/lanes_of_user_nets.json

The other side is a tight PyTorch loop over the same mini-batches: the module, ``torch.optim.Adam`` and nothing else.
Both sides take turns in one process on one thread; each repeat gives one ratio of lane-steps per second of CPU time,
so that other programs on the machine disturb little, and the median over the repeats is kept. The lanes are measured as
they train at last, traced; how wide they are is chosen beforehand, as the width with the best ratio.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib.metadata import version

import torch
from torch import nn

from ayar.nets.recipe import Recipe
from ayar.nets.stacked import Stack, Template
from ayar.nets.tasks import load_task

WIDTHS = (4, 8, 16, 32, 64)


def mlp(hidden_layers: int, units: int) -> nn.Module:
    layers: list[nn.Module] = []
    for n_in in [64] + [units] * (hidden_layers - 1):
        layers += [nn.Linear(n_in, units), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(units, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 10)),
    )


NETS = {  # name -> what makes it, and the size of its mini-batches
    "MLP 2 x 32": (partial(mlp, 2, 32), 32),
    "MLP 2 x 64": (partial(mlp, 2, 64), 64),
    "MLP 3 x 128": (partial(mlp, 3, 128), 64),
    "CNN 8-16, 3 x 3": (cnn, 64),
}


def loop_s(net: nn.Module, optimizer: torch.optim.Optimizer, X: torch.Tensor, y: torch.Tensor, size: int) -> float:
    """Seconds of an epoch of the plain loop."""
    began = time.process_time()
    order = torch.randperm(len(X))
    for rows, targets in zip(X[order].split(size), y[order].split(size), strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(rows), targets).backward()
        optimizer.step()
    return time.process_time() - began


def measured(build: Callable[[], nn.Module], size: int, repeats: int) -> dict[str, float]:
    recipe = Recipe(lambda *_: build(), load_task("digits").data)
    material = recipe.material
    config = {"iterations": 10**4, "batch_size": size}
    trials = [recipe.begin(config, seed) for seed in range(max(WIDTHS))]
    template = Template(trials[0].net, material.loss)
    net = build()
    optimizer = torch.optim.Adam(net.parameters())

    def ratio(width: int) -> float:
        template.traced_width = width
        stack = Stack(template, trials[:width], material)
        began = time.process_time()
        stack.train()
        lanes_s = time.process_time() - began
        return width * loop_s(net, optimizer, material.X_train, material.y_train, size) / lanes_s

    for width in WIDTHS:
        ratio(width)  # trace, and warm up
    tried = {width: statistics.median(ratio(width) for _ in range(3)) for width in WIDTHS}
    width = max(tried, key=tried.__getitem__)
    ratios = sorted(ratio(width) for _ in range(repeats))
    return {
        "batch_size": size,
        "lanes": width,
        "times_as_fast": round(statistics.median(ratios), 2),
        "least": round(ratios[0], 2),
        "most": round(ratios[-1], 2),
    }


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    torch.set_num_threads(1)
    result = {
        "date": date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, 1 thread used",
        "load": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), "torch": version("torch"), "ayar": version("ayar")},
        "repeats": repeats,
        "nets": {name: measured(*net, repeats) for name, net in NETS.items()},
    }
    json.dump(result, sys.stdout, indent=2)
    print()


main()
