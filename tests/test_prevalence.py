"""Rates from a part of the labels: against other implementations, and by simulation of what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf.calibration.design import Sample, weigh
from refusal_clf.calibration.prevalence import corrected, fit_correction, judge_only, rogan_gladen
from refusal_clf.calibration.sampling import POOLED, SampleUnit, draw
from refusal_clf.records import InputError, Sampled


def simple(rows, truth, size):
    return weigh([""] * size, rows, np.asarray(truth)[rows], [None] * len(rows))[0]


def population(seed=0, size=800):
    """A file whose labels follow the classifier's probabilities, which are sure of most completions."""
    random = np.random.default_rng(seed)
    scores = random.beta(0.2, 0.3, size)
    return scores, (random.uniform(size=size) < scores).astype(float), random


def everything(size):
    return np.ones(size, bool)


@pytest.mark.parametrize("seed", range(4))
def test_the_estimate_is_that_of_ppi_python_with_the_same_power(seed):
    ppi = pytest.importorskip("ppi_py")
    scores, truth, random = population(seed)
    rows = random.choice(len(truth), 90, replace=False)
    sample = simple(rows, truth, len(truth))
    fit = fit_correction(scores, sample)
    rest = np.delete(scores, rows)
    power = fit.power / (1 + len(rows) / len(rest))
    theirs = ppi.ppi_mean_pointestimate(truth[rows], scores[rows], rest, lam=power)
    ours = corrected(scores, everything(len(truth)), sample, fit).interval
    assert ours.estimate == pytest.approx(float(np.ravel(theirs)[0]), abs=1e-12)


def test_the_power_and_the_interval_are_close_to_those_of_ppi_python_at_many_labels():
    ppi = pytest.importorskip("ppi_py")
    scores, truth, random = population(1, 200_000)
    rows = random.choice(len(truth), 4000, replace=False)
    sample = simple(rows, truth, len(truth))
    fit = fit_correction(scores, sample)
    rest = np.delete(scores, rows)
    low, high = ppi.ppi_mean_ci(truth[rows], scores[rows], rest, alpha=0.05)
    ours = corrected(scores, everything(len(truth)), sample, fit).interval
    assert (ours.ci_low, ours.ci_high) == pytest.approx((float(np.ravel(low)[0]), float(np.ravel(high)[0])), abs=1e-3)


def test_labels_alone_give_wilsons_interval_of_a_share_of_a_large_file():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    size, rows = 10**6, np.arange(61)
    truth = np.zeros(size)
    truth[:20] = 1
    interval = judge_only(size, simple(rows, truth, size), everything(61)).interval
    expected = proportion.proportion_confint(20 * 60 / 61, 60, method="wilson")
    assert (interval.ci_low, interval.ci_high) == pytest.approx(expected, abs=1e-4)


def test_a_stratified_sample_gives_the_textbook_mean_and_variance():
    random = np.random.default_rng(5)
    strata = ["a"] * 60 + ["b"] * 30
    truth = (random.uniform(size=90) < 0.4).astype(float)
    rows = np.concatenate([random.choice(60, 12, replace=False), 60 + random.choice(30, 15, replace=False)])
    told = [Sampled("stratified", strata[row], {"a": 0.2, "b": 0.5}[strata[row]]) for row in rows]
    sample, strategy, notes = weigh(strata, rows, truth[rows], told)
    estimate = judge_only(90, sample, everything(27))
    parts = [(60, truth[rows[:12]]), (30, truth[rows[12:]])]
    mean = sum(size * part.mean() for size, part in parts) / 90
    variance = sum((size / 90) ** 2 * (1 - len(part) / size) * part.var(ddof=1) / len(part) for size, part in parts)
    assert (strategy, notes) == ("stratified", [])
    assert estimate.interval.estimate == pytest.approx(mean)
    centre = (estimate.interval.ci_low + estimate.interval.ci_high) / 2
    n = mean * (1 - mean) / variance
    t = pytest.importorskip("scipy.stats").t.ppf(0.975, 26)
    assert centre == pytest.approx((mean + t**2 / 2 / n) / (1 + t**2 / n), abs=1e-6)


def test_a_file_labelled_as_a_whole_has_its_rate_and_no_uncertainty():
    scores, truth, _ = population()
    sample = simple(np.arange(len(truth)), truth, len(truth))
    for estimate in (
        judge_only(len(truth), sample, everything(len(truth))),
        corrected(scores, everything(len(truth)), sample, fit_correction(scores, sample)),
    ):
        assert estimate.interval.estimate == pytest.approx(truth.mean())
        assert estimate.interval.ci_high - estimate.interval.ci_low == pytest.approx(0)
        assert estimate.effective_n == pytest.approx(len(truth))


def test_an_interval_has_width_although_all_labels_agree_with_the_classifier():
    size = 500
    scores = np.r_[np.full(250, 0.999), np.full(250, 0.001)]
    truth = (scores > 0.5).astype(float)
    sample = simple(np.arange(0, size, 10), truth, size)
    interval = corrected(scores, everything(size), sample, fit_correction(scores, sample)).interval
    # Fifty labels without an error are compatible with an error of 3 / 50 = 6 %, by the rule of three.
    assert 0.5 - interval.ci_low == pytest.approx(0.06, rel=0.15)
    assert interval.ci_high - 0.5 == pytest.approx(0.06, rel=0.15)


@pytest.mark.parametrize("n", [50, 100])
def test_errors_that_the_classifier_is_sure_of_are_covered_although_most_samples_hold_few(n):
    random = np.random.default_rng(0)
    scores = np.r_[np.full(500, 0.995), np.full(500, 0.005)]
    truth = (scores > 0.5).astype(float)
    truth[random.choice(500, 25, replace=False)] = 0
    covered = 0
    for _ in range(300):
        sample = simple(random.choice(1000, n, replace=False), truth, 1000)
        interval = corrected(scores, everything(1000), sample, fit_correction(scores, sample)).interval
        covered += interval.ci_low <= truth.mean() <= interval.ci_high
    assert covered >= 0.92 * 300


@given(st.integers(0, 10**6), st.integers(2, 60), st.booleans())
@settings(deadline=None, max_examples=60)
def test_limits_contain_the_estimate_and_lie_where_the_labels_leave_them(seed, n, useless):
    random = np.random.default_rng(seed)
    scores = np.full(70, 0.3) if useless else random.uniform(size=70).round(1)
    truth = (random.uniform(size=70) < random.uniform()).astype(float)
    rows = random.choice(70, n, replace=False)
    sample = simple(rows, truth, 70)
    domain = random.uniform(size=70) < 0.7
    members = domain[rows]
    estimates = (
        judge_only(int(domain.sum()), sample, members),
        corrected(scores, domain, sample, fit_correction(scores, sample)),
        rogan_gladen(scores > 0.5, domain, sample),
    )
    for at, estimate in enumerate(estimates):
        if estimate is None:
            assert members.sum() < 2 or at == 2
            continue
        interval = estimate.interval
        assert 0 <= interval.ci_low <= interval.estimate <= interval.ci_high <= 1
        assert 0 < estimate.effective_n <= domain.sum() + 1e-6
    if estimates[1] is not None:
        least = truth[rows][members].sum() / domain.sum()
        assert least - 1e-9 <= estimates[1].interval.ci_low


@pytest.mark.parametrize("strategy", ["uniform", "stratified", "uncertain"])
def test_intervals_cover_the_files_rate_as_often_as_they_say_and_are_narrower_than_the_labels_own(strategy):
    scores, truth, random = population(7)
    strata = ["abc"[int(3 * u)] for u in random.uniform(size=len(truth))]
    units = [SampleUnit(at, stratum, 1 - score) for at, (stratum, score) in enumerate(zip(strata, scores, strict=True))]
    domains = {"all": everything(len(truth)), "a": np.array([stratum == "a" for stratum in strata])}
    hits = {(name, method): 0 for name in domains for method in ("corrected", "judge only")}
    width = dict.fromkeys(hits, 0.0)
    for seed in range(300):
        drawn = draw(units, 60, strategy, seed)
        rows = np.array([one.index for one in drawn])
        told = [Sampled(strategy, one.stratum, one.inclusion_probability) for one in drawn]
        sample, _, _ = weigh(strata, rows, truth[rows], told)
        fit = fit_correction(scores, sample)
        for name, domain in domains.items():
            for method, estimate in (
                ("corrected", corrected(scores, domain, sample, fit)),
                ("judge only", judge_only(int(domain.sum()), sample, domain[rows])),
            ):
                interval = estimate.interval
                hits[name, method] += interval.ci_low <= truth[domain].mean() <= interval.ci_high
                width[name, method] += interval.ci_high - interval.ci_low
    assert all(hit >= 0.91 * 300 for hit in hits.values()), hits  # 95 % less three standard errors
    for name in domains:
        assert width[name, "corrected"] < 0.85 * width[name, "judge only"]


def test_rogan_and_gladen_recover_a_rate_that_the_classifier_gets_wrong():
    random = np.random.default_rng(3)
    size = 20_000
    truth = random.uniform(size=size) < 0.2
    answers = np.where(truth, random.uniform(size=size) < 0.8, random.uniform(size=size) < 0.1)
    covered = 0
    for _ in range(200):
        rows = random.choice(size, 300, replace=False)
        interval = rogan_gladen(answers, everything(size), simple(rows, truth.astype(float), size)).interval
        covered += interval.ci_low <= truth.mean() <= interval.ci_high
    assert answers.mean() == pytest.approx(0.24, abs=0.02)
    assert 180 <= covered <= 200


def test_a_part_of_what_was_drawn_still_stands_for_the_whole_file():
    scores, truth, _ = population(2)
    units = [SampleUnit(at, "", 1 - score) for at, score in enumerate(scores)]
    drawn = draw(units, 300, "uncertain", 0)[:100]
    rows = [one.index for one in drawn]
    told = [Sampled("uncertain", "", one.inclusion_probability) for one in drawn]
    sample, _, notes = weigh([""] * len(truth), rows, truth[rows], told)
    assert "some that were drawn have no label" in notes[0]
    assert sample.weight.sum() == pytest.approx(len(truth))


def test_strata_with_too_few_labels_are_pooled_and_that_is_said():
    strata = ["a"] * 20 + ["b"] * 10 + ["c"] * 6 + ["d"] * 4
    rows = [0, 1, 2, 20, 21, 30, 31]
    told = [Sampled("stratified", strata[row], 0.2) for row in rows]
    sample, _, notes = weigh(strata, rows, np.ones(7), told)
    assert "1 of 4 strata have fewer than two labels: 2 strata are pooled (10 completions)" in notes[0]
    assert sample.weight.sum() == pytest.approx(40)
    told = [Sampled("stratified", POOLED if strata[row] in "bcd" else "a", 0.2) for row in rows]
    pooled, _, notes = weigh(strata, rows, np.ones(7), told)
    assert len(set(pooled.stratum)) == 2
    assert pooled.weight.sum() == pytest.approx(40)


def test_labels_that_differ_between_strata_and_not_within_them_have_an_interval():
    strata = ["a"] * 20 + ["b"] * 20
    rows = [0, 1, 2, 20, 21, 22]
    sample, _, _ = weigh(strata, rows, np.repeat([1, 0], 3), [Sampled("stratified", strata[row], 0.15) for row in rows])
    interval = judge_only(40, sample, everything(6)).interval
    assert interval.ci_low < interval.estimate == 0.5 < interval.ci_high


def test_a_pooled_draw_is_without_bias_although_the_pools_strata_are_unequal():
    sizes = [100, 60, *[40] * 3, *[20, 4] * 6]  # pooled: all of four, and two of twenty
    strata = [f"s{number:02d}" for number, size in enumerate(sizes) for _ in range(size)]
    truth = np.array([float(size == 4) for size in sizes for _ in range(size)])
    units = [SampleUnit(at, stratum, 0.5) for at, stratum in enumerate(strata)]
    rates = []
    for seed in range(500):
        drawn = draw(units, 20, "stratified", seed)
        rows = np.array([one.index for one in drawn])
        told = [Sampled("stratified", one.stratum, one.inclusion_probability) for one in drawn]
        sample, _, _ = weigh(strata, rows, truth[rows], told)
        rates.append(float(sample.weight @ truth[rows] / sample.weight.sum()))
    assert np.mean(rates) == pytest.approx(truth.mean(), abs=4 * np.std(rates) / np.sqrt(500))


def test_strata_that_lack_labels_do_not_join_the_pool_that_was_drawn():
    strata = ["a"] * 20 + ["b"] * 10 + ["c"] * 8 + ["d"] * 4 + ["e"] * 4
    rows = [0, 1, 2, 20, 30, 31, 38, 42]
    told = [Sampled("stratified", POOLED if strata[row] in "de" else strata[row], 0.2) for row in rows]
    sample, _, notes = weigh(strata, rows, np.ones(8), told)
    assert "1 of 4 strata have fewer than two labels: 2 strata are pooled (18 completions)" in notes[0]
    assert sample.weight[-2:] == pytest.approx([4, 4])
    assert len({*sample.stratum[-2:]} | {*sample.stratum[3:6]}) == 2
    assert sample.weight.sum() == pytest.approx(46)


@pytest.mark.parametrize("strategy", ["uniform", "stratified", "uncertain"])
def test_labels_drawn_from_another_number_of_completions_are_not_extrapolated_silently(strategy):
    for inclusion, drawn_from in ((0.5, "20"), (0.05, "200")):
        told = [Sampled(strategy, "", inclusion)] * 10
        _, _, notes = weigh([""] * 100, range(10), np.ones(10), told)
        assert f"drawn from about {drawn_from} completions and this file has 100" in notes[0]
    assert weigh([""] * 100, range(10), np.ones(10), [Sampled(strategy, "", 0.1)] * 10)[2] == []


def test_labels_of_several_draws_are_refused():
    one, other = Sampled("uniform", "", 0.1), Sampled("uncertain", "", 0.1)
    with pytest.raises(InputError, match="1 of 2 labels do not say how they were drawn"):
        weigh(["", "", ""], [0, 1], np.ones(2), [one, None])
    with pytest.raises(InputError, match=r"several strategies \(uncertain, uniform\)"):
        weigh(["", "", ""], [0, 1], np.ones(2), [one, other])


def test_one_label_is_no_estimate():
    sample = Sample(np.array([0]), np.ones(1), np.full(1, 0.1), np.zeros(1, np.int64))
    assert judge_only(10, sample, everything(1)) is None
    assert corrected(np.full(10, 0.5), everything(10), sample, fit_correction(np.full(10, 0.5), sample)) is None
