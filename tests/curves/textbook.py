"""Curves made for tests, one for each textbook verdict."""

import numpy as np

from ayar.curves import diagnose
from ayar.records import Curve, Measurement

STEPS = np.arange(101)
HEALTHY = 0.1 + 0.9**STEPS
NOISE = np.random.default_rng(5).normal(size=101)
RISING_LATE = np.interp(STEPS, [0, 40, 100], [2.0, 0.5, 1.0])


def curve(values, steps=None, **metrics):
    """A curve of ``train_probe``; further metrics by name. ``loss`` is the probe unless it is given."""
    steps = range(len(values)) if steps is None else steps
    loss = metrics.pop("loss", values)
    columns = {"train_probe": values, **metrics}
    return Curve(
        tuple(
            Measurement(int(step), float(loss[i]), metrics={name: float(column[i]) for name, column in columns.items()})
            for i, step in enumerate(steps)
        )
    )


def loss_only(values):
    return Curve(tuple(Measurement(step, float(value)) for step, value in enumerate(values)))


def names(*args, **kwargs):
    return [verdict.name for verdict in diagnose(*args, **kwargs)]


CASES = {
    "falling well": HEALTHY,
    "broken pipeline": np.ones(101),
    "diverging": 1 + 0.1 * STEPS,
    "too high": 0.5 + 0.5 * 0.9**STEPS + 0.3 * np.abs(np.sin(STEPS)),
    "too slow": 0.995**STEPS,
    "needs more iterations": 1 - 0.5 * STEPS / 100 + 0.004 * (-1.0) ** STEPS,
    "spikes": HEALTHY + 2.0 * (STEPS == 50),
    "noisy late": 0.3 + HEALTHY + 0.09 * NOISE * (STEPS > 70),
    "saturated early": 0.1 + 0.5**STEPS,
}
