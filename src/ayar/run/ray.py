"""Workers on a Ray cluster: each is an actor, placed by Ray where its processors, GPUs and memory are free.

Where there is no room, Ray's autoscaler adds a node, if the cluster has one; meanwhile the workers that have a place
train. An actor takes turns: it is told what is new, trains for a moment, and answers with what came of it.
"""

from __future__ import annotations

import difflib
import functools
import os
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from ayar.errors import extra
from ayar.run.events import Event
from ayar.run.lane_trainer import open_trainer
from ayar.run.objective import as_training
from ayar.run.process import environment, tail
from ayar.run.trainer import Trainer, describe
from ayar.run.worker import Broken, Command, Message, Ready, Standing, take
from ayar.run.workers import Workers

if TYPE_CHECKING:
    from ray import ObjectRef

_TURN_S = 0.05  # quick steps are told together; a slow one is told when it is done
_UNSET = ("PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES")  # which GPUs an actor sees is for Ray to say


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a turn.

    Attributes:
        said: The worker's messages.
        output: The last lines that the training has printed, where there are new ones.
        busy: Whether there is more to train.
        ended: Whether the worker has closed its trainings, as it was asked to.
    """

    said: Message = ()
    output: str | None = None
    busy: bool = False
    ended: bool = False


class RaySite:
    """Starts workers on the Ray cluster that this process is connected to; else on the one that ``ray.init`` finds.

    Args:
        pickled: The objective. The modules that it imports must be importable on the nodes.
        workers: What each worker asks for: ``threads`` processors, ``gpus_per_worker`` GPUs, ``memory_gb``,
            ``resources``.
        metric: What every step must measure.
        horizon: The largest step.
        folder: Where each trial gets a folder. What one node writes there, another finds only on a shared file
            system; else a trial that moves to another node trains again up to where it was.
    """

    def __init__(self, pickled: bytes, workers: Workers, *, metric: str, horizon: int, folder: Path | None) -> None:
        with extra("ray"):
            import ray
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(log_to_driver=False, configure_logging=False)
        if warning := unmet(workers, ray.cluster_resources()):  # type: ignore[no-untyped-call]
            print(warning, file=sys.stderr)
        limits = environment(workers.threads or 1)
        told = {name: value for name, value in limits.items() if os.environ.get(name) != value and name not in _UNSET}
        self._actor = ray.remote(_Actor).options(
            num_cpus=workers.threads or 1,
            num_gpus=workers.gpus_per_worker or 0,
            resources=dict(workers.resources),
            memory=None if workers.memory_gb is None else int(workers.memory_gb * 1e9),
            max_restarts=0,  # a lost actor is replaced by its pool, which knows what it was training
            runtime_env={"env_vars": told},
        )
        trials = folder or Path(tempfile.gettempdir()) / f"ayar-{os.getpid()}-{time.time_ns()}"
        self._give = functools.partial(
            self._actor.remote, ray.put(pickled), metric, horizon, trials.absolute(), Path.cwd(), list(sys.path)
        )

    def start(self, number: int, lanes: int | None) -> RayWorker:  # noqa: ARG002 - seats are for Ray to say
        """A fresh actor; it may take until there is room for it."""
        return RayWorker(self._give(lanes))

    def wait(self, links: Sequence[RayWorker], timeout_s: float) -> None:
        """Wait until one of them has answered or is dead, or the time is over."""
        import ray

        turns = [link.turn for link in links if link.turn is not None]
        if turns:
            ray.wait(turns, num_returns=1, timeout=timeout_s, fetch_local=False)
        else:
            time.sleep(timeout_s)

    def close(self) -> None:
        """Leave the cluster, where this site has entered it."""
        import ray

        if self._started:
            ray.shutdown()


def unmet(workers: Workers, offered: Mapping[str, float]) -> str:
    """What a worker asks for and the whole cluster hasn't enough of, in words; empty where there is a place for one.

    >>> print(unmet(Workers(resources={"fast_disc": 1}), {"CPU": 8.0, "fast_disk": 2.0}))
    note: the Ray cluster has 0 fast_disc and each worker asks for 1, so all wait
    until a node brings it; did you mean 'fast_disk'?
    """
    asked = {"CPU": workers.threads or 1, "GPU": workers.gpus_per_worker or 0, **workers.resources}
    for name, amount in asked.items():
        if amount > offered.get(name, 0):
            near = difflib.get_close_matches(name, [other for other in offered if other != name], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            has = f"the Ray cluster has {offered.get(name, 0):g} {name} and each worker asks for {amount:g}"
            return textwrap.fill(f"note: {has}, so all wait until a node brings it{hint}", 79)
    return ""


class RayWorker:
    """One actor as its pool reaches it; see ``ayar.run.pool.Link``.

    Attributes:
        turn: The answer that is outstanding, if any.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._commands: list[Command] = []
        self._output = ""
        self._fate: str | None = None
        self.turn: ObjectRef[Any] | None = actor.turn.remote([])

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as its answers show."""
        return self._fate is None

    def send(self, message: Command) -> None:
        """Tell it something, with its next turn."""
        self._commands.append(message)
        if self.turn is None:
            self._next()

    def messages(self) -> Iterator[Event | Ready | Broken | Standing]:
        """What it has answered; its next turn begins at once."""
        import ray

        if self.turn is None or not ray.wait([self.turn], timeout=0)[0]:
            return
        turn, self.turn = self.turn, None
        try:
            answer: Answer = ray.get(turn)
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
            self._fate = f"the worker on Ray is lost: {' '.join(str(error).split())[:400]}"
            return
        if answer.output is not None:
            self._output = answer.output
        if answer.ended:
            self._fate = "it has ended, as it was asked to"
        elif answer.busy or self._commands:
            self._next()
        yield from answer.said

    def fate(self) -> tuple[str, int]:
        """How it ended, in words; what it was training is tried again once, because Ray cannot tell why."""
        return self._fate or "the worker on Ray was ended", 1

    def output_tail(self) -> str:
        """The last lines that the training had printed when its last turn ended."""
        return self._output

    def memory_gb(self) -> float:
        """0: Ray's own memory monitor looks after its nodes."""
        return 0.0

    def abort(self) -> None:
        """End it now."""
        self.kill()

    def kill(self) -> None:
        """End it now, with what it has started."""
        import ray

        self._fate = self._fate or "it was killed"
        ray.kill(self._actor)

    def _next(self) -> None:
        commands, self._commands = self._commands, []
        self.turn = self._actor.turn.remote(commands)


class _Actor:
    """What runs on a node. Loads the objective, then takes turns."""

    def __init__(
        self, pickled: bytes, metric: str, horizon: int, folder: Path, cwd: Path, path: list[str], lanes: int | None
    ) -> None:
        sys.path += [entry or str(cwd) for entry in path if entry not in sys.path]
        if cwd.is_dir():
            os.chdir(cwd)
        made, name = tempfile.mkstemp(prefix="ayar-output-")
        self._output = Path(name)
        output = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for each in (made, output):
            os.close(each)
        self._trainer: Trainer | Broken
        try:
            training = as_training(cloudpickle.loads(pickled), metric=metric)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - loading runs the user's imports
            self._trainer = Broken(describe(error))
        else:
            self._trainer = open_trainer(training, horizon=horizon, folder=folder, lanes=lanes)
        self._told: Standing | None = None
        self._shown_bytes = 0

    def turn(self, commands: list[Command]) -> Answer:
        """Take in the commands and train for a moment. The first turn only says that the objective is loaded."""
        if isinstance(self._trainer, Broken):
            return Answer((self._trainer,), self._new_output())
        if self._told is None:
            self._told = Standing.of(self._trainer)
            return Answer((Ready(self._told),))
        going_on = all(take(command, self._trainer) for command in commands)
        events: list[Event] = []
        until = time.monotonic() + _TURN_S
        while self._trainer.busy and (time.monotonic() < until or not going_on):
            events += self._trainer.advance()
        standing = Standing.of(self._trainer)
        said = tuple(events) if standing == self._told else (standing, *events)
        self._told = standing
        if not going_on:
            self._trainer.close()
            self._output.unlink(missing_ok=True)
            return Answer(said, ended=True)
        return Answer(said, self._new_output(), self._trainer.busy)

    def _new_output(self) -> str | None:
        size = self._output.stat().st_size
        if size == self._shown_bytes:
            return None
        self._shown_bytes = size
        return tail(self._output)
