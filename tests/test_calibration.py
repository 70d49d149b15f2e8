"""Labels held against verdicts: matching, groups and advice, drift, planning."""

from __future__ import annotations

import numpy as np
import pytest

from refusal_clf.calibration.agreement import Interval
from refusal_clf.calibration.assessment import GroupKey, advise, assess, choose_target
from refusal_clf.calibration.design import weigh
from refusal_clf.calibration.drift import Pair, compare, drift
from refusal_clf.calibration.matching import Scored, choose_judge, match, text_key
from refusal_clf.calibration.planning import judge_only_need, plan
from refusal_clf.calibration.prevalence import Estimate, corrected, fit_correction
from refusal_clf.calibration.sampling import SampleUnit, draw
from refusal_clf.records import Completion, InputError, Label, Sampled, Verdict


def scored(name, p=0.1, text=None, **fields):
    names = {"suite": "coconot", "subset": "original", "category": "c", "subcategory": "s", "model": "m"} | fields
    answer = "noncompliance" if p > 0.5 else "compliance"
    verdict = Verdict(id=name, verdict=answer, p_noncompliance=p, refusal=None, p_refusal=p, tier="full", **names)
    return Scored(verdict, text)


def label(name, verdict="compliance", judge="j", sampled=None, **fields):
    return Label(Completion(id=name, **fields), verdict, None, judge, sampled=sampled)


def test_labels_are_matched_by_id_and_the_metadata_that_both_sides_have():
    file = [scored("1"), scored("1", model="other"), scored("2", subset="contrast")]
    assert list(match(file, [label("1", model="other")]).rows) == [1]
    assert match(file, [label("1")]).n_unmatched == 1
    assert match(file, [label("2", subset="original")]).n_unmatched == 1
    assert list(match(file, [label("2", suite="coconot")]).rows) == [2]


def test_labels_without_a_known_id_are_matched_by_prompt_and_response():
    completion = Completion(prompt="p", response="r")
    file = [scored("1", text=text_key(completion)), scored("2")]
    matches = match(file, [label(None, prompt=" p", response="r\n"), label("x", prompt="p", response="other")])
    assert (list(matches.rows), matches.n_by_text, matches.n_unmatched) == ([0], 1, 1)


def test_a_label_of_another_response_of_the_same_id_is_no_label_of_it():
    file = [scored("1", text=text_key(Completion(prompt="p", response="new")))]
    matches = match(file, [label("1", prompt="p", response="old")])
    assert (matches.rows, matches.n_other_response) == ({}, 1)
    assert "1 have the id of a completion with another response" in matches.describe()


def test_labels_of_empty_responses_do_not_count():
    empty = scored("1")
    file = [Scored(Verdict(**{**empty.verdict.to_dict(), "p_noncompliance": None, "flags": ("empty",)})), scored("2")]
    assert match(file, [label("1"), label("2")]).n_empty == 1


def test_one_judge_labels_a_completion_once():
    completion = Completion(prompt="p", response="r")
    file = [scored("1", text=text_key(completion))]
    with pytest.raises(InputError, match="two labels of 'j' are of one completion"):
        match(file, [label("1"), label(None, prompt="p", response="r")])


def test_completions_that_are_alike_each_take_a_label():
    completion = Completion(prompt="p", response="r")
    file = [scored(str(at), text=text_key(completion)) for at in range(3)]
    labels = [label(None, prompt="p", response="r"), label(None, prompt="p", response="r"), label("0")]
    assert match(file, labels).rows == {0: labels[2], 1: labels[0], 2: labels[1]}
    with pytest.raises(InputError, match="two labels"):
        match(file, [*labels, labels[0]])
    file = [scored("0", text=text_key(completion)), scored("1", text=text_key(completion), subset="contrast")]
    assert match(file, labels[:1]).n_unmatched == 1


def test_labels_without_an_id_cannot_be_matched_to_verdicts_alone():
    text = match([scored("1")], [label(None, prompt="p", response="r")]).describe()
    assert "1 have no id: give the completions file instead of the results folder" in text


def test_a_judges_name_and_people_as_truth_exclude_each_other():
    labels = [label("1", judge="a"), label("1", judge="human")]
    with pytest.raises(InputError, match="not both"):
        choose_judge(labels, "human", "a")
    with pytest.raises(InputError, match="give --truth human"):
        choose_judge(labels, "judge", "human")


def test_the_target_is_what_most_labels_give():
    verdict, refusal = label("1"), Label(Completion(id="2"), None, "full_refusal", "j")
    assert choose_target([verdict, refusal]) == "verdict"
    assert choose_target([verdict, refusal, refusal]) == "refusal"


def test_a_verdict_without_the_labels_target_is_named():
    labels = {at: Label(Completion(id=str(at)), None, "full_refusal", "j") for at in range(2)}
    with pytest.raises(InputError, match="completion 0 gives no refusal"):
        assess([scored(str(at)) for at in range(3)], labels, "refusal")


def test_judges_are_not_mixed_and_people_are_not_a_judge():
    labels = [label("1", judge="a"), label("1", judge="b"), label("1", judge="human")]
    with pytest.raises(InputError, match=r"choose one with --judge-name \(found: a \(1\), b \(1\), human \(1\)\)"):
        choose_judge(labels, "judge", None)
    assert choose_judge(labels, "judge", "b")[1] == [labels[1]]
    assert choose_judge(labels, "human", None) == ("human", [labels[2]])
    assert choose_judge(labels[1:], "judge", None)[0] == "b"
    with pytest.raises(InputError, match="give --truth human"):
        choose_judge(labels[2:], "judge", None)
    with pytest.raises(InputError, match="no labels of the judge 'c'"):
        choose_judge(labels, "judge", "c")


def a_file(size=400, seed=0):
    random = np.random.default_rng(seed)
    p = random.beta(0.3, 0.3, size).clip(0.001, 0.999)
    file = [scored(str(at), float(value), category="ab"[at % 2], subcategory="s") for at, value in enumerate(p)]
    truth = np.where(random.uniform(size=size) < p, "noncompliance", "compliance")
    return file, truth


def test_an_assessment_has_every_group_and_its_figures_agree_with_each_other():
    file, truth = a_file()
    rows = np.random.default_rng(1).choice(400, 150, replace=False)
    result = assess(file, {int(row): label(str(row), str(truth[row])) for row in rows}, "verdict")
    keys = [group.key for group in result.groups]
    assert keys[:3] == [GroupKey(None, None, None), ("original", None, None), ("original", "a", None)]
    assert len(keys) == 6
    whole, subset, a, _, b, _ = result.groups
    assert (result.n, result.n_labels, whole.n, subset.n, a.n + b.n) == (400, 150, 400, 400, 400)
    assert sum(n for row in result.confusion.values() for n in row.values()) == 150
    right = sum(result.confusion[name][name] for name in result.confusion)
    assert whole.agreement.interval.estimate == pytest.approx(right / 150)
    assert "simple random sample" in result.notes[0]
    assert sum(one.n for one in result.reliability) == 150
    assert 0 < result.ece < 0.2
    assert whole.corrected.effective_n > 150


def test_two_labels_are_the_least():
    file, _ = a_file(20)
    with pytest.raises(InputError, match="1 labels with a verdict"):
        assess(file, {3: label("3")}, "verdict")


@pytest.mark.parametrize(
    ("rate", "n_labels", "expected"),
    [
        (0.40, 5, "do not use"),  # too few
        (0.40, 110, "do not use"),  # a correction that says no more than the labels do
        (0.41, 40, "trust"),
        (0.55, 40, "trust after correction"),
    ],
)
def test_advice_follows_the_documented_rules(rate, n_labels, expected):
    file, truth = a_file(2000, 3)
    scores = np.array([1 - one.verdict.p_noncompliance for one in file])
    counted = (truth == "compliance").astype(float)
    sample, _, _ = weigh([""] * 2000, np.arange(600), counted[:600], [None] * 600)
    estimate = corrected(scores, np.ones(2000, bool), sample, fit_correction(scores, sample))
    shift = estimate.interval.estimate - 0.40
    effective = 100 if n_labels == 110 else 400
    estimate = type(estimate)(estimate.interval, "", effective)
    assert advise(rate + shift, 2000, n_labels, estimate)[0] == expected


def test_a_wide_interval_does_not_make_a_rate_trusted():
    file, truth = a_file(400, 3)
    scores = np.array([1 - one.verdict.p_noncompliance for one in file])
    sample, _, _ = weigh([""] * 400, np.arange(20), (truth == "compliance")[:20], [None] * 20)
    estimate = corrected(scores, np.ones(400, bool), sample, fit_correction(scores, sample))
    assert advise(estimate.interval.estimate, 400, 20, estimate)[0] == "trust after correction"


@pytest.mark.parametrize(
    ("rate", "limits", "expected"),
    [
        (0.40, (0.41, 0.40, 0.50), "trust after correction"),  # the upper limit is ten points away
        (0.45, (0.45, 0.40, 0.50), "trust"),
        (0.1 + 0.2, (0.3, 0.3, 0.3), "trust"),  # equal, but for rounding
    ],
)
def test_a_rate_is_trusted_if_both_limits_are_close(rate, limits, expected):
    assert advise(rate, 2000, 200, Estimate(Interval(*limits), "", 400))[0] == expected


def pairs(n, right, prefix=""):
    """Return labels of n responses, of which the classifier gets some right."""
    verdict = scored("x", 0.1).verdict
    return [Pair(label(f"{prefix}{at}", "compliance" if at < right else "noncompliance"), verdict) for at in range(n)]


def test_a_judge_that_labels_the_same_responses_otherwise_moved():
    first = {at: label(str(at), "compliance") for at in range(40)}
    second = {at: label(str(at), "noncompliance" if at < 12 else "compliance") for at in range(40)}
    twice = compare(first, second, "verdict")
    assert (twice.n, twice.only_first, twice.only_second) == (40, 12, 0)
    found = drift(pairs(40, 40), pairs(40, 28), twice, "verdict")
    assert found.verdict.startswith("the judge moved")
    assert "fewer" in found.verdict


def test_responses_moved_if_the_judge_is_steady_and_agreement_is_not():
    same = {at: label(str(at)) for at in range(25)}
    found = drift(pairs(200, 190), pairs(200, 150), compare(same, same, "verdict"), "verdict")
    assert found.verdict.startswith("the responses moved")
    assert found.difference.ci_high < 0
    assert found.bias_after == pytest.approx(0.25)


def test_without_responses_labelled_twice_it_is_said_that_the_two_cannot_be_told_apart():
    found = drift(pairs(200, 190), pairs(200, 150), None, "verdict")
    assert found.verdict.startswith("the judge or the responses moved")
    assert "cannot tell" in found.verdict
    assert drift(pairs(200, 190), pairs(200, 185), None, "verdict").verdict.startswith("no sign")


def test_two_judges_that_differ_are_not_one_that_moved():
    first = {at: label(str(at), "compliance", "old") for at in range(40)}
    second = {at: label(str(at), "noncompliance") for at in range(40)}
    before = [Pair(one, scored("x").verdict) for one in first.values()]
    found = drift(before, pairs(40, 0), compare(first, second, "verdict"), "verdict")
    assert found.verdict.startswith("the earlier labels are of another judge (old)")
    assert "40 are compliance for the earlier judge alone" in found.verdict
    assert drift(before, pairs(40, 0), None, "verdict").verdict.endswith("cannot be told")


def test_drift_counts_only_labels_that_were_compared():
    unlabelled = Pair(Label(Completion(id="x"), None, "full_refusal", "j"), scored("x").verdict)
    found = drift([*pairs(30, 30), unlabelled], [*pairs(20, 20), unlabelled], None, "verdict", n_unmatched=5)
    assert (found.n_before, found.n_after, found.n_left_out) == (30, 20, 6)


def units_and_truth(size=900):
    random = np.random.default_rng(11)
    scores = random.beta(0.25, 0.35, size)
    units = [SampleUnit(at, "ab"[at % 2], float(1 - score)) for at, score in enumerate(scores)]
    return units, scores, (random.uniform(size=size) < scores).astype(float)


def test_the_planned_number_of_labels_gives_the_wanted_half_width():
    units, scores, truth = units_and_truth()
    everything = np.ones(len(units), bool)
    needs = plan(units, [everything], 0.04, 1.0)
    assert [need.strategy for need in needs] == ["uniform", "stratified", "uncertain"]
    for need in needs:
        assert sum(need.by_stratum.values()) == pytest.approx(need.n)
        assert need.half_widths[0] <= 0.04
        widths = []
        for seed in range(40):
            drawn = draw(units, need.n, need.strategy, seed)
            rows = np.array([one.index for one in drawn])
            told = [Sampled(need.strategy, one.stratum, one.inclusion_probability) for one in drawn]
            sample, _, _ = weigh([unit.stratum for unit in units], rows, truth[rows], told)
            interval = corrected(scores, everything, sample, fit_correction(scores, sample)).interval
            widths.append((interval.ci_high - interval.ci_low) / 2)
        assert np.mean(widths) == pytest.approx(0.04, rel=0.15)
    uniform, _, uncertain = needs
    assert uncertain.n < uniform.n < judge_only_need(len(units), scores.mean(), 0.04)


def test_more_precision_takes_more_labels_and_at_last_all_of_them():
    units, _, _ = units_and_truth(200)
    everything = np.ones(200, bool)
    numbers = [plan(units, [everything], width, 1.0)[0].n for width in (0.1, 0.05, 0.02, 0.001)]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 190
    assert judge_only_need(200, 0.3, 0.0001) == 200
