"""One study's pages of the ledger, with their replay in memory.

Every change is written to the ledger first and to memory second, so what a caller has seen acknowledged is on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ayar.errors import MoveError
from ayar.ledger.store import Ledger
from ayar.records import Configuration, Measurement, Metric, Move, State, Trial, config_key
from ayar.run.events import Event, Failed, Finished, Measured
from ayar.search.history import History
from ayar.seeds import Purpose


class Logbook:
    """The trials of one study: read once, then kept in step with what is appended.

    Attributes:
        history: All trials by number, as searchers see them. Only the logbook changes it.
    """

    def __init__(self, ledger: Ledger, study: int, metric: Metric, horizon: int) -> None:
        self._ledger, self._study, self._metric, self._horizon = ledger, study, metric, horizon
        self.history = History(ledger.trials(study))

    @property
    def trials(self) -> list[Trial]:
        """All trials by number."""
        return list(self.history)

    def trial(self, number: int) -> Trial:
        """The trial with this number, which the study has."""
        trial = self.history.numbered(number)
        assert trial is not None
        return trial

    def outstanding(self) -> list[Move]:
        """Moves that were handed out and not yet answered, from where they stand now."""
        return [
            Move(t.id, t.config, t.seed, t.curve.last_step, t.target_step, t.purpose)
            for t in self.history
            if t.target_step > t.curve.last_step and t.state is State.RUNNING
        ]

    def of(self, config: Configuration, seed: int) -> Trial | None:
        """The trial of this configuration and seed. Seeds tell purposes apart."""
        return next((t for t in self.history.of(config) if t.seed == seed), None)

    def start(self, config: Configuration, seed: int, purpose: Purpose, stop_step: int) -> Move:
        """Begin a new trial."""
        trial = self._ledger.add_trial(self._study, config, seed, purpose, stop_step=stop_step)
        self.history.put(Trial(trial, config, seed, purpose, target_step=stop_step))
        return Move(trial, config, seed, 0, stop_step, purpose)

    def go_on(self, trial: int, stop_step: int) -> Move:
        """Let a trial train up to ``stop_step``."""
        record = self.trial(trial)
        move = Move(trial, record.config, record.seed, record.curve.last_step, stop_step, record.purpose)
        self._ledger.add_move(self._study, move)
        self.history.put(replace(record, target_step=stop_step))
        return move

    def tell(self, move: Move, rows: Iterable[Mapping[str, Any]], *, error: str | None, ended: bool) -> None:
        """Answer an outstanding move; see ``Study.tell``."""
        trial = self.history.numbered(move.trial)
        if trial is None or trial.seed != move.seed or config_key(trial.config) != config_key(move.config):
            raise MoveError(
                f"The study has no trial {move.trial} with this move's configuration and seed. "
                "Tell a move that ask() gave."
            )
        if trial.state is not State.RUNNING or trial.target_step != move.stop_step:
            raise MoveError(
                f"The move of trial {trial.id} to step {move.stop_step} isn't outstanding: the trial is "
                f"{trial.state} at step {trial.curve.last_step}. Was it told before?"
            )
        new = []
        for row in rows:
            metrics = dict(row)
            step, cost_s = metrics.pop("step", move.stop_step), metrics.pop("cost_s", 0.0)
            new.append(self._metric.measurement(step, cost_s, metrics))
            if new[-1].step > move.stop_step:
                raise MoveError(
                    f"Trial {trial.id} is to stop at step {move.stop_step}, but step {new[-1].step} was told. "
                    "Tell steps start_step + 1 to stop_step."
                )
        self._append(trial, new)
        trial = self.trial(trial.id)
        if error is not None or ended or trial.diverged or trial.curve.last_step >= move.stop_step:
            self._close(trial, ended=ended, error=error)

    def record(self, event: Event) -> None:
        """Write down what a worker reported."""
        trial = self.trial(event.trial)
        match event:
            case Measured():
                if len(trial.curve) and event.step <= trial.curve.last_step:
                    return  # the untrained net, measured again after a restart
                self._append(trial, [self._metric.measurement(event.step, event.cost_s, event.metrics)])
            case Finished():
                self._close(trial, ended=event.ended)
            case Failed():
                self._close(trial, ended=True, error=event.error, waste_s=event.waste_s)

    def _append(self, trial: Trial, new: Sequence[Measurement]) -> None:
        try:
            curve = trial.curve.extended(new)
        except ValueError as error:
            raise MoveError(f"Trial {trial.id} stands at step {trial.curve.last_step}. {error}") from None
        if new:
            self._ledger.add_measurements(self._study, trial.id, new)
            self.history.put(replace(trial, curve=curve))

    def _close(self, trial: Trial, *, ended: bool, error: str | None = None, waste_s: float = 0.0) -> None:
        ended = ended or trial.diverged or trial.curve.last_step >= self._horizon
        self._ledger.end_move(self._study, trial.id, ended=ended, error=error, waste_s=waste_s)
        paused = error is None and not ended
        self.history.put(
            replace(
                trial,
                target_step=trial.curve.last_step if paused else trial.target_step,
                ended=ended,
                error=error,
                waste_s=trial.waste_s + waste_s,
            )
        )
