"""False alarms, power and real worlds of the recheck: ``python benchmarks/recheck [--worlds N] [--out FILE]``.

``--real`` trains the real nets only (about ten core-minutes), ``--simulated`` runs the simulated worlds only.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections import Counter
from pathlib import Path

import numpy as np
import scipy
from simulated import KINDS, WAYS, rates

GAINS = (0.5, 1.0, 1.5, 2.0)
FEWEST = 5000


def simulated(worlds: int) -> list[str]:
    """The tables of the simulated worlds."""
    lines = [
        f"## Simulated worlds, {worlds:,} of each kind",
        "",
        "Six challengers. Null: none is better. Power: one is better by one standard deviation of a run, and is found",
        "and proven better. Change: it is called for, too, the margin being half a standard deviation. Cost: mean",
        "trainings, null and better; never more than 40. Coverage: of the 95 % interval of the gain, in null worlds",
        "that came to a confirmation.",
        "",
        "| kind | false alarms | power | change | cost, null | cost, better | most | coverage |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        null = rates("recheck, 40 trainings", kind, 0.0, worlds)
        better = rates("recheck, 40 trainings", kind, 1.0, worlds, seed=1)
        lines.append(
            f"| {kind.name} | {null.alarms:.3f} ± {_error(null.alarms, worlds)} | {better.right:.3f} | "
            f"{better.change:.3f} | {null.trainings:.1f} | {better.trainings:.1f} | {max(null.most, better.most)} | "
            f"{null.covered:.3f} |"
        )
        print(lines[-1], flush=True)
    lines += [
        "",
        "## Other ways, normal worlds, seeds share half of the variance",
        "",
        f"| way | false alarms | {' | '.join(f'found at {gain:g}' for gain in GAINS)} | cost, null | cost at 1 |",
        f"| --- | --- | {' | '.join('---' for _ in GAINS)} | --- | --- |",
    ]
    for way in WAYS:
        null = rates(way, KINDS[0], 0.0, worlds)
        found = {gain: rates(way, KINDS[0], gain, worlds, seed=2) for gain in GAINS}
        lines.append(
            f"| {way} | {null.alarms:.3f} | {' | '.join(f'{found[gain].right:.3f}' for gain in GAINS)} | "
            f"{null.trainings:.1f} | {found[1.0].trainings:.1f} |"
        )
        print(lines[-1], flush=True)
    return lines


def _error(share: float, worlds: int) -> str:
    return f"{math.sqrt(share * (1 - share) / worlds):.3f}"


def real(only: list[str] | None) -> list[str]:
    """The table of the real worlds."""
    import torch
    from real import PAIRS, RECHECKS, SURE, Lab, compare, wanted
    from sklearn.datasets import load_digits

    torch.set_num_threads(1)
    lab = Lab(*load_digits(return_X_y=True))
    lines = [
        f"## Real worlds, {RECHECKS} rechecks each",
        "",
        "Nets of one hidden layer on the 8 x 8 digits, SGD with momentum 0.9, 20 epochs; the metric is the share of",
        "600 validation rows labelled wrong. Gains in standard deviations of one run of the winner (spread): of the",
        "best challenger that the recheck tried, and of the best of a grid of 45. Shared: correlation of errors on the",
        f"same seed. Wanted: keep below the margin of half a spread, a change from {SURE} spreads on; between, either",
        "is right, as long as the one chosen is truly better. In the first three worlds the winner is the best of the",
        "grid on ten seeds, in the others what a study of the grid gave. The rechecks draw their seeds from a pool of",
        "220. Worse: calls for a challenger that isn't truly better.",
        "",
        "| changed | error then, now | spread | challenger | grid | shared | wanted | right | worse | said | cost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in only or PAIRS:
        start = time.perf_counter()
        row = compare(lab, name)
        told = row.told
        gains = [(told.incumbent - loss) / told.spread for loss in (told.arm, told.grid)]
        said = ", ".join(
            f"{100 * count / RECHECKS:.0f} % {verdict}" for verdict, count in Counter(row.verdicts).most_common()
        )
        correlation = "" if told.correlation is None else f"{told.correlation:.2f}"
        lines.append(
            f"| {name} | {told.incumbent - row.level:.3f}, {told.incumbent:.3f} | {told.spread:.4f} | "
            f"{gains[0]:+.1f} | {gains[1]:+.1f} | {correlation} | {wanted(told)} | "
            f"{100 * row.right / RECHECKS:.0f} % | {row.worse} | {said} | {row.trainings:.0f} |"
        )
        print(row, f"{time.perf_counter() - start:.0f} s", flush=True)
    return lines


def main() -> None:
    """Run what is asked for, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=FEWEST)
    parser.add_argument("--out", type=Path, default=Path("recheck.md"))
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--simulated", action="store_true")
    only.add_argument("--real", action="store_true")
    parser.add_argument("--pair", action="append", help="of the real worlds only this one; may be repeated")
    asked = parser.parse_args()
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    lines = [f"{platform.machine()}, one core; {versions}.", ""]
    if not asked.real:
        lines += [*simulated(asked.worlds), ""]
    if not asked.simulated:
        lines += real(asked.pair)
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
