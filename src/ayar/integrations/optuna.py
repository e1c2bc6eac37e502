"""Studies of Optuna: its SQLite files and its journal files, read with the package ``optuna``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayar.errors import LedgerError, NotInLedger, extra
from ayar.integrations.history import History, Past, counted_from_one, scalars, unreadable
from ayar.space import Choice, Float, Int

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def read(path: Path, name: str | None = None) -> History:
    """A study in an SQLite file or a journal file.

    Its intermediate values are the curve. A pruned trial is a paused one; its final value is the last measurement
    unless the curve has it already.

    Raises:
        LedgerError: It can't be read, or judges by several objectives.
        NotInLedger: It holds no study of that name, or several and none is named.
        MissingExtra: Optuna is not installed.
    """
    with extra("optuna"):
        import optuna
        from optuna.storages.journal import JournalFileBackend
    storage: Any
    try:
        if path.read_bytes()[:15] == b"SQLite format 3":
            storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        else:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        names = [summary.study_name for summary in optuna.get_all_study_summaries(storage)]
    except Exception as error:
        raise unreadable(path, "a study of Optuna", error) from error
    if name not in names if name is not None else len(names) != 1:
        raise NotInLedger(f"{path} holds the studies {', '.join(map(repr, names)) or 'none'}. Name one: --study NAME.")
    study = optuna.load_study(study_name=name or names[0], storage=storage)
    if len(study.directions) > 1:
        raise LedgerError(f"{path}: {study.study_name!r} has several objectives, and a study of Ayar has one.")
    metric = (study.metric_names or ["value"])[0]
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    trials = counted_from_one([_past(trial, metric) for trial in finished])
    return History(study.study_name, trials, metric, study.direction.name == "MAXIMIZE", _axes(finished))


def _past(trial: FrozenTrial, metric: str) -> Past:
    took_s = trial.duration.total_seconds() if trial.duration else 0.0
    curve = dict(trial.intermediate_values)
    if trial.value is not None and trial.value not in curve.values():
        curve[max(curve, default=0) + 1] = trial.value
    rows = [{"step": step, metric: curve[step], "cost_s": took_s / len(curve)} for step in sorted(curve)]
    state = trial.state.name
    error = "failed in Optuna" if state == "FAIL" else None
    return Past(scalars(trial.params), rows, error, ended=state != "PRUNED")


def _axes(trials: list[FrozenTrial]) -> dict[str, Any]:
    """The distributions; one that changed from trial to trial as wide as all of them."""
    found: dict[str, list[Any]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            found.setdefault(name, []).append(distribution)
    return {name: _axis(all_) for name, all_ in found.items()}


def _axis(distributions: list[Any]) -> Any:
    first = distributions[0]
    if hasattr(first, "choices"):
        return Choice(*scalars({str(i): c for i, c in enumerate(_choices(distributions))}).values())
    low, high = min(d.low for d in distributions), max(d.high for d in distributions)
    if low == high:
        return low
    if isinstance(low, int) and isinstance(high, int):
        return Int(low, high, log=first.log, step=1 if first.log else first.step)
    return Float(low, high, log=first.log, step=first.step)


def _choices(distributions: list[Any]) -> list[Any]:
    return list(dict.fromkeys("None" if c is None else c for d in distributions for c in d.choices))
