"""What a study is: its space, metric, horizon, searcher and seed, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ayar.errors import LedgerError, SpaceError
from ayar.goals import constraints_of, unmeasured
from ayar.ledger.store import Ledger, Note, StudyRow
from ayar.records import Metric, State
from ayar.search import searcher_named
from ayar.seeds import check_seed

SOURCE = "source"
"""The kind of the notes that hold what an earlier study left behind."""

SPACE_CHANGED = "space changed"
"""The kind of the notes that changes of a study's space are."""

CORRECTED = "corrected"
"""The kind of the notes that say anew what a study is, after a mistake and before anything was measured."""

REFUSED = "refused"
"""The kind of the notes that a tuning was refused for what it was given; see ``CORRECTED``."""

_JUDGED_BY = ("metric", "maximize", "objectives", "constraints")


def find_or_create(ledger: Ledger, name: str | None, given: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """The study's number, name and specification in the ledger; written there if it is new."""
    if given["seed"] is not None:
        check_seed(given["seed"])
    if given["searcher"] is not None:
        searcher_named(given["searcher"])  # an unknown one is refused before anything is written
    known = [row.name for row in ledger.studies()]
    if known and (name is None or name in known):
        row = ledger.find_study(name)
        return row.id, row.name, _spec_of_known(ledger, row, given)
    if known and given["space"] is given["metric"] is None:
        ledger.find_study(name)  # says which there are
    if given["space"] is None or given["metric"] is None:
        held = f"holds {', '.join(known)}" if known else "is new"
        raise SpaceError(
            f"A new study needs space= and minimize= or maximize=; {ledger.where} {held}. "
            "Give both, or the store and name of a study that exists."
        )
    spec = _spec_of_new(given)
    try:
        return ledger.create_study(name or "main", spec), name or "main", spec
    except LedgerError:  # another process may have been quicker
        if not any(row.name == (name or "main") for row in ledger.studies()):
            raise
    return find_or_create(ledger, name, given)


def _spec_of_new(given: Mapping[str, Any]) -> dict[str, Any]:
    spec = {
        **{key: value for key, value in given.items() if value is not None or key not in ("objectives", "constraints")},
        "horizon": largest_step(given["space"].get("iterations")) if given["horizon"] is None else given["horizon"],
        "searcher": given["searcher"] or "auto",
        "seed": given["seed"] or 0,
    }
    if not isinstance(spec["horizon"], int) or spec["horizon"] < 1:
        raise SpaceError(f"horizon={spec['horizon']!r} must be a whole number of steps, at least 1.")
    return spec


def _spec_of_known(ledger: Ledger, row: StudyRow, given: Mapping[str, Any]) -> dict[str, Any]:
    changes, corrections = ledger.notes(row.id, SPACE_CHANGED), ledger.notes(row.id, CORRECTED)
    spec: dict[str, Any] = {**row.spec, **(corrections[-1].body if corrections else {})}
    if changes:
        spec["space"] = changes[-1].body["space"]
    if any(value is not None and value != spec.get(key) for key, value in given.items()):
        correction = {} if changes else _correction(ledger, row.id, spec, given)
        if correction:
            spec |= correction
            ledger.add_note(row.id, CORRECTED, {key: spec[key] for key in spec if spec[key] != row.spec.get(key)})
    for key, value in given.items():
        if value is not None and value != spec.get(key):
            way = (
                "take the new space with study.change_space(space) or --change-space"
                if key == "space"
                else "leave it out"
            )
            raise SpaceError(
                f"Study {row.name!r} in {ledger.where} was made with {key}={_short(spec.get(key))}, now "
                f"{key}={_short(value)} is given. To go on, {way}; or give a new name= or store (--study, --store)."
            )
    return spec


def _correction(ledger: Ledger, study: int, spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What may be said anew, because nothing depends on it yet; empty where something does.

    All, where the first tuning was refused; what judges the trials, where they failed and none measured anything;
    further objectives and limits, where one of them was never measured.
    """
    trials = ledger.trials(study)
    states = {trial.state for trial in trials}
    judged = {key: given[key] for key in _JUDGED_BY}
    if not trials and None not in (given["space"], given["metric"]) and ledger.notes(study, REFUSED):
        return {**judged, **_spec_of_new(given)}
    is_free = State.FAILED in states <= {State.FAILED, State.PAUSED} and not any(len(trial.curve) for trial in trials)
    if is_free and given["metric"] is not None:
        return judged
    goals = [Metric(*each) for each in spec.get("objectives") or ()], constraints_of(spec.get("constraints"))
    measured = [trial for trial in trials if len(trial.curve)]
    never = set.intersection(*(set(unmeasured(trial, *goals)) for trial in measured)) if measured else set()
    return {key: given[key] for key in ("objectives", "constraints")} if never else {}


def was_of(changes: Sequence[Note]) -> dict[str, Any]:
    """What hyperparameters were before they came into the space, by all of its changes."""
    return {name: value for change in changes for name, value in change.body["was"].items()}


def largest_step(iterations: Any) -> int:
    """The largest step that the space's ``iterations`` allow, in the form ``Space.to_dict`` writes it."""
    if isinstance(iterations, Mapping):
        iterations = max(iterations.get("int") or iterations.get("choice") or [1])
    return 1 if iterations is None else iterations


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
