"""The change of a rate between two runs that a judge would find, from its labels of a part of both.

The estimate is prediction-powered: the classifier's own change over all pairs, plus the mean error that the labels show
in the run minus that in the baseline. Unlike the rates of `prevalence`, the target is the change of the *models*, whose
items are a sample: that is what a gate is about, and what McNemar's test is about without labels.

Notation: for each of N pairs f and y, the classifier's probability of compliance and the label, before and after;
s = f_after - f_before; w = 1 / inclusion probability, 0 where there is no label.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.calibration.sampling import expected_variance
from refusal_clf.statistics import t_quantile, t_tail

Floats = NDArray[np.float64]

MIN_LABELS: Final = 10
"""A group with fewer labels in either run keeps the classifier's own change."""

_CONFIDENCE: Final = 0.95
_PRIOR_LABELS: Final = 10.0
_POWER_PRIOR: Final = 0.1
_UNSEEN_ERRORS: Final = 0.5
_LEAST_ERRORS: Final = 2.0
"""All as in `prevalence`, where they were chosen."""


@dataclass(frozen=True, slots=True)
class Side:
    """One run's part of the pairs; every array has shape (N,).

    Attributes
    ----------
    scores
        The classifier's probability of compliance, in [0, 1].
    truth
        1.0 where the label counts as compliance, else 0.0; anything where there is none.
    weight
        1 / inclusion probability of the labelled, 0 of the others.
    """

    scores: Floats
    truth: Floats
    weight: Floats

    @property
    def share(self) -> Floats:
        """Each label's share in a weighted mean."""
        total = float(self.weight.sum())
        return self.weight / total if total > 0 else self.weight

    @property
    def n_labels(self) -> int:
        """How many are labelled."""
        return int((self.weight > 0).sum())

    def of(self, rows: NDArray[np.int64], sign: Floats) -> Side:
        """Return the part of a group's pairs; where `sign` is -1, what is counted is turned round."""
        flip = sign < 0
        scores, truth = self.scores[rows], self.truth[rows]
        return Side(np.where(flip, 1 - scores, scores), np.where(flip, 1 - truth, truth), self.weight[rows])


@dataclass(frozen=True, slots=True)
class Change:
    """Rates before and after, their difference with its 95 % interval, and the two-sided p-value of no change."""

    rate_before: float
    rate_after: float
    difference: float
    ci_low: float
    ci_high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Fit:
    """What the labels of all pairs say of the classifier; groups share it.

    Attributes
    ----------
    power
        How much of the classifier's change is used, in [0, 1].
    inflation
        Squared error that is left, over what the classifier's probabilities promise of two runs that have nothing in
        common; labels of the same pairs, whose errors are alike, bring it below 1.
    """

    power: float
    inflation: float


def fit_change(before: Side, after: Side) -> Fit:
    """Choose the power and learn how far to believe the classifier's probabilities.

    The estimate is linear in the power, so that its variance is a parabola, whose minimum is taken (PPI++,
    Angelopoulos, Duchi and Zrnic 2023, arXiv:2311.01453, section 6, for two runs with whatever labels they share),
    drawn towards 1. The inflation is that of `prevalence.fit_correction`.
    """
    labels, scores = _parts(before, after)
    prior = _POWER_PRIOR / max(min(before.n_labels, after.n_labels), 1) ** 2
    power = min(max((prior - float(labels @ scores)) / (prior + float(scores @ scores)), 0.0), 1.0)
    promised = sum(float(expected_variance(side.scores)[side.weight > 0].sum()) for side in (before, after))
    known = _PRIOR_LABELS * float(expected_variance(np.concatenate([before.scores, after.scores])).mean())
    made = max(_squared_errors(before, after, power) + _UNSEEN_ERRORS, _LEAST_ERRORS)
    return Fit(power, (made + known) / (promised + known))


def corrected_change(before: Side, after: Side, fit: Fit) -> Change:
    """Return the prediction-powered change of a group's rate.

    The variance is the sandwich: the sum of the squares of what each pair contributes to the estimate, its score and
    its labels in both runs together. So labels of the same pair in both runs, which cancel what is common to them,
    need no rule of their own, nor do labels of different pairs. Draws of a fixed size and stratified ones vary less.

    As in `prevalence.corrected`, the labels' part is averaged with what the classifier's probabilities promise, since a
    few labels may hold none of its errors. The whole is no less than the variance of the change itself, were every
    pair labelled, by the smoothed share of changed labels.

    Parameters
    ----------
    before, after
        The same pairs, N > 0; each with a label at least.
    fit
        From `fit_change`.
    """
    n, power = len(before.scores), fit.power
    errors = [side.truth - power * side.scores for side in (before, after)]
    means = [float(side.share @ error) for side, error in zip((before, after), errors, strict=True)]
    rates = [power * float(side.scores.mean()) + mean for side, mean in zip((before, after), means, strict=True)]
    # Labels of pairs that are unlike the others can make more of it than any two rates differ by.
    difference = min(max(rates[1] - rates[0], -1.0), 1.0)
    change = after.scores - before.scores
    of_scores = power * (change - change.mean()) / n
    of_labels = after.share * (errors[1] - means[1]) - before.share * (errors[0] - means[0])
    observed = float(of_labels @ of_labels)
    promised = fit.inflation * sum(
        float(np.square(side.share) @ expected_variance(side.scores)) for side in (before, after)
    )
    fourth = float(np.square(of_labels) @ np.square(of_labels))
    freedom = max(observed**2 / fourth - 1, 0.0) if fourth > 0 else 0.0
    # Right answers are alike, and tell nothing of the errors' size: their number is not that of the labels.
    freedom = min(freedom, _squared_errors(before, after, power))
    learned = (freedom * observed + _PRIOR_LABELS * promised) / (freedom + _PRIOR_LABELS)
    whole = float(of_scores @ of_scores) + 2 * float(of_scores @ of_labels) + learned
    variance = max(whole, _least(before, after, difference) / n)
    freedom = (freedom + _PRIOR_LABELS) * (variance / learned) ** 2
    deviation = sqrt(variance)
    reach = t_quantile((1 + _CONFIDENCE) / 2, freedom) * deviation
    return Change(
        min(max(rates[0], 0.0), 1.0),
        min(max(rates[1], 0.0), 1.0),
        difference,
        max(difference - reach, -1.0),
        min(difference + reach, 1.0),
        min(1.0, 2 * t_tail(abs(difference) / deviation, freedom)),
    )


def _squared_errors(before: Side, after: Side, power: float) -> float:
    """Return the sum of the squared errors that the labels show, each about its run's mean."""
    errors = [
        np.where(side.weight > 0, error - float(side.share @ error), 0.0)
        for side, error in ((side, side.truth - power * side.scores) for side in (before, after))
    ]
    return float(np.square(errors[1] - errors[0]).sum())


def _least(before: Side, after: Side, difference: float) -> float:
    """Return the variance of one pair's change, from the pairs that are labelled in both runs, kept above zero."""
    both = (before.weight > 0) & (after.weight > 0)
    changed = float((before.truth[both] != after.truth[both]).sum())
    share = (changed + 1) / (int(both.sum()) + 2) if both.any() else 0.0
    return max(share - difference**2, 1e-6)


def _parts(before: Side, after: Side) -> tuple[Floats, Floats]:
    """Return each pair's contribution to the estimate: its labels', and what the power multiplies."""
    change = after.scores - before.scores

    def centred(side: Side, values: Floats) -> Floats:
        return side.share * (values - float(side.share @ values))

    labels = centred(after, after.truth) - centred(before, before.truth)
    scores = (change - change.mean()) / len(change) - centred(after, after.scores) + centred(before, before.scores)
    return labels, scores
