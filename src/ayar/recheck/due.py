"""When a winner is due for a recheck: age, code, framework, GPU, data, throughput, or an alarm. Trains nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ayar.recheck.drift import Drift
from ayar.recheck.fingerprint import FRAMEWORKS, changes

EVERY_DAYS = 90
_ROWS = 1.2  # a training set that grew or shrank by more may want other values
_SPEED = 1.25  # so may a machine that is that much faster or slower


class Action(StrEnum):
    """What a reason calls for."""

    REPLAY = "replay"
    RECHECK = "recheck"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a recheck is due.

    Attributes:
        trigger: One word: age, code, software, hardware, data, throughput or alarm.
        sentence: What was seen.
        action: A whole recheck, or first a replay of the winner, which costs three trainings and goes on only if
            its score has moved.
    """

    trigger: str
    sentence: str
    action: Action


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a winner without training anything.

    Attributes:
        checked: When it was found, or checked last.
        before: The fingerprint of that time; None where none was stored.
        today: The fingerprint now; None where what is trained isn't known.
        drift: How far the data moved, where both samples are known.
        step_s: Seconds a step took then and takes now; NaN where unknown.
        alarms: What was reported since.
    """

    checked: datetime
    before: Mapping[str, Mapping[str, Any]] | None = None
    today: Mapping[str, Mapping[str, Any]] | None = None
    drift: Drift | None = None
    step_s: tuple[float, float] = (math.nan, math.nan)
    alarms: Sequence[str] = ()


def reasons(watched: Watched, now: datetime, every_days: float = EVERY_DAYS) -> list[Reason]:
    """Why the winner is due, those that call for a whole recheck first; empty where it isn't.

    >>> from datetime import timedelta, timezone
    >>> then = datetime(2026, 1, 1, tzinfo=timezone.utc)
    >>> [reason.sentence for reason in reasons(Watched(then), then + timedelta(days=100))]
    ['checked 100 days ago, more than 90']
    """
    found = [Reason("alarm", text, Action.RECHECK) for text in watched.alarms]
    age = (now - watched.checked).total_seconds() / 86400
    if age > every_days:
        found.append(Reason("age", f"checked {age:.0f} days ago, more than {every_days:g}", Action.RECHECK))
    then, this = watched.step_s
    if not (math.isnan(then) or math.isnan(this)) and not 1 / _SPEED < this / then < _SPEED:
        sentence = f"a step took {then:.2g} s, takes {this:.2g} s"
        found.append(Reason("throughput", sentence, Action.RECHECK))
    if watched.before is not None and watched.today is not None:
        for group in watched.before.keys() & watched.today.keys() - {"sha256"}:
            found += _moved(group, watched.before[group], watched.today[group], watched.drift)
    return sorted(found, key=lambda reason: (reason.action is Action.REPLAY, reason.trigger, reason.sentence))


def _moved(group: str, old: Mapping[str, Any], new: Mapping[str, Any], drift: Drift | None) -> list[Reason]:
    """What moved in one group of the fingerprint, among the things that both know."""
    names = [name for name in old if name in new and old[name] != new[name]]
    if group == "data":
        return [_data_moved(names, old, new, drift)] if "content" in names else []
    found = []
    for name in names:
        (line,) = changes({group: {name: old[name]}}, {group: {name: new[name]}})
        action = Action.RECHECK if _is_weighty(group, name, old[name], new[name]) else Action.REPLAY
        found.append(Reason(group, line.partition(": ")[2], action))
    return found


def _is_weighty(group: str, name: str, old: Any, new: Any) -> bool:
    """Whether a change may well make another configuration the best, rather than move all scores a little."""
    if group == "code":
        return name in ("source", "name")
    if group == "hardware":
        return name == "precision" or (name == "gpus" and _models(old) != _models(new))
    return name in FRAMEWORKS and _minor(old) != _minor(new)


def _data_moved(names: Sequence[str], old: Mapping[str, Any], new: Mapping[str, Any], drift: Drift | None) -> Reason:
    rows = new.get("rows", 1) / max(old.get("rows", 1), 1)
    if not 1 / _ROWS < rows < _ROWS:
        return Reason("data", f"{old['rows']} training rows were, {new['rows']} are", Action.RECHECK)
    if drift is None:
        return Reason("data", "the content changed, by how much isn't known", Action.RECHECK)
    weighty = drift.size == "material" or "schema" in names
    return Reason("data", f"the content changed: {drift.sentence}", Action.RECHECK if weighty else Action.REPLAY)


def _models(gpus: Sequence[str]) -> list[str]:
    """GPU models without their drivers; a fingerprint lists "name, memory, driver"."""
    return [gpu.rpartition(",")[0] or gpu for gpu in gpus]


def _minor(version: str) -> list[str]:
    return str(version).split(".")[:2]


def yearly(cap: float, every_days: float, spent: Sequence[tuple[datetime, float]], now: datetime, most: float) -> float:
    """The error that today's recheck may have, so that a year's false alarms are at most ``cap`` in expectation.

    Args:
        cap: False replacements a year, as 0.1.
        every_days: How often a recheck is planned.
        spent: When earlier rechecks were, each with its error.
        now: Today.
        most: The most for a single recheck.

    >>> from datetime import timezone
    >>> round(yearly(0.1, 90, [], datetime(2026, 1, 1, tzinfo=timezone.utc), 0.05), 4)
    0.0246
    """
    used = math.fsum(error for at, error in spent if (now - at).days < 365)
    return max(0.0, min(most, cap * every_days / 365.25, cap - used))
