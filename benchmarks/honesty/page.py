"""The tables of the result; what they mean is told around them in ``benchmarks/results/honesty.md``."""

from __future__ import annotations

HONEST = """
| world | noise | trainings | repeats | bias | in s.e. | search too good by | covers | Student | gain covers | share |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def told(mean: dict, digits: int = 3) -> str:
    """A mean with its standard error."""
    return f"{mean['mean']:.{digits}f} ± {mean['error']:.{digits}f}"


def page(body: dict) -> str:
    """All tables."""
    machine = ", ".join(f"{name} {value}" for name, value in body["environment"].items())
    text = f"{machine}; {body['processor seconds']} processor seconds.\n{HONEST}"
    for row in body["worlds"]:
        h = row["honesty"]
        text += (
            f"| {row['world']} | {row['ratio']} | {row['trainings']} | {h['repeats']} | {told(h['fresh-seed bias'])} | "
            f"{h['bias in Monte-Carlo standard errors']:+.2f} | {-h['search-best bias']['mean']:.2f} | "
            f"{h['coverage of the 95 % interval']:.3f} | {h['coverage of Student']:.3f} | "
            f"{h['coverage of the gain over the default']:.3f} | {h['share for confirmation (mean)']:.2f} |\n"
        )
    for null in body["null"]:
        text += (
            f"\nWhere all configurations are equal, the winner is called significantly better than the default in "
            f"{100 * null['called better than the default']:.1f} % of {null['repeats']} repeats "
            f"({null['trainings']} trainings).\n"
        )
    return text + _worth(body["worlds"])


def _worth(worlds: list[dict]) -> str:
    names = list(dict.fromkeys(name for row in worlds for name in row["worth"]))
    text = "\n| world | noise | " + " | ".join(names) + " |\n| --- | ---: |" + " ---: |" * len(names) + "\n"
    for row in worlds:
        cells = [
            f"{told(row['worth'][n]['true loss'], 2)}<br>({row['worth'][n]['claims too good by']['mean']:+.2f})"
            if n in row["worth"]
            else ""
            for n in names
        ]
        text += f"| {row['world']} | {row['ratio']} | " + " | ".join(cells) + " |\n"
    return text
