"""Lane-steps per second against a tight PyTorch loop, one thread each, measured in turns.

    python benchmarks/lanes.py [REPEATS] > benchmarks/results/lanes.json
    python benchmarks/lanes.py [REPEATS] --device cuda > benchmarks/results/lanes_cuda.json

The loop is what a person would write by hand: ``nn.Sequential`` and ``torch.optim`` over a shuffled tensor, nothing
measured in between. The lanes are what Ayar runs: whole epochs of ``Recipe.lanes().advance()``, with their shuffling
and with the probe and the validation set evaluated at the end. 64 inputs, 10 classes, 4,096 training rows. Each repeat
times the loop, the lanes and large matrix products one after the other, and what is reported is the median of the
repeats' ratios. Time is the processor's, which other programs on the machine disturb little; on a GPU it is the wall
clock's, with the device waited for. The number of lanes is the one that the calibration finds; its time is not counted.
The process has the environment that workers have.

``anatomy`` says where the time of a step goes, products and all else, against the least that this machine needs for
them: the same products of operands in the nearest cache, and for every other call a copy of as many numbers as it reads
and writes.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

import ayar
from ayar.nets.calibration import best_fit
from ayar.nets.deep_net import deep_net
from ayar.nets.dense import Step
from ayar.nets.layout import Layout
from ayar.nets.optimizers import LaneOptimizer, LaneState
from ayar.nets.tasks import Data
from ayar.run.kernels import widest_kernels

ROWS, INPUTS, CLASSES = 4096, 64, 10
CASES = [(2, 32, 32), (2, 64, 64), (3, 128, 64), (3, 256, 128), (3, 512, 128)]
LOOP_S = 0.3  # of the loop in each repeat
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
NEAREST_BYTES = 2**19  # of a cache of the second level, with room for more
EVERY = 16  # steps of the loop between looks at the clock
FOREVER = 10**6
DEVICE = "cpu"


def now() -> float:
    """Seconds of the processor; on a GPU, of the clock on the wall, once it is done."""
    if DEVICE == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def recipe_of(data: Data) -> ayar.Recipe:
    return replace(deep_net(data), device=DEVICE)


def made_data() -> Data:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(ROWS + 64, INPUTS)).astype(np.float32), rng.integers(0, CLASSES, ROWS + 64)
    return Data(X[:ROWS], y[:ROWS], X[ROWS:], y[ROWS:], n_classes=CLASSES)


def tight_loop(data: Data, layers: int, units: int, batch: int, optimizer: str) -> Callable[[], float]:
    """A function that trains for a while and returns the seconds of one step."""
    X, y = torch.from_numpy(data.X_train).to(DEVICE), torch.from_numpy(data.y_train).to(DEVICE)
    sizes = [INPUTS, *[units] * layers]
    hidden = [m for n_in, n_out in pairwise(sizes) for m in (nn.Linear(n_in, n_out), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(units, CLASSES)).to(DEVICE)
    if optimizer == "adam":
        updates: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    else:
        updates = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def step_s() -> float:
        steps, order, begun = 0, torch.randperm(ROWS, device=DEVICE), now()
        while True:
            for X_batch, y_batch in zip(X[order].split(batch), y[order].split(batch), strict=True):
                updates.zero_grad()
                nn.functional.cross_entropy(net(X_batch), y_batch).backward()
                updates.step()
                steps += 1
                if steps % EVERY == 0 and (passed := now() - begun) > LOOP_S:
                    return passed / steps

    return step_s


def peak_flops() -> dict[str, float]:
    """Of one large product of matrices, by the library of PyTorch and by that of NumPy."""
    n = 768 if DEVICE == "cpu" else 8192
    a = torch.randn(n, n, device=DEVICE)
    out = torch.empty_like(a)
    calls: dict[str, Callable[[], object]] = {"torch": partial(torch.mm, a, a, out=out)}
    if DEVICE == "cpu":
        calls["numpy"] = partial(np.matmul, a.numpy(), a.numpy(), out.numpy())
    return {library: 2 * n**3 / seconds_of(call, 4) for library, call in calls.items()}


def seconds_of(call: Callable[[], object], repeats: int) -> float:
    """The least of some."""
    best = float("inf")
    for _ in range(repeats):
        begun = now()
        call()
        best = min(best, now() - begun)
    return best


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
    width = best_fit(layout, batch, config, recipe_of(data).material, thorough=True).width
    lanes = recipe_of(data).lanes(width)
    for trial in range(width):
        lanes.load(trial, config, trial, None, 0, FOREVER)
    loop, updates = tight_loop(data, *case, optimizer), ROWS // batch
    lanes.advance()
    loop()
    ratios, shares, of_torch, seconds = [], [], [], []
    for _ in range(repeats):
        loop_s, begun = loop(), now()
        lanes.advance()
        lane_s = (now() - begun) / (updates * width)
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


def anatomy(case: tuple[int, int, int]) -> dict[str, object]:
    """Where the time of a step with momentum goes, in microseconds per lane, against the least that it could be."""
    layers, units, batch = case
    data, config = made_data(), {"optimizer": "momentum"}
    material, layout = recipe_of(data).material, Layout.around((INPUTS, *[units] * layers, CLASSES))
    width = best_fit(
        layout, batch, {**config, "hidden_layers": layers, "hidden_units": units}, material, thorough=True
    ).width
    with torch.inference_mode(), np.errstate(all="ignore"):
        state = LaneState(*(0.01 * torch.randn(width, layout.width) for _ in range(4)))
        step = Step(layout, state, [config] * width, material.X_train, material.y_train, layout.sizes[-1], batch)
        optimizer = LaneOptimizer([config] * width, [FOREVER] * width, state, layout.n_weights)
        optimizer.set(optimizer.coefficients([0] * width, 1)[0] * 1e-3)
        index = torch.randint(ROWS, (width * batch,))
        calls = [partial(step.draw, index), *step.calls, *optimizer.calls]
        taken = dict.fromkeys(range(len(calls)), float("inf"))
        for _ in range(200):  # in their places, for what lies in the cache depends on the calls before
            for number, call in enumerate(calls):
                begun = time.thread_time()
                call()
                taken[number] = min(taken[number], time.thread_time() - begun)
        is_product = [getattr(call, "func", None) in (np.matmul, torch.bmm, torch.baddbmm) for call in calls]
        products = sum(taken[number] for number, is_one in enumerate(is_product) if is_one)
        passes = sum(taken.values()) - products
        few = [of_few_lanes(call) for call, is_one in zip(calls, is_product, strict=True) if is_one]
        nearest = sum(seconds_of(call, 200) * width / lanes for call, lanes in few)
        copied = sum(seconds_of(copying(c), 200) for c, is_one in zip(calls, is_product, strict=True) if not is_one)
    names = ("products_us", "else_us", "products_from_nearest_cache_us", "else_as_copies_us")
    found = dict(zip(names, (round(s / width * 1e6, 2) for s in (products, passes, nearest, copied)), strict=True))
    share = step_flops(*case) * width / max(peak_flops().values())
    return {
        "net": f"{layers} x {units}",
        "lanes": width,
        **found,
        "share_of_peak": round(share / (products + passes), 2),
        "of_products_alone": round(share / products, 2),
        "of_the_least_that_it_could_be": round(share / (nearest + copied), 2),
    }


def of_few_lanes(call: partial) -> tuple[Callable[[], object], int]:
    """The same products of so few lanes that the nearest cache holds them, and how many lanes these are."""
    given = [*call.args, call.keywords["out"]]
    few = max(1, min(len(given[0]), NEAREST_BYTES // sum(each[0].nbytes for each in given)))
    a, b, out = (each[:few] for each in given)
    return partial(np.matmul, a, b, out=out), few


def copying(call: partial) -> Callable[[], object]:
    """As many numbers copied as a call reads and writes."""
    owner = getattr(call.func, "__self__", None)
    given = [t for t in (*call.args, *call.keywords.values(), owner) if isinstance(t, torch.Tensor | np.ndarray)]
    count = sum(math.prod(t.shape) for t in {id(t): t for t in given}.values())
    a, b = torch.zeros(2, max(1, count // 2))
    return partial(b.copy_, a)


def refill(repeats: int, width: int, writes: bool) -> dict[str, object]:
    """Time of an epoch in which one of the lanes is paused and thawed, against one without.

    Where it ``writes``, the paused trial goes through its file; else it is held in memory, as most are.
    """
    recipe = recipe_of(made_data())
    config = {"hidden_layers": 2, "hidden_units": 32, "batch_size": 32, "iterations": FOREVER}
    with tempfile.TemporaryDirectory() as name:
        lanes, folder = recipe.lanes(width), Path(name)
        for trial in range(width):
            lanes.load(trial, config, trial, folder / str(trial), 0, FOREVER)
        lanes.advance()
        extra = []
        for epoch in range(repeats):
            begun = now()
            steps = lanes.advance()
            plain_s = now() - begun
            trial, reached = epoch % width, steps[0][1]
            begun = now()
            lanes.unload(trial)
            if writes:
                lanes.close()
            lanes.load(trial, config, trial, folder / str(trial), reached, FOREVER)
            swapped_s = now() - begun
            begun = now()
            lanes.advance()
            extra.append((swapped_s + now() - begun) / plain_s - 1)
    return {
        "net": "2 x 32",
        "lanes": width,
        "swapped_each_epoch": 1,
        "through_its_file": writes,
        "median_extra_time": round(statistics.median(extra), 4),
    }


def mixed(repeats: int, width: int = 16) -> dict[str, object]:
    """Lanes of other widths, activations and optimizers in one layout, against as many equal ones of its size."""
    recipe, rng = recipe_of(made_data()), np.random.default_rng(0)
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
            begun = now()
            lanes.advance()
            times.append(now() - begun)
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
    recipe = recipe_of(data)
    layout = Layout.around((INPUTS, *[units] * layers, CLASSES))
    width = best_fit(layout, batch, config, recipe.material, thorough=True).width
    lanes = recipe.lanes(width)
    for trial in range(width):
        lanes.load(trial, {**config, "iterations": FOREVER}, trial, None, 0, FOREVER)
    lanes.advance()
    begun, epochs = now(), 0
    while (passed := now() - begun) < seconds:
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
    global DEVICE
    kernels = widest_kernels()
    if not kernels.keys() <= os.environ.keys():  # NumPy has read them by now, so begin again
        os.execve(sys.executable, [sys.executable, *sys.argv], {**kernels, **ONE_THREAD, **os.environ})
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["rate"]:
        print(rate(sys.argv[2], tuple(map(int, sys.argv[3:]))))
        return
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("repeats", type=int, nargs="?", default=15)
    asked.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = asked.parse_args()
    repeats, DEVICE = arguments.repeats, arguments.device
    is_cpu = DEVICE == "cpu"
    result = {
        "claim": "small nets train many times as fast in lanes as in a tight PyTorch loop, large ones no slower",
        "against_the_loop": [against_the_loop(case, o, repeats) for case in CASES for o in ("momentum", "adam")],
        "anatomy": [anatomy(case) for case in CASES] if is_cpu else [],
        "process_per_core": [process_per_core(case) for case in CASES[:3]] if is_cpu else [],
        "refill": [refill(4 * repeats, width, writes) for width in (16, 64) for writes in (False, True)],
        "mixed": mixed(repeats),
        "gflops": {library: round(flops / 1e9) for library, flops in peak_flops().items()},
        "repeats": repeats,
        "threads": 1,
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE"),
        "time": "of the processor" if is_cpu else "on the wall",
        "load_1min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "ayar": version("ayar"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": "processor" if is_cpu else torch.cuda.get_device_name(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
