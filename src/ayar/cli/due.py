"""The command ``due``: which winners want a recheck."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime

from ayar.cli.output import say, say_json
from ayar.cli.sources import Opened, reopen
from ayar.errors import AyarError
from ayar.ledger.store import Ledger
from ayar.recheck.due import EVERY_DAYS, Action, Reason, reasons
from ayar.recheck.history import ALARM
from ayar.recheck.world import THROUGHPUT, probe, watched, world_of
from ayar.reports import words


def arguments(command: argparse.ArgumentParser) -> None:
    """What ``due`` takes."""
    command.add_argument("stores", nargs="+", metavar="STORE", help="ledgers")
    command.add_argument(
        "--every", type=float, default=EVERY_DAYS, metavar="DAYS", help=f"days that a winner is trusted ({EVERY_DAYS})"
    )
    command.add_argument("--probe", action="store_true", help="time a few steps of the winner's training, too")
    command.add_argument("--alarm", metavar="TEXT", help="note that a metric in production gave an alarm")


def due(args: argparse.Namespace) -> None:
    """List which winners are due for a recheck, and why: age, code, framework, GPU, data, throughput, alarm.

    Nothing is trained, but for the few steps of --probe. The training is imported and its data are read, to see
    whether they changed.

    Example: ayar due digits.db sales.db
    Example: ayar due shop.db --alarm "clicks fell by a tenth"
    """
    rows = [row for store in args.stores for row in _rows(store, args)]
    if args.json:
        say_json(rows)
        return
    lines = []
    for row in rows:
        lines += textwrap.wrap(f"{row.store} {row.study}: {row.action}", 79, subsequent_indent="  ")
        for reason in row.reasons:
            lines += textwrap.wrap(f"  {reason.trigger:<11}{reason.sentence}", 79, subsequent_indent=" " * 13)
    count = sum(bool(row.reasons) for row in rows)
    lines.append(
        f"{count} of {words.plural(len(rows), 'winner')} due" + (": ayar recheck STORE --if-due" * bool(count))
    )
    say("\n".join(lines))


@dataclass(frozen=True, slots=True)
class _Row:
    """One study's winner: what it wants, and why."""

    store: str
    study: str
    action: str
    reasons: list[Reason]


def _rows(store: str, args: argparse.Namespace) -> list[_Row]:
    with Ledger.open(store, create=False) as ledger:
        names = [row.name for row in ledger.studies()]
    rows = []
    for name in names:
        opened = reopen(store, name)
        if args.alarm is not None:
            opened.study.note(ALARM, {"text": args.alarm})
        if args.probe:
            _note_throughput(opened)
        found = found_reasons(opened, args.every, imported=opened.study.winner() is None)
        action = "no winner yet" if found is None else next((str(r.action) for r in found), "not due")
        rows.append(_Row(store, name, action, found or []))
        opened.study.close()
    return rows


def _note_throughput(opened: Opened) -> None:
    """Time a few steps of the winner, to be compared with the first such probe since the last check."""
    study, winner = opened.study, opened.study.winner()
    if winner is None or not opened.source.known:
        return
    step_s = probe(opened.source.objective, winner.config, study.metric, study.horizon)
    if step_s is not None:
        study.note(THROUGHPUT, {"step_s": step_s})


def found_reasons(opened: Opened, every_days: float, *, imported: bool) -> list[Reason] | None:
    """Why a study's winner is due, the weightiest first; None where it was never confirmed or checked."""
    try:
        world = world_of(opened.source.objective) if opened.source.known else None
    except AyarError as error:
        return [Reason("code", f"the training can't be loaded: {error}", Action.RECHECK)]
    known = watched(opened.study.notes(), world, imported=imported)
    return None if known is None else reasons(known, datetime.now(UTC), every_days)
