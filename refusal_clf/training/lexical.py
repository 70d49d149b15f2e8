"""Fit the lexical tier: two multinomial logistic regressions on hashed n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from refusal_clf.records import REFUSAL_CLASSES, VERDICTS
from refusal_clf.runtime.lexical import DEFAULT_BITS, LexicalModel, features
from refusal_clf.training.augment import rewritten
from refusal_clf.training.dataset import IGNORE, Example, targets

_INVERSE_REGULARISATION = 10.0


def fit_lexical(
    examples: Sequence[Example], *, n_bits: int = DEFAULT_BITS, rewritten_copies: int = 0, seed: int = 0
) -> LexicalModel:
    """Fit both heads on binary features weighted by inverse document frequency and scaled to unit length.

    Every example is learned from as it is and `rewritten_copies` times rewritten, as users' files have it
    (`augment.rewritten`). A class that never occurs in the data gets a bias so low that it is never answered.
    """
    examples = [*examples, *(row for copy in range(rewritten_copies) for row in rewritten(examples, seed + copy))]
    rows = [features(example.text, n_bits) for example in examples]
    counts = np.bincount(np.concatenate(rows), minlength=2**n_bits)
    idf = np.log((1 + len(rows)) / (1 + counts)).astype(np.float32) + 1.0
    matrix = _matrix(rows, idf)
    labels = targets(examples)
    weights = np.zeros((2**n_bits, len(VERDICTS) + len(REFUSAL_CLASSES)), np.float32)
    bias = np.full(weights.shape[1], -20.0, np.float32)
    for head, offset in ((0, 0), (1, len(VERDICTS))):
        known = labels[:, head] != IGNORE
        if len(np.unique(labels[known, head])) < 2:
            continue
        regression = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=200, tol=1e-3)
        regression.fit(matrix[known], labels[known, head])
        coefficients, intercepts = _per_class(regression)
        columns = offset + regression.classes_
        weights[:, columns] = coefficients.T * idf[:, None]
        bias[columns] = intercepts
    weights[counts == 0] = 0.0
    return LexicalModel(weights.astype(np.float16), np.square(idf).astype(np.float16), bias)


def save_lexical(model: LexicalModel, path: Path) -> None:
    """Write a lexical tier as safetensors."""
    from safetensors.numpy import save_file

    save_file({"weights": model.weights, "squared_idf": model.squared_idf, "bias": model.bias}, path)


def _matrix(rows: Sequence[NDArray[np.uint32]], idf: NDArray[np.float32]) -> csr_matrix:
    indices = np.concatenate(rows).astype(np.int32)
    pointers = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    values = [idf[row] / np.sqrt(np.square(idf[row]).sum()) for row in rows]
    return csr_matrix((np.concatenate(values), indices, pointers), shape=(len(rows), len(idf)))


def _per_class(regression: LogisticRegression) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One row a class, also where scikit-learn keeps a single one for two classes."""
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:
        return np.vstack([-coefficients, coefficients]) / 2, np.concatenate([-intercepts, intercepts]) / 2
    return coefficients, intercepts
