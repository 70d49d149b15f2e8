"""Drawing completions for a judge: what each strategy promises."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf.calibration.sampling import (
    POOLED,
    STRATEGIES,
    SampleUnit,
    allocate,
    draw,
    expected_variance,
    inclusion_probabilities,
)
from refusal_clf.records import InputError

probabilities = st.none() | st.floats(0, 1)
populations = st.lists(st.tuples(st.sampled_from("abcdef"), probabilities), min_size=1, max_size=60).map(
    lambda rows: [SampleUnit(10 * at, stratum, p) for at, (stratum, p) in enumerate(rows)]
)


@given(populations, st.integers(1, 70), st.sampled_from(STRATEGIES), st.integers(0, 5))
@settings(deadline=None, max_examples=150)
def test_a_draw_has_the_wanted_size_no_repetition_and_usable_probabilities(units, n, strategy, seed):
    drawn = draw(units, n, strategy, seed)
    assert len(drawn) == len({one.index for one in drawn}) == min(n, len(units))
    assert {one.index for one in drawn} <= {unit.index for unit in units}
    assert all(0 < one.inclusion_probability <= 1 for one in drawn)
    assert drawn == draw(units, n, strategy, seed)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_unit_is_drawn_as_often_as_its_inclusion_probability_says(strategy):
    random = np.random.default_rng(3)
    units = [SampleUnit(at, "ab"[at % 3 == 0], float(p)) for at, p in enumerate(random.beta(0.3, 0.3, 40))]
    times, claimed = np.zeros(40), np.full(40, np.nan)
    for seed in range(3000):
        for one in draw(units, 12, strategy, seed):
            times[one.index] += 1
            claimed[one.index] = one.inclusion_probability
    assert claimed.sum() == pytest.approx(12)
    assert np.abs(times / 3000 - claimed).max() < 4.5 * np.sqrt(0.25 / 3000)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=50), st.data())
@settings(deadline=None)
def test_probabilities_proportional_to_size_sum_to_the_sample_and_keep_its_order(sizes, data):
    n = data.draw(st.integers(1, len(sizes)))
    inclusion = inclusion_probabilities(np.array(sizes), n)
    assert inclusion.sum() == pytest.approx(n)
    assert (inclusion <= 1).all()
    assert (np.diff(inclusion[np.argsort(sizes)]) >= -1e-12).all()


def test_a_stratum_gets_two_and_an_uncertain_one_more():
    units = [SampleUnit(at, "sure", 0.999) for at in range(100)]
    units += [SampleUnit(100 + at, "unsure", 0.5) for at in range(100)] + [SampleUnit(200, "single", 0.9)]
    counts = Counter(one.stratum for one in draw(units, 40, "stratified", 0))
    assert counts["single"] == 1
    assert counts["unsure"] / counts["sure"] == pytest.approx(
        np.sqrt(0.25 / expected_variance(np.array([0.999]))[0]), rel=0.15
    )
    assert Counter(one.stratum for one in draw(units, 5, "stratified", 0)) == {"single": 1, "sure": 2, "unsure": 2}


def test_strata_for_which_the_sample_is_too_small_are_pooled_smallest_first():
    units = [SampleUnit(at, name, 0.5) for at, name in enumerate("a" * 30 + "b" * 20 + "c" * 4 + "d" * 3)]
    drawn = draw(units, 6, "stratified", 1)
    assert {one.stratum for one in drawn} == {"a", "b", POOLED}
    assert {one.stratum for one in draw(units, 1, "stratified", 1)} == {POOLED}


def test_whole_numbers_minimise_the_variance_of_the_stratified_mean():
    counts, deviations, n = [9, 6, 4], [0.5, 0.2, 0.4], 11

    def variance(sizes):
        return sum((count * s) ** 2 / size for count, s, size in zip(counts, deviations, sizes, strict=True))

    every = [sizes for sizes in product(*(range(2, count + 1) for count in counts)) if sum(sizes) == n]
    assert variance(allocate(counts, deviations, n)) == pytest.approx(min(map(variance, every)))


def test_an_unknown_strategy_and_an_empty_sample_are_refused():
    units = [SampleUnit(0, "a", 0.5)]
    with pytest.raises(InputError, match="known: uniform, stratified, uncertain"):
        draw(units, 1, "clever", 0)
    with pytest.raises(InputError, match="cannot draw 0"):
        draw(units, 0, "uniform", 0)
