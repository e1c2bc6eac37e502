"""What is particular to grid, random, quasi-random and automatic search."""

import numpy as np
import pytest
from scipy.stats import qmc

from ayar.records import Trial
from ayar.search import SEARCHERS, Auto, Bayesian, Grid, Problem, QuasiRandom, Racer, Random
from ayar.space import Choice, Float, Int, Space

PLANE = Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0))


def configs(searcher, problem, n):
    return [proposal.config for proposal in searcher.propose(problem, [], n)]


def started(history):
    return [Trial(i, config, i, target_step=9) for i, config in enumerate(history)]


def test_the_names_of_the_searchers():
    names = "auto bayesian cmaes grid halving hyperband pareto population quasirandom racer random tpe"

    assert " ".join(sorted(SEARCHERS)) == names


def test_a_grid_over_a_continuum_has_five_points_on_each_axis():
    found = configs(Grid(), Problem(PLANE, 9), 100)

    assert len(found) == 25
    assert {config["x"] for config in found} == {config["y"] for config in found} == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_grid_over_a_finite_space_is_all_of_it():
    space = Space(n=Int(1, 40), kind=Choice("a", "b"))

    assert len(configs(Grid(), Problem(space, 9), 100)) == 80


@pytest.mark.parametrize("seed", range(5))
def test_the_beginning_of_a_grid_already_covers_the_range(seed):
    first = configs(Grid(points=9), Problem(PLANE, 9, seed), 9)

    for axis in "xy":
        thirds = {min(int(config[axis] * 3), 2) for config in first}
        assert thirds == {0, 1, 2}


def test_a_grid_comes_back_for_what_was_left_out():
    """Here the history holds configurations from elsewhere, so counting it skips part of the grid."""
    problem = Problem(Space(n=Int(1, 6)), 9)
    history = started([{"n": 5}, {"n": 6}, {"n": 7}])

    assert sorted(p.config["n"] for p in Grid().propose(problem, history, 9)) == [1, 2, 3, 4]


def test_a_grid_too_large_to_write_out_still_begins():
    space = Space(**{f"x{i}": Float(0, 1) for i in range(60)})

    assert len(configs(Grid(), Problem(space, 9), 3)) == 3


def test_quasi_random_points_are_the_scrambled_sobol_sequence():
    found = configs(QuasiRandom(), Problem(PLANE, 9, seed=11), 9)

    expected = qmc.Sobol(2, scramble=True, seed=11).random(8)
    assert found[0] == PLANE.default()
    assert np.array([[c["x"], c["y"]] for c in found[1:]]) == pytest.approx(expected)


def test_the_sequence_goes_on_where_the_history_stops():
    problem = Problem(PLANE, 9, seed=11)
    found = configs(QuasiRandom(), problem, 20)

    for known in (1, 2, 7, 19):
        assert QuasiRandom().propose(problem, started(found[:known]), 1)[0].config == found[known]


def test_quasi_random_points_cover_the_space_better_than_random_ones():
    def gap(searcher, seed):
        found = configs(searcher, Problem(PLANE, 9, seed), 129)[1:]
        return qmc.discrepancy(np.array([[c["x"], c["y"]] for c in found]))

    seeds = range(5)
    assert max(gap(QuasiRandom(), seed) for seed in seeds) < min(gap(Random(), seed) for seed in seeds) / 3


def test_random_search_is_uniform():
    found = configs(Random(), Problem(PLANE, 9), 1001)[1:]

    share = np.mean([c["x"] < 0.5 and c["y"] < 0.5 for c in found])
    assert share == pytest.approx(0.25, abs=0.04)


def test_a_number_of_the_sequence_gives_the_same_configuration_whatever_the_others_were():
    problem = Problem(PLANE, 9)
    history = started([{"x": i / 50, "y": 0.5} for i in range(10)])
    other = started([{"x": 0.5, "y": i / 50} for i in range(10)])

    for searcher in (Random(), QuasiRandom()):
        assert searcher.propose(problem, history, 2) == searcher.propose(problem, other, 2)


def test_the_last_configuration_of_a_large_finite_space_is_found():
    space = Space(n=Int(1, 3000))
    history = started([{"n": i} for i in range(1, 3001) if i != 1234])

    for searcher in (Random(), QuasiRandom(), Grid()):
        assert [p.config for p in searcher.propose(Problem(space, 9), history, 3)] == [{"n": 1234}]


@pytest.mark.parametrize(
    ("space", "horizon", "sliceable", "chosen"),
    [
        (Space(n=Int(1, 9)), 50, True, Grid()),
        (Space(n=Int(1, 10)), 50, True, Racer()),
        (Space(n=Int(1, 10)), 2, True, Grid()),
        (Space(n=Int(1, 30)), 50, False, Grid()),
        (Space(n=Int(1, 31)), 50, False, Bayesian()),
        (PLANE, 3, True, Racer()),
        (PLANE, 2, True, Bayesian()),
        (PLANE, 50, False, Bayesian()),
    ],
)
def test_auto_chooses_by_the_problem(space, horizon, sliceable, chosen):
    problem = Problem(space, horizon, sliceable=sliceable)

    assert Auto().choose(problem) == chosen
    assert Auto().propose(problem, [], 4) == chosen.propose(problem, [], 4)
