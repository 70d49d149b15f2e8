"""The two ways to train an encoder: fine-tuned, or frozen with a regression on its embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from refusal_clf.runtime.tokens import TokenBudget
from refusal_clf.training.dataset import Example
from refusal_clf.training.embedding import fit_embedding_head
from refusal_clf.training.finetune import FinetuneConfig, finetune
from refusal_clf.training.network import TwoHeadEncoder, from_base

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Family = Literal["encoder", "embedding"]
DEFAULT_FAMILY: Final[Family] = "encoder"


def fit_network(
    family: Family,
    base: Path,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    config: FinetuneConfig,
    budget: TokenBudget,
    *,
    checkpoint_dir: Path | None = None,
    report: Callable[[str], None] = lambda _line: None,
) -> TwoHeadEncoder:
    """Train a network on all examples, starting from the weights in `base`.

    `encoder` fine-tunes it by `config`, resumably; `embedding` leaves the encoder as it is and uses nothing of
    `config` but its seed.
    """
    network = from_base(base, config.seed)
    if family == "embedding":
        return fit_embedding_head(network, tokenizer, examples, budget, report=report)
    return finetune(network, tokenizer, examples, config, budget, checkpoint_dir=checkpoint_dir, report=report)
