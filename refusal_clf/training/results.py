"""Out-of-fold scores -> figures: agreement, calibration and category rates, each beside the baselines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.calibration.agreement import (
    agreement,
    bootstrap,
    brier,
    expected_calibration_error,
    kappa,
    macro_f1,
)
from refusal_clf.desired import has_rubric
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, Label, Verdict
from refusal_clf.runtime.blend import answers, softmax
from refusal_clf.training.baselines import string_match
from refusal_clf.training.calibrate import TOLERATED_ERROR, fit_blend, selective_threshold
from refusal_clf.training.crossfit import EVALUATION_FILE, OutOfFold
from refusal_clf.training.dataset import IGNORE, Example
from refusal_clf.training.protocols import Fold
from refusal_clf.writing import replacing

OURS: Final = "refusal-clf"
FAMILIES: Final = {"verdict": (0, slice(0, len(VERDICTS))), "refusal": (1, slice(len(VERDICTS), None))}
LABELS: Final[dict[str, tuple[str, ...]]] = {"verdict": VERDICTS, "refusal": REFUSAL_CLASSES}
_MIN_ROWS: Final = 30
_POOLED: Final = ", all of the above"

Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Slice:
    """The test rows of one label family of one model (or of a whole suite): truth, and each method's probabilities.

    `sure` marks the rows that would not be flagged `uncertain`. `raters` holds what other judges said of the same rows,
    as label indices or `IGNORE`.
    """

    family: str
    name: str
    examples: list[Example]
    truth: NDArray[np.int64]
    methods: dict[str, Probabilities]
    sure: NDArray[np.bool_]
    raters: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def rater_answers(examples: Sequence[Example], labels: Iterable[Label]) -> NDArray[np.int64]:
    """Match another rater's labels to examples by model and id: shape (n, 2), `IGNORE` where it gave none."""
    given = {(label.completion.model, label.completion.id): label for label in labels}
    result = np.full((len(examples), 2), IGNORE, np.int64)
    for row, example in zip(result, examples, strict=True):
        label = given.get((example.label.completion.model, example.label.completion.id))
        if label is not None and label.verdict is not None:
            row[0] = VERDICTS.index(label.verdict)
        if label is not None and label.refusal is not None:
            row[1] = REFUSAL_CLASSES.index(label.refusal)
    return result


def evaluate_scores(
    examples: Sequence[Example],
    scores: OutOfFold,
    folds: Sequence[Fold],
    *,
    protocol: str,
    family: str,
    part: str,
    raters: Mapping[str, NDArray[np.int64]] | None = None,
) -> dict[str, Any]:
    """Return the document that `evaluation.json` holds: how it was tested, and every slice's figures."""
    return {
        "schema_version": 1,
        "protocol": protocol,
        "family": family,
        "part": part,
        "n_examples": len(examples),
        "folds": [{"left_out": fold.name, "n_train": len(fold.train), "n_test": len(fold.test)} for fold in folds],
        "results": [figures(data) for data in slices(examples, scores, part=part, raters=raters)],
    }


def write_evaluation(document: dict[str, Any], directory: Path) -> Path:
    """Write the document into an output directory and return its path."""
    path = directory / EVALUATION_FILE
    with replacing(path) as stream:
        stream.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return path


def slices(
    examples: Sequence[Example],
    scores: OutOfFold,
    *,
    part: str = "all",
    raters: Mapping[str, NDArray[np.int64]] | None = None,
) -> Iterator[Slice]:
    """Yield the test rows of each label family and labels file, with cross-fitted calibrated probabilities.

    The blend that turns a fold's scores into probabilities is fitted on the other folds' rows alone. Where several
    labels files belong to one suite (XSTest's five models), a slice with all of them follows. `raters` are answers
    of other judges, each of shape (len(examples), 2) (`rater_answers`).
    """
    tested = [examples[index] for index in scores.example]
    chosen = np.array([part in ("all", part_of(example)) for example in tested])
    matched = string_match(tested)
    sources = np.array([example.label.source for example in tested])
    suites = np.array([example.label.completion.suite for example in tested])
    for family, (head, columns) in FAMILIES.items():
        labels = scores.labels[:, head]
        known = labels != IGNORE
        methods = {
            OURS: _cross_fitted(scores.encoder[:, columns], scores.lexical[:, columns], labels, scores.fold),
            "lexical tier": _cross_fitted(None, scores.lexical[:, columns], labels, scores.fold),
            "encoder alone": softmax(scores.encoder[:, columns]),
            "TF-IDF": scores.tfidf[:, columns],
            "string matching": matched[:, columns],
        }
        sure = _sure(methods[OURS], labels, scores.fold, family)
        groups = [(str(source), sources == source) for source in sorted(set(sources[known & chosen]))]
        for suite in sorted(set(suites[known & chosen])):
            if len(set(sources[known & chosen & (suites == suite)])) > 1:
                groups.append((suite + _POOLED, suites == suite))
        for name, members in groups:
            rows = np.flatnonzero(known & chosen & members)
            if len(rows) >= _MIN_ROWS:
                yield Slice(
                    family,
                    name,
                    [tested[row] for row in rows],
                    labels[rows],
                    {method: probabilities[rows] for method, probabilities in methods.items()},
                    sure[rows],
                    {rater: said[scores.example[rows], head] for rater, said in (raters or {}).items()},
                )


def part_of(example: Example) -> str:
    """Return `dev` for three prompts in ten, chosen by their hash, and `test` for the rest.

    Choices are made on `dev`; `test` is read once for a release.
    """
    return "dev" if int(example.prompt_key[:6], 16) % 10 < 3 else "test"


def figures(data: Slice) -> dict[str, Any]:
    """Return every method's figures on one slice, and how ours differ from TF-IDF's, with 95 % intervals."""
    labels = LABELS[data.family]
    said = {name: answers(probabilities, labels) for name, probabilities in data.methods.items()}
    rows = []
    for name, probabilities in data.methods.items():
        answer = said[name]
        confidence = np.take_along_axis(probabilities, answer[:, None], 1)[:, 0].astype(np.float64)
        rows.append(
            {
                "method": name,
                "agreement": bootstrap(agreement, data.truth, answer).to_dict(),
                "kappa": bootstrap(kappa, data.truth, answer).to_dict(),
                "macro_f1": bootstrap(macro_f1, data.truth, answer).to_dict(),
                "ece": bootstrap(expected_calibration_error, confidence, answer == data.truth).to_dict(),
                "brier": bootstrap(brier, probabilities.astype(np.float64), data.truth).to_dict(),
            }
        )
    difference = bootstrap(
        lambda truth, ours, theirs: kappa(truth, ours) - kappa(truth, theirs),
        data.truth,
        said[OURS],
        said["TF-IDF"],
    )
    result = {
        "family": data.family,
        "labels": data.name,
        "n": len(data.truth),
        "methods": rows,
        "kappa_above_tfidf": difference.to_dict(),
        "confusion": _confusion(data.truth, said[OURS], labels),
        "reliability": list(_reliability(data.truth, data.methods[OURS], data.family)),
        "uncertain": _uncertain(data, said[OURS]),
        "raters": list(_raters(data, said[OURS])),
    }
    if data.family == "verdict":
        result["categories"] = list(_category_rates(data, said, "category"))
        result["subcategories"] = list(_category_rates(data, said, "subcategory"))
    else:
        result["any_refusal_f1"] = {
            name: bootstrap(refusal_f1, data.truth, answer).to_dict() for name, answer in said.items()
        }
        clear = data.truth != REFUSAL_CLASSES.index("partial_refusal")
        complied = REFUSAL_CLASSES.index("full_compliance")
        result["unambiguous"] = {
            "n": int(clear.sum()),
            "accuracy": {
                name: bootstrap(agreement, data.truth[clear] == complied, answer[clear] == complied).to_dict()
                for name, answer in said.items()
            },
        }
    return result


def _sure(
    probabilities: Probabilities, labels: NDArray[np.int64], folds: NDArray[np.int64], family: str
) -> NDArray[np.bool_]:
    """Mark the answers above a threshold for each fold that was found on the other folds."""
    confidence, sure = probabilities.max(axis=1), np.zeros(len(labels), bool)
    right = answers(probabilities, LABELS[family]) == labels
    for fold in np.unique(folds):
        others = (labels != IGNORE) & (folds != fold)
        threshold = selective_threshold(confidence[others], right[others], TOLERATED_ERROR)
        sure[folds == fold] = confidence[folds == fold] >= threshold
    return sure


def answered_labels(data: Iterable[Slice]) -> Iterator[tuple[Label, Verdict]]:
    """Yield every tested label once, with our answer to it.

    What has a rubric is taken from the slices of verdicts, the rest from those of refusal classes; a slice that only
    pools those of its suite is left out.
    """
    for one in data:
        if one.name.endswith(_POOLED):
            continue
        for label, verdict in _answered(one):
            if has_rubric(verdict.suite, verdict.subcategory) == (one.family == "verdict"):
                yield label, verdict


def _answered(data: Slice) -> Iterator[tuple[Label, Verdict]]:
    """Yield the labels of a slice with our answers, as verdicts of the one family that the slice is about."""
    probabilities, names = data.methods[OURS].astype(float), LABELS[data.family]
    rows = zip(data.examples, probabilities, answers(data.methods[OURS], names), data.sure, strict=True)
    for example, probability, answer, sure in rows:
        p, of_verdicts = float(_declined(probability, data.family)), data.family == "verdict"
        yield (
            example.label,
            Verdict.of(
                example.label.completion,
                verdict=VERDICTS[answer] if of_verdicts else "neither",
                p_noncompliance=p if of_verdicts else None,
                refusal=None if of_verdicts else REFUSAL_CLASSES[answer],
                p_refusal=None if of_verdicts else p,
                tier="full",
                flags=() if sure else ("uncertain",),
            ),
        )


def _declined(probabilities: NDArray[Any], family: str) -> NDArray[Any]:
    """Return the probability of noncompliance, or of any refusal; the last axis holds the labels."""
    if family == "verdict":
        declined: NDArray[Any] = probabilities[..., VERDICTS.index("noncompliance")]
        return declined
    return 1 - probabilities[..., REFUSAL_CLASSES.index("full_compliance")]


def _confusion(truth: NDArray[np.int64], said: NDArray[np.int64], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the numbers of rows: the label's -> ours -> n."""
    return {
        row: {column: int(((truth == i) & (said == j)).sum()) for j, column in enumerate(names)}
        for i, row in enumerate(names)
    }


def _reliability(truth: NDArray[np.int64], probabilities: Probabilities, family: str) -> Iterator[dict[str, Any]]:
    """Yield the mean probability of declining, the share that declined and the rows of each tenth that holds any."""
    p = _declined(probabilities.astype(np.float64), family)
    declined = _declined(np.eye(probabilities.shape[1])[truth], family)
    tenths = np.minimum((p * 10).astype(np.int64), 9)
    for tenth in np.unique(tenths):
        rows = tenths == tenth
        rate = float(declined[rows].mean())
        yield {"probability": round(float(p[rows].mean()), 5), "rate": round(rate, 5), "n": int(rows.sum())}


def _uncertain(data: Slice, ours: NDArray[np.int64]) -> dict[str, Any]:
    """Return the share of flagged rows, and the error of those that are not flagged and of those that are."""
    wrong = (ours != data.truth).astype(np.float64)
    result: dict[str, Any] = {"share": round(float(1 - data.sure.mean()), 5), "tolerated": TOLERATED_ERROR}
    for name, rows in (("error_if_sure", data.sure), ("error_if_uncertain", ~data.sure)):
        if rows.any():
            result[name] = bootstrap(lambda values: float(values.mean()), wrong[rows]).to_dict()
    return result


def _raters(data: Slice, ours: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Say what other judges reach against the truth, and what we reach, on the rows that they judged."""
    complied = REFUSAL_CLASSES.index("full_compliance")
    for name, said in data.raters.items():
        rows = said != IGNORE
        if rows.sum() < _MIN_ROWS:
            continue
        truth = data.truth[rows]
        result: dict[str, Any] = {"rater": name, "n": int(rows.sum())}
        for who, answer in ((name, said[rows]), (OURS, ours[rows])):
            result[who] = {
                "agreement": bootstrap(agreement, truth, answer).to_dict(),
                "kappa": bootstrap(kappa, truth, answer).to_dict(),
                "macro_f1": bootstrap(macro_f1, truth, answer).to_dict(),
            }
            if data.family == "refusal" and (truth != complied).any():
                result[who]["any_refusal_f1"] = bootstrap(refusal_f1, truth, answer).to_dict()
        yield result


def _category_rates(data: Slice, said: dict[str, NDArray[np.int64]], level: str) -> Iterator[dict[str, Any]]:
    """Compliance rates of each (sub)category by the judge and by each method, as fractions."""
    complied = VERDICTS.index("compliance")
    names = np.array([getattr(example.label.completion, level) or "" for example in data.examples])
    for category in sorted(set(names) - {""}):
        rows = names == category
        judged = float((data.truth[rows] == complied).mean())
        rates = {name: float((answer[rows] == complied).mean()) for name, answer in said.items()}
        yield {
            level: category,
            "n": int(rows.sum()),
            "agreement": round(float((said[OURS][rows] == data.truth[rows]).mean()), 5),
            "judge": round(judged, 5),
            "methods": {name: round(rate, 5) for name, rate in rates.items()},
            "error": round(rates[OURS] - judged, 5),
        }


def refusal_f1(truth: NDArray[np.int64], answer: NDArray[np.int64]) -> float:
    """F1 of any refusal, full or partial, against full compliance."""
    complied = REFUSAL_CLASSES.index("full_compliance")
    refused, answered = truth != complied, answer != complied
    found = int((refused & answered).sum())
    return 2 * found / max(1, int(refused.sum() + answered.sum()))


def _cross_fitted(
    encoder: NDArray[np.float32] | None,
    lexical: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> Probabilities:
    probabilities = np.empty(lexical.shape, np.float32)
    for fold in np.unique(folds):
        rows = folds == fold
        fitted_on = (labels != IGNORE) & ~rows
        blend = fit_blend(None if encoder is None else encoder[fitted_on], lexical[fitted_on], labels[fitted_on])
        probabilities[rows] = blend.probabilities(None if encoder is None else encoder[rows], lexical[rows])
    return probabilities
