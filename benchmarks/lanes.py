"""Lane-steps per second against a tight PyTorch loop, one thread each, measured in turns.

    python benchmarks/lanes.py [REPEATS] > benchmarks/results/lanes.json

The loop is what a person would write by hand: ``nn.Sequential`` and ``torch.optim`` over a shuffled tensor, nothing
measured in between. The lanes are what Ayar runs: whole epochs of ``Recipe.lanes().advance()``, with their shuffling
and with the probe and the validation set evaluated at the end. 64 inputs, 10 classes, 4,096 training rows. Each repeat
times the loop, the lanes and large matrix products one after the other, and what is reported is the median of the
repeats' ratios. Time is the processor's, which other programs on the machine disturb little. The number of lanes is the
one that the calibration finds; its time is not counted. The process has the environment that workers have.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ayar.nets.calibration import best_fit
from ayar.nets.deep_net import deep_net
from ayar.nets.layout import Layout
from ayar.nets.tasks import Data
from ayar.run.kernels import widest_kernels

ROWS, INPUTS, CLASSES = 4096, 64, 10
CASES = [(2, 32, 32), (2, 64, 64), (3, 128, 64), (3, 256, 128), (3, 512, 128)]
LOOP_S = 0.3  # of the loop in each repeat
FOREVER = 10**6


def made_data() -> Data:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(ROWS + 64, INPUTS)).astype(np.float32), rng.integers(0, CLASSES, ROWS + 64)
    return Data(X[:ROWS], y[:ROWS], X[ROWS:], y[ROWS:], n_classes=CLASSES)


def tight_loop(data: Data, layers: int, units: int, batch: int, optimizer: str) -> Callable[[], float]:
    """A function that trains for a while and returns the seconds of one step."""
    X, y = torch.from_numpy(data.X_train), torch.from_numpy(data.y_train)
    sizes = [INPUTS, *[units] * layers]
    hidden = [m for n_in, n_out in pairwise(sizes) for m in (nn.Linear(n_in, n_out), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(units, CLASSES))
    if optimizer == "adam":
        updates: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    else:
        updates = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def step_s() -> float:
        steps, order, begun = 0, torch.randperm(ROWS), time.process_time()
        while True:
            for X_batch, y_batch in zip(X[order].split(batch), y[order].split(batch), strict=True):
                updates.zero_grad()
                nn.functional.cross_entropy(net(X_batch), y_batch).backward()
                updates.step()
                steps += 1
                if (passed := time.process_time() - begun) > LOOP_S:
                    return passed / steps

    return step_s


def peak_flops() -> dict[str, float]:
    """Of one large product of matrices, by the library of PyTorch and by that of NumPy."""
    a = torch.randn(768, 768)
    out = torch.empty_like(a)
    calls = {"torch": partial(torch.mm, a, a, out=out), "numpy": partial(np.matmul, a.numpy(), a.numpy(), out.numpy())}
    found = {}
    for library, call in calls.items():
        best = float("inf")
        for _ in range(4):
            begun = time.process_time()
            call()
            best = min(best, time.process_time() - begun)
        found[library] = 2 * 768**3 / best
    return found


def step_flops(layers: int, units: int, batch: int) -> int:
    """Of forward pass, both products of the backward pass, without the slope by the inputs that nobody needs."""
    products = INPUTS * units + (layers - 1) * units**2 + units * CLASSES
    return 6 * batch * products - 2 * batch * INPUTS * units


def against_the_loop(case: tuple[int, int, int], optimizer: str, repeats: int) -> dict[str, object]:
    layers, units, batch = case
    data = made_data()
    config = {
        "hidden_layers": layers,
        "hidden_units": units,
        "batch_size": batch,
        "optimizer": optimizer,
        "iterations": FOREVER,
    }
    layout = Layout.around((INPUTS, *[units] * layers, CLASSES))
    width = best_fit(layout, batch, config, deep_net(data).material).width
    lanes = deep_net(data).lanes(width)
    for trial in range(width):
        lanes.load(trial, config, trial, None, 0, FOREVER)
    loop, updates = tight_loop(data, *case, optimizer), ROWS // batch
    lanes.advance()
    loop()
    ratios, shares, of_torch, seconds = [], [], [], []
    for _ in range(repeats):
        loop_s, begun = loop(), time.process_time()
        lanes.advance()
        lane_s = (time.process_time() - begun) / (updates * width)
        ratios.append(loop_s / lane_s)
        peaks = peak_flops()
        shares.append(step_flops(*case) / lane_s / max(peaks.values()))
        of_torch.append(step_flops(*case) / lane_s / peaks["torch"])
        seconds.append((loop_s, lane_s))
    return {
        "net": f"{layers} x {units}",
        "batch": batch,
        "optimizer": optimizer,
        "lanes": width,
        "times_as_fast": round(statistics.median(ratios), 2),
        "least_and_most": [round(min(ratios), 2), round(max(ratios), 2)],
        "loop_us": round(min(s for s, _ in seconds) * 1e6, 1),
        "lane_us": round(min(s for _, s in seconds) * 1e6, 2),
        "share_of_peak": round(statistics.median(shares), 2),
        "share_of_pytorch_peak": round(statistics.median(of_torch), 2),
    }


def refill(repeats: int, width: int, writes: bool) -> dict[str, object]:
    """Time of an epoch in which one of the lanes is paused and thawed, against one without.

    Where it ``writes``, the paused trial goes through its file; else it is held in memory, as most are.
    """
    recipe = deep_net(made_data())
    config = {"hidden_layers": 2, "hidden_units": 32, "batch_size": 32, "iterations": FOREVER}
    with tempfile.TemporaryDirectory() as name:
        lanes, folder = recipe.lanes(width), Path(name)
        for trial in range(width):
            lanes.load(trial, config, trial, folder / str(trial), 0, FOREVER)
        lanes.advance()
        extra = []
        for epoch in range(repeats):
            begun = time.process_time()
            steps = lanes.advance()
            plain_s = time.process_time() - begun
            trial, reached = epoch % width, steps[0][1]
            begun = time.process_time()
            lanes.unload(trial)
            if writes:
                lanes.close()
            lanes.load(trial, config, trial, folder / str(trial), reached, FOREVER)
            swapped_s = time.process_time() - begun
            begun = time.process_time()
            lanes.advance()
            extra.append((swapped_s + time.process_time() - begun) / plain_s - 1)
    return {
        "net": "2 x 32",
        "lanes": width,
        "swapped_each_epoch": 1,
        "through_its_file": writes,
        "median_extra_time": round(statistics.median(extra), 4),
    }


def mixed(repeats: int, width: int = 16) -> dict[str, object]:
    """Lanes of other widths, activations and optimizers in one layout, against as many equal ones of its size."""
    recipe, rng = deep_net(made_data()), np.random.default_rng(0)
    equal = {"hidden_layers": 2, "hidden_units": 64, "batch_size": 64, "iterations": FOREVER}
    crews = []
    for is_mixed in (False, True):
        lanes = recipe.lanes(width)
        for trial in range(width):
            own = {
                "hidden_units": rng.integers(33, 65, 2).tolist(),
                "activation": str(rng.choice(["relu", "tanh", "sigmoid"])),
                "optimizer": str(rng.choice(["adam", "nesterov", "sgd"])),
            }
            lanes.load(trial, {**equal, **(own if is_mixed else {})}, trial, None, 0, FOREVER)
        lanes.advance()
        crews.append(lanes)
    ratios = []
    for _ in range(repeats):
        times = []
        for lanes in crews:
            begun = time.process_time()
            lanes.advance()
            times.append(time.process_time() - begun)
        ratios.append(times[0] / times[1])
    return {
        "widths": "33 to 64, two layers",
        "lanes": width,
        "speed_of_equal_lanes": round(statistics.median(ratios), 2),
    }


def rate(side: str, case: tuple[int, int, int], seconds: float = 4.0) -> float:
    """Steps per second of the processor, of the loop or of lanes, while another process does the same."""
    data, (layers, units, batch) = made_data(), case
    if side == "loop":
        loop = tight_loop(data, *case, "momentum")
        loop()
        return 1 / statistics.median(loop() for _ in range(round(seconds / LOOP_S)))
    config = {"hidden_layers": layers, "hidden_units": units, "batch_size": batch, "optimizer": "momentum"}
    recipe = deep_net(data)
    layout = Layout.around((INPUTS, *[units] * layers, CLASSES))
    width = best_fit(layout, batch, config, recipe.material).width
    lanes = recipe.lanes(width)
    for trial in range(width):
        lanes.load(trial, {**config, "iterations": FOREVER}, trial, None, 0, FOREVER)
    lanes.advance()
    begun, epochs = time.process_time(), 0
    while (passed := time.process_time() - begun) < seconds:
        lanes.advance()
        epochs += 1
    return epochs * width * (ROWS // batch) / passed


def process_per_core(case: tuple[int, int, int]) -> dict[str, object]:
    """The peers' way, a loop in a process for each core, against lanes in as many processes."""
    cores, rates = os.cpu_count() or 1, {}
    for side in ("loop", "lanes"):
        command = [sys.executable, __file__, "rate", side, *map(str, case)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(cores)]
        rates[side] = sum(float(process.communicate()[0]) for process in running)
    return {
        "net": f"{case[0]} x {case[1]}",
        "processes": cores,
        "loop_steps_per_s": round(rates["loop"]),
        "lane_steps_per_s": round(rates["lanes"]),
        "times_as_fast": round(rates["lanes"] / rates["loop"], 2),
    }


def main() -> None:
    kernels = widest_kernels()
    if not kernels.keys() <= os.environ.keys():  # NumPy has read them by now, so begin again
        os.execve(sys.executable, [sys.executable, *sys.argv], {**kernels, **os.environ})
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["rate"]:
        print(rate(sys.argv[2], tuple(map(int, sys.argv[3:]))))
        return
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    result = {
        "claim": "small nets train many times as fast in lanes as in a tight PyTorch loop, large ones no slower",
        "against_the_loop": [against_the_loop(case, o, repeats) for case in CASES for o in ("momentum", "adam")],
        "process_per_core": [process_per_core(case) for case in CASES[:3]],
        "refill": [refill(4 * repeats, width, writes) for width in (16, 64) for writes in (False, True)],
        "mixed": mixed(repeats),
        "gflops": {library: round(flops / 1e9) for library, flops in peak_flops().items()},
        "repeats": repeats,
        "threads": 1,
        "time": "of the processor",
        "load_1min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "ayar": version("ayar"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
