"""The rate that a judge would find in a whole file, from its labels of a part: three estimates with intervals.

The target is the rate over this file's N completions, not over a model's imagined further ones. So only the draw is
random, and everything that is known of the completions without a label may be used:

- `judge_only`: the labels alone.
- `corrected`: the classifier's mean over the file plus the mean error that the labels show (prediction-powered).
- `rogan_gladen`: the classifier's rate, turned round by its sensitivity and specificity; for comparison.

Notation: y the labels, f the classifier's probabilities, w = 1 / inclusion probability, e = y - power * f.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.calibration.agreement import Interval
from refusal_clf.calibration.design import Sample
from refusal_clf.calibration.sampling import expected_variance
from refusal_clf.statistics import t_quantile, wilson_interval

Floats = NDArray[np.float64]

MIN_LABELS: Final = 2
"""A group with fewer labels has no variance, and no estimate."""

_CONFIDENCE: Final = 0.95
_EXACT: Final = 1e-9
_PRIOR_LABELS: Final = 10.0
"""Degrees of freedom that the classifier's own probabilities count for in a variance: chosen by drawing from files
labelled as a whole, where small groups' intervals covered too rarely without them."""
_UNSEEN_ERRORS: Final = 0.5
_LEAST_ERRORS: Final = 2.0
"""Squared errors added to those in the labels, and the least that their sum may be: labels without an error then give a
half-width of about t sqrt(2) / n = 3 / n, the rule of three (Hanley and Lippman-Hand 1983, JAMA 249:1743)."""
_POWER_PRIOR: Final = 0.1
"""A tenth of one label's information that the power is 1, its value for calibrated probabilities: f without any spread
must not divide by zero."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate with its 95 % interval, the method, and how many labels drawn at random would say as much alone."""

    interval: Interval
    method: str
    effective_n: float


@dataclass(frozen=True, slots=True)
class Correction:
    """What the labels of the whole file say of the classifier; groups share it.

    Attributes
    ----------
    power
        How much of the classifier's probability is used: 0 ignores it.
    inflation
        Mean squared error left, over what the classifier's probabilities promise; above 1 it is overconfident.
    errors
        Sum of the squared errors in the labels, of whose number the variances are learned.
    residual
        Leave-one-out residuals of the labelled completions over plain ones, shape (n,), at least 1.
    """

    power: float
    inflation: float
    errors: float
    residual: Floats


def fit_correction(scores: Floats, sample: Sample) -> Correction:
    """Choose the power and learn how far to believe the classifier's probabilities.

    The power is the weighted regression slope of labels on probabilities, which minimises the variance of the estimate
    (PPI++'s power tuning, Angelopoulos, Duchi and Zrnic 2023, arXiv:2311.01453, section 6; before them the regression
    estimator of survey samplers, Cochran 1977, "Sampling Techniques", chapter 7). With f's mean taken over the whole
    file and not its unlabelled part, PPI++'s slope loses its factor 1 / (1 + n / (N - n)); the estimate is the same.

    Parameters
    ----------
    scores
        The classifier's probability for each completion of the file, shape (N,), in [0, 1].
    sample
        The labelled completions.
    """
    f, weight = scores[sample.rows], sample.weight
    n, share = len(f), weight / weight.sum()
    f_mean, y_mean = float(share @ f), float(share @ sample.truth)
    spread = float(share @ np.square(f - f_mean)) + _POWER_PRIOR / n
    power = (float(share @ ((f - f_mean) * (sample.truth - y_mean))) + _POWER_PRIOR / n) / spread
    # Leverage: a residual of the fit that contains its own label is too small by this (HC3, MacKinnon and White 1985).
    leverage = np.minimum(share * (1 + np.square(f - f_mean) / spread), 0.9)
    residual = 1 / (1 - leverage)
    errors = (sample.truth - y_mean - power * (f - f_mean)) * residual
    promised = expected_variance(f)
    counted = weight * (weight - 1)  # what each error adds to the variance of the estimate
    counted = counted / counted.sum() * n if counted.sum() > 0 else np.ones(n)
    prior = _PRIOR_LABELS * float(expected_variance(scores).mean())
    made = float(counted @ np.square(errors))
    inflation = (max(made + _UNSEEN_ERRORS, _LEAST_ERRORS) + prior) / (float(counted @ promised) + prior)
    return Correction(power, inflation, made, residual)


def judge_only(size: int, sample: Sample, members: NDArray[np.bool_]) -> Estimate | None:
    """Return the labels' own rate for the group `members`, or None if it has fewer than two labels.

    Hajek's weighted mean with Wilson's interval at the effective sample size: the textbook one for a simple random
    sample, stratified or inverse-probability weighted for the others, all with the finite population's correction.

    Parameters
    ----------
    size
        Completions in the group.
    sample
        The labelled completions of the file.
    members
        Which of them are in the group, shape (n,).
    """
    if members.sum() < MIN_LABELS:
        return None
    weight, labels = sample.weight[members], sample.truth[members]
    unseen = 1 - float(weight.size / weight.sum())
    if unseen < _EXACT:
        rate = float(labels.mean())
        return Estimate(Interval(rate, rate, rate), "judge only", float(size))
    rate = float(weight @ labels / weight.sum())
    # Kish's effective size is all there is where the labels are alike and show no scatter.
    counted = float(weight.sum() ** 2 / np.square(weight).sum()) / unseen
    if labels.min() < labels.max():
        variance, _ = _variance(sample, members, sample.truth - rate)
        if variance > 0:  # labels may differ between strata and be alike within each
            counted = min(counted, rate * (1 - rate) / variance)
    else:
        rate = float(labels[0])
    # Weights that differ make the size itself an estimate.
    freedom = inf if np.ptp(weight) < _EXACT else len(weight) - 1
    low, high = wilson_interval(rate * counted, counted, _CONFIDENCE, df=freedom) or (0.0, 1.0)
    interval = Interval(rate, min(low, rate), max(high, rate))
    return Estimate(interval, "judge only", _effective_n(rate, _spread(rate, size) / counted, size))


def corrected(scores: Floats, domain: NDArray[np.bool_], sample: Sample, fit: Correction) -> Estimate | None:
    """Return the prediction-powered rate of a group, or None if it has fewer than two labels.

    The estimate is power * mean(f over the group) + weighted mean(e over its labels). It covers PPI++ (simple random
    samples), stratified prediction-powered inference (Fisch et al. 2024, arXiv:2406.04291) and active statistical
    inference (Zrnic and Candes 2024, arXiv:2403.03208), which differ in the weights alone. The variance is Hajek's for
    samples of high entropy (1964, Annals of Mathematical Statistics 35:1491), which is the exact one of simple random
    and stratified samples and contains the finite population's correction 1 - n / N.

    A few labels may hold none of the errors that the classifier makes, and their scatter would then be next to nothing.
    Therefore the variance is averaged with the one that the classifier's probabilities promise, `inflation` times
    `expected_variance(f)`, as if that had been learned from ten degrees of freedom; the scatter has Satterthwaite's
    number of them (1946, Biometrics Bulletin 2:110), at most the number of errors in the file's labels, and Student's
    quantile the sum. The labels in hand bound the rate
    of a finite file, so that no limit lies beyond what they leave possible.

    Parameters
    ----------
    scores
        The classifier's probability of what the labels count, shape (N,), in [0, 1].
    domain
        Which completions of the file are in the group, shape (N,).
    sample
        The labelled completions of the file.
    fit
        What `fit_correction` found for the file.
    """
    members = domain[sample.rows]
    n, size = int(members.sum()), int(domain.sum())
    if n < MIN_LABELS:
        return None
    f, y, weight = scores[sample.rows], sample.truth, sample.weight
    errors = y - fit.power * f
    inside = weight[members]
    error = float(inside @ errors[members] / inside.sum())
    rate = fit.power * float(scores[domain].mean()) + error
    scatter, freedom = _variance(sample, members, (errors - error) * fit.residual)
    # Right answers are all alike, and however many there are they tell nothing of the errors' size.
    freedom = min(freedom, fit.errors)
    promised = fit.inflation * float((inside * (inside - 1)) @ expected_variance(f[members]) / inside.sum() ** 2)
    variance = (freedom * scatter + _PRIOR_LABELS * promised) / (freedom + _PRIOR_LABELS)
    reach = t_quantile((1 + _CONFIDENCE) / 2, freedom + _PRIOR_LABELS) * sqrt(variance)
    least, most = float(y[members].sum()) / size, 1 - float((1 - y[members]).sum()) / size
    most = max(most, least)  # equal, but for rounding, where every completion has a label
    rate = min(max(rate, least), most)
    interval = Interval(rate, max(rate - reach, least), min(rate + reach, most))
    return Estimate(interval, "prediction-powered", _effective_n(rate, variance, size))


def rogan_gladen(answers: NDArray[np.bool_], domain: NDArray[np.bool_], sample: Sample) -> Estimate | None:
    """Return the classifier's rate of a group turned round by its sensitivity and specificity there.

    Rogan and Gladen 1978, American Journal of Epidemiology 107:71; counts are raised by one, and the delta method's
    interval is that of Lang and Reiczigel 2014, Preventive Veterinary Medicine 113:13, without their term for the
    classifier's rate: it is known for the whole file. None if the classifier is hardly better than chance there, or if
    there are no labels of either kind.

    Parameters
    ----------
    answers
        The classifier's hard answers, shape (N,).
    domain
        Which completions are in the group, shape (N,).
    sample
        The labelled completions.
    """
    members = domain[sample.rows]
    weight, truth = sample.weight[members], sample.truth[members] == 1
    said = answers[sample.rows][members]
    if not truth.any() or truth.all():
        return None
    n_1, n_0 = (float(weight[part].sum() ** 2 / np.square(weight[part]).sum()) for part in (truth, ~truth))
    sensitivity = (n_1 * _share(weight, said & truth, truth) + 1) / (n_1 + 2)
    specificity = (n_0 * _share(weight, ~said & ~truth, ~truth) + 1) / (n_0 + 2)
    power = sensitivity + specificity - 1
    if power < 0.1:
        return None
    rate = min(max((float(answers[domain].mean()) + specificity - 1) / power, 0.0), 1.0)
    variance = (
        rate**2 * sensitivity * (1 - sensitivity) / n_1 + (1 - rate) ** 2 * specificity * (1 - specificity) / n_0
    ) / power**2
    reach = t_quantile((1 + _CONFIDENCE) / 2, inf) * sqrt(variance)
    interval = Interval(rate, max(rate - reach, 0.0), min(rate + reach, 1.0))
    return Estimate(interval, "Rogan-Gladen", _effective_n(rate, variance, int(domain.sum())))


def expected_half_width(scores: Floats, inclusion: Floats, domain: NDArray[np.bool_], inflation: float) -> float:
    """Return about what half of the interval of `corrected` will measure for labels that are not drawn yet.

    Parameters
    ----------
    scores
        The classifier's probabilities, shape (N,).
    inclusion
        The probability with which each completion will be labelled, shape (N,), in (0, 1].
    domain
        Which completions are in the group, shape (N,).
    inflation
        As in `Correction`, from earlier labels; 1 believes the classifier.
    """
    n, promised = float(inclusion.sum()), expected_variance(scores)
    counted = 1 / inclusion - 1
    if not counted[domain].any():
        return 0.0
    of_label = float(counted @ promised / counted.sum())
    made = inflation * n * of_label
    prior = _PRIOR_LABELS * float(promised.mean())
    learned = (max(made + _UNSEEN_ERRORS, _LEAST_ERRORS) + prior) / (n * of_label + prior)
    variance = learned * float(counted[domain] @ promised[domain]) / int(domain.sum()) ** 2
    freedom = min(made, max(float(inclusion[domain].sum()) - 1, 0.0)) + _PRIOR_LABELS
    return t_quantile((1 + _CONFIDENCE) / 2, freedom) * sqrt(variance)


def _variance(sample: Sample, members: NDArray[np.bool_], deviations: Floats) -> tuple[float, float]:
    """Return the variance of a group's weighted mean and Satterthwaite's degrees of freedom of it.

    `deviations`, shape (n,), are those from the weighted mean.
    """
    weight = sample.weight
    parts = []
    for number in np.unique(sample.stratum[members]):
        rows = members & (sample.stratum == number)
        k = int(rows.sum())
        unseen = 1 - sample.inclusion[rows]
        values = deviations[rows] * weight[rows]
        # One label of a stratum has but the group's mean to deviate from.
        centre = float(unseen @ values / unseen.sum()) if k > 1 and unseen.sum() > 0 else 0.0
        parts.append(unseen * np.square(values - centre) * (k / max(k - 1, 1)))
    squares = np.concatenate(parts) / weight[members].sum() ** 2
    variance = float(squares.sum())
    freedom = variance**2 / float(np.square(squares).sum()) - 1 if variance > 0 else 0.0
    return variance, max(freedom, 1.0)


def _spread(rate: float, size: int) -> float:
    """Return the variance of one label, kept above zero."""
    smoothed = (rate * size + 1) / (size + 2)
    return smoothed * (1 - smoothed)


def _effective_n(rate: float, variance: float, size: int) -> float:
    """Return how many labels of a simple random sample of the group have this variance without a classifier."""
    return 1 / (variance / _spread(rate, size) + 1 / size)


def _share(weight: Floats, part: NDArray[Any], whole: NDArray[Any]) -> float:
    return float(weight[part].sum() / weight[whole].sum())
