"""Which completions a judge should see, and with what probability each was chosen. Knows no models and no judges."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.records import STRATEGIES, InputError, Strategy

POOLED: Final = "(pooled)"
"""The stratum of drawn rows whose own strata were too many for the sample; it holds every stratum not named."""

_MIN_VARIANCE: Final = 0.02
"""The least variance p(1 - p) that is believed. A classifier's confident errors are the ones that a small sample
misses: at 0.02 the surest completion is still drawn at more than a quarter of the rate of the most doubtful."""
_PER_STRATUM: Final = 2  # fewer give no variance


@dataclass(frozen=True, slots=True)
class SampleUnit:
    """A completion that may be drawn.

    Attributes
    ----------
    index
        Its place in the caller's list; unique.
    stratum
        What `stratum_of` returns for it.
    probability
        The classifier's, of noncompliance or of a refusal, in [0, 1]; None, if unknown, counts as wholly uncertain.
    """

    index: int
    stratum: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A completion that was drawn: `inclusion_probability`, in (0, 1], is that of its design before the draw."""

    index: int
    inclusion_probability: float
    stratum: str


def stratum_of(subset: str | None, subcategory: str | None) -> str:
    """Return the name of the stratum of a completion: its subset and subcategory."""
    return f"{subset or '-'} / {subcategory or '-'}"


def draw(units: Sequence[SampleUnit], n: int, strategy: Strategy, seed: int) -> list[Drawn]:
    """Draw `n` of the units without replacement; the result has a random order, so that any part of it is random too.

    Parameters
    ----------
    units
        Completions that count in rates (no empty responses).
    n
        How many; all are drawn, each with probability 1, if there are no more.
    strategy
        `uniform`: a simple random sample. `stratified`: a simple random sample of each stratum, its size by Neyman's
        allocation for the variance that the classifier's probabilities say, in whole numbers that minimise the variance
        of the estimate (Wright 2012, "The Equivalence of Neyman Optimum Allocation for Sampling and Equal Proportions
        for Apportioning the U.S. House of Representatives", The American Statistician 66:217), two a stratum at least
        where it has two; strata for which the sample is too small are pooled, smallest first, under the name `POOLED`.
        `uncertain`: with probability proportional to sqrt(p(1 - p)), with a floor, by randomised systematic sampling
        (Madow 1949; Hartley and Rao 1962, Annals of Mathematical Statistics 33:350). Unlike Poisson sampling it keeps
        the number of judge calls fixed and unlike Sampford's it is one pass, its first-order inclusion probabilities
        are exact, and after the shuffle its entropy is high enough for variance formulas that need no others.
    seed
        Equal seeds and units give equal draws.

    Raises
    ------
    InputError
        If the strategy is unknown, or `n` is not positive.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown strategy '{strategy}' (known: {', '.join(STRATEGIES)})")
    if n < 1:
        raise InputError(f"cannot draw {n} completions")
    random = np.random.default_rng(seed)
    plan = plan_draw(units, n, strategy)
    if strategy == "uncertain":
        rows = _systematic(plan.inclusion, random)
    else:
        rows = np.concatenate(
            [random.choice(rows, plan.sizes[name], replace=False) for name, rows in plan.members.items()]
        )
    name_of = {row: name for name, rows in plan.members.items() for row in rows} if strategy == "stratified" else {}
    return [
        Drawn(units[row].index, float(plan.inclusion[row]), name_of.get(row, units[row].stratum))
        for row in random.permutation(rows).tolist()
    ]


@dataclass(frozen=True, slots=True)
class Plan:
    """A draw before it is made.

    Attributes
    ----------
    inclusion
        The probability with which each unit is drawn, shape (N,).
    members
        Rows of the units of each stratum that is sampled on its own; one for all unless stratified.
    sizes
        How many are drawn of each.
    """

    inclusion: NDArray[np.float64]
    members: dict[str, list[int]]
    sizes: dict[str, int]


def plan_draw(units: Sequence[SampleUnit], n: int, strategy: Strategy) -> Plan:
    """Return what `draw` with the same arguments would do, without drawing."""
    n = min(n, len(units))
    pooled = _pooled(Counter(unit.stratum for unit in units), n) if strategy == "stratified" else set()
    members: dict[str, list[int]] = {}
    for row, unit in enumerate(units):
        name = "" if strategy != "stratified" else POOLED if unit.stratum in pooled else unit.stratum
        members.setdefault(name, []).append(row)
    variances = _variances(units)
    if strategy == "uncertain":
        return Plan(inclusion_probabilities(np.sqrt(variances), n), members, {"": n})
    deviations = [sqrt(float(variances[rows].mean())) for rows in members.values()]
    sizes = dict(zip(members, allocate([len(rows) for rows in members.values()], deviations, n), strict=True))
    inclusion = np.empty(len(units))
    for name, rows in members.items():
        inclusion[rows] = sizes[name] / len(rows)
    return Plan(inclusion, members, sizes)


def expected_variance(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance that labels are expected to have around a classifier's probabilities, with a floor.

    Shape (N,), in [0.02, 0.25].
    """
    variance: NDArray[np.float64] = np.maximum(probability * (1 - probability), _MIN_VARIANCE)
    return variance


def inclusion_probabilities(sizes: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return probabilities of shape (N,) in (0, 1] that sum to `n` and are proportional to `sizes` where below 1.

    Parameters
    ----------
    sizes
        Positive, shape (N,), N >= n.
    """
    certain = np.zeros(len(sizes), bool)
    while True:
        left = n - int(certain.sum())
        inclusion = np.where(certain, 1.0, left * sizes / max(float(sizes[~certain].sum()), 1e-300))
        if not (inclusion > 1).any():
            return inclusion
        certain |= inclusion > 1


def allocate(counts: Sequence[int], deviations: Sequence[float], n: int) -> list[int]:
    """Return whole sample sizes that minimise the variance of the stratified mean; two a stratum at least.

    Parameters
    ----------
    counts, deviations
        Units and standard deviation of each stratum.
    n
        Their total: enough for two a stratum, or for one of a single stratum.
    """
    sizes = [min(count, _PER_STRATUM, n) for count in counts]

    def gain(stratum: int) -> float:
        size = sizes[stratum]
        return -counts[stratum] * deviations[stratum] / sqrt(size * (size + 1))

    heap = [(gain(stratum), stratum) for stratum, count in enumerate(counts) if sizes[stratum] < count]
    heapq.heapify(heap)
    for _ in range(n - sum(sizes)):
        if not heap:
            break
        _, stratum = heapq.heappop(heap)
        sizes[stratum] += 1
        if sizes[stratum] < counts[stratum]:
            heapq.heappush(heap, (gain(stratum), stratum))
    return sizes


def _variances(units: Sequence[SampleUnit]) -> NDArray[np.float64]:
    return expected_variance(np.array([0.5 if unit.probability is None else unit.probability for unit in units]))


def _pooled(counts: Counter[str], n: int) -> set[str]:
    """Return the strata that have to be pooled so that `n` suffices for two of each; none, or two at least."""
    smallest_first = sorted(counts, key=lambda name: (counts[name], name))
    # A stratum of one needs one.
    if sum(min(count, _PER_STRATUM) for count in counts.values()) <= n:
        return set()
    for number in range(2, len(counts) + 1):
        rest = smallest_first[number:]
        if _PER_STRATUM + sum(min(counts[name], _PER_STRATUM) for name in rest) <= n:
            return set(smallest_first[:number])
    return set(counts)


def _systematic(inclusion: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows at which the running total of shuffled probabilities passes a grid with a random start."""
    order = random.permutation(len(inclusion))
    totals = np.cumsum(inclusion[order])
    n = round(float(totals[-1]))
    # Rounding must not move the last total below the last point of the grid.
    totals[-1] = n
    return order[np.searchsorted(totals, np.arange(n) + random.uniform(), side="right")]
