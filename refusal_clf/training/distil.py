"""A smaller student of a trained encoder: fewer layers, fewer word pieces, the teacher's probabilities as labels.

Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531) from a network that keeps some of its own layers, as in
DistilBERT (Sanh et al. 2019, arXiv:1910.01108). Unlabelled responses are of use here: the teacher labels them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from refusal_clf.records import VERDICTS, InputError
from refusal_clf.rubrics import GENERIC
from refusal_clf.runtime.blend import softmax
from refusal_clf.runtime.tokens import TokenBudget
from refusal_clf.training.dataset import Example
from refusal_clf.training.finetune import FinetuneConfig, bfloat16_pays, finetune, hard_targets, predict_logits
from refusal_clf.training.network import TwoHeadEncoder
from refusal_clf.training.vocabulary import (
    count_pieces,
    pieces_to_keep,
    shrink_embeddings,
    shrink_positions,
    shrink_tokenizer,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def distil(
    teacher: TwoHeadEncoder,
    tokenizer: Tokenizer,
    labelled: Sequence[Example],
    unlabelled: Sequence[Example],
    config: FinetuneConfig,
    budget: TokenBudget,
    *,
    layers: int,
    vocabulary: int,
    label_weight: float = 0.5,
    checkpoint_dir: Path | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> tuple[TwoHeadEncoder, Tokenizer]:
    """Train a student on the teacher's probabilities, mixed with the labels where there are some.

    Parameters
    ----------
    teacher
        A trained network; left as it is.
    labelled, unlabelled
        Texts to learn from. An unlabelled text under the generic rubric teaches the refusal class alone: without a
        rubric the teacher's verdict is a guess.
    layers
        How many of the teacher's layers the student keeps, evenly spaced, the last among them.
    vocabulary
        How many word pieces it keeps.
    label_weight
        Share of the given labels in the mixture, in [0, 1].

    Raises
    ------
    InputError
        If the teacher has fewer layers than wanted.
    """
    depth = len(teacher.encoder.encoder.layer)
    if not 0 < layers <= depth:
        raise InputError(f"a student of {layers} layers cannot be made from a teacher of {depth}")
    examples = [*labelled, *unlabelled]
    device = next(teacher.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_pays(device)):
        logits = predict_logits(teacher, tokenizer, examples, budget)
    soft, given = np.empty_like(logits), hard_targets(labelled, config.label_smoothing)
    for columns in (slice(0, len(VERDICTS)), slice(len(VERDICTS), None)):
        soft[:, columns] = softmax(logits[:, columns])
        rows = np.flatnonzero(given[:, columns].sum(1) > 0)
        soft[rows, columns] = (1 - label_weight) * soft[rows, columns] + label_weight * given[rows, columns]
    for row, example in enumerate(unlabelled, len(labelled)):
        if example.text.rubric == GENERIC:
            soft[row, : len(VERDICTS)] = 0
    student = copy.deepcopy(teacher)
    chosen = np.linspace(depth - 1, 0, layers).round().astype(int)[::-1] if layers > 1 else np.array([depth - 1])
    student.encoder.encoder.layer = nn.ModuleList([student.encoder.encoder.layer[index] for index in chosen.tolist()])
    student.encoder.config.num_hidden_layers = layers
    kept = pieces_to_keep(tokenizer, count_pieces(tokenizer, [example.text for example in examples]), vocabulary)
    shrink_embeddings(student, kept)
    shrink_positions(student, budget.total)
    small = shrink_tokenizer(tokenizer, kept)
    for parameter in student.parameters():
        parameter.requires_grad_(True)
    network = finetune(
        student, small, examples, config, budget, soft=soft, checkpoint_dir=checkpoint_dir, report=report
    )
    return network, small
