"""One interface over the forms in which a training can be handed in.

1. a generator ``train(config, seed)``: one yield per step;
2. a generator with a folder, ``train(config, seed, folder)``: it resumes from the files it finds there;
3. a plain function ``score(config, seed)``: a number, or a dict of numbers;
4. a recipe: anything with a method ``train(config, seed, folder, start_step)``, and perhaps ``lanes(at_most)``;
5. a command: ``"python train.py --lr {learning_rate}"``, or the list of its arguments (``ayar.run.command``).
"""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from pathlib import Path

from ayar.checkpoints import rewind, settle
from ayar.errors import ObjectiveError
from ayar.records import Configuration
from ayar.run.command import Command
from ayar.run.handover import holds_state
from ayar.run.lanes import HasLanes, OpenLanes
from ayar.run.said import Said, Step

_CALLS = "train(config, seed), train(config, seed, folder) or score(config)"


class Kind(StrEnum):
    """The form in which a training was handed in."""

    GENERATOR = "generator"
    FOLDER_GENERATOR = "generator with a folder"
    FUNCTION = "plain function"
    RECIPE = "recipe"
    COMMAND = "command"
    FOLDER_COMMAND = "command with a folder"


@dataclass(frozen=True, slots=True)
class Training:
    """A training of any form. Made by ``as_training``.

    Attributes:
        kind: The form in which it was handed in.
        metric: The metric that each step must measure.
        uses_folder: Whether it wants a folder of its own for each trial.
        call: Begins the training: ``(config, seed, folder, start_step)`` to whatever the objective returns.
        lanes: Opens lanes, in which several trials train as one computation; None where it has none to offer.
        command: What is run, where it is a command.
    """

    kind: Kind
    metric: str
    uses_folder: bool
    call: Callable[[Configuration, int, Path | None, int], object]
    lanes: OpenLanes | None = None
    command: Command | None = None

    @property
    def sliceable(self) -> bool:
        """Whether it can be stopped before the horizon and continued later."""
        return self.kind is not Kind.FUNCTION

    @property
    def needs_horizon(self) -> bool:
        """Whether a horizon of one step must be a mistake; of a command it means that its last line counts."""
        return self.sliceable and self.command is None

    @property
    def kept_alive(self) -> bool:
        """Whether a paused one is worth keeping in memory, because a restart trains some steps again.

        A recipe is not: closing it writes an exact checkpoint, from which any worker goes on. Nor is a command
        with a folder: it is taken to have saved its state before it said what it measured.
        """
        return self.kind not in (Kind.RECIPE, Kind.FOLDER_COMMAND)

    @property
    def hands_over(self) -> bool:
        """Whether another trial can go on from its files, with another configuration."""
        return self.kind in (Kind.RECIPE, Kind.FOLDER_GENERATOR, Kind.FOLDER_COMMAND)

    def start(
        self, config: Configuration, seed: int, folder: Path | None, start_step: int, horizon: int
    ) -> Iterator[Step]:
        """Train on from ``start_step`` and yield each later step with its metrics; step 0 only for a fresh start.

        Steps count 1, 2, 3, ... unless a yielded dict names its own ``"step"``. After a restart a generator
        replays silently from its beginning (the same seed gives the same curve); a generator with a folder goes
        on where its files say: its own ``"step"`` counts, without one its first yield is ``start_step + 1`` (or 1
        where the folder is empty). A plain function gives one measurement, at the horizon; so does a command where
        the horizon is 1. Closing the iterator closes the training.

        Raises:
            ObjectiveError: What the objective gave cannot be read as a measurement.
        """
        if self._resumes and folder is not None:
            yield from self._remembered(config, seed, folder, start_step, horizon)
        else:
            yield from self._begun(config, seed, folder, start_step, horizon)

    def _begun(
        self, config: Configuration, seed: int, folder: Path | None, start_step: int, horizon: int
    ) -> Iterator[Step]:
        given = self.call(copy.deepcopy(config), seed, folder, start_step)
        if isinstance(given, Iterator) and self.command is not None and horizon == 1:
            *_, last = given
            yield 1, self.read(last)[1]
        elif isinstance(given, Iterator):
            yield from self._steps(given, start_step if self._goes_on(folder) else 0, start_step)
        elif self.kind is Kind.FUNCTION:
            yield horizon, self.read(given)[1]
        else:
            raise ObjectiveError(
                f"The {self.kind} returned {_shown(given)} instead of an iterator. Yield once per step."
            )

    def _remembered(
        self, config: Configuration, seed: int, folder: Path, start_step: int, horizon: int
    ) -> Iterator[Step]:
        """The steps of a training that goes on from its folder, those first that it said and nobody heard.

        It saves a step before it says it, and won't say it again. So what it said is kept until it is on record, and
        what it saved and never said makes room for the checkpoint before.
        """
        said = Said(folder)
        kept = said.begin(start_step)
        for step, metrics in kept:
            yield step, self.read(metrics)[1]
        newest = kept[-1][0] if kept else start_step
        rewind(folder, newest)
        for step, metrics in self._begun(config, seed, folder, newest, horizon):
            said.add(step, metrics)
            settle(folder, step)
            yield step, metrics

    @property
    def _resumes(self) -> bool:
        """Whether it goes on from files of its own making."""
        return self.kind in (Kind.FOLDER_GENERATOR, Kind.FOLDER_COMMAND)

    def _goes_on(self, folder: Path | None) -> bool:
        """Whether a restart goes on near where it was, rather than at its beginning."""
        if self._resumes:
            return folder is not None and holds_state(folder)
        return self.kind is Kind.RECIPE

    def _steps(self, given: Iterator[object], first: int, start_step: int) -> Iterator[Step]:
        last: int | None = None
        try:
            for value in given:
                named, metrics = self.read(value)
                step = named if named is not None else (first if last is None else last) + 1
                if last is not None and step <= last:
                    raise ObjectiveError(
                        f'The training yielded "step": {step} after step {last}; steps must rise. '
                        'Leave "step" out to have the yields counted 1, 2, 3, ...'
                    )
                last = step
                if step > start_step or step == start_step == 0:
                    yield step, metrics
        finally:
            if isinstance(given, Generator):
                given.close()
        if last is None and start_step == 0:
            raise ObjectiveError(
                "The training ended without a single yield. Yield the metrics once per step, "
                f'for example yield {{"{self.metric}": 0.1}}, and check that its loop runs at least once.'
            )

    def read(self, given: object) -> tuple[int | None, dict[str, float]]:
        """The step, where the objective names it, and the metrics.

        Raises:
            ObjectiveError: They are no numbers, or the study's metric is missing.
        """
        if not isinstance(given, Mapping):
            number = _number(given)
            if number is None:
                raise ObjectiveError(
                    f"The training gave {_shown(given)}. Each step must give a number or a dict of numbers, "
                    f'for example {{"{self.metric}": 0.1}}.'
                )
            return None, {self.metric: number}
        metrics = {}
        for name, value in given.items():
            number = _number(value)
            if number is None or not isinstance(name, str):
                raise ObjectiveError(
                    f"The training gave {name!r}: {_shown(value)}. Metrics are named numbers: "
                    "leave it out, or turn it into one."
                )
            metrics[name] = number
        step = metrics.pop("step", None)
        if self.metric not in metrics:
            raise ObjectiveError(_missing(self.metric, list(metrics)))
        if step is not None and not (step >= 0 and step.is_integer()):
            raise ObjectiveError(f'The training gave "step": {step:g}. Steps are whole numbers from 0.')
        return None if step is None else int(step), metrics


def as_training(objective: object, *, metric: str) -> Training:
    """The training behind an objective of any form; ``metric`` is what each of its steps must measure.

    >>> def train(config, seed):
    ...     for epoch in range(3):
    ...         yield 1 / (1 + epoch)
    >>> training = as_training(train, metric="loss")
    >>> training.kind.value, list(training.start({}, 0, None, start_step=1, horizon=3))
    ('generator', [(2, {'loss': 0.5}), (3, {'loss': 0.3333333333333333})])

    Raises:
        ObjectiveError: It is none of the forms, or takes other arguments.
    """
    if isinstance(objective, str | list | tuple):
        return _from_command(Command.of(objective), metric)
    if inspect.isclass(objective):
        raise ObjectiveError(f"The objective is the class {objective.__name__}. Hand in an instance of it.")
    train = getattr(objective, "train", None)
    if callable(train) and _binds(train, {}, 0, None, 0):
        return Training(Kind.RECIPE, metric, True, train, objective.lanes if isinstance(objective, HasLanes) else None)
    if not callable(objective):
        raise ObjectiveError(
            f"The objective is {_shown(objective)}. "
            "Hand in a generator function, a plain function, a recipe or a command."
        )
    return _from_function(objective, metric)


def _from_command(command: Command, metric: str) -> Training:
    def call(config: Configuration, seed: int, folder: Path | None, start_step: int) -> object:
        assert folder is not None  # it is said to use one
        return command.train(config, seed, folder, start_step, metric)

    return Training(Kind.FOLDER_COMMAND if command.resumes else Kind.COMMAND, metric, True, call, command=command)


def _from_function(function: Callable[..., object], metric: str) -> Training:
    inner = inspect.unwrap(function)
    forms = (inner, getattr(inner, "__call__", None))  # noqa: B004 - an object whose __call__ yields
    name = getattr(function, "__name__", type(function).__name__)
    if any(inspect.iscoroutinefunction(form) or inspect.isasyncgenfunction(form) for form in forms):
        raise ObjectiveError(f"{name} is asynchronous. Write it with a plain def.")
    generator = any(inspect.isgeneratorfunction(form) for form in forms)
    if _has_folder(function) and _binds(function, {}, 0, folder=None):
        kind = Kind.FOLDER_GENERATOR if generator else Kind.FUNCTION
        return Training(kind, metric, True, lambda c, seed, folder, _: function(c, seed, folder=folder))
    if _binds(function, {}, 0):
        kind = Kind.GENERATOR if generator else Kind.FUNCTION
        return Training(kind, metric, False, lambda c, seed, *_: function(c, seed))
    if _binds(function, {}, 0, None):
        kind = Kind.FOLDER_GENERATOR if generator else Kind.FUNCTION
        return Training(kind, metric, True, lambda c, seed, folder, _: function(c, seed, folder))
    if _binds(function, {}) and not generator:
        return Training(Kind.FUNCTION, metric, False, lambda c, *_: function(c))
    raise ObjectiveError(
        f"{name}{inspect.signature(function)} has the wrong arguments. Write {_CALLS}."
        + (" The seed makes a repeat give the same curve." if generator else "")
    )


def _has_folder(function: Callable[..., object]) -> bool:
    try:
        return "folder" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # builtins have no signature
        return False


def _binds(function: Callable[..., object], *args: object, **kwargs: object) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # builtins have no signature: take it for train(config, seed)
        return len(args) == 2
    return True


def _number(value: object) -> float | None:
    """The value as a float where it is a number: Python's, NumPy's, or a tensor of one element."""
    item = getattr(value, "item", None)
    if callable(item):
        try:
            value = item()
        except (TypeError, ValueError, RuntimeError):  # an array of several elements
            return None
    return float(value) if isinstance(value, Real) else None


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} (a {type(value).__name__})"


def _missing(metric: str, names: list[str]) -> str:
    close = difflib.get_close_matches(metric, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else "measure it too."
    given = ", ".join(map(repr, names))
    return f"The training gave {f'{given} but not {metric!r}' if given else f'no metric, not even {metric!r}'}: {hint}"
