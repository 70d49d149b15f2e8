"""How many labels of a judge a wanted precision takes, before they are bought."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refusal_clf.calibration.prevalence import Floats, expected_half_width
from refusal_clf.calibration.sampling import SampleUnit, plan_draw
from refusal_clf.records import STRATEGIES, Strategy
from refusal_clf.statistics import wilson_interval


@dataclass(frozen=True, slots=True)
class Need:
    """What one strategy takes for the whole file's rate.

    Attributes
    ----------
    n
        Labels, those at hand included.
    by_stratum
        How many of them fall into each stratum; expected numbers unless stratified.
    half_widths
        What the intervals of the groups will measure, in their order, the whole file first.
    """

    strategy: Strategy
    n: int
    by_stratum: dict[str, float]
    half_widths: tuple[float, ...]


def plan(
    units: Sequence[SampleUnit], domains: Iterable[NDArray[np.bool_]], half_width: float, inflation: float
) -> list[Need]:
    """Return what each strategy takes until the corrected rate of the whole file is as precise as wanted.

    Parameters
    ----------
    units
        The file's completions.
    domains
        The groups, each of shape (N,), the whole file first.
    half_width
        Half of the 95 % interval, in (0, 1).
    inflation
        Squared errors over what the classifier's probabilities promise; 1 believes them.
    """
    groups = list(domains)
    scores = np.array([0.5 if unit.probability is None else 1 - unit.probability for unit in units])
    return [_need(units, scores, groups, half_width, inflation, strategy) for strategy in STRATEGIES]


def judge_only_need(size: int, rate: float, half_width: float) -> int:
    """Return the labels that a simple random sample takes without a classifier.

    Parameters
    ----------
    size
        Completions in the file.
    rate
        About what will be found, in [0, 1].
    half_width
        Half of the 95 % interval, in (0, 1).
    """

    def reach(n: int) -> float:
        if n == size:
            return 0.0
        counted = n / (1 - n / size)
        low, high = wilson_interval(rate * counted, counted) or (0.0, 1.0)
        return (high - low) / 2

    return _least(size, lambda n: reach(n) <= half_width)


def _need(
    units: Sequence[SampleUnit],
    scores: Floats,
    groups: Sequence[NDArray[np.bool_]],
    half_width: float,
    inflation: float,
    strategy: Strategy,
) -> Need:
    def reach(n: int, group: NDArray[np.bool_]) -> float:
        return expected_half_width(scores, plan_draw(units, n, strategy).inclusion, group, inflation)

    n = _least(len(units), lambda n: reach(n, groups[0]) <= half_width)
    inclusion = plan_draw(units, n, strategy).inclusion
    by_stratum: dict[str, float] = {}
    for unit, chance in zip(units, inclusion.tolist(), strict=True):
        by_stratum[unit.stratum] = by_stratum.get(unit.stratum, 0.0) + chance
    widths = tuple(expected_half_width(scores, inclusion, group, inflation) for group in groups)
    return Need(strategy, n, by_stratum, widths)


def _least(size: int, enough: Callable[[int], bool]) -> int:
    """Return the least number of labels, from 2 to all, that is enough; more never are too few."""
    low, high = min(2, size), size
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return high
