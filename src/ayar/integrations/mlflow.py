"""The file store of MLflow: ``mlruns/EXPERIMENT/RUN/{params,metrics}/NAME``. Needs no package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ayar.errors import NotInLedger
from ayar.integrations.history import History, Past, counted_from_one, scalars, unreadable

_FAILED = ("4", "5", "FAILED", "KILLED")  # RunStatus, as a number in older files


def read(folder: Path, name: str | None = None) -> History:
    """The runs of one experiment; ``folder`` is the store, or the experiment's folder in it.

    Raises:
        LedgerError: A file in it can't be read.
        NotInLedger: It holds no experiment of that name with runs, or several and none is named.
    """
    files = [*folder.glob("meta.yaml"), *folder.glob("*/meta.yaml")]
    experiments = {str(_meta(file).get("name", file.parent.name)): file.parent for file in files}
    with_runs = {title: place for title, place in experiments.items() if _runs(place)}
    if name not in with_runs if name is not None else len(with_runs) != 1:
        titles = ", ".join(map(repr, with_runs)) or "none"
        raise NotInLedger(f"{folder} holds these experiments with runs: {titles}. Name one: --study NAME.")
    title = next(iter(with_runs)) if name is None else name
    return History(title, counted_from_one([_past(run) for run in _runs(with_runs[title])]))


def _runs(experiment: Path) -> list[Path]:
    """The folders of the runs that were not deleted, oldest first."""
    files = {file.parent: _meta(file) for file in experiment.glob("*/meta.yaml")}
    living = {run: meta for run, meta in files.items() if "run_id" in meta and meta["lifecycle_stage"] == "active"}
    return sorted(living, key=lambda run: (int(living[run].get("start_time", 0)), run.name))


def _meta(file: Path) -> dict[str, str]:
    """The plain fields of a ``meta.yaml``, which MLflow writes one a line."""
    lines = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip().strip("'\"") for key, _, value in lines}


def _past(run: Path) -> Past:
    config = scalars({name: _value(text) for name, text in _texts(run / "params").items()})
    rows: dict[int, dict[str, float]] = {}
    times: dict[int, int] = {}
    for name, text in _texts(run / "metrics").items():
        for line in text.splitlines():
            try:
                time_ms, value, at = line.split()
                step = int(at)
                rows.setdefault(step, {"step": step})[name] = float(value)
                times[step] = max(int(time_ms), times.get(step, 0))
            except ValueError as error:
                raise unreadable(run / "metrics" / name, "a metric of MLflow", error) from error
    meta = _meta(run / "meta.yaml")
    before_ms = int(meta.get("start_time", 0))
    for step in sorted(rows):
        rows[step]["cost_s"] = max(0, times[step] - before_ms) / 1000
        before_ms = max(before_ms, times[step])
    error_text = "failed in MLflow" if meta.get("status") in _FAILED else None
    return Past(config, [rows[step] for step in sorted(rows)], error_text)


def _texts(folder: Path) -> dict[str, str]:
    """The files under a folder, by their path in it: names may hold slashes."""
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _value(text: str) -> Any:
    """A hyperparameter from its text: Python's and JSON's numbers and truths, else the text."""
    text = text.strip()
    try:
        return json.loads(text.lower() if text in ("True", "False") else text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
