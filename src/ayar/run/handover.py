"""A training that goes on from another one's files, with another configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

from ayar.checkpoints import AHEAD_FILE, LEFT_BY, sign
from ayar.records import Leg, Move, training_key
from ayar.run.command import CONFIG_FILE

NOTES = frozenset({AHEAD_FILE, CONFIG_FILE, LEFT_BY})
"""Files in a trial's folder that Ayar writes beside the training's own."""


def holds_state(folder: Path) -> bool:
    """Whether a training has left files of its own in a folder."""
    return folder.is_dir() and any(file.name not in NOTES for file in folder.iterdir())


def hand_over(source: Path, own: Path, before: Leg) -> None:
    """Let a trial begin with a copy of the files in ``source``, which its parent left, trained like ``before``.

    It is there as a whole, or not at all; nothing happens where the parent has left no state.
    """
    if not holds_state(source):
        return
    new = own.with_name(f"{own.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(source, new, ignore=shutil.ignore_patterns(*NOTES))
    sign(new, training_key(before.config, before.seed))
    shutil.rmtree(own, ignore_errors=True)
    new.rename(own)


def is_to_retrace(move: Move, own: Path) -> bool:
    """Whether the legs before the move's own configuration are to be trained: their state is not in its own folder."""
    legs = move.schedule
    return bool(legs) and not (move.start_step >= legs[-1].stop_step and holds_state(own))
