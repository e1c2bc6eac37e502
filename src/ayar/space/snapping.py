"""What ``encode(decode(point))`` gives, for many points of a cube at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ayar.space.hyperparameters import Axis, Choice, Entry, Fixed, Int, PerLayer, same


def snapped(
    entries: Mapping[str, Entry], places: Mapping[str, slice], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points as their configurations lie in the cube, and which coordinates are active, both ``(n, dimensions)``.

    Numbers that come in steps and choices lie in the middle of their stretch, inactive coordinates at 0.5.
    """
    points = np.clip(points, 0.0, 1.0)
    result, shows = np.full(points.shape, 0.5), np.zeros(points.shape, dtype=bool)
    active: dict[str, np.ndarray] = {}
    numbers: dict[str, np.ndarray] = {}
    for name, entry in entries.items():
        active[name] = here = _active(entry, entries, active, numbers, len(points))
        columns = points[:, places[name]]
        if isinstance(entry, Fixed):
            continue
        axis = entry.element if isinstance(entry, PerLayer) else entry
        number, middles = _settled(axis, columns)
        if isinstance(entry, PerLayer):
            layers = _layers(entries[entry.layers], numbers.get(entry.layers))
            layer = np.arange(columns.shape[1])
            shown = here[:, None] & (layer < np.asarray(layers).reshape(-1, 1))
        else:
            shown = here[:, None]
            numbers[name] = number[:, 0]
        shows[:, places[name]] = shown
        result[:, places[name]] = np.where(shown, middles, 0.5)
    return result, shows


def _active(
    entry: Entry,
    entries: Mapping[str, Entry],
    active: Mapping[str, np.ndarray],
    numbers: Mapping[str, np.ndarray],
    count: int,
) -> np.ndarray:
    """Where a hyperparameter is active, given the earlier ones, shape ``(count,)``."""
    here = np.ones(count, dtype=bool)
    for parent, wanted in (entry.when or {}).items():
        above = entries[parent]
        if isinstance(above, Fixed):
            here &= active[parent] & any(same(above.default, value) for value in wanted)
        else:
            assert not isinstance(above, PerLayer)  # a space refuses it
            number = [_number_of(above, value) for value in wanted]
            here &= active[parent] & np.isin(numbers[parent], number)
    if isinstance(entry, PerLayer):
        here &= active[entry.layers]
    return here


def _settled(axis: Axis, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For places on an axis: each one's value counted from the first one on, and the place of that value."""
    if isinstance(axis, Int) and axis.log:
        start, end = np.log(axis.low - 0.5), np.log(axis.high + 0.5)
        values = np.clip(np.round(np.exp(start + u * (end - start))), axis.low, axis.high)
        return values - axis.low, (np.log(values) - start) / (end - start)
    if axis.size is None:
        return np.zeros(u.shape), u
    number = np.clip(np.floor(u * axis.size), 0, axis.size - 1)
    return number, (number + 0.5) / axis.size


def _number_of(axis: Axis, value: object) -> int:
    """Which value of an axis this is, counted from 0."""
    settled = axis.canonical(value)
    if isinstance(axis, Choice):
        return next(index for index, choice in enumerate(axis.choices) if same(choice, settled))
    step = axis.step if isinstance(axis, Int) else axis.step or 1.0
    assert isinstance(settled, int | float)
    return round((settled - axis.low) / step)


def _layers(entry: Entry, number: np.ndarray | None) -> np.ndarray | int:
    """How many layers there are at each point."""
    if isinstance(entry, Fixed):
        return int(entry.default)
    assert isinstance(entry, Int)
    assert number is not None
    return entry.low + number * entry.step
