"""What the tiers say of a text, kept for the case that it comes again, without regard to whose response it is."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.records import Tier
from refusal_clf.text import Prepared

REMEMBERED: Final = 4_096
"""Different texts whose answers a stream keeps, in case they come again: about 2 MB."""


@dataclass(slots=True)
class Answer:
    """What the tiers say of one text: probabilities of both heads, each of shape (3,)."""

    verdict: NDArray[np.float32] = field(init=False)
    refusal: NDArray[np.float32] = field(init=False)
    tier: Tier = "fast"
    truncated: bool = False
    contradictory: bool = False


class Recent:
    """The answers to the last different texts, by a digest of everything that the tiers read."""

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()

    def look_up(self, texts: Sequence[Prepared]) -> tuple[list[Answer | None], list[tuple[Prepared, Answer]]]:
        """Return an answer for each text, and those texts whose answers are new and have yet to be computed."""
        found: list[Answer | None] = []
        new = []
        for text in texts:
            if "empty" in text.flags:
                found.append(None)
                continue
            content = "\0".join((text.heading, text.prompt, text.response))
            key = hashlib.blake2b(content.encode(), digest_size=16).digest()
            answer = self._answers.pop(key, None)
            if answer is None:
                answer = Answer()
                new.append((text, answer))
            self._answers[key] = answer
            found.append(answer)
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return found, new
