"""The prediction-powered change of a rate: its coverage, its level and its power, simulated."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from refusal_clf.calibration.difference import Change, Fit, Side, corrected_change, fit_change
from refusal_clf.calibration.sampling import inclusion_probabilities
from refusal_clf.statistics import t_quantile, t_tail

Floats = NDArray[np.float64]
N = 400
DRAWS = 400


def runs(random: np.random.Generator, change: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Return labels before and after, whose rates differ by `change`, and scores that are wrong in their own way."""
    before = (random.random(N) < 0.3).astype(float)
    changed = random.random(N) < 0.05
    after = np.where(changed, random.random(N) < 0.3, before).astype(float)
    after = np.where(random.random(N) < change / 0.7, 1.0, after)

    def scores(truth: Floats, miss: float) -> Floats:
        wrong = random.random(N) < np.where(truth == 1, miss, 0.06)
        return np.clip(np.abs(truth - wrong) * 0.9 + random.normal(0.05, 0.03, N), 0.01, 0.99)

    # The classifier misses more of the compliance after than before: its own change is biased.
    return before, after, scores(before, 0.05), scores(after, 0.25)


def draw(random: np.random.Generator, design: str, f: Floats, shared: NDArray[np.int64]) -> Floats:
    """Return the weights of one run's labels, 120 of N."""
    if design == "uncertain":
        inclusion = inclusion_probabilities(np.sqrt(np.maximum(f * (1 - f), 0.02)), 120)
        return np.where(random.random(N) < inclusion, 1 / inclusion, 0.0)
    rows = shared if design == "paired" else random.permutation(N)[:120]
    weight = np.zeros(N)
    weight[rows] = N / 120
    return weight


@lru_cache
def simulate(design: str, change: float) -> list[Change]:
    random = np.random.default_rng(0)
    found = []
    for _ in range(DRAWS):
        y_0, y_1, f_0, f_1 = runs(random, change)
        shared = random.permutation(N)[:120]
        sides = (Side(f_0, y_0, draw(random, design, f_0, shared)), Side(f_1, y_1, draw(random, design, f_1, shared)))
        found.append(corrected_change(*sides, fit_change(*sides)))
    return found


@pytest.mark.parametrize("design", ["paired", "separate", "uncertain"])
@pytest.mark.parametrize("change", [0.0, 0.07])
def test_the_interval_covers_and_the_p_value_keeps_its_level(design: str, change: float) -> None:
    found = simulate(design, change)
    covered = sum(one.ci_low <= change <= one.ci_high for one in found) / DRAWS
    bias = sum(one.difference for one in found) / DRAWS - change
    assert abs(bias) < 0.01  # the classifier's own change is off by 6 points
    assert covered > 0.93
    if change == 0.0:
        assert sum(one.p_value <= 0.05 for one in found) / DRAWS < 0.07


def test_labels_of_the_same_pairs_say_more_than_labels_of_others_where_the_classifier_says_nothing() -> None:
    random = np.random.default_rng(3)
    y_0, y_1, _, _ = runs(random, 0.0)
    nothing = np.full(N, 0.3)
    shared, other = draw(random, "separate", nothing, np.arange(0)), draw(random, "separate", nothing, np.arange(0))
    widths = []
    for weight in (shared, other):
        sides = Side(nothing, y_0, shared), Side(nothing, y_1, weight)
        found = corrected_change(*sides, fit_change(*sides))
        widths.append(found.ci_high - found.ci_low)
    assert widths[0] < 0.85 * widths[1]


def test_with_every_label_the_change_is_that_of_the_labels() -> None:
    y_0, y_1, f_0, f_1 = runs(np.random.default_rng(1), 0.05)
    sides = Side(f_0, y_0, np.ones(N)), Side(f_1, y_1, np.ones(N))
    for power in (0.0, 0.5, 1.0):
        found = corrected_change(*sides, Fit(power, 1.0))
        assert found.difference == pytest.approx(float((y_1 - y_0).mean()))
        assert (found.rate_before, found.rate_after) == (pytest.approx(y_0.mean()), pytest.approx(y_1.mean()))


def test_a_useless_classifier_is_not_used() -> None:
    random = np.random.default_rng(2)
    y_0, y_1, _, _ = runs(random, 0.0)
    weight = draw(random, "separate", y_0, np.arange(0))
    sides = Side(random.random(N), y_0, weight), Side(random.random(N), y_1, weight)
    assert fit_change(*sides).power < 0.3


def test_the_interval_and_the_p_value_agree() -> None:
    for one in simulate("separate", 0.05)[:100]:
        assert (one.p_value < 0.05) == (not one.ci_low <= 0 <= one.ci_high)


@pytest.mark.parametrize("df", [1, 3.5, 12, 400, 30_000])
def test_the_tail_is_the_inverse_of_the_quantile(df: float) -> None:
    for probability in (0.6, 0.9, 0.975, 0.9995):
        assert t_tail(t_quantile(probability, df), df) == pytest.approx(1 - probability, rel=1e-4)
