"""The stores of MLflow: its SQLite file, and its folder ``mlruns/EXPERIMENT/RUN/{params,metrics}/NAME``.

Needs no package.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ayar.errors import NotInLedger
from ayar.integrations.history import History, Past, counted_from_one, scalars, unreadable
from ayar.records import Configuration

_EXPERIMENTS = """
    SELECT name, experiment_id FROM experiments
    WHERE experiment_id IN (SELECT experiment_id FROM runs WHERE lifecycle_stage = 'active')
"""
_RUNS = """
    SELECT run_uuid, status, start_time FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active'
    ORDER BY start_time, run_uuid
"""
_PARAMS = "SELECT run_uuid, key, value FROM params JOIN runs USING (run_uuid) WHERE experiment_id = ?"
_METRICS = """
    SELECT run_uuid, key, CASE WHEN is_nan THEN 9e999 ELSE value END, step, timestamp
    FROM metrics JOIN runs USING (run_uuid) WHERE experiment_id = ? ORDER BY timestamp
"""
_FAILED = ("4", "5", "FAILED", "KILLED")  # RunStatus, as a number in older files


def read(path: Path, name: str | None = None) -> History:
    """The runs of one experiment; ``path`` is the SQLite file, the folder, or the experiment's folder in it.

    Raises:
        LedgerError: A file in it can't be read.
        NotInLedger: It holds no experiment of that name with runs, or several and none is named.
    """
    if path.is_file():
        return _of_sqlite(path, name)
    return _of_folder(path, name)


def _of_sqlite(path: Path, name: str | None) -> History:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            experiments = connection.execute(_EXPERIMENTS).fetchall()
            (title, experiment) = _chosen(path, dict(experiments), name)
            runs = connection.execute(_RUNS, (experiment,)).fetchall()
            params = _by_run(connection.execute(_PARAMS, (experiment,)))
            metrics = _by_run(connection.execute(_METRICS, (experiment,)))
    except sqlite3.Error as error:
        raise unreadable(path, "a store of MLflow", error) from error
    trials = []
    for run, status, start_ms in runs:
        config = scalars({name: _value(text) for name, text in params.get(run, [])})
        trials.append(_made(config, metrics.get(run, []), start_ms or 0, status))
    return History(title, counted_from_one(trials))


def _by_run(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for run, *row in rows:
        found.setdefault(run, []).append(tuple(row))
    return found


def _chosen(path: Path, with_runs: Mapping[str, Any], name: str | None) -> tuple[str, Any]:
    """The experiment of that name, or the only one."""
    if name not in with_runs if name is not None else len(with_runs) != 1:
        titles = ", ".join(map(repr, with_runs)) or "none"
        raise NotInLedger(f"{path} holds these experiments with runs: {titles}. Name one: --study NAME.")
    title = next(iter(with_runs)) if name is None else name
    return title, with_runs[title]


def _of_folder(folder: Path, name: str | None) -> History:
    files = [*folder.glob("meta.yaml"), *folder.glob("*/meta.yaml")]
    experiments = {str(_meta(file).get("name", file.parent.name)): file.parent for file in files}
    with_runs = {title: place for title, place in experiments.items() if _runs(place)}
    title, place = _chosen(folder, with_runs, name)
    return History(title, counted_from_one([_past(run) for run in _runs(place)]))


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
    values: list[tuple[str, float, int, int]] = []
    for name, text in _texts(run / "metrics").items():
        for line in text.splitlines():
            try:
                time_ms, value, at = line.split()
                values.append((name, float(value), int(at), int(time_ms)))
            except ValueError as error:
                raise unreadable(run / "metrics" / name, "a metric of MLflow", error) from error
    meta = _meta(run / "meta.yaml")
    return _made(config, values, int(meta.get("start_time", 0)), meta.get("status"))


def _made(
    config: Configuration, values: Iterable[tuple[str, float, int, int]], start_ms: int, status: str | None
) -> Past:
    """A run, from its metrics as ``(name, value, step, time in ms)``."""
    rows: dict[int, dict[str, float]] = {}
    times: dict[int, int] = {}
    for name, value, step, time_ms in values:
        rows.setdefault(step, {"step": step})[name] = value
        times[step] = max(time_ms, times.get(step, 0))
    before_ms = start_ms
    for step in sorted(rows):
        rows[step]["cost_s"] = max(0, times[step] - before_ms) / 1000
        before_ms = max(before_ms, times[step])
    error_text = "failed in MLflow" if status in _FAILED else None
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
