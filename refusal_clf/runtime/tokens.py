"""Prepared text -> word-piece ids, with long prompts and responses clipped to head and tail by tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.records import InputError
from refusal_clf.text import Prepared

if TYPE_CHECKING:
    from tokenizers import Tokenizer


_CHARS_A_PIECE: Final = 7
"""More than an ordinary piece has, its blank included; where it is not enough, a response is encoded as a whole."""


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a tokenizer with truncation and padding off: both are done here.

    Raises
    ------
    InputError
        If the file is not a tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise InputError(f"not a usable tokenizer: {error}", file=path) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """How many word pieces the encoder reads: `total` in all, of which at most `prompt` for the prompt.

    The response gets what is left, its last `response_tail` tokens included; a prompt keeps its last third.
    """

    total: int = 160
    prompt: int = 44
    response_tail: int = 36


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one text; the first `n_context` (rubric and prompt) are segment 0, the rest segment 1."""

    ids: tuple[int, ...]
    n_context: int
    truncated: bool


def encode(tokenizer: Tokenizer, texts: Sequence[Prepared], budget: TokenBudget) -> list[Encoded]:
    """Encode as `[CLS] subset rubric : prompt [SEP] response [SEP]`; where something was cut out, a `[SEP]` stands.

    Parameters
    ----------
    tokenizer
        A BERT word-piece tokenizer with neither truncation nor padding switched on.
    texts
        Prepared texts.
    budget
        Limits in tokens.

    Returns
    -------
    list of Encoded
        In the order of `texts`, each at most `budget.total` ids long.
    """
    cls, sep = _special_ids(tokenizer)
    ends = [_ends(text.response, budget) for text in texts]
    parts = [part for text, end in zip(texts, ends, strict=True) for part in (text.prompt, *end)]
    pieces = (piece.ids for piece in tokenizer.encode_batch_fast(parts, add_special_tokens=False))
    encoded = []
    for text, end in zip(texts, ends, strict=True):
        heading = _heading_ids(tokenizer, text.heading)
        prompt, _ = _clip(next(pieces), budget.prompt, budget.prompt // 3, sep)
        context = [cls, *heading, *prompt, sep]
        room = budget.total - len(context) - 1
        response = next(pieces)
        if len(end) > 1:
            last = next(pieces)
            enough = len(response) > room - budget.response_tail and len(last) >= budget.response_tail
            # Very long words have hardly any pieces.
            response = response + last if enough else tokenizer.encode(text.response, add_special_tokens=False).ids
        clipped, truncated = _clip(response, room, budget.response_tail, sep)
        encoded.append(Encoded((*context, *clipped, sep), len(context), truncated))
    return encoded


def pad(batch: Sequence[Encoded]) -> dict[str, NDArray[np.int64]]:
    """Return the encoder's inputs, int64 arrays of shape (len(batch), longest of the batch), padded with zeros."""
    length = max(len(item.ids) for item in batch)
    ids, mask, types = (np.zeros((len(batch), length), np.int64) for _ in range(3))
    for row, item in enumerate(batch):
        ids[row, : len(item.ids)] = item.ids
        mask[row, : len(item.ids)] = 1
        types[row, item.n_context : len(item.ids)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def _ends(response: str, budget: TokenBudget) -> tuple[str, ...]:
    """Return a response, or for a long one what surely holds all pieces that are kept: beginning and end.

    Word pieces do not reach over a blank, so that those of the parts are those of the whole.
    """
    start = response.rfind(" ", 0, _CHARS_A_PIECE * (budget.total - budget.response_tail))
    end = response.find(" ", len(response) - _CHARS_A_PIECE * budget.response_tail)
    return (response[:start], response[end:]) if 0 < start < end else (response,)


def _clip(ids: list[int], limit: int, tail: int, sep: int) -> tuple[list[int], bool]:
    if len(ids) <= limit:
        return ids, False
    return [*ids[: limit - tail - 1], sep, *ids[-tail:]], True


@lru_cache(maxsize=16)
def _special_ids(tokenizer: Tokenizer) -> tuple[int, int]:
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if cls is None or sep is None:
        raise InputError("the tokenizer has no [CLS] or no [SEP] token")
    return cls, sep


@lru_cache(maxsize=256)
def _heading_ids(tokenizer: Tokenizer, heading: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(heading + " :", add_special_tokens=False).ids)
