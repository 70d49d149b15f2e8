"""Fit how the tiers are blended, on predictions for items that they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import bdtr, log_softmax

from refusal_clf.runtime.blend import Blend

TOLERATED_ERROR: Final = 0.03
"""How often answers that are not flagged `uncertain` may be wrong."""

_GRID: Final = np.append(np.round(np.arange(0.5, 1.0, 0.01), 2), 1.01)
_PRIOR_STRENGTH: Final = 30.0
_PRIOR: Final = (0.65, 0.5)
"""Weights of encoder and lexical tier that held up on every left-out model; the scores of few rows move them little."""


def fit_blend(encoder: NDArray[np.float32] | None, lexical: NDArray[np.float32], labels: NDArray[np.int64]) -> Blend:
    """Minimise the negative log-likelihood of held-out labels over two slopes.

    Slopes are kept non-negative: a tier may be ignored, never inverted. A Gaussian prior keeps small or perfectly
    separated samples from certainty. There is no bias for each class, since it would carry the base rates of the
    models that it was fitted on to a model with others: on left-out models that cost up to 0.1 of Cohen's kappa.

    Parameters
    ----------
    encoder, lexical
        Raw scores of shape (n, k), for items that neither tier was trained on; `encoder` is None for a blend
        of the lexical tier alone.
    labels
        Shape (n,), values in [0, k).
    """
    rows = np.arange(len(labels))
    used = 0.0 if encoder is None else 1.0
    scores = np.zeros_like(lexical) if encoder is None else encoder
    centre = np.array([0.0, 1.0] if encoder is None else _PRIOR)

    def objective(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logs = log_softmax(theta[0] * scores + theta[1] * lexical, axis=1)
        loss = -logs[rows, labels].sum() + _PRIOR_STRENGTH * np.square(theta - centre).sum()
        residual = np.exp(logs)
        residual[rows, labels] -= 1
        slopes = np.array([(residual * scores).sum() * used, (residual * lexical).sum()])
        return float(loss), slopes + 2 * _PRIOR_STRENGTH * (theta - centre)

    theta = minimize(objective, centre, jac=True, method="L-BFGS-B", bounds=[(0.0, 20.0)] * 2).x
    return Blend(round(float(theta[0]) * used, 5), round(float(theta[1]), 5))


def selective_threshold(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], tolerated: float, *, delta: float = 0.1
) -> float:
    """Return the lowest confidence from which answers are wrong at most as often as tolerated, with a guarantee.

    Learn then test (Angelopoulos et al. 2021, arXiv:2110.01052) on the selective risk of Geifman and El-Yaniv (2017,
    arXiv:1705.08500): thresholds are tried from high to low, and the last one before the first whose Clopper-Pearson
    upper bound on the error, at level 1 - delta, exceeds `tolerated` is taken. With probability 1 - delta over the
    calibration rows, fresh rows of the same kind above the threshold have an error of `tolerated` at most. Rows of a
    model that the calibration rows do not resemble are no such rows: that is what leave-model-out checks.

    Parameters
    ----------
    confidence, right
        Probability of the answer and whether it was right, shape (n,), for rows that nothing was fitted on.
    tolerated, delta
        In (0, 1).

    Returns
    -------
    float
        In [0, 1.01]; 1.01 if no threshold passes.
    """
    passed = 1.01
    # Fewer rows could not pass even without an error; and the sequence must not end on the chance of a small top.
    enough = max(int(np.ceil(np.log(delta) / np.log1p(-tolerated))), len(right) // 4)
    for threshold in np.arange(0.995, 0.3, -0.005):
        above = confidence >= threshold
        n, wrong = int(above.sum()), int((above & ~right).sum())
        if n < enough:
            continue
        if bdtr(wrong, n, tolerated) > delta:  # the upper bound on the error exceeds what is tolerated
            break
        passed = round(float(threshold), 3)
    return passed


@dataclass(frozen=True, slots=True)
class TierAnswers:
    """One head's answers to held-out rows; every array has shape (n,).

    `confidence` is the lexical tier's probability of its answer, `right_fast` and `right_full` whether its answer and
    both tiers' together are right, `known` whether the row has a label of this head. Below a confidence of `least` an
    answer would be flagged as uncertain, and the encoder is asked instead.
    """

    confidence: NDArray[np.float32]
    right_fast: NDArray[np.bool_]
    right_full: NDArray[np.bool_]
    known: NDArray[np.bool_]
    least: float = 0.0


def fast_thresholds(
    heads: Sequence[TierAnswers], groups: NDArray[np.int64], tolerated: float, tolerated_in_group: float
) -> list[float]:
    """Return the confidence of each head from which the lexical tier answers a row without the encoder.

    A row goes to the encoder if any head is less sure than its threshold, and then all its heads are answered anew. Of
    all combinations in steps of 0.01, that which asks the encoder least is taken, provided that no head's agreement
    with its labels falls by more than `tolerated` (a fraction) against always asking, nor by more than
    `tolerated_in_group` among the rows of one group (the models that a fold left out: one that is unlike the others is
    not to pay for them all). 1.01 is never sure, and neither is a head without labels.

    Parameters
    ----------
    heads
        Answers to the same n rows.
    groups
        The group of each row, shape (n,).
    tolerated, tolerated_in_group
        In [0, 1].
    """
    grids = [_GRID[head.least <= _GRID] if head.known.any() else _GRID[-1:] for head in heads]
    members = [groups == group for group in np.unique(groups)]
    best, least = [float(grid[-1]) for grid in grids], 1.0
    for thresholds in product(*grids):
        spared = np.logical_and.reduce([h.confidence >= value for h, value in zip(heads, thresholds, strict=True)])
        asked = 1 - float(spared.mean())
        if (
            asked < least
            and all(_lost(head, spared) <= tolerated for head in heads)
            and all(_lost(head, spared, rows) <= tolerated_in_group for head in heads for rows in members)
        ):
            best, least = [float(value) for value in thresholds], asked
    return best


def _lost(head: TierAnswers, spared: NDArray[np.bool_], rows: NDArray[np.bool_] | None = None) -> float:
    """Return the fall of agreement, among some rows, when the lexical tier alone answers those that are spared."""
    known = head.known if rows is None else head.known & rows
    worse = int(head.right_full[known & spared].sum()) - int(head.right_fast[known & spared].sum())
    return worse / max(1, int(known.sum()))
