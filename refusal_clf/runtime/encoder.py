"""The encoder tier: an ONNX Runtime session on the CPU, fed with batches of texts of equal length."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
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
_BATCH_TOKENS: Final = 512
"""Tokens in a batch: enough to fill the vector units, few enough to stay in a core's cache."""


class EncoderTier:
    """An encoder and the threads that run it; safe to share between threads.

    Each thread runs a batch of its own, which shares the work better than all of them in one operator do.
    """

    def __init__(self, model: Path, threads: int) -> None:
        self.session = make_session(model)
        self._threads = threads
        self._start_threads()

    def _start_threads(self) -> None:
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="refusal-clf")
        self._process = os.getpid()

    def knows(self, token: int) -> bool:
        """Say whether the encoder has an embedding for this word piece."""
        try:
            _run(self.session, [Encoded((token,), 1, truncated=False)])
        except Exception:  # onnxruntime's error classes have no base of their own
            return False
        return True

    def submit(self, texts: Sequence[Encoded]) -> Pending:
        """Begin to score texts and return at once."""
        if self._process != os.getpid():
            self._start_threads()  # a fork copies the pool and none of its threads: it would wait for ever
        batches = list(_batches(texts))
        futures = [self._pool.submit(_run, self.session, [texts[index] for index in batch]) for batch in batches]
        return Pending(len(texts), batches, futures)


class Pending:
    """Scores that are being computed."""

    def __init__(self, n: int, batches: list[list[int]], futures: list[Future[NDArray[np.float32]]]) -> None:
        self._n = n
        self._batches = batches
        self._futures = futures

    def result(self) -> NDArray[np.float32]:
        """Wait, and return raw scores of shape (texts, 6), in the order of the texts."""
        scores = np.empty((self._n, 6), np.float32)
        for indices, future in zip(self._batches, self._futures, strict=True):
            scores[indices] = future.result()
        return scores

    def cancel(self) -> None:
        """Drop the batches that no thread has begun."""
        for future in self._futures:
            future.cancel()


def make_session(model: Path) -> onnxruntime.InferenceSession:
    """Open an encoder, an ONNX file, that runs in the thread of its caller; every session is made here.

    Raises
    ------
    InputError
        If the file is not an ONNX model that this onnxruntime can run, or has other inputs or outputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A plan of the memory is kept for each shape of a batch, and there are thousands: memory would grow with the rows.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
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


def _run(session: onnxruntime.InferenceSession, texts: Sequence[Encoded]) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = session.run([OUTPUT], pad(texts))[0]
    return scores


def _batches(texts: Sequence[Encoded]) -> Iterator[list[int]]:
    """Group texts of equal length, which need no padding and no mask, within the token budget.

    Neighbours have about as much context: the fewest tokens of it in a batch are left out of the graph's last layer.
    """
    lengths = [len(text.ids) for text in texts]
    order = sorted(range(len(texts)), key=lambda row: (lengths[row], texts[row].n_context))
    for length, group in groupby(order, lengths.__getitem__):
        rows = list(group)
        size = max(1, _BATCH_TOKENS // length)
        yield from (rows[start : start + size] for start in range(0, len(rows), size))
