"""What a study has come to: which trials may win, and who won."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ayar.goals import eligible
from ayar.logbook import Logbook
from ayar.recheck.history import ADOPTED, FOUND, adopted
from ayar.records import ScoreKind, Trial, Winner
from ayar.sealed import OPENED, test_score
from ayar.search.base import Problem
from ayar.seeds import Purpose
from ayar.stats import fold_interval, score_interval
from ayar.winner import Interval, choose


def may_win(book: Logbook, problem: Problem, *, changed: bool) -> list[Trial]:
    """The trials that keep the constraints, inside the space as it is now where that has ``changed``."""
    trials = eligible(book.trials, problem.constraints)
    if not changed:
        return trials
    return [t for t in trials if t.purpose is not Purpose.SEARCH or problem.space.contains(t.config)]


def winner(book: Logbook, problem: Problem, *, changed: bool) -> Winner | None:
    """The configuration chosen so far; see ``Study.winner``."""
    taken = book.notes(ADOPTED)
    found = adopted([*book.notes(FOUND), *taken], book.trials, book.metric) if taken else None
    if found is None:
        found = choose(may_win(book, problem, changed=changed), book.metric, problem.space, _interval(book))
    openings = book.notes(OPENED)
    if found is None or not openings or openings[-1].body["config"] != found.config:
        return found
    return replace(found, scores={**found.scores, ScoreKind.TEST: test_score(openings[-1].body, book.metric)})


def _interval(book: Logbook) -> Interval:
    """The 95 % interval of a score: wider where its readings come from splits of the same rows."""
    share = next((note.body["share"] for note in reversed(book.notes("validation"))), 0.0)
    return partial(fold_interval, share=share) if share else score_interval
