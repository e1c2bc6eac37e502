"""What repeats say: how much of a loss is the luck of its seed, and which configuration is best in spite of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ayar.records import Trial, config_key
from ayar.search.base import SEARCH_DATA
from ayar.stats import pooled_sd

_FEWEST = 3  # readings beyond the first ones of their configurations, before luck is measured by them

_PRIOR = 4  # configurations, at the least, that the prior is taken from


def steadiest(trials: Sequence[Trial]) -> Trial | None:
    """The trial whose configuration has the least posterior mean, judged by all its readings; None without repeats.

    Readings vary with the seed by what repeats of one configuration differ by. The better half of the configurations
    is taken for normally distributed, so one lucky reading counts less than the mean of several. Trials are compared
    that were trained as long as the longest.

    >>> from ayar.records import Curve, Measurement
    >>> losses = {"a": [0.24, 0.20, 0.22], "b": [0.24, 0.38], "c": [0.19], "d": [0.40], "e": [0.30], "f": [0.6, 0.7]}
    >>> pairs = [(name, loss) for name, values in losses.items() for loss in values]
    >>> curves = [Curve((Measurement(1, loss),)) for _, loss in pairs]
    >>> tried = [Trial(n, {"x": x}, n, curve=curves[n], target_step=1, ended=True) for n, (x, _) in enumerate(pairs)]
    >>> steadiest(tried).config
    {'x': 'a'}
    """
    sound = [t for t in trials if t.purpose in SEARCH_DATA and math.isfinite(t.loss)]
    longest = max((t.curve.last_step for t in sound), default=0)
    groups: dict[str, list[Trial]] = {}
    for trial in sound:
        if trial.curve.last_step == longest:
            groups.setdefault(config_key(trial.config), []).append(trial)
    if sum(len(group) - 1 for group in groups.values()) < _FEWEST:
        return None
    noise = pooled_sd([[t.loss for t in group] for group in groups.values()])
    assert noise is not None  # there are repeats
    means = np.array([np.mean([t.loss for t in group]) for group in groups.values()])
    expected = posterior_means(means, np.array([len(group) for group in groups.values()]), noise)
    return min([*groups.values()][int(expected.argmin())], key=lambda t: (t.loss, t.id))


def posterior_means(means: np.ndarray, counts: np.ndarray, noise: float) -> np.ndarray:
    """What configurations are expected to be worth, shape ``(n,)``, from the means of ``counts`` readings of each.

    A normal prior, whose mean and variance are those of the better half (empirical Bayes; Efron and Morris, 1973), and
    normal readings with standard deviation ``noise``.
    """
    variance = noise**2 / counts
    better = np.argsort(means, kind="stable")[: max(len(means) // 2, _PRIOR)]
    among = float(means[better].var(ddof=1)) if len(better) > 1 else 0.0
    spread = max(among - float(variance[better].mean()), 1e-3 * among, 1e-300)
    centre = float(means[better].mean())
    weight = spread / (spread + variance)  # of a configuration's own mean
    return np.asarray(weight * means + (1 - weight) * centre) if noise else means
