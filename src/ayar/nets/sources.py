"""Where a task's rows come from: tables of installed packages, ``.npz`` files and ``.csv`` files.

A reader only reads. What is fitted (split, categories, means) comes afterwards, in ``tasks``.
"""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ayar.errors import DataError, did_you_mean
from ayar.nets.mapped import Member, is_large

BUILT_IN = {
    "digits": "classification",
    "iris": "classification",
    "wine": "classification",
    "breast_cancer": "classification",
    "diabetes": "regression",
}
"""Tables that scikit-learn ships, with what is predicted."""

PARTS = ("train", "valid", "test")
MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
"""Cells of a ``.csv`` file that stand for a missing value, in any case."""


@dataclass(frozen=True, eq=False)
class Source:
    """Rows as they were read.

    Attributes:
        name: What the task is called.
        X: Numeric columns, shape ``(n, n_numeric)`` float, NaN where a value is missing.
        y: The target, shape ``(n,)``: text or numbers.
        feature_names: Names of the numeric columns.
        target_name: Name of the target.
        categories: Name -> cells of a categorical column, text of shape ``(n,)``; ``""`` is missing.
        parts: Row numbers of those parts of the split that the source fixes.
        class_names: Names of the classes 0, 1, ... where the source gives them.
        kind: ``"classification"`` or ``"regression"`` where the source says so.
        group: What each row belongs to (a patient, a speaker), shape ``(n,)``; None where nobody says.
        time: When each row was, shape ``(n,)``: numbers, or text that sorts as time does; None where nobody says.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]
    target_name: str = "y"
    categories: Mapping[str, np.ndarray] = field(default_factory=dict)
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    kind: str | None = None
    group: np.ndarray | None = None
    time: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.y) == 0:
            raise DataError(f"{self.name} has no rows. Check that the file was written completely.")
        if not self.feature_names and not self.categories:
            raise DataError(f"{self.name} has no input column beside the target {self.target_name!r}.")


def read(source: str | Path, target: str | None, group: str | None = None, time: str | None = None) -> Source:
    """The rows of a built-in table (by name) or of a file (by its ending).

    Args:
        source: The name or path.
        target: Column to predict, for a ``.csv``.
        group: Column that says what a row belongs to, for a ``.csv``; an ``.npz`` has it as array ``group``.
        time: Column that says when a row was, for a ``.csv``; an ``.npz`` has it as array ``time``.

    Raises:
        DataError: There is no such table or file, or it cannot be read.
    """
    if str(source) in BUILT_IN:
        return _read_built_in(str(source))
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".csv"):
        guess = did_you_mean(str(source), BUILT_IN)
        raise DataError(
            f"{source} is neither a built-in task nor a file ending in .npz or .csv. "
            f"Built-in tasks: {', '.join(BUILT_IN)}.{guess}"
        )
    if not path.is_file():
        raise DataError(f"There is no file {path}. Check the path, relative to {Path.cwd()}.")
    if suffix == ".npz":
        return _read_npz(path)
    if target is None:
        raise DataError(f"{path.name} needs the name of the column to predict: give target= (--target).")
    return _read_csv(path, target, {"group": group, "time": time})


def _read_built_in(name: str) -> Source:
    from sklearn import datasets

    table = getattr(datasets, f"load_{name}")()
    return Source(
        name,
        X=np.asarray(table.data),
        y=np.asarray(table.target),
        feature_names=tuple(map(str, table.feature_names)),
        class_names=tuple(map(str, getattr(table, "target_names", ()))),
        kind=BUILT_IN[name],
    )


def _read_npz(path: Path) -> Source:
    wanted = ("y", "class_names", "group", "time", *(f"{part}_idx" for part in PARTS))
    try:
        # Opened here, because numpy leaves its own file open when the archive is damaged.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            held = list(file.files)
            inputs = _inputs(path, file) if "X" in held else None
            arrays = {name: file[name] for name in wanted if name in held}
    except DataError:
        raise
    except (OSError, zipfile.BadZipFile, EOFError, TypeError) as error:
        raise DataError(f"{path.name} is no readable .npz file ({error}). Write it with numpy.savez.") from error
    except ValueError as error:  # what numpy raises instead of unpickling
        raise DataError(
            f"{path.name} holds an object array, which could run code when it is read. "
            "Save plain numbers or text, say numpy.asarray(X, dtype=float)."
        ) from error
    for name in ("X", "y"):
        if name not in held:
            holds = ", ".join(held) or "nothing"
            raise DataError(f"{path.name} has no array {name}. It holds: {holds}.{did_you_mean(name, held)}")
    assert inputs is not None
    X, y = inputs, _as_column(arrays["y"], path)
    if len(X) != len(y):
        raise DataError(f"X and y in {path.name} differ in length: {len(X)} and {len(y)} rows.")
    beside = {name: _as_column(arrays[name], path, name) for name in ("group", "time") if name in arrays}
    for name, column in beside.items():
        if len(column) != len(y):
            raise DataError(f"{name} and y in {path.name} differ in length: {len(column)} and {len(y)} rows.")
    return Source(
        path.stem,
        X=X,
        y=y,
        feature_names=tuple(f"x{column}" for column in range(X.shape[1])),
        parts={part: arrays[f"{part}_idx"] for part in PARTS if f"{part}_idx" in arrays},
        class_names=tuple(map(str, arrays.get("class_names", ()))),
        group=beside.get("group"),
        time=beside.get("time"),
    )


def _inputs(path: Path, file: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array X as numbers, mapped where it is too large to be read."""
    as_numbers = partial(_as_numbers, path=path)
    member = Member.of(path, "X")
    if member.dtype.hasobject or not is_large(member.n_bytes):
        return as_numbers(file["X"])
    return member.mapped(as_numbers)


def _as_numbers(X: np.ndarray, path: Path) -> np.ndarray:
    """``X`` flattened to shape ``(n, n_features)``; bytes (pictures) scaled to [0, 1]."""
    if X.ndim == 0 or X.dtype.kind not in "fiub":
        raise DataError(
            f"X in {path.name} must hold rows of numbers, got {X.dtype} of shape {X.shape}. "
            "Encode text columns, or use a .csv file."
        )
    flat = X.reshape(len(X), math.prod(X.shape[1:]))
    if X.dtype == np.uint8:
        numbers = flat.astype(np.float32)
        numbers /= 255
        return numbers
    return flat.astype(np.promote_types(X.dtype, np.float32), copy=False)


def _as_column(y: np.ndarray, path: Path, name: str = "y") -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "fiubUS":
        raise DataError(
            f"{name} in {path.name} must hold one number or text per row, shape (n,), got {y.dtype} of shape {y.shape}."
        )
    return y.astype(str) if y.dtype.kind == "S" else y


def _read_csv(path: Path, target: str, beside: Mapping[str, str | None]) -> Source:
    columns = _csv_columns(path)
    header = [*columns]
    named = {role: name for role, name in beside.items() if name is not None}
    for name in (target, *named.values()):
        if name not in header:
            raise DataError(
                f"{path.name} has no column {name!r}. Columns: {', '.join(header)}.{did_you_mean(name, header)}"
            )
    if len({target, *named.values()}) < 1 + len(named):
        raise DataError(f"One column of {path.name} can't be both target and {' or '.join(named)}: name another.")
    cells = columns.pop(target)
    aside = {role: columns.pop(name) for role, name in named.items()}
    for role, column in aside.items():
        if "" in column:
            raise DataError(
                f"The {role} {named[role]!r} of {path.name} is missing in {column.count('')} rows, first in row "
                f"{column.index('') + 1}. Fill it in, or remove those rows."
            )
    if "" in cells:
        raise DataError(
            f"The target {target!r} of {path.name} is missing in {cells.count('')} rows, first in row "
            f"{cells.index('') + 1}. Remove those rows: a row without a target teaches nothing."
        )
    numbers = {}
    for name in [*columns]:
        if (values := _numbers(columns[name])) is not None:
            numbers[name] = values
            del columns[name]  # its text takes eight times as much memory
    y = _numbers(cells)
    return Source(
        path.stem,
        X=np.stack(list(numbers.values()), axis=1) if numbers else np.empty((len(cells), 0)),
        y=np.array(cells) if y is None else y,
        feature_names=tuple(numbers),
        target_name=target,
        categories={name: np.array(column) for name, column in columns.items()},
        group=_sortable(aside.get("group")),
        time=_sortable(aside.get("time")),
    )


def _sortable(cells: list[str] | None) -> np.ndarray | None:
    """Cells as numbers where all are, else as text."""
    if cells is None:
        return None
    numbers = _numbers(cells)
    return np.array(cells) if numbers is None else numbers


def _csv_columns(path: Path) -> dict[str, list[str]]:
    """The cells of each column; the delimiter is whichever of comma, semicolon and tab the header has most of."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = max(",;\t", key=file.readline().count)
            file.seek(0)
            rows = filter(None, csv.reader(file, delimiter=delimiter, strict=True))
            header = [cell.strip() for cell in next(rows, ())]
            repeated = sorted({name for name in header if header.count(name) > 1})
            if repeated:
                raise DataError(f"{path.name} has the column {repeated[0]!r} more than once. Give each its own name.")
            columns: list[list[str]] = [[] for _ in header]
            for number, row in enumerate(rows, start=1):
                if len(row) != len(header):
                    raise DataError(
                        f"Row {number} of {path.name} has {len(row)} cells, but the header has {len(header)}. "
                        "A comma inside a cell must stand in quotes."
                    )
                for column, cell in zip(columns, row, strict=True):
                    column.append(_cell(cell.strip()))
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text ({error.reason}). Save it again as UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{path.name} cannot be read as a table: {error}.") from error
    if not header:
        raise DataError(f"{path.name} is empty. It needs a header, the names of the columns, and rows below.")
    if not columns[0]:
        raise DataError(f"{path.name} has no rows below its header.")
    return dict(zip(header, columns, strict=True))


def _cell(text: str) -> str:
    return "" if text.lower() in MISSING else text


def _numbers(cells: list[str]) -> np.ndarray | None:
    """The cells as numbers, NaN where missing; None where a cell is text."""
    try:
        return np.array([float(cell) if cell else math.nan for cell in cells])
    except ValueError:
        return None
