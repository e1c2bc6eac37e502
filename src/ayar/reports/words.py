"""Numbers and names as people read them: three or four significant digits, percent, seconds, bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

NOTHING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*")
_FINGERPRINT = re.compile(r"[0-9a-f]{32,}")
_SPELLED = {"valid": "validation", "val": "validation", "lr": "learning rate"}


def number(value: float, digits: int = 4) -> str:
    """A number with ``digits`` significant digits and nothing superfluous.

    >>> [number(x) for x in (0.0123456, 12345.6, 3, 1e-6, 2.5e9, float("nan"), float("-inf"))]
    ['0.01235', '12,346', '3', '1e-6', '2.5e9', 'NaN', '-∞']
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if isinstance(value, int) and abs(value) < 10**7:
        return f"{value:,}"
    size = abs(value)
    if not 1e-4 <= size < 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return _trimmed(f"{value:,.{decimals}f}")


def percent(share: float) -> str:
    """A share of one in percent, with two decimals below ten percent.

    >>> [percent(x) for x in (0.01834, 0.02, 0.257, 1.0, 0.0)]
    ['1.83 %', '2.00 %', '25.7 %', '100 %', '0 %']
    """
    if not math.isfinite(share):
        return number(share)
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    return f"{100 * share:.{2 if abs(share) < 0.1 else 1}f} %"


def is_share(name: str, values: Sequence[float]) -> bool:
    """Whether a metric reads best in percent: an error or accuracy whose finite values lie in [0, 1].

    >>> is_share("valid_error", [0.9, float("nan")]), is_share("valid_error", [3.2]), is_share("loss", [0.1])
    (True, False, False)
    """
    finite = [value for value in values if math.isfinite(value)]
    return name.endswith(("error", "accuracy")) and bool(finite) and min(finite) >= 0 and max(finite) <= 1


def spelled(name: str) -> str:
    """A metric's or hyperparameter's name in words.

    >>> spelled("valid_error"), spelled("learning_rate")
    ('validation error', 'learning rate')
    """
    return " ".join(_SPELLED.get(part, part) for part in name.split("_") if part) or name


def setting(value: Any) -> str:
    """A hyperparameter's value.

    >>> setting([64, 32]), setting(0.0012345), setting(True), setting("relu")
    ('64, 32', '0.001234', 'true', 'relu')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(each) for each in value)
    return str(value)


def fact(value: Any) -> str:
    """Anything that a record may hold: times without fractions of a second, fingerprints by their beginning.

    >>> fact("2026-11-23T15:13:19.969565+00:00"), fact("9f" * 32), fact([]), fact({"lr": 0.1})
    ('2026-11-23 15:13:19', '9f9f9f9f9f9f...', 'none', 'lr 0.1')
    """
    if value is None:
        return NOTHING
    if isinstance(value, dict):
        return configuration(value)
    told = setting(value)
    if _TIME.fullmatch(told):
        return told[:19].replace("T", " ")
    return f"{told[:12]}..." if _FINGERPRINT.fullmatch(told) else told or "none"


def configuration(config: dict[str, Any]) -> str:
    """A configuration in one line.

    >>> configuration({"learning_rate": 0.01, "hidden_units": [64, 32]})
    'learning_rate 0.01 · hidden_units 64, 32'
    """
    return " · ".join(f"{name} {setting(value)}" for name, value in config.items())


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    >>> [duration(x) for x in (0.0042, 3.14159, 59.96, 200, 3700, 90061)]
    ['4.2 ms', '3.1 s', '60 s', '3 min 20 s', '1 h 1 min', '1 d 1 h']
    """
    if not math.isfinite(seconds):
        return number(seconds)
    if 0 < seconds < 0.1:
        return f"{number(1000 * seconds, 2)} ms"
    if seconds < 100:
        return f"{_trimmed(f'{seconds:.1f}')} s"
    whole = round(seconds)
    for size, name, part, part_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {part_name}" if rest else "")
    raise AssertionError(seconds)


def size(count_bytes: int) -> str:
    """A number of bytes.

    >>> size(512), size(20480), size(3_500_000)
    ('512 B', '20.5 kB', '3.5 MB')
    """
    value = float(count_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{number(value, 3)} {unit}"
        value /= 1000
    return f"{number(value, 3)} GB"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "trial"), plural(2400, "trial")
    ('1 trial', '2,400 trials')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def steps(count: int, horizon: int) -> str:
    """How long to train, beside the horizon that a schedule of the learning rate is laid out for.

    >>> steps(24, 50), steps(50, 50)
    ('24 steps of 50', '50 steps')
    """
    return plural(count, "step") + (f" of {horizon:,}" if count < horizon else "")


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
