"""The curve doctor, measured on runs whose right answer is known.

``python benchmarks/doctor make CACHE --data FOLDER`` trains the labelled set, about 2,000 tiny runs for each workload;
those that need no files are trained without ``--data`` when named by ``--only``. ``fit CACHE`` fits the thresholds on
all workloads but one, for each. ``report CACHE`` writes ``benchmarks/results/doctor.md``.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
from fit import NAMES, Fitter, fold_scores
from labels import everything
from make import make
from report import PAGE, report
from workloads import COSTLY, SEALED, TASKS

from ayar.curves.thresholds import FITTED

LEFT_OUT = "left_out.md"


def main() -> None:
    """Do what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "fit", "report"))
    parser.add_argument("cache", type=Path, help="folder for the curves, about 2.5 MB for each workload")
    parser.add_argument("--data", type=Path, help="folder of the files that real workloads are read from")
    open_ones = [name for name in TASKS if name not in SEALED and name not in COSTLY]
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so long; the next call goes on")
    parser.add_argument("--only", nargs="+", default=open_ones, choices=list(TASKS), metavar="WORKLOAD")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # weights that decay towards 0 would slow everything down
    if asked.what == "make":
        left = [name for name in asked.only if not (asked.cache / f"{name}.npz").exists()]
        start = time.perf_counter()
        all(make(name, asked.cache, asked.data, asked.seconds + start - time.perf_counter()) for name in left)
    elif asked.what == "fit":
        there = [name for name in TASKS if name not in SEALED and (asked.cache / f"{name}.npz").exists()]
        (asked.cache / LEFT_OUT).write_text(left_out(Fitter.of(everything(there, asked.cache))))
    else:
        known = asked.cache / LEFT_OUT
        PAGE.write_text(report(asked.cache, known.read_text() if known.exists() else ""))


def left_out(fitter: Fitter) -> str:
    """What thresholds fitted to the other workloads do on each, as Markdown."""
    folds = fitter.left_out(FITTED)
    together = fitter.fit(list(fitter.runs), FITTED)
    moved = {name: ", ".join(f"{v:g}" for v in sorted({getattr(t, name) for t in folds.values()})) for name in NAMES}
    lines = [
        "## Leaving one workload out\n",
        (
            "Each workload is read beside ten runs, with thresholds fitted to the others from the committed"
            " ones; and advised in an order counted on the others, by headline.\n"
        ),
        *fold_scores(fitter, folds),
        "",
        "| threshold | committed | fitted to all | in the folds |",
        "| --- | --- | --- | --- |",
        *[
            f"| {name} | {asdict(FITTED)[name]:g} | {getattr(together, name):g} | {values} |"
            for name, values in moved.items()
        ],
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
