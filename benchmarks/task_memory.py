"""How much memory it takes to make a task of a file that is read rather than mapped.

For each kind of file a process of its own writes it, another makes the task of it, and a third only reads the array.
The figure is the most memory that the second held beyond what it held once everything was imported, divided by the
size of the array of inputs that it works with (float32, or float64 for a table of text).

python benchmarks/task_memory.py [--mb 200] [--repeats 3] [--results benchmarks/results/task_memory.json]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FORMS = ("float32 wide", "float32 narrow", "bytes", "csv")

WRITE = """
import sys
import numpy as np
path, form, mb = sys.argv[1], sys.argv[2], int(sys.argv[3])
columns = 10 if form == "float32 narrow" else 20 if form == "csv" else 784
size = 8 if form == "csv" else 4
n = mb * 10**6 // (size * columns)
rng = np.random.default_rng(0)
y = rng.integers(0, 10, n)
if form == "bytes":
    np.savez(path, X=rng.integers(0, 256, (n, columns), dtype=np.uint8), y=y)
elif form == "csv":
    with open(path, "w") as file:
        print(*(f"x{i}" for i in range(columns)), "y", sep=",", file=file)
        for row, label in zip(rng.normal(size=(n, columns)), y):
            print(*(f"{value:.6f}" for value in row), f"c{label}", sep=",", file=file)
else:
    np.savez(path, X=rng.normal(size=(n, columns)).astype(np.float32), y=y)
"""

MAKE = """
import resource, sys
import numpy as np
import torch, sklearn.neighbors, psutil
import ayar
from ayar.nets import mapped
path, form = sys.argv[1:]
mapped.SHARE = 1e9  # read it, however little memory is free
ayar.load_task("iris")
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = most()
task = ayar.load_task(path, target="y" if form == "csv" else None)
held = task.data.X_train.shape[1] * (len(task.data.y_train) + len(task.data.y_valid) + task.sealed.n)
print((most() - before) / (held * (8 if form == "csv" else 4)))
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=200, help="megabytes of inputs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--forms", nargs="*", default=FORMS)
    parser.add_argument("--results", type=Path, help="where they are written; default: standard output")
    args = parser.parse_args()
    times = {}
    for form in args.forms:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / ("data.csv" if form == "csv" else "data.npz"))
            subprocess.run([sys.executable, "-c", WRITE, path, form, str(args.mb)], check=True)
            words = [sys.executable, "-c", MAKE, path, form]
            said = [subprocess.run(words, check=True, capture_output=True, text=True) for _ in range(args.repeats)]
            times[form] = [round(float(each.stdout), 2) for each in said]
            print(form, times[form], file=sys.stderr, flush=True)
    found = {
        "claim": "making a task of data in memory takes a small multiple of the inputs' size",
        "megabytes": args.mb,
        "peak divided by the size of the inputs, each repeat": times,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "ayar": version("ayar"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    text = json.dumps(found, indent=2) + "\n"
    if args.results:
        args.results.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
