"""`calibration.json`: what it holds, said once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from refusal_clf.calibration.assessment import Assessment, GroupCalibration
from refusal_clf.calibration.drift import Comparison, Drift
from refusal_clf.calibration.prevalence import Estimate

CALIBRATION_FILE: Final = "calibration.json"
SCHEMA_VERSION: Final = 1
"""Of `calibration.json`; raised when a field changes its meaning or goes."""


def calibration_document(
    assessment: Assessment,
    *,
    judge: str,
    classifier: dict[str, Any],
    matched: str,
    human: Comparison | None,
    drift: Drift | None,
) -> dict[str, Any]:
    """Return the document that `calibration.json` holds; rates are compliance rates, as fractions.

    Parameters
    ----------
    assessment
        The classifier against the judge.
    judge
        Whose labels they are.
    classifier
        Name and sha256 of the classifier; both None where verdicts were read from a file.
    matched
        How labels and completions were matched, in words.
    human
        The judge against people on the responses that both labelled.
    drift
        The comparison with earlier labels.
    """
    whole = assessment.groups[0]
    correction = assessment.correction
    return {
        "schema_version": SCHEMA_VERSION,
        "n": assessment.n,
        "n_labels": assessment.n_labels,
        "judge": judge,
        "target": assessment.target,
        "strategy": assessment.strategy,
        "model": classifier,
        "agreement": whole.agreement.interval.estimate if whole.agreement else None,
        "agreement_interval": _estimate(whole.agreement),
        "kappa": whole.kappa,
        "ece": assessment.ece,
        "brier": assessment.brier,
        "confusion": assessment.confusion,
        "reliability": [asdict(one) for one in assessment.reliability],
        "correction": {
            "power": correction.power,
            "inflation": correction.inflation,
            "squared_errors": correction.errors,
        },
        "matched": matched,
        "notes": list(assessment.notes),
        "groups": [_group(group) for group in assessment.groups],
        "judge_and_human": None if human is None else asdict(human),
        "drift": None if drift is None else _drift(drift),
    }


def _group(group: GroupCalibration) -> dict[str, Any]:
    repaired = group.corrected
    return {
        **group.key._asdict(),
        "n": group.n,
        "n_labels": group.n_labels,
        "classifier_rate": group.classifier_rate,
        "judge_only": _estimate(group.judge_only),
        "corrected": _estimate(repaired)
        and {**(_estimate(repaired) or {}), "method": repaired.method if repaired else ""},
        "effective_n": None if repaired is None else round(repaired.effective_n, 1),
        "rogan_gladen": _estimate(group.rogan_gladen),
        "agreement": _estimate(group.agreement),
        "kappa": group.kappa,
        "advice": group.advice,
        "reason": group.reason,
    }


def _estimate(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else {**estimate.interval.to_dict(), "effective_n": round(estimate.effective_n, 1)}


def _drift(drift: Drift) -> dict[str, Any]:
    return {
        "n_before": drift.n_before,
        "n_after": drift.n_after,
        "n_left_out": drift.n_left_out,
        "agreement_before": drift.before.interval.to_dict(),
        "agreement_after": drift.after.interval.to_dict(),
        "difference": drift.difference.to_dict(),
        "bias_before": drift.bias_before,
        "bias_after": drift.bias_after,
        "labelled_twice": None if drift.twice is None else asdict(drift.twice),
        "verdict": drift.verdict,
    }
