"""One temperature for a head's probabilities, from labels, and what it is worth on labels that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.calibration.agreement import Labels, brier, expected_calibration_error
from refusal_clf.calibration.prevalence import Floats
from refusal_clf.records import InputError

LEAST_LABELS: Final = 50
"""Labels of a head that a temperature is fitted on."""
FOLDS: Final = 5

_FLOOR: Final = 1e-9
"""Probabilities are at least this before their logarithm is taken."""
_INVERSES: Final = (0.1, 10.0)
"""The inverse temperatures that are considered."""
_EDGE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Quality:
    """How good probabilities are: log loss in nats, Brier score in [0, 2], ECE in [0, 1]; lower is better."""

    log_loss: float
    brier: float
    ece: float


@dataclass(frozen=True, slots=True)
class Refit:
    """A head's temperature, fitted on all n labels; `after` is cross-fitted, so that no label judges its own fit.

    `gain_error` is the standard error of the fall in log loss, over prompts.
    """

    temperature: float
    n: int
    before: Quality
    after: Quality
    gain_error: float

    @property
    def improves(self) -> bool:
        """Whether log loss falls by more than its standard error, and the Brier score with it.

        Both are proper scores; the ECE alone can be bought with worse probabilities. A temperature at the end of the
        range is none: labels that never contradict a model say that it may be surer, but not how sure.
        """
        inside = _INVERSES[0] * (1 + _EDGE) < 1 / self.temperature < _INVERSES[1] * (1 - _EDGE)
        gain = self.before.log_loss - self.after.log_loss
        return inside and gain > self.gain_error and self.after.brier < self.before.brier


def refit(probabilities: Floats, truth: Labels, weights: Floats, prompts: Sequence[str]) -> Refit:
    """Fit a temperature and measure it over five folds, no prompt in two of them.

    Parameters
    ----------
    probabilities
        Of a head's k labels, shape (n, k).
    truth
        The label of each row, shape (n,), in [0, k).
    weights
        How many completions each row stands for, shape (n,).
    prompts
        The prompt of each row, length n.

    Raises
    ------
    InputError
        If there are fewer labels than `LEAST_LABELS`, or fewer prompts than folds.
    """
    if len(truth) < LEAST_LABELS:
        raise InputError(f"{len(truth)} labels are too few to refit probabilities: it takes {LEAST_LABELS}")
    cluster = _numbered(prompts)
    fold = _folds(cluster)
    held_out = np.empty(probabilities.shape)
    for number in range(FOLDS):
        of_fold, rest = fold == number, fold != number
        temperature = fit_temperature(probabilities[rest], truth[rest], weights[rest])
        held_out[of_fold] = at_temperature(probabilities[of_fold], temperature)
    as_they_are = at_temperature(probabilities, 1.0)
    gain = _log_losses(as_they_are, truth) - _log_losses(held_out, truth)
    return Refit(
        fit_temperature(probabilities, truth, weights),
        len(truth),
        _quality(as_they_are, truth, weights),
        _quality(held_out, truth, weights),
        _standard_error(gain, weights, cluster),
    )


def fit_temperature(probabilities: Floats, truth: Labels, weights: Floats) -> float:
    """Return the temperature of least weighted log loss (Guo et al. 2017, arXiv:1706.04599, section 4.2).

    The loss is convex in the inverse temperature, so that halving the interval by the sign of its slope finds the
    least. Arguments are those of `refit`. The result is in [0.1, 10].
    """
    scores = np.log(np.maximum(probabilities, _FLOOR))
    of_truth = scores[np.arange(len(truth)), truth]
    low, high = _INVERSES
    for _ in range(50):
        middle = (low + high) / 2
        expected = (at_temperature(probabilities, 1 / middle) * scores).sum(1)
        if float(weights @ (expected - of_truth)) > 0:
            high = middle
        else:
            low = middle
    return 2 / (low + high)


def at_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Return what the probabilities, shape (n, k), become when the scores below them are divided by a temperature."""
    scores = np.log(np.maximum(probabilities, _FLOOR)) / temperature
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def _numbered(prompts: Sequence[str]) -> NDArray[np.int64]:
    number_of = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    if len(number_of) < FOLDS:
        raise InputError(f"the labels are of {len(number_of)} prompts: refitting takes {FOLDS} at least")
    return np.array([number_of[prompt] for prompt in prompts], np.int64)


def _folds(cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    shuffled = np.random.default_rng(0).permutation(cluster.max() + 1) % FOLDS
    of_row: NDArray[np.int64] = shuffled[cluster]
    return of_row


def _log_losses(probabilities: Floats, truth: Labels) -> Floats:
    losses: Floats = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], _FLOOR))
    return losses


def _standard_error(values: Floats, weights: Floats, cluster: NDArray[np.int64]) -> float:
    """Return that of a weighted mean, linearised, where rows of a cluster are not independent."""
    residuals = weights * (values - np.average(values, weights=weights))
    totals = np.bincount(cluster, residuals)
    return float(np.sqrt(len(totals) / (len(totals) - 1) * np.square(totals).sum()) / weights.sum())


def _quality(probabilities: Floats, truth: Labels, weights: Floats) -> Quality:
    right = probabilities.argmax(1) == truth
    return Quality(
        float(np.average(_log_losses(probabilities, truth), weights=weights)),
        brier(probabilities, truth, weights),
        expected_calibration_error(probabilities.max(1), right, weights),
    )
