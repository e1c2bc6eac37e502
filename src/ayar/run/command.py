"""Commands as trainings: another program that says in JSON lines what it measured.

It is run without a shell. It gets the configuration in its arguments, in environment variables and in a JSON
file, and prints one JSON object per step on standard output; whatever else it prints is kept as its output.
Between two steps that are asked of it, it is stopped like a suspended job, so a paused one costs no time.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayar.errors import ObjectiveError, TrainingFailed
from ayar.records import Configuration
from ayar.run.said import Said

CONFIG_FILE = "ayar_config.json"
"""In a trial's folder, the file that holds its configuration and seed."""

RESERVED = ("seed", "folder", "config")
"""Placeholders that every command has beside its hyperparameters."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}|\{([A-Za-z_]\w*)\}")
_GRACE_S = 2.0  # between asking a command to end and ending it

# Waits for the end of its input, which comes when this process dies, however it dies; then ends the command with
# all its children. Only what they have in common, a process group, is known to it.
_GUARD = 'read -r group; read -r _; kill -s KILL -- "-$group"'


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, in which ``{learning_rate}`` stands for the value of a hyperparameter.

    ``{seed}``, ``{folder}`` (the trial's own) and ``{config}`` (a JSON file with all values) stand for themselves,
    ``{{word}}`` for a plain ``{word}``. An argument with an inactive hyperparameter is left out, together with the
    option before it: ``--momentum {momentum}``.

    >>> command = Command.of("python train.py --lr {learning_rate} --momentum {momentum}")
    >>> command.filled({"learning_rate": 0.1})
    ['python', 'train.py', '--lr', '0.1']
    """

    words: tuple[str, ...]

    @classmethod
    def of(cls, given: str | Sequence[str]) -> Command:
        """The command that a line or a list of arguments says.

        Raises:
            ObjectiveError: It is empty, has an open quote, or names a program that does not exist.
        """
        try:
            words = shlex.split(given) if isinstance(given, str) else list(given)
        except ValueError as error:
            raise ObjectiveError(f"The command {given!r} can't be read: {error}. Close the quote.") from error
        wrong = [word for word in words if not isinstance(word, str)]
        if wrong or not words:
            raise ObjectiveError(f"The command {given!r} is no list of words. For example: python train.py --lr {{lr}}")
        if shutil.which(words[0]) is None:
            raise ObjectiveError(
                f"There is no program {words[0]!r} to run. Check its name, or give its path; a command begins with "
                "a program, for example: python train.py"
            )
        return cls(tuple(words))

    @property
    def resumes(self) -> bool:
        """Whether it goes on from the files in its folder; it is taken to do so where it is told the folder."""
        return any("{folder}" in word or "AYAR_FOLDER" in word for word in self.words)

    @property
    def placeholders(self) -> list[str]:
        """The names in braces, as they come."""
        return list(dict.fromkeys(n for word in self.words for _, n in _PLACEHOLDER.findall(word) if n))

    def check(self, names: Iterable[str]) -> None:
        """Refuse placeholders that no hyperparameter of these ``names`` fills.

        Raises:
            ObjectiveError: There is one, or a hyperparameter has the name of another placeholder.
        """
        known = list(names)
        for name in RESERVED:
            if name in known:
                raise ObjectiveError(
                    f"The space has a hyperparameter {name!r}, but every command gets its {name} under that name. "
                    "Give the hyperparameter another one."
                )
        for name in self.placeholders:
            if name not in (*known, *RESERVED):
                close = difflib.get_close_matches(name, (*known, *RESERVED), n=1, cutoff=0.5)
                hint = f"did you mean {{{close[0]}}}?" if close else f"The space has {', '.join(known)}."
                raise ObjectiveError(
                    f"The command has {{{name}}}, which no hyperparameter fills: {hint} "
                    f"Write {{{{{name}}}}} for the plain text."
                )

    def filled(self, values: Mapping[str, Any]) -> list[str]:
        """The arguments with ``values`` put in."""
        words: list[str] = []
        for word in self.words:
            inactive = [name for _, name in _PLACEHOLDER.findall(word) if name and name not in values]
            if not inactive:
                words.append(_PLACEHOLDER.sub(lambda found: _filled(found, values), word))
            elif _PLACEHOLDER.fullmatch(word) and words[-1].startswith("-"):
                words.pop()
        return words

    def train(
        self, config: Configuration, seed: int, folder: Path, start_step: int, metric: str
    ) -> Iterator[dict[str, Any]]:
        """Run it, and yield what it says it measured. Closing the iterator ends it, with all its children.

        Raises:
            TrainingFailed: It ended with an error.
            ObjectiveError: It ended without a single measurement.
        """
        folder = folder.absolute()
        values = {**config, "seed": seed, "folder": str(folder), "config": str(folder / CONFIG_FILE)}
        (folder / CONFIG_FILE).write_text(json.dumps({**config, "seed": seed}, indent=2), encoding="utf-8")
        words, count, others = self.filled(values), 0, set[str]()
        with _started(words, _environment(values)) as process:
            assert process.stdout is not None
            said = _measurements(process.stdout, metric, others)
            try:
                for measurement in said:
                    count += 1
                    with _stopped(process):
                        yield measurement
            except GeneratorExit:
                _end(process)
                if self.resumes:  # a quick one may have saved a further step before the signal that suspends it
                    Said(folder).add_rest(said)
                raise
            status = process.wait()
        if status != 0:
            raise TrainingFailed(f"The command {_fate(status)} after {count} measurements: {shlex.join(words)}")
        if count == start_step == 0:
            raise ObjectiveError(
                f"The command ended without a measurement of {metric!r}{_near(metric, others)}. Print one line of JSON "
                f'for each step, for example {{"step": 1, "{metric}": 0.1}}, or call ayar.report(step=1, {metric}=0.1).'
            )


def _measurements(output: Iterable[bytes], metric: str, others: set[str]) -> Iterator[dict[str, Any]]:
    """The measurements among the lines of an output; the other lines are handed on, and named in ``others``."""
    for line in output:
        said = _object(line)
        if metric in said or "step" in said:
            yield {name: value for name, value in said.items() if name in (metric, "step") or _number(value)}
        else:
            others.update(said)
            os.write(2, line)  # where a worker keeps what a training prints


def _filled(found: re.Match[str], values: Mapping[str, Any]) -> str:
    plain, name = found.groups()
    return f"{{{plain}}}" if plain else _text(values[name])


def _text(value: Any) -> str:
    """A value as an argument: text as it is, anything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _environment(values: Mapping[str, Any]) -> dict[str, str]:
    given = {f"AYAR_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}": _text(value) for name, value in values.items()}
    return {**os.environ, "PYTHONUNBUFFERED": "1", **given}


def _object(line: bytes) -> dict[str, Any]:
    """The JSON object in a line; empty where the line is anything else."""
    if not line.lstrip().startswith(b"{"):
        return {}
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _number(value: Any) -> bool:
    """Whether a value beside the metric is a number; texts and the like are left out."""
    return isinstance(value, int | float)


@contextmanager
def _started(words: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process group of its own, which is gone at the end whatever happens to this process."""
    guard = subprocess.Popen(  # noqa: S603 - a fixed text
        ["/bin/sh", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that it outlives whoever ends this process with its group
    )
    assert guard.stdin is not None
    try:
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command, without a shell
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, process_group=0
            )
        except OSError as error:
            raise TrainingFailed(f"The command cannot be run: {error}: {shlex.join(words)}") from error
        try:
            guard.stdin.write(f"{process.pid}\n".encode())
            guard.stdin.flush()
            yield process
        finally:
            _end(process)
            assert process.stdout is not None
            process.stdout.close()
    finally:
        guard.kill()
        guard.stdin.close()
        guard.wait()


@contextmanager
def _stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Suspend the command while its next step is not asked for."""
    _signal(process, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(process, signal.SIGCONT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command, and whatever it has left running."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended already
        os.killpg(process.pid, number)


def _fate(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else "unknown"
    hint = ", perhaps because the machine ran out of memory," if -status == signal.SIGKILL else ""
    return f"was killed by signal {-status} ({name}){hint}"


def _near(metric: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(metric, sorted(names), n=1, cutoff=0.5)
    return f"; it printed {close[0]!r}, did you mean that?" if close else ""
