"""Rows as records, and records as rows.

A trial is not stored: it is replayed from the rows that were appended about it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from ayar.errors import LedgerError
from ayar.records import Curve, Measurement, Trial
from ayar.seeds import Purpose

Rows = Sequence[Any]
"""Rows of a table, as named tuples."""


def replay(added: Rows, asked: Rows, over: Rows, measured: Rows) -> list[Trial]:
    """The trials that these rows make.

    Args:
        added: Rows of ``trials``.
        asked: ``(trial, id, stop_step)`` of moves, oldest first.
        over: ``(trial, move, ended, error, waste_s)`` of endings, by trial, oldest first.
        measured: ``(trial, step, loss, cost_s, metrics)`` of measurements, by trial and step.
    """
    latest_move = {row.trial: row for row in asked}
    endings, curves = _by_trial(over), _by_trial(measured)
    return [
        _trial(row, latest_move.get(row.trial), endings.get(row.trial, []), curves.get(row.trial, [])) for row in added
    ]


def _by_trial(rows: Rows) -> dict[int, Rows]:
    return {trial: list(group) for trial, group in groupby(rows, key=itemgetter(0))}


def _trial(row: Any, move: Any | None, over: Rows, measured: Rows) -> Trial:
    curve = _curve(measured)
    ending = over[-1] if over and move is not None and over[-1].move == move.id else None
    target_step = curve.last_step if move is None else move.stop_step
    if ending is not None and not ending.ended and ending.error is None:
        target_step = curve.last_step
    return Trial(
        id=row.trial,
        config=json.loads(row.config),
        seed=row.seed,
        purpose=Purpose(row.purpose),
        curve=curve,
        target_step=target_step,
        ended=ending is not None and ending.ended,
        error=None if ending is None else ending.error,
        waste_s=math.fsum(each.waste_s for each in over),
    )


def _curve(measured: Rows) -> Curve:
    every_metrics = json.loads(f"[{','.join([row[-1] for row in measured])}]")  # one call is faster than many
    return Curve(
        tuple(
            [
                Measurement(step, math.nan if loss is None else loss, cost_s, metrics)
                for (_, step, loss, cost_s, _), metrics in zip(measured, every_metrics, strict=True)
            ]
        )
    )


def of_measurement(study: int, trial: int, measurement: Measurement) -> dict[str, Any]:
    """The row of one measurement."""
    return {
        "study": study,
        "trial": trial,
        "step": measurement.step,
        "loss": None if math.isnan(measurement.loss) else float(measurement.loss),
        "cost_s": float(measurement.cost_s),
        "metrics": as_json(measurement.metrics, "the metrics"),
    }


def as_json(value: Any, what: str) -> str:
    """``value`` as JSON text, with Python's NaN and Infinity; NumPy values become plain ones, tuples lists.

    Raises:
        LedgerError: JSON cannot write it; the message calls it ``what``.
    """
    try:
        return _encode(value)
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{what.capitalize()} cannot be written as JSON: {error}. Use plain values.") from error


def _plain(value: Any) -> Any:
    """What JSON can write of a NumPy number or array, or of a mapping that is no dict."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


_encode = json.JSONEncoder(default=_plain, separators=(",", ":")).encode
