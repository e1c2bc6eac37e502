"""Leaks: ways in which the rows that judge a net are known to its training already. Arrays in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

AUC, CORRELATION = 0.99, 0.99
"""Beyond these, one column alone says the target: seldom luck, mostly a leak."""
NEAR = 0.01  # of the median distance to the nearest row: as good as a duplicate
MOST_ROWS = 2_000  # looked at where all would take too long
PIECE = 2**21  # cells that are scaled at a time
FEWEST = 10  # rows of a class, or cells of a column, that show more than chance
_PARTS = ("train", "valid", "test")


def find_leaks(
    X: np.ndarray,
    y: np.ndarray,
    parts: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] = (),
    groups: np.ndarray | None = None,
    time: np.ndarray | None = None,
    classes: bool = True,
) -> list[str]:
    """What is suspicious, one sentence each, with the culprit's name; empty where nothing is.

    Args:
        X: Inputs, shape ``(n, n_features)``; NaN where a value is missing.
        y: Targets, shape ``(n,)``: class numbers or real numbers.
        parts: Row numbers of ``"train"``, ``"valid"`` and, where there is one, ``"test"``, in the order of their use.
        names: Of the columns.
        groups: Shape ``(n,)``: rows of one group belong on one side.
        time: Shape ``(n,)``, of anything that can be sorted: what comes later must not train what is judged earlier.
        classes: Whether the target is a class.

    >>> rows = np.arange(40)
    >>> X = np.column_stack([rows % 7, rows // 20 + 0.01 * (rows % 3)])
    >>> find_leaks(X, rows // 20, {"train": rows[::2], "valid": rows[1::2]}, names=["size", "billed"])[-1][:46]
    "The column 'billed' alone gives the target awa"
    """
    X = np.asanyarray(X)
    if X.dtype.kind != "f":
        X = X.astype(float)
    columns = list(names) or [f"column {i}" for i in range(X.shape[1])]
    used = [(part, np.asarray(parts[part])) for part in _PARTS if part in parts and len(parts[part])]
    found = _shared_rows(used)
    if groups is not None:
        found += _shared_groups(np.asarray(groups), used)
    if time is not None:
        found += _out_of_order(np.asarray(time), used)
    found += _duplicates(X, used)
    return found + _given_away(X, np.asarray(y), columns, used[0][1], classes=classes)


def _shared_rows(used: Sequence[tuple[str, np.ndarray]]) -> list[str]:
    found = []
    for i, (part, rows) in enumerate(used):
        for other, more in used[i + 1 :]:
            both = np.intersect1d(rows, more)
            if len(both):
                found.append(
                    f"{len(both)} rows are in both {part} and {other}, row {both[0]} among them: the {other} score "
                    "judges a net on rows it was trained or chosen by."
                )
    return found


def _shared_groups(groups: np.ndarray, used: Sequence[tuple[str, np.ndarray]]) -> list[str]:
    found = []
    for i, (part, rows) in enumerate(used):
        for other, more in used[i + 1 :]:
            both = np.intersect1d(groups[rows], groups[more])
            if len(both):
                found.append(
                    f"{len(both)} groups are in both {part} and {other}, {both[0]} among them: the {other} score says "
                    "nothing about groups never seen. Split by group."
                )
    return found


def _out_of_order(time: np.ndarray, used: Sequence[tuple[str, np.ndarray]]) -> list[str]:
    found = []
    for (part, rows), (other, more) in pairwise(used):
        first = np.sort(time[more])[0]
        late = int((time[rows] >= first).sum())
        if late:
            found.append(
                f"{late} of {len(rows)} {part} rows are no earlier than the first {other} row ({first}): "
                f"the {other} score looks into the past with knowledge of the future. Split by time."
            )
    return found


def _duplicates(X: np.ndarray, used: Sequence[tuple[str, np.ndarray]]) -> list[str]:
    """Rows of a later part with the inputs of a row in an earlier one, exactly or as good as."""
    found = []
    earlier, known = used[0][1], _keys(X, used[0][1])
    for part, rows in used[1:]:
        keys = _keys(X, rows)
        order = np.argsort(known, kind="stable")
        places = np.searchsorted(known[order], keys)
        alike = known[order[np.minimum(places, len(order) - 1)]] == keys
        pairs = zip(rows[alike].tolist(), earlier[order[places[alike]]].tolist(), strict=True)
        repeats = [(row, first) for row, first in pairs if X[row].tobytes() == X[first].tobytes()]
        if repeats:
            (row, first) = repeats[0]
            found.append(
                f"{len(repeats)} of {len(rows)} {part} rows repeat the inputs of a row in an earlier part (row {row} "
                f"those of row {first}): the {part} score may look better than it is."
            )
        fresh = rows[~np.isin(rows, [row for row, _ in repeats])]
        near, example = _near(X, earlier, fresh)
        if near:
            found.append(
                f"{near} of {len(rows)} {part} rows nearly repeat a row in an earlier part (row {example[0]} row "
                f"{example[1]}): copies with other rounding, or pictures of one scene? Keep them on one side."
            )
        earlier, known = np.concatenate([earlier, rows]), np.concatenate([known, keys])
    return found


def _keys(X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A number for each row, equal for equal rows and for hardly any others, shape ``(len(rows),)``."""
    return np.fromiter((hash(X[row].tobytes()) for row in rows), np.int64, len(rows))


def _near(X: np.ndarray, earlier: np.ndarray, rows: np.ndarray) -> tuple[int, tuple[int, int]]:
    """How many of ``rows`` lie nearer to an earlier row than a hundredth of the usual distance, with an example."""
    rng = np.random.default_rng(0)
    sample = earlier if len(earlier) <= MOST_ROWS else rng.choice(earlier, MOST_ROWS, replace=False)
    spread = np.nan_to_num(np.ma.masked_invalid(X[sample]).std(axis=0).filled(0.0))
    kept = spread > 0
    if kept.sum() < 3 or len(rows) < FEWEST:
        return 0, (0, 0)  # with one or two columns, rows lie close by nature
    some = rows if len(rows) <= MOST_ROWS // 4 else np.sort(rng.choice(rows, MOST_ROWS // 4, replace=False))

    def scaled(which: np.ndarray) -> np.ndarray:
        rows: np.ndarray = np.nan_to_num(X[which][:, kept].astype(np.float64) / spread[kept])
        return rows

    distance, nearest, asked = np.full(len(some), np.inf), np.zeros(len(some), dtype=int), scaled(some)
    step = max(1, PIECE // max(X.shape[1], len(some)))  # not all at once, for the memory
    for start in range(0, len(earlier), step):
        piece = earlier[start : start + step]
        index, found = _nearest(asked, scaled(piece))
        nearer = found < distance
        distance[nearer], nearest[nearer] = found[nearer], piece[index[nearer]]
    close = np.flatnonzero(distance < NEAR * np.median(distance))
    if not len(close):
        return 0, (0, 0)
    count = round(len(close) * len(rows) / len(some))
    return count, (int(some[close[0]]), int(nearest[close[0]]))


def _nearest(rows: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the number of the nearest one ``among`` others, and its distance, both of shape ``(len(rows),)``."""
    # Of |a - b|^2 the part that depends on b; a library for it takes most of a second to import.
    index = (np.square(among).sum(axis=1) - 2 * rows @ among.T).argmin(axis=1)
    return index, np.linalg.norm(rows - among[index], axis=1)


def _given_away(X: np.ndarray, y: np.ndarray, names: Sequence[str], rows: np.ndarray, *, classes: bool) -> list[str]:
    """Columns that say the target all by themselves, in the rows that train."""
    if len(rows) > MOST_ROWS:
        rows = np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False)
    X, y = X[rows], y[rows]
    judged = [(name, *_alone(X[:, i], y, classes=classes)) for i, name in enumerate(names)]
    return [
        f"The column {name!r} alone gives the target away ({measure} {value:.3f}): would its value be known when the "
        "net is used? If not, remove it."
        for name, measure, value in judged
        if value > (AUC if classes else CORRELATION)
    ]


def _alone(x: np.ndarray, y: np.ndarray, *, classes: bool) -> tuple[str, float]:
    """How well one column orders or tells the target, and what that is called; 0 where it can't be said."""
    present = np.isfinite(x)
    x, y = x[present], y[present]
    if len(x) < 2 * FEWEST or np.ptp(x) == 0:
        return "", 0.0
    ranks = _ranks(x)
    if not classes:
        if np.ptp(y) == 0:
            return "", 0.0
        x, y = (values / np.abs(values).max() for values in (x, y))  # squares of tiny values are zero
        return "correlation", float(max(abs(np.corrcoef(x, y)[0, 1]), abs(np.corrcoef(ranks, _ranks(y))[0, 1])))
    labels, numbers, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(labels) < 2 or counts.min() < FEWEST:
        return "", 0.0
    # Of more than two classes, the column must order each beside its neighbour: the worst of those pairs counts.
    order = np.argsort([np.median(ranks[numbers == label]) for label in range(len(labels))])
    least = 1.0
    for a, b in pairwise(order):
        least = min(least, _auc(ranks, numbers == a, numbers == b))
        if least <= AUC:
            break
    return "AUC", least


def _auc(ranks: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Chance that a row of ``high`` stands above one of ``low``, ties counting half."""
    both = low | high
    own = _ranks(ranks[both])[high[both]]
    above = float(own.sum()) - len(own) * (len(own) + 1) / 2
    return above / (len(own) * int(low.sum()))


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: np.ndarray = (ends - (counts - 1) / 2)[inverse]
    return means
