"""What holds of every number, whatever the verdicts and labels: ranges, intervals, sums, and a run against itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf import rubrics
from refusal_clf.calibration.assessment import NAMES, assess
from refusal_clf.calibration.difference import Side, corrected_change, fit_change
from refusal_clf.calibration.document import calibration_document
from refusal_clf.calibration.judged_pairs import judge_pairs
from refusal_clf.calibration.matching import Scored
from refusal_clf.comparison import Gate
from refusal_clf.gate import Rules, check
from refusal_clf.paired import holm, mcnemar_midp, paired_difference_interval
from refusal_clf.pairing import Item, pair
from refusal_clf.records import FLAGS, REFUSAL_CLASSES, VERDICTS, Completion, InputError, Label, Verdict
from refusal_clf.rubrics import canonical_group
from refusal_clf.scoring import GroupCounter, coconot_rows, summarise
from refusal_clf.side_by_side import side_by_side
from refusal_clf.summary import Group
from refusal_clf.writing import write_coconot_tsv

_PLACES = [("coconot", "original"), ("coconot", "contrast"), ("xstest", "safe"), ("xstest", "unsafe"), ("mine", None)]
_SUBCATEGORIES = [*list(rubrics.SUBCATEGORIES)[:4], "of my own", None]
_JUDGED = {name for name in rubrics.SUBCATEGORIES if name != rubrics.GENERIC}
_ROUNDING = 1e-9
_DIGITS = 1e-5
"""To which documents round."""


@st.composite
def verdicts(draw: st.DrawFn, least: int = 0) -> list[Verdict]:
    """Draw the verdicts of a run: of several suites, models and categories, some of empty responses."""
    made = []
    for number in range(draw(st.integers(least, 40))):
        suite, subset = draw(st.sampled_from(_PLACES))
        empty = draw(st.integers(0, 5)) == 0
        p, q = draw(st.floats(0, 1)), draw(st.floats(0, 1))
        made.append(
            Verdict(
                id=str(number),
                suite=suite,
                subset=subset,
                category=draw(st.sampled_from(["a category", None])),
                subcategory=draw(st.sampled_from(_SUBCATEGORIES)),
                model=draw(st.sampled_from(["m", None])),
                verdict="neither" if empty else draw(st.sampled_from(VERDICTS)),
                p_noncompliance=None if empty else p,
                refusal=None if empty else draw(st.sampled_from(REFUSAL_CLASSES)),
                p_refusal=None if empty else q,
                tier="rule" if empty else "full",
                flags=("empty",) if empty else tuple(draw(st.lists(st.sampled_from(list(FLAGS)[1:]), max_size=2))),
            )
        )
    return made


def counted(made: Iterable[Verdict]) -> GroupCounter:
    counter = GroupCounter()
    for verdict in made:
        counter.add(verdict)
    return counter


def assert_rates_are_rates(group: Group) -> None:
    rates = [group.compliance_rate, group.noncompliance_rate, group.neither_rate]
    classes = [group.full_compliance, group.partial_refusal, group.full_refusal]
    if group.n == 0:
        assert {*rates, *classes, group.ci_low, group.ci_high} == {None}
        return
    assert sum(rates) == pytest.approx(1)
    assert sum(classes) == pytest.approx(1)
    assert all(0 <= rate <= 1 for rate in (*rates, *classes))
    assert 0 <= group.ci_low <= group.compliance_rate <= group.ci_high <= 1
    assert 0 <= group.refusal_ci_low <= group.refusal_rate <= group.refusal_ci_high <= 1


@given(verdicts())
@settings(deadline=None)
def test_rates_lie_in_their_intervals_and_parts_add_up_to_their_totals(made: list[Verdict]) -> None:
    report = counted(made).report()
    answered = [verdict for verdict in made if "empty" not in verdict.flags]
    assert (report.n, report.n_empty) == (len(answered), len(made) - len(answered))
    groups = {(group.suite, group.subset, group.category, group.subcategory): group for group in report.groups}
    placed = Counter[tuple[Any, ...]]()
    for verdict in answered:
        category, subcategory = rubrics.canonical_group(verdict.category, verdict.subcategory)
        placed[verdict.suite, verdict.subset, category is None, subcategory is None] += 1
    for key, group in groups.items():
        assert_rates_are_rates(group)
        if key[2:] == (None, None):
            parts = [one for other, one in groups.items() if other[:2] == key[:2] and other[2] and other[3] is None]
            unplaced = sum(n for place, n in placed.items() if place[:2] == key[:2] and place[2])
            assert group.n == sum(part.n for part in parts) + unplaced
        assert round((group.compliance_rate or 0.0) * group.n, 6) % 1 == 0
    for attribute in ("n", "n_empty", "n_uncertain"):
        parts = report.by_model or (report,)
        assert sum(getattr(part, attribute) for part in parts) == getattr(report, attribute)


@given(verdicts(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_rows_changes_no_rate(made: list[Verdict], random: Any) -> None:
    shuffled = random.sample(made, len(made))
    assert summarise(shuffled) == summarise(made)
    assert counted(shuffled).report().to_dict() == counted(made).report().to_dict()
    assert sorted(coconot_rows(counted(shuffled))) == sorted(coconot_rows(counted(made)))


@given(verdicts())
@settings(deadline=None)
def test_coconots_table_holds_every_row_with_a_subcategory_once(made: list[Verdict]) -> None:
    of_coconot = [verdict for verdict in made if verdict.suite == "coconot" and verdict.subcategory is not None]
    rows = coconot_rows(counted(made))
    sizes = Counter((verdict.subset, verdict.subcategory) for verdict in of_coconot)
    assert len(rows) == len(sizes)
    several = len({subset for subset, _ in sizes}) > 1
    for (subset, subcategory), n in sizes.items():
        [row] = [row for row in rows if row.name == ("contrast: " * (several and subset == "contrast") + subcategory)]
        own = [one for one in of_coconot if (one.subset, one.subcategory) == (subset, subcategory)]
        wrong = "compliance" if subset == "original" else "noncompliance"
        assert row.full_compliance == pytest.approx(100 * sum(one.verdict == wrong for one in own) / n, abs=1e-3)
        assert row.partial_refusal == pytest.approx(100 * sum(one.verdict == "neither" for one in own) / n, abs=1e-3)
        assert sum(row[1:4]) == pytest.approx(100, abs=1e-3)
        assert row.average_score == pytest.approx((2 * row.full_compliance + row.partial_refusal) / 100, abs=1e-4)


def test_coconots_table_is_read_back_as_it_was_counted(tmp_path: Path) -> None:
    rows = coconot_rows(counted([verdict for verdict in _examples() if verdict.suite == "coconot"]))
    write_coconot_tsv(tmp_path / "a.tsv", rows)
    lines = (tmp_path / "a.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert [(name, *map(float, values)) for name, *values in (line.split("\t") for line in lines)] == rows


def _examples() -> list[Verdict]:
    return [
        Verdict(str(n), "coconot", "original", None, sub, None, verdict, 0.5, "full_compliance", 0.2, "full")
        for n, (sub, verdict) in enumerate(zip([*rubrics.SUBCATEGORIES] * 3, [*VERDICTS] * 18, strict=False))
    ]


def passed_or_empty(before: list[Item], after: list[Item], judged: Any = None) -> Gate | None:
    """Check runs; None where there is nothing to compare, or nothing that could fail."""
    try:
        return check(pair(before, after), Rules(min_pairs=1, desired="compliance"), after, judged)
    except InputError as error:
        if "nothing to compare" in error.message or "too few items" in error.message:
            return None
        raise


@given(verdicts(least=1), verdicts(least=1))
@settings(deadline=None)
def test_figures_of_a_check_are_in_range_and_categories_add_up(before: list[Verdict], after: list[Verdict]) -> None:
    # The same items with other answers: answers are taken from `after`, what an item is from `before`.
    names = ("verdict", "p_noncompliance", "refusal", "p_refusal", "tier", "flags")
    pairs = [
        (one, _with(one, {name: getattr(two, name) for name in names})) for one, two in zip(before, after, strict=False)
    ]
    gate = passed_or_empty([Item(one) for one, _ in pairs], [Item(two) for _, two in pairs])
    if gate is None:
        return
    family = [row for row in gate.comparisons if row.p_adjusted is not None]
    for row in gate.comparisons:
        assert 0 <= row.rate_before <= 1
        assert 0 <= row.rate_after <= 1
        assert row.difference == pytest.approx(row.rate_after - row.rate_before)
        assert -1 <= row.ci_low <= row.difference <= row.ci_high <= 1
        assert 0 <= row.p_value <= 1
        assert 0 < row.detectable <= 1
    assert all(row.p_value <= row.p_adjusted <= 1 for row in family)
    answered = sum("empty" not in one.flags and "empty" not in two.flags for one, two in pairs)
    assert sum(row.n_paired for row in gate.comparisons if row.is_subset) == answered
    for total in (row for row in gate.comparisons if row.is_subset):
        parts = [row for row in gate.comparisons if row.category and row.suite == total.suite]
        parts = [row for row in parts if row.subset == total.subset]
        assert sum(row.n_paired for row in parts) <= total.n_paired
    moved = [one for one in gate.flipped if one.worse]
    assert len(moved) == sum(_undesired(one) < _undesired(two) for one, two in pairs if not _empty(one, two))


def _with(verdict: Verdict, values: dict[str, Any]) -> Verdict:
    return Verdict(**{**verdict.to_dict(), "flags": verdict.flags, **values})


def _empty(*pair: Verdict) -> bool:
    return any("empty" in verdict.flags for verdict in pair)


def _undesired(verdict: Verdict) -> bool:
    by_verdict = verdict.suite == "coconot" or verdict.subcategory in _JUDGED
    complied = verdict.verdict == "compliance" if by_verdict else verdict.refusal == "full_compliance"
    return complied == (verdict.subset in ("original", "unsafe"))


@given(verdicts(least=1), st.booleans())
@settings(deadline=None)
def test_a_run_checked_against_itself_never_fails(made: list[Verdict], labelled: bool) -> None:
    items = [Item(verdict, f"p{verdict.id}", f"r{verdict.id}") for verdict in made]
    judged = None
    if labelled:
        told = [
            Label(Completion(id=item.verdict.id), item.verdict.verdict, item.verdict.refusal, "judge")
            for item in items
            if not item.empty
        ]
        try:
            judged = judge_pairs(pair(items, items), items, items, told, told)
        except InputError:
            return
    gate = passed_or_empty(items, items, judged)
    if gate is not None:
        assert gate.passed
        assert gate.flipped == ()
        assert all(row.difference == pytest.approx(0, abs=_ROUNDING) for row in gate.comparisons)
        assert all(row.p_value == pytest.approx(1) for row in gate.comparisons)


@given(verdicts(least=1))
@settings(deadline=None)
def test_a_run_beside_itself_is_no_different(made: list[Verdict]) -> None:
    items = [Item(verdict) for verdict in made]
    for cell in chain.from_iterable(line.cells for line in side_by_side({"a": items, "b": items}).lines):
        if cell.rate is not None:
            assert 0 <= cell.ci_low <= cell.rate <= cell.ci_high <= 1
        if cell.n_paired:
            assert (cell.difference, cell.p_value, cell.p_adjusted) == (0, 1, 1)
            assert cell.difference_low <= 0 <= cell.difference_high
            assert cell.n_paired == cell.n


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_a_paired_test_gives_a_probability_and_an_interval_around_what_was_seen(
    ups: int, downs: int, same: int
) -> None:
    n = max(1, ups + downs + same)
    assert 0 <= mcnemar_midp(ups, downs) <= 1
    assert mcnemar_midp(ups, downs) == mcnemar_midp(downs, ups)
    low, high = paired_difference_interval(ups, downs, n)
    assert -1 <= low <= (ups - downs) / n <= high <= 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 100)), max_size=20))
def test_adjusted_p_values_are_probabilities_no_smaller_than_the_raw_ones(tests: list[tuple[float, float]]) -> None:
    p_values, weights = [p for p, _ in tests], [weight for _, weight in tests]
    for raw, adjusted in zip(p_values, holm(p_values, weights), strict=True):
        assert raw - _ROUNDING <= adjusted <= 1


@st.composite
def sides(draw: st.DrawFn) -> tuple[Side, Side]:
    """Draw scores and labels of the same pairs in two runs, each run with two labels at least."""
    n = draw(st.integers(4, 30))
    made = []
    for _ in range(2):
        scores = np.array(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
        labelled = draw(st.sets(st.integers(0, n - 1), min_size=2))
        weight = np.array([float(place in labelled) for place in range(n)]) * n / len(labelled)
        truth = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), float) * (weight > 0)
        made.append(Side(scores, truth, weight))
    return made[0], made[1]


@given(sides())
@settings(deadline=None)
def test_a_corrected_change_is_one_that_two_rates_can_make(pair: tuple[Side, Side]) -> None:
    fit = fit_change(*pair)
    assert 0 <= fit.power <= 1
    assert fit.inflation > 0
    change = corrected_change(*pair, fit)
    assert 0 <= change.rate_before <= 1
    assert 0 <= change.rate_after <= 1
    assert -1 <= change.ci_low <= change.difference <= change.ci_high <= 1
    assert 0 <= change.p_value <= 1


@given(verdicts(least=2), st.data())
@settings(deadline=None)
def test_a_calibration_adds_up_and_a_file_labelled_as_a_whole_has_the_labels_rates(
    made: list[Verdict], data: st.DataObject
) -> None:
    target = data.draw(st.sampled_from(["verdict", "refusal"]))
    whole = data.draw(st.booleans())
    used = [place for place, verdict in enumerate(made) if "empty" not in verdict.flags]
    drawn = used if whole else sorted(data.draw(st.sets(st.sampled_from(used)))) if used else []
    if len(drawn) < 2:
        return
    told = {place: data.draw(st.sampled_from(NAMES[target])) for place in drawn}
    labels = {
        place: Label(Completion(), name if target == "verdict" else None, name if target == "refusal" else None, "j")
        for place, name in told.items()
    }
    found = assess([Scored(verdict) for verdict in made], labels, target)
    document = calibration_document(found, judge="j", classifier={}, matched="", human=None, drift=None)
    assert (document["n"], document["n_labels"]) == (len(used), len(told))
    assert sum(sum(row.values()) for row in document["confusion"].values()) == len(told)
    assert sum(row["n"] for row in document["reliability"]) == len(told)
    assert 0 <= document["ece"] <= 1
    assert 0 <= document["brier"] <= 1
    assert_parts_add_up(document["groups"])
    positive = NAMES[target][{"verdict": VERDICTS, "refusal": REFUSAL_CLASSES}[target].index(_COUNTED[target])]
    for group in document["groups"]:
        assert_estimates_are_in_range(group)
        if whole and group["n"] > 1:
            names = (group["subset"], group["category"], group["subcategory"])
            own = [name for place, name in told.items() if _holds(names, made[place])]
            rate = sum(name == positive for name in own) / len(own)
            for kind in ("corrected", "judge_only"):
                for figure in ("estimate", "ci_low", "ci_high"):
                    assert group[kind][figure] == pytest.approx(rate, abs=_DIGITS)


_COUNTED = {"verdict": "compliance", "refusal": "full_compliance"}


def _holds(names: tuple[str | None, ...], verdict: Verdict) -> bool:
    own = (verdict.subset, *canonical_group(verdict.category, verdict.subcategory))
    depth = max((at for at, name in enumerate(names, 1) if name is not None), default=0)
    return own[:depth] == names[:depth]


def assert_estimates_are_in_range(group: dict[str, Any]) -> None:
    assert 0 <= group["classifier_rate"] <= 1
    assert group["kappa"] is None or -1 <= group["kappa"] <= 1 + _ROUNDING
    for name in ("judge_only", "corrected", "rogan_gladen", "agreement"):
        if (estimate := group[name]) is not None:
            assert 0 <= estimate["ci_low"] <= estimate["estimate"] <= estimate["ci_high"] <= 1


def assert_parts_add_up(groups: list[dict[str, Any]]) -> None:
    """Every subset's group holds its parts; those without a name at the next level are in the total alone."""
    whole = groups[0]
    for name in ("n", "n_labels"):
        subsets = [group for group in groups if group["subset"] and not group["category"] and not group["subcategory"]]
        assert sum(group[name] for group in subsets) <= whole[name]
        for subset in subsets:
            parts = [one for one in groups if one["subset"] == subset["subset"] and one["category"]]
            parts = [one for one in parts if not one["subcategory"]]
            assert sum(part[name] for part in parts) <= subset[name]
