"""Data that is larger than the memory, as far as it may be used."""

import pickle
import re

import numpy as np
import pytest

from ayar.errors import DataError
from ayar.nets import mapped
from ayar.nets.deep_net import deep_net
from ayar.nets.tasks import load_task

ROWS = 90


@pytest.fixture
def small_memory(tmp_path, monkeypatch):
    """A call after which every array is too large for the memory, and some rows are read at a time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def shrink():
        monkeypatch.setattr(mapped, "SHARE", 0.0)
        monkeypatch.setattr(mapped, "PIECE_BYTES", 300)

    return shrink


def arrays(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (ROWS, 2, 3)).astype(dtype)
    if X.dtype.kind == "f":
        X[3, 1, 2] = np.nan
    return {"X": X, "y": np.arange(ROWS) % 3}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
def test_mapped_data_is_the_same_task(save, dtype, tmp_path, small_memory):
    path = tmp_path / "table.npz"
    save(path, **arrays(dtype))
    read = load_task(path)
    small_memory()
    streamed = load_task(path)
    assert isinstance(streamed.data.X_train, np.memmap)
    assert (streamed.split_hash, streamed.warnings) == (read.split_hash, read.warnings)
    for name in ("X_train", "y_train", "X_valid", "y_valid"):
        ours, expected = getattr(streamed.data, name), getattr(read.data, name)
        assert ours.dtype == expected.dtype
        assert ours == pytest.approx(expected, rel=1e-6)

    def logits(X):
        return X @ np.ones((6, 3))

    assert streamed.sealed.score(logits) == read.sealed.score(logits)


def test_it_is_written_once_and_said_and_left_alone_afterwards(tmp_path, small_memory, capsys):
    path = tmp_path / "table.npz"
    np.savez_compressed(path, **arrays("float32"))
    small_memory()
    load_task(path)
    said = capsys.readouterr().err
    assert re.search(r"table-X does not fit into memory: writing 0\.0 GB to .*table-X-\w+\.npy", said)
    load_task(path)
    assert capsys.readouterr().err == ""
    assert len(list((tmp_path / "cache" / "ayar" / "data").iterdir())) == 2  # as it was, and standardised to train on


def test_another_process_maps_the_same_file_and_trains_the_same_curve(tmp_path, small_memory):
    path, config = tmp_path / "table.npz", {"hidden_units": 8, "iterations": 3}
    np.savez(path, **arrays("float32"))
    small_memory()
    data = load_task(path).data
    sent = pickle.dumps(data)
    assert len(sent) < data.X_train.nbytes + data.X_valid.nbytes + 3000
    assert b"table-train" in sent
    arrived = pickle.loads(sent)
    assert isinstance(arrived.X_train, np.memmap)
    assert list(deep_net(arrived).train(config, 0)) == list(deep_net(data).train(config, 0))
    for kept in (tmp_path / "cache" / "ayar" / "data").iterdir():
        kept.unlink()
    with pytest.raises(DataError, match=r"table-train.* is gone"):
        pickle.loads(sent)


def test_a_view_of_mapped_data_is_sent_by_value(tmp_path):
    """Its own offset is not known to it, so a name of the file would mean other rows."""
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(6, 2))
    view = np.load(tmp_path / "x.npy", mmap_mode="r")[2:]
    assert mapped.Mapped.instead_of(view) is view
    whole = mapped.Mapped.instead_of(view.base)
    assert isinstance(whole, mapped.Mapped)
    assert whole.opened()[2:].tolist() == view.tolist()


def test_columns_that_lie_together_are_refused_with_a_way_out(tmp_path, small_memory):
    np.savez(tmp_path / "table.npz", X=np.asfortranarray(np.ones((30, 2))), y=np.arange(30) % 2)
    small_memory()
    with pytest.raises(DataError, match=r"lies column by column\. Save numpy\.ascontiguousarray\(X\)"):
        load_task(tmp_path / "table.npz")
