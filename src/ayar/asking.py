"""From a searcher's proposals to moves: numbered, seeded, claimed and written down."""

from __future__ import annotations

from collections.abc import Sequence

from ayar.curves.stopping import diverges
from ayar.logbook import Logbook
from ayar.records import Move, State, Trial, config_key
from ayar.run.events import Finished
from ayar.search.base import Problem, Proposal, Searcher
from ayar.seeds import Purpose, trial_seed
from ayar.threads import blas_threads


def ask(book: Logbook, searcher: Searcher, problem: Problem, n: int, *, stops: bool = False) -> list[Move]:
    """Turn the searcher's next proposals into moves: numbered, seeded and written down.

    With ``stops``, a trial whose curve diverges is ended instead of being continued.

    Other processes may ask at the same time. Nobody waits while a searcher thinks: what another process was quicker to
    start or to continue is dropped, and where nothing is left the searcher, who sees it now, is asked again.
    """
    while True:
        book.refresh()
        known = len(book.history)
        with blas_threads(1):  # the other processors are the workers'
            proposals = searcher.propose(problem, book.history, n)
        if not proposals:
            return []
        with book.claiming():
            moves = _claimed(book, proposals, book.history[known:], problem, stops=stops)
        if moves:
            return moves


def _claimed(
    book: Logbook, proposals: Sequence[Proposal], late: Sequence[Trial], problem: Problem, *, stops: bool
) -> list[Move]:
    """The proposals as moves, without those that clash with what others did ``late``, while they were thought up."""
    taken = {config_key(trial.config) for trial in late}
    index = book.history.started[Purpose.SEARCH]
    moves = []
    for proposal in proposals:
        if proposal.trial is not None:
            if not book.can_go_on(proposal.trial, proposal.stop_step):
                continue
            move = book.go_on(proposal.trial, proposal.stop_step)
            if stops and diverges(book.whole_curve(move.trial), problem.horizon):
                book.record(Finished(move.trial, ended=True))
            else:
                moves.append(move)
        elif proposal.parent is not None and not book.can_go_on(proposal.parent, proposal.stop_step):
            continue
        elif config_key(proposal.config) not in taken and (problem.max_trials is None or index < problem.max_trials):
            seed = trial_seed(problem.seed, Purpose.SEARCH, index)
            moves.append(book.start(proposal.config, seed, Purpose.SEARCH, proposal.stop_step, proposal.parent))
            index += 1
    return moves


def hopeless(trials: Sequence[Trial]) -> list[int]:
    """The failed trials of a study all of whose trainings failed; none as soon as one measured more, or goes on."""
    failed = [trial.id for trial in trials if trial.state is State.FAILED]
    begun = sum(trial.state is not State.PAUSED or len(trial.curve) > 0 for trial in trials)
    return failed if len(failed) == begun else []


def all_failed(trials: Sequence[Trial]) -> str:
    """What to say of a study all of whose trainings failed; empty where one of them measured more."""
    failed = hopeless(trials)
    return f"All {len(failed)} trainings failed; the last one so: {trials[failed[-1]].error}" if failed else ""


def once_more(book: Logbook, numbers: list[int]) -> list[Move]:
    """A move that gives the first of some failed search trials another chance; takes it from ``numbers``.

    Where everything failed it was the training that was broken, not the configurations, and it may have been mended.
    """
    while numbers:
        with book.claiming():
            trial = book.trial(numbers.pop(0))
            may = trial.purpose is Purpose.SEARCH and not trial.diverged and trial.curve.last_step < trial.target_step
            if trial.state is State.FAILED and may:
                return [book.go_on(trial.id, trial.target_step)]
    return []
