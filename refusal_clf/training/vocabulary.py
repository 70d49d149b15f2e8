"""A smaller vocabulary for a trained encoder: the word pieces that texts at hand need most."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from refusal_clf.text import Prepared
from refusal_clf.training.network import TwoHeadEncoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def count_pieces(tokenizer: Tokenizer, texts: Sequence[Prepared]) -> Counter[int]:
    """Count the word pieces of rubrics, prompts and responses, by id."""
    counts: Counter[int] = Counter()
    strings = [part for text in texts for part in (text.heading + " :", text.prompt, text.response)]
    for encoding in tokenizer.encode_batch_fast(strings, add_special_tokens=False):
        counts.update(encoding.ids)
    return counts


def pieces_to_keep(tokenizer: Tokenizer, counts: Counter[int], size: int) -> list[int]:
    """Return the ids of at most `size` word pieces to keep, in their old order.

    Special tokens and single ASCII characters come first, so that every English word can still be spelled; then the
    most frequent pieces; then the vocabulary's own order, which in BERT's goes by frequency.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    spelling = [index for piece, index in vocabulary.items() if len(piece.removeprefix("##")) == 1 and piece.isascii()]
    wanted = [*(vocabulary[piece] for piece in _SPECIAL), *sorted(spelling)]
    wanted += [index for index, _ in counts.most_common()]
    wanted += [index for piece, index in sorted(vocabulary.items(), key=lambda item: item[1]) if "[unused" not in piece]
    return sorted(list(dict.fromkeys(wanted))[:size])


def shrink_tokenizer(tokenizer: Tokenizer, kept: Sequence[int]) -> Tokenizer:
    """Return a tokenizer that knows the kept word pieces only, numbered from 0 in the given order."""
    from tokenizers import Tokenizer as Fast

    state: dict[str, Any] = json.loads(tokenizer.to_str())
    new = {old: index for index, old in enumerate(kept)}
    state["model"]["vocab"] = {
        piece: new[old]
        for piece, old in sorted(state["model"]["vocab"].items(), key=lambda item: item[1])
        if old in new
    }
    state["added_tokens"] = [token | {"id": new[token["id"]]} for token in state["added_tokens"] if token["id"] in new]
    state["post_processor"] = None  # special tokens are put in by `runtime.tokens`
    return Fast.from_str(json.dumps(state))


def shrink_embeddings(network: TwoHeadEncoder, kept: Iterable[int]) -> None:
    """Keep the given rows of the word embeddings, in place."""
    embeddings = network.encoder.embeddings
    rows = embeddings.word_embeddings.weight.detach()[torch.tensor(list(kept))].clone()
    embeddings.word_embeddings = nn.Embedding(rows.shape[0], rows.shape[1], padding_idx=0)
    embeddings.word_embeddings.weight = nn.Parameter(rows)
    network.encoder.config.vocab_size = len(rows)


def shrink_positions(network: TwoHeadEncoder, length: int) -> None:
    """Keep the embeddings of the first `length` positions, in place."""
    embeddings = network.encoder.embeddings
    rows = embeddings.position_embeddings.weight.detach()[:length].clone()
    embeddings.position_embeddings = nn.Embedding(rows.shape[0], rows.shape[1])
    embeddings.position_embeddings.weight = nn.Parameter(rows)
    for name in ("position_ids", "token_type_ids"):
        setattr(embeddings, name, getattr(embeddings, name)[:, :length])
    network.encoder.config.max_position_embeddings = len(rows)
