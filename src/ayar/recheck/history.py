"""The history of a study's winners: found, rechecked, replaced. Read from notes, which are never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ayar.ledger.store import Note
from ayar.logbook import Logbook
from ayar.recheck.findings import Recheck
from ayar.recheck.plan import Course
from ayar.records import Metric, Score, ScoreKind, Trial, Winner
from ayar.seeds import Purpose
from ayar.winner import score

FOUND, RECHECKED, ADOPTED, ALARM = "confirmation", "recheck", "adopted", "alarm"
BEGUN = "recheck begun"
"""The kind of the note that says what a recheck will do, before it is done."""

HISTORY = (FOUND, RECHECKED, ADOPTED, ALARM)
"""Kinds of the notes that make the history."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event in a winner's life.

    Attributes:
        at: When, in UTC.
        what: A few words, such as ``"winner found"`` or ``"keep, not beaten"``.
        detail: What was seen, in a sentence or less.
        stayed: Whether the winner stayed; None where the question did not arise.
    """

    at: datetime
    what: str
    detail: str
    stayed: bool | None = None


def timeline(notes: Sequence[Note]) -> list[Event]:
    """The events, oldest first."""
    events = []
    for note in sorted(notes, key=lambda n: n.id):
        at, body = datetime.fromisoformat(note.at), note.body
        if note.kind == FOUND:
            count = len(body["plan"]["candidates"])
            told = f"{count} candidate{'s' * (count > 1)} and the default on fresh seeds"
            events.append(Event(at, "winner confirmed", told))
        elif note.kind == RECHECKED:
            stayed = body["verdict"] in ("keep, confirmed", "keep, not beaten", "better, not worth it")
            whose = "one from elsewhere: " * body.get("imported", False)
            events.append(Event(at, f"{whose}{body['verdict']}", _seen(body), stayed))
        elif note.kind == ADOPTED:
            events.append(Event(at, "winner replaced", "the challenger of the recheck before took its place"))
        elif note.kind == ALARM:
            events.append(Event(at, "alarm", body["text"]))
    return events


def _seen(body: Mapping[str, Any]) -> str:
    """What a recheck saw, in a few words."""
    moved = body.get("level_shift") or {}
    parts = [f"{body['trainings']} trainings"]
    if body.get("gain"):
        parts.append(f"gain {body['gain']['mean']:+.3g}")
    if moved.get("mean") is not None:
        parts.append(f"level {moved['mean']:+.3g}")
    if body.get("changed"):
        parts.append(f"{len(body['changed'])} changed")
    return ", ".join(parts)


def adoption(found: Recheck) -> dict[str, Any]:
    """The note by which a recheck's challenger becomes the winner.

    Raises:
        ValueError: The recheck proved no challenger better.
    """
    if found.verdict not in ("replace", "retune") or found.challenger is None:
        raise ValueError(f"The recheck says {found.verdict!r}, so no challenger can take the winner's place.")
    return {"config": found.challenger, "stop_step": found.stop_step, "scores": list(found.scores)}


def adopted(notes: Sequence[Note], trials: Sequence[Trial], metric: Metric) -> Winner | None:
    """The winner by the latest adoption; None where a later tuning confirmed one, or there was no adoption."""
    events = sorted((n for n in notes if n.kind in (FOUND, ADOPTED)), key=lambda n: n.id)
    if not events or events[-1].kind != ADOPTED:
        return None
    body = events[-1].body
    source = next((t.id for t in trials if t.config == body["config"]), None)
    if source is None:
        return None
    fresh: Score = score(ScoreKind.FRESH_SEED, [metric.loss(v) for v in body["scores"]], metric)
    return Winner(source, body["config"], body["stop_step"], metric.name, {fresh.kind: fresh})


def begin(book: Logbook, course: Course, today: Mapping[str, Any]) -> Note:
    """The note that a recheck starts with: seeds nobody used before. That of a stopped one, if it can go on."""
    settled = {"course": course.to_dict(), "fingerprint": today}
    finished = {note.body["begun"] for note in book.notes(RECHECKED)}
    earlier = book.notes(BEGUN)[-1:]
    if earlier and earlier[0].id not in finished and all(earlier[0].body[k] == v for k, v in settled.items()):
        return earlier[0]
    # A trial uses at most one seed, so the count of a purpose's trials lies beyond all of its used seeds.
    used = Counter(t.purpose for t in book.trials)
    first = {purpose: used[purpose] for purpose in (Purpose.RECHECK, Purpose.CONFIRM)}
    book.note(BEGUN, {**settled, "first": first})
    return book.notes(BEGUN)[-1]
