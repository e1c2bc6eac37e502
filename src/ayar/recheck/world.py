"""The world that a result rests on, as it is now and as it is on record."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ayar.errors import MissingExtra, NotEnoughEvidence
from ayar.ledger.store import Note
from ayar.recheck.data import Profile, profile_of
from ayar.recheck.drift import Drift, drift
from ayar.recheck.due import Watched
from ayar.recheck.fingerprint import fingerprint
from ayar.recheck.history import ALARM, BEGUN, FOUND, RECHECKED
from ayar.records import Configuration
from ayar.run.command import Command
from ayar.run.objective import as_training

PRINT, PROFILE, THROUGHPUT = "fingerprint", "data profile", "throughput"
"""Kinds of the notes that keep it."""

_PROBED = 4  # steps of a probe; the first includes starting up


@dataclass(frozen=True, eq=False)
class World:
    """A training's surroundings now: its fingerprint, and the profile of its data where that is known."""

    fingerprint: dict[str, dict[str, Any]]
    profile: Profile | None


def world_of(objective: Any) -> World:
    """The world of an objective as it is now."""
    seen = profile_of(objective)
    data = getattr(objective, "data_hash", None) if seen is None else seen.fields
    precision = getattr(objective, "precision", "highest")
    return World(fingerprint(data, _code_of(objective), precision if precision != "highest" else None), seen)


def _code_of(objective: Any) -> Any:
    """What an objective's author wrote: a function, a recipe's ``build``, a command's words; None for other things."""
    if isinstance(objective, str | list | tuple):
        return list(Command.of(objective).words)
    return objective if callable(objective) else getattr(objective, "build", None)


def news(notes: Sequence[Note], world: World) -> list[tuple[str, dict[str, Any]]]:
    """What isn't on record of a world yet, as notes to be written: kind and body."""
    prints = [n.body for n in notes if n.kind == PRINT]
    profiles = [n.body["content"] for n in notes if n.kind == PROFILE]
    found = [] if prints and prints[-1] == world.fingerprint else [(PRINT, world.fingerprint)]
    if world.profile is not None and world.profile.content not in profiles[-1:]:
        found.append((PROFILE, world.profile.to_dict()))
    return found


def watched(notes: Sequence[Note], world: World | None, *, imported: bool = False) -> Watched | None:
    """What is known of a winner since it was found or checked last; None where that was never.

    Args:
        notes: All of the study's.
        world: The world now; None where what is trained isn't known.
        imported: Whether a winner from elsewhere is watched, of which only rechecks are on record.
    """
    own = [n for n in notes if n.kind != RECHECKED or n.body.get("imported", False) == imported]
    checks = [n for n in own if n.kind == RECHECKED or (n.kind in (FOUND, PRINT) and not imported)]
    if not checks:
        return None
    last = checks[-1]
    begun = {n.id: n.body["fingerprint"] for n in notes if n.kind == BEGUN}
    prints = [n.body if n.kind == PRINT else begun.get(n.body["begun"]) for n in checks if n.kind != FOUND]
    return Watched(
        checked=datetime.fromisoformat(last.at),
        before=prints[-1] if prints else None,
        today=None if world is None else world.fingerprint,
        drift=None if world is None else _drift(notes, world),
        step_s=_speeds(notes, last.id),
        alarms=[n.body["text"] for n in notes if n.kind == ALARM and n.id > last.id],
    )


def _drift(notes: Sequence[Note], world: World) -> Drift | None:
    """How far the data moved, where they did and both samples are known."""
    stored = [n.body for n in notes if n.kind == PROFILE]
    if world.profile is None or not stored or stored[-1]["content"] == world.profile.content:
        return None
    try:
        return drift(Profile.from_dict(stored[-1]), world.profile)
    except (MissingExtra, NotEnoughEvidence):
        return None


def _speeds(notes: Sequence[Note], since: int) -> tuple[float, float]:
    """Seconds of a step by the first and by the latest probe after the note ``since``; NaN without two."""
    probes = [n.body["step_s"] for n in notes if n.kind == THROUGHPUT and n.id > since]
    return (probes[0], probes[-1]) if len(probes) > 1 else (math.nan, math.nan)


def probe(objective: Any, config: Configuration, metric: str, horizon: int) -> float | None:
    """Seconds of a training's step now: its fastest of a few. None where it can't be stopped after them."""
    training = as_training(objective, metric=metric)
    if not training.sliceable or horizon <= _PROBED:
        return None
    seconds = []
    with tempfile.TemporaryDirectory(prefix="ayar-") as folder:
        steps = training.start(config, 0, Path(folder), 0, horizon)
        asked = time.perf_counter()
        for step, _ in steps:
            seconds += [time.perf_counter() - asked] if step > 1 else []
            if step >= _PROBED:
                break
            asked = time.perf_counter()
        if isinstance(steps, Generator):
            steps.close()
    return min(seconds, default=None)
