"""How many lanes of one layout train best together on this machine: measured once, and kept.

A step of k lanes takes about ``t(k) = t0 + t1 k``: what each call costs whatever it works on, and what each lane costs.
More lanes share t0 among more, until their numbers no longer fit into the cache and t1 grows. No formula knows where,
so widths are tried.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from ayar.nets.alone import Material
from ayar.nets.dense import Step
from ayar.nets.layout import Layout, rows_for
from ayar.nets.measured import Measured, remembered
from ayar.nets.optimizers import LaneOptimizer, LaneState
from ayar.nets.threads import using

WIDEST = {"cpu": 64, "cuda": 4096}
WORTH = 1.05  # times the best time per lane that is still taken for it, to have fewer lanes
SAVING = 0.75  # of the time for each, that twice as many are to take at most
MARGIN = 1.1  # a width that saves so much less than that is the last one tried; timed but once, it may not be the last
FAR = 1.8  # times the best time per lane are far beyond it
TRIAL_S = 0.005  # for each width and repeat
REPEATS = 4
ORDER_BYTES = 2**30  # of an epoch's orders of the rows: with very many rows, fewer lanes
LONG = 2**25  # products in one pass of a step beside which a processor's t0 is nothing


class Fit(NamedTuple):
    """How lanes of one layout train best.

    Attributes:
        width: How many together: the least number that takes close to the least time for each.
        few: How many together where each is to be learned from: from here on, twice as many save less than a quarter of
            the time for each, and a search does not know yet what comes of them.
        threads: With so many threads of PyTorch's; None for as many as there are.
    """

    width: int
    few: int
    threads: int | None = None


def best_fit(
    layout: Layout, batch_size: int, config: Mapping[str, Any], material: Material, *, thorough: bool = False
) -> Fit:
    """How lanes of this layout train best in this process.

    Measured in a tenth of a second or so, unless the user's cache folder knows it for this machine, these versions and
    this number of threads. Layouts of as many layers and about as much work share what was measured for the first of
    them: in a search over shapes hardly two trials are equal, and measuring each would take longer than it saves.

    Args:
        layout: Of the lanes.
        batch_size: Theirs.
        config: One of theirs, for optimizer, activation and dropout.
        material: What they train on.
        thorough: Whether ``width`` matters, too; else nothing much wider than ``few`` is tried.
    """
    X = material.X_train
    rows = min(batch_size, len(X))
    if material.device.type == "cpu" and threads_of(layout, rows) is None:
        return Fit(1, 1)
    kind = f"{X.dtype}" if material.precision == "highest" else f"{X.dtype} in {material.precision} precision"
    where = "" if material.device.type == "cpu" else f" on {material.device.type}"
    size = f"{len(layout.sizes) - 1} layers, 2^{round(math.log2(layout.n_weights * rows))} products"
    what = f"{'all ' if thorough else ''}lanes: {size}, {kind}{where}"
    found = remembered(what, partial(_measured, layout, rows, config, material, thorough))
    most = max(1, ORDER_BYTES // (4 * len(X)))
    width, few = (min(int(found[name]), most) for name in ("width", "few"))
    return Fit(width, few, int(found["threads"]) if "threads" in found else None)


def threads_of(layout: Layout, rows: int) -> int | None:
    """With how many threads to train where nothing was measured: as many as there are for long steps only."""
    return None if layout.n_weights * rows >= LONG else 1


def _measured(layout: Layout, rows: int, config: Mapping[str, Any], material: Material, thorough: bool) -> Measured:
    """The best width; with several threads, whether one of them does as well, and what so many processes would do.

    ``processes`` is how many times as much is trained by as many processes with one thread each as by this one.
    """
    here = torch.get_num_threads()
    if material.device.type != "cpu" or here == 1:
        return _widths(layout, rows, config, material, thorough)
    found = {}
    for threads in (here, 1):
        with using(threads):
            found[threads] = _widths(layout, rows, config, material, thorough)
    best = min(found, key=lambda threads: found[threads]["lane_us"] * (WORTH if threads == here else 1))
    processes = here * found[best]["lane_us"] / found[1]["lane_us"]
    return {**found[best], "threads": best, "processes": round(processes, 2)}


def _widths(layout: Layout, rows: int, config: Mapping[str, Any], material: Material, thorough: bool) -> Measured:
    """All widths are timed again and again in turns, so that no other program's burst of work falls on one of them.

    Unless ``thorough``, the last one is that which saves too little to be ``few``.
    """
    timers: dict[int, Callable[[], float]] = {}
    seconds: dict[int, float] = {}
    width = 1
    while width <= WIDEST[material.device.type]:
        try:
            timer = timer_of_step(layout, rows, config, material, width)
            seconds[width], timers[width] = timer(), timer
        except RuntimeError:  # out of memory
            break
        best = min(s / w for w, s in seconds.items())
        most = FAR * best * width if thorough else MARGIN * SAVING * 2 * seconds.get(width // 2, math.inf)
        if seconds[width] > most:
            break
        width *= 2
    for _ in range(REPEATS - 1):
        for width, timer in timers.items():
            seconds[width] = min(seconds[width], timer())
    best = min(s / w for w, s in seconds.items())
    width = min(w for w, s in seconds.items() if s / w <= WORTH * best)
    few = next((w for w in seconds if 2 * w not in seconds or seconds[2 * w] > SAVING * 2 * seconds[w]), width)
    until = [w for w in seconds if w <= max(width, 2)]  # where their numbers fit into the cache
    t1, t0 = np.polyfit(until, [seconds[w] for w in until], 1) if len(until) > 1 else (best, 0.0)
    lane_us = seconds[width] / width * 1e6
    t = {"lane_us": round(lane_us, 2), "t0_us": round(t0 * 1e6, 1), "t1_us": round(t1 * 1e6, 2)}
    return {"width": width, "few": min(few, width), **t}


@torch.inference_mode()
def timer_of_step(
    layout: Layout, rows: int, config: Mapping[str, Any], material: Material, width: int
) -> Callable[[], float]:
    """What measures the seconds of a step of ``width`` lanes: the least of some, for other programs only add to it."""
    X, y, device = material.X_train, material.y_train, material.device
    state = LaneState(*(0.01 * torch.randn(width, layout.width, dtype=X.dtype).to(device) for _ in range(4)))
    state.square.abs_()
    n_classes = 0 if y.is_floating_point() else layout.sizes[-1]
    step = Step(layout, state, [config] * width, X, y, n_classes, rows)
    optimizer = LaneOptimizer([config] * width, [10**6] * width, state, layout.n_weights)
    coefficients = optimizer.coefficients([0] * width, 1)[0]
    index = torch.randint(len(X), (width * rows_for(rows),)).to(X.device)
    hidden = layout.sizes[1:-1] if config.get("dropout", 0.0) > 0 else ()
    factors = [state.vector.new_ones(width, rows_for(rows), n) for n in hidden]
    # What a single thread takes of its processor, other programs hardly change.
    clock = time.thread_time if not state.vector.is_cuda and torch.get_num_threads() == 1 else time.perf_counter

    @torch.inference_mode()
    def seconds() -> float:
        fastest, ends = float("inf"), clock() + TRIAL_S
        while (began := clock()) < ends or fastest == float("inf"):
            step.run(index, factors)
            optimizer.step(coefficients)
            if state.vector.is_cuda:
                torch.cuda.synchronize()
            fastest = min(fastest, clock() - began)
        return fastest

    return seconds
