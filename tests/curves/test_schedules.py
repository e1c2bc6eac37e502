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
def test_what_a_schedule_has_left_of_the_rate_after_twenty_of_its_steps_is_known_or_not_said(config, left):
    assert rate_left(config, 20, 100) == (None if left is None else pytest.approx(left))


def test_that_a_rate_came_down_by_plan_is_taken_into_account():
    """A loss that settles as the steps shrink says nothing about how many of them were needed."""
    space = ayar.Space(lr=ayar.Float(1e-3, 1.0), schedule=ayar.Choice("constant", "cosine"))
    study = Study(space=space, minimize="loss", horizon=40)
    losses = [0.5 + 1.8 * 0.6**step for step in range(41)]
    rows = [{"step": step, "loss": loss, "train_probe": loss} for step, loss in enumerate(losses)]
    constant, cosine = (study.add({"lr": 0.1, "schedule": name}, rows).id for name in ("constant", "cosine"))

    assert "saturated early" in [verdict.name for verdict in study.diagnose(constant)[constant]]
    assert "saturated early" not in [verdict.name for verdict in study.diagnose(cosine)[cosine]]
