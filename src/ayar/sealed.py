"""The sealed test set: opened for a winner, on the record, and never again without a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ayar.errors import BudgetError, NotInLedger
from ayar.logbook import Logbook
from ayar.records import Metric, Score, ScoreKind, Winner, config_key
from ayar.run.folders import latest_folder
from ayar.stats import score_interval
from ayar.winner import Standing, finalised, score

OPENED = "test opened"
"""The kind of the notes that openings are."""


def open_test(
    book: Logbook,
    winner: Winner | None,
    places: Sequence[Standing],
    folder: Path,
    read: Callable[[Path], float],
    *,
    purpose: str,
    reason: str | None = None,
) -> Score:
    """Open the test set for the winner, one of ``places``, whose nets lie in ``folder``; see ``Study.open_test``."""
    if winner is None or ScoreKind.FRESH_SEED not in winner.scores:
        raise NotInLedger("The study has no winner on fresh seeds yet. Tune with confirm > 0 first.")
    if ScoreKind.TEST in winner.scores and reason is None:
        return winner.scores[ScoreKind.TEST]
    count = len(book.notes(OPENED)) + 1
    if count > 1 and reason is None:
        raise BudgetError(
            f"The test set was opened {count - 1} time(s) before. Each look makes its score more optimistic: "
            "give a reason= (--reason) to look again; it will be shown in every report."
        )
    place = next((p for p in places if config_key(winner.config) == p.key), None)
    if place is None:
        raise NotInLedger("The winner was taken over from a recheck, whose nets were not kept. Tune on first.")
    whole = [t for t in finalised(book.trials, place) if t.error is None and not t.diverged]
    values = [read(latest_folder(t.id, folder)) for t in whole]
    body = {"purpose": purpose, "count": count, "reason": reason, "config": winner.config, "values": values}
    book.note(OPENED, body)
    return test_score(body, book.metric)


def test_score(opening: Mapping[str, Any], metric: Metric) -> Score:
    """The test score of an opening; its interval is the wider, the more often the test set was looked at."""
    interval = partial(score_interval, level=1 - 0.05 / opening["count"])
    return score(ScoreKind.TEST, [metric.loss(v) for v in opening["values"]], metric, interval)
