"""The encoder tier: an ONNX Runtime session on the CPU, fed with batches of texts of similar length."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.records import InputError
from refusal_clf.runtime.tokens import Encoded, pad

if TYPE_CHECKING:
    import onnxruntime

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT: Final = "logits"
_BATCH_TOKENS: Final = 2048
"""Padded tokens in a batch: large enough to keep two cores busy, small enough to stay in their cache."""


def make_session(model: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Open an encoder; every session of the package is made here.

    Parameters
    ----------
    model
        An ONNX file.
    threads
        Threads within an operator; default: the processors that this process may use.

    Raises
    ------
    InputError
        If the file is not an ONNX model that this onnxruntime can run, or has other inputs or outputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_processors()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin between operators take the cores from whoever shares the machine, a training run say.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InputError(f"onnxruntime cannot load it: {str(error).splitlines()[0]}", file=model) from error
    names = (
        tuple(node.name for node in session.get_inputs()),
        tuple(node.name for node in session.get_outputs()),
    )
    if set(names[0]) != set(INPUTS) or OUTPUT not in names[1]:
        raise InputError(f"has inputs {names[0]} and outputs {names[1]}, not those of an encoder of ours", file=model)
    return session


def available_processors() -> int:
    """Return how many processors this process may use: fewer than the machine has under `taskset` and the like."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(session: onnxruntime.InferenceSession, texts: Sequence[Encoded]) -> NDArray[np.float32]:
    """Return raw scores of shape (len(texts), 6), in the order of `texts`."""
    scores = np.empty((len(texts), 6), np.float32)
    for indices in _batches(texts):
        scores[indices] = session.run([OUTPUT], pad([texts[index] for index in indices]))[0]
    return scores


def _batches(texts: Sequence[Encoded]) -> Iterator[list[int]]:
    """Sort by length and cut where the padded size would pass the token budget."""
    batch: list[int] = []
    for index in sorted(range(len(texts)), key=lambda index: len(texts[index].ids)):
        if batch and (len(batch) + 1) * len(texts[index].ids) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
