"""Exports of Weights & Biases: a table of runs as CSV, or runs with their history as JSON. Needs no package."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ayar.errors import LedgerError
from ayar.integrations.history import History, Past, counted_from_one, numbers, scalars, unreadable


def read(path: Path, names: Iterable[str] = ()) -> History:
    """Runs from a file.

    Three forms: the table that the page exports, with a column for each hyperparameter and each metric; the CSV of
    W&B's own export example, with the columns ``config`` and ``summary``; and a JSON list of objects with ``config``,
    ``summary`` and perhaps ``history``, a list of rows with ``_step``.

    Args:
        path: The file.
        names: Which columns of a plain table are hyperparameters.

    Raises:
        LedgerError: It can't be read, or ``names`` are missing for a plain table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _rows(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
        chosen = list(names)
        if rows and "config" not in rows[0] and not chosen:
            raise LedgerError(
                f"{path} does not say which of its columns are hyperparameters: {', '.join(rows[0])}. "
                "Say what they may be: --space FILE, as TOML."
            )
        trials = [_past(row) if "config" in row else _of_columns(row, chosen) for row in rows]
    except (ValueError, SyntaxError, TypeError, AttributeError) as error:
        if isinstance(error, LedgerError):
            raise
        raise unreadable(path, "an export of W&B", error) from error
    return History(path.stem, counted_from_one(trials))


def _rows(text: str) -> list[dict[str, Any]]:
    """A JSON list, or one object a line."""
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _past(run: Mapping[str, Any]) -> Past:
    config = {name: _unwrapped(value) for name, value in _mapping(run["config"]).items()}
    history = [row for row in run.get("history") or [] if numbers(row)]
    if not history:
        summary = _mapping(run.get("summary") or {})
        history = [{**summary, "_step": 1}] if numbers(summary) else []
    return Past(
        scalars(_own(config)), [_measurement(row, n) for n, row in enumerate(history)], _error(run.get("state"))
    )


def _of_columns(row: Mapping[str, str], names: list[str]) -> Past:
    values = {name: _value(text) for name, text in row.items()}
    metrics = numbers({name: value for name, value in values.items() if name not in names})
    config = {name: value for name, value in values.items() if name in names and value != ""}
    state = values.get("State", values.get("state"))
    return Past(scalars(config), [{**_own(metrics), "step": 1}] if metrics else [], _error(state))


def _measurement(row: Mapping[str, Any], number: int) -> dict[str, float]:
    return {**_own(numbers(row)), "step": int(row.get("_step", number))}


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without W&B's own fields, which begin with an underscore."""
    return {name: value for name, value in values.items() if not name.startswith("_")}


def _mapping(given: Any) -> dict[str, Any]:
    """A dict, also where a CSV file holds it as JSON or as Python writes it."""
    if isinstance(given, Mapping):
        return dict(given)
    try:
        return dict(json.loads(given))
    except ValueError:
        return dict(ast.literal_eval(given))


def _unwrapped(value: Any) -> Any:
    """The file ``config.yaml`` wraps each value: ``{"desc": null, "value": 0.1}``."""
    return value["value"] if isinstance(value, Mapping) and "value" in value else value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


def _error(state: Any) -> str | None:
    return f"{state} in W&B" if state in ("failed", "crashed", "killed") else None
