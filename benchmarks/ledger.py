"""What the ledger costs, beside Optuna's storages on the same disk.

    python benchmarks/ledger.py [append|crowd|open|overhead|postgres ...] > benchmarks/results/ledger.json

append    measurements with one commit each, and in batches; the storages take turns in every repeat
crowd     32 processes append to one file for a minute; then every measurement is looked for
open      a study of 50,000 trials with curves of 100 points: the time and memory of ``ayar best``
overhead  a tuning of trivial trials with two workers, per trial
postgres  what a claim and an append cost in PostgreSQL, and how many a second it takes from many at once
"""

import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from ayar.ledger import Ledger
from ayar.ledger.pages import Claim
from ayar.records import Measurement, Move
from ayar.seeds import Purpose, trial_seed
from ayar.space import Choice, Float, Int, Space
from ayar.study import Study

optuna.logging.set_verbosity(optuna.logging.ERROR)
sys.path.insert(0, str(Path(__file__).parent.parent))  # the tests know how to start a server

REPEATS = 5
SPACE = Space(
    learning_rate=Float(1e-4, 1.0, log=True),
    hidden_layers=Int(1, 4),
    batch_size=Choice(16, 32, 64, 128, ordered=True),
    momentum=Float(0.0, 0.99),
    weight_decay=Float(1e-6, 1e-1, log=True),
    iterations=100,
)


def claimed(ledger: Ledger, study: int) -> tuple[int, Claim]:
    """A new trial, and the claim on it."""
    trial = ledger.add_trial(study, {}, 0)
    return trial, Claim(ledger.add_move(study, Move(trial, {}, 0, 0, 10**9)), ledger.session)


def rate(append: Callable[[int], object], seconds: float) -> float:
    """How often a second ``append(n)`` can be called, n counting from 1."""
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        n += 1
        append(n)
    return n / (time.perf_counter() - begun)


def append(folder: Path) -> dict[str, Any]:
    """One commit for each measurement, and batches."""
    ledger = Ledger.open(folder / "ayar.db")
    study = ledger.create_study("main", {})
    trial, claim = claimed(ledger, study)
    written = 0

    def one(_: int) -> None:
        nonlocal written
        written += 1
        ledger.add_measurements(study, trial, [Measurement(written, 0.5, 0.1, {"error": 0.5})], claim=claim)

    def waiting(n: int) -> None:
        ledger._opening.backend._raw.execute("PRAGMA synchronous = FULL")  # noqa: SLF001 - to survive a power cut, too
        one(n)

    def optunas(storage: Any) -> Callable[[int], None]:
        asked = optuna.create_study(storage=storage).ask()
        steps = 0

        def report(_: int) -> None:
            nonlocal steps
            steps += 1
            asked.report(0.5, steps)

        return report

    backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.log"))
    arms = {
        "ayar": one,
        "ayar, waiting for the disk": waiting,
        "optuna, SQLite": optunas(f"sqlite:///{folder}/optuna.db"),
        "optuna, journal": optunas(optuna.storages.JournalStorage(backend)),
    }
    rates: dict[str, list[float]] = {name: [] for name in [*arms, "ayar, batches of 10,000", "fsync"]}
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(REPEATS):
            for name, call in arms.items():
                ledger._opening.backend._raw.execute("PRAGMA synchronous = NORMAL")  # noqa: SLF001
                rates[name].append(rate(call, 1.0))
            more = [Measurement(step, 0.5, 0.1, {"error": 0.5}) for step in range(1, 10_001)]
            number, held = claimed(ledger, study)
            begun = time.perf_counter()
            ledger.add_measurements(study, number, more, claim=held)
            rates["ayar, batches of 10,000"].append(len(more) / (time.perf_counter() - begun))

            def synced(_: int) -> None:
                file.write(b"x" * 4096)
                os.fsync(file.fileno())

            rates["fsync"].append(rate(synced, 0.3))
    ledger.close()
    ratios = {
        peer: statistics.median(a / b for a, b in zip(rates["ayar"], rates[peer], strict=True))
        for peer in ("optuna, SQLite", "optuna, journal")
    }
    return {"a_second": {k: [round(v) for v in vs] for k, vs in rates.items()}, "times_as_many": ratios}


def together(words: list[list[str]], seconds: float) -> tuple[list[str], list[str]]:
    """What programs that begin together and last so long print at their end, and the errors of those that fail."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [subprocess.Popen(each, text=True, **pipes) for each in words]
    for process in started:
        process.stdout.readline()  # it is ready
    for process in started:
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
    told = [process.communicate() for process in started]
    errors = [error for process, (_, error) in zip(started, told, strict=True) if process.returncode]
    return [output.strip() for output, _ in told if output.strip()], errors


CROWD = """
import sys, time
from ayar.ledger import Ledger
from ayar.ledger.pages import Claim
from ayar.records import Measurement, Move

path, number = sys.argv[1], int(sys.argv[2])
ledger = Ledger.open(path)
study = ledger.find_study("main").id
step, trial, claim, slowest = 0, None, None, 0.0
count = 0
print("ready", flush=True)
until = time.monotonic() + float(input())
while time.monotonic() < until:
    if step % 100 == 0:
        if trial is not None:
            ledger.end_move(study, trial, ended=True, claim=claim)
        with ledger.claiming(study):
            trial = ledger.add_trial(study, {"who": number}, number)
            claim = Claim(ledger.add_move(study, Move(trial, {}, 0, 0, 100)), ledger.session)
        step = 0
    step += 1
    begun = time.perf_counter()
    ledger.add_measurements(study, trial, [Measurement(step, number + step / 1000, 0.1, {"error": 0.5})], claim=claim)
    slowest = max(slowest, time.perf_counter() - begun)
    count += 1
print(count, slowest)
"""


def crowd(folder: Path, processes: int = 32, seconds: float = 60.0) -> dict[str, Any]:
    """Many processes on one file."""
    path = folder / "crowd.db"
    with Ledger.open(path) as ledger:
        ledger.create_study("main", {})
    words = [[sys.executable, "-c", CROWD, str(path), str(number)] for number in range(processes)]
    said, errors = together(words, seconds)
    counts = [int(line.split()[0]) for line in said]
    with sqlite3.connect(path) as file:
        held = file.execute("SELECT count(*) FROM measurements").fetchone()[0]
        wrong = file.execute(
            "SELECT count(*) FROM measurements m JOIN trials t ON t.study = m.study AND t.trial = m.trial "
            "WHERE m.loss != t.seed + m.step / 1000.0"
        ).fetchone()[0]
    return {
        "processes": processes,
        "errors": errors,
        "acknowledged": sum(counts),
        "on_record": held,
        "wrong": wrong,
        "a_second": round(sum(counts) / seconds),
        "least_and_most_of_a_process": [min(counts), max(counts)],
        "slowest_append_s": max(float(line.split()[1]) for line in said),
    }


def filled(path: Path, trials: int, points: int) -> None:
    """A study of so many finished trials."""
    rng = np.random.default_rng(0)
    fall = np.exp(-np.arange(1, points + 1) / 20)
    with Study(path, space=SPACE, minimize="error", searcher="random") as study:
        ledger, number = study._ledger, study._id  # noqa: SLF001 - thousands of trials in one commit
        study.note("fingerprint", {})  # as a tuning writes it
        for first in range(0, trials, 1000):
            with ledger.claiming(number):
                for index in range(first, min(trials, first + 1000)):
                    config, floor = SPACE.sample(rng), float(rng.uniform(0.02, 0.9))
                    trial = ledger.add_trial(number, config, trial_seed(0, Purpose.SEARCH, index))
                    ledger.add_move(number, Move(trial, config, 0, 0, points))
                    curve = (floor + (0.9 - floor) * fall + rng.normal(0, 0.003, points)).tolist()
                    more = [Measurement(step, loss, 0.01, {"error": loss}) for step, loss in enumerate(curve, 1)]
                    ledger.add_measurements(number, trial, more)
                    ledger.end_move(number, trial, ended=True)


def filled_optuna(path: Path, trials: int, points: int) -> None:
    """The same in Optuna's tables, written straight into them: through its interface it would take hours."""
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="main")
    study.add_trial(optuna.trial.create_trial(value=1.0, params={}, distributions={}))
    rng = np.random.default_rng(0)
    fall = np.exp(-np.arange(1, points + 1) / 20)
    json_of = optuna.distributions.distribution_to_json(optuna.distributions.FloatDistribution(0.0, 1.0))
    when = "2026-01-01 00:00:00.000000"
    with sqlite3.connect(path) as file:
        for trial in range(2, trials + 1):
            file.execute(
                "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
                "VALUES (?, ?, 1, 'COMPLETE', ?, ?)",
                (trial, trial - 1, when, when),
            )
            floor = float(rng.uniform(0.02, 0.9))
            curve = (floor + (0.9 - floor) * fall).tolist()
            file.execute(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, ?, 'FINITE')",
                (trial, curve[-1]),
            )
            file.executemany(
                "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
                [(trial, name, float(rng.uniform()), json_of) for name in ("a", "b", "c", "d", "e")],
            )
            file.executemany(
                "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
                "VALUES (?, ?, ?, 'FINITE')",
                [(trial, step, value) for step, value in enumerate(curve, 1)],
            )


BEST_OF_OPTUNA = """
import sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="main", storage="sqlite:///" + sys.argv[1])
print(study.best_trial.number, study.best_value, study.best_params)
"""


ALL_OF_AYAR = "import ayar, sys; print(len(ayar.Study(sys.argv[1]).trials()))"
NEXT_OF_AYAR = """
import sys, ayar
from ayar.search import searcher_named
study = ayar.Study(sys.argv[1])
print(searcher_named("halving").propose(study._problem(), study._book.history, 1))
"""
QUICK = ("ayar best", "optuna's best trial")


def timed(words: list[str]) -> dict[str, float]:
    """Seconds on the wall clock and on a processor, and the most memory in MB, of a fresh process."""
    code = (
        "import resource, subprocess, sys, time; begun = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); wall = time.perf_counter() - begun; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    wall, processor, kilobytes = map(float, done.stdout.split())
    return {"wall_s": round(wall, 2), "processor_s": round(processor, 2), "MB": round(kilobytes / 1024)}


def open_(folder: Path, trials: int = 50_000, points: int = 100) -> dict[str, Any]:
    """``ayar best`` of a large study."""
    made = Path(os.environ.get("AYAR_BENCH_STUDY", folder / "large.db"))
    if not made.exists():
        filled(made, trials, points)
    theirs = Path(os.environ.get("AYAR_BENCH_OPTUNA", folder / "large-optuna.db"))
    if not theirs.exists():
        filled_optuna(theirs, trials, points)
    arms = {
        "ayar best": [sys.executable, "-m", "ayar", "best", str(made)],
        "ayar, every trial as a record": [sys.executable, "-c", ALL_OF_AYAR, str(made)],
        "ayar, ready to tune on": [sys.executable, "-c", NEXT_OF_AYAR, str(made)],
        "optuna's best trial": [sys.executable, "-c", BEST_OF_OPTUNA, str(theirs)],
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for repeat in range(REPEATS):
        for name, words in arms.items():
            if repeat == 0 or name in QUICK:  # the others take long
                found[name].append(timed(words))
                print(name, found[name][-1], file=sys.stderr, flush=True)
    return {
        "trials": trials,
        "points": points,
        "file_MB": {"ayar": round(made.stat().st_size / 1e6), "optuna": round(theirs.stat().st_size / 1e6)},
        "cold processes, imports included": found,
    }


def trivial(config: dict[str, Any], seed: int) -> float:  # noqa: ARG001
    return float(config["learning_rate"])


def overhead(folder: Path, trials: int = 1000) -> dict[str, Any]:
    """A tuning of trivial trials with two workers; the start of the workers is left out."""
    found: dict[str, list[float]] = {"ayar": [], "ayar, ledger in memory": [], "optuna, SQLite, 2 threads": []}
    for repeat in range(3):
        for name, store in (("ayar", folder / f"overhead-{repeat}.db"), ("ayar, ledger in memory", None)):
            with Study(store, space=SPACE, minimize="error", horizon=1, searcher="random") as study:
                study.tune(trivial, trials=2, workers=2, confirm=0, progress=False)
                begun = time.perf_counter()
                study.tune(trivial, trials=2, workers=2, confirm=0, progress=False)
                start = time.perf_counter() - begun
                begun = time.perf_counter()
                study.tune(trivial, trials=trials, workers=2, confirm=0, progress=False)
                found[name].append((time.perf_counter() - begun - start) / (trials - 2) * 1000)
        optunas = optuna.create_study(
            storage=f"sqlite:///{folder}/overhead-{repeat}-optuna.db", sampler=optuna.samplers.RandomSampler(seed=0)
        )
        begun, few = time.perf_counter(), max(50, trials // 10)
        optunas.optimize(lambda trial: trial.suggest_float("learning_rate", 1e-4, 1.0, log=True), few, n_jobs=2)
        found["optuna, SQLite, 2 threads"].append((time.perf_counter() - begun) / few * 1000)
    return {"trials": trials, "ms_a_trial": {name: [round(v, 3) for v in values] for name, values in found.items()}}


PG_WORKER = """
import sys, time
from ayar.ledger import Ledger
from ayar.ledger.pages import Claim
from ayar.records import Measurement, Move

url, what = sys.argv[1], sys.argv[2]
ledger = Ledger.open(url)
study = ledger.find_study("main").id
trial = ledger.add_trial(study, {}, 0)
claim = Claim(ledger.add_move(study, Move(trial, {}, 0, 0, 10**6)), ledger.session)
count = step = 0
print("ready", flush=True)
until = time.monotonic() + float(input())
while time.monotonic() < until:
    if what == "append":
        step += 1
        ledger.add_measurements(study, trial, [Measurement(step, 0.5, 0.1, {"error": 0.5})], claim=claim)
    elif what == "claim":
        with ledger.claiming(study):
            trial = ledger.add_trial(study, {"x": 0.5}, 0)
            claim = Claim(ledger.add_move(study, Move(trial, {}, 0, 0, 10**6)), ledger.session)
    else:
        ledger.end_move(study, trial, ended=False, claim=claim)
        claim = Claim(ledger.add_move(study, Move(trial, {}, 0, 0, 10**6)), ledger.session)
    count += 1
print(count)
"""


def postgres(folder: Path, seconds: float = 4.0) -> dict[str, Any]:  # noqa: ARG001
    """Claims and appends of 1 to 32 processes, each waiting for the server's disk."""
    from tests.postgres import server

    found: dict[str, dict[int, int]] = {}
    with server("fsync=on", "shared_buffers=256MB") as url:
        with Ledger.open(url) as ledger:
            ledger.create_study("main", {})
        for what in ("append", "claim", "end and claim again"):
            found[what] = {}
            for processes in (1, 4, 16, 32):
                said, _ = together([[sys.executable, "-c", PG_WORKER, url, what]] * processes, seconds)
                found[what][processes] = round(sum(map(int, said)) / seconds)
        with Ledger.open(url) as ledger:
            study = ledger.find_study("main").id
            begun = time.perf_counter()
            held = len(ledger.trials(study))
            reading = time.perf_counter() - begun
    return {"a_second_by_processes": found, "reading": {"trials": held, "seconds": round(reading, 2)}}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "append": append,
    "crowd": crowd,
    "open": open_,
    "overhead": overhead,
    "postgres": postgres,
}


def main(names: list[str]) -> None:
    """Measure the parts named, or all."""
    with tempfile.TemporaryDirectory(prefix="ayar-bench-", dir=os.environ.get("AYAR_BENCH_DISK")) as folder:
        found = {name: PARTS[name](Path(folder)) for name in names or PARTS}
    machine = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "optuna": version("optuna"),
        "load": round(os.getloadavg()[0], 1),
        "repeats": REPEATS,
    }
    print(json.dumps({**found, "measured_on": machine}, indent=1, default=str))


if __name__ == "__main__":
    main(sys.argv[1:])
