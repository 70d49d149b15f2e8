"""Labelled responses that are like a given one: what people or a judge said of similar answers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from refusal_clf.records import Completion, Label
from refusal_clf.runtime.lexical import LexicalModel, features
from refusal_clf.text import prepare


@dataclass(frozen=True, slots=True)
class Precedent:
    """A label, and how similar its completion is: a cosine in [0, 1]."""

    similarity: float
    label: Label


def nearest(completion: Completion, labels: Iterable[Label], model: LexicalModel, n: int = 3) -> list[Precedent]:
    """Return the `n` labels whose completions are most similar, the nearest first; fewer if there are fewer.

    Similarity is the cosine of the lexical tier's features, each weighted by its inverse document frequency: words and
    word pairs of response and prompt, and the rubric. (A shipped encoder gives scores, not embeddings.) Labels without
    a response are passed over.
    """
    index = features(prepare(completion), model.n_bits)
    shared = np.zeros(len(model.squared_idf), np.float32)
    shared[index] = model.squared_idf[index]
    norm = float(shared.sum())

    def measured() -> Iterator[Precedent]:
        for label in labels:
            if not label.completion.response:
                continue
            other = features(prepare(label.completion), model.n_bits)
            size = norm * float(model.squared_idf[other].sum(dtype=np.float32))
            yield Precedent(float(shared[other].sum()) / size**0.5 if size else 0.0, label)

    return heapq.nlargest(n, measured(), key=lambda precedent: precedent.similarity)
