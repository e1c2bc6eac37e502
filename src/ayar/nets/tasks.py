"""Tasks: real data, split once into train, validation and a sealed test part.

Everything that is fitted to data here (categories, means, standard deviations) is fitted to train rows only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ayar.errors import DataError, extra
from ayar.folds import Folds, kept_whole
from ayar.leaks import find_leaks
from ayar.nets import sources
from ayar.nets.data import Data, Scaling, SealedTest
from ayar.nets.mapped import kept, pieces
from ayar.nets.sources import PARTS, Source
from ayar.nets.splits import Splits
from ayar.records import LARGEST
from ayar.seeds import check_seed

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}
"""Share of the rows that each part gets where the source does not fix it: a choice among many configurations, and
its score, need validation and test rows enough to tell them apart."""

LARGEST_INPUT = 1e30  # its square still fits into 64 bits many times over
LEAK_ROWS = 5_000  # of each part, where all are too many for the memory
MOST_CATEGORIES = 50
MOST_CLASSES = 20
ROWS_PER_CLASS = 5


@dataclass(frozen=True, eq=False)
class Task:
    """Data to learn from, with its test part sealed.

    Attributes:
        name: Of the built-in task or the file.
        data: Train and validation part.
        sealed: Test part.
        split_hash: SHA-256 over the rows and the split: equal hashes mean the same task.
        warnings: What a person should know of the data, as sentences.
        splits: Splits of the train and validation rows for confirmation, one for each seed; None where all trials
            share the one of ``data``. Hand it to the recipe.
        validation: How rows validate, and why so, in a sentence.
    """

    name: str
    data: Data
    sealed: SealedTest
    split_hash: str
    warnings: tuple[str, ...] = ()
    splits: Splits | None = None
    validation: str = ""


@extra("torch")
def load_task(
    source: str | Path,
    *,
    target: str | None = None,
    seed: int = 0,
    kind: str | None = None,
    validate: str = "auto",
    group: str | None = None,
    time: str | None = None,
) -> Task:
    """A task from a built-in table (``"digits"``), an ``.npz`` file or a ``.csv`` file.

    The target decides the kind of task. Text names classes. So do whole numbers with at most 20 different
    values, or exactly 0 ... C-1 or 1 ... C with on average five rows each. Everything else is regression.

    Parts of the split that the source does not fix are drawn once from ``seed``, class by class: 60 % train,
    20 % validation, 20 % test. They come from rows of no part, or where all have one, from the train part. Rows of one
    group stay in one part; by time, the latest rows are for the test, those before for validation; by both, a group
    that reaches across is in one part, and its rows elsewhere are left out.

    Args:
        source: Name of a built-in task, or path of a file.
        target: Column to predict, for ``.csv``.
        seed: Of the split; another seed is another task.
        kind: ``"classification"`` or ``"regression"``, to overrule what the target suggests.
        validate: How winners are confirmed: ``"kfold"``, ``"repeated"``, ``"holdout"``, or ``"auto"``, which decides by
            the number of rows; see ``ayar.Folds``.
        group: Column whose equal values belong together, for a ``.csv`` (an ``.npz`` has an array ``group``).
        time: Column that orders the rows in time, for a ``.csv`` (an ``.npz`` has an array ``time``).

    Raises:
        DataError: The data cannot be used; the message says why and what to do.
        SpaceError: ``seed`` is no whole number from 0.
    """
    check_seed(seed)
    raw = sources.read(source, target, group, time)
    kind = kind or raw.kind or _kind_of(raw.y)
    y, class_names = _labels(raw, kind)
    rows, warnings = _split(raw, y, kind, seed)
    X, feature_names = _encoded(raw, rows["train"])  # mapped from a file where it is too large for the memory
    _check_inputs(X, raw)
    warnings += _missing(X, raw) + _unseen_classes(y, rows, class_names) + _leaks(raw, y, rows, kind)

    split_hash = _hash(raw, rows)
    scaling = Scaling.fitted_to(lambda: _in_pieces(X, rows["train"]), y[rows["train"]], kind)
    as_targets = scaling.targets if kind == "regression" else np.asarray
    parts: dict[str, Any] = {f"y_{part}": as_targets(y[rows[part]]) for part in ("train", "valid")}
    parts["X_valid"] = scaling.inputs(X, rows["valid"])
    if isinstance(X, np.memmap):
        shape, scaled = (len(rows["train"]), X.shape[1]), map(scaling.inputs, _in_pieces(X, rows["train"]))
        parts["X_train"] = kept(f"{raw.name}-train", split_hash, shape, np.dtype(np.float32), scaled)
    else:
        parts["X_train"] = scaling.inputs(X, rows["train"])
    data = Data(
        **parts,
        kind=kind,
        n_classes=len(class_names),
        feature_names=feature_names,
        target_name=raw.target_name,
        class_names=class_names,
        scaling=scaling,
        content_hash=split_hash,
    )
    sealed = SealedTest(X[rows["test"]], y[rows["test"]], kind, scaling.y_sd)
    folds = _folds(raw, y, rows, kind, validate, seed)
    splits = None
    if folds.method != "holdout":
        own = np.sort(np.concatenate([rows["train"], rows["valid"]]))  # no training is given the test rows
        splits = Splits(X[own], y[own], folds, data)
    given = f"{len(rows['valid']):,} rows, named by the source, held out once." if "valid" in raw.parts else ""
    reason = given if folds.method == "holdout" and given else folds.reason
    return Task(raw.name, data, sealed, split_hash, tuple(warnings), splits, reason)


def _folds(raw: Source, y: np.ndarray, rows: Mapping[str, np.ndarray], kind: str, validate: str, seed: int) -> Folds:
    """Which of the train and validation rows validate; one hold-out where the source says which."""
    own = np.sort(np.concatenate([rows["train"], rows["valid"]]))
    if validate == "auto" and "valid" in raw.parts:
        return Folds(len(own), method="holdout", seed=seed)
    beside = {"groups": raw.group, "time": raw.time}
    given = {name: values[own] for name, values in beside.items() if values is not None}
    if kind == "classification" and raw.time is None:
        given["y"] = y[own]
    return Folds(len(own), **given, method=validate, seed=seed)


def _leaks(raw: Source, y: np.ndarray, rows: Mapping[str, np.ndarray], kind: str) -> list[str]:
    """What lets the training know the rows that judge it; text columns count by what their categories mean.

    Of rows that are mapped from a file, some of each part are looked at.
    """
    if isinstance(raw.X, np.memmap):
        rng = np.random.default_rng(0)
        rows = {p: np.sort(rng.choice(own, min(len(own), LEAK_ROWS), replace=False)) for p, own in rows.items()}
        return find_leaks(
            raw.X, y, rows, names=raw.feature_names, groups=raw.group, time=raw.time, classes=kind == "classification"
        )
    columns, names = [raw.X], list(raw.feature_names)
    for name, cells in raw.categories.items():
        values, code = np.unique(cells, return_inverse=True)
        means = np.bincount(code, weights=y) / np.bincount(code)
        if len(values) <= len(y) / ROWS_PER_CLASS:
            columns.append(means[code][:, None])
            names.append(name)
        else:
            columns.append(code[:, None])
            names.append(name)
    X = np.concatenate(columns, axis=1) if raw.categories else raw.X
    return find_leaks(X, y, rows, names=names, groups=raw.group, time=raw.time, classes=kind == "classification")


def _kind_of(y: np.ndarray) -> str:
    if y.dtype.kind not in "fiu":
        return "classification"
    values = np.unique(y)
    if not np.all(np.isfinite(values)) or np.any(values != np.round(values)):
        return "regression"
    first, count = values[0], len(values)
    numbered = first in (0, 1) and values[-1] - first == count - 1 and len(y) >= ROWS_PER_CLASS * count
    return "classification" if count <= MOST_CLASSES or numbered else "regression"


def _labels(raw: Source, kind: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Targets as class numbers int64 with the classes' names, or as real numbers without."""
    y = raw.y
    if y.dtype.kind == "f" and not np.all(np.isfinite(y)):
        bad = np.flatnonzero(~np.isfinite(y))
        raise DataError(
            f"The target of {raw.name} is NaN or infinite in {len(bad)} rows, first in row {bad[0]} "
            "(from 0). Remove those rows: a row without a target teaches nothing."
        )
    if kind == "regression":
        if y.dtype.kind not in "fiub":
            raise DataError(f"The target of {raw.name} is text ({y[0]!r}, ...); regression needs numbers.")
        if len(np.unique(y)) < 2:
            raise DataError(f"The target of {raw.name} has the same value in every row: nothing to learn.")
        low, high = float(y.min()), float(y.max())
        if max(-low, high) > LARGEST or high - low < 1 / LARGEST:
            raise DataError(
                f"The target of {raw.name} goes from {low:.3g} to {high:.3g}, and its errors have no squares to reckon "
                "with. Give it another unit, or its logarithm."
            )
        return y.astype(np.float64), ()
    values, labels = np.unique(y, return_inverse=True)
    if len(values) < 2:
        raise DataError(f"The target of {raw.name} has one class only, {values[0]}: nothing to learn.")
    names = tuple(f"{v:g}" if y.dtype.kind == "f" else str(v) for v in values)
    if raw.class_names and np.array_equal(values, np.arange(len(raw.class_names))):
        names = raw.class_names
    return labels.astype(np.int64), names


def _split(raw: Source, y: np.ndarray, kind: str, seed: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Row numbers of each part, ascending, and warnings."""
    n = len(y)
    given = {part: _checked_rows(raw, part, n) for part in PARTS if part in raw.parts}
    owners = np.zeros(n, dtype=int)
    for rows in given.values():
        owners[rows] += 1
    if np.any(owners > 1):
        raise DataError(
            f"Row {np.argmax(owners > 1)} of {raw.name} is in more than one part of the given split. "
            "A row may be in one only: a net must not be judged on rows that it was trained on."
        )
    rest = np.flatnonzero(owners == 0)
    missing = [part for part in PARTS if part not in given]
    if not missing:
        spare = [f"{len(rest)} of {n} rows belong to no part and are not used."] if len(rest) else []
        return given, spare
    if len(rest) == 0:
        if "train" not in given:
            raise DataError(f"The given parts of {raw.name} take all {n} rows: none is left to train on.")
        rest, missing = given["train"], ["train", *missing]
    if raw.time is not None or raw.group is not None:
        apart = _apart(raw, rest, missing, seed)
        lost = len(rest) - sum(map(len, apart.values()))
        left_out = f"{lost} of {n} rows are left out: their group has rows in another part, and may be in one only."
        return {**given, **apart}, [left_out] if lost else []
    rng = np.random.default_rng(seed)
    groups = [rest] if kind == "regression" else [rest[y[rest] == label] for label in np.unique(y[rest])]
    drawn: dict[str, list[np.ndarray]] = {part: [] for part in missing}
    for members in groups:
        if len(members) < len(missing):
            whose = raw.name if kind == "regression" else f"Class {raw.y[members[0]]} of {raw.name}"
            raise DataError(
                f"{whose} has {len(members)} rows to be shared among {', '.join(missing)}. "
                "Each part needs at least one: add rows, or leave the class out."
            )
        for part, rows in _shared_out(rng.permutation(members), missing).items():
            drawn[part].append(rows)
    return {**given, **{part: np.sort(np.concatenate(rows)) for part, rows in drawn.items()}}, []


def _apart(raw: Source, rest: np.ndarray, missing: list[str], seed: int) -> dict[str, np.ndarray]:
    """``rest`` cut into parts by time, the latest rows last, or by whole groups; rows of one moment stay together.

    By both, groups that reach across a cut are shared among the parts, see ``kept_whole``.
    """
    if raw.time is not None:
        units, members = np.unique(raw.time[rest], return_inverse=True)
        order = np.arange(len(units))
    else:
        assert raw.group is not None
        units, members = np.unique(raw.group[rest], return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(units))
    what = "moments" if raw.time is not None else "groups"
    if len(units) < len(missing):
        raise DataError(
            f"{raw.name} has {len(units)} {what} to be shared among {', '.join(missing)}. Each part needs at least one."
        )
    counts = np.bincount(members)[order]
    wanted = np.cumsum([SHARES[part] for part in missing]) / sum(SHARES[part] for part in missing)
    ends = np.searchsorted(np.cumsum(counts) - counts / 2, wanted[:-1] * len(rest))
    for i in range(len(ends)):  # at least one unit each
        ends[i] = min(max(ends[i], i + 1, ends[i - 1] + 1 if i else 1), len(units) - len(ends) + i)
    pieces = np.split(order, ends)
    apart = {part: np.sort(rest[np.isin(members, piece)]) for part, piece in zip(missing, pieces, strict=True)}
    if raw.time is None or raw.group is None:
        return apart
    rows = np.concatenate([*apart.values()])
    number = np.repeat(np.arange(len(apart)), [len(piece) for piece in apart.values()])
    shares = np.array([SHARES[part] for part in apart]) / sum(SHARES[part] for part in apart)
    kept = kept_whole(number, raw.group[rows], shares.tolist(), np.random.default_rng(seed))
    whole = {part: rows[kept & (number == i)] for i, part in enumerate(apart)}
    empty = [part for part, left in whole.items() if not len(left)]
    if empty:
        raise DataError(
            f"No row of {raw.name} is left for {', '.join(empty)}: the groups there reach into the other parts, too. "
            "Split by time or by group alone, or name the parts in the source."
        )
    return whole


def _shared_out(rows: np.ndarray, parts: list[str]) -> dict[str, np.ndarray]:
    """``rows`` cut into ``parts`` by their shares, at least one row each; the first gets what is left."""
    total = sum(SHARES[part] for part in parts)
    shared = {}
    for part in reversed(parts[1:]):
        count = max(1, round(len(rows) * SHARES[part] / total))
        shared[part], rows = rows[:count], rows[count:]
        total -= SHARES[part]
    return {parts[0]: rows, **shared}


def _checked_rows(raw: Source, part: str, n: int) -> np.ndarray:
    rows = raw.parts[part]
    name = f"{part}_idx of {raw.name}"
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(f"{name} must hold row numbers, shape (n,), got {rows.dtype} of shape {rows.shape}.")
    if len(rows) == 0:
        raise DataError(f"{name} is empty. Leave it out to have the part drawn.")
    if rows.min() < 0 or rows.max() >= n:
        bad = rows[(rows < 0) | (rows >= n)][0]
        raise DataError(f"{name} holds row {bad}, but rows are numbered 0 to {n - 1}.")
    if len(np.unique(rows)) < len(rows):
        raise DataError(f"{name} holds a row more than once.")
    return np.sort(rows.astype(np.int64))


def _encoded(raw: Source, train: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numeric columns, then for each other column one 0/1 column per category, the 50 most frequent of train."""
    if not raw.categories:
        return raw.X, raw.feature_names
    columns, names = [raw.X], list(raw.feature_names)
    for name, cells in raw.categories.items():
        values, counts = np.unique(cells[train], return_counts=True)
        kept = np.sort(values[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]])
        columns.append(cells[:, None] == kept)
        names += [f"{name}={value or '(missing)'}" for value in kept]
    return np.concatenate(columns, axis=1, dtype=raw.X.dtype), tuple(names)


def _check_inputs(X: np.ndarray, raw: Source) -> None:
    for start, piece in _numbered(X):
        too_large = np.abs(piece) > LARGEST_INPUT
        if too_large.any():
            row, column = np.argwhere(too_large)[0]
            count = sum(int((np.abs(some) > LARGEST_INPUT).sum()) for _, some in _numbered(X))
            raise DataError(
                f"{count} inputs of {raw.name} are infinite or beyond {LARGEST_INPUT:g}, the first in row "
                f"{start + row}, column {column} (from 0). Mark them as missing (NaN) or correct them."
            )


def _missing(X: np.ndarray, raw: Source) -> list[str]:
    missing: np.ndarray = sum(np.isnan(piece).sum(axis=0) for _, piece in _numbered(X))
    if not missing.any():
        return []
    columns = (missing > 0).sum()
    return [f"{missing.sum()} missing inputs in {columns} columns of {raw.name} take the column's train mean."]


def _in_pieces(X: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Some of the rows at a time."""
    return (X[rows[part]] for part in pieces(len(rows), X[:1].nbytes))


def _numbered(X: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """All rows, some at a time, with the number of the first."""
    return ((part.start, X[part]) for part in pieces(len(X), X[:1].nbytes))


def _unseen_classes(y: np.ndarray, rows: Mapping[str, np.ndarray], class_names: tuple[str, ...]) -> list[str]:
    if not class_names:
        return []
    seen = np.unique(y[rows["train"]])
    if len(seen) < 2:
        raise DataError(f"The train part has one class only, {class_names[seen[0]]}: check train_idx.")
    unseen = [name for label, name in enumerate(class_names) if label not in seen]
    return [f"No train row shows the class {name}: no net can learn it." for name in unseen]


def _hash(raw: Source, rows: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    beside = {name: values for name, values in (("group", raw.group), ("time", raw.time)) if values is not None}
    named = {"X": raw.X, "y": raw.y, **raw.categories, **beside, **{f"{part}_idx": rows[part] for part in PARTS}}
    for name, array in named.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        for part in pieces(len(array), array[:1].nbytes):
            digest.update(np.ascontiguousarray(array[part]).tobytes())
    return digest.hexdigest()
