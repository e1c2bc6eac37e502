"""What a trial costs beside its training: a training that takes no time, two workers, everything on disk.

Each contender runs in a process of its own, all in turn, several rounds. Starting up is left out: every contender runs
some trials first. Random configurations for all, so that no searcher's own work counts; Ayar also with its default.
Beside the wall clock stands the processor time of the process that keeps the record: on a busy machine it says more.

python benchmarks/overhead.py [--rounds 5] [--tune-python PYTHON] > benchmarks/results/overhead.json

``--tune-python`` is an interpreter that has ``ray[tune]``; without it, this one is tried.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Cost = tuple[float, float]
"""Seconds on the wall clock, and of the main process on a processor."""


def timed(action: Callable[[], object]) -> Cost:
    """What an action costs."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def per_trial(many: Cost, few: Cost, trials: int) -> Cost:
    """The cost of each of ``trials``, which ``many`` has and ``few`` has not."""
    return (many[0] - few[0]) / trials, (many[1] - few[1]) / trials


def trivial(config, _seed):
    return (config["x"] - 0.3) ** 2 + config["y"]


def ayar_with(searcher: str, doctor: str) -> Callable[[Path, int], Cost]:
    """Ayar with a searcher, two worker processes, an SQLite ledger."""

    def run(folder: Path, trials: int) -> Cost:
        from ayar import Float, Space, Study

        space = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))
        with Study(folder / "study.db", space=space, minimize="loss", searcher=searcher) as study:

            def tune(count: int) -> Cost:
                return timed(
                    lambda: study.tune(
                        trivial,
                        trials=count,
                        workers=2,
                        confirm=0,
                        progress=False,
                        doctor=doctor,
                    )
                )

            tune(10)
            few = tune(20)  # ten more, and two workers are started and ended
            return per_trial(tune(20 + trials), few, trials - 10)

    return run


def optuna_on(storage: str) -> Callable[[Path, int], Cost]:
    """Optuna with two threads (its ``n_jobs``) and a storage on disk."""

    def run(folder: Path, trials: int) -> Cost:
        import optuna
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = folder / "optuna"
        kept = RDBStorage(f"sqlite:///{path}") if storage == "sqlite" else JournalStorage(JournalFileBackend(str(path)))
        study = optuna.create_study(storage=kept, sampler=optuna.samplers.RandomSampler(seed=0))

        def objective(trial):
            return (trial.suggest_float("x", 0, 1) - 0.3) ** 2 + trial.suggest_float("y", 0, 1)

        study.optimize(objective, n_trials=10, n_jobs=2)
        return per_trial(
            timed(lambda: study.optimize(objective, n_trials=trials, n_jobs=2)),
            (0, 0),
            trials,
        )

    return run


def ray_tune(folder: Path, trials: int) -> Cost:
    """Ray Tune with two trials at a time, actors used again."""
    import ray
    from ray import tune

    ray.init(
        num_cpus=2,
        log_to_driver=False,
        configure_logging=False,
        include_dashboard=False,
    )

    def objective(config):
        tune.report({"loss": trivial(config, 0)})

    def fit(count: int) -> None:
        tune.Tuner(
            objective,
            param_space={"x": tune.uniform(0, 1), "y": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                num_samples=count,
                max_concurrent_trials=2,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
        ).fit()

    few = timed(lambda: fit(4))
    return per_trial(timed(lambda: fit(4 + trials)), few, trials)


CONTENDERS: dict[str, tuple[Callable[[Path, int], Cost], int]] = {
    "ayar": (ayar_with("quasirandom", "off"), 1000),
    "ayar, its default search": (ayar_with("auto", "listen"), 200),
    "optuna, sqlite": (optuna_on("sqlite"), 200),
    "optuna, journal": (optuna_on("journal"), 400),
    "ray tune": (ray_tune, 40),
}


def measured(name: str, python: str) -> Cost | None:
    """Milliseconds a trial, in a fresh process; None where the contender is not installed."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        words = [python, __file__, "--one", name, "--folder", folder]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    wall, processor = done.stdout.split()[-2:]
    return float(wall) * 1000, float(processor) * 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tune-python", default=sys.executable)
    parser.add_argument("--one", choices=CONTENDERS)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.one:
        run, trials = CONTENDERS[args.one]
        print(*run(args.folder, trials))
        return
    rounds = [
        {name: measured(name, args.tune_python if name == "ray tune" else sys.executable) for name in CONTENDERS}
        for _ in range(args.rounds)
    ]
    table = {}
    for name, (_, trials) in CONTENDERS.items():
        pairs = [(each[name], each["ayar"]) for each in rounds if each[name] and each["ayar"]]
        if pairs:
            wall, processor = zip(*(found for found, _ in pairs), strict=True)
            table[name] = {
                "ms_per_trial": round(statistics.median(wall), 2),
                "range_ms": [round(min(wall), 2), round(max(wall), 2)],
                "times_ayar": round(statistics.median(found[0] / ours[0] for found, ours in pairs), 1),
                "processor_ms_per_trial": round(statistics.median(processor), 2),
                "trials": trials,
            }
    packages = {}
    for package in ("ayar", "optuna", "ray", "sqlalchemy"):
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = "in the interpreter given"
    result = {
        "claim": "a trial of two workers costs less than 2 ms beside its training, with the ledger on disk",
        "contenders": table,
        "rounds": args.rounds,
        "python": platform.python_version(),
        **packages,
        "load_1min": round(os.getloadavg()[0], 1),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
