"""How often intervals from few readings hold the true mean: Student's beside ``ayar.stats.score_interval``.

python benchmarks/honesty/intervals.py --repeats 8000
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from ayar.stats import mean_interval, score_interval

DRAWS = {
    "Gaussian": lambda rng, n: rng.normal(size=n),
    "Student t, 3 degrees of freedom": lambda rng, n: rng.standard_t(3, size=n),
    "Gumbel (skewness 1.1)": lambda rng, n: rng.gumbel(size=n) - np.euler_gamma,
    "log-normal 0.5 (skewness 1.8)": lambda rng, n: rng.lognormal(0, 0.5, size=n) - math.exp(0.125),
    "exponential (skewness 2)": lambda rng, n: rng.exponential(size=n) - 1,
    "log-normal 1 (skewness 6.2)": lambda rng, n: rng.lognormal(size=n) - math.exp(0.5),
}


def main() -> None:
    """A table of coverage and median width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=8000)
    args = parser.parse_args()
    print("| readings | n | Student covers | score_interval covers | wider by |\n| --- | ---: | ---: | ---: | ---: |")
    for name, draw in DRAWS.items():
        for n in (3, 4, 5, 6, 7, 10, 15, 20, 30):
            rng = np.random.default_rng(n)
            found = []
            for _ in range(args.repeats):
                values = draw(rng, n)
                found.append((mean_interval(values)[1:], score_interval(values)[1:]))
            ends = np.array(found)
            covers = ((ends[..., 0] <= 0) & (ends[..., 1] >= 0)).mean(axis=0)
            width = np.median(ends[..., 1] - ends[..., 0], axis=0)
            print(f"| {name} | {n} | {covers[0]:.3f} | {covers[1]:.3f} | {100 * (width[1] / width[0] - 1):.0f} % |")


if __name__ == "__main__":
    main()
