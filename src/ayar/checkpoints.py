"""Checkpoints in a trial's folder: written so that no crash leaves half of one, the old ones removed.

A training saves a step before it reports it. Where it is killed in between, its newest checkpoint is ahead of the
record, and whoever went on from there would leave that step out. So the checkpoint before the newest is kept as a spare
until the report has come (``settle``), and a restart begins by removing what is ahead (``rewind``).

It stands on a low floor and needs the standard library alone, so that a training script can import it at no cost.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path

LEFT_BY = "ayar_left_by.txt"
"""In a folder whose files another training has left: which one."""

AHEAD_FILE = "ayar_ahead.jsonl"
"""In a trial's folder, the file of what the training has said since it was started there; see ``ayar.run.said``."""

_NAME = re.compile(r"checkpoint-(\d+)(\.\w+)?")
_NEW, _SPARE = ".new-", ".before-"  # begin the names of what is being written, and of a spare


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside ``path`` within; at the end it takes its place at once, or not at all after an error."""
    new = path.with_name(f"{_NEW}{path.name}")
    try:
        yield new
        if new.is_file():
            _sync(new)  # else a power cut might leave the name with nothing behind it
        if path.is_dir():
            _remove(path)
        new.replace(path)
    finally:
        _remove(new)


@contextmanager
def checkpoint(folder: Path | str, step: int, *, suffix: str = "", keep: int = 1) -> Iterator[Path]:
    """Write the checkpoint of a step: to the path that this gives, a file or a folder.

    It counts once all of it is written; then older ones are removed. While Ayar trains, the one before it stays as a
    spare until the step is reported.

    Args:
        folder: The trial's own folder.
        step: The last step that its state has behind it, as the training reports steps.
        suffix: The file's ending, where the writer insists on one: ``".npz"``.
        keep: How many of the newest stay.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> for step in (1, 2):
    ...     with checkpoint(folder, step) as path:
    ...         _ = path.write_text(f"state of step {step}")
    >>> step, path = latest_checkpoint(folder)
    >>> step, path.read_text()
    (2, 'state of step 2')
    """
    folder = Path(folder)
    with replacing(folder / f"checkpoint-{step:08d}{suffix}") as new:
        yield new
    old = [path for _, path in _checkpoints(folder)[:-keep]]
    if old and _spare(folder) is None and (folder / AHEAD_FILE).exists():
        before = old.pop()
        before.rename(folder / f"{_SPARE}{before.name}")
    for path in old:
        _remove(path)


def latest_checkpoint(folder: Path | str) -> tuple[int, Path] | None:
    """The step and the path of the newest checkpoint in a folder; None where there is none, or no folder yet."""
    found = _checkpoints(Path(folder))
    return found[-1] if found else None


def settle(folder: Path, step: int) -> None:
    """Step ``step`` was reported and is kept: remove the spare, unless the newest checkpoint is of a later one."""
    spare = _spare(folder)
    if spare is not None and not _ahead([(_step(spare), spare), *_checkpoints(folder)], step):
        _sync(folder / AHEAD_FILE)
        _remove(spare)


def rewind(folder: Path, step: int) -> None:
    """Remove what a killed training has left half written, and its checkpoints of steps after ``step``.

    Where it numbered them by something that is no step, so that all are beyond it, they stay.
    """
    for half in folder.glob(f"{_NEW}*"):
        _remove(half)
    spare = _spare(folder)
    if spare is not None:
        spare.rename(folder / spare.name.removeprefix(_SPARE))
    for path in _ahead(_checkpoints(folder), step):
        _remove(path)


def sign(folder: Path, training: str) -> None:
    """Note that the files in a folder were left by this training; whoever goes on from them may be another."""
    with replacing(folder / LEFT_BY) as new:
        new.write_text(training, encoding="utf-8")


def left_by(folder: Path) -> str | None:
    """The training that ``sign`` has noted; None where the files in the folder are its own."""
    path = folder / LEFT_BY
    return path.read_text(encoding="utf-8") if path.is_file() else None


def that_fit(folders: Iterable[Path], at_most_bytes: float) -> list[Path]:
    """The first of these folders, as many as take no more room on disk together."""
    named = list(folders)
    sums = accumulate(map(_bytes, named))
    return [folder for folder, total in zip(named, sums, strict=True) if total <= at_most_bytes]


def _bytes(folder: Path) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):  # its training has removed it meanwhile
                total += (Path(place) / file).lstat().st_size
    return total


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    found = ((_NAME.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ()))
    return sorted((int(name[1]), path) for name, path in found if name)


def _ahead(checkpoints: list[tuple[int, Path]], step: int) -> list[Path]:
    """Those of later steps than ``step``, if any is not: else their numbers are something else."""
    later = [path for number, path in checkpoints if number > step]
    return later if len(later) < len(checkpoints) else []


def _spare(folder: Path) -> Path | None:
    return next(folder.glob(f"{_SPARE}*"), None)


def _step(spare: Path) -> int:
    name = _NAME.fullmatch(spare.name.removeprefix(_SPARE))
    return int(name[1]) if name else 0


def _sync(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
