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
    if strategy == "stratified":
        return _stratified(strata, places, values, told)
    one = np.zeros(n, np.int64)
    if strategy == "uniform":
        notes = [] if told else ["the labels do not say how they were drawn: taken for a simple random sample"]
        return Sample(places, values, np.full(n, n / size), one), strategy, notes
    inclusion = np.array([draw.inclusion_probability for draw in told])
    stands_for = float((1 / inclusion).sum()) / size
    notes = []
    if stands_for < _MISSING:
        # A random part of the drawn completions was labelled: each chance shrinks by the same factor.
        inclusion = inclusion * stands_for
        notes = [
            f"the labels stand for {100 * stands_for:.0f} % of the completions: some that were drawn have no label"
        ]
    return Sample(places, values, inclusion, one), strategy, notes


def _stratified(
    strata: Sequence[str], rows: NDArray[np.int64], truth: NDArray[np.float64], told: Sequence[Sampled]
) -> tuple[Sample, str, list[str]]:
    """Weigh by what was labelled of each stratum; strata with too few labels are pooled."""
    sizes = Counter(strata)
    labelled = Counter(strata[row] for row in rows)
    pooled = {strata[row] for row, draw in zip(rows, told, strict=True) if draw.stratum == POOLED}
    few = [name for name in sizes if labelled[name] < min(2, sizes[name])]
    pooled |= set(few)
    rest = sorted((name for name in sizes if name not in pooled), key=lambda name: (sizes[name], name))
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
    return Sample(rows, truth, inclusion, group), "stratified", notes


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
