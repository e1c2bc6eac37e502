"""Commands about what was learned: ``explain``, ``recheck``, ``import``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ayar.cli.output import say, say_json
from ayar.cli.sources import reopen
from ayar.errors import LedgerError, NotEnoughEvidence
from ayar.seeds import Purpose
from ayar.space import Space
from ayar.study import Study


def import_(args: argparse.Namespace) -> None:
    """Read a study that ``export --what study`` wrote into a ledger.

    Example: ayar import digits.jsonl copy.db
    """
    path = Path(args.path)
    try:
        head, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        spec, name = head["spec"], args.study or head["study"]
    except OSError as error:
        raise LedgerError(f"{path} can't be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{path} holds no study ({error}). Write one with: ayar export STORE FILE.jsonl --what study"
        ) from error
    study = Study(
        args.store,
        space=Space.from_dict(spec["space"]),
        **{"maximize" if spec["maximize"] else "minimize": spec["metric"]},
        **{key: spec[key] for key in ("horizon", "searcher", "seed")},
        name=name,
    )
    if study.trials():
        raise LedgerError(f"{args.store} holds a study {name!r} already. Give another name: --study NAME.")
    for row in rows:
        study.add(
            row["config"],
            row["measurements"],
            seed=row["seed"],
            purpose=Purpose(row["purpose"]),
            error=row["error"],
            ended=row["ended"],
        )
    if args.json:
        say_json({"study": name, "store": args.store, "trials": len(rows)})
    else:
        say(f"study {name!r} with {len(rows)} trials is in {args.store}")
