"""Out-of-fold scores -> figures: agreement, calibration and category rates, each beside the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS
from refusal_clf.runtime.blend import answers
from refusal_clf.training.baselines import string_match
from refusal_clf.training.calibrate import fit_blend
from refusal_clf.training.crossfit import OutOfFold
from refusal_clf.training.dataset import IGNORE, Example

OURS: Final = "refusal-clf"
FAMILIES: Final = {"verdict": (0, slice(0, len(VERDICTS))), "refusal": (1, slice(len(VERDICTS), None))}
LABELS: Final[dict[str, tuple[str, ...]]] = {"verdict": VERDICTS, "refusal": REFUSAL_CLASSES}
_MIN_ROWS: Final = 30

Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Slice:
    """The test rows of one label family of one model (or of all): truth, and each method's probabilities."""

    family: str
    name: str
    examples: list[Example]
    truth: NDArray[np.int64]
    methods: dict[str, Probabilities]


def slices(examples: Sequence[Example], scores: OutOfFold, *, part: str = "all") -> Iterator[Slice]:
    """Yield the test rows of each label family and labels file, with cross-fitted calibrated probabilities.

    The blend that turns a fold's scores into probabilities is fitted on the other folds' rows alone.
    """
    tested = [examples[index] for index in scores.example]
    chosen = np.array([part in ("all", part_of(example)) for example in tested])
    matched = string_match(tested)
    sources = np.array([example.label.source for example in tested])
    for family, (head, columns) in FAMILIES.items():
        labels = scores.labels[:, head]
        known = labels != IGNORE
        methods = {
            OURS: _cross_fitted(scores.encoder[:, columns], scores.lexical[:, columns], labels, scores.fold),
            "lexical tier": _cross_fitted(None, scores.lexical[:, columns], labels, scores.fold),
            "encoder alone": _softmax(scores.encoder[:, columns]),
            "TF-IDF": scores.tfidf[:, columns],
            "string matching": matched[:, columns],
        }
        for source in sorted(set(sources[known & chosen])):
            rows = np.flatnonzero(known & chosen & (sources == source))
            if len(rows) >= _MIN_ROWS:
                yield Slice(
                    family,
                    str(source),
                    [tested[row] for row in rows],
                    labels[rows],
                    {name: probabilities[rows] for name, probabilities in methods.items()},
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
    }
    if data.family == "verdict":
        result["categories"] = list(_category_rates(data, said))
    else:
        result["any_refusal_f1"] = {
            name: bootstrap(_refusal_f1, data.truth, answer).to_dict() for name, answer in said.items()
        }
    return result


def _category_rates(data: Slice, said: dict[str, NDArray[np.int64]]) -> Iterator[dict[str, Any]]:
    """Compliance rates of each category by the judge and by each method, as fractions."""
    complied = VERDICTS.index("compliance")
    names = np.array([example.label.completion.category or "" for example in data.examples])
    for category in sorted(set(names) - {""}):
        rows = names == category
        judged = float((data.truth[rows] == complied).mean())
        rates = {name: float((answer[rows] == complied).mean()) for name, answer in said.items()}
        yield {
            "category": category,
            "n": int(rows.sum()),
            "judge": round(judged, 5),
            "methods": {name: round(rate, 5) for name, rate in rates.items()},
            "error": round(rates[OURS] - judged, 5),
        }


def _refusal_f1(truth: NDArray[np.int64], answer: NDArray[np.int64]) -> float:
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


def _softmax(scores: NDArray[np.float32]) -> Probabilities:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result
