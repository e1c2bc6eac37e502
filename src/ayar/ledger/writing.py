"""What is appended about a study's trials, within a transaction that writes."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import Connection, CursorResult, bindparam, exists, insert, select

from ayar.errors import ClaimLost, MoveError
from ayar.ledger import reading, rows
from ayar.ledger.pages import Claim
from ayar.ledger.schema import endings, measurements, moves, now, trials
from ayar.records import Configuration, Move
from ayar.seeds import Purpose
from ayar.summary import Summary

# Statements are made once: SQLAlchemy finds each one's compiled form again by its identity.
_ADD_TRIAL = insert(trials)
_ADD_MOVE = insert(moves)
_ADD_ENDING = insert(endings)

_THIS_TRIAL: dict[str, Any] = {"study": bindparam("study"), "trial": bindparam("trial")}
_LATEST_MOVE = (
    select(moves.c.id, moves.c.session, exists().where(endings.c.move == moves.c.id).label("is_over"))
    .filter_by(**_THIS_TRIAL)
    .order_by(moves.c.id.desc())
    .limit(1)
)
_LATEST_ENDING = select(endings).filter_by(**_THIS_TRIAL).order_by(endings.c.id.desc()).limit(1)
_LATER_LOSSES = (
    select(measurements.c.step, measurements.c.loss, measurements.c.cost_s)
    .filter_by(**_THIS_TRIAL)
    .where(measurements.c.step > bindparam("after"))
    .order_by(measurements.c.step)
)


def add_trial(
    connection: Connection,
    study: int,
    config: Configuration,
    seed: int,
    purpose: Purpose,
    parent: int | None,
    fork_step: int,
) -> int:
    """Append a trial and give its number."""
    last = reading.last_number(connection, study)
    number = 0 if last is None else last + 1
    row = {
        "study": study,
        "trial": number,
        "config": rows.as_json(config, "the configuration"),
        "seed": seed,
        "purpose": purpose.value,
        "created_at": now(),
        "parent": parent,
        "fork_step": fork_step or None,
    }
    connection.execute(_ADD_TRIAL, row)
    return number


def add_move(connection: Connection, study: int, move: Move, session: str) -> int:
    """Append a move that a session asks, and give its id."""
    row = {
        "study": study,
        "trial": move.trial,
        "start_step": move.start_step,
        "stop_step": move.stop_step,
        "asked_at": now(),
        "session": session,
    }
    return new_id(connection.execute(_ADD_MOVE, row))


def end_move(
    connection: Connection,
    study: int,
    trial: int,
    claim: Claim | None,
    *,
    ended: bool,
    error: str | None,
    waste_s: float,
) -> None:
    """Append that a trial's latest move is over; see ``Ledger.end_move``."""
    key = {"study": study, "trial": trial}
    latest = connection.execute(_LATEST_MOVE, key).first()
    if claim is not None and (latest is None or (latest.id, latest.session) != (claim.move, claim.session)):
        raise ClaimLost(trial)
    if latest is None or latest.is_over:
        raise MoveError(f"Trial {trial} has no outstanding move to end: it was told twice, or never asked.")
    curve = summary(connection, study, trial)
    row = {
        **key,
        "move": latest.id,
        "stop_step": curve.last_step,
        "ended": ended,
        "error": None if error is None else rows.as_text(error),
        "waste_s": waste_s,
        "at": now(),
        "points": curve.points,
        "cost_s": curve.cost_s,
        "least_loss": curve.least_loss if math.isfinite(curve.least_loss) else None,
        "diverged": curve.diverged,
        "readings": curve.readings,
        "last_loss": None if math.isnan(curve.last_loss) else curve.last_loss,
    }
    connection.execute(_ADD_ENDING, row)


def summary(connection: Connection, study: int, trial: int) -> Summary:
    """The trial's curve in a few numbers: what its latest ending says, and what was measured since."""
    key = {"study": study, "trial": trial}
    last = connection.execute(_LATEST_ENDING, key).first()
    known, after = Summary(), -1
    if last is not None and last.points:
        known, after = rows.summary(last), last.stop_step
    return known.extended(connection.execute(_LATER_LOSSES, {**key, "after": after}).all())


def new_id(inserted: CursorResult[Any]) -> int:
    """The id that the database gave to the one row inserted."""
    key = inserted.inserted_primary_key
    assert key is not None  # every insert of one row has one
    return int(key[0])
