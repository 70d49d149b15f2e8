"""Intervals and tests in closed form: the base install has no SciPy, and a report needs hundreds of them."""

from __future__ import annotations

from functools import lru_cache
from math import atan2, exp, inf, lgamma, pi, sqrt, tan
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


def wilson_interval(
    successes: float, n: float, confidence: float = 0.95, *, df: float = inf
) -> tuple[float, float] | None:
    """Return Wilson's score interval of a binomial proportion.

    It keeps close to its nominal coverage for the small groups and the rates near 0 and 1 that refusal
    benchmarks are full of, where the textbook interval collapses to a point (Brown, Cai and DasGupta 2001,
    "Interval Estimation for a Binomial Proportion", Statistical Science 16:2).

    Parameters
    ----------
    successes, n
        Counts, 0 <= successes <= n; fractional where `n` is an effective sample size of an unequal or finite sample
        (Franco et al. 2019, "Comparative Study of Confidence Intervals for Proportions in Complex Sample Surveys",
        Journal of Survey Statistics and Methodology 7:334).
    confidence
        Nominal coverage, in (0, 1).
    df
        Degrees of freedom that the effective sample size was estimated with; Student's quantile replaces the normal.

    Returns
    -------
    tuple of float or None
        Lower and upper limit in [0, 1], containing ``successes / n``; None if `n` is 0.

    References
    ----------
    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22:158.
    """
    if n == 0:
        return None
    z = t_quantile((1 + confidence) / 2, df)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # The limits are exactly 0 and 1 at the ends; rounding must not move them off, nor past the estimate.
    low = 0.0 if successes == 0 else min(max(centre - reach, 0.0), rate)
    high = 1.0 if successes == n else max(min(centre + reach, 1.0), rate)
    return low, high


@lru_cache(maxsize=1024)
def t_quantile(probability: float, df: float) -> float:
    """Return the quantile of Student's t distribution, to about six digits.

    With t = sqrt(df) tan(a) the density becomes proportional to cos(a) ** (df - 1), which Gauss-Legendre quadrature
    integrates well and bisection inverts.

    Parameters
    ----------
    probability
        In [0.5, 1).
    df
        At least 1; from 20,000 on the normal quantile is taken.
    """
    if df >= 20_000:
        return NormalDist().inv_cdf(probability)
    scale = exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(pi)
    nodes, weights = _quadrature()
    low, high = 0.0, pi / 2
    for _ in range(40):
        middle = (low + high) / 2
        density = np.cos(middle / 2 * (nodes + 1)) ** (df - 1)
        if 0.5 + scale * middle / 2 * float(weights @ density) < probability:
            low = middle
        else:
            high = middle
    return sqrt(df) * tan(low)


def t_tail(value: float, df: float) -> float:
    """Return the probability in [0, 0.5] that Student's t exceeds `value`, to about six digits.

    Parameters
    ----------
    value
        At least 0.
    df
        At least 1; from 20,000 on the normal distribution is taken.
    """
    if df >= 20_000:
        return NormalDist().cdf(-value)
    scale = exp(lgamma((df + 1) / 2) - lgamma(df / 2)) / sqrt(pi)
    nodes, weights = _quadrature()
    start = atan2(value, sqrt(df))
    half = (pi / 2 - start) / 2
    return min(max(scale * half * float(weights @ (np.cos(start + half * (nodes + 1)) ** (df - 1))), 0.0), 0.5)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(64)
    return nodes, weights


def difference_interval(
    first: float, first_limits: tuple[float, float], second: float, second_limits: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval of the difference ``second - first`` of two independent rates from the interval of each.

    References
    ----------
    Newcombe 1998, "Interval Estimation for the Difference between Independent Proportions", Statistics in Medicine
    17:873, method 10: squared distances to the limits add up.
    """
    (low_1, high_1), (low_2, high_2) = first_limits, second_limits
    difference = second - first
    below = sqrt((second - low_2) ** 2 + (high_1 - first) ** 2)
    above = sqrt((high_2 - second) ** 2 + (first - low_1) ** 2)
    return difference - below, difference + above
