"""Spaces that live: what trials of an earlier space mean in a later one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ayar.errors import SpaceError
from ayar.records import Configuration
from ayar.space.space import Space
from ayar.space.words import closest


def check_change(old: Space, new: Space, was: Mapping[str, Any]) -> None:
    """Do nothing where trials of the old space can be used in the new one.

    Args:
        old: The space until now.
        new: The space from now on.
        was: The value that each new hyperparameter had in trials until now.

    Raises:
        SpaceError: A new hyperparameter lacks the value it had, or one is given for something else.
    """
    for name in was:
        if name not in new:
            raise SpaceError(f"was= names {name!r}, which the new space lacks.{closest(name, new.names)}")
        if name in old:
            raise SpaceError(f"was= names {name!r}, but trials until now have a value for it already: leave it out.")
    missing = [name for name in new.names if name not in old and name not in was]
    if missing:
        told = ", ".join(f'"{name}": ...' for name in missing)
        raise SpaceError(
            f"Trials until now were trained without {', '.join(missing)}. Say which value they had, so that they can "
            f"be compared with later ones: was={{{told}}}"
        )


def aged(space: Space, was: Mapping[str, Any], config: Configuration) -> Configuration:
    """A configuration of an earlier space with the values that later hyperparameters had then.

    >>> from ayar.space import Float
    >>> aged(Space(rate=Float(0.1, 1.0), dropout=Float(0.0, 0.5)), {"dropout": 0.0}, {"rate": 0.3})
    {'rate': 0.3, 'dropout': 0.0}
    """
    missing = [name for name in was if name not in config]
    if not missing:
        return config
    filled = {**config, **{name: was[name] for name in missing}}
    kept = {name for name in filled if name in config or space.is_active(name, filled)}
    return {name: value for name, value in filled.items() if name in kept}
