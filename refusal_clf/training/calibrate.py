"""Fit how the tiers are blended, on predictions for items that they were not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from refusal_clf.runtime.blend import Blend

_PRIOR_STRENGTH = 2.0


def fit_blend(encoder: NDArray[np.float32] | None, lexical: NDArray[np.float32], labels: NDArray[np.int64]) -> Blend:
    """Minimise the negative log-likelihood of held-out labels over two slopes and a bias for each class.

    Slopes are kept non-negative: a tier may be ignored, never inverted. A weak Gaussian prior around an even
    blend keeps small or perfectly separated samples from certainty.

    Parameters
    ----------
    encoder, lexical
        Raw scores of shape (n, k), for items that neither tier was trained on; `encoder` is None for a blend
        of the lexical tier alone.
    labels
        Shape (n,), values in [0, k).
    """
    n, k = lexical.shape
    rows = np.arange(n)
    used = 0.0 if encoder is None else 1.0
    scores = np.zeros_like(lexical) if encoder is None else encoder
    centre = np.array([0.5 * used, 1.0 if encoder is None else 0.5, *([0.0] * k)])

    def objective(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = theta[0] * scores + theta[1] * lexical + theta[2:]
        logs = log_softmax(logits, axis=1)
        loss = -logs[rows, labels].sum() + _PRIOR_STRENGTH * np.square(theta - centre).sum()
        residual = np.exp(logs)
        residual[rows, labels] -= 1
        slopes = [(residual * scores).sum() * used, (residual * lexical).sum()]
        return float(loss), np.array([*slopes, *residual.sum(0)]) + 2 * _PRIOR_STRENGTH * (theta - centre)

    bounds = [(0.0, 20.0), (0.0, 20.0), *([(-10.0, 10.0)] * k)]
    theta = minimize(objective, centre, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Blend(round(float(theta[0]) * used, 5), round(float(theta[1]), 5), tuple(np.round(theta[2:], 5).tolist()))
