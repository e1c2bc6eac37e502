"""Example studies with curves that look like real ones, made from a seed."""

import math

import numpy as np

from ayar.records import (
    Advice,
    Confidence,
    Curve,
    Evidence,
    Gain,
    Measurement,
    Score,
    ScoreKind,
    Tie,
    Trial,
    Verdict,
    Winner,
)
from ayar.reports.tables import Story
from ayar.seeds import Purpose, trial_seed
from ayar.space import Choice, Float, Int, PerLayer, Space

SPACE = Space(
    learning_rate=Float(1e-4, 3.0, log=True),
    hidden_layers=Int(1, 3),
    hidden_units=PerLayer(Int(8, 256, log=True), layers="hidden_layers"),
    activation=Choice("relu", "tanh", "sigmoid"),
    optimizer=Choice("sgd", "adam"),
    momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
    batch_size=Choice(16, 32, 64, 128, ordered=True),
    weight_decay=Float(1e-6, 1e-1, log=True),
    dropout=Float(0.0, 0.5),
    iterations=50,
)


def trained(number, config, horizon, rng, *, maximize=False):
    """One trial: too small a learning rate is slow, too large a one diverges; both depend on the optimizer."""
    best_rate = 0.004 if config.get("optimizer") == "adam" else 0.15
    distance = math.log10(config["learning_rate"] / best_rate)
    floor = 0.016 + 0.012 * abs(distance) ** 1.5 + 0.02 * config.get("dropout", 0) + rng.exponential(0.004)
    speed = 0.6 * 10 ** min(0.0, 1.1 * (distance + 0.4)) + 0.01
    diverges_at = int(rng.integers(2, 9)) if distance > 1.15 + 0.2 * rng.standard_normal() else None
    stops = horizon if rng.random() < 0.45 else int(horizon * rng.choice([0.12, 0.25, 0.5]))
    measured = []
    for step in range(stops + 1):
        fall = (1 + speed * step) ** -1.6
        wobble = 0.1 * max(0.0, distance) * abs(rng.standard_normal())
        error = min(0.9, floor + (0.9 - floor) * fall * math.exp(0.05 * rng.standard_normal()) + 0.3 * wobble * fall)
        cost = 2.3 * fall + 0.004 + 0.02 * floor + 0.4 * wobble * fall
        if diverges_at and step >= diverges_at - 2:
            error, cost = 0.9, 2.3 * 30.0 ** (step - diverges_at + 3)
        broken = step == diverges_at
        metric = 1 - error if maximize else error
        measured.append(
            Measurement(
                step,
                math.nan if broken else (-metric if maximize else metric),
                0.02 + 0.01 * rng.random(),
                {
                    "train_probe": math.inf if broken else cost,
                    "valid_loss": math.nan if broken else 3 * error,
                    ("valid_accuracy" if maximize else "valid_error"): math.nan if broken else metric,
                },
            )
        )
        if broken:
            break
    seed = trial_seed(0, Purpose.SEARCH, number)
    return Trial(number, config, seed, Purpose.SEARCH, Curve(tuple(measured)), stops, ended=stops == horizon or broken)


def judged(trial):
    """Verdicts as a doctor would give them, roughly."""
    last = trial.curve.last_step
    if trial.diverged:
        evidence = (Evidence("non_finite", 1.0, 0.0),)
        sentence = f"The cost became infinite at step {last}: the learning rate is too high."
        return (Verdict("diverging", Confidence.STRONG, sentence, evidence, (max(0, last - 2), last)),)
    if trial.loss > 0.3 or (trial.loss > -0.7 and trial.loss < 0):
        sentence = "The cost still falls in a nearly straight line at the end: it could learn faster."
        return (Verdict("too slow", Confidence.MEDIUM, sentence, (Evidence("gain_end", 0.2, 0.02),), (0, last)),)
    return (Verdict("falling well", Confidence.MEDIUM, "The cost falls fast, then settles.", (), (0, last)),)


def story(count=80, seed=0, *, maximize=False, winner=True, horizon=50, **more):
    """A study of ``count`` trials with everything a report can show."""
    rng = np.random.default_rng(seed)
    trials = tuple(trained(k, SPACE.sample(rng), horizon, rng, maximize=maximize) for k in range(count))
    if count > 6:
        error = "Traceback (most recent call last):\nRuntimeError: out of memory"
        trials = (*trials[:5], Trial(5, trials[5].config, trials[5].seed, target_step=50, error=error), *trials[6:])
    finite = [trial for trial in trials if math.isfinite(trial.loss)]
    best = min(finite, key=lambda trial: trial.loss) if finite and winner else None
    known = {
        "name": "digits",
        "metric": "valid_accuracy" if maximize else "valid_error",
        "maximize": maximize,
        "horizon": horizon,
        "space": SPACE,
        "trials": trials,
        "winner": confirmed(best, maximize) if best else None,
        "verdicts": {trial.id: judged(trial) for trial in trials if trial.error is None},
        "advice": (
            Advice(
                "falling well", "the two best trials lie at the upper end of its range.", widen={"hidden_units": 512}
            ),
            Advice("too slow", "momentum near 0.9 made slow trials faster.", changes={"momentum": 0.92}),
            "Run `ayar recheck digits.db` when the data has changed.",
        ),
        "parameters": PARAMETERS,
        "environment": {
            "software": {"python": "3.12.3", "torch": "2.9.0", "numpy": "2.4.6", "ayar": "0.1.0"},
            "hardware": {"cpu": "2 cores, x86_64", "memory": "8 GB"},
            "code": {"commit": "33342c9", "changed": False},
        },
        "facts": {"rows": 1797, "columns": 64, "classes": 10, "split": "sha256:9f3a1c…", "train": 1078, "test": 360},
        "notes": (
            {"time": "2026-11-23 14:02:11", "purpose": "final score", "count": 1, "reason": "the winner was named"},
        ),
        "store": "digits.db",
        "report": "digits.html",
    }
    return Story(**{**known, **more})


PARAMETERS = tuple(
    {
        "name": name,
        "shape": shape,
        "count": math.prod(shape),
        "bytes": 4 * math.prod(shape),
        "initialisation": "He normal" if name[0] == "W" else "zeros",
        "decided_by": "hidden_units, activation",
    }
    for name, shape in (("W[1]", (128, 64)), ("b[1]", (128,)), ("W[2]", (10, 128)), ("b[2]", (10,)))
)


def score(kind, mean, half, n, maximize=False):
    """A score whose readings lie evenly around the mean."""
    values = tuple(float(v) for v in np.linspace(mean - half, mean + half, n)) if n > 1 else (mean,)
    if maximize:
        mean, values = 1 - mean, tuple(1 - v for v in values)
    return Score(kind, mean, mean - half, mean + half, values)


def confirmed(trial, maximize=False):
    """A winner with every kind of score."""
    return Winner(
        trial=trial.id,
        config=trial.config,
        stop_step=38,
        metric="valid_accuracy" if maximize else "valid_error",
        scores={
            ScoreKind.SEARCH_BEST: score(ScoreKind.SEARCH_BEST, 0.0139, 0.0, 1, maximize),
            ScoreKind.RERANKED: score(ScoreKind.RERANKED, 0.0166, 0.0021, 5, maximize),
            ScoreKind.FRESH_SEED: score(ScoreKind.FRESH_SEED, 0.0183, 0.0017, 8, maximize),
            ScoreKind.TEST: score(ScoreKind.TEST, 0.0214, 0.0024, 8, maximize),
        },
        compared={
            "runner-up": score(ScoreKind.FRESH_SEED, 0.0197, 0.0022, 8, maximize),
            "default": score(ScoreKind.FRESH_SEED, 0.0312, 0.0035, 8, maximize),
        },
        ties=[
            Tie(3, {"learning_rate": 0.02}, Gain(0.0004, -0.0011, 0.0019, 5), 21.0),
            Tie(17, {"learning_rate": 0.05}, Gain(0.0012, -0.0003, 0.0027, 5), 34.0),
        ],
        improvement=Gain(0.0129, 0.0101, 0.0157, 8, 0.00002),
        optimism=0.0044,
    )
