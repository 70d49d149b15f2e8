"""Scores for every tested example from models that were not trained on it, fold by fold and resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from refusal_clf.records import InputError
from refusal_clf.runtime.layout import sha256_of
from refusal_clf.runtime.lexical import FEATURES_VERSION
from refusal_clf.runtime.tokens import TokenBudget
from refusal_clf.training.baselines import tfidf_probabilities
from refusal_clf.training.dataset import Example, fingerprint, targets
from refusal_clf.training.families import DEFAULT_FAMILY, Family, fit_network
from refusal_clf.training.finetune import FinetuneConfig, predict_logits
from refusal_clf.training.lexical import fit_lexical
from refusal_clf.training.network import save_network
from refusal_clf.training.protocols import Fold
from refusal_clf.writing import completing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OUT_OF_FOLD_FILE: Final = "out_of_fold.safetensors"
EVALUATION_FILE: Final = "evaluation.json"
"""What `evaluate` leaves in its output directory: scores to calibrate on, and the figures."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Scores of held-out examples; the first dimension of every array is the same n.

    `encoder` and `lexical` are raw scores and `tfidf` probabilities, all of shape (n, 6), verdicts first;
    `labels` has shape (n, 2) (`dataset.targets`), `fold` and `example` shape (n,): which fold an example was
    tested in, and its index in the list of examples.
    """

    encoder: NDArray[np.float32]
    lexical: NDArray[np.float32]
    tfidf: NDArray[np.float32]
    labels: NDArray[np.int64]
    fold: NDArray[np.int64]
    example: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write all arrays as safetensors."""
        with completing(path) as file:
            save_file({field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)}, file)


def load_out_of_fold(directory: Path) -> OutOfFold:
    """Read what `evaluate` left in its output directory.

    Raises
    ------
    InputError
        If there is none.
    """
    from safetensors.numpy import load_file

    path = directory / OUT_OF_FOLD_FILE
    if not path.is_file():
        raise InputError(f"no {OUT_OF_FOLD_FILE}: run `refusal-clf evaluate` into this directory first", file=directory)
    return OutOfFold(**load_file(path))


def cross_fit(
    examples: Sequence[Example],
    folds: Sequence[Fold],
    base: Path,
    tokenizer: Tokenizer,
    config: FinetuneConfig,
    budget: TokenBudget,
    out: Path,
    report: Callable[[str], None],
    family: Family = DEFAULT_FAMILY,
) -> OutOfFold:
    """Train both tiers and the TF-IDF baseline on each fold's training part and score its test part.

    Each finished fold is kept in `out` and used again by a later call with the same data and settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, fold in enumerate(folds):
        path = out / f"fold-{number + 1}.safetensors"
        key = _fingerprint(examples, fold, base, family, config, budget)
        part = finished(path, key, ("encoder", "lexical", "tfidf"))
        if part is None:
            report(f"fold {number + 1}/{len(folds)}, left out: {fold.name} ({len(fold.test)} examples)")
            checkpoints = out / f"fold-{number + 1}"
            part = _fit_fold(family, examples, fold, base, tokenizer, config, budget, checkpoints, report)
            with completing(path) as file:
                save_file(part, file, metadata={"fingerprint": key})
        parts.append(part)
    result = OutOfFold(
        encoder=np.concatenate([part["encoder"] for part in parts]),
        lexical=np.concatenate([part["lexical"] for part in parts]),
        tfidf=np.concatenate([part["tfidf"] for part in parts]),
        labels=targets(examples)[np.concatenate([fold.test for fold in folds])],
        fold=np.repeat(np.arange(len(folds)), [len(fold.test) for fold in folds]),
        example=np.concatenate([fold.test for fold in folds]),
    )
    result.save(out / OUT_OF_FOLD_FILE)
    return result


def _fit_fold(
    family: Family,
    examples: Sequence[Example],
    fold: Fold,
    base: Path,
    tokenizer: Tokenizer,
    config: FinetuneConfig,
    budget: TokenBudget,
    checkpoints: Path,
    report: Callable[[str], None],
) -> dict[str, NDArray[np.float32]]:
    train, test = ([examples[index] for index in part] for part in (fold.train, fold.test))
    lexical = fit_lexical(train).logits([example.text for example in test])
    tfidf = tfidf_probabilities(train, test)
    network = fit_network(family, base, tokenizer, train, config, budget, checkpoint_dir=checkpoints, report=report)
    checkpoints.mkdir(parents=True, exist_ok=True)
    save_network(network, checkpoints)
    return {"encoder": predict_logits(network, tokenizer, test, budget), "lexical": lexical, "tfidf": tfidf}


def finished(path: Path, key: str, names: Sequence[str]) -> dict[str, NDArray[np.float32]] | None:
    """Return the named scores of a fold that an earlier run with the same fingerprint kept, or None."""
    if not path.is_file():
        return None
    with safe_open(path, "np") as file:
        if (file.metadata() or {}).get("fingerprint") != key:
            return None
        return {name: file.get_tensor(name) for name in names}


def _fingerprint(
    examples: Sequence[Example], fold: Fold, base: Path, family: Family, config: FinetuneConfig, budget: TokenBudget
) -> str:
    """Identify everything that a fold's scores depend on, so that stale ones are never used again."""
    weights = [sha256_of(file) for file in sorted(base.glob("*.safetensors"))]
    split = hashlib.sha256(fold.train.tobytes() + fold.test.tobytes()).hexdigest()
    return fingerprint(examples, family, config, budget, FEATURES_VERSION, weights, split)
