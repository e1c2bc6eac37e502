"""Names that stand for things: of optimizers, schedules, activations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ayar.errors import SpaceError, did_you_mean


def known(what: str, name: Any, names: Iterable[str]) -> str:
    """``name`` if it is one of ``names``; otherwise an error that lists them and guesses which one was meant.

    >>> known("optimizer", "adma", ["adam", "sgd"])
    Traceback (most recent call last):
    ayar.errors.SpaceError: Unknown optimizer 'adma'. Known: adam, sgd. Did you mean 'adam'?
    """
    names = list(names)
    if name in names:
        return str(name)
    raise SpaceError(f"Unknown {what} {name!r}. Known: {', '.join(names)}.{did_you_mean(str(name), names)}")
