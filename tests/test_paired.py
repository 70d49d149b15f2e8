"""Paired outcomes: the test against SciPy, the interval's coverage, Holm's guarantee, the smallest change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from refusal_clf.paired import detectable_change, holm, mcnemar_midp, paired_difference_interval

COUNTS = st.integers(0, 2000)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_mid_p_is_twice_the_tail_less_the_observed_probability(ups: int, downs: int) -> None:
    n, fewer = ups + downs, min(ups, downs)
    expected = 2 * stats.binom.cdf(fewer, n, 0.5) - stats.binom.pmf(fewer, n, 0.5)
    assert mcnemar_midp(ups, downs) == pytest.approx(min(1.0, expected), rel=1e-6, abs=1e-12)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_mid_p_knows_no_direction_and_lies_between_0_and_1(ups: int, downs: int) -> None:
    assert mcnemar_midp(ups, downs) == mcnemar_midp(downs, ups)
    assert 0 <= mcnemar_midp(ups, downs) <= 1


def test_without_a_change_p_is_1() -> None:
    assert mcnemar_midp(0, 0) == 1.0


@settings(deadline=None)
@given(COUNTS, COUNTS, COUNTS)
def test_the_interval_contains_the_difference_and_turns_with_its_sign(ups: int, downs: int, same: int) -> None:
    n = ups + downs + same + 1
    low, high = paired_difference_interval(ups, downs, n)
    assert -1 <= low <= (ups - downs) / n <= high <= 1
    assert paired_difference_interval(downs, ups, n) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("up", "down", "n"), [(0.05, 0.05, 100), (0.02, 0.1, 60), (0.01, 0.0, 379), (0.2, 0.05, 30)])
def test_the_interval_covers_the_true_difference_19_times_in_20(up: float, down: float, n: int) -> None:
    draws = np.random.default_rng(0).multinomial(n, (up, down, 1 - up - down), size=2000)
    intervals = [paired_difference_interval(int(ups), int(downs), n) for ups, downs, _ in draws]
    covered = np.mean([low <= up - down <= high for low, high in intervals])
    assert 0.935 <= covered <= 1


def test_holm_with_equal_weights_is_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03], [1, 1, 1]) == pytest.approx([0.03, 0.06, 0.06])


def test_a_heavier_test_pays_less_for_the_others() -> None:
    light, heavy = holm([0.02, 0.02], [1, 3])
    assert heavy == pytest.approx(0.02 * 4 / 3)
    assert light == pytest.approx(max(heavy, 0.02))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), max_size=20))
def test_holm_never_makes_a_p_value_smaller_and_keeps_them_in_range(tests: list[tuple[float, float]]) -> None:
    p_values, weights = [p for p, _ in tests], [w for _, w in tests]
    for before, after in zip(p_values, holm(p_values, weights), strict=True):
        assert before * (1 - 1e-9) <= after <= 1


def test_holm_rejects_a_true_hypothesis_no_oftener_than_alpha() -> None:
    random = np.random.default_rng(1)
    weights = [0.5, 0.5, *[0.125] * 8]
    false = [min(holm(row, weights)) <= 0.05 for row in random.random((4000, 10)).tolist()]
    assert np.mean(false) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize(("n", "noise", "alpha"), [(379, 0.06, 0.05), (379, 0.06, 0.005), (1001, 0.1, 0.05)])
def test_the_detectable_change_is_detected_four_times_in_five(n: int, noise: float, alpha: float) -> None:
    change = detectable_change(n, round(noise * n), alpha=alpha)
    shares = (noise / 2 + change, noise / 2, 1 - noise - change)
    draws = np.random.default_rng(2).multinomial(n, shares, size=1500)
    found = np.mean([mcnemar_midp(int(ups), int(downs)) <= alpha for ups, downs, _ in draws])
    assert 0.75 <= found <= 0.87


def test_without_pairs_no_change_is_detectable() -> None:
    assert detectable_change(0, 0, alpha=0.05) == 1.0


@settings(deadline=None)
@given(st.integers(1, 5000), st.floats(0, 1))
def test_more_items_show_smaller_changes(n: int, share: float) -> None:
    changed = int(share * n)
    assert detectable_change(4 * n, 4 * changed, alpha=0.05) <= detectable_change(n, changed, alpha=0.05)
