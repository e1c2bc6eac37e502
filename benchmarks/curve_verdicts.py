"""Measure how often a curve's verdict points the right way; writes ``results/curve_verdicts.md``.

Small NumPy nets are trained at thirteen learning rates, half a decade apart. The right answer for each run is found
by intervention: a learning rate is *ok* when its mean end loss over the seeds lies within 5 % of the attainable fall
of the best one's; otherwise it is *low* or *high* by its side of the best one.

The thresholds were fitted to ``FITTED`` and fixed before ``HELD_OUT`` was trained for the first time.
``python benchmarks/curve_verdicts.py`` repeats everything in about five minutes on an idle core.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ayar.curves import TOO_HIGH, TOO_LOW, VERDICTS, advise, diagnose
from ayar.records import Confidence, Curve, Measurement, Verdict
from ayar.space import Float, Space

RATES = 10.0 ** np.arange(-5, 1.01, 0.5)
STEPS, EVERY, BATCH, PROBE = 1000, 10, 32, 512


@dataclass(frozen=True)
class Workload:
    """A task and a net for it: inputs ``(n, d)``, labels ``(n,)`` (whole: classes, real: targets), hidden widths."""

    name: str
    X: np.ndarray
    y: np.ndarray
    hidden: tuple[int, ...]
    activation: str = "relu"

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return int(self.y.max()) + 1 if self.y.dtype.kind == "i" else 1


@dataclass(frozen=True)
class Run:
    """One training: its learning rate, the label found by intervention, the end loss and the curve."""

    workload: str
    optimizer: str
    rate: float
    seed: int
    label: str
    end: float
    curve: Curve
    n_classes: int | None = None


def teacher(name: str, *, n: int, noise: float, hidden: tuple[int, ...] = (32, 32), spread: float = 1.0) -> Workload:
    """Labels of a random net over 20 inputs, a share ``noise`` of them replaced; input j scaled by up to ``spread``."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(n, 20))
    y = (np.maximum(X @ rng.normal(size=(20, 16)), 0) @ rng.normal(size=(16, 4))).argmax(axis=1)
    y = np.where(rng.random(n) < noise, rng.integers(0, 4, n), y)
    return Workload(name, X * np.geomspace(1 / spread, spread, 20), y, hidden)


def rings() -> Workload:
    """Two rings around each other in the plane, with noise."""
    rng = np.random.default_rng(12)
    y = rng.integers(0, 2, 2000)
    angle = rng.uniform(0, 2 * np.pi, 2000)
    radius = 1 + y + 0.2 * rng.normal(size=2000)
    return Workload("rings", np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y, (32, 32))


def table(name: str, hidden: tuple[int, ...], activation: str = "relu") -> Workload:
    """One of the real tables that scikit-learn ships, standardised."""
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-6)
    y = (y - y.mean()) / y.std() if y.dtype.kind == "f" else y.astype(int)
    return Workload(name, X, y, hidden, activation)


FITTED: dict[str, Callable[[], Workload]] = {
    "label noise 15 %": lambda: teacher("label noise 15 %", n=4000, noise=0.15),
    "label noise 50 %": lambda: teacher("label noise 50 %", n=4000, noise=0.5),
    "400 examples": lambda: teacher("400 examples", n=400, noise=0.05),
    "badly scaled inputs": lambda: teacher("badly scaled inputs", n=4000, noise=0.05, spread=10.0),
    "8 layers": lambda: teacher("8 layers", n=4000, noise=0.05, hidden=(24,) * 7),
    "rings": rings,
}

HELD_OUT: dict[str, Callable[[], Workload]] = {
    "digits": lambda: table("digits", (64,)),
    "diabetes": lambda: table("diabetes", (16, 16), "tanh"),
    "breast_cancer": lambda: table("breast_cancer", ()),
    "wine": lambda: table("wine", (8,) * 4, "tanh"),
}


def train(work: Workload, optimizer: str, seed: int, rates: np.ndarray = RATES) -> Iterator[tuple[int, np.ndarray]]:
    """Train the net at every rate at once, as lanes of one computation; yields ``(step, probe losses)``.

    All lanes share initialisation and mini-batches, so they differ by nothing but the learning rate.
    """
    rng = np.random.default_rng(seed)
    widths = [work.X.shape[1], *work.hidden, work.outputs]
    theta = [
        np.repeat(part[None], len(rates), axis=0)
        for n_in, n_out in pairwise(widths)
        for part in (rng.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in), np.zeros((1, n_out)))
    ]
    m, v = [np.zeros_like(p) for p in theta], [np.zeros_like(p) for p in theta]
    probe = rng.permutation(len(work.y))[:PROBE]
    size = len(work.y) if optimizer == "gradient descent" else BATCH
    rate = rates[:, None, None]
    with np.errstate(all="ignore"):  # lanes that blow up are part of the measurement
        yield 0, back_propagate(work, theta, probe)[0]
        for step in range(1, STEPS + 1):
            batch = rng.permutation(len(work.y))[:size]
            for i, g in enumerate(back_propagate(work, theta, batch)[1]):
                if optimizer == "adam":
                    m[i] += 0.1 * (g - m[i])
                    v[i] += 0.001 * (g * g - v[i])
                    update = m[i] / (1 - 0.9**step) / (np.sqrt(v[i] / (1 - 0.999**step)) + 1e-8)
                else:
                    m[i] = update = (0.9 if optimizer == "momentum" else 0.0) * m[i] + g
                theta[i] -= rate * update
            if step % EVERY == 0:
                yield step, back_propagate(work, theta, probe)[0]


def back_propagate(work: Workload, theta: list[np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Mean loss of every lane over the rows, shape ``(lanes,)``, and its gradient."""
    X, y = work.X[rows], work.y[rows]
    relu = work.activation == "relu"
    inputs, a = [], np.broadcast_to(X, (len(theta[0]), *X.shape))
    for i in range(0, len(theta), 2):
        inputs.append(a)
        z = a @ theta[i] + theta[i + 1]
        a = np.maximum(z, 0) if relu else np.tanh(z)
    if y.dtype.kind == "i":
        z = z - z.max(axis=2, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=2, keepdims=True))
        loss = -log_p[:, np.arange(len(y)), y].mean(axis=1)
        delta = np.exp(log_p)
        delta[:, np.arange(len(y)), y] -= 1
    else:
        delta = z - y[:, None]
        loss = (delta**2).mean(axis=(1, 2)) / 2
    delta /= len(y)
    gradient: list[np.ndarray] = []
    for i in range(len(theta) - 2, -1, -2):
        x = inputs[i // 2]
        gradient = [x.transpose(0, 2, 1) @ delta, delta.sum(axis=1, keepdims=True), *gradient]
        if i:
            delta = (delta @ theta[i].transpose(0, 2, 1)) * ((x > 0) if relu else 1 - x**2)
    return loss, gradient


def measure(work: Workload, optimizer: str, seeds: Sequence[int], rates: np.ndarray = RATES) -> list[Run]:
    """Train at every rate with every seed, and label each run by comparison with its neighbours in rate."""
    losses = {}
    for seed in seeds:
        steps, probe = zip(*train(work, optimizer, seed, rates), strict=True)
        losses[seed] = np.stack(probe)  # (points, rates)
    ends = {seed: np.where(np.isfinite(y).all(axis=0), y[-10:].mean(axis=0), np.inf) for seed, y in losses.items()}
    mean_end = np.mean(list(ends.values()), axis=0)
    start = np.mean([y[0] for y in losses.values()])
    best = int(np.argmin(mean_end))
    ok = mean_end <= mean_end[best] + 0.05 * (start - mean_end[best])
    labels = ["ok" if ok[i] else "low" if i < best else "high" for i in range(len(rates))]
    return [
        Run(
            work.name,
            optimizer,
            rates[i],
            seed,
            labels[i],
            ends[seed][i],
            curve_of(steps, losses[seed][:, i]),
            work.outputs if work.outputs > 1 else None,
        )
        for seed in seeds
        for i in range(len(rates))
    ]


def curve_of(steps: Sequence[int], losses: np.ndarray) -> Curve:
    """The probe losses as a curve, up to the first that is no number any more."""
    stop = next((i + 1 for i, loss in enumerate(losses) if not np.isfinite(loss)), len(losses))
    return Curve(
        tuple(
            Measurement(step, float(loss), metrics={"train_probe": float(loss)})
            for step, loss in zip(steps[:stop], losses[:stop], strict=True)
        )
    )


def direction(verdicts: Sequence[Verdict]) -> str:
    """What the verdicts say about the learning rate: low, high or ok."""
    names = {v.name for v in verdicts}
    return "high" if names & TOO_HIGH else "low" if names & TOO_LOW else "ok"


@dataclass(frozen=True)
class Quality:
    """How good the verdicts are: recall and precision per label, and the share that points the wrong way."""

    recall: dict[str, float]
    precision: dict[str, float]
    wrong: int
    runs: int

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the three recalls."""
        return float(np.mean(list(self.recall.values())))


def quality(labels: Sequence[str], said: Sequence[str]) -> Quality:
    """Compare what was said with the labels found by intervention."""
    label, word = np.array(labels), np.array(said)
    hits = {k: int(((label == k) & (word == k)).sum()) for k in ("low", "ok", "high")}
    return Quality(
        recall={k: hits[k] / max(1, int((label == k).sum())) for k in hits},
        precision={k: hits[k] / max(1, int((word == k).sum())) for k in hits},
        wrong=int((((label == "low") & (word == "high")) | ((label == "high") & (word == "low"))).sum()),
        runs=len(label),
    )


def thinned(curve: Curve, every: int) -> Curve:
    """The curve as a study with fewer, longer epochs would have recorded it."""
    kept = [m for m in curve if m.step % (every * EVERY) == 0 or not np.isfinite(m.loss)]
    return Curve(tuple(kept))


def prefix(curve: Curve, share: float) -> Curve:
    """The curve of a run paused after this share of its steps."""
    return Curve(tuple(m for m in curve if m.step <= share * STEPS))


def siblings(run: Run, runs: Sequence[Run]) -> list[Curve]:
    """The curves of the same task, optimiser and seed at all other rates."""
    same = (run.workload, run.optimizer, run.seed)
    return [r.curve for r in runs if (r.workload, r.optimizer, r.seed) == same and r.rate != run.rate]


def naive(curve: Curve) -> str:
    """The rule of thumb to beat: a rise in a quarter of the points is high, less than 1 % of fall is low."""
    y = curve.metric("train_probe")[1]
    if not np.isfinite(y).all() or (np.diff(y) > 0).mean() > 0.25:
        return "high"
    return "low" if y[-1] > 0.99 * y[0] else "ok"


def follow(runs: Sequence[Run], said: Sequence[Sequence[Verdict]]) -> str:
    """How often training on at the advised rate ended lower, beside a move of the same size to a random side."""
    ends = {(r.workload, r.optimizer, r.seed, round(2 * np.log10(r.rate))): r.end for r in runs}
    space, rng = Space(learning_rate=Float(RATES[0], RATES[-1], log=True)), np.random.default_rng(0)
    better, by_chance = [], []
    for run, verdicts in zip(runs, said, strict=True):
        moves = [a.changes["learning_rate"] for a in advise(verdicts, {"learning_rate": run.rate}, space) if a.changes]
        if not moves:
            continue
        here = round(2 * np.log10(run.rate))
        size = round(2 * np.log10(moves[0])) - here
        key = (run.workload, run.optimizer, run.seed)
        better.append(ends[*key, here + size] < run.end)
        by_chance.append(ends.get((*key, here + size * rng.choice([-1, 1])), np.inf) < run.end)
    return f"{np.mean(better):.0%} of {len(better)} moves (to a random side: {np.mean(by_chance):.0%})"


def confidence(runs: Sequence[Run], said: Sequence[Sequence[Verdict]]) -> str:
    """Share of the directions that were right, by the confidence of the headline."""
    cells = []
    for level in Confidence:
        right = [
            r.label == direction(v)
            for r, v in zip(runs, said, strict=True)
            if v[0].confidence is level and direction(v) != "ok"
        ]
        cells.append(f"{level} {np.mean(right):.0%} of {len(right)}")
    return ", ".join(cells)


def counted(runs: Sequence[Run]) -> list[str]:
    """How often each verdict is given, by label: what is said of sound runs shows the false alarms."""
    said = [(r.label, diagnose(r.curve, n_classes=r.n_classes)) for r in runs]
    lines = ["| verdict | low | ok | high | headline of ok |", "| --- | --- | --- | --- | --- |"]
    for name in VERDICTS:
        shares = [
            np.mean([any(v.name == name for v in verdicts) for label, verdicts in said if label == wanted])
            for wanted in ("low", "ok", "high")
        ]
        headline = np.mean([verdicts[0].name == name for label, verdicts in said if label == "ok"])
        if max(shares) > 0:
            lines.append("| " + " | ".join([name, *(f"{share:.1%}" for share in (*shares, headline))]) + " |")
    return lines


def section(title: str, runs: Sequence[Run]) -> str:
    """One set of workloads as Markdown."""
    single = [diagnose(r.curve) for r in runs]
    rows = {
        "one curve, 101 points": single,
        "with its siblings": [diagnose(r.curve, siblings=siblings(r, runs)) for r in runs],
        "51 points": [diagnose(thinned(r.curve, 2)) for r in runs],
        "21 points": [diagnose(thinned(r.curve, 5)) for r in runs],
        "11 points": [diagnose(thinned(r.curve, 10)) for r in runs],
        "paused at 50 %": [diagnose(prefix(r.curve, 0.5), horizon=STEPS) for r in runs],
        "paused at 20 %": [diagnose(prefix(r.curve, 0.2), horizon=STEPS) for r in runs],
    }
    said = {name: [direction(v) for v in verdicts] for name, verdicts in rows.items()}
    said["rule of thumb"] = [naive(r.curve) for r in runs]
    labels = [r.label for r in runs]
    counts = ", ".join(f"{labels.count(k)} {k}" for k in ("low", "ok", "high"))
    lines = [f"## {title}", "", f"{len(runs)} runs: {counts}.", ""]
    lines += ["| read from | balanced accuracy | recall low/ok/high | precision low/ok/high | wrong direction |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for name, words in said.items():
        q = quality(labels, words)
        recall, precision = ("/".join(f"{x:.2f}" for x in d.values()) for d in (q.recall, q.precision))
        lines.append(f"| {name} | {q.balanced_accuracy:.3f} | {recall} | {precision} | {q.wrong} of {q.runs} |")
    lines += ["", f"Directions that were right, by confidence: {confidence(runs, single)}.", ""]
    lines += [f"Advice followed, the run ended lower in {follow(runs, single)}.", ""]
    lines += ["Share of the runs of each label that got a verdict, read from one curve of 101 points:", ""]
    lines += [*counted(runs), ""]
    return "\n".join(lines)


def main() -> None:
    """Measure everything and write the page."""
    start = time.perf_counter()
    fitted = [r for make in FITTED.values() for o in ("momentum", "adam") for r in measure(make(), o, range(3))]
    optimizers = ("sgd", "momentum", "adam", "gradient descent")
    held_out = [r for make in HELD_OUT.values() for o in optimizers for r in measure(make(), o, range(3))]
    sections = (
        section(f"Held out: {', '.join(HELD_OUT)} ({', '.join(optimizers)})", held_out),
        section(f"Fitted: {', '.join(FITTED)} (momentum, adam)", fitted),
    )
    minutes = (time.perf_counter() - start) / 60
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    machine = processor[1] if processor else platform.machine()
    page = f"""# How often a curve's verdict points the right way

Written by `python benchmarks/curve_verdicts.py`; its head says how runs are labelled. 13 learning rates from 1e-5 to
10, 3 seeds, {STEPS} steps of {BATCH} examples (gradient descent: all), loss of {PROBE} training examples every
{EVERY} steps. A verdict that asks for a lower learning rate says *high*, one that asks for a higher one *low*, any
other *ok*. A wrong direction is *high* said of a low run, or the reverse.

{sections[0]}
{sections[1]}
{machine}, 1 core; Python {platform.python_version()}, NumPy {np.__version__}; {minutes:.1f} minutes.
"""
    Path(__file__).with_name("results").joinpath("curve_verdicts.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
