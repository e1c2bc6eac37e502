"""What is particular to CMA-ES."""

import numpy as np
import pytest

from ayar.records import Curve, Measurement, Trial
from ayar.search import CmaEs, Problem, evolution
from ayar.search.history import History
from ayar.space import Float, Space

SPACE = Space(**{name: Float(0, 1) for name in "abcd"})


def loss(config):
    """A narrow valley across the axes."""
    a, b, c, d = (config[name] - 0.4 for name in "abcd")
    return (a + b) ** 2 + 100 * (a - b) ** 2 + c**2 + 10 * d**2


def trial(number, config, *, told=True):
    curve = Curve((Measurement(1, loss(config)),)) if told else Curve()
    return Trial(number, config, number, curve=curve, target_step=1, ended=told)


@pytest.mark.parametrize("seed", range(3))
def test_it_follows_a_valley_that_lies_across_the_axes(seed):
    problem, history = Problem(SPACE, 1, seed), History()
    for number in range(300):
        history.put(trial(number, CmaEs().propose(problem, history, 1)[0].config))

    assert np.median([loss(t.config) for t in history[250:]]) < 0.01


def test_a_late_result_counts_in_its_own_generation_as_if_it_had_come_in_time():
    problem, history = Problem(SPACE, 1, 1), History()
    late = None
    for number in range(40):
        (proposal,) = CmaEs().propose(problem, history, 1)
        history.put(trial(number, proposal.config, told=number != 10))
        late = proposal.config if number == 10 else late
    without = CmaEs().propose(problem, history, 1)
    history.put(trial(10, late))

    assert CmaEs().propose(problem, history, 1) != without
    remembered = CmaEs().propose(problem, history, 1)
    evolution._snapshots.clear()
    assert CmaEs().propose(problem, list(history), 1) == remembered
