"""What was measured on this machine, kept so that it is measured once.

One file in the user's cache folder for each machine, device, number of threads and set of versions.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

from ayar.nets.cache import cache_folder
from ayar.nets.threads import using

Measured = Mapping[str, float]
Call = Callable[[], object]

_REPEATS = 25


def remembered(what: str, measure: Callable[[], Measured]) -> Measured:
    """What ``measure`` found out about ``what`` here, now or at an earlier time."""
    known = _loaded(_cache())
    if what not in known:
        known[what] = dict(measure())
        _keep(known)
    return known[what]


def times_as_quick(call: Call, other: Call) -> float:
    """How many times as quick as another call one is, with one thread; they take turns, and the least times count."""
    best = [float("inf"), float("inf")]
    with using(1):
        for _ in range(_REPEATS):
            for number, each in enumerate((call, other)):
                began = time.thread_time()
                each()
                best[number] = min(best[number], time.thread_time() - began)
    return round(best[1] / best[0], 3)


def _cache() -> Path:
    machine = f"{platform.node()}-{platform.machine()}-{os.cpu_count()}cpus-{torch.get_num_threads()}threads"
    kernels = os.environ.get("OPENBLAS_CORETYPE", "")
    device = torch.cuda.get_device_name().replace(" ", "_") if torch.cuda.is_available() else f"cpu{kernels}"
    return cache_folder() / f"lanes-{machine}-{device}-torch{torch.__version__}-ayar{version('ayar')}.json"


@lru_cache(maxsize=1)
def _loaded(path: Path) -> dict[str, dict[str, float]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _keep(known: Mapping[str, Measured]) -> None:
    path = _cache()
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(known, indent=1), encoding="utf-8")
        beside.replace(path)
    except OSError:  # a read-only home only means measuring again next time
        return
