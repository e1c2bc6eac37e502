"""Numbering the configurations of a grid without making them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ayar.errors import SpaceError
from ayar.records import Configuration
from ayar.space.hyperparameters import Choice, Entry, Fixed, PerLayer, obstacle


@dataclass(frozen=True)
class Grid(Sequence[Configuration]):
    """Configurations by number, made when they are asked for.

    Attributes:
        size: How many there are; may exceed what ``len`` can say.
        pick: Configuration number ``index``, ``0 <= index < size``.
    """

    size: int
    pick: Callable[[int], Configuration]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.pick(i) for i in range(*index.indices(self.size))]
        if not -self.size <= index < self.size:
            raise IndexError(f"The grid has {self.size} configurations, there is no number {index}.")
        return self.pick(index % self.size)


class Tree:
    """Counts and numbers the configurations of a grid, without making them all.

    Only hyperparameters that a later one asks about (a condition, a number of layers) open branches; each other
    one is a digit of the number.
    """

    def __init__(self, entries: Mapping[str, Entry], points: int | None) -> None:
        self._entries = entries
        self._names = list(entries)
        self._axes = {name: _axis(entry, points) for name, entry in entries.items()}
        # asked[i]: the names that hyperparameter i or a later one asks about
        self._asked: list[list[str]] = [[]]
        for entry in reversed(list(entries.values())):
            parents = {*(entry.when or ()), *([entry.layers] if isinstance(entry, PerLayer) else [])}
            self._asked.insert(0, sorted(parents.union(self._asked[0])))
        self._counts: dict[tuple[Any, ...], int] = {}

    def count(self, start: int = 0, config: Configuration | None = None) -> int:
        """How many ways there are to go on from hyperparameter ``start``, given the values of the earlier ones."""
        config = config or {}
        if start == len(self._names):
            return 1
        key = (start, *(repr(config.get(parent)) for parent in self._asked[start]))
        if key not in self._counts:
            name = self._names[start]
            if obstacle(name, self._entries, config) is not None:
                total = self.count(start + 1, config)
            elif name in self._asked[start + 1]:
                total = sum(self.count(start + 1, {**config, name: value}) for value in self._branches(name))
            else:
                total = self._digits(name, config) * self.count(start + 1, config)
            self._counts[key] = total
        return self._counts[key]

    def pick(self, index: int) -> Configuration:
        """Configuration number ``index``."""
        config: Configuration = {}
        for position, name in enumerate(self._names):
            if obstacle(name, self._entries, config) is not None:
                continue
            if name in self._asked[position + 1]:
                for value in self._branches(name):
                    config[name] = value
                    ways = self.count(position + 1, config)
                    if index < ways:
                        break
                    index -= ways
            else:
                index, digit = divmod(index, self._digits(name, config))
                config[name] = self._nth(name, digit, config)
        return config

    def _branches(self, name: str) -> Iterator[Any]:
        size, at = self._axes[name]
        return map(at, range(size))

    def _digits(self, name: str, config: Configuration) -> int:
        entry, (size, _) = self._entries[name], self._axes[name]
        return size ** int(config[entry.layers]) if isinstance(entry, PerLayer) else size

    def _nth(self, name: str, digit: int, config: Configuration) -> Any:
        entry, (size, at) = self._entries[name], self._axes[name]
        if not isinstance(entry, PerLayer):
            return at(digit)
        values = []
        for _ in range(config[entry.layers]):
            digit, remainder = divmod(digit, size)
            values.append(at(remainder))
        return values


def _axis(entry: Entry, points: int | None) -> tuple[int, Callable[[int], Any]]:
    """How many values an axis has in a grid, and the value of each number."""
    if isinstance(entry, PerLayer):
        return _axis(entry.element, points)
    if isinstance(entry, Fixed):
        return 1, lambda _: entry.default
    if entry.size is not None and (isinstance(entry, Choice) or points is None or entry.size <= points):
        return entry.size, entry.at
    if points is None:
        raise SpaceError("Without points= only a finite space has a grid; say grid(points=5).")
    places = np.linspace(0, 1, points).tolist() if points > 1 else [0.5]
    values = list(dict.fromkeys(entry.from_unit(u) for u in places))
    return len(values), values.__getitem__
