"""Compare searchers on recorded tuning runs: ``python benchmarks/search TABLES [--arms ...] [--seeds N]``.

Every result is kept in one JSON file, so a run that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from arms import ARMS
from tables import Replay, load


def main() -> None:
    """Run what is missing, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path, help="folder of .npz files")
    parser.add_argument("--arms", nargs="+", default=["random", "halving", "bayesian"], choices=list(ARMS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--full-runs", type=float, default=50)
    parser.add_argument("--only", default="", help="part of a task's name")
    parser.add_argument("--workers", type=int, default=1, help="simulated; of our own searchers only")
    parser.add_argument(
        "--live", action="store_true", help="tell our own searchers each reading at once, and its seconds"
    )
    kinds = ("curves", "finals")
    parser.add_argument("--kind", choices=kinds, help="only tasks whose trainings can be sliced, or only the others")
    parser.add_argument("--out", type=Path, default=Path("search.json"))
    asked = parser.parse_args()

    results = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    for path in sorted(asked.tables.glob("*.npz")):
        table = load(path)
        if asked.only not in table.name or asked.kind == ("finals" if table.sliceable else "curves"):
            continue
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            names = {arm: f"{table.name}/{_named(arm, asked.workers, live=asked.live)}/{seed}" for arm in asked.arms}
            missing = [arm for arm in asked.arms if names[arm] not in results]
            replay = Replay(table, seed) if missing else None
            for arm in missing:
                start = time.perf_counter()
                run = ARMS[arm](replay, asked.full_runs, asked.workers, asked.live)
                results[names[arm]] = {
                    "family": table.family,
                    "sliceable": replay.problem.sliceable,
                    "regrets": np.round(run.regrets, 6).tolist(),
                    "simulated_s": [float(f"{x:.6g}") for x in run.seconds],
                    "thinking_ms": np.percentile(run.thinking_s or [0], [50, 95]).round(5).__mul__(1e3).tolist(),
                    "moves": len(run.thinking_s),
                    "seconds": round(time.perf_counter() - start, 2),
                    "full_runs": asked.full_runs,
                }
                kept = asked.out.with_suffix(".part")
                kept.write_text(json.dumps(results))
                kept.replace(asked.out)
        print(table.name, flush=True)


def _named(arm: str, workers: int, *, live: bool) -> str:
    return (f"live {arm}" if live else arm) + (f" x {workers}" if workers > 1 else "")


if __name__ == "__main__":
    main()
