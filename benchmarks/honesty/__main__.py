"""How honest the winner is, in worlds whose truth is known: bias, coverage, and what the selection is worth.

    python benchmarks/honesty --repeats 1000 --pieces /tmp/pieces --out benchmarks/results

What was measured is kept in ``--pieces``, one file for each way and world, and not measured again: a run can be
stopped, or done in parts (``--world``, ``--noise``, ``--way``). Needs ``pip install 'ayar[bench]'``; SMAC is compared
where it is installed (``--smac-repeats 0`` leaves it out).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from page import page
from pieces import FIXED, OURS, SINGLE, WAYS, home, piece
from worlds import NULL, VERY_SKEWED, WORLDS

RATIOS = (0.3, 1.0, 2.0)
Columns = dict[str, np.ndarray]


def mean(values: np.ndarray) -> dict[str, float]:
    """Mean with its Monte-Carlo standard error."""
    return {"mean": float(values.mean()), "error": float(values.std(ddof=1) / math.sqrt(len(values)))}


def honesty(ours: Columns) -> dict[str, object]:
    """Bias and coverage of what is reported as the result."""
    scored = np.isfinite(ours["mean"])
    ours = {name: column[scored] for name, column in ours.items()}
    truth, compared = ours["truth"], np.isfinite(ours["gain"])
    bias = mean(ours["mean"] - truth)
    gained = (home() - truth)[compared]
    return {
        "fresh-seed bias": bias,
        "bias in Monte-Carlo standard errors": bias["mean"] / bias["error"],
        "search-best bias": mean((ours["search best"] - truth)[np.isfinite(ours["search best"])]),
        "coverage of the 95 % interval": float(np.mean((ours["low"] <= truth) & (truth <= ours["high"]))),
        "coverage of Student": float(np.mean((ours["student low"] <= truth) & (truth <= ours["student high"]))),
        "coverage of the gain over the default": float(
            np.mean((ours["gain low"][compared] <= gained) & (gained <= ours["gain high"][compared]))
        ),
        "fresh seeds (median)": float(np.median(ours["seeds"])),
        "share for confirmation (mean)": float(ours["share"].mean()),
        "share of scores with a failed seed": float(np.mean(ours["failed"] > 0)),
        "repeats": int(scored.sum()),
        "without a score": int((~scored).sum()),
    }


def worth(ways: dict[str, Columns]) -> dict[str, object]:
    """True loss of what each way hands over, and by how much it is worse than Ayar's on the same seeds."""
    rows: dict[str, object] = {}
    for name, found in ways.items():
        n = min(len(found["truth"]), len(ways[OURS]["truth"]))
        rows[name] = {
            "true loss": mean(found["truth"]),
            "behind ayar": mean(found["truth"][:n] - ways[OURS]["truth"][:n]),
            "claims too good by": mean(found["truth"] - found["claim"]),
            "trainings": float(found["trainings"].mean()),
            "repeats": len(found["truth"]),
        }
    return rows


def line(row: dict) -> str:
    """One row of results for the terminal."""
    told = row["honesty"]
    return (
        f"{row['world']:14} noise {row['ratio']:<4} T={row['trainings']:<4} "
        f"bias {told['bias in Monte-Carlo standard errors']:+.2f} s.e.  "
        f"covers {told['coverage of the 95 % interval']:.3f} (Student {told['coverage of Student']:.3f}) "
        f"gain {told['coverage of the gain over the default']:.3f}  "
        + "  ".join(f"{name} {r['true loss']['mean']:.3f}" for name, r in row["worth"].items())
    )


def environment() -> dict[str, str]:
    """Machine and versions."""
    known = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for package in ("numpy", "scipy", "optuna", "smac"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = "not installed"
    return known


def measure(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """All that was asked for."""
    repeats = {OURS: args.repeats, FIXED: args.repeats, SINGLE: args.repeats, "SMAC incumbent": args.smac_repeats}
    repeats = {name: repeats.get(name, args.rival_repeats) for name in WAYS if name == OURS or name in args.way}
    worlds, null = [], []
    for trainings in args.trainings:
        found = piece(folder, NULL, 1.0, trainings, OURS, args.repeats)
        called = found["significant"][np.isfinite(found["gain"])]
        null.append({"called better than the default": called.mean(), "repeats": len(called), "trainings": trainings})
        for ratio in args.noise:
            for world in (*WORLDS, VERY_SKEWED):
                if world.name not in args.world:
                    continue
                ways = {
                    name: piece(folder, world, ratio, trainings, name, count)
                    for name, count in repeats.items()
                    if count
                }
                row = {"world": world.name, "ratio": ratio, "trainings": trainings}
                worlds.append({**row, "honesty": honesty(ways[OURS]), "worth": worth(ways)})
                print(line(worlds[-1]), flush=True)
    return {"worlds": worlds, "null": null}


def main() -> None:
    """Run what is asked for and write the result."""
    names = [world.name for world in (*WORLDS, VERY_SKEWED)]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--rival-repeats", type=int, default=100, help="repeats for Optuna")
    parser.add_argument("--smac-repeats", type=int, default=40)
    parser.add_argument("--trainings", type=int, nargs="*", default=[100])
    parser.add_argument("--noise", type=float, nargs="*", default=RATIOS)
    parser.add_argument("--world", nargs="*", default=names, choices=names)
    parser.add_argument("--way", nargs="*", default=[*WAYS], choices=[*WAYS])
    parser.add_argument("--pieces", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    began = process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args, args.pieces or Path(folder))
    body = {"environment": environment(), "processor seconds": round(process_time() - began), **found}
    if args.out:
        (args.out / "honesty.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        (args.out / "honesty_tables.md").write_text(page(body), encoding="utf-8")


if __name__ == "__main__":
    main()
