"""Population-based training beside searches for one constant configuration: ``python benchmarks/population.py OUT``.

The built-in net on digits; each search has as many steps, and its winner is confirmed on fresh seeds. Some minutes.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch

from ayar import Float, Space, Study
from ayar.nets.deep_net import deep_net
from ayar.nets.tasks import load_task
from ayar.records import ScoreKind

STEPS, ITERATIONS, SEEDS = 900, 30, 3
SPACE = Space(
    learning_rate=Float(1e-4, 0.3, log=True),
    weight_decay=Float(1e-6, 1e-1, log=True),
    dropout=Float(0.0, 0.6),
    momentum=Float(0.0, 0.99),
    hidden_layers=2,
    hidden_units=64,
    optimizer="sgd",
    batch_size=64,
    iterations=ITERATIONS,
)


def main() -> None:
    """Search with each, several times."""
    out = Path(sys.argv[1])
    task = load_task("digits")
    found = json.loads(out.read_text()) if out.exists() else {"machine": platform.machine(), "torch": torch.__version__}
    for seed in range(SEEDS):
        for searcher in ("population", "racer", "halving", "random"):
            key = f"{searcher}/{seed}"
            if key in found:
                continue
            study = Study(space=SPACE, minimize="valid_loss", searcher=searcher, seed=seed)
            winner = study.tune(
                deep_net(task.data), steps=STEPS, workers=0, confirm=0.3, progress=False, lanes="off", doctor="off"
            )
            assert winner is not None
            fresh = winner.scores.get(ScoreKind.FRESH_SEED)
            found[key] = {
                "search": winner.scores[ScoreKind.SEARCH_BEST].mean,
                "fresh": None if fresh is None else fresh.mean,
                "seeds": 0 if fresh is None else len(fresh.values),
                "trials": len(study.trials()),
            }
            out.write_text(json.dumps(found, indent=1) + "\n")
            print(key, found[key], flush=True)
    for searcher in ("population", "racer", "halving", "random"):
        told = [run["fresh"] or np.nan for key, run in found.items() if key.startswith(searcher)]
        print(f"{searcher:<12} {np.nanmean(told):.4f} (sd over {len(told)} searches {np.nanstd(told, ddof=1):.4f})")


if __name__ == "__main__":
    main()
