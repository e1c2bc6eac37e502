"""Commands that train: ``tune`` and ``try``."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from ayar.asking import all_failed
from ayar.cli import words
from ayar.cli.options import workers
from ayar.cli.output import coloured, say, say_json
from ayar.cli.show import full_story, write_page
from ayar.cli.sources import Opened, Source, remember, reopen
from ayar.curves.advice import Attempt, try_next
from ayar.errors import ObjectiveError, SpaceError
from ayar.ledger.store import Ledger
from ayar.records import Score, ScoreKind, Trial
from ayar.reports import terminal
from ayar.reports.tables import winner_row
from ayar.run.command import Command
from ayar.run.folders import latest_folder
from ayar.run.local import started_ahead
from ayar.seeds import Purpose
from ayar.specification import SOURCE
from ayar.study import Study

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PYTHON = {"True": True, "False": False, "None": None}
_OF_NEW_STUDIES = ("space", "minimize", "maximize", "constraint", "horizon", "searcher", "learn_from", "change_space")
"""Options that say what a study is; where its ledger is all that is named, nobody would look at them."""


def tune(args: argparse.Namespace) -> None:
    r"""Tune a net on data, or a training of yours; run it again and it goes on where it stopped.

    While it runs, a bar shows the time left, the trials by state and the best so far. At the end: the winner with
    its score on fresh seeds, the test score, the most telling curves, and what to do next.

    Example: ayar tune digits --minutes 1 --report digits.html
    Example: ayar tune sales.csv --target bought --trials 200
    Example: ayar tune train.py:train --minimize valid_error --minutes 30
    Example: ayar tune train.py:train --minimize valid_error --minimize seconds
    Example: ayar tune train.py:train --minimize error --constraint "ms <= 5"
    Example: ayar tune train.py:train --space wider.toml --change-space
    Example: ayar tune sales.csv --target bought --learn-from last_year.db
    Example: ayar tune --space space.toml --minimize valid_error -- \
                 python train.py --lr {learning_rate} --seed {seed}
    """
    with started_ahead(workers(args), _imports(args), in_lanes=args.lanes not in ("off", 0)) as crew:
        opened = _open_for_tuning(args)
        study = opened.study
        none_given = args.minutes is args.trials is args.steps is None
        study.tune(
            opened.source.objective,
            minutes=5.0 if none_given else args.minutes,
            trials=args.trials,
            steps=args.steps,
            workers=crew,
            confirm=args.confirm,
            progress=not args.json,
            lanes=args.lanes,
            doctor=args.doctor,
        )
    if said := all_failed(study.trials()):
        raise ObjectiveError(said)
    winner, before = study.winner(), study.notes("test opened")
    if winner is not None and not opened.source.is_own and ScoreKind.FRESH_SEED in winner.scores and not before:
        open_test(opened, purpose="the score of the tuned winner")
    show_result(opened, report=args.report, as_json=args.json)


def _imports(args: argparse.Namespace) -> tuple[str, ...]:
    """What workers are sure to need, as far as it is known before the source is opened."""
    return () if args.source is None or _is_ledger(args) or Source(args.source).is_own else ("ayar.nets.deep_net",)


def _is_ledger(args: argparse.Namespace) -> bool:
    """Whether the source given is the ledger of a study that goes on."""
    is_store = "://" in args.source or Path(args.source).suffix in {".db", ".sqlite"}
    return args.store is None and is_store


def _open_for_tuning(args: argparse.Namespace) -> Opened:
    """The study to tune: a known one by its ledger alone, or one on a source."""
    source, store = args.source, args.store
    if args.words is not None:
        if source is not None:
            raise ObjectiveError(f"Give {source} or the command after --, not both. A ledger goes into --store.")
        own = Source("", command=Command.of(args.words).words, seed=args.seed, precision=args.precision)
        return _open_new(own, args)
    if source is not None and _is_ledger(args):
        source, store = None, source
    if source is None:
        if store is None:
            raise ObjectiveError(
                "Say what to tune: a task (digits), a .csv or .npz, FILE.py:FUNCTION, -- COMMAND, or a ledger."
            )
        unheard = " and ".join(f"--{name.replace('_', '-')}" for name in _OF_NEW_STUDIES if getattr(args, name))
        if unheard:
            note = (
                f"note: {store} by itself goes on with its study as it is, without {unheard}. To have that heard, name "
                f"what it trains, too: ayar tune SOURCE --store {store} ..."
            )
            print(textwrap.fill(note, 79), file=sys.stderr)
        opened = reopen(store, args.study)
        if not opened.source.known:
            raise ObjectiveError(
                f"{store} doesn't say what its study trains. Give the source: ayar tune SOURCE --store {store}"
            )
        return remember(opened.study, opened.source)
    given = {"validate": args.validate, "group": args.group, "time": args.time, "precision": args.precision}
    return _open_new(Source(source, args.target, args.seed, **given), args)


def _open_new(given: Source, args: argparse.Namespace) -> Opened:
    """The study on a source; where its ledger holds it already, it goes on."""
    if args.maximize is None and args.minimize is None and given.is_own:
        raise SpaceError(f"Say which metric of {given} counts: --minimize METRIC or --maximize METRIC.")
    store = args.store or f"{given.stem}.db"
    try:
        space = given.space(args.space)
    except SpaceError:
        if args.space is not None or not Path(store).is_file():
            raise
        space = None  # that of the study, one of another tool say
    for other in args.learn_from or ():
        Ledger.open(other, create=False).close()  # before anything is written
    if args.change_space and space is not None and Path(store).exists():
        with Study(store, name=args.study) as known:
            known.change_space(space, dict(_value(text) for text in args.was or ()))
    study = Study(
        store,
        space=space,
        minimize=_one_or_several(args.minimize or (None if args.maximize else ["valid_error"])),
        maximize=_one_or_several(args.maximize),
        horizon=args.horizon,
        searcher=args.searcher,
        seed=args.seed,
        name=args.study,
        constraints=args.constraint,
    )
    learned = {str(note.body["name"]).rpartition(":")[0] for note in study.notes(SOURCE)}
    for other in args.learn_from or ():
        if other not in learned:  # the same command goes on where it stopped
            study.learn_from(other)
    return remember(study, given)


def _one_or_several(metrics: list[str] | None) -> str | list[str] | None:
    return metrics[0] if metrics is not None and len(metrics) == 1 else metrics


def attempt(args: argparse.Namespace) -> None:
    """Train one configuration by hand, on the record; the default fills the hyperparameters you don't give.

    Prints its cost curve, its verdict beside those of earlier attempts, and which value to try next.

    Example: ayar try digits.db learning_rate=0.01
    Example: ayar try new.db --task digits learning_rate=0.05 hidden_layers=3
    """
    if args.task is not None:
        source = Source(args.task, args.target)
        opened = remember(Study(args.store, space=source.space(None), minimize="valid_error", name=args.study), source)
    else:
        opened = reopen(args.store, args.study)
        if not opened.source.known:
            raise ObjectiveError(f"{args.store} doesn't say what its study trains. Give it: --task digits")
        opened = remember(opened.study, opened.source)
    study = opened.study
    values = dict(_value(text) for text in args.values)
    trial = study.attempt(opened.source.objective, **values)
    made = [t for t in study.trials() if t.purpose is Purpose.ATTEMPT]
    verdicts = {t.id: study.diagnose(t.id).get(t.id, ()) for t in made}
    name = _in_question(study, made, values)
    tried = [Attempt(t.config[name], v[0].name, t.loss) for t in made if name in t.config and (v := verdicts[t.id])]
    advice = try_next(name, tried, study.space) if name is not None and tried else None
    if args.json:
        say_json(
            {
                "trial": trial.id,
                "config": trial.config,
                "state": trial.state,
                "loss": trial.loss,
                "verdicts": verdicts[trial.id],
                "advice": advice,
            }
        )
        return
    say(words.attempts(study.story(), trial.id, [t.id for t in made], name, advice))


def _value(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SpaceError(f"{text!r} is no NAME=VALUE. For example: learning_rate=0.01")
    if value in _PYTHON:
        return name, _PYTHON[value]
    if _NUMBER.fullmatch(value):  # also .1, 1. and +1, which JSON refuses
        return name, float(value) if set(value) & set(".eE") else int(value)
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _in_question(study: Study, made: list[Trial], values: dict[str, Any]) -> str | None:
    """The hyperparameter that a series of attempts is about: the one given, or else the one that varied."""
    if len(values) == 1:
        return next(iter(values))
    varied = [n for n in study.space.names if len({json.dumps(t.config.get(n)) for t in made}) > 1]
    return varied[0] if len(varied) == 1 else None


def look(args: argparse.Namespace) -> None:
    """Open the sealed test set for the winner, on the record.

    A tuning opens it once, for its winner. To look again, for another winner say, takes a reason, which stands in
    every report, and makes the interval of the score wider.

    Example: ayar test digits.db --reason "tuned on after the first winner"
    """
    opened = reopen(args.store, args.study)
    if not opened.source.known or opened.source.is_own:
        raise ObjectiveError(
            f"{args.store} tunes a training of yours, so Ayar has no test set of it. "
            "In Python: study.open_test(read, purpose=...)."
        )
    opened = remember(opened.study, opened.source)
    score = open_test(opened, purpose=args.purpose, reason=args.reason)
    if args.json:
        say_json({"score": score, "test_openings": opened.study.story().notes})
    else:
        say(words.test_record(full_story(opened), score))


def open_test(opened: Opened, *, purpose: str, reason: str | None = None) -> Score:
    """Open the sealed test set for the winner; a net whose file is gone is trained again first."""
    study, recipe, sealed = opened.study, opened.source.objective, opened.source.task.sealed
    by_folder = {latest_folder(t.id, study.folder): t for t in study.trials()}

    def read(folder: Path) -> float:
        trial = by_folder[folder]
        if not (folder / "checkpoint.safetensors").exists():
            training = recipe.train(trial.config, trial.seed, folder)
            for measurement in training:
                if measurement["step"] >= trial.curve.last_step:
                    break
            training.close()
        return float(sealed.score(lambda X: recipe.predict(folder, X))["test_error"])

    return study.open_test(read, purpose=purpose, reason=reason)


def show_result(opened: Opened, *, report: str | None, as_json: bool) -> None:
    """What a tuning ends with."""
    story = full_story(opened, report=report)
    if report is not None:
        write_page(story, report)
    if as_json:
        facts = {"study": story.name, "store": story.store, "trials": len(story.trials), "report": report}
        say_json({**facts, "winner": winner_row(story)})
        return
    warnings = [*opened.facts.get("warnings", ())]
    if opened.source.command and opened.study.horizon == 1:
        warnings.append(
            "The horizon is 1 step, so the last line of each training counted. Where the command prints one line for "
            "each epoch, give the number of epochs, as iterations in the space or as --horizon: then curves are read, "
            "and poor trials cost little."
        )
    for warning in warnings:
        say(words.folded(f"note: {warning}"))
    say(terminal.winner_summary(story, colour=coloured()))
