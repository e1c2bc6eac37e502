"""Rows as records, and records as rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ayar.errors import LedgerError
from ayar.ledger.ahead import Losses
from ayar.records import Curve, Measurement
from ayar.summary import Summary

Rows = Sequence[Any]
"""Rows of a table, as named tuples."""


def summary(ending: Any) -> Summary:
    """What a row of endings says of the curve."""
    least_loss = math.inf if ending.least_loss is None else ending.least_loss
    last_loss = math.nan if ending.last_loss is None else ending.last_loss
    known = (ending.points, ending.stop_step, ending.cost_s, least_loss, bool(ending.diverged))
    return Summary(*known, ending.readings, last_loss)


class StoredCurve(Curve):
    """A curve that is read from the ledger when its measurements are asked for; what a summary says is known."""

    __slots__ = ("_known", "_load", "_load_losses", "_losses", "_read")
    _known: Summary
    _load: Callable[[], tuple[Measurement, ...]]
    _load_losses: Callable[[], Losses]
    _losses: Losses | None
    _read: tuple[Measurement, ...] | None

    def __init__(
        self, known: Summary, load: Callable[[], tuple[Measurement, ...]], load_losses: Callable[[], Losses]
    ) -> None:
        given = {"_known": known, "_load": load, "_load_losses": load_losses, "_losses": None, "_read": None}
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All of them, read at the first call."""
        if self._read is None:
            object.__setattr__(self, "_read", self._load())
        assert self._read is not None
        return self._read

    @property
    def steps_and_losses(self) -> Losses:
        """Of all measurements, read at the first call without all else that was measured."""
        if self._losses is None:
            object.__setattr__(self, "_losses", self._load_losses())
        assert self._losses is not None
        return self._losses

    def summed(self) -> Summary:
        """The curve in a few numbers."""
        return self._known if self._known.readings is not None else super().summed()

    def __len__(self) -> int:
        return self._known.points

    @property
    def last_step(self) -> int:
        """The last step measured; 0 before any."""
        return self._known.last_step

    @property
    def cost_s(self) -> float:
        """Seconds spent on all steps."""
        return self._known.cost_s

    @property
    def least_loss(self) -> float:
        """The least finite loss after step 0; infinite without any."""
        return self._known.least_loss

    @property
    def diverged(self) -> bool:
        """Whether a loss on it is infinite or NaN."""
        return self._known.diverged

    def __reduce__(self) -> tuple[type[Curve], tuple[tuple[Measurement, ...]]]:
        return Curve, (self.measurements,)


def measurements(found: Iterable[Sequence[Any]]) -> tuple[Measurement, ...]:
    """Measurements from rows of ``(step, loss, cost_s, metrics)``."""
    rows = list(found)
    every_metrics = as_values([row[-1] for row in rows])
    return tuple(
        [
            Measurement(step, math.nan if loss is None else loss, cost_s, metrics)
            for (step, loss, cost_s, _), metrics in zip(rows, every_metrics, strict=True)
        ]
    )


def as_values(texts: Sequence[str]) -> list[Any]:
    """What each JSON text says; one call is faster than many."""
    return list(json.loads(f"[{','.join(texts)}]"))


Token = tuple[int, str]
"""A claim on a trial: the id of its latest move, and the session that asked it."""

MeasurementRow = tuple[int, int, int, float | None, float, str]
"""Study, trial, step, loss (None is NaN), cost_s, and the metrics as JSON."""


def of_measurement(study: int, trial: int, measurement: Measurement) -> MeasurementRow:
    """The row of one measurement."""
    loss = float(measurement.loss)
    return (
        study,
        trial,
        measurement.step,
        None if math.isnan(loss) else loss,
        float(measurement.cost_s),
        as_json(measurement.metrics, "the metrics"),
    )


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


def as_text(value: str) -> str:
    """Text that every database can hold: without the character 0 and halves of characters."""
    return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
