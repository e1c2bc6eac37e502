"""One way in one world, many times: measured once, kept as a file, so that a long run can be done in parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from arms import Found, ayar, optuna_best, single_best
from smac_arm import smac_incumbent
from worlds import SPACE, World, truth

from ayar.records import ScoreKind
from ayar.stats import mean_interval

Way = Callable[[World, float, int, int], Found]
"""What a way arrives at, from world, noise, trainings and the study's seed."""

OURS, FIXED, SINGLE = "ayar", "ayar, fixed share 0.3", "single best of search"
WAYS: dict[str, Way] = {
    OURS: ayar,
    FIXED: partial(ayar, share=0.3),
    SINGLE: single_best,
    "Optuna best_trial (random)": partial(optuna_best, sampler="random"),
    "Optuna best_trial (TPE)": partial(optuna_best, sampler="TPE"),
    "SMAC incumbent": smac_incumbent,
}


def row_of(found: Found) -> dict[str, float]:
    """What is kept of one repeat; NaN where a way has no such thing."""
    row = dict.fromkeys(("mean", "low", "high", "student low", "student high", "seeds", "failed"), math.nan)
    row |= dict.fromkeys(("search best", "gain", "gain low", "gain high", "significant"), math.nan)
    row |= {"truth": truth(found.config), "claim": found.claim, "trainings": found.trainings, "share": found.share}
    winner = found.winner
    score = winner.scores.get(ScoreKind.FRESH_SEED) if winner else None
    if winner is None or score is None or len(score.values) < 2:
        return row
    row |= {"mean": score.mean, "low": score.low, "high": score.high}
    _, row["student low"], row["student high"] = mean_interval(score.values)
    row |= {"seeds": len(score.values), "failed": score.failed}
    if ScoreKind.SEARCH_BEST in winner.scores:
        row["search best"] = winner.scores[ScoreKind.SEARCH_BEST].mean
    gain = winner.improvement
    if gain is not None:
        row |= {"gain": gain.mean, "gain low": gain.low, "gain high": gain.high}
        row["significant"] = gain.significant and gain.mean > 0
    return row


def piece(folder: Path, world: World, ratio: float, trainings: int, way: str, repeats: int) -> dict[str, np.ndarray]:
    """A column for each kept number, shape ``(repeats,)``; read from the folder what it has, measured what it lacks."""
    name = f"{world.name} {ratio:g} {trainings} {way}".replace(" ", "_").replace(",", "").replace("(", "").rstrip(")")
    path = folder / f"{name}.npz"
    known: dict[str, np.ndarray] = {}
    if path.exists():
        with np.load(path) as file:
            known = {key: file[key] for key in file.files}
    have = len(known["truth"]) if known else 0
    if have < repeats:
        rows = [row_of(WAYS[way](world, ratio, trainings, seed)) for seed in range(have, repeats)]
        more = {key: np.array([row[key] for row in rows], dtype=float) for key in rows[0]}
        known = {key: np.concatenate([known[key], more[key]]) if known else more[key] for key in more}
        np.savez(path, **known)  # type: ignore[arg-type]
    return {key: column[:repeats] for key, column in known.items()}


def home() -> float:
    """True loss of the default."""
    return truth(SPACE.default())
