"""The hyperparameters of a study: their ranges, scales and conditions.

A space turns points of the unit cube into configurations and back. Searchers work in the cube; trainings see
configurations. Hyperparameters that are inactive are absent from a configuration.

>>> from ayar.space import Choice, Float, Int, PerLayer
>>> space = Space(
...     hidden_layers=Int(1, 3),
...     hidden_units=PerLayer(Int(8, 256, log=True), layers="hidden_layers"),
...     optimizer=Choice("sgd", "adam"),
...     momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
...     iterations=50,
... )
>>> space.default()
{'hidden_layers': 2, 'hidden_units': [45, 45], 'optimizer': 'sgd', 'momentum': 0.495, 'iterations': 50}
>>> space.complete({"hidden_layers": 1, "hidden_units": 64, "optimizer": "adam"})
{'hidden_layers': 1, 'hidden_units': [64], 'optimizer': 'adam', 'iterations': 50}
>>> space.dimensions
6
"""

from __future__ import annotations

import keyword
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ayar.errors import SpaceError
from ayar.records import Configuration, config_key
from ayar.space.grid import Grid, Tree
from ayar.space.hyperparameters import (
    Entry,
    Fixed,
    Float,
    Hyperparameter,
    Int,
    PerLayer,
    Scalar,
    any_of,
    canonical,
    obstacle,
    plain,
    same,
)
from ayar.space.snapping import snapped
from ayar.space.words import closest, from_words, scale_in_words, speaking_of, to_words, values_in_words

_MOST_BRANCHES = 10_000  # values of a hyperparameter that others depend on
_RESERVED = {
    "candidates": "it names the list of configurations to choose from",
    "seed": "each training gets its seed from Ayar",
}


class Space:
    """The hyperparameters of a study, with their ranges, scales and conditions.

    Args:
        candidates: A finite list of configurations; only these are ever proposed. Fixed values may be left out.
        hyperparameters: Name -> Float, Int, Choice or PerLayer, or a plain value, which is fixed. Conditions and
            layer counts refer to hyperparameters declared earlier, so the order matters.

    Attributes:
        names: The hyperparameters in the order of their declaration.
        dimensions: Length of an encoded configuration; PerLayer takes one place for each possible layer.
        candidates: The configurations to choose from, without repetitions; None where all may be proposed.

    Raises:
        SpaceError: The space contradicts itself; the message says where, and the way out.
    """

    def __init__(
        self, /, candidates: Iterable[Mapping[str, Any]] | None = None, **hyperparameters: Hyperparameter | Any
    ) -> None:
        if not hyperparameters:
            raise SpaceError("A space needs at least one hyperparameter, as in Space(learning_rate=Float(...)).")
        self._entries: dict[str, Entry] = {}
        self._places: dict[str, slice] = {}
        self.dimensions: int = 0
        for name, entry in hyperparameters.items():
            with speaking_of(name):
                self._declare(name, entry, hyperparameters)
        self.names: tuple[str, ...] = tuple(self._entries)
        self.candidates: tuple[Configuration, ...] | None = None
        if candidates is not None:
            self.candidates = self._read_candidates(list(candidates))

    def _declare(self, name: str, given: Any, everything: Mapping[str, Any]) -> None:
        _check_name(name)
        entry = given if isinstance(given, Hyperparameter) else Fixed(given)
        for parent, values in (entry.when or {}).items():
            _check_order(name, parent, self._entries, everything)
            self._check_condition(parent, values)
        width = 0 if isinstance(entry, Fixed) else 1
        if isinstance(entry, PerLayer):
            _check_order(name, entry.layers, self._entries, everything)
            width = self._most_layers(entry.layers)
        self._places[name] = slice(self.dimensions, self.dimensions + width)
        self.dimensions += width
        self._entries[name] = entry

    def _check_condition(self, parent: str, values: Sequence[Scalar]) -> None:
        entry = self._entries[parent]
        if isinstance(entry, PerLayer) or (isinstance(entry, Float) and entry.step is None):
            raise SpaceError(
                f"A condition needs a parent with separate values, but {parent} is a {type(entry).__name__}: "
                "make it a Choice, an Int or a Float with a step."
            )
        self._check_branches(parent)
        for value in values:
            try:
                entry.canonical(value)
            except SpaceError as error:
                raise SpaceError(f"It waits for {parent}={value!r}, which can never happen: {error}") from None

    def _check_branches(self, parent: str) -> None:
        entry = self._entries[parent]
        most = entry.size if isinstance(entry, Float | Int) and entry.size is not None else 1
        if most > _MOST_BRANCHES:
            raise SpaceError(f"{parent} has {most} values, too many to depend on: {_MOST_BRANCHES} are the limit.")

    def _most_layers(self, parent: str) -> int:
        entry = self._entries[parent]
        self._check_branches(parent)
        if isinstance(entry, Int) and entry.low >= 1:
            return entry.high
        if isinstance(entry, Fixed) and type(entry.value) is int and entry.value >= 1:
            return entry.value
        raise SpaceError(f"layers={parent!r} must name an Int with low >= 1 (or a fixed whole number), not {entry!r}.")

    def _read_candidates(self, given: list[Mapping[str, Any]]) -> tuple[Configuration, ...]:
        if not given:
            raise SpaceError("candidates is empty: give at least one configuration, or leave it out.")
        fixed = {name for name, entry in self._entries.items() if isinstance(entry, Fixed)}
        distinct: dict[str, Configuration] = {}
        for position, candidate in enumerate(given):
            try:
                config = self._settle(candidate, fill=fixed)
            except SpaceError as error:
                raise SpaceError(f"candidates[{position}] does not fit the space. {error}") from None
            distinct.setdefault(config_key(config), config)
        return tuple(distinct.values())

    def __getitem__(self, name: str) -> Any:
        """The hyperparameter of that name; a fixed one gives its plain value."""
        if name not in self._entries:
            raise SpaceError(f"No hyperparameter {name!r} in this space.{closest(name, self.names)}")
        entry = self._entries[name]
        return entry.default if isinstance(entry, Fixed) else entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __eq__(self, other: object) -> bool:
        # As text: the order counts, and so does 1 against True.
        return isinstance(other, Space) and repr(self.to_dict()) == repr(other.to_dict())

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{name}={self[name]!r}' for name in self.names)})"

    # --- Configurations ---

    def default(self) -> Configuration:
        """Each hyperparameter's default; the first candidate where candidates are given."""
        return self.complete({})

    def complete(self, partial: Mapping[str, Any], *, outside: bool = False) -> Configuration:
        """The default configuration with these values put in.

        Hyperparameters that thereby become active take their defaults, those that become inactive are dropped.
        One value given for a PerLayer is every layer's. Where there are candidates: the first that agrees.

        Args:
            partial: Values by name.
            outside: Take numbers beyond the ends of a Float or an Int, too: a person may look what happens there.

        Raises:
            SpaceError: A name is unknown, a value does not fit, or it is given for an inactive hyperparameter.
        """
        if self.candidates is None:
            return self._settle(partial, fill=self.names, outside=outside)
        self._check_names(partial)
        for candidate in self.candidates:
            if all(name in candidate and _agree(value, candidate[name]) for name, value in partial.items()):
                return _copy(candidate)
        raise SpaceError(f"No candidate has {_in_words(partial)}; only the candidates given may be trained.")

    def check(self, config: Mapping[str, Any]) -> None:
        """Do nothing for a configuration of this space; otherwise say what is wrong with it.

        Raises:
            SpaceError: It is not in the space, or not one of the candidates.
        """
        settled = self._settle(config, fill=())
        for name, value in settled.items():
            if not same(plain(config[name]), value):
                raise SpaceError(f"{name}: {config[name]!r} is written {value!r} in this space.")
        if self.candidates is not None and config_key(settled) not in self._candidate_keys:
            raise SpaceError(f"{_in_words(settled)} is in the space but none of its candidates.")

    def contains(self, config: Mapping[str, Any]) -> bool:
        """Whether ``check`` finds nothing wrong."""
        try:
            self.check(config)
        except SpaceError:
            return False
        return True

    def width(self, name: str) -> int:
        """How many coordinates of the cube a hyperparameter takes."""
        place = self._places[name]
        return int(place.stop - place.start)

    def is_active(self, name: str, config: Mapping[str, Any]) -> bool:
        """Whether a hyperparameter counts, given the values of those it depends on."""
        return obstacle(name, self._entries, config) is None

    def sample(self, rng: np.random.Generator) -> Configuration:
        """A random configuration: uniform in the unit cube, or among the candidates."""
        if self.candidates is not None:
            return _copy(self.candidates[rng.integers(len(self.candidates))])
        return self.decode(rng.random(self.dimensions))

    def _settle(self, given: Mapping[str, Any], fill: Collection[str], *, outside: bool = False) -> Configuration:
        """``given`` in canonical form and order; what is missing takes its default if ``fill`` allows it."""
        if not isinstance(given, Mapping):
            raise SpaceError(f"A configuration is a dict of hyperparameters and values, got {given!r}.")
        self._check_names(given)
        config: Configuration = {}
        for name, entry in self._entries.items():
            if (reason := obstacle(name, self._entries, config)) is not None:
                if name in given:
                    raise SpaceError(f"{name}: it is given as {given[name]!r}, but it is active only {reason}")
            elif name not in given and name not in fill:
                raise SpaceError(f"{name}: it is active here but missing; complete(...) fills in defaults.")
            else:
                with speaking_of(name):
                    config[name] = self._value(entry, given.get(name, entry.default), config, outside)
        return config

    def _value(self, entry: Entry, value: Any, config: Configuration, outside: bool) -> Any:
        if not isinstance(entry, PerLayer):
            return canonical(entry, value, outside=outside)
        layers = config[entry.layers]
        value = plain(value)
        values = value if isinstance(value, list) else [value] * layers
        if len(values) != layers:
            raise SpaceError(
                f"{values!r} has {len(values)} values for {entry.layers}={layers}: give one value for each layer, "
                f"or one for all."
            )
        return [canonical(entry.element, item, outside=outside) for item in values]

    def _check_names(self, given: Iterable[str]) -> None:
        for name in given:
            if name not in self._entries:
                raise SpaceError(f"No hyperparameter {name!r} in this space.{closest(name, self.names)}")

    # --- The unit cube ---

    def encode(self, config: Mapping[str, Any], *, outside: bool = False) -> np.ndarray:
        """A configuration as a point of the unit cube, shape ``(dimensions,)``; 0.5 where it is inactive.

        Args:
            config: The configuration.
            outside: Take numbers beyond the ends of a Float or an Int, too: they lie beyond 0 and 1. On a log scale
                there is no place for numbers that aren't positive.

        Raises:
            SpaceError: The configuration is not in the space.
        """
        settled = self._settle(config, fill=(), outside=outside)
        point = np.full(self.dimensions, 0.5)
        for name, value in settled.items():
            entry, start = self._entries[name], self._places[name].start
            try:
                if isinstance(entry, PerLayer):
                    point[start : start + len(value)] = [entry.element.to_unit(item) for item in value]
                elif not isinstance(entry, Fixed):
                    point[start] = entry.to_unit(value)
            except ValueError:
                raise SpaceError(
                    f"{name}: {value!r} has no place on a log scale, which holds positive numbers."
                ) from None
        return point

    def decode(self, point: Sequence[float] | np.ndarray) -> Configuration:
        """The configuration at a point of the unit cube, shape ``(dimensions,)``; the candidate nearest to it.

        ``decode(encode(config)) == config``, up to round-off in a Float without a step.
        """
        point = np.asarray(point, dtype=float)
        if point.shape != (self.dimensions,) or not np.isfinite(point).all():
            raise SpaceError(f"A point of this cube has {self.dimensions} finite coordinates, got {point!r}.")
        if self.candidates is not None and self.candidate_points is not None:
            return _copy(self.candidates[int(((self.candidate_points - point) ** 2).sum(axis=1).argmin())])
        clipped = point.clip(0, 1).tolist()
        config: Configuration = {}
        for name, entry in self._entries.items():
            if obstacle(name, self._entries, config) is not None:
                continue
            if isinstance(entry, Fixed):
                config[name] = entry.default
            elif isinstance(entry, PerLayer):
                start = self._places[name].start
                config[name] = [entry.element.from_unit(u) for u in clipped[start : start + config[entry.layers]]]
            else:
                config[name] = entry.from_unit(clipped[self._places[name].start])
        return config

    def snap(self, points: np.ndarray) -> np.ndarray:
        """Points as the configurations there lie in the cube, shape ``(n, dimensions)``.

        ``encode(decode(point))`` for each point, up to round-off. Where there are candidates: the nearest one's.
        """
        if (candidates := self.candidate_points) is not None:
            return np.array([candidates[int(((candidates - point) ** 2).sum(axis=1).argmin())] for point in points])
        return snapped(self._entries, self._places, points)[0]

    def active(self, points: np.ndarray) -> np.ndarray:
        """Which coordinates of points count in the configurations there, booleans of shape ``(n, dimensions)``."""
        return snapped(self._entries, self._places, points)[1]

    @cached_property
    def candidate_points(self) -> np.ndarray | None:
        """The candidates as points of the unit cube, shape ``(candidates, dimensions)``; None where there are none."""
        return None if self.candidates is None else np.array([self.encode(config) for config in self.candidates])

    @cached_property
    def _candidate_keys(self) -> frozenset[str]:
        return frozenset(map(config_key, self.candidates or ()))

    # --- Enumeration ---

    @cached_property
    def size(self) -> int | None:
        """How many configurations there are; None for a continuum."""
        if self.candidates is not None:
            return len(self.candidates)
        axes = [entry.element if isinstance(entry, PerLayer) else entry for entry in self._entries.values()]
        if any(isinstance(axis, Float) and axis.step is None for axis in axes):
            return None
        return self.grid().size

    def grid(self, points: int | None = None) -> Grid:
        """Every configuration of a finite space, or a grid over any space; lazy, without repetitions.

        Args:
            points: At most so many values, evenly spread with both ends, for each Float and Int. None: all.

        Raises:
            SpaceError: ``points`` is None and the space holds a continuum.
        """
        if points is not None and points < 1:
            raise SpaceError(f"A grid needs points >= 1 on each axis, got {points}.")
        if (candidates := self.candidates) is not None:
            return Grid(len(candidates), lambda index: _copy(candidates[index]))
        tree = Tree(self._entries, points)
        return Grid(tree.count(), tree.pick)

    # --- Words ---

    def describe(self) -> list[dict[str, Any]]:
        """One row for each hyperparameter: name, kind, values, scale, default, when."""
        rows = []
        for name, entry in self._entries.items():
            axis = entry.element if isinstance(entry, PerLayer) else entry
            repeated = f" for each of {entry.layers}" if isinstance(entry, PerLayer) else ""
            conditions = (entry.when or {}).items()
            rows.append(
                {
                    "name": name,
                    "kind": type(axis).__name__.lower() + repeated,
                    "values": values_in_words(axis),
                    "scale": scale_in_words(axis),
                    "default": axis.default,
                    "when": " and ".join(f"{parent} is {any_of(values)}" for parent, values in conditions),
                }
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The space in the words of its TOML form; what JSON or TOML writes of it reads back as an equal space."""
        words = {name: to_words(entry) for name, entry in self._entries.items()}
        return words if self.candidates is None else {**words, "candidates": [_copy(c) for c in self.candidates]}

    @classmethod
    def from_dict(cls, words: Mapping[str, Any]) -> Space:
        """The space that ``to_dict`` or a TOML file describes.

        >>> Space.from_dict({"momentum": {"float": [0.0, 0.99]}, "iterations": 50}).default()
        {'momentum': 0.495, 'iterations': 50}

        Raises:
            SpaceError: A word is unknown, or the space contradicts itself.
        """
        entries = {}
        for name, spec in words.items():
            if name != "candidates":
                with speaking_of(name):
                    entries[name] = from_words(spec) if isinstance(spec, Mapping) else spec
        return cls(candidates=words.get("candidates"), **entries)

    @classmethod
    def from_toml(cls, source: str | Path) -> Space:
        """The space in a TOML file, or in TOML text.

        >>> Space.from_toml("batch_size = { choice = [16, 32, 64], ordered = true }").default()
        {'batch_size': 32}

        Raises:
            SpaceError: There is no such file, it is no TOML, or it describes no sound space.
        """
        is_text = isinstance(source, str) and ("=" in source or "\n" in source)
        try:
            text = str(source) if is_text else Path(source).read_text(encoding="utf-8")
            words = tomllib.loads(text)
        except OSError as error:
            raise SpaceError(f"Cannot read the space from {source}: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SpaceError(f"{'The text' if is_text else source} is no TOML: {error}.") from None
        try:
            return cls.from_dict(words)
        except SpaceError as error:
            raise SpaceError(f"{'' if is_text else f'{source}: '}{error}") from None


def _check_name(name: str) -> None:
    if not name.isidentifier():
        raise SpaceError(f"It is no name for a hyperparameter: use letters, digits and _, as in {_identifier(name)!r}.")
    if keyword.iskeyword(name):
        raise SpaceError(f"{name!r} is a word of Python's own: call it {name + '_'!r}.")
    if name in _RESERVED:
        raise SpaceError(f"The name {name!r} is taken: {_RESERVED[name]}. Choose another name.")


def _identifier(name: str) -> str:
    cleaned = re.sub(r"\W", "_", name)
    return cleaned if cleaned.isidentifier() else f"_{cleaned}"


def _check_order(name: str, parent: str, declared: Mapping[str, Any], everything: Mapping[str, Any]) -> None:
    """Refuse to depend on a hyperparameter that is not declared, or not yet."""
    if parent in declared:
        return
    if parent not in everything:
        raise SpaceError(f"It depends on {parent!r}, which is no hyperparameter.{closest(parent, everything)}")
    path = _path(parent, name, everything)
    if path:
        raise SpaceError(f"The conditions go round in a circle: {' -> '.join([name, *path])}. Drop one of them.")
    raise SpaceError(f"It depends on {parent!r}, which is declared later: declare {parent} before {name}.")


def _path(start: str, goal: str, entries: Mapping[str, Any]) -> list[str]:
    """The hyperparameters from ``start`` to ``goal``, each depending on the next; empty where there is no way."""
    waiting, seen = [[start]], {start}
    while waiting:
        path = waiting.pop()
        if path[-1] == goal:
            return path
        entry = entries.get(path[-1])
        parents = [*(getattr(entry, "when", None) or ()), getattr(entry, "layers", None)]
        for parent in parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                waiting.append([*path, parent])
    return []


def _agree(wanted: Any, value: Any) -> bool:
    """Whether a value asked for is the one in a configuration; one asked for all layers is each layer's."""
    wanted = plain(wanted)
    if isinstance(value, list) and not isinstance(wanted, list):
        return all(same(wanted, item) for item in value)
    return same(wanted, value)


def _copy(config: Configuration) -> Configuration:
    return {name: list(value) if isinstance(value, list) else value for name, value in config.items()}


def _in_words(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in config.items())
