"""Whether a judge, or the models that it judges, moved since earlier labels were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from refusal_clf.calibration.agreement import Interval, Labels, agreement, kappa
from refusal_clf.calibration.assessment import COUNTED, Target, label_index
from refusal_clf.calibration.design import Sample
from refusal_clf.calibration.prevalence import Estimate, judge_only
from refusal_clf.paired import mcnemar_midp
from refusal_clf.records import InputError, Label, Sampled, Verdict
from refusal_clf.statistics import difference_interval

SIGNIFICANT: Final = 0.05
ENOUGH_TWICE: Final = 20
"""Responses labelled twice below which the absence of a difference says nothing."""

_NO_FILE: Final = 1e-6  # an inclusion probability so small that no file is finite against it


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two raters' labels of the same responses.

    `only_first` and `only_second` count responses that only the one calls compliance, and `p_value` is McNemar's mid-p
    test of whether they differ.
    """

    n: int
    agreement: float
    kappa: float
    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Drift:
    """What earlier and later labels of a judge say.

    Attributes
    ----------
    n_before, n_after
        Labels that were compared with the classifier.
    n_left_out
        Earlier labels that could not be.
    before, after
        The classifier's agreement with the earlier and the later labels, as if drawn from endlessly many responses.
    difference
        Later less earlier agreement, with Newcombe's 95 % interval.
    bias_before, bias_after
        The classifier's compliance rate less the judge's among the labelled, in [-1, 1].
    twice
        The responses that were labelled both times, None if there are none.
    verdict
        What follows, in a sentence.
    """

    n_before: int
    n_after: int
    n_left_out: int
    before: Estimate
    after: Estimate
    difference: Interval
    bias_before: float
    bias_after: float
    twice: Comparison | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A label and what the classifier says of the same completion."""

    label: Label
    verdict: Verdict


def compare(first: Mapping[int, Label], second: Mapping[int, Label], target: Target) -> Comparison | None:
    """Compare two raters on the completions that both labelled, None if there are none.

    Parameters
    ----------
    first, second
        Place of the completion -> label (`matching.match`).
    target
        Which labels.
    """
    pairs = [
        (label_index(first[place], target), label_index(second[place], target)) for place in first if place in second
    ]
    known = [pair for pair in pairs if None not in pair]
    if not known:
        return None
    a, b = np.array(known, np.int64).T
    yes_a, yes_b = a == COUNTED[target], b == COUNTED[target]
    only_a, only_b = int((yes_a & ~yes_b).sum()), int((yes_b & ~yes_a).sum())
    return Comparison(len(known), agreement(a, b), kappa(a, b), only_a, only_b, mcnemar_midp(only_a, only_b))


def drift(
    before: Sequence[Pair], after: Sequence[Pair], twice: Comparison | None, target: Target, *, n_unmatched: int = 0
) -> Drift:
    """Say whether the judge, or the responses, moved.

    The classifier does not change, so that it is the yardstick: if its agreement with the judge is another one, then
    either the judge's labels or the responses are of another kind. Only responses that were labelled both times tell
    which; on those, McNemar's test is of the judge alone.

    Parameters
    ----------
    before, after
        Earlier and later labels with the classifier's answers.
    twice
        Comparison of both on the same responses, earlier labels first.
    target
        Which labels.
    n_unmatched
        Earlier labels whose completion is not at hand.

    Raises
    ------
    InputError
        If there are fewer than two labels on either side.
    """
    n_before, earlier, bias_before = _agreement(before, target, "earlier")
    n_after, later, bias_after = _agreement(after, target, "later")
    limits = [(estimate.interval.ci_low, estimate.interval.ci_high) for estimate in (earlier, later)]
    first, second = earlier.interval.estimate, later.interval.estimate
    low, high = difference_interval(first, limits[0], second, limits[1])
    difference = Interval(second - first, low, high)
    others = {pair.label.judge for pair in before} - {pair.label.judge for pair in after}
    verdict = _compare_judges(twice, min(others)) if others else _conclude(difference, twice)
    left_out = n_unmatched + len(before) - n_before
    return Drift(n_before, n_after, left_out, earlier, later, difference, bias_before, bias_after, twice, verdict)


def _agreement(pairs: Sequence[Pair], target: Target, which: str) -> tuple[int, Estimate, float]:
    known = [pair for pair in pairs if label_index(pair.label, target) is not None]
    given = _indices([pair.label for pair in known], target)
    said = _indices([pair.verdict for pair in known], target)
    inclusion = np.array([_chance(pair.label.sampled) for pair in known])
    one = np.zeros(len(known), np.int64)
    sample = Sample(np.arange(len(known)), (given == said).astype(np.float64), inclusion * _NO_FILE, one)
    estimate = judge_only(round(1 / _NO_FILE), sample, np.ones(len(known), bool))
    if estimate is None:
        raise InputError(f"{len(known)} of the {which} labels can be compared with the classifier: two are needed")
    counted = COUNTED[target]
    bias = np.average((said == counted) * 1.0 - (given == counted), weights=sample.weight)
    return len(known), estimate, float(bias)


def _indices(rows: Sequence[Label] | Sequence[Verdict], target: Target) -> Labels:
    return np.array([label_index(row, target) for row in rows], np.int64)


def _chance(sampled: Sampled | None) -> float:
    return 1.0 if sampled is None else sampled.inclusion_probability


def _conclude(difference: Interval, twice: Comparison | None) -> str:
    changed = not difference.ci_low <= 0 <= difference.ci_high
    way = "agrees less" if difference.estimate < 0 else "agrees more"
    if twice is not None and twice.p_value < SIGNIFICANT:
        more = "more" if twice.only_second > twice.only_first else "fewer"
        return (
            f"the judge moved: of {twice.n} responses that it labelled twice it now calls {more} compliance "
            f"({twice.only_first} went, {twice.only_second} came, p = {twice.p_value:.2g})"
            + (", and whether the responses moved too cannot be told" if changed else "")
        )
    steady = twice is not None and twice.n >= ENOUGH_TWICE
    if not changed:
        if twice is None:
            return "no sign that the judge or the responses moved; shifts of both that cancel out cannot be seen"
        return f"no sign that the judge or the responses moved ({twice.n} responses were labelled twice)"
    if steady and twice is not None:
        return (
            f"the responses moved (another model family, or other prompts): the classifier {way} with the later "
            f"labels, and the judge gave {twice.n} responses much the same labels twice"
        )
    return (
        f"the judge or the responses moved: the classifier {way} with the later labels. Which of the two, these labels "
        f"cannot tell: have {ENOUGH_TWICE} or more of the earlier responses labelled again"
    )


def _compare_judges(twice: Comparison | None, earlier: str) -> str:
    verdict = f"the earlier labels are of another judge ({earlier}): whether something moved cannot be told"
    if twice is None:
        return verdict
    return (
        f"{verdict}. Of {twice.n} responses that both labelled, {twice.only_first} are compliance for the earlier "
        f"judge alone and {twice.only_second} for the later one alone (p = {twice.p_value:.2g})"
    )
