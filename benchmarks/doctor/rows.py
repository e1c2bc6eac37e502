"""The rows of every workload: shipped with scikit-learn, made up, or read from a folder of files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

ROWS, VALID = 2000, 192

Rows = tuple[np.ndarray, np.ndarray]


def shipped(name: str) -> Callable[[Path | None], Rows]:
    """A table that scikit-learn ships."""

    def rows(_: Path | None) -> Rows:
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return X, y

    return rows


def small_images(_: Path | None) -> Rows:
    X, y = shipped("digits")(None)
    return X.reshape(-1, 8, 8, 1), y


def taught(noise: float, spread: float = 1.0) -> Callable[[Path | None], Rows]:
    """Labels of a random net over 20 inputs, a share of them replaced."""

    def rows(_: Path | None) -> Rows:
        rng = np.random.default_rng(11)
        X = rng.normal(size=(ROWS + VALID, 20))
        y = (np.maximum(X @ rng.normal(size=(20, 16)), 0) @ rng.normal(size=(16, 4))).argmax(axis=1)
        y = np.where(rng.random(len(y)) < noise, rng.integers(0, 4, len(y)), y)
        # Correlated inputs make a badly conditioned task, which no scaling of single columns mends.
        return X @ (np.eye(20) + spread * np.ones((20, 20)) / 20), y

    return rows


def rings(_: Path | None) -> Rows:
    """Two rings around each other in the plane, in noise."""
    rng = np.random.default_rng(12)
    y = rng.integers(0, 2, ROWS + VALID)
    angle, radius = rng.uniform(0, 2 * np.pi, len(y)), 1 + y + 0.3 * rng.normal(size=len(y))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y


def bars(_: Path | None) -> Rows:
    """Pictures of a bright stripe in one of four directions, in noise."""
    rng = np.random.default_rng(13)
    y, shift = rng.integers(0, 4, ROWS + VALID), rng.uniform(-3, 3, ROWS + VALID)
    a, b = np.meshgrid(np.arange(12) - 5.5, np.arange(12) - 5.5)
    across = np.stack([a, b, (a + b) / 2**0.5, (a - b) / 2**0.5])[y] - shift[:, None, None]
    return (np.exp(-(across**2)) + 0.5 * rng.normal(size=across.shape))[..., None], y


def chirps(_: Path | None) -> Rows:
    """Spectrograms of a tone that rises, falls, stays, or bends back, in noise."""
    rng = np.random.default_rng(14)
    y, start = rng.integers(0, 4, ROWS + VALID), rng.uniform(4, 12, ROWS + VALID)
    t = np.linspace(0, 1, 20)
    course = np.stack([6 * t, -6 * t, 0 * t, 6 * (1 - np.abs(2 * t - 1))])[y] + start[:, None]
    bands = np.arange(16)[None, None]
    return np.exp(-((bands - course[..., None]) ** 2) / 2) + 0.4 * rng.normal(size=(len(y), 20, 16)), y


def grammar(_: Path | None) -> Rows:
    """Sequences of four Markov chains over 20 words; the label says which chain."""
    rng = np.random.default_rng(15)
    y = rng.integers(0, 4, ROWS + VALID)
    chances = rng.dirichlet(np.full(20, 0.3), size=(4, 20)).cumsum(axis=2)
    words = [rng.integers(0, 20, len(y))]
    for _step in range(7):
        words.append((rng.random(len(y))[:, None] > chances[y, words[-1]]).sum(axis=1).clip(0, 19))
    return np.stack(words, axis=1), y


def marker(_: Path | None) -> Rows:
    """Random words; the label is the word (of six) that follows the marker, wherever that is."""
    rng = np.random.default_rng(16)
    X = rng.integers(0, 6, (ROWS + VALID, 8))
    place, rows = rng.integers(0, 7, len(X)), np.arange(len(X))
    X[rows, place] = 6
    return X, X[rows, place + 1]


def tastes(_: Path | None) -> Rows:
    """Clicks of 24 users on 24 products with hidden tastes."""
    rng = np.random.default_rng(17)
    u, v = rng.normal(size=(24, 3)), rng.normal(size=(24, 3))
    X = rng.integers(0, 24, (ROWS + VALID, 2))
    score = (u[X[:, 0]] * v[X[:, 1]]).sum(axis=1)
    return X + np.array([0, 24]), (score + rng.logistic(size=len(score)) / 2 > 0).astype(int)


def friedman(_: Path | None) -> Rows:
    from sklearn.datasets import make_friedman1

    X, y = make_friedman1(ROWS + VALID, noise=1.0, random_state=18)
    return X, y


def waves(_: Path | None) -> Rows:
    """A wavy function of two inputs, without noise."""
    X = np.random.default_rng(19).uniform(-1, 1, (ROWS + VALID, 2))
    return X, np.sin(3 * X[:, 0]) * np.cos(2 * X[:, 1]) + X[:, 0]


def file_of(name: str, folder: Path | None) -> dict[str, np.ndarray]:
    if folder is None:
        raise SystemExit(f"{name} is read from a folder of files: give it with --data")
    return dict(np.load(folder / f"{name}.npz"))


def pictures(name: str, side: int) -> Callable[[Path | None], Rows]:
    """The training part, averaged down to ``side`` pixels."""

    def rows(folder: Path | None) -> Rows:
        z = file_of(name, folder)
        X = z["X"][z["train_idx"]].astype(np.float32)
        X = X.reshape(*X.shape[:3], -1)
        block = X.shape[1] // side
        return X.reshape(len(X), side, block, side, block, -1).mean(axis=(2, 4)), z["y"][z["train_idx"]]

    return rows


def sentences(name: str, length: int, words: int) -> Callable[[Path | None], Rows]:
    """The first words of each text; rare ones are unknown (1), the rest of a short one is padding (0)."""

    def rows(folder: Path | None) -> Rows:
        z = file_of(name, folder)
        chosen, offsets = z["train_idx"], z["token_offsets"]
        frequent = np.argsort(-np.bincount(z["token_ids"]), kind="stable")[: words - 2]
        number = np.ones(len(z["vocab"]), dtype=int)
        number[frequent] = np.arange(2, len(frequent) + 2)
        X = np.zeros((len(chosen), length), dtype=int)
        for row, i in zip(X, chosen, strict=True):
            tokens = z["token_ids"][offsets[i] : offsets[i + 1]][:length]
            row[: len(tokens)] = number[tokens]
        return X, z["y"][chosen]

    return rows


def word_counts(name: str, words: int) -> Callable[[Path | None], Rows]:
    """How often each of the most frequent words stands in a text."""

    def rows(folder: Path | None) -> Rows:
        X, y = sentences(name, 40, words + 2)(folder)
        return (X[:, :, None] == np.arange(2, words + 2)).sum(axis=1), y

    return rows


def letters(folder: Path | None) -> Rows:
    """Eight letters and the next one."""
    z = file_of("nlp_tinyshakespeare", folder)
    text = z["token_ids"][slice(*z["train_range"])].astype(int)
    start = np.random.default_rng(20).integers(0, len(text) - 9, 2 * (ROWS + VALID))
    return text[start[:, None] + np.arange(8)], text[start + 8]


def letter_kinds(folder: Path | None, length: int = 4) -> Rows:
    """A few letters, capitals and small ones alike; the label says what comes next: vowel, consonant, blank, other."""
    z = file_of("nlp_tinyshakespeare", folder)
    text = z["token_ids"][slice(*z["train_range"])].astype(int)
    vocab = [str(letter).lower() for letter in z["vocab"]]
    alphabet = sorted(set(vocab))
    known = np.array([alphabet.index(letter) for letter in vocab])
    kinds = ("aeiou", "bcdfghjklmnpqrstvwxyz", " \n")
    kind = np.array([next((k for k, letters in enumerate(kinds) if a in letters), 3) for a in vocab])
    start = np.random.default_rng(26).integers(0, len(text) - length - 1, 2 * (ROWS + VALID))
    return known[text[start[:, None] + np.arange(length)]], kind[text[start + length]]


def letter_runs(folder: Path | None) -> Rows:
    """Six letters in a row and the kind of the next one."""
    return letter_kinds(folder, 6)


def letter_pairs(folder: Path | None) -> Rows:
    """Two letters in a row, each place with letters of its own; the label says what kind comes next, as above."""
    X, y = letter_kinds(folder)
    return X[:, 2:] + np.array([0, X.max() + 1]), y


def speakers(folder: Path | None) -> Rows:
    """Which of six people speaks: the mean of every eight frames and two bands."""
    z = file_of("speech_fsdd", folder)
    X = z["X"][z["train_idx"]].astype(np.float32)
    return X.reshape(len(X), 8, 8, 16, 2).mean(axis=(2, 4)), z["speaker"][z["train_idx"]]


def ball(_: Path | None) -> Rows:
    """Whether a point of ten normal coordinates lies outside a ball that holds half of them."""
    from sklearn.datasets import make_hastie_10_2

    X, y = make_hastie_10_2(ROWS + VALID, random_state=27)
    return X, (y > 0).astype(int)


def speech(folder: Path | None) -> Rows:
    """Spoken digits: the mean of every two frames and two bands."""
    z = file_of("speech_fsdd", folder)
    X = z["X"][z["train_idx"]].astype(np.float32)
    return X.reshape(len(X), 32, 2, 16, 2).mean(axis=(2, 4)), z["y"][z["train_idx"]]


def spoken_frames(folder: Path | None) -> Rows:
    """Spoken digits: the mean of every eight frames and two bands."""
    X, y = speech(folder)
    return X.reshape(len(X), 8, 4, 16).mean(axis=2), y


def segments(folder: Path | None) -> Rows:
    """Spoken digits as the mean of every sixteen frames and two bands, in a row: 64 numbers."""
    X, y = speech(folder)
    return X.reshape(len(X), 4, 8, 16).mean(axis=2).reshape(len(X), 64), y


def squares(folder: Path | None) -> Rows:
    """Spoken digits as pictures: the mean of every eight frames and four bands, 8 by 8."""
    z = file_of("speech_fsdd", folder)
    X = z["X"][z["train_idx"]].astype(np.float32)
    return X.reshape(len(X), 8, 8, 8, 4).mean(axis=(2, 4))[..., None], z["y"][z["train_idx"]]


def thumbnails(folder: Path | None) -> Rows:
    """Pictures of 4 by 4 pixels as 48 numbers."""
    X, y = pictures("cv_cifar10_10k", 4)(folder)
    return X.reshape(len(X), 48), y


def lower_halves(folder: Path | None) -> Rows:
    """How much ink the lower half of a written digit has, from 28 numbers for the upper one."""
    X, _ = pictures("cv_mnist_10k", 7)(folder)
    return X[:, :4].reshape(len(X), 28), X[:, 4:].mean(axis=(1, 2, 3))


def click_numbers(folder: Path | None) -> Rows:
    """The thirteen numbers alone."""
    X, y = clicks(folder)
    return X[:, :13], y


def clicks(folder: Path | None) -> Rows:
    """Thirteen numbers and eight categories, hashed to 24 values each."""
    z = file_of("ctr_criteo_8k", folder)
    chosen = z["train_idx"]
    numbers = np.log1p(np.maximum(np.nan_to_num(z["X_num"][chosen]), 0))
    numbers = (numbers - numbers.mean(axis=0)) / (numbers.std(axis=0) + 1e-6)
    categories = z["X_cat"][chosen][:, :8] % 24 + 24 * np.arange(8)
    return np.concatenate([numbers, categories], axis=1).astype(np.float32), z["y"][chosen]


def categories(folder: Path | None) -> Rows:
    """Twelve other categories of the same clicks, hashed to 16 values each, and no numbers."""
    z = file_of("ctr_criteo_8k", folder)
    chosen = z["train_idx"]
    return (z["X_cat"][chosen][:, 8:20] % 16 + 16 * np.arange(12)).astype(np.float32), z["y"][chosen]


def products(folder: Path | None) -> Rows:
    """Purchases among the 150 most frequent users and products, beside as many drawn pairs."""
    z = file_of("rec_amazon_beauty", folder)
    user, item = z["user"][z["train_idx"]], z["item"][z["train_idx"]]
    items = np.argsort(-np.bincount(item))[:150]
    known = np.isin(item, items)
    users = np.argsort(-np.bincount(user[known]))[:150]
    known &= np.isin(user, users)
    places = [np.zeros(array.max() + 1, dtype=int) for array in (user, item)]
    places[0][users], places[1][items] = np.arange(150), np.arange(150)
    bought = np.stack([places[0][user[known]], places[1][item[known]]], axis=1)
    drawn = np.random.default_rng(21).integers(0, 150, bought.shape)
    X = np.concatenate([bought, drawn]) + np.array([0, 150])
    return X, np.repeat([1, 0], len(bought))


def companions(folder: Path | None) -> Rows:
    """Pairs of products, of the 150 most frequent, that one user bought in a row, beside as many drawn pairs."""
    z = file_of("rec_amazon_beauty", folder)
    user, item = z["user"][z["train_idx"]], z["item"][z["train_idx"]]
    items = np.argsort(-np.bincount(item), kind="stable")[:150]
    known = np.isin(item[1:], items) & np.isin(item[:-1], items) & (user[1:] == user[:-1])
    place = np.zeros(item.max() + 1, dtype=int)
    place[items] = np.arange(150)
    bought = np.stack([place[item[:-1][known]], place[item[1:][known]]], axis=1)
    # Drawn products are as frequent as bought ones, so that what goes together has to be learnt.
    drawn = np.stack([np.random.default_rng(22 + i).permutation(column) for i, column in enumerate(bought.T)], axis=1)
    return np.concatenate([bought, drawn]) + np.array([0, 150]), np.repeat([1, 0], len(bought))


def impedance(_: Path | None) -> Rows:
    """Impedance of a circuit: inputs of very different size, products and a root of them."""
    from sklearn.datasets import make_friedman2

    X, y = make_friedman2(ROWS + VALID, noise=60.0, random_state=24)
    return X, y


def phase(_: Path | None) -> Rows:
    """The phase angle of the same circuit."""
    from sklearn.datasets import make_friedman3

    X, y = make_friedman3(ROWS + VALID, noise=0.1, random_state=25)
    return X, y


def ranking(folder: Path | None) -> Rows:
    """Relevance of documents as a number."""
    z = file_of("ltr_mq2008", folder)
    return z["X"][z["train_idx"]], z["y"][z["train_idx"]].astype(float)


def voices(folder: Path | None) -> Rows:
    """Which of six people speaks, from the mean of every sixteen frames and two bands."""
    X, y = speakers(folder)
    return X.reshape(len(X), 4, 2, 16).mean(axis=2).reshape(len(X), 64), y


def flat_numerals(folder: Path | None) -> Rows:
    X, y = pictures("cv_mnist_10k", 7)(folder)
    return X.reshape(len(X), 49), y


def relevance(folder: Path | None) -> Rows:
    """The same relevance as one of three classes."""
    X, y = ranking(folder)
    return X, y.astype(int)
