"""How much of the differences between trials the values of one hyperparameter account for by themselves."""

from __future__ import annotations

import numpy as np


def explained_share(groups: np.ndarray, losses: np.ndarray) -> tuple[float, float]:
    """95 % bounds, each one-sided, of the share of the variance of the losses' ranks that lies between groups.

    The F test turned round: the bounds are those shares for which an F as large, or as small, as the one that is
    seen has a chance of 5 %, in steps of a quarter of a percent; a bound above one half is 1. With few trials the upper
    one stays high, so that nothing is called small too soon.

    Args:
        groups: A number for each trial, equal for trials of one group, shape ``(n,)``.
        losses: Shape ``(n,)``; infinite ones rank last.

    >>> rng = np.random.default_rng(0)
    >>> groups = rng.integers(4, size=200)
    >>> explained_share(groups, rng.random(200)), explained_share(groups, groups + 2 * rng.random(200))[0] > 0.4
    ((0.0, 0.0275), True)
    """
    from scipy.stats import ncf, rankdata

    kinds, ranks = np.unique(groups), rankdata(losses)
    n, k = len(ranks), len(kinds)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if k < 2 or n <= k or total == 0:
        return 0.0, 1.0
    between = sum(float((groups == g).sum() * (ranks[groups == g].mean() - ranks.mean()) ** 2) for g in kinds)
    statistic = between / (k - 1) / max((total - between) / (n - k), 1e-12)

    shares = np.linspace(0, 0.5, 201)
    chance = np.nan_to_num(ncf.cdf(statistic, k - 1, n - k, n * shares / (1 - shares)))  # falls; NaN where next to 0
    return float(shares[chance >= 0.95].max(initial=0.0)), float(shares[chance <= 0.05].min(initial=1.0))
