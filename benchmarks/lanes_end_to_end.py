"""How much sooner a tuning with lanes finds what a tuning without lanes finds, too.

    python benchmarks/lanes_end_to_end.py [SEEDS] [SECONDS] > benchmarks/results/lanes_end_to_end.json

For each seed the same command runs twice, with ``--lanes off`` and ``--lanes auto``, in turns first. Both are read
up to the least validation error that both reached: that is the same error for both, and the time until it was first
measured is compared. Time counts from the start of the command, so the start of processes and a calibration count, too.

    python benchmarks/lanes_end_to_end.py processor [SEEDS] [SECONDS]

does the same on the clock of the processor, which other programs disturb little: the whole search in one process,
ledger and searcher included, without the start of the process. ``times_sooner`` then compares the work until the error.

    python benchmarks/lanes_end_to_end.py bound [CONFIGURATIONS] > benchmarks/results/lanes_bound.json

says what the built-in space could gain at most: the milliseconds of an epoch of random configurations alone, in a lane
of their own, and in the best of several numbers of lanes that all have the same layout, which never happens.

Two spaces: the built-in one of the digits, in which nearly every trial has a shape of its own (1 to 4 layers of 32 to
512 units, mini-batches of 16 to 256); and one small shape, of which all else is tuned.
"""

import json
import math
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import ayar
from ayar.logbook import Logbook
from ayar.nets.deep_net import default_space
from ayar.run.events import Measured
from ayar.run.kernels import widest_kernels

AYAR = Path(sys.executable).with_name("ayar")

SMALL = """
learning_rate = { float = [3e-4, 0.3], log = true }
activation = { choice = ["relu", "tanh", "sigmoid"] }
optimizer = { choice = ["adam", "nesterov", "sgd"] }
momentum = { float = [0.5, 0.99], when = { optimizer = ["nesterov", "sgd"] } }
weight_decay = { float = [1e-6, 1e-2], log = true }
dropout = { float = [0.0, 0.6] }
schedule = { choice = ["cosine", "constant"] }
hidden_layers = 2
hidden_units = 32
batch_size = 32
iterations = 50
"""
ERRORS = (0.05, 0.03, 0.025, 0.02, 0.014)  # of the 359 validation rows: 18, 11, 9, 7 and 5
SPACES = {"built-in space": None, "one small shape (2 x 32, batch 32)": SMALL}

_MOVES = """
    SELECT m.trial, m.start_step, e.stop_step, m.asked_at, e.at
    FROM moves m JOIN endings e ON e.move = m.id
"""


def tune(seed: int, seconds: float, space: str | None, lanes: str) -> dict[str, object]:
    """One tuning in an empty folder: its falling validation error as (seconds, error), and how much it trained."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [AYAR, "tune", "digits", "--minutes", str(seconds / 60), "--confirm", "0", "--json"]
        command += ["--seed", str(seed), "--store", "study.db", "--lanes", lanes]
        if space is not None:
            (folder / "space.toml").write_text(space)
            command += ["--space", "space.toml"]
        begun = time.time()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        wall_s = time.time() - begun
        with sqlite3.connect(folder / "study.db") as ledger:
            moves = ledger.execute(_MOVES).fetchall()
            losses = {
                (trial, step): loss
                for trial, step, loss in ledger.execute("SELECT trial, step, loss FROM measurements")
            }
            notes = [json.loads(body) for (body,) in ledger.execute("SELECT body FROM notes WHERE kind = 'lanes'")]
    return {
        "lanes": notes[-1]["lanes"] if notes else None,
        "wall_s": round(wall_s, 1),
        "trials": len({trial for trial, *_ in moves}),
        "epochs": sum(stop - start for _, start, stop, *_ in moves),
        "falls": falls(moves, losses, begun),
    }


def falls(moves: list[tuple], losses: dict[tuple[int, int], float | None], begun: float) -> list[tuple[float, float]]:
    """When the least error so far fell, and to what. The steps of a move are taken as evenly spread over its time."""
    measured = []
    for trial, start, stop, asked_at, ended_at in moves:
        asked, ended = (datetime.fromisoformat(at).timestamp() - begun for at in (asked_at, ended_at))
        for step in range(start + 1, stop + 1):
            loss = losses.get((trial, step))
            if loss is not None:
                measured.append((asked + (ended - asked) * (step - start) / (stop - start), loss))
    best = math.inf
    found = []
    for at, loss in sorted(measured):
        if loss < best:
            best = loss
            found.append((round(at, 2), loss))
    return found


def paired(seed: int, seconds: float, space: str | None) -> dict[str, object]:
    """The two tunings of one seed, and what they have in common."""
    order = ["off", "auto"] if seed % 2 == 0 else ["auto", "off"]
    return compared(seed, {lanes: tune(seed, seconds, space, lanes) for lanes in order})


def compared(seed: int, runs: dict[str, dict]) -> dict[str, object]:
    """When each reached the least error that both reached."""
    common = max(run["falls"][-1][1] for run in runs.values())
    until = {lanes: next(at for at, loss in run["falls"] if loss <= common) for lanes, run in runs.items()}
    return {
        "seed": seed,
        "load_1min": round(os.getloadavg()[0], 1),
        "common_error": common,
        "seconds_until": until,
        "times_sooner": round(until["off"] / until["auto"], 2),
        "times_the_epochs": round(runs["auto"]["epochs"] / runs["off"]["epochs"], 2),
        "runs": runs,
    }


def searched(seed: int, seconds: float, space: str | None, lanes: str) -> None:
    """Search in this process for so many of its processor's seconds; print the falling error and the epochs."""
    task, _ = ayar.load_task("digits", seed=seed), ayar.Study
    import_module("scipy.stats")  # by the second move at the latest; all imports are part of the start
    recipe, best, falls_, epochs = ayar.deep_net(task.data), math.inf, [], 0
    chosen = default_space(task.data) if space is None else ayar.Space.from_toml(space)
    record, begun = Logbook.record, time.process_time()

    def recorded(book: Logbook, event: object) -> object:
        nonlocal best, epochs
        told, passed = record(book, event), time.process_time() - begun
        if isinstance(event, Measured) and event.step > 0:
            epochs += 1
            if event.metrics["valid_error"] < best:
                best = event.metrics["valid_error"]
                falls_.append((round(passed, 3), best))
        if passed > seconds:
            print(json.dumps({"falls": falls_, "epochs": epochs, "trials": len(book.trials)}), flush=True)
            os._exit(0)
        return told

    Logbook.record = recorded
    with tempfile.TemporaryDirectory() as name:
        study = ayar.Study(Path(name) / "study.db", space=chosen, minimize="valid_error", seed=seed)
        study.tune(recipe, minutes=1e4, workers=0, lanes=lanes, confirm=0, progress=False)


def by_processor(seeds: int, seconds: float) -> dict[str, object]:
    """Pairs of searches on the clock of the processor, with the environment that workers have."""
    result: dict[str, object] = {"clock": "processor", "seconds": seconds, "seeds": seeds}
    environment = {**widest_kernels(), **os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name, space in SPACES.items():
        pairs = []
        for seed in range(seeds):
            runs = {}
            for lanes in ("off", "auto"):
                call = f"import lanes_end_to_end as b; b.searched({seed}, {seconds}, {space!r}, {lanes!r})"
                command, folder = [sys.executable, "-c", call], Path(__file__).parent
                done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
                runs[lanes] = json.loads(done.stdout)
            pairs.append(compared(seed, runs))
        result[name] = {**summary(pairs), "pairs": pairs}
    return result


def sooner_at(error: float, pairs: list[dict]) -> dict[str, float] | None:
    """How many times sooner an error was reached, over the seeds with which both reached it; None where none did."""
    reached = [
        [next((at for at, loss in pair["runs"][lanes]["falls"] if loss <= error), None) for lanes in ("off", "auto")]
        for pair in pairs
    ]
    ratios = [off / auto for off, auto in reached if off is not None and auto is not None]
    return {"mean": round(statistics.geometric_mean(ratios), 2), "seeds": len(ratios)} if ratios else None


def bound(count: int) -> dict[str, object]:
    """An epoch of random configurations, alone and in lanes, in milliseconds of the processor for each."""
    torch.set_num_threads(1)
    task = ayar.load_task("digits", seed=0)
    recipe, space, rng = ayar.deep_net(task.data), default_space(task.data), np.random.default_rng(0)
    rows = []
    for config in [space.default(), *(space.sample(rng) for _ in range(count))]:
        trial = recipe.begin(config, 1)
        alone = per_epoch(lambda trial=trial: trial.measure(trial.epoch()))
        row = {"units": config["hidden_units"], "batch_size": config["batch_size"], "alone_ms": alone}
        for width in (1, 4, 16):
            lanes = recipe.lanes(width)
            for number in range(width):
                lanes.load(number, {**config, "iterations": 10**6}, number, None, 0, 10**6)
            row[f"lanes_{width}_ms"] = per_epoch(lanes.advance, width)
        if all(row[f"lanes_{width}_ms"] > 0.05 for width in (1, 4, 16)):  # one that diverges ends at once
            rows.append(row)
    alone = sum(row["alone_ms"] for row in rows)
    shared = sum(min(row[f"lanes_{width}_ms"] for width in (1, 4, 16)) for row in rows)
    by_itself = sum(row["lanes_1_ms"] for row in rows)
    ratios = {"in_a_lane_of_its_own": round(alone / by_itself, 2), "where_all_are_shared": round(alone / shared, 2)}
    return {"times_the_epochs_at_most": ratios, "configurations": rows}


def per_epoch(train: Callable[[], object], nets: int = 1) -> float:
    """Milliseconds of the processor for an epoch of each of ``nets``: the least of some."""
    train()
    best, ends = float("inf"), time.process_time() + 0.05
    while time.process_time() < ends or best == float("inf"):
        begun = time.process_time()
        train()
        best = min(best, time.process_time() - begun)
    return round(best / nets * 1e3, 2)


def summary(pairs: list[dict]) -> dict[str, object]:
    """Geometric means over the seeds, with the range."""
    found: dict[str, object] = {"times_sooner_at": {error: sooner_at(error, pairs) for error in ERRORS}}
    found["seconds_until_the_first_error"] = {
        lanes: round(statistics.median(pair["runs"][lanes]["falls"][0][0] for pair in pairs), 2)
        for lanes in ("off", "auto")
    }
    for name in ("times_sooner", "times_the_epochs"):
        values = [pair[name] for pair in pairs]
        found[name] = {
            "mean": round(statistics.geometric_mean(values), 2),
            "least": min(values),
            "most": max(values),
        }
    return found


def main() -> None:
    numbers = [argument for argument in sys.argv[1:] if argument not in ("processor", "bound")]
    seeds, seconds = (int(numbers[0]) if numbers else 8), (float(numbers[1]) if len(numbers) > 1 else 30)
    if "bound" in sys.argv:
        kernels = {**widest_kernels(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        if not kernels.keys() <= os.environ.keys():  # NumPy has read them by now, so begin again
            os.execve(sys.executable, [sys.executable, *sys.argv], {**kernels, **os.environ})
        result = bound(int(numbers[0]) if numbers else 30)
    elif "processor" in sys.argv:
        result = by_processor(seeds, seconds)
    else:
        result = {"command": "ayar tune digits --confirm 0", "seconds": seconds, "seeds": seeds}
        for name, space in SPACES.items():
            pairs = [paired(seed, seconds, space) for seed in range(seeds)]
            result[name] = {**summary(pairs), "pairs": pairs}
    result["openblas_coretype"] = os.environ.get("OPENBLAS_CORETYPE", widest_kernels().get("OPENBLAS_CORETYPE"))
    result["versions"] = {name: version(name) for name in ("ayar", "torch", "numpy", "scikit-learn")}
    result["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
