"""How soon ``ayar tune digits`` has its first validation error on disk, and how soon ``ayar best`` answers.

    python benchmarks/first_error.py [REPEATS] [OTHER_SOURCE] > benchmarks/results/first_error.json

Seen from outside: the ledger is looked into until it holds the error of a trained net. Seconds on the wall from the
start of the command, and of the processors, those of its workers included, until then. ``OTHER_SOURCE`` is the ``src``
folder of another version, which takes turns with this one. Bytecode is written first, as an installation has it.
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
from importlib.metadata import version
from pathlib import Path

import psutil

HERE = Path(__file__).parents[1] / "src"
AYAR = (sys.executable, "-m", "ayar")
PATIENCE_S = 120


def environment(source: Path) -> dict[str, str]:
    """With another version's modules, and room for their bytecode."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(source)}


def first_error(source: Path) -> dict[str, float]:
    """Seconds until the first error of a trained net is in the ledger."""
    with tempfile.TemporaryDirectory() as name:
        begun = time.perf_counter()
        process = psutil.Popen(
            [*AYAR, "tune", "digits", "--minutes", "1", "--confirm", "0", "--json", "--store", "study.db"],
            cwd=name,
            env=environment(source),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not holds_an_error(Path(name, "study.db")):
            if process.poll() is not None or time.perf_counter() - begun > PATIENCE_S:
                raise RuntimeError("the tuning ended without an error")
            time.sleep(0.01)
        wall_s = time.perf_counter() - begun
        family = [process, *process.children(recursive=True)]
        used = [sum(member.cpu_times()[:2]) for member in family]
        process.terminate()
        process.wait()
    return {"wall_s": wall_s, "processors_s": sum(used), "main_process_s": used[0]}


def holds_an_error(ledger: Path) -> bool:
    """Whether a step after the untrained net is on record."""
    if not ledger.exists():
        return False
    connection = sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT 1 FROM measurements WHERE step > 0 LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError:  # its tables are being made
        return False
    finally:
        connection.close()


def best(source: Path, ledger: Path) -> dict[str, float]:
    """Seconds that ``ayar best`` takes."""
    begun, before = time.perf_counter(), psutil.Process().cpu_times()
    subprocess.run([*AYAR, "best", ledger], env=environment(source), check=True, stdout=subprocess.DEVNULL)
    after = psutil.Process().cpu_times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": time.perf_counter() - begun, "processors_s": used}


def summary(rounds: list[dict[str, float]]) -> dict[str, list[float]]:
    """Of each number the least, the median and the most."""
    return {name: [round(f(r[name] for r in rounds), 2) for f in (min, statistics.median, max)] for name in rounds[0]}


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    sources = {"before": Path(sys.argv[2]).absolute(), "now": HERE} if len(sys.argv) > 2 else {"now": HERE}
    found: dict[str, dict[str, list]] = {which: {"first_error": [], "best": []} for which in sources}
    with tempfile.TemporaryDirectory() as name:
        ledger = Path(name, "study.db")
        command = [*AYAR, "tune", "digits", "--trials", "8", "--json", "--store", ledger]
        for source in sources.values():  # also writes the bytecode and the calibration
            subprocess.run(command, cwd=name, env=environment(source), check=True, stdout=subprocess.DEVNULL)
        for number in range(repeats):
            for which in [*sources][:: 1 if number % 2 else -1]:
                found[which]["first_error"].append(first_error(sources[which]))
                found[which]["best"].append(best(sources[which], ledger))
    result = {
        "seconds": "least, median and most of the repeats",
        **{which: {name: summary(rounds) for name, rounds in each.items()} for which, each in found.items()},
        "repeats": repeats,
        "load_1min": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("ayar", "torch", "numpy", "scipy", "scikit-learn")},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
