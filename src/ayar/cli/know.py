"""Commands about what was learned: ``explain``, ``import``."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from ayar.cli import words
from ayar.cli.output import say, say_json
from ayar.cli.sources import reopen
from ayar.errors import LedgerError, NotEnoughEvidence
from ayar.intuition.importance import importance
from ayar.intuition.response import good_range
from ayar.seeds import Purpose
from ayar.space import Space
from ayar.study import Study


def explain(args: argparse.Namespace) -> None:
    """Say which hyperparameters mattered, how sure that is, and in which ranges the good trials lie.

    Example: ayar explain digits.db
    """
    study = reopen(args.store, args.study).study
    trials = [t for t in study.trials() if t.purpose is Purpose.SEARCH]
    found = importance(trials, study.space, rng=np.random.default_rng(study.seed))
    ranges = {}
    for each in found:
        with suppress(NotEnoughEvidence):  # too few good trials had a value for it: nothing is said of its range
            ranges[each.name] = good_range(trials, study.space, each.name)
    if args.json:
        say_json({"importance": found, "ranges": ranges})
    else:
        say(words.importance_table(found, ranges, len(trials)))


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
        minimize=None if spec["maximize"] else spec["metric"],
        maximize=spec["metric"] if spec["maximize"] else None,
        horizon=spec["horizon"],
        searcher=spec["searcher"],
        seed=spec["seed"],
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
