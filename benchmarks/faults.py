"""A storm of faults during real studies: what was acknowledged is there once, and the winner is the same.

An MLP in NumPy on scikit-learn's digits is tuned with one worker, first undisturbed, then in a storm: `kill -9` of the
worker and of the main process at random moments, SIGSTOP of either for up to 3 seconds, a disk that is full for half a
second (a small tmpfs, filled to the last byte; needs root), and a wall clock that jumps by hours (libfaketime, Debian's
package `faketime`). A main process that is gone is started again with the same command. Studies with further seeds
follow, several at the same time, until there were enough kills. The searcher is one that doesn't look at a clock,
because faults make steps take longer, and no trial is stopped early, because a worker trains on until it hears of it,
which is a matter of time. After each study:

- every measurement that was acknowledged (its transaction had returned) is in the ledger once, with its value;
- every trial has ended or is paused, and none has failed;
- all curves, the winner's configuration and its scores are those of the undisturbed study with the same seed.

python benchmarks/faults.py [--kills 500] [--results benchmarks/results/faults.json]

The results are written after each study. A run that finds results goes on from them.
"""

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import psutil

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
DISK_MB = 24
SEARCHER = "hyperband"
SPACE = {
    "learning_rate": {"float": [1e-3, 1.0], "log": True},
    "units": {"int": [8, 48], "log": True},
    "momentum": {"float": [0.0, 0.95]},
    "iterations": 24,
}


# The study, in a process of its own


def train(config, seed, folder):
    """An MLP with one hidden layer; after each epoch it measures, saves a checkpoint, and says what it measured."""
    import numpy as np

    from ayar import checkpoint, latest_checkpoint

    data = np.load(os.environ["DIGITS"])
    X, y = data["X"] / 16, data["y"]
    order = np.random.default_rng(0).permutation(len(X))
    rows, valid = order[:1200], order[1200:]
    rng = np.random.default_rng(seed)
    sizes = (64, config["units"], 10)
    state = {f"W{i}": rng.normal(0, sizes[i] ** -0.5, (sizes[i], sizes[i + 1])) for i in range(2)}
    state |= {f"v{i}": np.zeros_like(state[f"W{i}"]) for i in range(2)}
    saved = latest_checkpoint(folder)
    if saved is not None:
        state = dict(np.load(saved[1]))

    def forward(batch):
        hidden = np.maximum(X[batch] @ state["W0"], 0)
        Z = hidden @ state["W1"]
        P = np.exp(Z - Z.max(axis=1, keepdims=True))
        return hidden, P / P.sum(axis=1, keepdims=True)

    for epoch in range(saved[0] + 1 if saved else 1, config["iterations"] + 1):
        for batch in np.split(np.random.default_rng((seed, epoch)).permutation(rows), range(32, 1200, 32)):
            hidden, P = forward(batch)
            error = (P - np.eye(10)[y[batch]]) / len(batch)
            gradients = X[batch].T @ ((error @ state["W1"].T) * (hidden > 0)), hidden.T @ error
            for i, gradient in enumerate(gradients):
                state[f"v{i}"] = config["momentum"] * state[f"v{i}"] + gradient
                state[f"W{i}"] = state[f"W{i}"] - config["learning_rate"] * state[f"v{i}"]
        probe = forward(rows[:512])[1][np.arange(512), y[rows[:512]]]
        measured = {
            "step": epoch,
            "train_probe": float(-np.log(probe + 1e-12).mean()),
            "valid_error": float((forward(valid)[1].argmax(axis=1) != y[valid]).mean()),
        }
        with checkpoint(folder, epoch, suffix=".npz") as path:
            np.savez(path, **state)
        yield measured


def study(store: Path, seed: int, trials: int, acknowledged: Path) -> None:
    """Tune, and keep a list of what was acknowledged outside the ledger."""
    from ayar import Space, Study
    from ayar.logbook import Logbook
    from ayar.run.events import Measured

    record, kept = Logbook.record, os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noting(book, event):
        again = record(book, event)
        if isinstance(event, Measured):
            os.write(kept, f"{event.trial} {event.step} {event.metrics['valid_error']!r}\n".encode())
        return again

    Logbook.record = noting
    with Study(store, space=Space.from_dict(SPACE), minimize="valid_error", seed=seed, searcher=SEARCHER) as tuned:
        tuned.tune(train, trials=trials, workers=1, progress=False, doctor="advise")


# The storm


class Tally:
    """What all storms together have done, and when they are to end."""

    def __init__(self, kills: int, minutes: float, done: int) -> None:
        self.wanted, self.done, self._before = kills, done, done
        self.begun = time.monotonic()
        self._until = self.begun + 60 * minutes
        self._lock = threading.Lock()
        self._told = self.begun

    @property
    def enough(self) -> bool:
        """Whether there were enough kills, or the time is over."""
        return self.done >= self.wanted or time.monotonic() > self._until

    def killed(self) -> None:
        """One more; now and then a line about how far it is."""
        with self._lock:
            self.done += 1
            now = time.monotonic()
            if now - self._told > 15 or self.done == self.wanted:
                self._told = now
                each_s = (now - self.begun) / (self.done - self._before)
                left = (self.wanted - self.done) * each_s / 60
                say(f"{self.done} of {self.wanted} kills, {(now - self.begun) / 60:.1f} min, about {left:.1f} to go")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Storm:
    """Starts the study again and again, and hits it."""

    def __init__(self, words: list[str], folder: Path, disk: Path | None, seed: int, tally: Tally) -> None:
        self.words, self.folder, self.disk, self.rng, self.tally = words, folder, disk, random.Random(seed), tally
        self.clock = folder / "clock"
        self.clock.write_text("+0")
        self.counts: Counter[str] = Counter()
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if FAKETIME.exists():
            self.environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a step of the wall clock leaves the monotonic one alone
            }

    def rage(self, start_s: float) -> None:
        """Until the study is done. A fault comes some time after there is a process for it to hit.

        ``start_s``: from the start of the study to its first measurement, of which the worker's start is about half.
        """
        kinds = ["kill worker"] * 70 + ["kill main"] * 25 + ["stop"] * 4 + ["clock jump"] * 4 + ["full disk"] * 2
        while True:
            with (self.folder / "errors").open("ab") as errors:
                main = subprocess.Popen(self.words, env=self.environment, stderr=errors, start_new_session=True)
            while main.poll() is None:
                if self.tally.enough:
                    main.wait()
                    break
                kind = self.rng.choice(kinds)
                self.hit(kind, main, self.rng.uniform(0, start_s if kind == "kill main" else 0.6 * start_s))
            if main.returncode == 0:
                return
            self.counts["starts after an end"] += 1

    def hit(self, kind: str, main: subprocess.Popen, after_s: float) -> None:
        """One fault, so many seconds after its victim is there. None where the study has ended before."""
        worker = None if kind == "kill main" else self.worker_of(main)
        with suppress(subprocess.TimeoutExpired):
            main.wait(after_s)
        if main.poll() is not None:
            return
        with suppress(psutil.Error):
            victims = [psutil.Process(main.pid)] + ([] if worker is None else [psutil.Process(worker)])
            if kind.startswith("kill"):
                victims[0 if kind == "kill main" else -1].kill()
                if kind == "kill main":
                    main.wait()
                self.tally.killed()
            elif kind == "stop":
                victim = self.rng.choice(victims)
                victim.suspend()
                time.sleep(self.rng.uniform(0.1, 3))
                victim.resume()
            elif kind == "clock jump" and FAKETIME.exists():
                self.clock.write_text(f"{self.rng.choice('+-')}{self.rng.randrange(1, 40)}h")
            elif kind == "full disk" and self.disk is not None:
                self.fill(main)
            else:
                return
            self.counts[kind] += 1

    def worker_of(self, main: subprocess.Popen) -> int | None:
        """The process id of its worker, once it has one; None where it ends before."""
        while main.poll() is None:
            with suppress(OSError):
                for child in Path(f"/proc/{main.pid}/task/{main.pid}/children").read_text().split():
                    if b"ayar.run.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return int(child)
            time.sleep(0.01)
        return None

    def fill(self, main: subprocess.Popen) -> None:
        """Leave not a byte on the disk for half a second, or until the study ends for it."""
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        with suppress(subprocess.TimeoutExpired):
            main.wait(0.5)
        filler.unlink()


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A disk of ``DISK_MB`` at ``place`` within; False where this user may not mount one."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "ayar", str(place)]
    mounted = not subprocess.run(words, check=False, capture_output=True).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)


def facts(store: Path) -> dict:
    """What must not differ."""
    from ayar import Study

    with Study(store) as tuned:
        winner = tuned.winner()
        return {
            "curves": [[t.config, t.seed, str(t.purpose), [[m.step, m.loss] for m in t.curve]] for t in tuned.trials()],
            "states": dict(Counter(str(t.state) for t in tuned.trials())),
            "winner": [winner.config, winner.stop_step, {str(k): s.values for k, s in winner.scores.items()}],
            "errors": [t.error.splitlines()[0] for t in tuned.trials() if t.error is not None],
            "waste_s": round(sum(t.waste_s for t in tuned.trials()), 1),
        }


def missing(acknowledged: Path, curves: list) -> list[str]:
    """What was acknowledged and is not in the ledger with its value, or was acknowledged with two values."""
    held = {(trial, step): loss for trial, (*_, curve) in enumerate(curves) for step, loss in curve}
    wrong = []
    for line in acknowledged.read_text().splitlines():
        trial, step, loss = line.split()
        if held.get((int(trial), int(step))) != float(loss):
            wrong.append(line)
    return wrong


def seconds_to_start(words: list[str], acknowledged: Path) -> float:
    """Run the calm study; gives how long it took to its first measurement. On a busy machine that is much."""
    begun = time.monotonic()
    main = subprocess.Popen(words)
    while not acknowledged.exists() or not acknowledged.stat().st_size:
        time.sleep(0.02)
    took_s = time.monotonic() - begun
    if main.wait():
        raise RuntimeError("the calm study failed")
    return took_s


def weather(here: Path, seed: int, trials: int, tally: Tally, keep: Path | None) -> dict:
    """One study, undisturbed and in a storm."""
    here.mkdir()
    with small_disk(here / "disk") as mounted:

        def words(store: Path) -> list[str]:
            told = here / f"told-{store.stem}"
            given = ["--study", store, "--seed", seed, "--trials", trials, "--acknowledged", told]
            return [sys.executable, __file__, *map(str, given)]

        calm, stormy = here / "calm.db", here / "disk" / "stormy.db"
        start_s = seconds_to_start(words(calm), here / "told-calm")
        begun = time.monotonic()
        storm = Storm(words(stormy), here, here / "disk" if mounted else None, seed, tally)
        storm.rage(start_s)
        before, after = facts(calm), facts(stormy)
        lost = missing(here / "told-stormy", after["curves"])
        differ = sum(a != b for a, b in zip(before["curves"], after["curves"], strict=False))
        found = {
            "seed": seed,
            "seconds to start": round(start_s, 2),
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "faults": dict(storm.counts),
            "trials": len(after["curves"]),
            "measurements": sum(len(curve) for *_, curve in after["curves"]),
            "states": after["states"],
            "errors": after["errors"],
            "acknowledged and not there once": len(lost),
            "curves that differ from the undisturbed study": differ + abs(len(before["curves"]) - len(after["curves"])),
            "same winner and scores": before["winner"] == after["winner"],
            "seconds lost": after["waste_s"],
            "disk": f"tmpfs of {DISK_MB} MB, filled to the last byte" if mounted else "left out: no right to mount",
        }
        if keep is not None and (lost or differ or before["winner"] != after["winner"]):
            keep.mkdir(parents=True, exist_ok=True)
            for store in (calm, stormy):
                shutil.copy(store, keep / f"{seed}-{store.name}")
            shutil.copy(here / "errors", keep / f"{seed}-errors")
    say(json.dumps(found))
    return found


def report(studies: list[dict], minutes: float) -> dict:
    """What was found, with what is needed to judge it."""
    totals: Counter[str] = Counter()
    for each in studies:
        totals += Counter(each["faults"])
    return {
        "claim": "each acknowledged measurement is there once, each trial ends, the winner is that of a calm study",
        "kills": totals["kill worker"] + totals["kill main"],
        "faults": dict(totals),
        "acknowledged and not there once": sum(each["acknowledged and not there once"] for each in studies),
        "studies with another winner or other scores": sum(not each["same winner and scores"] for each in studies),
        "studies with other curves": sum(each["curves that differ from the undisturbed study"] > 0 for each in studies),
        "trials that failed": sum(len(each["errors"]) for each in studies),
        "clock": "libfaketime, jumps of up to 40 hours" if FAKETIME.exists() else "left out: libfaketime is missing",
        "searcher": SEARCHER,
        "studies": sorted(studies, key=lambda each: each["seed"]),
        "minutes": round(minutes, 1),
        "load_1min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "ayar": version("ayar"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=500, help="in all studies together")
    parser.add_argument("--trials", type=int, default=30, help="of each study's search")
    parser.add_argument("--minutes", type=float, default=60, help="start no fault after so many")
    parser.add_argument("--beside", type=int, default=2, help="studies at the same time")
    parser.add_argument("--results", type=Path, help="where they are written; default: standard output")
    parser.add_argument("--keep", type=Path, help="a folder for the ledgers of studies that a storm has changed")
    parser.add_argument("--study", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--acknowledged", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.study:
        study(args.study, args.seed, args.trials, args.acknowledged)
        return
    before = json.loads(args.results.read_text()) if args.results and args.results.exists() else {}
    if "searcher" not in before:  # none, or of a storm of another kind
        before = {}
    studies = before.get("studies", [])
    minutes = before.get("minutes", 0.0)
    tally = Tally(args.kills, args.minutes, report(studies, 0)["kills"])
    lock = threading.Lock()
    seeds = iter(range(max((each["seed"] for each in studies), default=-1) + 1, 10**6))

    def one_after_the_other(here: Path) -> None:
        while not tally.enough:
            with lock:
                seed = next(seeds)
            found = weather(here / str(seed), seed, args.trials, tally, args.keep)
            with lock:
                studies.append(found)
                text = json.dumps(report(studies, minutes + (time.monotonic() - tally.begun) / 60), indent=2)
                if args.results:
                    args.results.write_text(text + "\n")

    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        save_digits(Path(name) / "digits.npz")
        with ThreadPoolExecutor(args.beside) as pool:
            for done in [pool.submit(one_after_the_other, Path(name)) for _ in range(args.beside)]:
                done.result()
    if not args.results:
        print(json.dumps(report(studies, minutes + (time.monotonic() - tally.begun) / 60), indent=2))


def save_digits(path: Path) -> None:
    """Put the data where every study finds them."""
    import numpy as np
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    np.savez(path, X=X, y=y)
    os.environ["DIGITS"] = str(path)


if __name__ == "__main__":
    main()
