"""What the tiers say of a text, kept for the case that it comes again, without regard to whose response it is."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from refusal_clf.records import RefusalName, Tier, VerdictName
from refusal_clf.text import Prepared

REMEMBERED: Final = 4_096
"""Different texts whose answers a stream keeps, in case they come again: about 2 MB."""


@dataclass(slots=True)
class Answer:
    """What the tiers say of one text.

    In plain numbers: rows of arrays would keep their whole chunk's array, and leave the heap full of holes.

    Attributes
    ----------
    probabilities
        Of `VERDICTS`, then of `REFUSAL_CLASSES`.
    p_refusal
        Of a refusal of either kind.
    """

    probabilities: tuple[float, ...] = ()
    verdict: VerdictName = "neither"
    refusal: RefusalName = "full_compliance"
    p_refusal: float = 0.0
    tier: Tier = "fast"
    truncated: bool = False
    contradictory: bool = False

    def decide(self, probabilities: Sequence[float], verdict: VerdictName, refusal: RefusalName, p: float) -> None:
        """Take what was computed; `p` is that of a refusal of either kind."""
        self.probabilities, self.verdict, self.refusal, self.p_refusal = tuple(probabilities), verdict, refusal, p


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
