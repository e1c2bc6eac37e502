"""How honest the winner is, in worlds whose truth is known: bias, coverage, and what the selection is worth.

    python benchmarks/honesty --repeats 2000 --out benchmarks/results

Needs ``pip install 'ayar[bench]'``; SMAC is compared where it is installed (``--smac-repeats 0`` leaves it out).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from arms import Found, ayar, interval_of, optuna_best, single_best
from smac_arm import smac_incumbent
from worlds import SPACE, VERY_SKEWED, WORLDS, World, truth

from ayar.stats import mean_interval

RATIOS = (0.3, 1.0, 2.0)


@dataclass(frozen=True)
class Mean:
    """A mean over repeats with its Monte-Carlo standard error."""

    mean: float
    error: float
    repeats: int

    @classmethod
    def of(cls, values: list[float]) -> Mean:
        """Of one value for each repeat."""
        array = np.array(values, dtype=float)
        return cls(float(array.mean()), float(array.std(ddof=1) / math.sqrt(len(array))), len(array))


def honesty(found: list[Found]) -> dict[str, object]:
    """Bias and coverage of what is reported as the result."""
    scored = [(f, s) for f in found if f.winner and (s := interval_of(f.winner))]
    bias = Mean.of([s.mean - truth(f.config) for f, s in scored])
    covered = [s.low <= truth(f.config) <= s.high for f, s in scored]
    student = [low <= truth(f.config) <= high for f, s in scored for _, low, high in [mean_interval(s.values)]]
    gains = [(f, f.winner.improvement) for f, _ in scored if f.winner and f.winner.improvement]
    home = truth(SPACE.default())
    return {
        "fresh-seed bias": asdict(bias),
        "bias in Monte-Carlo standard errors": bias.mean / bias.error,
        "search-best bias": asdict(
            Mean.of([-(f.winner.optimism or 0.0) + s.mean - truth(f.config) for f, s in scored])
        ),
        "coverage of the 95 % interval": float(np.mean(covered)),
        "coverage of Student": float(np.mean(student)),
        "coverage of the gain over the default": float(
            np.mean([g.low <= home - truth(f.config) <= g.high for f, g in gains])
        ),
        "fresh seeds (median)": float(np.median([len(s.values) for _, s in scored])),
        "share of scores with a failed seed": float(np.mean([s.failed > 0 for _, s in scored])),
        "repeats": len(scored),
    }


def worth(arms: dict[str, list[Found]]) -> dict[str, object]:
    """True loss of what each way hands over, and its difference to Ayar's; lower is better."""
    ours = [truth(f.config) for f in arms["ayar"]]
    rows: dict[str, object] = {}
    for name, found in arms.items():
        own = [truth(f.config) for f in found]
        claims = [f.claim for f in found]
        rows[name] = {
            "true loss": asdict(Mean.of(own)),
            "behind ayar": asdict(Mean.of([a - b for a, b in zip(own, ours, strict=False)])),
            "claims too good by": asdict(Mean.of([t - c for t, c in zip(own, claims, strict=True)])),
            "trainings": float(np.mean([f.trainings for f in found])),
        }
    return rows


def false_claims(repeats: int, trainings: int) -> dict[str, object]:
    """A world in which all configurations are equal: how often the winner is called better than the default."""
    rng_world = World("null", lambda rng, config: float(rng.normal()) - truth(config))
    found = [ayar(rng_world, 1.0, trainings, seed) for seed in range(repeats)]
    gains = [f.winner.improvement for f in found if f.winner and f.winner.improvement]
    called = [g.significant and g.mean > 0 for g in gains]
    return {"called better than the default": float(np.mean(called)), "repeats": len(called), "trainings": trainings}


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


def write(folder: Path | None, results: list[dict], null: list[dict], seconds: float) -> None:
    """Keep what is known so far."""
    if folder is not None:
        body = {"environment": environment(), "seconds": round(seconds), "worlds": results, "null": null}
        (folder / "honesty.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Run all worlds and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--rival-repeats", type=int, default=400, help="repeats for Optuna")
    parser.add_argument("--smac-repeats", type=int, default=100)
    parser.add_argument("--trainings", type=int, nargs="*", default=[100])
    parser.add_argument("--ratios", type=float, nargs="*", default=RATIOS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    began, results = perf_counter(), []
    null = [false_claims(args.repeats, trainings) for trainings in args.trainings]
    print(null, flush=True)
    for trainings in args.trainings:
        for ratio in args.ratios:
            for world in (*WORLDS, VERY_SKEWED):
                arms = {"ayar": [ayar(world, ratio, trainings, seed) for seed in range(args.repeats)]}
                arms["ayar, fixed share 0.3"] = [ayar(world, ratio, trainings, s, 0.3) for s in range(args.repeats)]
                arms["single best of search"] = [single_best(world, ratio, trainings, s) for s in range(args.repeats)]
                for sampler in ("random", "TPE"):
                    arms[f"Optuna best_trial ({sampler})"] = [
                        optuna_best(world, ratio, trainings, seed, sampler) for seed in range(args.rival_repeats)
                    ]
                if args.smac_repeats:
                    arms["SMAC incumbent"] = [
                        smac_incumbent(world, ratio, trainings, seed) for seed in range(args.smac_repeats)
                    ]
                arms = {name: found for name, found in arms.items() if found}
                row = {"world": world.name, "ratio": ratio, "trainings": trainings}
                results.append({**row, "honesty": honesty(arms["ayar"]), "worth": worth(arms)})
                print(line(results[-1]), flush=True)
                write(args.out, results, null, perf_counter() - began)
    write(args.out, results, null, perf_counter() - began)


if __name__ == "__main__":
    main()
