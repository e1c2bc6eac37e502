"""What is known of a study, gathered from its logbook: verdicts on its curves, and the story that reports tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ayar.curves.advice import advise, is_unread
from ayar.curves.schedules import rate_left
from ayar.curves.tested import TRIED, hit_rates
from ayar.curves.verdict import diagnose
from ayar.intuition.findings import findings
from ayar.logbook import Logbook
from ayar.recheck.fingerprint import fingerprint
from ayar.recheck.history import HISTORY, timeline
from ayar.records import Advice, Curve, Trial, Verdict, Winner
from ayar.reports.tables import Story, worth_reading
from ayar.sealed import OPENED
from ayar.search.base import SEARCH_DATA, Problem

_MOST_RIVALS = 300  # curves of a study that each other one is read beside; the best are among them


def verdicts_on(
    chosen: Sequence[Trial], book: Logbook, horizon: int, *, n_classes: int | None = None, most: int = _MOST_RIVALS
) -> dict[int, tuple[Verdict, ...]]:
    """Verdicts by trial on those that were trained, each read beside at most ``most`` curves of the search.

    Attempts that followed advice stand aside: putting advice to the test must not change it.
    """
    followed = {note.body["attempt"] for note in book.notes(TRIED)}
    data = [t for t in book.history if t.purpose in SEARCH_DATA and t.id not in followed]
    rivals = worth_reading(data, most)
    curves = {t.id: book.whole_curve(t.id) for t in (*rivals, *chosen)}
    siblings = [curves[t.id] for t in rivals]
    return {
        t.id: diagnose(
            curves[t.id],
            siblings=siblings,
            horizon=horizon,
            learning_rate_late=rate_left(t.config, t.curve.last_step, horizon),
            n_classes=n_classes,
        )
        for t in chosen
        if t.curve.last_step > 0 and t.curve.trained
    }


def _advice(winner: Winner, verdicts: Sequence[Verdict], trials: Sequence[Trial], problem: Problem) -> list[Advice]:
    curve = next((t.curve for t in trials if t.id == winner.trial), Curve())
    return [] if is_unread(verdicts, curve) else advise(verdicts, winner.config, problem.space)


def tell(book: Logbook, problem: Problem, *, winner: Winner | None, most: int, **more: Any) -> Story:
    """The story of a study; ``more`` are fields of ``Story`` that its logbook can't fill. See ``Study.story``."""
    prints, validation = book.notes("fingerprint"), book.notes("validation")
    facts = {**({"validation": validation[-1].body["reason"]} if validation else {}), **more.pop("facts", {})}
    is_classified = facts.get("kind") == "classification"
    everyone = book.trials
    read = worth_reading(everyone, most)
    if winner is not None and len(read) < len(everyone):
        read += [t for t in everyone if t.id == winner.trial and t not in read]
    n_classes = facts.get("outputs") if is_classified else None
    verdicts = verdicts_on(read, book, problem.horizon, n_classes=n_classes, most=min(most, _MOST_RIVALS))
    known = {
        "horizon": problem.horizon,
        "space": problem.space,
        "objectives": problem.objectives,
        "constraints": problem.constraints,
        "trials": tuple(everyone),
        "verdicts": verdicts,
        "advice": _advice(winner, verdicts.get(winner.trial, ()), everyone, problem) if winner is not None else [],
        "tried": hit_rates(note.body for note in book.notes(TRIED)),
        "unread": () if book.skim is None else book.skim.unread,
        "findings": findings(
            book.sample(max(most, _MOST_RIVALS)),
            problem.space,
            horizon=problem.horizon,
            verdicts=verdicts,
            validation_rows=facts.get("rows for validation") if is_classified else None,
        ),
        "environment": prints[-1].body if prints else fingerprint(),
        "notes": [{"time": n.at, **n.body} for n in book.notes(OPENED)],
        "history": timeline([note for kind in HISTORY for note in book.notes(kind)]),
        "facts": facts,
    }
    return Story(winner=winner, **{**known, **more})
