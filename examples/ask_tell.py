"""Keep the loop in your own hands: ask for moves, train them wherever you like, tell what came of them.

    python examples/ask_tell.py [ROUNDS]

The training here is gradient descent on a stretched bowl, so short that it needs no worker. A move may go on
with a trial that was paused: ``start_step`` says where, and ``positions`` holds what the last slice left.
"""

import sys

import numpy as np

import ayar

STRETCH = np.array([1.0, 25.0])  # J(w) = sum(STRETCH * w**2) / 2

space = ayar.Space(
    learning_rate=ayar.Float(1e-3, 1.0, log=True),
    momentum=ayar.Float(0.0, 0.99),
    iterations=40,
)
positions = {}  # trial -> (w, velocity), where its last slice ended


def descend(move):
    """One slice: measurements of the steps ``start_step + 1`` to ``stop_step``."""
    w, velocity = positions.get(move.trial, (np.array([1.0, 1.0]), np.zeros(2)))
    for step in range(move.start_step + 1, move.stop_step + 1):
        velocity = move.config["momentum"] * velocity - move.config["learning_rate"] * STRETCH * w
        w = w + velocity
        yield {"step": step, "cost": float(np.sum(STRETCH * w**2) / 2)}
    positions[move.trial] = w, velocity


with ayar.Study(None, space=space, minimize="cost", seed=0) as study:
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 30):
        for move in study.ask(4):  # four at a time; answer them in any order
            study.tell(move, list(descend(move)))
    best = study.trials()[study.winner().trial]
    print(f"{len(study.trials())} trials, {sum(t.curve.last_step for t in study.trials())} steps")
    print(f"cost {best.loss:.2e} with {best.config}")
