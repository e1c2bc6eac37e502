"""What has another size today than when the winner was found: batch, data, width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ayar.errors import SpaceError
from ayar.recheck.rules import Change
from ayar.records import Configuration, is_number
from ayar.space import PerLayer, Space

_ROWS_NOTED = 1.2  # a training set that grew or shrank by less calls for no rule


def resized(
    changed: Mapping[str, Any],
    config: Configuration,
    space: Space,
    before: Mapping[str, Mapping[str, Any]] | None,
    today: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Change], Configuration]:
    """Sizes as old and new, and the values that every configuration is to have today.

    The number of training rows is read from the fingerprints where both know it.

    Raises:
        SpaceError: A size isn't a positive number, or its old value isn't known.

    >>> resized({"batch_size": 512, "rows": (100, 800)}, {"batch_size": 32}, Space(batch_size=32), None, {})
    ({'batch_size': (32.0, 512.0), 'rows': (100.0, 800.0)}, {'batch_size': 512})
    """
    sizes: dict[str, Change] = {}
    now: Configuration = {}
    for name, value in changed.items():
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2 and name not in config:
            sizes[name] = (_size(name, value[0]), _size(name, value[1]))
        elif name in config:
            today_s = value[1] if isinstance(value, tuple) else value
            sizes[name] = (_size(name, config[name]), _size(name, today_s))
            spread = name in space and isinstance(space[name], PerLayer) and not isinstance(today_s, list)
            now[name] = [today_s] * len(config[name]) if spread else today_s
        else:
            raise SpaceError(
                f"changed: the winner has no {name!r}, so its old value isn't known. Give both: {name}=(old, new)."
            )
    was, is_now = ((world or {}).get("data", {}).get("rows") for world in (before, today))
    if was and is_now and "rows" not in sizes and not 1 / _ROWS_NOTED < is_now / was < _ROWS_NOTED:
        sizes["rows"] = (float(was), float(is_now))
    return sizes, now


def _size(name: str, value: Any) -> float:
    """A size as a number; of one value for each layer their mean."""
    each = value if isinstance(value, list | tuple) else [value]
    numbers = [v for v in each if is_number(v) and v > 0]
    if not each or len(numbers) != len(each):
        raise SpaceError(f"changed: {name}={value!r} is no size. Give a number above 0, as in batch_size=512.")
    return math.fsum(numbers) / len(numbers)
