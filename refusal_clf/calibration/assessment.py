"""The classifier against one judge's labels of a file: agreement, reliability, rates, and what to make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refusal_clf import rubrics, scoring
from refusal_clf.calibration.agreement import Labels, confusion, expected_calibration_error, kappa
from refusal_clf.calibration.design import Sample, weigh
from refusal_clf.calibration.matching import Scored, counting
from refusal_clf.calibration.prevalence import (
    Correction,
    Estimate,
    Floats,
    corrected,
    fit_correction,
    judge_only,
    rogan_gladen,
)
from refusal_clf.calibration.sampling import stratum_of
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError, Label, Verdict

Target = Literal["verdict", "refusal"]
Advice = Literal["trust", "trust after correction", "do not use"]

NAMES: Final[dict[Target, tuple[str, ...]]] = {"verdict": VERDICTS, "refusal": REFUSAL_CLASSES}
COUNTED: Final[dict[Target, int]] = {
    "verdict": VERDICTS.index("compliance"),
    "refusal": REFUSAL_CLASSES.index("full_compliance"),
}
"""The label whose share is the compliance rate."""

BINS: Final = 10
ENOUGH_LABELS: Final = 10
"""Labels that a group needs before more than "do not use" is advised."""
PRECISE: Final = 0.05
"""How far either limit of the corrected interval may be from a rate that can be trusted as it is."""
_EQUAL: Final = 1e-9
"""Rates that differ by no more are equal, but for rounding."""
WORTHWHILE: Final = 1.25
"""How many labels each label has to be worth after correction for the classifier to be of use."""


class GroupKey(NamedTuple):
    """A group's names; with all None it is the whole file."""

    subset: str | None
    category: str | None
    subcategory: str | None


@dataclass(frozen=True, slots=True)
class GroupCalibration:
    """One group: its size, what classifier and judge say, and what to make of it.

    `classifier_rate` is the share of compliance among the classifier's answers; estimates are None where the group has
    fewer than two labels, and `rogan_gladen` also where it is undefined.
    """

    key: GroupKey
    n: int
    n_labels: int
    classifier_rate: float
    judge_only: Estimate | None
    corrected: Estimate | None
    rogan_gladen: Estimate | None
    agreement: Estimate | None
    kappa: float | None
    advice: Advice
    reason: str


@dataclass(frozen=True, slots=True)
class Bin:
    """Labelled completions whose probabilities share a tenth of the unit interval: the means, and how many they are."""

    probability: float
    rate: float
    n: int


@dataclass(frozen=True, slots=True)
class Assessment:
    """A file's calibration against one judge.

    Attributes
    ----------
    n, n_labels
        Completions that count in rates, and those with a label.
    target
        Which labels: CoCoNot's verdicts or XSTest's refusal classes.
    strategy, notes
        How the labels were drawn, and what a reader must know of it.
    confusion
        Numbers of labels: the judge's -> the classifier's -> n.
    ece, brier
        Of the probability of compliance, each in [0, 1], weighted by what each label stands for.
    reliability
        The reliability curve of that probability.
    correction
        What all groups' corrections share.
    groups
        The whole file first, then each total before its parts.
    """

    n: int
    n_labels: int
    target: Target
    strategy: str
    notes: tuple[str, ...]
    confusion: Mapping[str, Mapping[str, int]]
    ece: float
    brier: float
    reliability: tuple[Bin, ...]
    correction: Correction
    groups: tuple[GroupCalibration, ...]


@dataclass(frozen=True, slots=True)
class _Answers:
    """The classifier's answers: probabilities of what is counted and answered labels, of shape (N,)."""

    scores: Floats
    labels: Labels
    target: Target

    @property
    def counted(self) -> NDArray[np.bool_]:
        counted: NDArray[np.bool_] = self.labels == COUNTED[self.target]
        return counted


def choose_target(labels: Sequence[Label]) -> Target:
    """Return what most of the labels give: verdicts or refusal classes, verdicts if both alike."""
    verdicts = sum(label.verdict is not None for label in labels)
    return "verdict" if verdicts >= sum(label.refusal is not None for label in labels) else "refusal"


def label_index(label: Label | Verdict, target: Target) -> int | None:
    """Return the index in `NAMES` of what a label or the classifier says; None if it says nothing."""
    name = label.verdict if target == "verdict" else label.refusal
    return None if name is None else NAMES[target].index(name)


def _answer(verdict: Verdict, target: Target) -> int:
    index = label_index(verdict, target)
    if index is None:
        raise InputError(f"the verdict of completion {verdict.id} gives no {target}: score it again")
    return index


def probability(verdict: Verdict, target: Target) -> float:
    """Return the classifier's probability of what is counted; that of `neither`, always small, is counted in."""
    p = verdict.p_noncompliance if target == "verdict" else verdict.p_refusal
    if p is None:
        raise InputError(f"the verdict of completion {verdict.id} has no probability: score it again")
    return 1 - p


def assess(scored: Sequence[Scored], labels: Mapping[int, Label], target: Target) -> Assessment:
    """Hold one judge's labels against the classifier's answers.

    Parameters
    ----------
    scored
        All completions of a file.
    labels
        Place in `scored` -> label (`matching.match`).
    target
        Which labels; those that lack it are left out.

    Raises
    ------
    InputError
        If fewer than two labels are left, they cannot be weighed (`design.weigh`), or a verdict lacks the target.
    """
    used = counting(scored)
    verdicts = [scored[place].verdict for place in used]
    answers = _Answers(
        np.array([probability(verdict, target) for verdict in verdicts]),
        np.array([_answer(verdict, target) for verdict in verdicts], np.int64),
        target,
    )
    row_of = {place: row for row, place in enumerate(used)}
    told = sorted((row_of[place], label) for place, label in labels.items() if label_index(label, target) is not None)
    if len(told) < 2:
        raise InputError(f"{len(told)} labels with a {target}: an estimate needs two at least")
    given = np.array([label_index(label, target) for _, label in told], np.int64)
    strata = [stratum_of(verdict.subset, verdict.subcategory) for verdict in verdicts]
    sample, strategy, notes = weigh(
        strata, [row for row, _ in told], given == COUNTED[target], [label.sampled for _, label in told]
    )
    if picked := sum(label.queue in ("disagreements", "uncertain") for _, label in told):
        notes.append(
            f"{picked} labels are of completions that `review` picked because they are doubtful: no random sample, so "
            "that rates and agreement are biased; label the queue 'random' for rates"
        )
    if len(told) < len(labels):
        notes.append(f"{len(labels) - len(told)} labels give no {target} and are left out")
    correction = fit_correction(answers.scores, sample)
    said, scores, weight = answers.labels[sample.rows], answers.scores[sample.rows], sample.weight
    return Assessment(
        n=len(used),
        n_labels=len(told),
        target=target,
        strategy=strategy,
        notes=tuple(notes),
        confusion=_named(confusion(given, said), NAMES[target]),
        ece=expected_calibration_error(scores, sample.truth == 1, weight),
        brier=float(np.average(np.square(scores - sample.truth), weights=weight)),
        reliability=tuple(_reliability(scores, sample)),
        correction=correction,
        groups=tuple(
            _group(key, members, answers, sample, given, correction) for key, members in memberships(verdicts).items()
        ),
    )


def memberships(verdicts: Sequence[Verdict]) -> dict[GroupKey, NDArray[np.bool_]]:
    """Return which completions belong to each group of `scoring`, arrays of shape (N,), in the order of reports."""
    members: dict[GroupKey, list[int]] = {}
    for row, verdict in enumerate(verdicts):
        names = (verdict.subset or None, *rubrics.canonical_group(verdict.category, verdict.subcategory))
        # A set, since a completion without a subset or category is its own total.
        for key in {GroupKey(*(name if at < depth else None for at, name in enumerate(names))) for depth in range(4)}:
            members.setdefault(key, []).append(row)
    result = {}
    for key in sorted(members, key=lambda key: scoring.group_order(scoring.GroupKey("", *key))):
        result[key] = np.zeros(len(verdicts), bool)
        result[key][members[key]] = True
    return result


def _group(
    key: GroupKey,
    domain: NDArray[np.bool_],
    answers: _Answers,
    sample: Sample,
    given: Labels,
    correction: Correction,
) -> GroupCalibration:
    members, n = domain[sample.rows], int(domain.sum())
    said, n_labels = answers.labels[sample.rows], int(members.sum())
    rate = float(answers.counted[domain].mean())
    alone = judge_only(n, sample, members)
    repaired = corrected(answers.scores, domain, sample, correction)
    advice, reason = advise(rate, n, n_labels, repaired)
    return GroupCalibration(
        key,
        n,
        n_labels,
        rate,
        alone,
        repaired,
        rogan_gladen(answers.counted, domain, sample),
        judge_only(n, sample.relabelled(said == given), members),
        kappa(given[members], said[members], sample.weight[members]) if n_labels > 1 else None,
        advice,
        reason,
    )


def advise(rate: float, n: int, n_labels: int, estimate: Estimate | None) -> tuple[Advice, str]:
    """Return what to make of a group, and why.

    `do not use`: fewer than ten labels, or the correction makes a label worth less than 1.25 of them, so that the
    classifier says hardly more than the labels do alone. `trust`: the classifier's own rate lies in the corrected
    interval, and neither limit is further than 5 points from it. `trust after correction`: everything else.

    Parameters
    ----------
    rate
        The classifier's own rate.
    n, n_labels
        Completions and labels of the group.
    estimate
        Its corrected rate.
    """
    if estimate is None or n_labels < ENOUGH_LABELS:
        return "do not use", f"only {n_labels} label{'' if n_labels == 1 else 's'}"
    unknown, left = 1 / n_labels - 1 / n, 1 / estimate.effective_n - 1 / n
    if n_labels < n and unknown < WORTHWHILE * left:
        return "do not use", f"with the classifier a label is worth {unknown / left:.1f} alone"
    interval = estimate.interval
    off = 100 * (rate - interval.estimate)
    if not interval.ci_low - _EQUAL <= rate <= interval.ci_high + _EQUAL:
        return "trust after correction", f"the classifier's rate is off by {off:+.1f} points"
    if max(rate - interval.ci_low, interval.ci_high - rate) > PRECISE + _EQUAL:
        return "trust after correction", "too few labels to show that the classifier's rate is right"
    return "trust", f"the classifier's rate is within {PRECISE * 100:.0f} points"


def _named(table: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Return a confusion table with names; labels that are higher than any given have no row."""
    whole = np.zeros((len(names), len(names)), np.int64)
    whole[: len(table), : len(table)] = table
    return {truth: dict(zip(names, row.tolist(), strict=True)) for truth, row in zip(names, whole, strict=True)}


def _reliability(scores: Floats, sample: Sample) -> list[Bin]:
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    result = []
    for number in np.unique(bins):
        rows, weight = bins == number, sample.weight[bins == number]
        result.append(
            Bin(
                float(np.average(scores[rows], weights=weight)),
                float(np.average(sample.truth[rows], weights=weight)),
                int(rows.sum()),
            )
        )
    return result
