"""What is worth tuning of the L-layer net."""

from __future__ import annotations

from ayar.nets.data import Data
from ayar.space import Choice, Float, Int, PerLayer, Space


def default_space(data: Data) -> Space:
    """What is worth tuning of the L-layer net on ``data``, beginning with a configuration that is strong already.

    The ranges are the same for every task; the defaults follow the size of the data. Few rows ask for small batches
    and many iterations, so that a training still holds enough updates; the more numbers an epoch goes through, the
    fewer the iterations, so that one training stays a matter of seconds.
    """
    n_rows, n_numbers = len(data.X_train), data.X_train.size
    return Space(
        learning_rate=Float(3e-4, 0.3, log=True, default=2e-3 if n_numbers < 1e7 else 1e-3),
        hidden_layers=Int(1, 4, default=2),
        hidden_units=PerLayer(Int(32, 512, log=True, default=256), layers="hidden_layers"),
        activation=Choice("relu", "tanh", "sigmoid"),
        optimizer=Choice("adam", "nesterov", "sgd"),
        momentum=Float(0.5, 0.99, default=0.9, when={"optimizer": ["nesterov", "sgd"]}),
        batch_size=Choice(
            16, 32, 64, 128, 256, ordered=True, default=16 if n_rows < 500 else 64 if n_rows < 5000 else 128
        ),
        weight_decay=Float(1e-6, 1e-2, log=True, default=1e-5),
        dropout=Float(0.0, 0.6, default=0.3 if data.kind == "classification" else 0.1),
        schedule=Choice("cosine", "constant"),
        iterations=200 if n_rows < 500 else 50 if n_numbers < 1e6 else 20 if n_numbers < 1e7 else 12,
    )
