"""Which rows train and which validate: cross-validation, repeated hold-out or hold-out, decided by a trial's seed.

A trial trains on one split. Its seed says on which: the seeds of a stream go through the folds one after the other,
and begin a new partition once all folds are used. So configurations that train on common seeds are compared on common
rows, and fresh seeds mean fresh splits; nothing else in a study has to know about folds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ayar.errors import DataError, extra
from ayar.seeds import Purpose, number_of, purpose_of

METHODS = ("auto", "kfold", "repeated", "holdout")
FEW, MANY = 2_000, 10_000
"""Rows below which all of them validate in turn, and above which one hold-out says enough."""

Split = tuple[np.ndarray, np.ndarray]
"""Row numbers that train, and those that validate, each rising."""


class Folds:
    """Calling it with a trial's seed gives the rows to train on and the rows to validate on.

    Args:
        n: Number of rows; may be left out where one of the next three is given.
        y: Classes, shape ``(n,)``: each fold gets its share of each. Not for real targets.
        groups: Shape ``(n,)``: rows of one group (a patient, a speaker) are never on both sides.
        time: Shape ``(n,)``, of anything that can be sorted: rows validate only later than all they train with.
            With groups, too: see ``kept_whole``.
        method: ``"kfold"``: every row validates once; ``"repeated"``: each seed draws a hold-out of its own;
            ``"holdout"``: all seeds share one; ``"auto"``: by the number of rows, see ``reason``.
        k: Folds; ``1 / k`` of the rows validate, with every method.
        seed: The study's seed.

    Raises:
        DataError: The rows cannot be split so.

    >>> from ayar.seeds import Purpose, trial_seed
    >>> folds = Folds(6, method="kfold", k=3)
    >>> sorted(int(row) for n in range(3) for row in folds(trial_seed(0, Purpose.RERANK, n))[1])
    [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        n: int | None = None,
        *,
        y: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        time: ArrayLike | None = None,
        method: str = "auto",
        k: int = 5,
        seed: int = 0,
    ) -> None:
        if method not in METHODS:
            raise DataError(f"validate={method!r} is unknown. Give one of {', '.join(METHODS)}.")
        given = {"y": y, "groups": groups, "time": time}
        arrays = {name: None if value is None else np.asarray(value) for name, value in given.items()}
        counts = {len(a) for a in arrays.values() if a is not None} | ({n} if n is not None else set())
        if len(counts) != 1:
            raise DataError(f"Folds need one number of rows, got {sorted(counts) or 'none'}: give n= or arrays alike.")
        if isinstance(k, bool) or not isinstance(k, int) or k < 2:
            raise DataError(f"k={k!r} is no number of folds. Give 2 or more; 5 and 10 are usual.")
        (self.n,) = counts
        self.y, self.groups, self.time = arrays["y"], arrays["groups"], arrays["time"]
        self.k, self.seed = k, seed
        self.method, self.reason = _method(method, self.n, k)
        self._check()

    @property
    def raced(self) -> int:
        """How many seeds make up one cross-validation; 0 where seeds stand for themselves."""
        return self.k if self.method == "kfold" else 0

    @property
    def share(self) -> float:
        """Share of the rows that validates where splits differ by seed; 0 where all seeds share one split."""
        return 0.0 if self.method == "holdout" else 1 / self.k

    def __call__(self, seed: int) -> Split:
        """Rows to train on and rows to validate on, for the trial with this seed."""
        return self.split(*self.key(seed))

    def key(self, seed: int) -> tuple[str, int, int]:
        """What tells the split of a seed from others: the stream, the partition in it, the fold."""
        if self.method == "holdout":
            return "", 0, 0
        number = number_of(self.seed, seed)
        if self.time is not None and self.groups is None:
            return "", 0, number % self.k  # time has one order only
        if self.method == "repeated" and self.time is None:
            return purpose_of(seed).value, number, 0
        return purpose_of(seed).value, number // self.k, number % self.k

    def split(self, stream: str, partition: int, fold: int) -> Split:
        """The split with a key."""
        position = list(Purpose).index(Purpose(stream)) + 1 if stream else 0
        state = int(np.random.SeedSequence([self.seed, position, partition]).generate_state(1)[0])
        train, valid = self._by_time(fold, state) if self.time is not None else [*self._partition(state)][fold]
        return np.sort(train), np.sort(valid)

    def on(self, train: Callable[..., Any]) -> Callable[..., Any]:
        """An objective for ``tune`` from ``train(config, seed, train_rows, valid_rows)``, a generator or a function.

        >>> def score(config, seed, train_rows, valid_rows):
        ...     return len(valid_rows) / config["x"]
        >>> Folds(10).on(score)({"x": 2}, 0)
        1.0
        """
        if inspect.isgeneratorfunction(train):

            @wraps(train)
            def steps(config: Any, seed: int) -> Iterator[Any]:
                yield from train(config, seed, *self(seed))

            objective: Any = steps
        else:

            @wraps(train)
            def value(config: Any, seed: int) -> Any:
                return train(config, seed, *self(seed))

            objective = value
        del objective.__wrapped__  # its arguments are other ones
        objective.folds = self
        return objective  # type: ignore[no-any-return]

    def _partition(self, state: int) -> Iterator[Split]:
        """All folds of the partition that a random state gives; of a hold-out one."""
        with extra("torch"):
            from sklearn import model_selection as by
        rows = np.zeros(self.n)
        once = self.method != "kfold"
        if self.groups is not None and self.y is not None:
            return by.StratifiedGroupKFold(self.k, shuffle=True, random_state=state).split(rows, self.y, self.groups)  # type: ignore[no-any-return]
        if self.groups is not None:
            names, members = np.unique(self.groups, return_inverse=True)
            parts = by.KFold(self.k, shuffle=True, random_state=state).split(names)
            return (
                (np.flatnonzero(np.isin(members, train)), np.flatnonzero(np.isin(members, valid)))
                for train, valid in parts
            )
        if self.y is not None:
            splitter = by.StratifiedShuffleSplit if once else by.StratifiedKFold
        else:
            splitter = by.ShuffleSplit if once else by.KFold
        settings = {"n_splits": 1, "test_size": 1 / self.k} if once else {"n_splits": self.k, "shuffle": True}
        return splitter(random_state=state, **settings).split(rows, self.y)  # type: ignore[no-any-return]

    def _by_time(self, fold: int, state: int) -> Split:
        assert self.time is not None
        order = np.argsort(self.time, kind="stable")
        if self.method == "holdout":
            start, end = self.n - max(1, self.n // self.k), self.n
        else:
            with extra("torch"):
                from sklearn.model_selection import TimeSeriesSplit
            _, later = [*TimeSeriesSplit(self.k).split(order)][fold]
            start, end = int(later[0]), int(later[-1]) + 1
        valid = order[start:end]
        train = order[:start]
        train = train[self.time[train] < self.time[valid[0]]]  # of one moment, all on one side
        if self.groups is None:
            return train, valid
        rows, later = np.concatenate([train, valid]), np.repeat([0, 1], [len(train), len(valid)])
        kept = kept_whole(later, self.groups[rows], (1 - 1 / self.k, 1 / self.k), np.random.default_rng(state))
        return rows[kept & (later == 0)], rows[kept & (later == 1)]

    def _check(self) -> None:
        least, what = self.n, "rows"
        if self.groups is not None:
            least, what = len(np.unique(self.groups)), "groups"
        elif self.y is not None:
            values, counts = np.unique(self.y, return_counts=True)
            least, what = int(counts.min()), f"rows of class {values[counts.argmin()]}"
        wanted = self.k if self.method == "kfold" or self.groups is not None else 2
        if self.time is not None and self.groups is not None:
            wanted = 2  # folds by time cut rows; a group is only ever on one of two sides
        if least < wanted:
            raise DataError(
                f"{least} {what} cannot be shared among {wanted} parts. Give fewer folds (k={max(2, least)}), leave "
                "the class out, or add rows."
            )
        if self.time is not None:
            for fold in range(self.k if self.method != "holdout" else 1):
                if not len(self._by_time(fold, 0)[0]):
                    whose = "" if self.groups is None else " of a group that doesn't reach into it"
                    raise DataError(
                        f"Fold {fold} by time has no earlier row{whose} to train on: give fewer folds than {self.k}."
                    )


def kept_whole(part: np.ndarray, groups: np.ndarray, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Which rows stay, shape ``(n,)``, so that no group is in two parts of a split by time.

    A group whose rows all lie in one part stays as it is. One that reaches across a cut can be on one side only, and
    its rows on the other side are left out: of such groups each part is given its share, drawn by ``rng``. So users
    who come back forever are judged on days and on users that no training has seen.

    Args:
        part: Number of each row's part, shape ``(n,)``, the earliest 0.
        groups: Shape ``(n,)``.
        shares: Of the parts, adding up to 1.
        rng: Decides which group goes where.

    >>> part, groups = np.array([0, 0, 0, 1, 1]), np.array(["a", "b", "b", "b", "c"])
    >>> kept_whole(part, groups, (0.5, 0.5), np.random.default_rng(0)).tolist()
    [True, False, False, True, True]
    """
    names, member = np.unique(groups, return_inverse=True)
    first, last = np.full(len(names), len(shares)), np.full(len(names), -1)
    np.minimum.at(first, member, part)
    np.maximum.at(last, member, part)
    across = rng.permutation(np.flatnonzero(first < last))
    ends = np.floor(np.cumsum(shares)[:-1] * len(across) + 1e-9).astype(int)
    home = first.copy()
    for number, those in enumerate(np.split(across, ends)):
        home[those] = np.clip(number, first[those], last[those])
    kept: np.ndarray = part == home[member]
    return kept


def _method(asked: str, n: int, k: int) -> tuple[str, str]:
    """The method, and the sentence that explains it."""
    held = max(1, n // k)
    rows = f"{n:,} rows"
    why = {
        "kfold": f"each of them validates once in {k} folds, for {held:,} held out at a time would leave the choice to "
        "chance",
        "repeated": f"each seed holds out {held:,} others, so that no choice fits one hold-out by chance",
        "holdout": f"{held:,} of them held out once are enough to tell configurations apart",
    }
    if asked != "auto":
        return asked, f"{rows}; as asked, {why[asked].partition(', for ')[0].partition(', so ')[0]}."
    if n < FEW:
        return "kfold", f"{rows} are few: {why['kfold']}."
    if n < MANY:
        return "repeated", f"{rows}: {why['repeated']}."
    return "holdout", f"{rows} are many: {why['holdout']}."
