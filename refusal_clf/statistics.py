"""Intervals for rates, in closed form: the base install has no SciPy, and a report needs hundreds of them."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return Wilson's score interval of a binomial proportion.

    It keeps close to its nominal coverage for the small groups and the rates near 0 and 1 that refusal
    benchmarks are full of, where the textbook interval collapses to a point (Brown, Cai and DasGupta 2001,
    "Interval Estimation for a Binomial Proportion", Statistical Science 16:2).

    Parameters
    ----------
    successes, n
        Counts, 0 <= successes <= n.
    confidence
        Nominal coverage, in (0, 1).

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
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # The limits are exactly 0 and 1 at the ends; rounding must not move them off, nor past the estimate.
    low = 0.0 if successes == 0 else min(max(centre - reach, 0.0), rate)
    high = 1.0 if successes == n else max(min(centre + reach, 1.0), rate)
    return low, high
