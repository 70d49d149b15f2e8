"""Paired binary outcomes before and after: test, interval, correction for many tests, and what can be seen at all.

In closed form, for the same reason as `statistics`: the base install has no SciPy. Everywhere `ups` are the pairs
whose outcome went from 0 to 1, `downs` those that went from 1 to 0, and `n` all pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma, log, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np

_BISECTIONS: Final = 50


def mcnemar_midp(ups: int, downs: int) -> float:
    """Return the two-sided mid-p value of McNemar's exact test that both directions are equally likely.

    The exact conditional test is conservative where few pairs change; taking half of the observed table's own
    probability keeps the error rate at its nominal level in practice.

    Parameters
    ----------
    ups, downs
        Counts of the pairs that changed, each at least 0.

    Returns
    -------
    float
        In [0, 1]; 1 where nothing changed, 0 where the p-value is below what a float holds.

    References
    ----------
    Fagerland, Lydersen and Laake 2013, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are
    better than exact conditional", BMC Medical Research Methodology 13:91.
    """
    changed, fewer = ups + downs, min(ups, downs)
    # In logarithms: 2**-changed leaves the range of floats beyond a thousand pairs.
    k = np.arange(fewer + 1)
    whole = lgamma(changed + 1) - changed * log(2)
    logs = np.array([whole - lgamma(i + 1) - lgamma(changed - i + 1) for i in k.tolist()])
    probabilities = np.exp(logs)
    return float(min(1.0, 2 * probabilities.sum() - probabilities[-1]))


def paired_difference_interval(ups: int, downs: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval for the difference of two paired proportions, after minus before.

    Wald's interval with Laplace's adjustment: one pair is added to each of the two ways of changing, and so two to
    their number. It keeps its coverage for few pairs and few changes, where the plain Wald interval shrinks to a point.

    Parameters
    ----------
    ups, downs, n
        Counts, ``ups + downs <= n`` and ``n > 0``.
    confidence
        Nominal coverage, in (0, 1).

    Returns
    -------
    tuple of float
        Lower and upper limit in [-1, 1], containing ``(ups - downs) / n``.

    References
    ----------
    Bonett and Price 2012, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on Paired
    Data", Journal of Educational and Behavioral Statistics 37:4.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    up, down = (ups + 1) / (n + 2), (downs + 1) / (n + 2)
    reach = z * sqrt((up + down - (up - down) ** 2) / (n + 2))
    observed = (ups - downs) / n
    return max(-1.0, min(up - down - reach, observed)), min(1.0, max(up - down + reach, observed))


def holm(p_values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in their order.

    Whatever the dependence of the tests, rejecting where the adjusted value is at most alpha makes any false
    rejection no likelier than alpha.

    Parameters
    ----------
    p_values
        In [0, 1].
    weights
        Importance of each test, above 0: at first a test is held to its weight's share of alpha. Equal weights give
        the common procedure.

    References
    ----------
    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6:2
    (section 4 for the weights).
    """
    adjusted = [0.0] * len(p_values)
    highest, left = 0.0, sum(weights)
    for index in sorted(range(len(p_values)), key=lambda i: p_values[i] / weights[i]):
        highest = max(highest, min(1.0, p_values[index] * (left / weights[index])))
        adjusted[index] = highest
        left -= weights[index]
    return adjusted


def detectable_change(n: int, changed: int, *, alpha: float, power: float = 0.8) -> float:
    """Return the smallest true change of a paired proportion that the test finds with the wanted power.

    Solves Connor's equation ``n d**2 = (z_alpha sqrt(c) + z_power sqrt(c - d**2))**2`` for the change d, where c is
    the share of pairs that change in either direction: those that change to and fro without a true change (their share
    is smoothed, for none seen does not mean that there are none), and d.

    Parameters
    ----------
    n, changed
        Pairs, at least 0, and how many change without a true change; twice the rarer direction is such a count.
    alpha
        Two-sided significance level of a single test, in (0, 1).
    power
        Wanted probability of detection, in (alpha, 1).

    Returns
    -------
    float
        In (0, 1]; 1 where not even a change of every pair would do.

    References
    ----------
    Connor 1987, "Sample Size for Testing Differences in Proportions for the Paired-Sample Design", Biometrics 43:1.
    """
    normal = NormalDist()
    z_alpha, z_power = normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)
    noise = (changed + 1) / (n + 2)
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        share = min(1.0, noise + middle)
        if n * middle**2 >= (z_alpha * sqrt(share) + z_power * sqrt(max(0.0, share - middle**2))) ** 2:
            high = middle
        else:
            low = middle
    return high
