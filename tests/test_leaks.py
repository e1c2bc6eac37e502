"""Whatever lets the training know the rows that judge it is found and named."""

import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

import ayar.leaks as leaks_module
from ayar.leaks import find_leaks

RNG = np.random.default_rng(5)
X = RNG.normal(size=(200, 6))
Y = (X[:, 0] + RNG.normal(size=200) > 0).astype(int)
PARTS = {"train": np.arange(120), "valid": np.arange(120, 160), "test": np.arange(160, 200)}
NAMES = ["age", "income", "height", "weight", "visits", "score"]


def leaks(X=X, y=Y, parts=PARTS, **more):
    return find_leaks(X, y, parts, names=NAMES, **more)


def test_honest_data_raises_no_suspicion():
    assert leaks() == []
    assert leaks(groups=np.arange(200) // 40, time=np.arange(200)) == []


def test_rows_in_two_parts_are_named():
    (sentence,) = [s for s in leaks(parts={**PARTS, "valid": np.arange(118, 160)}) if "both" in s]
    assert sentence.startswith("2 rows are in both train and valid, row 118 among them")


def test_groups_in_two_parts_are_named():
    patients = np.array([f"patient {i // 3}" for i in range(200)])
    assert [s[:60] for s in leaks(groups=patients)] == ["1 groups are in both valid and test, patient 53 among them: "]


def test_training_on_the_future_is_seen():
    (sentence,) = leaks(time=np.r_[np.arange(119), 130, np.arange(120, 200)])
    assert sentence.startswith("1 of 120 train rows are no earlier than the first valid row (120)")


def test_exact_copies_are_counted_and_one_is_named():
    copied = X.copy()
    copied[[130, 170]] = copied[[7, 150]]
    assert [s[:80] for s in leaks(X=copied)] == [
        "1 of 40 valid rows repeat the inputs of a row in an earlier part (row 130 those ",
        "1 of 40 test rows repeat the inputs of a row in an earlier part (row 170 those o",
    ]


def test_a_copy_with_other_rounding_is_seen():
    copied = X.copy()
    copied[130] = np.round(copied[7], 3)
    (sentence,) = leaks(X=copied)
    assert sentence.startswith("1 of 40 valid rows nearly repeat a row in an earlier part (row 130 row 7)")


@pytest.mark.parametrize("piece", [2**21, 2**10])
def test_the_nearest_row_is_the_one_that_scikit_learn_finds(piece, monkeypatch):
    """A hair's breadth from an earlier row, far from the origin, however many rows are compared at a time."""
    monkeypatch.setattr(leaks_module, "PIECE", piece)
    far = X + 1e4
    far[150] = far[31] + 1e-4
    found = NearestNeighbors(n_neighbors=1).fit(far[:120]).kneighbors(far[120:160])[1][:, 0]
    assert leaks_module._nearest(far[120:160], far[:120])[0].tolist() == found.tolist()
    (sentence,) = leaks(X=far)
    assert sentence.startswith("1 of 40 valid rows nearly repeat a row in an earlier part (row 150 row 31)")


def test_a_column_that_gives_the_class_away_is_named():
    leaking = X.copy()
    leaking[:, 3] = Y + 0.1 * RNG.normal(size=200)
    (sentence,) = leaks(X=leaking)
    assert sentence.startswith("The column 'weight' alone gives the target away (AUC 1.000)")


def test_a_column_that_falls_with_the_class_gives_it_away_as_well():
    leaking = X.copy()
    leaking[:, 4] = -Y
    assert "'visits' alone" in leaks(X=leaking)[0]


def test_a_column_that_orders_three_classes_is_named_and_one_that_tells_one_class_is_not():
    y = RNG.integers(0, 3, 200)
    several = X.copy()
    several[:, 1] = np.array([5.0, 1.0, 3.0])[y] + 0.1 * RNG.normal(size=200)
    several[:, 2] = (y == 1) + 0.1 * RNG.normal(size=200)
    assert [s.split("'")[1] for s in leaks(X=several, y=y)] == ["income"]


@pytest.mark.parametrize("power", [1, 3])
def test_a_column_that_is_the_real_target_in_disguise_is_named(power):
    target = RNG.normal(size=200)
    leaking = X.copy()
    leaking[:, 5] = 3 - 2 * target**power
    assert "'score' alone gives the target away (correlation" in leaks(X=leaking, y=target, classes=False)[0]


def test_missing_cells_and_constant_columns_do_not_disturb():
    holes = X.copy()
    holes[::3, 0], holes[:, 1], holes[:, 2] = np.nan, 1.0, np.nan
    assert leaks(X=holes) == []


def test_looking_for_leaks_takes_less_memory_than_the_data(monkeypatch):
    monkeypatch.setattr(leaks_module, "PIECE", 2**14)
    rows = RNG.normal(size=(20_000, 60)).astype(np.float32)
    parts = {"train": np.arange(12_000), "valid": np.arange(12_000, 16_000), "test": np.arange(16_000, 20_000)}
    find_leaks(X, Y, PARTS)  # what it imports doesn't count
    tracemalloc.start()
    find_leaks(rows, np.arange(20_000) % 2, parts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes
