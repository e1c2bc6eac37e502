"""Thinking time of one move beside Optuna's: ``python benchmarks/search/overhead.py [--out FILE]``.

Eight hyperparameters on log scales, one thread. The history is made up: half of its trials stopped after one step, the
others went on to three, nine or twenty-seven, and each twentieth broke. Each searcher then proposes, and its trial is
answered before the next move, as with one worker. Every count runs in a process of its own, so that its memory is its
own. Optuna's trials are final values in its memory storage.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ayar.records import Curve, Measurement, Trial
from ayar.search import SEARCHERS, Problem
from ayar.search.history import History
from ayar.space import Float, Space

HORIZON = 27
SPACE = Space(**{f"x{i}": Float(1e-4, 1.0, log=True) for i in range(8)})
COUNTS = (1_000, 10_000, 100_000)
MOVES = 200
UNMEASURED = 5  # first moves: they read the whole history, once in a process


def _loss(config: dict[str, Any], step: int, rng: np.random.Generator) -> float:
    point = SPACE.encode(config)
    return float(((point - 0.4) ** 2).sum() + 1 / step + 0.05 * rng.normal())


def _trained(number: int, config: dict[str, Any], stop: int, rng: np.random.Generator, *, breaks: bool) -> Trial:
    losses = [_loss(config, step, rng) for step in range(1, stop + 1)]
    curve = Curve(tuple(Measurement(step, loss, 1.0, {"loss": loss}) for step, loss in enumerate(losses, start=1)))
    return Trial(
        number, config, number, curve=curve, target_step=stop, ended=stop == HORIZON, error="x" if breaks else None
    )


def ours(name: str, count: int) -> dict[str, float]:
    """Milliseconds of a move with so many trials in the history."""
    rng, history = np.random.default_rng(0), History()
    for number in range(count):
        stop = int(rng.choice([1, 1, 1, 1, 3, 3, 9, HORIZON]))
        history.put(_trained(number, SPACE.sample(rng), stop, rng, breaks=number % 20 == 7))
    problem, searcher, times = Problem(SPACE, HORIZON), SEARCHERS[name](), []
    for _ in range(MOVES + UNMEASURED):
        begin = _now()
        proposals = searcher.propose(problem, history, 1)
        times.append(_now() - begin)
        for proposal in proposals:
            number = len(history) if proposal.trial is None else proposal.trial
            history.put(_trained(number, proposal.config, proposal.stop_step, rng, breaks=False))
    return _described(times)


def optuna(count: int) -> dict[str, float]:
    """The same for Optuna's default sampler."""
    import optuna as peer

    peer.logging.set_verbosity(peer.logging.ERROR)
    rng = np.random.default_rng(0)
    study = peer.create_study(sampler=peer.samplers.TPESampler(seed=0))
    scales = {name: peer.distributions.FloatDistribution(1e-4, 1.0, log=True) for name in SPACE.names}
    for _ in range(count):
        config = SPACE.sample(rng)
        value = _loss(config, HORIZON, rng)
        study.add_trial(peer.trial.create_trial(params=config, distributions=scales, value=value))
    times = []
    for _ in range((20 if count > 50_000 else 50) + UNMEASURED):
        begin = _now()
        asked = study.ask()
        config = {name: asked.suggest_float(name, 1e-4, 1.0, log=True) for name in SPACE.names}
        times.append(_now() - begin)
        study.tell(asked, _loss(config, HORIZON, rng))
    return _described(times)


def _now() -> np.ndarray:
    """Seconds on the clock, and seconds of the processor, which others on the machine don't lengthen."""
    return np.array([time.perf_counter(), time.process_time()])


def _described(times: list[np.ndarray]) -> dict[str, float]:
    (p50, cpu_p50), (p95, cpu_p95) = np.percentile(np.array(times[UNMEASURED:]) * 1e3, [50, 95], axis=0).round(2)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "p50_ms": p50,
        "p95_ms": p95,
        "cpu_p50_ms": cpu_p50,
        "cpu_p95_ms": cpu_p95,
        "first_ms": round(float(times[0][0]) * 1e3, 1),
        "memory_MB": round(memory),
        "moves": len(times) - UNMEASURED,
    }


def main() -> None:
    """Measure each searcher at each count, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("overhead.json"))
    parser.add_argument("--searchers", nargs="+", default=sorted(set(SEARCHERS) - {"grid"}))
    parser.add_argument("--counts", nargs="+", type=int, default=COUNTS)
    parser.add_argument("--one", nargs=2, metavar=("SEARCHER", "COUNT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        name, count = asked.one[0], int(asked.one[1])
        print(json.dumps(optuna(count) if name == "Optuna TPE" else ours(name, count)))
        return
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {"results": {}}
    packages = {name: version(name) for name in ("numpy", "scipy", "optuna")}
    found["machine"] = {"processor": _processor(), "python": platform.python_version(), **packages}
    for name in asked.searchers:
        for count in asked.counts:
            one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--one", name, str(count)]
            result = json.loads(
                subprocess.run(command, env=one_thread, check=True, capture_output=True, text=True).stdout
            )
            found["results"].setdefault(name, {})[str(count)] = result
            print(f"{name:14} {count:7} {result}", flush=True)
            asked.out.write_text(json.dumps(found, indent=1) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
