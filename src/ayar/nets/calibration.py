"""How many lanes of one layout train best together on this machine: measured once, and kept.

A step of k lanes takes about ``t(k) = t0 + t1 k``: what each call costs whatever it works on, and what each lane costs.
More lanes share t0 among more, until their numbers no longer fit into the cache and t1 grows. No formula knows where,
so widths are tried.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ayar.nets.dense import Step
from ayar.nets.layout import Layout, rows_for
from ayar.nets.optimizers import LaneOptimizer, LaneState

WIDEST = {"cpu": 64, "cuda": 4096}
WORTH = 1.05  # times the best time per lane that is still taken for it, to have fewer lanes
TRIAL_S = 0.01  # for each width and repeat
REPEATS = 3
LONG = 2**25  # products in one pass of a step beside which a processor's t0 is nothing


def best_width(layout: Layout, batch_size: int, config: Mapping[str, Any], table: torch.Tensor) -> int:
    """The least number of lanes that takes close to the least time for each.

    Measured in a fraction of a second, unless the user's cache folder knows it for this machine, these versions and
    this number of threads. Layouts of as many layers and about as much work share what was measured for the first of
    them: in a search over shapes hardly two trials are equal, and measuring each would take longer than it saves.

    Args:
        layout: Of the lanes.
        batch_size: Theirs.
        config: One of theirs, for optimizer, activation and dropout.
        table: Training rows: inputs, then targets.
    """
    rows = min(batch_size, len(table))
    if table.device.type == "cpu" and layout.n_weights * rows >= LONG:
        return 1
    known = _known()
    what = f"{len(layout.sizes) - 1} layers, 2^{round(math.log2(layout.n_weights * rows))} products, {table.dtype}"
    if what not in known:
        known[what] = _measured(layout, rows, config, table)
        _keep(known)
    return int(known[what]["width"])


def _measured(layout: Layout, rows: int, config: Mapping[str, Any], table: torch.Tensor) -> dict[str, float]:
    seconds: dict[int, float] = {}
    width = 1
    while width <= WIDEST[table.device.type]:
        try:
            seconds[width] = _step_s(layout, rows, config, table, width)
        except RuntimeError:  # out of memory
            break
        if width > 1 and seconds[width] > 1.8 * min(seconds[w] / w for w in seconds) * width:
            break  # far beyond the best
        width *= 2
    best = min(s / w for w, s in seconds.items())
    t1, t0 = np.polyfit(list(seconds), list(seconds.values()), 1) if len(seconds) > 1 else (best, 0.0)
    width = min(w for w, s in seconds.items() if s / w <= WORTH * best)
    return {"width": width, "t0_us": round(t0 * 1e6, 1), "t1_us": round(t1 * 1e6, 2)}


def _step_s(layout: Layout, rows: int, config: Mapping[str, Any], table: torch.Tensor, width: int) -> float:
    """Seconds of one step of ``width`` lanes: the best of several repeats, for other programs only ever add to it."""
    state = LaneState(*(0.01 * torch.randn(width, layout.width, dtype=table.dtype).to(table.device) for _ in range(4)))
    state.square.abs_()
    is_regression = layout.sizes[-1] == 1
    step = Step(layout, state.vector, state.gradient, [config] * width, table, rows, is_regression)
    optimizer = LaneOptimizer([config] * width, [10**6] * width, state, layout.n_weights)
    coefficients = optimizer.coefficients([0] * width, 1)[0]
    index = torch.randint(len(table), (width * rows_for(rows),)).to(table.device)
    hidden = layout.sizes[1:-1] if config.get("dropout", 0.0) > 0 else ()
    factors = [table.new_ones(width, rows_for(rows), n) for n in hidden]
    best = float("inf")
    for _ in range(REPEATS):
        began, steps = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < TRIAL_S or steps == 0:
            step.run(index, factors)
            optimizer.step(coefficients)
            if table.is_cuda:
                torch.cuda.synchronize()
            steps += 1
        best = min(best, passed / steps)
    return best


def _cache() -> Path:
    """The file for this machine, these versions and this number of threads."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ayar"
    machine = f"{platform.node()}-{platform.machine()}-{os.cpu_count()}cpus-{torch.get_num_threads()}threads"
    device = torch.cuda.get_device_name().replace(" ", "_") if torch.cuda.is_available() else "cpu"
    return folder / f"lanes-{machine}-{device}-torch{torch.__version__}-ayar{version('ayar')}.json"


@lru_cache(maxsize=1)
def _loaded(path: Path) -> dict[str, dict[str, float]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _known() -> dict[str, dict[str, float]]:
    return _loaded(_cache())


def _keep(known: dict[str, dict[str, float]]) -> None:
    path = _cache()
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(known, indent=1), encoding="utf-8")
        beside.replace(path)
    except OSError:  # a read-only home only means measuring again next time
        return
