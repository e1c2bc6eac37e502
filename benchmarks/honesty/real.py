"""Reported against true on real data: a large set is cut into small tasks, and its remainder tells the truth.

    python benchmarks/honesty/real.py ARRAYS.npz --rows 300 --repeats 20 --out benchmarks/results

``ARRAYS.npz`` has ``X`` and ``y``. Each repeat draws so many rows, tunes a small net on them, and then lets the nets of
the fresh seeds judge all rows that were left out: their mean error is what the reported score claims to be.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import ayar
from ayar.records import ScoreKind
from ayar.seeds import Purpose

SPACE = {
    "learning_rate": ayar.Float(1e-3, 0.3, log=True),
    "hidden_layers": 1,
    "hidden_units": ayar.PerLayer(ayar.Int(8, 64, log=True), layers="hidden_layers"),
    "dropout": ayar.Float(0.0, 0.5),
    "batch_size": 32,
    "iterations": 15,
}


def once(X: np.ndarray, y: np.ndarray, rows: int, validate: str, seed: int) -> dict[str, float]:
    """One small task: what was reported, and what is true."""
    order = np.random.default_rng(seed).permutation(len(y))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.npz"
        np.savez(path, X=X[order[:rows]], y=y[order[:rows]])
        task = ayar.load_task(path, seed=seed, validate=validate, kind="classification")
        recipe = ayar.deep_net(task.data, task.splits)
        with ayar.Study(
            Path(folder) / "small.db", space=ayar.Space(**SPACE), minimize="valid_error", seed=seed
        ) as study:
            winner = study.tune(recipe, trials=16, workers=0, confirm=0.5, progress=False)
            fresh = [t for t in study.trials() if t.purpose is Purpose.FINALISE and t.config == winner.config]
            rest = order[rows:][:4000]
            true = np.mean(
                [np.mean(recipe.predict(study.folder / str(t.id), X[rest]).argmax(1) != y[rest]) for t in fresh]
            )
        score, search = winner.scores[ScoreKind.FRESH_SEED], winner.scores.get(ScoreKind.SEARCH_BEST)
        return {
            "true": float(true),
            "fresh-seed": score.mean,
            "low": score.low,
            "high": score.high,
            "search-best": search.mean if search else float("nan"),
        }


def main() -> None:
    """All repeats, hold-out beside k-fold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arrays", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with np.load(args.arrays) as file:
        X, y = file["X"], file["y"]
    X = X.reshape(len(X), -1)
    X = X.astype(np.float32) / 255 if X.dtype == np.uint8 else X.astype(np.float32)
    y = np.unique(y, return_inverse=True)[1]
    results = {}
    for validate in ("kfold", "holdout"):
        found = [once(X, y, args.rows, validate, seed) for seed in range(args.repeats)]
        gaps = {kind: np.array([f[kind] - f["true"] for f in found]) for kind in ("fresh-seed", "search-best")}
        results[validate] = {
            "true error": float(np.mean([f["true"] for f in found])),
            "interval covers": float(np.mean([f["low"] <= f["true"] <= f["high"] for f in found])),
            **{f"{k} minus true": [float(np.nanmean(g)), float(np.nanstd(g) / len(g) ** 0.5)] for k, g in gaps.items()},
            "repeats": len(found),
        }
        print(validate, results[validate], flush=True)
    if args.out:
        body = {"data": args.arrays.stem, "rows": args.rows, "results": results}
        (args.out / f"honesty_{args.arrays.stem}.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
