"""Labels and how they were drawn -> weights: what each labelled completion stands for in its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.calibration.sampling import POOLED
from refusal_clf.records import InputError, Sampled

_MISSING: Final = 0.8  # weights of a complete draw scatter around the file's size; below this share labels are missing
_TOO_MANY: Final = 1 / _MISSING


@dataclass(frozen=True, slots=True)
class Sample:
    """The labelled completions of a file of N; every array has shape (n,).

    Attributes
    ----------
    rows
        Their places in the file, in [0, N), no two the same.
    truth
        1.0 where the label counts (is `compliance`), else 0.0.
    inclusion
        The probability with which each was labelled, in (0, 1].
    stratum
        Numbers of the strata that were sampled independently.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.float64]
    inclusion: NDArray[np.float64]
    stratum: NDArray[np.int64]

    @property
    def weight(self) -> NDArray[np.float64]:
        """How many completions of the file each labelled one stands for."""
        return 1 / self.inclusion

    def relabelled(self, truth: NDArray[Any]) -> Sample:
        """Return the same sample with other values, shape (n,), in the place of the labels."""
        return Sample(self.rows, truth.astype(np.float64), self.inclusion, self.stratum)


def weigh(
    strata: Sequence[str],
    rows: Sequence[int] | NDArray[np.int64],
    truth: NDArray[Any],
    sampled: Sequence[Sampled | None],
) -> tuple[Sample, str, list[str]]:
    """Return the sample with its weights, the strategy that it was drawn by, and what a reader must know of it.

    Parameters
    ----------
    strata
        Stratum of each completion of the file (`sampling.stratum_of`), length N.
    rows, truth, sampled
        Of each label: the completion's place in the file, its value, and how it was drawn; length n > 0.

    Raises
    ------
    InputError
        If only some labels say how they were drawn, or they were drawn by several strategies.
    """
    places = np.asarray(rows, np.int64)
    values = np.asarray(truth, np.float64)
    n, size = len(places), len(strata)
    told = [draw for draw in sampled if draw is not None]
    if told and len(told) < n:
        raise InputError(
            f"{n - len(told)} of {n} labels do not say how they were drawn and {len(told)} do: give one draw's labels"
        )
    strategies = sorted({draw.strategy for draw in told})
    if len(strategies) > 1:
        raise InputError(
            f"the labels were drawn by several strategies ({', '.join(strategies)}): give one draw's labels"
        )
    strategy = strategies[0] if strategies else "uniform"
    one = np.zeros(n, np.int64)
    if not told:
        notes = ["the labels do not say how they were drawn: taken for a simple random sample"]
        return Sample(places, values, np.full(n, n / size), one), strategy, notes
    inclusion = np.array([draw.inclusion_probability for draw in told])
    stands_for = float((1 / inclusion).sum()) / size
    notes = _extent(stands_for, size)
    if strategy == "stratified":
        sample, pooling = _stratified(strata, places, values, told)
        return sample, strategy, notes + pooling
    if strategy == "uniform":
        return Sample(places, values, np.full(n, n / size), one), strategy, notes
    if stands_for < _MISSING:
        # A random part of the drawn completions was labelled: each chance shrinks by the same factor.
        inclusion = inclusion * stands_for
    return Sample(places, values, inclusion, one), strategy, notes


def _extent(stands_for: float, size: int) -> list[str]:
    """Say if the labels' own probabilities are those of a draw from more or fewer completions than the file has."""
    if _MISSING <= stands_for <= _TOO_MANY:
        return []
    what = f"the labels were drawn from about {stands_for * size:,.0f} completions and this file has {size:,}"
    if stands_for < _MISSING:
        return [f"{what}: some that were drawn have no label, or only a part of the file was drawn from"]
    return [f"{what}: it is a part of what was drawn from, or the labels are of several draws"]


def _stratified(
    strata: Sequence[str], rows: NDArray[np.int64], truth: NDArray[np.float64], told: Sequence[Sampled]
) -> tuple[Sample, list[str]]:
    """Weigh by what was labelled of each stratum; strata with too few labels are pooled."""
    strata = _as_drawn(strata, rows, told)
    sizes = Counter(strata)
    labelled = Counter(strata[row] for row in rows)
    few = [name for name in sizes if labelled[name] < min(2, sizes[name])]
    pooled = set(few)
    rest = sorted((name for name in sizes if name not in pooled), key=lambda name: (name == POOLED, sizes[name], name))
    # One stratum alone, or several with one label, still have no variance: the smallest others join them.
    while pooled and rest and (len(pooled) < 2 or sum(labelled[name] for name in pooled) < 2):
        pooled.add(rest.pop(0))
    numbers = {name: number + 1 for number, name in enumerate(rest)}
    group = np.array([numbers.get(strata[row], 0) for row in rows], np.int64)
    group_sizes = Counter(numbers.get(name, 0) for name in strata)
    group_labels = Counter(group.tolist())
    inclusion = np.array([group_labels[g] / group_sizes[g] for g in group.tolist()])
    if 0 in group_labels:
        inclusion = _within_pool(inclusion, group, strata, rows, sizes, labelled, pooled, group_sizes[0])
    notes = []
    if few:
        notes.append(
            f"{len(few)} of {len(sizes)} strata have fewer than two labels: {len(pooled)} strata are pooled "
            f"({sum(sizes[name] for name in pooled)} completions)"
        )
    return Sample(rows, truth, inclusion, group), notes


def _as_drawn(strata: Sequence[str], rows: NDArray[np.int64], told: Sequence[Sampled]) -> list[str]:
    """Return the strata that were drawn from: the pool of `sampling.draw` is one, of all that were not drawn alone."""
    in_pool = {strata[row] for row, draw in zip(rows, told, strict=True) if draw.stratum == POOLED}
    alone = {strata[row] for row in rows} - in_pool
    return [POOLED if in_pool and name not in alone else name for name in strata]


def _within_pool(
    inclusion: NDArray[np.float64],
    group: NDArray[np.int64],
    strata: Sequence[str],
    rows: NDArray[np.int64],
    sizes: Counter[str],
    labelled: Counter[str],
    pooled: set[str],
    total: int,
) -> NDArray[np.float64]:
    """Keep the rates at which a pool's strata were labelled, scaled so that together they stand for all of it."""
    held = sum(sizes[name] for name in pooled if labelled[name])
    rates = np.array([labelled[strata[row]] / sizes[strata[row]] for row in rows]) * held / total
    return np.where(group == 0, rates, inclusion)
