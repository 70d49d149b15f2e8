"""What tells a model directory of transformers from the one that was there before: its content, read as a whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from refusal_clf.records import InputError
from refusal_clf.runtime.layout import sha256_of

_DECISIVE: Final = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.jinja",
    "additional_chat_templates/*.jinja",
    "chat_template.json",
)
"""What transformers makes a model and a tokenizer of. The rest of a checkpoint, such as optimizer states and logs, and
completions that are written beside it, decide no answer."""


def weights_digest(directory: Path) -> str:
    """Return 32 hexadecimal digits over the weights, the configuration and the tokenizer of a directory.

    Names and content count, dates do not: a copy is the same model. Every byte is read, as loading the model does.
    An adapter's base model, which lies elsewhere, is not.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    found = {path for pattern in _DECISIVE for path in directory.glob(pattern) if path.is_file()}
    state = hashlib.sha256()
    for path in sorted(found):
        try:
            state.update(f"{path.relative_to(directory).as_posix()}\0{sha256_of(path)}\0".encode())
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", file=path) from error
    return state.hexdigest()[:32]
