"""Train one real net for each verdict and write ``docs/guides/gallery.md`` with its cost curve, drawn in ``gallery/``.

Every example is a net on scikit-learn's digits with one thing wrong with it, or nothing.
``python benchmarks/gallery.py`` writes the page; ``tests/test_gallery.py`` trains the nets again and holds the page to
what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from ayar.curves import VERDICTS, diagnose
from ayar.integrations.torch_signals import TorchSignals
from ayar.records import Curve, Metric, Verdict
from ayar.reports.figures import Place
from ayar.reports.terminal import cost_curve, verdict_lines, verdict_places
from ayar.reports.verdicts import drawn

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "gallery.md"
PICTURES = PAGE.with_suffix("")
BESIDE_VALIDATION = ("overfitting", "underfitting")  # what shows beside the validation loss only


@dataclass(frozen=True)
class Example:
    """One training: what was done in words, and the settings that do it.

    Attributes:
        verdict: What it is to show, as its headline or beside it.
        how: What was trained, for the reader.
        settings: Arguments of ``train``.
        beside: What a sibling has otherwise, for what shows beside another run only.
        learning_rate_late: As for ``diagnose``.
    """

    verdict: str
    how: str
    settings: dict[str, Any]
    beside: dict[str, Any] | None = None
    learning_rate_late: float | None = None


def train(
    rate: float = 0.1,
    *,
    widths: Sequence[int] = (64,),
    activation: type[nn.Module] = nn.ReLU,
    optimizer: str = "sgd",
    epochs: int = 40,
    batch: int = 32,
    rows: int = 1000,
    noise: float = 0.0,
    scale: float = 1 / 16,
    cosine: bool = False,
) -> Curve:
    """A net on digits; ``noise`` is the share of labels replaced, ``scale`` what the pixels are multiplied by."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        X, y = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
        X = X.float() * scale
        y = torch.where(torch.rand(len(y)) < noise, torch.randint(0, 10, (len(y),)), y)
        order = torch.randperm(len(y))
        train_rows, valid_rows = order[:rows], order[-500:]
        sizes = [64, *widths, 10]
        parts = [part for n_in, n_out in pairwise(sizes) for part in (nn.Linear(n_in, n_out), activation())]
        net = nn.Sequential(*parts[:-1])
        make = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
        rule = make(net.parameters(), lr=rate, **({"momentum": 0.9} if optimizer == "momentum" else {}))
        watch = TorchSignals(net, X[train_rows[:128]], every_batch=4, every_step=1)
        loss_of, metric, measured = nn.functional.cross_entropy, Metric("valid_loss"), []
        probe = train_rows[:512]
        for epoch in range(epochs + 1):
            if epoch:
                if cosine:
                    rule.param_groups[0]["lr"] = rate * (1 + np.cos(np.pi * (epoch - 1) / epochs)) / 2
                for picked in train_rows[torch.randperm(rows)].split(batch):
                    rule.zero_grad()
                    loss_of(net(X[picked]), y[picked]).backward()
                    watch.step(rule)
            with torch.no_grad():
                losses = {
                    n: float(loss_of(net(X[at]), y[at]))
                    for n, at in (("train_probe", probe), ("valid_loss", valid_rows))
                }
            measured.append(metric.measurement(epoch, 0.0, losses | watch.metrics()))
            if not all(np.isfinite(list(losses.values()))):
                break
        return Curve(tuple(measured))


def read(example: Example) -> tuple[Curve, tuple[Verdict, ...]]:
    """Train an example and read its curve."""
    curve = train(**example.settings)
    siblings = [train(**example.settings | example.beside)] if example.beside is not None else []
    said = diagnose(curve, siblings=siblings, n_classes=10, learning_rate_late=example.learning_rate_late)
    return curve, said


EXAMPLES: tuple[Example, ...] = (
    Example("falling well", "64 hidden units, learning rate 0.1.", {"rate": 0.1}),
    Example("no clear fault", "The same net after 5 epochs.", {"rate": 0.1, "epochs": 5}),
    Example("broken pipeline", "The pixels were never scaled.", {"rate": 0.001, "scale": 8.0}),
    Example("diverging", "Learning rate 2.", {"rate": 2.0}),
    Example("too high", "Adam with a learning rate of 0.3.", {"rate": 0.3, "optimizer": "adam"}),
    Example(
        "fast but ends higher",
        "8 hidden units, Adam with a learning rate of 0.06, beside the same with 0.003.",
        {"rate": 0.06, "widths": (8,), "optimizer": "adam", "batch": 8, "epochs": 30},
        beside={"rate": 0.003},
    ),
    Example("too slow", "Learning rate 0.003.", {"rate": 0.003}),
    Example("needs more iterations", "100 rows, 30 % of their labels wrong, 60 epochs.",
            {"rate": 0.1, "rows": 100, "noise": 0.3, "epochs": 60}),
    Example("overfitting", "100 rows, 30 % of their labels wrong, Adam, 60 epochs.",
            {"rate": 0.01, "optimizer": "adam", "rows": 100, "noise": 0.3, "epochs": 60}),
    Example("underfitting", "One hidden unit, beside the same with 64.",
            {"rate": 1.0, "widths": (1,), "activation": nn.Tanh, "epochs": 60, "batch": 100, "cosine": True},
            beside={"widths": (64,)}, learning_rate_late=0.0),
    Example("vanishing gradients", "Eight hidden layers of sigmoids.",
            {"rate": 0.1, "widths": (16,) * 8, "activation": nn.Sigmoid, "epochs": 20}),
    Example("exploding gradients", "Learning rate 2, without clipping.", {"rate": 2.0}),
    Example("noisy late", "40 % of the labels wrong, mini-batches of 4, Adam with a learning rate of 0.02.",
            {"rate": 0.02, "widths": (16,), "optimizer": "adam", "batch": 4, "epochs": 30, "noise": 0.4}),
    Example("dead units", "Adam with a learning rate of 0.1.", {"rate": 0.1, "optimizer": "adam"}),
    Example("spikes", "Learning rate 1.", {"rate": 1.0}),
    Example("saturated early", "Momentum 0.9, learning rate 0.2, mini-batches of 100, 150 epochs.",
            {"rate": 0.2, "optimizer": "momentum", "epochs": 150, "batch": 100}),
)  # fmt: skip
"""One for each verdict, in their order."""


HEAD = """# A gallery of cost curves

One real net for each verdict: small nets on 8 by 8 images of digits, with one thing wrong with them, or nothing. The
pictures are the loss on a fixed sample of the training examples (`train_probe`) against the epoch, as a report and as
the terminal show it; the place that speaks for a verdict is marked. [Read the curves](curves.md) says what each verdict
means and what to try. Written by `python benchmarks/gallery.py`.
"""

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #777; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: #8883; } .axis { stroke: #8886; } .l { fill: none; stroke: #888; stroke-width: 1.4; }
.l.beside { stroke-dasharray: 2 4; } .l:not(.beside) { stroke: #b5562b; stroke-width: 2; }
.place { fill: #0b8a7d; opacity: .15; } .bracket { stroke: #0b8a7d; stroke-width: 3; }
.found { fill: #0b8a7d; font-weight: 600; }
"""


def picture(example: Example, curve: Curve, said: Sequence[Verdict]) -> str:
    """The curve as an SVG file of its own, legible on a light and on a dark page."""
    names = ["train_probe", *(["valid_loss"] if example.verdict in BESIDE_VALIDATION else [])]
    lines = [tuple(part.tolist() for part in curve.metric(name)) for name in names]
    shown = sorted(said, key=lambda verdict: verdict.name != example.verdict)  # what the section is about comes first
    places = [Place(v.name, *v.steps) for v in shown if v.evidence]
    svg = drawn(lines, places, " and, dashed, ".join(names))
    head, body = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{body}\n'


def page(examples: Sequence[Example] = EXAMPLES, folder: Path | None = None) -> str:
    """The gallery as Markdown; its pictures are written into ``folder``."""
    parts = [HEAD]
    for example in examples:
        curve, said = read(example)
        steps, losses = curve.metric("train_probe")
        curves = {"": (steps.tolist(), losses.tolist())}
        text = cost_curve(curves, width=70, height=8, places=verdict_places(said))
        name = f"{example.verdict.replace(' ', '_')}.svg"
        if folder is not None:
            (folder / name).write_text(picture(example, curve, said), encoding="utf-8")
        parts.append(f"## {example.verdict[:1].upper()}{example.verdict[1:]}\n")
        parts.append(f"{example.how} In short: {VERDICTS[example.verdict]}.\n")
        parts.append(f"![The cost curve: {example.verdict}](gallery/{name})\n")
        parts.append(f"```text\n{text}\n\n{verdict_lines(said).rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    torch.set_num_threads(1)
    PICTURES.mkdir(exist_ok=True)
    PAGE.write_text(page(folder=PICTURES), encoding="utf-8")
