"""Agreement between labels, reliability of probabilities, and bootstrap intervals for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

N_BOOTSTRAP: Final = 1000
ECE_BINS: Final = 15


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its 95 % interval."""

    estimate: float
    ci_low: float
    ci_high: float

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers, rounded to five places."""
        return {name: round(getattr(self, name), 5) for name in ("estimate", "ci_low", "ci_high")}


def agreement(truth: Labels, answer: Labels, weights: Floats | None = None) -> float:
    """Return the share of equal labels, in [0, 1]; all arrays have shape (n,)."""
    return float(np.average(truth == answer, weights=weights))


def kappa(truth: Labels, answer: Labels, weights: Floats | None = None) -> float:
    """Return Cohen's kappa (Cohen 1960), in [-1, 1]; 1.0 if both give one and the same label throughout."""
    table = confusion(truth, answer, weights)
    total = float(table.sum())
    expected = float(table.sum(1) @ table.sum(0)) / total**2
    observed = float(np.trace(table)) / total
    return 1.0 if expected > 1 - 1e-12 else (observed - expected) / (1 - expected)


def macro_f1(truth: Labels, answer: Labels) -> float:
    """Return the unweighted mean of the F1 of each class that occurs in `truth`, in [0, 1]."""
    table = confusion(truth, answer)
    support, answered, hits = table.sum(1), table.sum(0), np.diag(table)
    f1 = 2 * hits / np.maximum(support + answered, 1)
    return float(f1[support > 0].mean())


def confusion(truth: Labels, answer: Labels, weights: Floats | None = None) -> NDArray[Any]:
    """Return counts, or sums of weights, of shape (k, k), truth in rows, k one more than the largest label."""
    k = int(max(truth.max(), answer.max())) + 1
    return np.bincount(truth * k + answer, weights, minlength=k * k).reshape(k, k)


def expected_calibration_error(probability: Floats, correct: NDArray[np.bool_], weights: Floats | None = None) -> float:
    """Return the ECE over 15 equal-width bins (Guo et al. 2017, arXiv:1706.04599, equation 3), in [0, 1].

    Parameters
    ----------
    probability
        Shape (n,): what the answer was said to be worth.
    correct
        Shape (n,): whether it was right.
    weights
        Shape (n,): what each row stands for; default: the same for all.
    """
    counted = np.ones(len(probability)) if weights is None else weights
    bins = np.minimum((probability * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = np.bincount(bins, weights=(probability - correct) * counted, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / counted.sum())


def brier(probabilities: Floats, truth: Labels, weights: Floats | None = None) -> float:
    """Return the multi-class Brier score (Brier 1950), in [0, 2]; `probabilities` has shape (n, k)."""
    errors = np.square(probabilities - np.eye(probabilities.shape[1])[truth]).sum(1)
    return float(np.average(errors, weights=weights))


def bootstrap(statistic: Callable[..., float], *arrays: NDArray[Any], seed: int = 0) -> Interval:
    """Return a statistic of paired arrays with its percentile bootstrap interval (Efron 1979).

    Parameters
    ----------
    statistic
        Called with the arrays, their first axis resampled alike.
    arrays
        Arrays of equal first dimension n > 0; a statistic of the difference of two methods takes both.
    seed
        Equal seeds give equal intervals.
    """
    random = np.random.default_rng(seed)
    n = len(arrays[0])
    draws = np.empty(N_BOOTSTRAP)
    for index in range(N_BOOTSTRAP):
        rows = random.integers(0, n, n)
        draws[index] = statistic(*(array[rows] for array in arrays))
    low, high = np.percentile(draws, (2.5, 97.5))
    return Interval(statistic(*arrays), float(low), float(high))
