"""Signals from inside a PyTorch net, for a training loop of your own: gradients, updates, dead units.

Three lines, marked below::

    watch = TorchSignals(net, X_train[:128])                    # 1
    for epoch in range(config["iterations"]):
        for X, y in batches:
            optimizer.zero_grad()
            loss_of(net(X), y).backward()
            watch.step(optimizer)                               # 2: in the place of optimizer.step()
        yield {"valid_error": ..., "train_probe": ..., **watch.metrics()}   # 3

``ayar.curves.diagnose`` reads the metrics where they are present.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ayar.curves.faults import GRADIENT_NORM, GRADIENT_NORM_MAX, GRADIENT_RATIO
from ayar.curves.reading import DEAD_UNITS, UPDATE_RATIO
from ayar.nets.inside import dead_share, first_to_last


class TorchSignals:
    """Watches a net from inside while a loop of your own trains it.

    Only every so many mini-batches are looked at, always the same ones, so equal seeds give equal metrics.
    ``benchmarks/torch_signals.py`` measures what it costs.

    Args:
        net: The net that is trained.
        probe: A few inputs, some 128 rows, as the net takes them; they show which hidden units are dead. None: the
            share of dead units is not measured.
        every_batch: Look at every so many mini-batches, from the first on.
        every_step: Look for dead units at every so many calls of ``metrics``, from the first on.
    """

    def __init__(
        self, net: nn.Module, probe: Tensor | None = None, *, every_batch: int = 50, every_step: int = 10
    ) -> None:
        if every_batch < 1 or every_step < 1:
            raise ValueError(f"every_batch={every_batch} and every_step={every_step} count from 1.")
        self._net, self._probe = net, probe
        self._every_batch, self._every_step = every_batch, every_step
        self._parameters = [p for p in net.parameters() if p.requires_grad]
        self._batches = self._steps = 0
        self._seen: list[Tensor] = []  # rows of: gradient norm, gradient ratio, update ratio; on the device

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Do ``optimizer.step()``, and look at the gradient and the update where this mini-batch's turn is."""
        looks = self._batches % self._every_batch == 0
        self._batches += 1
        if not looks:
            optimizer.step()
            return
        with torch.no_grad():
            learned: list[Tensor] = [p for p in self._parameters if p.grad is not None and not p.grad.is_sparse]
            norms = _norms([p.grad for p in learned if p.grad is not None])
            before = [p.clone() for p in learned]
            optimizer.step()
            update, size = _norms([b - p for b, p in zip(before, learned, strict=True)]).norm(), _norms(learned).norm()
            slopes = [norm / p.numel() ** 0.5 for p, norm in zip(learned, norms, strict=True) if p.ndim >= 2]
            ratio = first_to_last(torch.stack(slopes)) if slopes else torch.full_like(update, float("nan"))
            self._seen.append(torch.stack([norms.norm(), ratio, update / size]))

    def metrics(self) -> dict[str, float]:
        """What was seen since the last call, to be yielded beside your own metrics.

        A metric that was not looked at this time is left out; so is one that is not finite.
        """
        told: dict[str, float] = {}
        if self._seen:
            norm, ratio, update = torch.stack(self._seen).double().cpu().unbind(dim=1)
            told = {
                GRADIENT_NORM: float(norm.median()),
                GRADIENT_NORM_MAX: float(norm.max()),
                GRADIENT_RATIO: float(ratio.median()),
                UPDATE_RATIO: float(update.median()),
            }
        if self._probe is not None and self._steps % self._every_step == 0:
            told[DEAD_UNITS] = dead_share(self._net, self._probe)
        self._steps += 1
        self._seen = []
        return {name: value for name, value in told.items() if abs(value) < float("inf")}


def _norms(tensors: list[Tensor]) -> Tensor:
    """The norm of each, shape ``(n,)``."""
    return torch.stack([torch.linalg.vector_norm(each) for each in tensors])
