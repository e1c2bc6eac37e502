"""The folders of trials: each is one process's own, and no other one's once the trial has passed to the next.

A process may be suspended in the midst of a training, lose the trial to another one, and wake up. Its worker would
then write into the files that the new owner works with. So the number of times that a trial has passed from one
process to another, a fencing token, is part of its folder's name::

    17      trial 17, in the process that started it
    17.1    the same files, once another process has taken the trial on
    17.2    and once a third one has

Whoever takes a trial on renames its folder, at one stroke. The former owner's paths lead nowhere from then on.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from ayar.records import Move

_NAME = re.compile(r"(\d+)(?:\.(\d+))?")
_LEADS_ELSEWHERE = re.compile(r"[%/\\\x00]|^\.")


def name_of_folder(study: str) -> str:
    """A study's name as that of one folder, which lies where it is put: no ``..``, no part of a path.

    >>> name_of_folder("digits"), name_of_folder("../vision/cifar")
    ('digits', '%2E.%2Fvision%2Fcifar')
    """
    return _LEADS_ELSEWHERE.sub(lambda found: f"%{ord(found[0]):02X}", study)


def own_folder(move: Move, root: Path) -> Path:
    """Where a move's training keeps its files; it may not be there yet."""
    return root / (f"{move.trial}.{move.fence}" if move.fence else str(move.trial))


def prepared(move: Move, root: Path) -> Path:
    """The move's own folder: empty where the trial begins, else with the files of its former owner."""
    own = own_folder(move, root)
    if move.fence and not own.exists():
        earlier = [folder for fence, folder in _numbered(root).get(move.trial, ()) if fence < move.fence]
        with suppress(OSError):  # the former owner has no files to go on from, which costs its steps again
            earlier[-1].rename(own) if earlier else None
    if move.start_step == 0:
        # Files of an attempt that died before its first measurement was recorded.
        shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True, exist_ok=True)
    return own


def latest_folder(trial: int, root: Path) -> Path:
    """The folder of a trial's present owner, or last one; where there is none yet, what it would be called."""
    plain = root / str(trial)
    held = _numbered(root).get(trial)
    return held[-1][1] if held else plain


def folders(root: Path) -> dict[int, list[Path]]:
    """The folders of each trial that has one, that of its last owner last."""
    return {trial: [folder for _, folder in held] for trial, held in _numbered(root).items()}


def _numbered(root: Path) -> dict[int, list[tuple[int, Path]]]:
    found: dict[int, list[tuple[int, Path]]] = {}
    for folder in root.iterdir() if root.is_dir() else ():
        if name := _NAME.fullmatch(folder.name):
            found.setdefault(int(name[1]), []).append((int(name[2] or 0), folder))
    return {trial: sorted(held) for trial, held in found.items()}
