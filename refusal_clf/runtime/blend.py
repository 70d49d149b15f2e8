"""How the tiers' raw scores become calibrated probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refusal_clf.records import REFUSAL_CLASSES

Float32 = NDArray[np.float32]


def softmax(scores: Float32) -> Float32:
    """Return probabilities for scores of one head, both of shape (n, k)."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Float32 = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


@dataclass(frozen=True, slots=True)
class Blend:
    """Weights of the encoder's and the lexical tier's scores for one head.

    This is temperature scaling (Guo et al. 2017, arXiv:1706.04599, section 4.2) of a logarithmic opinion pool
    (Hinton 2002, section 2): probabilities are softmax(encoder * a + lexical * b).
    """

    encoder: float
    lexical: float

    def probabilities(self, encoder: Float32 | None, lexical: Float32) -> Float32:
        """Return probabilities of shape (n, k) for scores of that shape; the encoder's may be missing."""
        return softmax(self.scores(encoder, lexical))

    def scores(self, encoder: Float32 | None, lexical: Float32) -> Float32:
        """Return the blended scores, whose differences are log-odds; arguments are those of `probabilities`."""
        scores = lexical * np.float32(self.lexical)
        if encoder is not None:
            scores = scores + encoder * np.float32(self.encoder)
        return scores


def answers(probabilities: Float32, labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the answered label of each row, as indices into `labels`.

    A verdict is the likeliest one. A refusal class is decided in two steps, refusal or not and then which, so that
    a class other than `full_compliance` is answered exactly where a refusal of either kind is likelier than none.
    """
    likeliest: NDArray[np.int64] = probabilities.argmax(axis=1)
    if labels == REFUSAL_CLASSES:
        likeliest = np.where(probabilities[:, 0] >= 0.5, 0, 1 + probabilities[:, 1:].argmax(axis=1))
    return likeliest
