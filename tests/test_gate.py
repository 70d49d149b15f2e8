"""The gate: what is worse, when it fails, what it refuses to compare, and how the outcome is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf.comparison import Comparison, Gate
from refusal_clf.gate import Rules, check, check_alone
from refusal_clf.limits import Limit, read_limits
from refusal_clf.pairing import Item, Pair, pair
from refusal_clf.records import InputError, Verdict
from refusal_clf.report.ci import workflow_commands, write_junit
from refusal_clf.report.gate import gate_markdown, print_gate

SAFETY, UNSUPPORTED = "Requests with safety concerns", "Unsupported requests"


def item(
    number: int, *, complied: bool, subset: str | None = "original", suite: str = "coconot", **more: object
) -> Item:
    values = {
        "id": f"{subset}-{number}",
        "suite": suite,
        "subset": subset,
        "category": SAFETY if number % 2 else UNSUPPORTED,
        "subcategory": None,
        "model": "m",
        "verdict": "compliance" if complied else "noncompliance",
        "p_noncompliance": 0.1 if complied else 0.9,
        "refusal": "full_compliance" if complied else "full_refusal",
        "p_refusal": 0.1 if complied else 0.9,
        "tier": "full",
    }
    return Item(Verdict(**{**values, **more}))  # type: ignore[arg-type]


def empty(number: int, subset: str = "original") -> Item:
    return item(
        number, complied=False, subset=subset, verdict="neither", refusal=None, p_noncompliance=None, flags=("empty",)
    )


def pairs(same: int, ups: int, downs: int, subset: str = "original", suite: str = "coconot") -> list[Pair]:
    """Pairs of which `ups` comply only after and `downs` only before; half of the others comply in both."""
    outcomes = [(False, True)] * ups + [(True, False)] * downs + [(n % 4 < 2, n % 4 < 2) for n in range(same)]
    return [
        Pair(*(item(n, complied=complied, subset=subset, suite=suite) for complied in outcome))
        for n, outcome in enumerate(outcomes)
    ]


def subset_row(gate: Gate) -> Comparison:
    return next(row for row in gate.comparisons if row.is_subset)


# --- what is worse -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "subset", "up_is_worse"),
    [
        ("coconot", "original", True),
        ("coconot", "contrast", False),
        ("xstest", "unsafe", True),
        ("xstest", "safe", False),
    ],
)
def test_what_is_worse_depends_on_the_subset(suite: str, subset: str, up_is_worse: bool) -> None:
    rises, falls = pairs(160, 40, 2, subset, suite), pairs(160, 2, 40, subset, suite)
    assert check(rises, Rules()).passed is not up_is_worse
    assert check(falls, Rules()).passed is up_is_worse


def test_on_xstest_refusal_classes_decide_and_on_coconot_verdicts() -> None:
    corrected = {"verdict": "noncompliance", "refusal": "full_compliance"}
    assert item(0, complied=False, suite="xstest", subset="safe", **corrected).complied
    assert not item(0, complied=False, suite="coconot", subset="contrast", **corrected).complied


def test_rates_are_those_of_the_paired_items() -> None:
    row = subset_row(check(pairs(100, 10, 4), Rules()))
    assert (row.n_paired, row.rate_before, row.rate_after) == (114, 54 / 114, 60 / 114)
    assert row.difference == pytest.approx(6 / 114)
    assert row.ci_low < row.difference < row.ci_high


# --- when it fails -----------------------------------------------------------------------------------------------


def test_a_significant_change_within_what_is_tolerated_passes() -> None:
    found = pairs(960, 40, 10)
    assert not check(found, Rules(max_noncompliance_drop=0.02)).passed
    assert check(found, Rules(max_noncompliance_drop=0.04)).passed


def test_a_large_change_that_may_be_chance_passes_unless_strict() -> None:
    found = pairs(37, 3, 0)
    assert check(found, Rules()).passed
    assert not check(found, Rules(strict=True)).passed


def test_strict_passes_where_the_interval_excludes_more_than_is_tolerated() -> None:
    assert check(pairs(2000, 5, 5), Rules(strict=True)).passed


def test_a_category_fails_though_its_subset_passes() -> None:
    found = pairs(4000, 0, 0)
    worse = [Pair(item(n, complied=False), item(n, complied=True)) for n in range(10_001, 10_101, 2)]
    rules = Rules(max_noncompliance_drop=0.02)
    failed = [row for row in check([*found, *worse], rules).comparisons if row.failed]
    assert [(row.subset, row.category) for row in failed] == [("original", SAFETY)]


def test_empty_responses_are_in_no_rate_and_fail_the_gate_if_they_became_more() -> None:
    broken = [
        Pair(item(n, complied=n % 2 == 0), empty(n) if n % 5 == 0 else item(n, complied=n % 2 == 0)) for n in range(200)
    ]
    gate = check(broken, Rules())
    assert subset_row(gate).n_paired == 160
    assert [row.measure for row in gate.comparisons if row.failed] == ["empty"]
    assert "40 of 200 items are empty" in gate.notes[0]


def test_subsets_of_both_directions_are_also_tested_together() -> None:
    found = pairs(180, 14, 2, "original") + pairs(180, 2, 14, "contrast")
    gate = check(found, Rules(max_noncompliance_drop=0.05, max_overrefusal_rise=0.05))
    whole = gate.comparisons[0]
    assert (whole.measure, whole.failed) == ("undesired", True)
    assert whole.difference == pytest.approx(24 / 392)
    assert whole.tolerated == pytest.approx(0.05)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["original", "contrast"]))
def test_swapping_the_runs_turns_every_difference_around(seed: int, subset: str) -> None:
    random = np.random.default_rng(seed)
    found = pairs(*(int(n) for n in random.integers((40, 0, 0), (200, 40, 40))), subset=subset)
    there = check(found, Rules()).comparisons
    back = check([Pair(one.after, one.before) for one in found], Rules()).comparisons
    assert [row.difference for row in there] == [-row.difference for row in back]
    assert [row.p_value for row in there] == [row.p_value for row in back]
    assert not any(one.failed and other.failed for one, other in zip(there, back, strict=True))


def test_an_unchanged_model_rarely_fails() -> None:
    random = np.random.default_rng(3)
    failures = 0
    for _ in range(150):
        n = 120
        p = random.beta(0.5, 0.5, n)
        before, after = random.random(n) < p, random.random(n) < p
        found = [Pair(item(k, complied=before[k]), item(k, complied=after[k])) for k in range(n)]
        failures += not check(found, Rules(max_noncompliance_drop=0)).passed
    assert failures <= 10


# --- limits ------------------------------------------------------------------------------------------------------


def test_a_groups_own_limit_precedes_the_general_one() -> None:
    found, general = pairs(960, 40, 10), Rules(max_noncompliance_drop=0.1)
    assert check(found, general).passed
    for names in ({"subset": "original"}, {"category": SAFETY}, {"suite": "coconot"}):
        assert not check(found, replace(general, limits=(Limit(**names, max_worsening=0.01),))).passed


def test_a_limit_on_a_subsets_only_category_is_kept_too() -> None:
    found = [one for one in pairs(1000, 60, 0) if one.after.verdict.category == SAFETY]
    limit = Limit(category=SAFETY, max_worsening=0.01, max_compliance=0.9)
    gate = check(found, Rules(max_noncompliance_drop=0.1, limits=(limit,)))
    assert [row.name for row in gate.failures] == [f"coconot · original · {SAFETY}"]


def test_limits_are_on_the_rates_of_the_whole_run_where_runs_overlap() -> None:
    found = pairs(100, 0, 0)
    run = [*(one.after for one in found), *(item(n, complied=True) for n in range(1000, 1100))]
    rules = Rules(limits=(Limit(subset="original", max_compliance=0.6),))
    assert check(found, rules).passed
    [row] = check(found, rules, run).failures
    assert (row.rate, row.value) == (0.75, 0.6)


def test_a_limit_on_a_group_outside_the_overlap_is_held() -> None:
    found = pairs(100, 0, 0)
    run = [*(one.after for one in found), *(item(n, complied=True, subset="contrast") for n in range(50))]
    gate = check(found, Rules(limits=(Limit(subset="contrast", min_compliance=0.9),)), run)
    assert [row.subset for row in gate.limits] == ["contrast"]


def test_without_a_baseline_rates_are_held_against_limits() -> None:
    run = [one.after for one in pairs(100, 0, 0)]
    assert check_alone(run, Rules(limits=(Limit(max_compliance=0.5),))).passed
    failed = check_alone(run, Rules(limits=(Limit(max_compliance=0.49), Limit(min_compliance=0.1))))
    assert [row.failed for row in failed.limits] == [True, False]
    assert not check_alone(run, Rules(limits=(Limit(max_compliance=0.5),), strict=True)).passed


def test_limits_on_xstest_are_on_full_compliance() -> None:
    run = [item(n, complied=True, suite="xstest", subset="safe", verdict="noncompliance") for n in range(50)]
    [row] = check_alone(run, Rules(limits=(Limit(suite="xstest", min_compliance=0.95),))).limits
    assert (row.rate, row.failed) == (1.0, False)
    assert row.ci_low < 0.95 < row.ci_high == 1.0


def test_a_subcategory_brings_its_rubric_to_the_limits() -> None:
    facts = {"suite": "generic", "subset": None, "subcategory": "false presuppositions", "refusal": "full_compliance"}
    run = [item(n, complied=False, **facts) for n in range(50)]
    [row] = check_alone(run, Rules(limits=(Limit(suite="generic", min_compliance=0.5),))).limits
    assert (row.rate, row.failed) == (0.0, True)


def test_a_limit_on_nothing_but_empty_responses_is_refused() -> None:
    with pytest.raises(InputError, match="empty responses alone"):
        check_alone([empty(n) for n in range(9)], Rules(limits=(Limit(min_compliance=0.5),)))


def test_a_tolerated_worsening_where_nothing_is_desired_is_refused() -> None:
    found = pairs(60, 0, 0) + pairs(60, 20, 0, subset="chat", suite="generic")
    rules = Rules(limits=(Limit(suite="generic", max_worsening=0.0),))
    with pytest.raises(InputError, match="max_worsening of 'generic' cannot fail"):
        check(found, rules)
    assert not check(found, replace(rules, desired="noncompliance")).passed


def test_nothing_to_check_against_is_refused() -> None:
    with pytest.raises(InputError, match="no baseline, and no limit"):
        check_alone([item(0, complied=True)], Rules(limits=(Limit(max_worsening=0.1),)))


def test_a_limit_for_a_group_that_is_not_there_is_refused() -> None:
    found = pairs(100, 0, 0)
    for limit in (Limit(subset="contrast", max_worsening=0.1), Limit(category="Humor", max_compliance=0.1)):
        with pytest.raises(InputError, match="for no group of this run"):
            check(found, Rules(limits=(limit,)))


def test_a_limits_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text('[[limit]]\nsubset = "original"\nmax_compliance = 0.1\n[[limit]]\nmin_compliance = 1\n')
    assert read_limits(file) == (Limit(subset="original", max_compliance=0.1), Limit(min_compliance=1))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("oops", "not TOML"),
        ("", r"no \[\[limit\]\] tables"),
        ("alpha = 1\n[[limit]]\nmax_compliance = 1", r"no \[\[limit\]\] tables alone"),
        ("[[limit]]\nmax_complience = 0.1", r"\[\[limit\]\] 1: unknown field 'max_complience'"),
        ("[[limit]]\nmax_compliance = 10", "'max_compliance' is no fraction"),
        ("[[limit]]\nmax_compliance = true", "'max_compliance' is no fraction"),
        ("[[limit]]\nsubset = 3\nmax_compliance = 0.1", "'subset' is no text"),
        ('[[limit]]\nsubset = "safe"', "none of max_compliance"),
    ],
)
def test_an_unusable_limits_file_is_named_with_its_fault(text: str, pattern: str, tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=pattern):
        read_limits(file)


# --- what cannot be compared -------------------------------------------------------------------------------------


def test_items_are_paired_by_id_whatever_their_order() -> None:
    before, after = [item(n, complied=False) for n in range(9)], [item(n, complied=True) for n in reversed(range(9))]
    assert [(one.before.key, one.before.complied, one.after.complied) for one in pair(before, after)] == [
        (one.key, False, True) for one in after
    ]


def test_runs_over_other_items_are_refused_with_what_they_share() -> None:
    before, after = [item(n, complied=True) for n in range(9)], [item(n, complied=True) for n in range(4, 11)]
    with pytest.raises(InputError, match="5 in both, 4 only in the baseline, 2 only in the run; --intersect"):
        pair(before, after)
    assert len(pair(before, after, intersect=True)) == 5


def test_runs_that_share_nothing_are_refused_in_any_case() -> None:
    with pytest.raises(InputError, match="0 in both"):
        pair([item(1, complied=True)], [item(2, complied=True)], intersect=True)


def test_an_id_with_another_prompt_is_refused() -> None:
    one = item(1, complied=True)
    assert pair([replace(one, prompt="a  b")], [replace(one, prompt="a b ")])
    with pytest.raises(InputError, match="one prompt in the baseline and another in the run"):
        pair([replace(one, prompt="a")], [replace(one, prompt="b")])


def test_an_item_without_an_id_or_twice_is_refused() -> None:
    one, other = item(1, complied=True), item(1, complied=True, model="other")
    with pytest.raises(InputError, match="no id"):
        pair([item(1, complied=True, id=None)], [one])
    with pytest.raises(InputError, match=r"twice in the run \(models m, other"):
        pair([one], [one, other])


def test_too_few_items_are_refused_with_what_they_could_show() -> None:
    with pytest.raises(InputError, match=r"too few items .*original: 20, not 30 .* is \d\d points"):
        check(pairs(20, 0, 0), Rules())
    assert check(pairs(20, 0, 0), Rules(min_pairs=20)).passed


def test_a_baseline_of_empty_responses_is_refused_and_a_run_of_them_fails() -> None:
    numbers = range(60)
    answered = [item(n, complied=False) for n in numbers]
    with pytest.raises(InputError, match="original: 0, not 30"):
        check([Pair(empty(n), empty(n)) for n in numbers], Rules())
    with pytest.raises(InputError, match="original: 29, not 30"):
        check([Pair(answered[n] if n < 29 else empty(n), answered[n]) for n in numbers], Rules())
    for limits in ((), (Limit(max_compliance=0.5),)):
        gate = check([Pair(answered[n], empty(n)) for n in numbers], Rules(limits=limits))
        assert [row.measure for row in gate.failures] == ["empty"]


def test_runs_that_answer_different_items_are_not_called_alike() -> None:
    crossed = [
        Pair(item(n, complied=False), empty(n)) if n < 30 else Pair(empty(n), item(n, complied=True)) for n in range(60)
    ]
    with pytest.raises(InputError, match="original: no item is answered in both runs"):
        check(crossed, Rules())


def test_items_of_which_nothing_is_desired_cannot_be_checked_until_it_is_said() -> None:
    found = pairs(60, 20, 0, subset="chat", suite="generic")
    with pytest.raises(InputError, match=r"nothing can fail.*--desired"):
        check(found, Rules())
    assert check(found, Rules(desired="compliance")).passed
    assert not check(found, Rules(desired="noncompliance")).passed


# --- flipped items, and how it is shown --------------------------------------------------------------------------


def test_flipped_items_are_listed_worse_ones_first() -> None:
    gate = check(pairs(100, 3, 2), Rules())
    assert [flip.worse for flip in gate.flipped] == [True, True, True, False, False]
    assert (gate.flipped[0].before, gate.flipped[0].after) == ("noncompliance", "compliance")


@pytest.fixture
def failed() -> Gate:
    nasty = "</failure>\x00\x1b[31m| ::error::\nx, 100% ##[error]x ##vso[task.complete] #\x00#[group] @everyone"
    found = pairs(160, 40, 2)
    return check([replace(one, after=replace(one.after, prompt=nasty, response=nasty)) for one in found], Rules())


def test_the_document_is_json_with_the_documented_fields(failed: Gate) -> None:
    document = json.loads(json.dumps(failed.to_dict(), allow_nan=False))
    assert document["passed"] is False
    documented = {"subset", "category", "n_paired", "rate_before", "rate_after", "difference", "ci_low", "ci_high"}
    assert all(documented | {"p_value", "failed"} <= set(group) for group in document["groups"])
    assert len(document["flipped"]) == 42


def test_junit_holds_a_case_for_each_row_whatever_responses_contain(failed: Gate, tmp_path: Path) -> None:
    write_junit(tmp_path / "junit.xml", failed)
    root = ET.parse(tmp_path / "junit.xml").getroot()
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == [row.name for row in failed.comparisons]
    assert int(root.get("failures")) == len(root.findall(".//failure")) == sum(row.failed for row in failed.comparisons)
    assert "worse: original-0" in root.find(".//failure").text


def test_workflow_commands_are_one_line_for_each_failure(failed: Gate) -> None:
    lines = list(workflow_commands(failed))
    errors = [line for line in lines if line.startswith("::error title=refusal-clf check%3A ")]
    assert len(errors) == len(failed.failures)
    assert not any("\n" in line for line in lines)
    assert "%25" in errors[0]


def test_the_tables_name_what_failed_and_cannot_be_broken_by_responses(failed: Gate) -> None:
    stream = io.StringIO()
    print_gate(failed, stream)
    markdown = gate_markdown(failed)
    for text in (stream.getvalue(), markdown):
        assert "FAILED: coconot · original" in text
        assert "worse: original" in text
        assert "\x1b" not in text
        assert "##[" not in text
        assert "##vso[" not in text
    assert "@everyone" not in markdown
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {9}


def test_the_outcome_names_groups_without_their_control_characters() -> None:
    found = [
        Pair(
            *(replace(side, verdict=replace(side.verdict, suite="a\x1b[2J\u202eb")) for side in (one.before, one.after))
        )
        for one in pairs(160, 40, 2)
    ]
    stream = io.StringIO()
    print_gate(check(found, Rules(desired="noncompliance")), stream)
    assert "FAILED: a b · original" in stream.getvalue()
    assert not {"\x1b", "\u202e"} & set(stream.getvalue())


def test_a_gate_that_passed_says_so() -> None:
    assert gate_markdown(check(pairs(100, 2, 2), Rules())).startswith("### passed (104 items compared)")
