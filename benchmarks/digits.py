"""What one minute of tuning gives on the digits: the command of ``make tune``, once for each seed.

    python benchmarks/digits.py [SEEDS] > benchmarks/results/digits.json

A seed decides the split of the data and the search, so the spread over seeds is what a user may meet.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

AYAR = Path(sys.executable).with_name("ayar")


def tune(seed: int) -> dict[str, object]:
    """One tuning in an empty folder; errors as shares, each the mean over the winner's fresh seeds.

    ``load_1min`` is the machine's load at its end: above the number of workers, others took part of the minute.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [AYAR, "tune", "digits", "--minutes", "1", "--seed", str(seed), "--json"]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        wall_s = time.perf_counter() - start
    result = json.loads(done.stdout)
    load = os.getloadavg()[0]
    scores = {score["kind"]: score for score in result["winner"]["scores"].values()}
    return {
        "seed": seed,
        "wall_s": round(wall_s, 1),
        "load_1min": round(load, 1),
        "trials": result["trials"],
        "search_best_error": scores["search-best (optimistic)"]["mean"],
        "fresh_seed_error": scores["fresh-seed"]["mean"],
        "fresh_seed_errors": scores["fresh-seed"]["values"],
        "test_error": scores["test"]["mean"],
    }


def main() -> None:
    runs = [tune(seed) for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3)]
    result = {
        "command": "ayar tune digits --minutes 1",
        "median": {
            name: statistics.median(run[name] for run in runs)
            for name in ("wall_s", "trials", "search_best_error", "fresh_seed_error", "test_error")
        },
        "runs": runs,
        "versions": {name: version(name) for name in ("ayar", "torch", "numpy", "scikit-learn")},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
