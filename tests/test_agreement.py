"""Agreement and calibration figures, each against an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf.calibration.agreement import (
    agreement,
    bootstrap,
    brier,
    expected_calibration_error,
    kappa,
    macro_f1,
)

pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=60)


@given(pairs)
@settings(deadline=None, max_examples=50)
def test_kappa_and_f1_equal_scikit_learns(rows):
    metrics = pytest.importorskip("sklearn.metrics")
    truth, answer = np.array(rows).T
    expected = metrics.cohen_kappa_score(truth, answer)
    assert kappa(truth, answer) == pytest.approx(1.0 if np.isnan(expected) else expected)
    present = np.unique(truth)
    f1 = metrics.f1_score(truth, answer, labels=present, average="macro", zero_division=0)
    assert macro_f1(truth, answer) == pytest.approx(f1)


@given(pairs)
def test_agreement_is_symmetric_and_complete_with_oneself(rows):
    truth, answer = np.array(rows).T
    assert agreement(truth, answer) == agreement(answer, truth)
    assert agreement(truth, truth) == kappa(truth, truth) == 1.0


def test_probabilities_that_come_true_as_often_as_they_say_have_no_calibration_error():
    random = np.random.default_rng(1)
    probability = random.uniform(0, 1, 200_000)
    correct = random.uniform(0, 1, probability.size) < probability
    assert expected_calibration_error(probability, correct) < 0.01
    assert expected_calibration_error(np.full(1000, 0.9), np.arange(1000) % 2 == 0) == pytest.approx(0.4)


def test_brier_is_zero_for_certain_truth_and_two_for_certain_error():
    certain = np.eye(3)
    assert brier(certain, np.array([0, 1, 2])) == 0.0
    assert brier(certain, np.array([1, 2, 0])) == 2.0


def test_the_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        answer = (random.uniform(size=150) < 0.8).astype(np.int64)
        interval = bootstrap(agreement, np.ones(150, np.int64), answer, seed=seed)
        covered += interval.ci_low <= 0.8 <= interval.ci_high
    assert 180 <= covered <= 199
