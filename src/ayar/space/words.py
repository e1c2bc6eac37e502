"""Hyperparameters in words: the TOML form, and what messages say of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ayar.errors import SpaceError, did_you_mean
from ayar.space.hyperparameters import Axis, Choice, Entry, Fixed, Float, Hyperparameter, Int, PerLayer, same

_GUESS = ("guess", "confidence")
_OPTIONS = {
    "float": ("log", "step", "default", *_GUESS),
    "int": ("log", "step", "default", *_GUESS),
    "choice": ("ordered", "default", *_GUESS),
}


def values_in_words(axis: Axis | Fixed) -> str:
    """What an axis may be set to, for a person."""
    if isinstance(axis, Fixed):
        return str(axis.value)
    if isinstance(axis, Choice):
        return ", ".join(map(str, axis.choices))
    steps = f" in steps of {axis.step}" if axis.step not in (None, 1) else ""
    return f"{axis.low} to {axis.high}{steps}"


def scale_in_words(axis: Axis | Fixed) -> str:
    """``log``, ``linear``, ``ordered``, or nothing."""
    if isinstance(axis, Float | Int):
        return "log" if axis.log else "linear"
    return "ordered" if isinstance(axis, Choice) and axis.ordered else ""


def to_words(entry: Entry) -> Any:
    """A hyperparameter in the words of its TOML form; a plain value as it is."""
    if isinstance(entry, Fixed):
        return entry.default
    words: dict[str, Any]
    if isinstance(entry, PerLayer):
        words = {**to_words(entry.element), "per_layer": entry.layers}
    elif isinstance(entry, Choice):
        words = {"choice": list(entry.choices), "ordered": entry.ordered}
    else:
        words = {type(entry).__name__.lower(): [entry.low, entry.high], "log": entry.log}
        if entry.step is not None and not (isinstance(entry, Int) and entry.step == 1):
            words["step"] = entry.step
    words = {word: value for word, value in words.items() if value is not False}
    if not isinstance(entry, PerLayer):
        words |= _guess_in_words(entry)
        if not same(entry.default, entry.middle() if entry.guess is None else entry.guess):
            words["default"] = entry.default
    if entry.when:
        words["when"] = {p: values[0] if len(values) == 1 else list(values) for p, values in entry.when.items()}
    return words


def _guess_in_words(axis: Axis) -> dict[str, Any]:
    if axis.guess is None:
        return {}
    sure = {} if axis.confidence == "medium" else {"confidence": axis.confidence}
    return {"guess": axis.guess, **sure}


def from_words(words: Mapping[str, Any]) -> Hyperparameter:
    """The hyperparameter that a TOML table describes; SpaceError for an unknown word."""
    kinds = [kind for kind in _OPTIONS if kind in words]
    if len(kinds) != 1:
        near = "" if kinds else closest(next(iter(words), ""), _OPTIONS)
        raise SpaceError(f"It needs exactly one of the words float, int and choice, got {dict(words)!r}.{near}")
    kind = kinds[0]
    known = (kind, *_OPTIONS[kind], "when", "per_layer")
    for word in words:
        if word not in known:
            raise SpaceError(f"{word!r} is no word for a {kind}.{closest(word, known)}")
    for word in ("log", "ordered"):
        if not isinstance(words.get(word, False), bool):
            raise SpaceError(f"{word} is true or false, got {words[word]!r}.")
    values, when, layers = words[kind], words.get("when"), words.get("per_layer")
    if not isinstance(values, list | tuple) or (kind != "choice" and len(values) != 2):
        wanted = "a list of values" if kind == "choice" else "the list [low, high]"
        raise SpaceError(f"{kind} takes {wanted}, got {values!r}.")
    options = {word: words[word] for word in _OPTIONS[kind] if word in words}
    if layers is None:
        options["when"] = when
    axis = {"float": Float, "int": Int, "choice": Choice}[kind](*values, **options)
    return axis if layers is None else PerLayer(axis, layers=layers, when=when)


@contextmanager
def speaking_of(name: str) -> Iterator[None]:
    """Put the hyperparameter's name before the message of a SpaceError."""
    try:
        yield
    except SpaceError as error:
        raise SpaceError(f"{name}: {error}") from None


def closest(name: str, known: Iterable[str]) -> str:
    """A sentence that helps with a misspelt name."""
    known = list(known)
    return did_you_mean(str(name), known) or f" It has: {', '.join(known)}."
