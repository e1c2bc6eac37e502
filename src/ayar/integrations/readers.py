"""Which reader a path wants."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ayar.errors import LedgerError
from ayar.integrations import mlflow, optuna, ray_tune, wandb, wandb_offline
from ayar.integrations.history import History

KINDS = ("ayar", "optuna", "ray", "mlflow", "wandb")
"""The tools whose studies can be read."""


def kind_of(path: Path) -> str:
    """The tool that wrote a file or folder, as far as its content shows.

    Raises:
        LedgerError: There is nothing, or nothing that any of the tools writes.
    """
    if not path.exists():
        raise LedgerError(f"There is no file or folder {path} to import. Check the path.")
    if path.is_dir():
        if next(path.glob("**/params.json"), None):
            return "ray"
        if [*path.glob("meta.yaml"), *path.glob("*/meta.yaml")]:
            return "mlflow"
        if wandb_offline.files(path):
            return "wandb"
    else:
        with path.open("rb") as file:
            head = file.read(4096)
        first = head.partition(b"\n")[0]
        if head.startswith(b"SQLite format 3"):
            return _kind_of_sqlite(path)
        if head.startswith(wandb_offline.MAGIC):
            return "wandb"
        if b'"op_code"' in first:
            return "optuna"
        if b'"spec"' in first:
            return "ayar"
        if path.suffix in (".csv", ".json"):
            return "wandb"
    raise LedgerError(f"{path} shows no tool that wrote it. Say which: --from {' or '.join(KINDS)}.")


def _kind_of_sqlite(path: Path) -> str:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise LedgerError(
            f"{path} begins like an SQLite file, but can't be read: {error}. Go back to a copy."
        ) from error
    if "trial_params" in tables:
        return "optuna"
    if {"experiments", "runs", "metrics"} <= tables:
        return "mlflow"
    if "ayar_migrations" in tables:
        raise LedgerError(f"{path} is a ledger already: use it as it is, or copy the file.")
    raise LedgerError(f"{path} is an SQLite file, but neither Ayar, Optuna nor MLflow wrote it.")


def read(path: Path, kind: str, *, name: str | None = None, names: Sequence[str] = ()) -> History:
    """The study in a file or folder.

    Args:
        path: The file or folder.
        kind: One of ``KINDS``, but ``"ayar"``.
        name: Which study, where there are several.
        names: The hyperparameters, where the tool does not tell them from metrics.
    """
    if kind == "optuna":
        return optuna.read(path, name)
    if kind == "mlflow":
        return mlflow.read(path, name)
    if kind == "ray":
        return ray_tune.read(path)
    return wandb_offline.read(path) if path.is_dir() or path.suffix == ".wandb" else wandb.read(path, names)
