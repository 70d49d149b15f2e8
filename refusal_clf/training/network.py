"""One encoder with two heads: verdict (conditioned on the rubric in the text) and refusal class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging

from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError
from refusal_clf.runtime.tokens import Encoded, pad

N_OUTPUTS = len(VERDICTS) + len(REFUSAL_CLASSES)


class TwoHeadEncoder(nn.Module):
    """A BERT-like encoder; both heads read the first token and the mean over the response's tokens."""

    encoder: Any
    heads: nn.Linear

    def __init__(self, encoder: nn.Module, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.Linear(2 * hidden, N_OUTPUTS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return logits of shape (batch, 6): three verdicts, then three refusal classes."""
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        response = (token_type_ids * attention_mask).unsqueeze(-1).to(states.dtype)
        mean = (states * response).sum(1) / response.sum(1).clamp(min=1.0)
        pooled = torch.cat([states[:, 0], mean], dim=-1)
        logits: Tensor = self.heads(self.dropout(pooled))
        return logits


def from_base(directory: Path, seed: int = 0) -> TwoHeadEncoder:
    """Start from the weights of a local transformers model directory; the heads are drawn from `seed`.

    Raises
    ------
    InputError
        If the directory is not a loadable model of a BERT-like architecture.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    try:
        encoder = AutoModel.from_pretrained(directory, local_files_only=True, add_pooling_layer=False)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"not a usable base model: {str(error).splitlines()[0]}", file=directory) from error
    return TwoHeadEncoder(encoder, encoder.config.hidden_size)


def from_config(directory: Path) -> TwoHeadEncoder:
    """Build the architecture that a training directory describes, without weights."""
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    return TwoHeadEncoder(AutoModel.from_config(config, add_pooling_layer=False), config.hidden_size)


def collate(batch: Sequence[Encoded]) -> dict[str, Tensor]:
    """Pad to the longest of the batch; keys are the encoder's three inputs, each of shape (batch, length)."""
    return {name: torch.from_numpy(array) for name, array in pad(batch).items()}
