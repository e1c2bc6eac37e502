"""From words on the command line to something that can be trained: a task, a data file, or a training of yours."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import ayar
from ayar.errors import DataError, ObjectiveError, SpaceError, did_you_mean
from ayar.nets.unmade import UnmadeDeepNet
from ayar.space import Space
from ayar.study import Study

NOTE = "objective"
"""Kind of the note that says what a study trains, so that later commands need only its ledger."""


@dataclass(frozen=True)
class Source:
    """What a study trains.

    Attributes:
        word: As given: ``digits``, ``table.csv``, ``arrays.npz``, ``train.py:train``.
        target: Column to predict, for a ``.csv``.
        seed: Decides the split of data that come without one.
        command: A command with its arguments, in place of the word.
        validate: How winners are confirmed on data: ``kfold``, ``repeated``, ``holdout`` or ``auto``.
        group: Column whose equal values stay on one side of every split, for a ``.csv``.
        time: Column that orders the rows in time, for a ``.csv``.
        precision: Of products of matrices, where it is not full; see ``ayar.Recipe``.

    Raises:
        ObjectiveError: A training of yours is to have a precision.
    """

    word: str
    target: str | None = None
    seed: int = 0
    command: tuple[str, ...] = ()
    validate: str = "auto"
    group: str | None = None
    time: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.word.endswith(".py"):
            raise ObjectiveError(
                f"{self.word} is a Python file. Name the function in it that trains, say {self.word}:train. To run the "
                f"file as a program, give it after --: -- python {self.word}"
            )
        columns = {"target": self.target, "group": self.group, "time": self.time}
        given = next((name for name, column in columns.items() if column is not None), None)
        if given and self.word and Path(self.word).suffix.lower() != ".csv" and not self.is_own:
            raise DataError(
                f"--{given} {columns[given]} names a column of a .csv, and {self.word} is none: leave it out."
            )
        if self.precision is not None and self.is_own:
            raise ObjectiveError(
                f"--precision {self.precision} is for nets that Ayar builds, and {self} trains by itself. "
                "Set it there, say with torch.set_float32_matmul_precision."
            )

    def __str__(self) -> str:
        return self.word or shlex.join(self.command)

    @property
    def known(self) -> bool:
        """Whether it says anything."""
        return bool(self.word or self.command)

    @property
    def is_own(self) -> bool:
        """Whether it is a training of yours, not data."""
        return ".py:" in self.word or bool(self.command)

    @property
    def stem(self) -> str:
        """A short name for files that belong to it: ``"digits"`` of ``data/digits.npz``; a command's script."""
        if self.word:
            return Path(self.word.split(":")[0]).stem
        scripts = (word for word in self.command[1:] if Path(word).is_file())
        return Path(next(scripts, self.command[0])).stem

    @cached_property
    def task(self) -> Any:
        """The data as an ``ayar.nets.tasks.Task``; the test part of it stays sealed."""
        return ayar.load_task(
            self.word, target=self.target, seed=self.seed, validate=self.validate, group=self.group, time=self.time
        )

    @cached_property
    def module(self) -> ModuleType:
        """The module of a function of yours."""
        path = Path(self.word.rpartition(":")[0])
        if not path.is_file():
            raise ObjectiveError(f"There is no file {path}, so {self.word} can't be trained. Check the path.")
        sys.path.insert(0, str(path.parent.absolute()))  # so that it finds its neighbours
        with suppress(OSError):  # workers, too, would run the bytecode of a text as long and of the same second
            Path(importlib.util.cache_from_source(str(path))).unlink()
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ObjectiveError(f"{path} can't be imported: {type(error).__name__}: {error}.") from error
        return module

    @cached_property
    def objective(self) -> Any:
        """What ``Study.tune`` takes."""
        if self.command:
            return self.command
        if not self.is_own:
            return UnmadeDeepNet(self.task.data, self.task.splits, self.precision or "highest")
        name = self.word.rpartition(":")[2]
        if not callable(getattr(self.module, name, None)):
            own = [
                each
                for each, value in vars(self.module).items()
                if callable(value) and getattr(value, "__module__", None) == self.module.__name__
            ]
            hint = did_you_mean(name, own) or f" It defines: {', '.join(own) or 'none'}."
            raise ObjectiveError(f"{self.word}: the file defines no function {name!r}.{hint}")
        return getattr(self.module, name)

    def space(self, path: str | None) -> Space:
        """The space in a TOML file; else the task's own, or the variable ``space`` beside the function."""
        if path is not None:
            return Space.from_toml(Path(path))
        if self.command:
            raise SpaceError("Say what a command's hyperparameters may be: --space FILE, as TOML.")
        if not self.is_own:
            return ayar.default_space(self.task.data)
        space = getattr(self.module, "space", None)
        if not isinstance(space, Space):
            raise SpaceError(f"{self.word}: put space = ayar.Space(...) beside the function, or give --space FILE.")
        return space

    def facts(self) -> dict[str, Any]:
        """What is known of it, for the record and the report."""
        if self.is_own:
            return {"objective": str(self)}
        data = self.task.data
        return {
            "data": self.word,
            "kind": data.kind,
            "inputs": data.X_train.shape[1],
            "outputs": max(data.n_classes, 1),
            "rows for training": len(data.X_train),
            "rows for validation": len(data.X_valid),
            "rows for the test": self.task.sealed.n,
            "split hash": self.task.split_hash,
            "validation": self.task.validation,
            "warnings": list(self.task.warnings),
        }


@dataclass(frozen=True)
class Opened:
    """A study together with what it trains."""

    study: Study
    source: Source
    facts: Mapping[str, Any] = field(default_factory=dict)


def remember(study: Study, source: Source) -> Opened:
    """Write down what the study trains, once; refuse to mix readings from other data into it."""
    facts = source.facts()
    known = study.notes(NOTE)
    if not known or (_parting(known[-1].body, source) and not any(len(t.curve) for t in study.trials())):
        study.note(NOTE, {**asdict(source), "facts": facts})
        return Opened(study, source, facts)
    if other := _parting(known[-1].body, source):
        raise DataError(
            f"{study.where} was tuned with {other}, not with {source}. "
            "Scores of different trainings can't be compared: use a new --store, or another --study in this one."
        )
    before = known[-1].body["facts"]
    if before.get("split hash") != facts.get("split hash"):
        raise DataError(
            f"{study.where} was tuned on {known[-1].body['word']} as it was; {source} holds other data now. "
            "Scores on different data can't be compared: use a new --store."
        )
    if before.get("validation", facts.get("validation")) != facts.get("validation"):
        raise DataError(
            f"{study.store} was confirmed otherwise ({before['validation']} Now: {facts['validation']}) "
            "Scores on different splits can't be compared: use a new --store."
        )
    precisions = [each or "highest" for each in (known[-1].body.get("precision"), source.precision)]
    if precisions[0] != precisions[1]:
        raise DataError(
            f"{study.where} multiplied in {precisions[0]} precision, not in {precisions[1]}. "
            f"Curves of both can't be compared: give --precision {precisions[0]}, or use a new --store."
        )
    return Opened(study, source, facts)


def _parting(known: Mapping[str, Any], source: Source) -> str:
    """The training of yours that a study was made with, where it is another one; wherever its file lies now."""
    before = Source(known["word"], command=tuple(known.get("command", ())))
    if not (before.is_own or source.is_own):
        return ""
    same = before.command == source.command and Path(before.word).name == Path(source.word).name
    return "" if same else str(before)


def reopen(store: str, name: str | None = None, *, skim: int | None = None) -> Opened:
    """The study in a ledger, with what it trains as far as that is on record; ``skim`` as for ``Study``."""
    study = Study(store, name=name, skim=skim)
    notes = study.notes(NOTE)
    if not notes:
        return Opened(study, Source(""))
    body = notes[-1].body
    known = {name: body[name] for name in ("word", "target", "seed")}
    more = {name: body[name] for name in ("group", "time", "precision") if name in body}
    source = Source(**known, **more, command=tuple(body.get("command", ())), validate=body.get("validate", "holdout"))
    return Opened(study, source, body["facts"])
