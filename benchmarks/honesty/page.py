"""The result as a page.

python benchmarks/honesty/page.py benchmarks/results/honesty.json > benchmarks/results/honesty.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

INTRO = """# How honest the winner is

Simulated worlds whose truth is known (`benchmarks/honesty`): random search over configurations whose true losses differ
with a standard deviation of 1, readings with a noise of so many times that, a budget of so many trainings in all, the
confirmation's included. Ayar's part is its own code: `ayar.confirmation` and `ayar.winner`.
"""
HONEST = """
## Is the reported score true?

Bias: mean of (fresh-seed score - true loss), in Monte-Carlo standard errors of that mean; within 2 is no bias that
could be seen. Coverage: how often the 95 % interval holds the true loss; Student's beside it. The last column: the
same for the gain over the default.

| world | noise | trainings | repeats | bias | in s.e. | search-best is too good by | covers | Student | gain covers |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""
WORTH = """
## What is the chosen configuration worth?

Mean true loss (lower is better), with its standard error, for the same number of trainings; below it, by how much the
way's own number was too good.

"""


def told(mean: dict) -> str:
    """A mean with its standard error."""
    return f"{mean['mean']:.3f} ± {mean['error']:.3f}"


def page(body: dict) -> str:
    """The whole page."""
    machine = ", ".join(f"{name} {value}" for name, value in body["environment"].items())
    text = INTRO + f"\nMachine and versions: {machine}; {body['seconds']} s on one core.\n" + HONEST
    for row in body["worlds"]:
        h = row["honesty"]
        text += (
            f"| {row['world']} | {row['ratio']} | {row['trainings']} | {h['repeats']} | {told(h['fresh-seed bias'])} | "
            f"{h['bias in Monte-Carlo standard errors']:+.2f} | {-h['search-best bias']['mean']:.2f} | "
            f"{h['coverage of the 95 % interval']:.3f} | {h['coverage of Student']:.3f} | "
            f"{h['coverage of the gain over the default']:.3f} |\n"
        )
    for null in body["null"]:
        text += (
            f"\nWhere all configurations are equal, the winner is called significantly better than the default in "
            f"{100 * null['called better than the default']:.1f} % of {null['repeats']} repeats "
            f"({null['trainings']} trainings).\n"
        )
    text += WORTH
    names = list(dict.fromkeys(name for row in body["worlds"] for name in row["worth"]))
    text += "| world | noise | " + " | ".join(names) + " |\n| --- | ---: |" + " ---: |" * len(names) + "\n"
    for row in body["worlds"]:
        cells = [
            f"{told(row['worth'][n]['true loss'])}<br>({row['worth'][n]['claims too good by']['mean']:+.2f})"
            if n in row["worth"]
            else ""
            for n in names
        ]
        text += f"| {row['world']} | {row['ratio']} | " + " | ".join(cells) + " |\n"
    return text


if __name__ == "__main__":
    print(page(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
