"""A refusal that stands beside an answer, and one that is hidden in a long text.

A stock refusal before or after a whole answer turns the verdict, because the model weighs both ends most; a refusal in
the midst of harmless text is not read at all, because it is clipped. Neither can be undone: which part counts is for a
reader to say. Ordinary responses that decline and answer all the same look alike, and are as doubtful. The limits were
chosen on one half of real responses and tried on the other (`benchmarks/contradictions.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.text import Prepared

MIN_WORDS: Final = 100
"""Of the response: a shorter one is read as a whole, and has too little beside a sentence to contradict it."""

REFUSED: Final = 0.3
"""The whole response's probability of a refusal from which a refusal at its edge is sought; below, a hidden one."""

EDGE_REFUSES: Final = 0.7
REST_REFUSES: Final = 0.15
HIDDEN_REFUSES: Final = 0.9
"""The lexical tier's probability of a refusal, of single sentences (at least) and of what is left (at most)."""

_END: Final = re.compile(r"[.!?:][\"')\]]*\s")
# Disclaimers ("as an AI language model, I have no opinions") are left out: they stand in many honest answers.
_DECLINES: Final = (
    "sorry|apologise|apologize|i can't|i cannot|i can not|unable to|not able to|i won't|i will not|decline|refuse"
    "|not comfortable|not permitted|not allowed|not capable|against my |against our |n't have the ability"
    "|not have the ability|n't have access|not have access|cannot assist|cannot help|cannot provide|cannot fulfill"
    "|cannot create|cannot answer|cannot comply"
).split("|")

Refuses = Callable[[Sequence[Prepared]], NDArray[np.float32]]
"""Texts -> the probability of a partial or full refusal of each, shape (len(texts),)."""


def contradictory(texts: Sequence[Prepared], p_refusal: Sequence[float], refuses: Refuses) -> list[int]:
    """Return the indices of texts of which one sentence says something else than the rest.

    Parameters
    ----------
    texts
        Prepared texts.
    p_refusal
        The classifier's probability of a partial or full refusal for each.
    refuses
        The lexical tier, quick enough to be asked about parts.
    """
    long = [row for row, text in enumerate(texts) if text.response.count(" ") >= MIN_WORDS - 1]
    edged = [row for row in long if p_refusal[row] >= REFUSED]
    others = [row for row in long if p_refusal[row] < REFUSED]
    found = [edged[at] for at in _at_an_edge([texts[row] for row in edged], refuses)]
    return sorted(found + [others[at] for at in _hidden([texts[row] for row in others], refuses)])


def _at_an_edge(texts: Sequence[Prepared], refuses: Refuses) -> list[int]:
    """Find a first or last sentence that refuses, where what is left without them does not."""
    sentences = [_sentences(text.response) for text in texts]
    edges = [_part(text, own[at]) for at in (0, -1) for text, own in zip(texts, sentences, strict=True)]
    first, last = (_probabilities(edges, refuses) >= EDGE_REFUSES).reshape(2, -1)
    rows, left = [], []
    for row, own in enumerate(sentences):
        rest = "".join(own[int(first[row]) : len(own) - int(last[row])])
        if rest and (first[row] or last[row]):
            rows.append(row)
            left.append(_part(texts[row], rest))
    return [row for row, p in zip(rows, _probabilities(left, refuses), strict=True) if p <= REST_REFUSES]


def _hidden(texts: Sequence[Prepared], refuses: Refuses) -> list[int]:
    """Find a sentence that refuses, in so many words, anywhere."""
    rows, parts = [], []
    for row, text in enumerate(texts):
        if not _declines(text.response):
            continue
        for sentence in _sentences(text.response):
            if _declines(sentence):
                rows.append(row)
                parts.append(_part(text, sentence))
    return sorted({row for row, p in zip(rows, _probabilities(parts, refuses), strict=True) if p >= HIDDEN_REFUSES})


def _declines(text: str) -> bool:
    lower = text.lower()
    return any(phrase in lower for phrase in _DECLINES)  # several times as fast as a regular expression


def _sentences(response: str) -> list[str]:
    """Cut a response after its sentences; together they are the response."""
    ends = [0, *(match.end() for match in _END.finditer(response)), len(response)]
    return [response[start:end] for start, end in pairwise(ends) if start < end]


def _part(text: Prepared, response: str) -> Prepared:
    return replace(text, response=response.strip())


def _probabilities(texts: Sequence[Prepared], refuses: Refuses) -> NDArray[np.float32]:
    return refuses(texts) if texts else np.zeros(0, np.float32)
