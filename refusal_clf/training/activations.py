"""What the inputs of an encoder's linear layers look like on real texts: all that 8-bit weights need to know of data.

A training directory keeps it, so that `export` needs no texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from refusal_clf.records import InputError
from refusal_clf.runtime.tokens import Encoded
from refusal_clf.training.network import TwoHeadEncoder, collate

ACTIVATIONS_FILE: Final = "activations.safetensors"
_BATCH: Final = 16
_ROWS_PER_BATCH: Final = 24


@dataclass(frozen=True, slots=True)
class InputSample:
    """The inputs of one linear layer.

    `lowest` and `highest` of each channel over all tokens, shape (channels,), and the inputs of some tokens as `rows`,
    shape (n, channels).
    """

    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]
    rows: NDArray[np.float32]


Activations = Mapping[str, InputSample]
"""By the name of the linear layer; of the three that share their input, by the query's."""


def linear_names(layer: str) -> tuple[tuple[str, ...], ...]:
    """Return the linear layers of a BERT layer in the order in which they compute; those of a tuple share an input."""
    return (
        tuple(f"{layer}.attention.self.{part}" for part in ("query", "key", "value")),
        (f"{layer}.attention.output.dense",),
        (f"{layer}.intermediate.dense",),
        (f"{layer}.output.dense",),
    )


def record(network: TwoHeadEncoder, texts: Sequence[Encoded], seed: int = 0) -> dict[str, InputSample]:
    """Run texts through a network and return what went into its linear layers, padding left out."""
    random = np.random.default_rng(seed)
    parts: dict[str, list[InputSample]] = {}
    network.eval()
    device = next(network.parameters()).device
    ordered = sorted(texts, key=lambda text: len(text.ids))
    with _watched(network) as seen, torch.inference_mode():
        for start in range(0, len(ordered), _BATCH):
            inputs = collate(ordered[start : start + _BATCH])
            network(**{name: value.to(device) for name, value in inputs.items()})
            real = inputs["attention_mask"].numpy().astype(bool)
            for name, states in seen.items():
                tokens = states[real]
                chosen = random.integers(len(tokens), size=_ROWS_PER_BATCH)
                parts.setdefault(name, []).append(InputSample(tokens.min(0), tokens.max(0), tokens[chosen]))
    return {
        name: InputSample(
            np.minimum.reduce([sample.lowest for sample in samples]),
            np.maximum.reduce([sample.highest for sample in samples]),
            np.concatenate([sample.rows for sample in samples]),
        )
        for name, samples in parts.items()
    }


@contextmanager
def _watched(network: TwoHeadEncoder) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Collect what goes into each linear layer at each call."""
    seen: dict[str, NDArray[np.float32]] = {}
    handles = []
    for layer in range(network.encoder.config.num_hidden_layers):
        for names in linear_names(f"encoder.encoder.layer.{layer}"):
            name = names[0]

            def keep(_module: Any, inputs: tuple[Any, ...], name: str = name) -> None:  # noqa: ANN401
                seen[name] = inputs[0].float().cpu().numpy()

            handles.append(network.get_submodule(name).register_forward_pre_hook(keep))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def save_activations(activations: Activations, directory: Path) -> None:
    """Write into a training directory, for `load_activations`."""
    tensors = {
        f"{name}/{part}": np.ascontiguousarray(getattr(sample, part), np.float32)
        for name, sample in activations.items()
        for part in InputSample.__slots__
    }
    save_file(tensors, directory / ACTIVATIONS_FILE)


def load_activations(directory: Path) -> dict[str, InputSample]:
    """Read what `save_activations` wrote.

    Raises
    ------
    InputError
        If the directory has none.
    """
    path = directory / ACTIVATIONS_FILE
    if not path.is_file():
        raise InputError(f"it has no {ACTIVATIONS_FILE}: train it with this version for 8 bits", file=directory)
    tensors = load_file(path)
    names = {name.rpartition("/")[0] for name in tensors}
    return {name: InputSample(*(tensors[f"{name}/{part}"] for part in InputSample.__slots__)) for name in names}
