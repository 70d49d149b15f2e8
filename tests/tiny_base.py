"""A base model of two small random layers: everything that training does, in seconds."""

from __future__ import annotations

from pathlib import Path


def write_tiny_base(directory: Path, tokenizer: Path) -> Path:
    """Write it with the tokenizer of a real base model."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30522, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(directory)
    (directory / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return directory
