"""Commands about what was learned: ``explain``, ``import``."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ayar.cli import words
from ayar.cli.output import say, say_json
from ayar.cli.sources import reopen
from ayar.errors import LedgerError, NotEnoughEvidence
from ayar.integrations.history import record, with_metric
from ayar.integrations.readers import kind_of, read
from ayar.intuition.importance import importance
from ayar.intuition.response import good_range
from ayar.lineage import begun_anew
from ayar.seeds import Purpose
from ayar.space import Space
from ayar.study import Study


def explain(args: argparse.Namespace) -> None:
    """Say which hyperparameters mattered, how sure that is, and in which ranges the good trials lie.

    Example: ayar explain digits.db
    """
    study = reopen(args.store, args.study).study
    trials = begun_anew(t for t in study.trials() if t.purpose is Purpose.SEARCH)
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
    """Read a study into a ledger: one that ``export --what study`` wrote, or one of another tool.

    Optuna (SQLite or journal file), Ray Tune (result folder), MLflow (SQLite file or folder) and W&B (CSV or JSON
    export) are told apart by what the path holds. The space is what the tool recorded, or the ranges that were used.

    Example: ayar import digits.jsonl copy.db
    Example: ayar import optuna.db study.db
    Example: ayar import ~/ray_results/tune study.db --minimize valid_error
    """
    path = Path(args.path).expanduser()
    kind = args.from_ or kind_of(path)
    if kind == "ayar":
        study, trials = _own(path, args)
    else:
        study, trials = _foreign(kind, path, args)
    if args.json:
        say_json({"study": study.name, "store": args.store, "trials": trials})
    else:
        say(f"study {study.name!r} with {trials} trials is in {args.store}")


def _own(path: Path, args: argparse.Namespace) -> tuple[Study, int]:
    try:
        head, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        spec, name = head["spec"], args.study or head["study"]
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{path} holds no study ({error}). Write one with: ayar export STORE FILE.jsonl --what study"
        ) from error
    goals = spec.get("objectives") or [[spec["metric"], spec["maximize"]]]
    study = _empty(
        args.store,
        space=Space.from_dict(spec["space"]),
        minimize=[metric for metric, upward in goals if not upward],
        maximize=[metric for metric, upward in goals if upward],
        horizon=spec["horizon"],
        searcher=spec["searcher"],
        seed=spec["seed"],
        name=name,
        constraints=spec.get("constraints"),
    )
    for row in rows:
        study.add(
            row["config"],
            row["measurements"],
            seed=row["seed"],
            purpose=Purpose(row["purpose"]),
            error=row["error"],
            ended=row["ended"],
        )
    return study, len(rows)


def _foreign(kind: str, path: Path, args: argparse.Namespace) -> tuple[Study, int]:
    space = Space.from_toml(Path(args.space)) if args.space else None
    history = read(path, kind, name=args.study, names=() if space is None else space.names)
    metric = args.minimize or args.maximize or history.metric
    unnamed = kind == "optuna" and history.metrics == ["value"]
    if metric is not None and unnamed and history.maximize is (args.maximize is not None):
        history = with_metric(history, metric)
    if metric not in history.metrics or (args.minimize is args.maximize is history.maximize is None):
        told = ", ".join(history.metrics) or "nothing"
        raise LedgerError(f"{path} measures {told}. Say which metric counts: --minimize METRIC or --maximize METRIC.")
    upward = bool(history.maximize) if args.minimize is args.maximize is None else args.maximize is not None
    study = _empty(
        args.store,
        space=history.space() if space is None else space,
        minimize=None if upward else metric,
        maximize=metric if upward else None,
        horizon=max((int(row["step"]) for past in history.trials for row in past.measurements), default=1),
        name=args.study or history.name,
    )
    record(history, study)
    study.note("imported", {"from": kind, "study": history.name})
    return study, len(history.trials)


def _empty(store: str, **given: Any) -> Study:
    study = Study(store, **given)
    if study.trials():
        raise LedgerError(f"{store} holds a study {study.name!r} already. Give another name: --study NAME.")
    return study
