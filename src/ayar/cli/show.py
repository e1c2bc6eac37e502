"""Commands that show what a ledger knows: ``best``, ``curves``, ``diagnose``, ``params``, ``report``, ``export`` ..."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from ayar.cli import words
from ayar.cli.formats import FORMATS, TABLES
from ayar.cli.output import coloured, say, say_json, write
from ayar.cli.sources import Opened, remember, reopen
from ayar.curves.advice import advise, is_unread
from ayar.curves.tested import Outcome
from ayar.errors import LedgerError, NotInLedger, ObjectiveError
from ayar.nets.registry import registry
from ayar.records import Trial
from ayar.reports import terminal
from ayar.reports.page import render
from ayar.reports.tables import Story, telling, trial_rows, winner_row
from ayar.search.base import SEARCH_DATA
from ayar.study import Study

_READ_FOR_BEST = 24  # curves: enough to show three telling ones, few enough to answer at once


def best(args: argparse.Namespace) -> None:
    """Show the winner, or the search's best where nothing is confirmed yet, with where each score comes from.

    Example: ayar best digits.db --json
    Example: ayar best digits.db --trials 20
    """
    count = max(args.trials or 0, 0)
    opened = reopen(args.store, args.study, skim=None if count else _READ_FOR_BEST // 2)
    story = full_story(opened) if count else full_story(opened, most=_READ_FOR_BEST)
    if story.winner is None:
        opened.study.recommend()  # says what is missing
    searched = replace(story, trials=tuple(t for t in story.trials if t.purpose in SEARCH_DATA))
    if args.json:
        found = winner_row(story)
        if count:
            rows = {row["trial"]: row for row in trial_rows(searched)}
            found = {**(found or {}), "trials": [rows[trial.id] for trial in searched.best_first[:count]]}
        say_json(found)
        return
    say(terminal.winner_summary(story, colour=coloured()))
    if count:
        say(f"\n{terminal.trials_table(searched, most=count, colour=coloured())}")


def curves(args: argparse.Namespace) -> None:
    """Draw cost curves in the terminal: of the trials named, or of the most telling ones.

    Example: ayar curves digits.db 3 17
    """
    opened = reopen(args.store, args.study)
    study, story = opened.study, full_story(opened)
    chosen = [_trial(study, number).id for number in args.trials] or telling(story)
    if args.json:
        say_json(
            {n: [{"step": m.step, "cost_s": m.cost_s, **m.metrics} for m in _trial(study, n).curve] for n in chosen}
        )
    else:
        say(words.drawn(story, chosen))


def diagnose(args: argparse.Namespace) -> None:
    """Say what each curve shows, on what evidence, and which move to try; without trials also what all show together.

    With --try the first move becomes a trial, with the same seed, and whether it helped is counted for its rule.

    Example: ayar diagnose digits.db 17
    Example: ayar diagnose digits.db 17 --try
    """
    opened = reopen(args.store, args.study)
    outcomes = _followed(opened, args.trials) if args.attempt else []
    study, story = opened.study, full_story(opened)
    chosen = [_trial(study, number) for number in args.trials or telling(story)]
    found = {}
    for trial in chosen:
        verdicts = story.verdicts.get(trial.id, ())
        is_mute = is_unread(verdicts, trial.curve)
        found[trial.id] = (verdicts, [] if is_mute else advise(verdicts, trial.config, study.space))
    together = [] if args.trials else story.findings
    if args.json:
        each = {number: {"verdicts": verdicts, "advice": advice} for number, (verdicts, advice) in found.items()}
        say_json({"trials": each, "findings": together, "tried": [outcome.to_dict() for outcome in outcomes]})
    else:
        parts = [words.diagnosis(story, number, advice) for number, (_, advice) in found.items()]
        parts += [words.outcome(story, each) for each in outcomes] + ([words.together(together)] if together else [])
        say("\n\n".join(parts))


def _followed(opened: Opened, numbers: Sequence[int]) -> list[Outcome]:
    """What came of the advice on these trials."""
    if not numbers:
        raise ObjectiveError("Say whose advice is to be tried: ayar diagnose STORE TRIAL --try")
    if not opened.source.word:
        raise ObjectiveError(
            f"{opened.study.where} doesn't say what its study trains. In Python: study.follow(train, {numbers[0]})"
        )
    objective = remember(opened.study, opened.source).source.objective
    return [opened.study.follow(objective, _trial(opened.study, number).id) for number in numbers]


def params(args: argparse.Namespace) -> None:
    """List every W[l] and b[l] of a trial's net: shape, count, bytes, initialisation, and what decided them.

    Example: ayar params digits.db 17
    """
    opened = reopen(args.store, args.study)
    winner = opened.study.winner()
    if args.trial is None and winner is None:
        opened.study.recommend()
    trial = _trial(opened.study, args.trial if args.trial is not None or winner is None else winner.trial)
    rows = parameter_rows(opened, trial.config)
    if not rows:
        raise NotInLedger(
            f"{args.store} tunes a training of yours, so only you know its parameters; "
            "this works for Ayar's own nets (ayar tune digits, FILE.csv, FILE.npz)."
        )
    if args.json:
        say_json({"trial": trial.id, "config": trial.config, "parameters": rows})
    else:
        say(words.parameters_table(rows, trial.id))


def parameter_rows(opened: Opened, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The registry of a configuration's parameters; empty for a training of the user's own."""
    if "inputs" not in opened.facts:
        return []
    infos = registry(config, opened.facts["inputs"], opened.facts["outputs"])
    return [
        {
            "name": info.name,
            "shape": list(info.shape),
            "count": info.count,
            "bytes": info.bytes,
            "initialisation": info.initialisation,
            "decided_by": list(info.decided_by),
        }
        for info in infos
    ]


def full_story(opened: Opened, **more: Any) -> Story:
    """A study's story with its data and the winner's parameters."""
    winner = opened.study.winner()
    rows = [] if winner is None else parameter_rows(opened, winner.config)
    # An error of classification is a share and reads best in percent; one of regression has the target's unit.
    percent = False if opened.facts.get("kind") == "regression" else None
    return opened.study.story(facts=opened.facts, parameters=rows, percent=percent, winner=winner, **more)


def report(args: argparse.Namespace) -> None:
    """Write one self-contained HTML page about the study; it opens without a network.

    Example: ayar report digits.db digits.html
    """
    path = args.path or str(Path(args.store).with_suffix(".html"))
    write_page(full_story(reopen(args.store, args.study), report=path), path)
    if args.json:
        say_json({"report": path})
    else:
        say(f"The report is {path}")


def write_page(story: Story, path: str) -> None:
    """Write a story as an HTML page."""
    write(path, render(story).encode(), "The report")


def serve(args: argparse.Namespace) -> None:
    """Show the report as a live page on this machine, with a REST interface to read the study.

    Example: ayar serve digits.db --port 8080
    """
    from ayar.web.app import check_port
    from ayar.web.app import serve as run_server

    reopen(args.store, args.study).study.close()
    check_port(args.port)

    def read() -> Story:
        opened = reopen(args.store, args.study)
        try:
            return full_story(opened)
        finally:
            opened.study.close()

    if args.json:
        say_json({"url": f"http://127.0.0.1:{args.port}/"})
    else:
        say(f"The study is at http://127.0.0.1:{args.port}/ until Ctrl-C.")
    run_server(read, port=args.port)


def export(args: argparse.Namespace) -> None:
    """Write trials, measurements, the best configuration, or the whole study.

    Trials and measurements go into a .csv, .json, .jsonl or .parquet file, the best configuration into .json or .toml.

    Example: ayar export digits.db trials.csv
    Example: ayar export digits.db curves.parquet --what measurements
    Example: ayar export digits.db digits.jsonl --what study
    Example: ayar export digits.db best.json --what best
    """
    study = reopen(args.store, args.study).study
    ending = ".json" if args.json else Path(args.path or "trials.csv").suffix
    rows: Any
    if args.what == "best":
        winner = study.winner()
        rows = study.recommend().config if winner is None else winner.config
        if args.path is not None and ending not in (".json", ".toml"):
            raise LedgerError(f"{args.path}: a configuration goes into a .json or .toml file.")
        ending = ".toml" if ending == ".toml" and not args.json else ".json"
    elif args.what == "study":
        rows, ending = study_rows(study), ".jsonl"
    else:
        rows = _ROWS[args.what](study)
        if ending not in TABLES:
            best = " A .toml takes the best configuration: --what best." if ending == ".toml" else ""
            raise LedgerError(f"{args.path}: no format ends with {ending!r}. Use one of: {', '.join(TABLES)}.{best}")
    content = FORMATS[ending](rows)
    if args.path is None:
        say(content.decode())
    else:
        write(args.path, content, "The export")
        say(f"wrote {args.path}")


def measurement_rows(study: Study) -> list[dict[str, Any]]:
    """One row for each measurement."""
    return [
        {"trial": t.id, "seed": t.seed, "purpose": str(t.purpose), "step": m.step, "cost_s": m.cost_s, **m.metrics}
        for t in study.trials()
        for m in t.curve
    ]


def study_rows(study: Study) -> list[dict[str, Any]]:
    """A study as rows that ``import`` reads back: its specification first, then one row for each trial."""
    return [
        {"study": study.name, "spec": study.spec},
        *(
            {
                "config": t.config,
                "seed": t.seed,
                "purpose": str(t.purpose),
                "error": t.error,
                "ended": t.ended,
                # JSON has no NaN: what isn't finite is written as text, which float() reads back.
                "measurements": [
                    {"step": m.step, "cost_s": m.cost_s, **{k: _in_json(v) for k, v in m.metrics.items()}}
                    for m in t.curve
                ],
            }
            for t in study.trials()
        ),
    ]


def _in_json(value: float) -> float | str:
    return value if isfinite(value) else str(value)


_ROWS: dict[str, Callable[[Study], list[dict[str, Any]]]] = {
    "trials": lambda study: trial_rows(study.story()),
    "measurements": measurement_rows,
}


def _trial(study: Study, number: int) -> Trial:
    for trial in study.trials():
        if trial.id == number:
            return trial
    raise NotInLedger(f"Study {study.name!r} has no trial {number}; it has {len(study.trials())}, counted from 0.")
