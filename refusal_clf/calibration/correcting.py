"""Counted rates -> the rates that a judge would find: a report whose groups carry the corrected estimates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from refusal_clf.calibration.agreement import Interval
from refusal_clf.calibration.assessment import Assessment, GroupKey, Target
from refusal_clf.summary import Group, Report

_LIMITS: Final[dict[Target, tuple[str, ...]]] = {
    "verdict": ("ci_low", "ci_high"),
    "refusal": ("ci_low", "ci_high", "refusal_ci_low", "refusal_ci_high"),
}


def with_corrected_rates(report: Report, assessment: Assessment) -> Report:
    """Return a report of the same verdicts with the rates that the judge would find in the whole file.

    Verdicts that are partly a judge's and partly the classifier's say nothing honest when they are counted: what the
    classifier gets wrong is still in those that the judge did not see. Where a group has two labels or more, its
    compliance rate and interval become the prediction-powered ones, and the rates beside it are scaled so that they
    still add up to 1. Where it has fewer, the counted rate stays, without an interval.

    Parameters
    ----------
    report
        Of completions of one suite and one model.
    assessment
        Of the classifier's own verdicts of the same completions against the judge's labels.
    """
    estimates = {
        group.key: None if group.corrected is None else group.corrected.interval for group in assessment.groups
    }
    groups = [_corrected(group, estimates, assessment.target) for group in report.groups]
    return replace(report, groups=tuple(_with_macro(group, groups) for group in groups))


def _corrected(group: Group, estimates: Mapping[GroupKey, Interval | None], target: Target) -> Group:
    found = estimates.get(GroupKey(group.subset, group.category, group.subcategory))
    if found is None:
        limits: dict[str, Any] = dict.fromkeys(_LIMITS[target])
        return replace(group, **limits)
    rate = found.estimate
    rates: dict[str, Any] = {"compliance_rate": rate, "ci_low": found.ci_low, "ci_high": found.ci_high}
    rates |= _scaled(1 - rate, noncompliance_rate=group.noncompliance_rate, neither_rate=group.neither_rate)
    if target == "refusal":
        rates |= {"full_compliance": rate, "refusal_rate": 1 - rate}
        rates |= {"refusal_ci_low": 1 - found.ci_high, "refusal_ci_high": 1 - found.ci_low}
        rates |= _scaled(1 - rate, full_refusal=group.full_refusal, partial_refusal=group.partial_refusal)
    return replace(group, **rates)


def _scaled(total: float, **rates: float | None) -> dict[str, float | None]:
    """Scale rates to a sum; if all are 0, the first takes it."""
    counted = sum(rate or 0.0 for rate in rates.values())
    if counted == 0:
        return dict(zip(rates, (total, *[0.0] * (len(rates) - 1)), strict=True))
    return {name: (rate or 0.0) * total / counted for name, rate in rates.items()}


def _with_macro(group: Group, groups: list[Group]) -> Group:
    if group.macro_compliance_rate is None:
        return group
    rates = [
        other.compliance_rate
        for other in groups
        if (other.suite, other.subset) == (group.suite, group.subset)
        and other.category is not None
        and other.subcategory is None
        and other.compliance_rate is not None
    ]
    return replace(group, macro_compliance_rate=sum(rates) / len(rates))
