"""The quick way to train: a frozen sentence encoder and a scikit-learn head on its embeddings.

For a few hundred labels and a minute. The head is a logistic regression whose coefficients become the last layer of
the same network that fine-tuning trains, so that both are exported and served alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.preprocessing import StandardScaler

from refusal_clf.records import REFUSAL_CLASSES, VERDICTS
from refusal_clf.runtime.tokens import TokenBudget, encode
from refusal_clf.training.dataset import IGNORE, Example, targets
from refusal_clf.training.network import TwoHeadEncoder, run_by_length

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_REGULARISATIONS: Final = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
_FOLDS: Final = 4
_NEVER: Final = -20.0


def fit_embedding_head(
    network: TwoHeadEncoder,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    budget: TokenBudget,
    *,
    report: Callable[[str], None] = lambda _line: None,
) -> TwoHeadEncoder:
    """Fit both heads of `network` on its own frozen embeddings, in place, and return it.

    The strength of the regularisation is chosen by cross-validation in which no prompt is in two folds. A class
    that never occurs in the data gets a bias so low that it is never answered.
    """
    report(f"{len(examples)} examples, embedded once with the encoder frozen")
    embedded = embed(network, tokenizer, examples, budget)
    labels = targets(examples)
    prompts = np.array([example.prompt_key for example in examples])
    weight = torch.zeros_like(network.heads.weight)
    bias = torch.full_like(network.heads.bias, _NEVER)
    for head, offset, names in ((0, 0, VERDICTS), (1, len(VERDICTS), REFUSAL_CLASSES)):
        known = labels[:, head] != IGNORE
        classes = np.unique(labels[known, head])
        if len(classes) == 1:
            bias[offset + int(classes[0])] = 0.0
        if len(classes) < 2:
            continue
        coefficients, intercepts, strength = _regression(embedded[known], labels[known, head], prompts[known])
        columns = torch.from_numpy(offset + classes)
        weight[columns] = torch.from_numpy(coefficients).to(weight.dtype)
        bias[columns] = torch.from_numpy(intercepts).to(bias.dtype)
        report(f"{len(names)}-class head on {int(known.sum())} labels, inverse regularisation {strength:g}")
    with torch.no_grad():
        network.heads.weight.copy_(weight)
        network.heads.bias.copy_(bias)
    return network.eval()


def embed(
    network: TwoHeadEncoder, tokenizer: Tokenizer, examples: Sequence[Example], budget: TokenBudget
) -> NDArray[np.float32]:
    """Return what the heads read of each example, shape (len(examples), `network.heads.in_features`)."""
    network.eval()
    encoded = encode(tokenizer, [example.text for example in examples], budget)
    return run_by_length(network.pool, encoded, network.heads.in_features, next(network.parameters()).device)


def _regression(
    embedded: NDArray[np.float32], labels: NDArray[np.int64], prompts: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return coefficients and intercepts for unscaled embeddings, one row a class, and the strength chosen."""
    scaler = StandardScaler()
    scaled = scaler.fit_transform(embedded)
    grouped = len(np.unique(prompts)) >= 2 * _FOLDS
    folds = GroupKFold(_FOLDS) if grouped else KFold(min(_FOLDS, len(labels)), shuffle=True, random_state=0)
    search = GridSearchCV(
        LogisticRegression(max_iter=300, tol=1e-3),
        {"C": _REGULARISATIONS},
        cv=list(folds.split(scaled, labels, prompts)),
    )
    regression = search.fit(scaled, labels).best_estimator_
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row for two classes
        coefficients = np.vstack([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    unscaled = coefficients / scaler.scale_
    return unscaled, intercepts - unscaled @ scaler.mean_, float(regression.C)
