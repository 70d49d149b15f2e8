"""Intervals and tests against SciPy and statsmodels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf.statistics import difference_interval, t_quantile, wilson_interval


@given(st.floats(0.55, 0.9995), st.floats(1, 3000))
@settings(deadline=None)
def test_students_quantile_equals_scipys(probability, df):
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-3)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
@settings(deadline=None, max_examples=40)
def test_the_interval_of_a_difference_equals_statsmodels(n_1, n_2, data):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    a, b = data.draw(st.integers(0, n_1)), data.draw(st.integers(0, n_2))
    ours = difference_interval(a / n_1, wilson_interval(a, n_1), b / n_2, wilson_interval(b, n_2))
    expected = proportion.confint_proportions_2indep(b, n_2, a, n_1, method="newcomb", compare="diff")
    assert ours == pytest.approx(expected, abs=1e-6)


def test_few_degrees_of_freedom_widen_wilsons_interval():
    low, high = wilson_interval(3, 10)
    wider_low, wider_high = wilson_interval(3, 10, df=4)
    assert wider_low < low < 0.3 < high < wider_high
