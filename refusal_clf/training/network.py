"""One encoder with two heads: verdict (conditioned on the rubric in the text) and refusal class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging

from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError
from refusal_clf.runtime.tokens import Encoded, pad

NETWORK_FILE: Final = "network.safetensors"
ENCODER_CONFIG: Final = "encoder"
_LOWEST: Final = -1e4
N_OUTPUTS: Final = len(VERDICTS) + len(REFUSAL_CLASSES)


class TwoHeadEncoder(nn.Module):
    """A BERT-like encoder; both heads read the first token and the mean and maximum over the response's tokens.

    The mean tells the manner of a response; the maximum finds the one clause that decides, such as a premise corrected
    in passing.
    """

    encoder: Any
    heads: nn.Linear

    def __init__(self, encoder: nn.Module, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.Linear(3 * hidden, N_OUTPUTS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return logits of shape (batch, 6): three verdicts, then three refusal classes."""
        logits: Tensor = self.heads(self.dropout(self.pool(input_ids, attention_mask, token_type_ids)))
        return logits

    def pool(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return what the heads read, shape (batch, `heads.in_features`)."""
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        response = (token_type_ids * attention_mask).unsqueeze(-1).to(states.dtype)
        mean = (states * response).sum(1) / response.sum(1).clamp(min=1.0)
        largest = states.masked_fill(response == 0, _LOWEST).amax(1)
        return torch.cat([states[:, 0], mean, largest], dim=-1)


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


def save_network(network: TwoHeadEncoder, directory: Path) -> None:
    """Write weights and architecture into a directory, for `load_network`."""
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, directory / NETWORK_FILE)
    network.encoder.config.save_pretrained(directory / ENCODER_CONFIG)


def load_network(directory: Path) -> TwoHeadEncoder:
    """Read what `save_network` wrote, ready for inference.

    Raises
    ------
    InputError
        If the directory holds no such network.
    """
    if not (directory / NETWORK_FILE).is_file():
        raise InputError(f"not a training directory: it has no {NETWORK_FILE}", file=directory)
    config = AutoConfig.from_pretrained(directory / ENCODER_CONFIG, local_files_only=True)
    network = TwoHeadEncoder(AutoModel.from_config(config, add_pooling_layer=False), config.hidden_size)
    network.load_state_dict(load_file(directory / NETWORK_FILE))
    return network.eval()


def run_by_length(
    function: Callable[..., Tensor],
    encoded: Sequence[Encoded],
    width: int,
    device: torch.device,
    *,
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """Call a part of a network on batches of like length, without gradients; shape (len(encoded), width)."""
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index].ids))
    rows = np.empty((len(encoded), width), np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            inputs = {name: value.to(device) for name, value in collate([encoded[i] for i in indices]).items()}
            rows[indices] = function(**inputs).float().cpu().numpy()
    return rows


def collate(batch: Sequence[Encoded]) -> dict[str, Tensor]:
    """Pad to the longest of the batch; keys are the encoder's three inputs, each of shape (batch, length)."""
    return {name: torch.from_numpy(array) for name, array in pad(batch).items()}
