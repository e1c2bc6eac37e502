"""``ayar ledger``: looking after the record itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from ayar.cli.output import say, say_json
from ayar.errors import LedgerError
from ayar.ledger.store import Ledger
from ayar.ledger.upkeep import check, compact, copy
from ayar.reports.words import size


def ledger(args: argparse.Namespace) -> int:
    """Check that a ledger is whole, compact it, or copy it.

    check reads everything: the database's own pages and keys, every JSON text, and whether each summary of a curve
    agrees with its measurements. It exits with 1 where something is wrong.

    compact gives back room that isn't needed; nothing of any study is removed.

    copy writes all that it holds at this moment into a new file, also from a server, and while others write.

    Example: ayar ledger check digits.db
    """
    with Ledger.open(args.store, create=False) as opened:
        if args.action == "compact":
            done = compact(opened)
            if args.json:
                say_json({"bytes_before": done.before, "bytes_after": done.after})
            else:
                say(f"{opened.where}: {size(done.before)} before, {size(done.after)} now.")
            return 0
        if args.action == "copy":
            if args.path is None:
                raise LedgerError(f"Say where to: ayar ledger copy {opened.where} FILE.db")
            copy(opened, Path(args.path))
            if args.json:
                say_json({"path": args.path})
            else:
                say(f"{opened.where} is copied to {args.path}.")
            return 0
        faults, held = check(opened), opened.studies()
    if args.json:
        say_json({"faults": faults, "studies": len(held)})
    elif faults:
        say("\n".join([f"{opened.where} is damaged:", *(f"- {fault}" for fault in faults)]))
        say("Go back to a copy, or save what can be read: ayar export STORE FILE.csv")
    else:
        say(f"{opened.where} is whole: {len(held)} {'study' if len(held) == 1 else 'studies'}.")
    return 1 if faults else 0
