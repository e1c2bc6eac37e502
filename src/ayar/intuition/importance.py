"""Which hyperparameters mattered in a study, with intervals, and silence where the trials do not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ayar.errors import MissingExtra, NotEnoughEvidence, extra
from ayar.lineage import begun_anew
from ayar.records import State, Trial
from ayar.search.base import SEARCH_DATA
from ayar.space import Space

FEWEST = 10
"""Trials below which nothing is said."""

GATE = 0.5
"""The least rank correlation between the surrogate's predictions and trials it has not seen."""

_POINTS = 256  # places at which each surrogate is asked
_GOOD = 0.25  # the best quarter of the trials is the good region


@dataclass(frozen=True, slots=True)
class Importance:
    """How much of the differences between trials one hyperparameter accounts for, its interactions included.

    Attributes:
        name: The hyperparameter; all layers of a ``PerLayer`` together.
        share: Its share among all hyperparameters over the whole space; the shares add up to 1.
        low: Lower end of the 95 % bootstrap interval of ``share``.
        high: Upper end.
        first: Share of the bootstrap resamples in which it came first.
        good_share: Its share inside the good region. A learning rate may rule the whole space by its diverging
            values alone, and matter little among the good ones.
        active: Trials that had a value for it.
    """

    name: str
    share: float
    low: float
    high: float
    first: float
    good_share: float
    active: int


def importance(
    trials: Sequence[Trial], space: Space, *, rng: np.random.Generator, resamples: int = 100
) -> list[Importance]:
    """The importance of every searched hyperparameter, the largest share first.

    A forest learns the rank of a trial's loss from its configuration; failed and diverged trials rank last. An
    importance is the total effect of a hyperparameter on that forest's prediction (Jansen 1999, "Analysis of
    variance designs for model output"): how much the prediction changes when that one value is drawn anew.

    Args:
        trials: The trials of one study; running ones are left out, those that began with another one's state, and
            those that lie outside the space: tried by hand beyond a range, or before it was narrowed.
        space: Their space.
        rng: Where the resamples come from; the same generator gives the same answer.
        resamples: Bootstrap resamples of the trials, one forest each.

    Raises:
        NotEnoughEvidence: There are fewer than ten trials, or too few for their noise: the forest cannot predict
            trials it has not seen.
        MissingExtra: scikit-learn is not installed.
    """
    ended = [t for t in begun_anew(trials) if t.state is not State.RUNNING and space.contains(t.config)]
    groups = _columns(space)
    if len(ended) < FEWEST or not groups:
        raise NotEnoughEvidence(
            f"{len(ended)} finished trials over {len(groups)} hyperparameters say nothing about importance; "
            f"it takes {FEWEST} at least. Train more."
        )
    X = np.stack([space.encode(trial.config) for trial in ended])
    ranks = _ranks(np.array([trial.loss for trial in ended]))
    _check_prediction(X, ranks, rng)

    anywhere = np.stack([space.encode(space.sample(rng)) for _ in range(2 * _POINTS)])
    good = X[np.argsort(ranks, kind="stable")[: max(3, int(_GOOD * len(X)))]]
    shares, good_shares = np.empty((2, resamples, len(groups)))
    for i in range(resamples):
        rows = rng.integers(0, len(X), len(X))
        forest = _forest(X[rows], ranks[rows], rng)
        drawn = good[rng.integers(0, len(good), 2 * _POINTS)]
        shares[i] = _total_effects(forest, anywhere, list(groups.values()))
        good_shares[i] = _total_effects(forest, drawn, list(groups.values()))

    found = [
        Importance(
            name=name,
            share=float(shares[:, j].mean()),
            low=float(np.quantile(shares[:, j], 0.025)),
            high=float(np.quantile(shares[:, j], 0.975)),
            first=float((shares.argmax(axis=1) == j).mean()),
            good_share=float(good_shares[:, j].mean()),
            active=sum(name in trial.config for trial in ended),
        )
        for j, name in enumerate(groups)
    ]
    return sorted(found, key=lambda each: -each.share)


def important_names(trials: Sequence[Trial], space: Space) -> list[str]:
    """Hyperparameters, the most important first, by the trials of the search; none where they don't say."""
    searched = [t for t in trials if t.purpose in SEARCH_DATA]
    try:
        found = importance(searched, space, rng=np.random.default_rng(0), resamples=5)
    except (NotEnoughEvidence, MissingExtra):
        return []
    return [each.name for each in found]


def _columns(space: Space) -> dict[str, list[int]]:
    """The places of each searched hyperparameter in an encoded configuration."""
    columns, start = {}, 0
    for name in space.names:
        end = start + space.width(name)
        if end > start:  # a fixed value takes no place
            columns[name] = list(range(start, end))
        start = end
    return columns


def _ranks(losses: np.ndarray) -> np.ndarray:
    """Mid-ranks from 0 (best) to 1; equal losses, as those of failed trials, share theirs."""
    from scipy.stats import rankdata

    return np.asarray((rankdata(losses) - 1) / (len(losses) - 1))


def _check_prediction(X: np.ndarray, ranks: np.ndarray, rng: np.random.Generator) -> None:
    """Five-fold: does a forest predict trials that it has not seen?"""
    from scipy.stats import rankdata

    fold = rng.permutation(len(X)) % 5
    predicted = np.empty(len(X))
    for k in range(5):
        predicted[fold == k] = _forest(X[fold != k], ranks[fold != k], rng).predict(X[fold == k])
    a, b = rankdata(predicted), rankdata(ranks)
    agreement = float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
    if agreement < GATE:
        raise NotEnoughEvidence(
            f"{len(X)} trials are too few, or too noisy, to tell which hyperparameters mattered: predictions of "
            f"unseen trials agree with their ranks by {agreement:.2f}, it takes {GATE}. Train more."
        )


def _forest(X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Any:
    with extra("torch"):
        from sklearn.ensemble import RandomForestRegressor
    return RandomForestRegressor(25, random_state=int(rng.integers(2**31))).fit(X, y)


def _total_effects(forest: Any, points: np.ndarray, groups: Sequence[list[int]]) -> np.ndarray:
    """Share of each group of columns, shape ``(len(groups),)``; equal shares where nothing has an effect.

    The first half of ``points`` is where the forest is asked, the second half gives the values drawn anew.
    """
    base, fresh = np.split(points, 2)
    moved = np.repeat(base[None], len(groups), axis=0)
    for copy, columns in zip(moved, groups, strict=True):
        copy[:, columns] = fresh[:, columns]
    predicted = forest.predict(moved.reshape(-1, base.shape[1])).reshape(len(groups), -1)
    effects = ((predicted - forest.predict(base)) ** 2).mean(axis=1)
    total = effects.sum()
    return np.asarray(effects / total if total > 0 else np.full(len(groups), 1 / len(groups)))
