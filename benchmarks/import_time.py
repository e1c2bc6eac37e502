"""How long ``import ayar`` takes: median of fresh interpreters, with and without it, in turn.

python benchmarks/import_time.py [REPEATS] > benchmarks/results/import_time.json
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter that runs one statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    statements = ("pass", "import numpy", "import ayar")
    for statement in statements:  # once without the clock: it fills the disk cache and writes the bytecode
        seconds(statement)
    rounds = [{statement: seconds(statement) for statement in statements} for _ in range(repeats)]
    median = {statement: statistics.median(r[statement] for r in rounds) for statement in statements}
    result = {
        "claim": "`import ayar` takes less than 0.3 s more than an empty interpreter",
        "import_ayar_s": round(median["import ayar"] - median["pass"], 4),
        "import_numpy_s": round(median["import numpy"] - median["pass"], 4),
        "empty_interpreter_s": round(median["pass"], 4),
        "repeats": repeats,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "ayar": version("ayar"),
        "load_1min": round(os.getloadavg()[0], 1),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
