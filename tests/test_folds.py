"""A trial's seed decides on which rows it trains and on which it is judged."""

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayar.errors import DataError
from ayar.folds import Folds
from ayar.run.objective import Kind, as_training
from ayar.seeds import Purpose, trial_seed

CLASSES = np.repeat([0, 1, 2], [30, 20, 10])
GROUPS = np.arange(60) // 4


def seeds(purpose, count, study_seed=0):
    return [trial_seed(study_seed, purpose, n) for n in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["kfold", "repeated", "holdout"]),
    st.integers(2, 8),
    st.sampled_from(["plain", "y", "groups", "both", "time", "time and groups", "time and lasting groups"]),
    st.sampled_from(Purpose),
    st.integers(0, 40),
    st.integers(0, 5),
)
def test_no_row_is_on_both_sides_and_the_same_seed_gives_the_same_rows(method, k, kind, purpose, number, seed):
    given = {
        "plain": {"n": 60},
        "y": {"y": CLASSES},
        "groups": {"groups": GROUPS},
        "both": {"y": CLASSES, "groups": GROUPS},
        "time": {"time": np.arange(60) // 2},
        "time and groups": {"time": np.arange(60) // 2, "groups": GROUPS},
        "time and lasting groups": {"time": np.arange(60) // 2, "groups": np.arange(60) % 7},
    }[kind]
    folds = Folds(**given, method=method, k=k, seed=seed)
    train, valid = folds(trial_seed(seed, purpose, number))
    again = folds(trial_seed(seed, purpose, number))
    assert len(train) > 0
    assert len(valid) > 0
    assert not set(train) & set(valid)
    assert all(np.array_equal(a, b) for a, b in zip((train, valid), again, strict=True))
    if "groups" in given:
        assert not set(given["groups"][train]) & set(given["groups"][valid])
    if "time" in given:
        assert max(train // 2) < min(valid // 2)


@pytest.mark.parametrize("given", [{"n": 60}, {"y": CLASSES}, {"groups": GROUPS}])
def test_the_seeds_of_a_stream_go_through_all_folds_so_that_each_row_validates_once(given):
    folds = Folds(**given, method="kfold", k=5)
    valid = [folds(seed)[1] for seed in seeds(Purpose.RERANK, 5)]
    assert sorted(np.concatenate(valid)) == list(range(60))


def test_each_fold_has_its_share_of_each_class():
    folds = Folds(y=CLASSES, method="kfold", k=5)
    for seed in seeds(Purpose.RERANK, 5):
        assert np.bincount(CLASSES[folds(seed)[1]]).tolist() == [6, 4, 2]


def test_fresh_seeds_mean_fresh_partitions_in_every_stream_and_round():
    folds = Folds(60, method="kfold", k=5)
    rerank, finalise = (
        [tuple(folds(seed)[1]) for seed in seeds(purpose, 10)] for purpose in (Purpose.RERANK, Purpose.FINALISE)
    )
    assert not set(rerank) & set(finalise)
    assert not set(rerank[:5]) & set(rerank[5:])


def test_a_hold_out_is_the_same_for_every_seed_and_a_repeated_one_for_none():
    both = {m: {tuple(Folds(60, method=m)(s)[1]) for s in seeds(Purpose.SEARCH, 8)} for m in ("holdout", "repeated")}
    assert {method: len(splits) for method, splits in both.items()} == {"holdout": 1, "repeated": 8}


def test_folds_by_time_move_forward():
    folds = Folds(time=np.arange(60)[::-1], method="kfold", k=5)
    first = [int(60 - 1 - folds(seed)[1].max()) for seed in seeds(Purpose.RERANK, 5)]
    assert first == [10, 20, 30, 40, 50]


def test_by_time_groups_that_end_before_others_begin_lose_no_row():
    visits = Folds(time=np.arange(60), groups=np.arange(60) // 10, method="kfold", k=5)
    train, valid = visits(trial_seed(0, Purpose.RERANK, 1))
    assert (train.tolist(), valid.tolist()) == (list(range(20)), list(range(20, 30)))


def test_by_time_groups_that_never_end_are_shared_between_the_sides_anew_for_each_stream():
    users = Folds(time=np.arange(600), groups=np.arange(600) % 10, method="kfold", k=5)
    judged = []
    for purpose in (Purpose.RERANK, Purpose.FINALISE):
        train, valid = users(trial_seed(0, purpose, 4))
        assert (len(train), len(valid)) == (400, 20)
        assert len(set(valid % 10)) == 2
        judged.append(tuple(valid))
    assert judged[0] != judged[1]


@pytest.mark.parametrize(
    ("n", "method", "words"),
    [(150, "kfold", "150 rows are few"), (5000, "repeated", "5,000 rows"), (60_000, "holdout", "are many")],
)
def test_the_method_follows_from_the_number_of_rows_and_says_why(n, method, words):
    folds = Folds(n)
    assert folds.method == method
    assert words in folds.reason


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 60, "method": "loo"}, "validate='loo' is unknown"),
        ({"n": 60, "k": 1}, "k=1 is no number of folds"),
        ({}, "one number of rows, got none"),
        ({"n": 60, "y": CLASSES[:59]}, r"got \[59, 60\]"),
        ({"y": np.array([0] * 50 + [1] * 3), "method": "kfold"}, "3 rows of class 1 cannot be shared among 5"),
        ({"groups": np.arange(60) // 30, "method": "kfold"}, "2 groups cannot be shared among 5 parts"),
        ({"time": np.zeros(60)}, "no earlier row to train on"),
        (
            {"time": np.arange(60), "groups": np.arange(60) // 40},
            "no earlier row of a group that doesn't reach into it",
        ),
    ],
)
def test_what_cannot_be_split_is_named(given, message):
    with pytest.raises(DataError, match=message):
        Folds(**given)


def train(config, seed, train_rows, valid_rows):
    for step in range(2):
        yield {"error": config["x"] + step, "rows": len(train_rows)}


def score(config, seed, train_rows, valid_rows):
    return {"error": float(valid_rows.mean())}


@pytest.mark.parametrize(("function", "kind"), [(train, Kind.GENERATOR), (score, Kind.FUNCTION)])
def test_an_objective_that_takes_rows_becomes_one_that_takes_a_seed(function, kind):
    """Also in another process."""
    objective = cloudpickle.loads(cloudpickle.dumps(Folds(60, method="kfold").on(function)))
    assert as_training(objective, metric="error").kind is kind
    assert objective.folds.k == 5


def test_the_rows_of_a_generator_are_those_of_its_seed():
    folds = Folds(60, method="kfold")
    assert [step["rows"] for step in folds.on(train)({"x": 1}, 7)] == [48, 48]
    assert folds.on(score)({}, 7) == {"error": float(folds(7)[1].mean())}
