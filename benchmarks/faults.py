"""A storm of faults during real studies: what was acknowledged is there once, and the winner is the same.

An MLP in NumPy on scikit-learn's digits is tuned with one worker, first undisturbed, then in a storm: `kill -9` of the
worker and of the main process at random moments, SIGSTOP of either for up to 3 seconds, a disk that is full for half a
second (a small tmpfs, filled to the last byte; needs root), and a wall clock that jumps by hours (libfaketime, Debian's
package `faketime`). A main process that is gone is started again with the same command. Studies with further seeds
follow until there were enough kills. After each of them:

- every measurement that was acknowledged (its transaction had returned) is in the ledger once, with its value;
- every trial has ended or is paused, and none has failed;
- all curves, the winner's configuration and its scores are those of the undisturbed study with the same seed.

python benchmarks/faults.py [--kills 500] > benchmarks/results/faults.json
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import psutil

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
DISK_MB = 24
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
    with Study(store, space=Space.from_dict(SPACE), minimize="valid_error", seed=seed) as tuned:
        tuned.tune(train, trials=trials, workers=1, progress=False)


# The storm


class Storm:
    """Starts the study again and again, and hits it."""

    def __init__(self, words: list[str], folder: Path, disk: Path | None, rng: random.Random) -> None:
        self.words, self.folder, self.disk, self.rng = words, folder, disk, rng
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

    def rage(self, kills: int, pace_s: float, until: float) -> None:
        """Until the study is done, with so many kills at most, one about every ``pace_s``, none after ``until``."""
        kinds = ["kill worker"] * 70 + ["kill main"] * 25 + ["stop"] * 4 + ["clock jump"] * 4 + ["full disk"] * 2
        while True:
            with (self.folder / "errors").open("ab") as errors:
                main = subprocess.Popen(self.words, env=self.environment, stderr=errors, start_new_session=True)
            while main.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    main.wait(self.rng.uniform(0, 2 * pace_s))
                done = self.counts["kill worker"] + self.counts["kill main"]
                if done < kills and time.monotonic() < until and main.poll() is None:
                    self.hit(self.rng.choice(kinds), main)
            if main.returncode == 0:
                return
            self.counts["starts after an end"] += 1

    def hit(self, kind: str, main: subprocess.Popen) -> None:
        """One fault."""
        with suppress(psutil.Error):
            workers = [p for p in psutil.Process(main.pid).children() if "ayar.run.worker" in " ".join(p.cmdline())]
            victim = self.rng.choice(workers) if workers and kind != "kill main" else psutil.Process(main.pid)
            if kind == "kill worker" and workers:
                victim.kill()
            elif kind == "kill main":
                victim.kill()
                main.wait()
            elif kind == "stop":
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

    def fill(self, main: subprocess.Popen) -> None:
        """Leave not a byte on the disk for half a second, or until the study ends for it."""
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        with suppress(subprocess.TimeoutExpired):
            main.wait(0.5)
        filler.unlink()


def facts(store: Path) -> dict:
    """What must not differ."""
    from ayar import Study

    with Study(store) as tuned:
        winner = tuned.winner()
        return {
            "curves": [[t.config, t.seed, str(t.purpose), [[m.step, m.loss] for m in t.curve]] for t in tuned.trials()],
            "states": dict(Counter(str(t.state) for t in tuned.trials())),
            "winner": [winner.config, winner.stop_step, {str(k): s.values for k, s in winner.scores.items()}],
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=60, help="start no fault after so many")
    parser.add_argument("--study", type=Path)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--acknowledged", type=Path)
    args = parser.parse_args()
    if args.study:
        study(args.study, args.seed, args.trials, args.acknowledged)
        return
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        print(json.dumps(storms(Path(name), args.kills, args.trials, args.minutes), indent=2))


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


def storms(here: Path, kills: int, trials: int, minutes: float) -> dict:
    """Studies, each undisturbed and in a storm, until there were enough kills."""
    import numpy as np
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    np.savez(here / "digits.npz", X=X, y=y)
    os.environ["DIGITS"] = str(here / "digits.npz")
    disk = here / "disk"
    disk.mkdir()
    mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "ayar", str(disk)], check=False
    ).returncode
    totals: Counter[str] = Counter()
    studies, seed, begun = [], 0, time.monotonic()
    until = begun + 60 * minutes
    try:
        while totals["kill worker"] + totals["kill main"] < kills and time.monotonic() < until:

            def words(store: Path, seed: int = seed) -> list[str]:
                told = [
                    "--study",
                    store,
                    "--seed",
                    seed,
                    "--trials",
                    trials,
                    "--acknowledged",
                    f"{here}/told-{store.name}",
                ]
                return [sys.executable, __file__, *map(str, told)]

            calm, stormy = here / f"calm-{seed}.db", disk / f"stormy-{seed}.db"
            pace_s = min(0.3 * seconds_to_start(words(calm), here / f"told-{calm.name}"), 1.8)
            storm = Storm(words(stormy), here, disk if mounted else None, random.Random(seed))
            storm.rage(kills - totals["kill worker"] - totals["kill main"], pace_s, until)
            before, after = facts(calm), facts(stormy)
            totals += storm.counts
            lost = missing(here / f"told-{stormy.name}", after["curves"])
            studies.append(
                {
                    "seed": seed,
                    "mean seconds between faults": round(pace_s, 2),
                    "faults": dict(storm.counts),
                    "trials": len(after["curves"]),
                    "measurements": sum(len(curve) for *_, curve in after["curves"]),
                    "states": after["states"],
                    "acknowledged and not there once": len(lost),
                    "curves that differ from the undisturbed study": sum(
                        a != b for a, b in zip(before["curves"], after["curves"], strict=False)
                    )
                    + abs(len(before["curves"]) - len(after["curves"])),
                    "same winner and scores": before["winner"] == after["winner"],
                    "seconds lost": after["waste_s"],
                }
            )
            print(studies[-1], file=sys.stderr, flush=True)
            seed += 1
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(disk)], check=False)
    return {
        "claim": "each acknowledged measurement is there once, each trial ends, the winner is that of a calm study",
        "faults": dict(totals),
        "disk": f"tmpfs of {DISK_MB} MB, filled to the last byte" if mounted else "left out: no right to mount",
        "clock": "libfaketime, jumps of up to 40 hours" if FAKETIME.exists() else "left out: libfaketime is missing",
        "studies": studies,
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "load_1min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "ayar": version("ayar"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


if __name__ == "__main__":
    main()
