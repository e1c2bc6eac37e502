"""What trains: how many workers, where, and what each of them may use."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ayar.errors import BudgetError

PLACES = ("local", "ray")
"""Where workers can be: processes on this machine, or actors on a Ray cluster."""

_OWN = {
    "cpu": "threads= (--threads)",
    "gpu": "gpus_per_worker= (--gpus-per-worker)",
    "memory": "memory_gb= (--memory-gb)",
}
"""Resources that every Ray node has, and what says how much of them a worker asks for."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Workers that train at the same time, and what each of them may use.

    Attributes:
        count: How many; 0 trains in this process.
        threads: Threads for the linear algebra of each; by default this machine's processors are shared out evenly.
            On Ray, the processors that each asks for, by default 1.
        gpus: On this machine, the GPUs to share out, by the ids that ``CUDA_VISIBLE_DEVICES`` takes; ``"all"`` for
            those that this process sees; none by default: then each worker sees what this process sees.
        gpus_per_worker: GPUs that each gets: 0.5 puts two workers on one, 2 gives each two. By default each gets
            one, and workers share them where there are more workers than GPUs.
        memory_gb: Gigabytes (1e9 bytes) of memory that a training may hold, its child processes included; one that
            holds more is ended, and its trial fails.
        step_timeout_s: Seconds that one step may take. Steps that a restart has to train again are allowed for.
        trial_timeout_s: Seconds that a trial may train in all, steps of the past included.
        on: Where they are: ``"local"`` or ``"ray"``.
        resources: On Ray, what else each asks for, as the cluster's nodes name it: ``{"fast_disk": 1}``.

    >>> [Workers(4, gpus=("0", "1")).gpus_of(number) for number in range(4)]
    ['0', '1', '0', '1']
    >>> [Workers(2, gpus=("0", "1", "2", "3"), gpus_per_worker=2).gpus_of(number) for number in range(2)]
    ['0,1', '2,3']
    """

    count: int = 1
    threads: int | None = None
    gpus: Sequence[str] | str = ()
    gpus_per_worker: float | None = None
    memory_gb: float | None = None
    step_timeout_s: float | None = None
    trial_timeout_s: float | None = None
    on: str = "local"
    resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise BudgetError(f"workers={self.count} can't train. Give 1 or more, or 0 to train in this process.")
        if self.on not in PLACES:
            raise BudgetError(f"on={self.on!r} is no place to train. Give {' or '.join(map(repr, PLACES))}.")
        for name in ("threads", "memory_gb", "step_timeout_s", "trial_timeout_s", "gpus_per_worker"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BudgetError(f"{name}={value} lets nothing train. Give a number above 0, or leave it out.")
        for name, amount in self.resources.items():
            if name.lower() in _OWN:
                raise BudgetError(f"resources={{{name!r}: {amount:g}}}: Ray asks for it by {_OWN[name.lower()]}.")
            if not amount > 0 or (amount > 1 and amount != int(amount)):
                raise BudgetError(
                    f"resources={{{name!r}: {amount:g}}} is no amount that Ray knows. Give a whole number, or a part "
                    "of one between 0 and 1."
                )
        if self.gpus == "all":
            object.__setattr__(self, "gpus", visible_gpus(os.environ))
        elif isinstance(self.gpus, str):
            object.__setattr__(self, "gpus", tuple(self.gpus.split(",")))
        share = self.gpus_per_worker
        if share is not None and share > 1 and share != int(share):
            raise BudgetError(f"gpus_per_worker={share} is neither a whole number nor a part of one GPU.")
        if self.gpus and share is not None and self.count > self.seats:
            raise BudgetError(
                f"{self.count} workers with {share:g} GPUs each need more than the {len(self.gpus)} there are "
                f"({', '.join(self.gpus)}). Use {self.seats} workers, or a smaller gpus_per_worker."
            )

    @classmethod
    def of(cls, given: int | Workers, *, on: str | None = None, step_timeout_s: float | None = None) -> Workers:
        """The workers that a number, or a description, says; ``on`` and ``step_timeout_s`` count where given."""
        workers = given if isinstance(given, Workers) else cls(given)
        timeout_s = workers.step_timeout_s if step_timeout_s is None else step_timeout_s
        return replace(workers, on=on or workers.on, step_timeout_s=timeout_s)

    def gpus_of(self, number: int) -> str | None:
        """The GPUs of one worker, as ``CUDA_VISIBLE_DEVICES`` takes them; None where none are shared out."""
        if not self.gpus:
            return None
        share = self.gpus_per_worker or 1
        if share < 1:
            return self.gpus[number // self._each(share)]
        first = number * int(share) % len(self.gpus)
        return ",".join(self.gpus[first : first + int(share)])

    def threads_of_each(self, processors: int) -> int:
        """Threads for each worker on a machine with so many processors."""
        return self.threads or max(1, processors // max(1, self.count))

    @property
    def seats(self) -> int:
        """How many workers the GPUs have room for, each with its share; 0 where none are shared out."""
        share = self.gpus_per_worker or 1
        return len(self.gpus) // int(share) if share >= 1 else len(self.gpus) * self._each(share)

    @staticmethod
    def _each(share: float) -> int:
        """How many workers with a part of a GPU fit on one."""
        return math.floor(1 / share + 1e-9)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of the GPUs that a process with this environment sees.

    >>> visible_gpus({"CUDA_VISIBLE_DEVICES": "2,3"})
    ('2', '3')

    Raises:
        BudgetError: There is none.
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None and (program := shutil.which("nvidia-smi")):
        said = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        listed = ",".join(str(number) for number, line in enumerate(said.stdout.splitlines()) if line)
    if not listed:
        raise BudgetError("gpus='all': this process sees no GPU. Name their ids, or leave it out.")
    return tuple(listed.split(","))
