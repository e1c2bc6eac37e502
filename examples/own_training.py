"""Tune a training of your own: softmax regression on real digits, in plain NumPy.

    python examples/own_training.py [TRIALS]

Run it again: it finds everything in softmax.db, trains nothing, and prints the same winner.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

import ayar

X, y = load_digits(return_X_y=True)
X, Y = X / 16, np.eye(10)[y]
train_rows, valid_rows = np.split(np.random.default_rng(0).permutation(len(X)), [1200])


def probabilities(rows, W, b):
    """Softmax of the scores, shape ``(len(rows), 10)``."""
    Z = np.exp(X[rows] @ W + b)
    return Z / Z.sum(axis=1, keepdims=True)


def train(config, seed):
    """One yield per epoch; Ayar pauses the training by not asking for more."""
    rng = np.random.default_rng(seed)
    W, b = rng.normal(0, 0.01, (64, 10)), np.zeros(10)
    for _ in range(config["iterations"]):
        for rows in np.array_split(rng.permutation(train_rows), 1200 // config["batch_size"]):
            error = probabilities(rows, W, b) - Y[rows]
            W -= config["learning_rate"] * (X[rows].T @ error / len(rows) + config["weight_decay"] * W)
            b -= config["learning_rate"] * error.mean(axis=0)
        probe = probabilities(train_rows[:512], W, b)[np.arange(512), y[train_rows[:512]]]
        wrong = probabilities(valid_rows, W, b).argmax(axis=1) != y[valid_rows]
        yield {"train_probe": -np.log(probe + 1e-12).mean(), "valid_error": wrong.mean()}


space = ayar.Space(
    learning_rate=ayar.Float(1e-3, 10.0, log=True),
    weight_decay=ayar.Float(1e-6, 1e-1, log=True),
    batch_size=ayar.Choice(16, 32, 64, 128, ordered=True),
    iterations=30,
)
with ayar.Study("softmax.db", space=space, minimize="valid_error", seed=0) as study:
    winner = study.tune(train, trials=int(sys.argv[1]) if len(sys.argv) > 1 else 30, workers=2)
    print("winner:", winner.config)
    for kind, score in winner.scores.items():
        print(f"{kind}: {score.mean:.4f}, 95 % interval {score.low:.4f} to {score.high:.4f}")
    verdict = study.diagnose(winner.trial)[winner.trial][0]
    print(f"its curve: {verdict.name}. {verdict.sentence}")
