"""What a study is: its space, metric, horizon, searcher and seed, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ayar.errors import LedgerError, SpaceError
from ayar.ledger.store import Ledger, Note
from ayar.records import State
from ayar.search import searcher_named

SOURCE = "source"
"""The kind of the notes that hold what an earlier study left behind."""

SPACE_CHANGED = "space changed"
"""The kind of the notes that changes of a study's space are."""

CORRECTED = "corrected"
"""The kind of the notes that say anew what a study is judged by, where all that it has are failures."""

_JUDGED_BY = ("metric", "maximize", "objectives", "constraints")


def find_or_create(ledger: Ledger, name: str | None, given: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
    """The study's number, name and specification in the ledger; written there if it is new."""
    if given["searcher"] is not None:
        searcher_named(given["searcher"])  # an unknown one is refused before anything is written
    known = [row.name for row in ledger.studies()]
    if known and (name is None or name in known):
        row = ledger.find_study(name)
        changes, corrections = ledger.notes(row.id, SPACE_CHANGED), ledger.notes(row.id, CORRECTED)
        spec = {**row.spec, **(corrections[-1].body if corrections else {})}
        if changes:
            spec["space"] = changes[-1].body["space"]
        judged = {key: given[key] for key in _JUDGED_BY}
        is_other = given["metric"] is not None and judged != {key: spec.get(key) for key in judged}
        if is_other and _only_failed(ledger, row.id):  # over a name that was mistyped, say
            ledger.add_note(row.id, CORRECTED, judged)
            spec = {**spec, **judged}
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
        return row.id, row.name, spec
    if known and given["space"] is given["metric"] is None:
        ledger.find_study(name)  # says which there are
    if given["space"] is None or given["metric"] is None:
        held = f"holds {', '.join(known)}" if known else "is new"
        raise SpaceError(
            f"A new study needs space= and minimize= or maximize=; {ledger.where} {held}. "
            "Give both, or the store and name of a study that exists."
        )
    iterations = given["space"].get("iterations")
    spec = {
        **{key: value for key, value in given.items() if value is not None or key not in ("objectives", "constraints")},
        "horizon": largest_step(iterations) if given["horizon"] is None else given["horizon"],
        "searcher": given["searcher"] or "auto",
        "seed": given["seed"] or 0,
    }
    if not isinstance(spec["horizon"], int) or spec["horizon"] < 1:
        raise SpaceError(f"horizon={spec['horizon']!r} must be a whole number of steps, at least 1.")
    try:
        return ledger.create_study(name or "main", spec), name or "main", spec
    except LedgerError:  # another process may have been quicker
        if not any(row.name == (name or "main") for row in ledger.studies()):
            raise
    return find_or_create(ledger, name, given)


def _only_failed(ledger: Ledger, study: int) -> bool:
    """Whether trials failed, none is trained now, and nothing was measured: nothing depends on the metric yet."""
    trials = ledger.trials(study)
    states = {trial.state for trial in trials}
    return State.FAILED in states <= {State.FAILED, State.PAUSED} and not any(len(trial.curve) for trial in trials)


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
