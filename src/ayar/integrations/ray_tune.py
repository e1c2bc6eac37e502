"""Result folders of Ray Tune: one folder per trial, with ``params.json`` and ``result.json``. Needs no package."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ayar.errors import NotInLedger
from ayar.integrations.history import History, Past, numbers, scalars, unreadable

_ABOUT_THE_RUN = {  # what Ray adds to every result
    *("training_iteration", "time_this_iter_s", "time_total_s", "timestamp", "pid", "time_since_restore"),
    *("iterations_since_restore", "checkpoint_dir_name", "should_checkpoint", "warmup_time", "timesteps_total"),
    *("episodes_total", "timesteps_since_restore"),
}

_COLOURS = re.compile(r"\x1b\[[\d;]*m")


def read(folder: Path) -> History:
    """An experiment's folder. ``training_iteration`` is the step; a trial with ``error.txt`` has failed.

    Raises:
        LedgerError: A file in it can't be read.
        NotInLedger: It holds no trial.
    """
    folders = sorted(path.parent for path in folder.glob("**/params.json"))
    if not folders:
        raise NotInLedger(f"{folder} holds no trial of Ray Tune: no folder in it has a params.json.")
    return History(folder.name, [_past(each) for each in folders])


def _past(folder: Path) -> Past:
    file = folder / "params.json"
    try:
        config = scalars(json.loads(file.read_text(encoding="utf-8")))
        file = folder / "result.json"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        rows = [json.loads(line) for line in lines if line.strip()]
        # After a restart from a checkpoint an iteration is told again; the later telling counts.
        by_step = {int(row["training_iteration"]): _measurement(row) for row in rows}
    except (ValueError, KeyError) as error:
        raise unreadable(file, "a result of Ray Tune", error) from error
    failure = folder / "error.txt"
    failed = _told(failure.read_text(encoding="utf-8", errors="replace")) if failure.exists() else None
    return Past(config, [by_step[step] for step in sorted(by_step)], failed, ended=bool(rows and rows[-1].get("done")))


def _told(text: str) -> str:
    """What happened in one line, then the traceback; without the colours of a terminal."""
    lines = _COLOURS.sub("", text).strip().splitlines()
    return "\n".join([*lines[-1:], *lines[:-1]])


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested metrics under the names that Ray's own tables give them: ``train/loss``."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _measurement(row: dict[str, Any]) -> dict[str, float]:
    told = {name: value for name, value in row.items() if name not in _ABOUT_THE_RUN and name != "config"}
    return {
        **numbers(_flat(told)),
        "step": int(row["training_iteration"]),
        "cost_s": max(0.0, float(row.get("time_this_iter_s") or 0.0)),
    }
