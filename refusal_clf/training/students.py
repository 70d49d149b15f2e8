"""Distil the networks of an evaluation, fold by fold and resumable, and write the last student as a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from refusal_clf.records import InputError
from refusal_clf.runtime.layout import sha256_of
from refusal_clf.runtime.lexical import FEATURES_VERSION
from refusal_clf.runtime.tokens import TokenBudget
from refusal_clf.training.crossfit import OutOfFold, finished, load_out_of_fold
from refusal_clf.training.dataset import Example, fingerprint, targets
from refusal_clf.training.distil import distil
from refusal_clf.training.finetune import FinetuneConfig, predict_logits
from refusal_clf.training.lexical import fit_lexical
from refusal_clf.training.network import NETWORK_FILE, load_network
from refusal_clf.training.protocols import Fold
from refusal_clf.training.release import load_base_tokenizer, provenance_of, write_training_dir
from refusal_clf.writing import completing


@dataclass(frozen=True, slots=True)
class Student:
    """Name and size of a student: layers, word pieces, and the logarithm of the lexical tier's features."""

    name: str
    layers: int
    vocabulary: int
    feature_bits: int


def distil_folds(
    examples: Sequence[Example],
    unlabelled: Sequence[Example],
    folds: Sequence[tuple[int, Fold]],
    evaluation: Path,
    base: Path,
    out: Path,
    student: Student,
    config: FinetuneConfig,
    budget: TokenBudget,
    data: dict[str, str],
    report: Callable[[str], None],
) -> OutOfFold:
    """Distil the network of each numbered fold, test it on what the fold left out, and return all scores.

    Unlabelled responses of a left-out model, or of one whose name begins like it, are not learned from. The last
    fold's student is written to `out` as a training directory, calibrated on the scores of all.

    Raises
    ------
    InputError
        If `evaluation` holds no network for a fold, or was made with other examples.
    """
    teachers = load_out_of_fold(evaluation)
    tokenizer = load_base_tokenizer(base)
    out.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, NDArray[np.float32]]] = []
    for number, fold in folds:
        rows = teachers.fold == number - 1
        if not np.array_equal(teachers.example[rows], fold.test):
            raise InputError(f"fold {number} was made with other labels or folds than these", file=evaluation)
        train, test = ([examples[index] for index in part] for part in (fold.train, fold.test))
        left_out = tuple({example.family for example in test} - {None})
        more = [example for example in unlabelled if not (example.model or "").startswith(left_out)]
        teacher = evaluation / f"fold-{number}"
        if not (teacher / NETWORK_FILE).is_file():
            raise InputError(f"it holds no network of fold {number}", file=evaluation)
        path = out / f"fold-{number}.safetensors"
        key = fingerprint([*train, *more], student, config, budget, FEATURES_VERSION, sha256_of(teacher / NETWORK_FILE))
        kept = finished(path, key, ("encoder", "lexical"))
        if kept is not None and number != folds[-1][0]:
            parts.append(kept)
            continue
        report(f"fold {number}: {len(train)} labelled and {len(more)} unlabelled texts, tested on {fold.name}")
        network, small = distil(
            load_network(teacher),
            tokenizer,
            train,
            more,
            config,
            budget,
            layers=student.layers,
            vocabulary=student.vocabulary,
            checkpoint_dir=out / "checkpoints" / str(number),
            report=report,
        )
        lexical = fit_lexical(train, n_bits=student.feature_bits)
        encoder = predict_logits(network, small, test, budget)
        parts.append({"encoder": encoder, "lexical": lexical.logits([example.text for example in test])})
        with completing(path) as file:
            save_file(parts[-1], file, metadata={"fingerprint": key})
    order = np.concatenate([np.flatnonzero(teachers.fold == number - 1) for number, _ in folds])
    scores = replace(
        OutOfFold(**{name: getattr(teachers, name)[order] for name in OutOfFold.__slots__}),
        encoder=np.concatenate([part["encoder"] for part in parts]),
        lexical=np.concatenate([part["lexical"] for part in parts]),
    )
    scores.save(out / "out_of_fold.safetensors")
    provenance = provenance_of(train, base, "encoder", config, True, data)
    provenance |= {"student": asdict(student), "n_unlabelled": len(more)}
    labels = targets(examples)[scores.example]
    write_training_dir(
        out,
        student.name,
        network,
        small,
        lexical,
        train,
        (scores.encoder, scores.lexical),
        labels,
        scores.fold,
        budget,
        provenance,
    )
    return scores
