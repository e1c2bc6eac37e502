"""How much of the learning rate is left is read from the configuration, and not guessed."""

import pytest

import ayar
from ayar.curves.schedules import rate_left
from ayar.study import Study


@pytest.mark.parametrize(
    ("config", "left"),
    [
        ({"schedule": "cosine", "iterations": 40}, 0.5),
        ({"lr_scheduler": "linear"}, 0.8),
        ({"schedule": "step", "epochs": 40}, 0.1),
        ({"schedule": "constant"}, 1.0),
        ({"schedule": "cosine", "iterations": 20}, 0.0),
        ({"schedule": "my own"}, None),
        ({"schedule": 3}, None),
        ({}, None),
    ],
)
def test_after_twenty_steps(config, left):
    assert rate_left(config, 20, 100) == (None if left is None else pytest.approx(left))


def test_a_run_whose_rate_came_down_is_told_to_train_longer_not_faster():
    """It still falls at its end, but with steps that shrink by plan: longer ones are not what it lacks."""
    space = ayar.Space(lr=ayar.Float(1e-3, 1.0), schedule=ayar.Choice("constant", "cosine"))
    study = Study(space=space, minimize="loss", horizon=40)
    rows = [{"step": s, "loss": 0.97**s, "train_probe": 0.97**s} for s in range(41)]
    constant, cosine = (study.add({"lr": 0.1, "schedule": name}, rows).id for name in ("constant", "cosine"))

    assert study.diagnose(constant)[constant][0].name == "too slow"
    assert study.diagnose(cosine)[cosine][0].name == "needs more iterations"
